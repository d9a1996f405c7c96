//! HTTP probes and hooks: one GET, over TLS without verification for https; a status from 200 to 399 is success.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::{Container, HTTPGetAction};
use tokio::net::TcpStream;

use super::tcp;

/// Longest body that is read, in bytes.
const BODY_MAX: usize = 10 << 10;

/// A request that is ready to be sent.
#[derive(Clone, Debug)]
pub struct Get {
    target: SocketAddr,
    tls: bool,
    path: String,
    headers: Vec<(String, String)>,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The beginning of the body.
    pub body: String,
}

impl Get {
    /// The request of an action.
    ///
    /// # Errors
    /// The port or the host cannot be found.
    pub fn of(action: &HTTPGetAction, container: &Container, address: Option<IpAddr>) -> Result<Self, String> {
        let port = tcp::port(&action.port, container)?;
        let path = action.path.as_deref().unwrap_or("/");
        Ok(Self {
            target: tcp::target(action.host.as_deref(), address, port)?,
            tls: action.scheme.as_deref().is_some_and(|s| s.eq_ignore_ascii_case("https")),
            path: if path.starts_with('/') { path.to_owned() } else { format!("/{path}") },
            headers: action.http_headers.iter().flatten().map(|h| (h.name.clone(), h.value.clone())).collect(),
        })
    }

    /// The URL, for people.
    pub fn url(&self) -> String {
        format!("{}://{}{}", if self.tls { "https" } else { "http" }, self.target, self.path)
    }
}

/// Asks and judges.
///
/// # Errors
/// What to tell people.
pub(super) async fn ask(action: &HTTPGetAction, container: &Container, address: Option<IpAddr>, limit: Duration) -> Result<(), String> {
    let request = Get::of(action, container, address)?;
    match tokio::time::timeout(limit, get(&request)).await {
        Ok(Ok(answer)) if (200..400).contains(&answer.status) => Ok(()),
        Ok(Ok(answer)) => Err(format!("HTTP probe failed with statuscode: {}", answer.status)),
        Ok(Err(cause)) => Err(format!("Get \"{}\": {cause}", request.url())),
        Err(_) => Err(format!("Get \"{}\": context deadline exceeded (Client.Timeout exceeded while awaiting headers)", request.url())),
    }
}

/// Sends the request and reads the beginning of the answer. Has no time limit of its own.
///
/// # Errors
/// What to tell people.
pub async fn get(get: &Get) -> Result<Answer, String> {
    let stream = TcpStream::connect(get.target).await.map_err(|e| format!("dial tcp {}: connect: {}", get.target, tcp::cause(&e)))?;
    if get.tls {
        let name = rustls::pki_types::ServerName::IpAddress(get.target.ip().into());
        let connector = tokio_rustls::TlsConnector::from(crate::probes::trust::any_server());
        let stream = connector.connect(name, stream).await.map_err(|e| e.to_string())?;
        exchange(get, TokioIo::new(stream)).await
    } else {
        exchange(get, TokioIo::new(stream)).await
    }
}

async fn exchange<S>(get: &Get, stream: S) -> Result<Answer, String>
where
    S: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.map_err(|e| e.to_string())?;
    let driver = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(connection));
    let mut request = hyper::Request::get(&get.path).header("Connection", "close").header("Accept", "*/*");
    let given = |name: &str| get.headers.iter().any(|(n, _)| n.eq_ignore_ascii_case(name));
    if !given("Host") {
        request = request.header("Host", get.target.to_string());
    }
    if !given("User-Agent") {
        request = request.header("User-Agent", "kube-probe/1.33");
    }
    for (name, value) in &get.headers {
        request = request.header(name, value);
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|e| e.to_string())?;
    let response = sender.send_request(request).await.map_err(|e| e.to_string())?;
    let status = response.status().as_u16();
    let body = match Limited::new(response.into_body(), BODY_MAX).collect().await {
        Ok(body) => String::from_utf8_lossy(&body.to_bytes()).into_owned(),
        // A longer body is no failure; nobody reads it.
        Err(_) => String::new(),
    };
    drop(driver);
    Ok(Answer { status, body })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    fn action(port: u16, path: &str) -> HTTPGetAction {
        let json =
            serde_json::json!({"port": port, "path": path, "httpHeaders": [{"name": "X-A", "value": "b"}, {"name": "Host", "value": "h"}]});
        serde_json::from_value(json).unwrap()
    }

    #[tokio::test]
    async fn the_status_decides_and_headers_are_sent() {
        for (status, ok) in [(200, true), (302, true), (399, true), (400, false), (500, false)] {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = listener.local_addr().unwrap().port();
            let server = tokio::spawn(async move {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut buffer = vec![0; 4096];
                let mut read = 0;
                while !buffer[..read].windows(4).any(|w| w == b"\r\n\r\n") {
                    read += stream.read(&mut buffer[read..]).await.unwrap();
                }
                let answer = format!("HTTP/1.1 {status} x\r\nContent-Length: 2\r\n\r\nok");
                stream.write_all(answer.as_bytes()).await.unwrap();
                String::from_utf8_lossy(&buffer[..read]).into_owned()
            });
            let address = Some("127.0.0.1".parse().unwrap());
            let asked = ask(&action(port, "health?x=1"), &Container::default(), address, Duration::from_secs(5)).await;
            assert_eq!(asked.is_ok(), ok, "{status}");
            let request = server.await.unwrap().to_lowercase();
            assert!(request.starts_with("get /health?x=1 http/1.1\r\n"), "{request}");
            assert!(
                request.contains("x-a: b\r\n") && request.contains("host: h\r\n") && request.contains("user-agent: kube-probe/"),
                "{request}"
            );
        }
    }

    #[tokio::test]
    async fn a_closed_port_is_told_as_such() {
        let port = {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            listener.local_addr().unwrap().port()
        };
        let asked = ask(&action(port, "/"), &Container::default(), Some("127.0.0.1".parse().unwrap()), Duration::from_secs(5)).await;
        assert_eq!(asked.unwrap_err(), format!("Get \"http://127.0.0.1:{port}/\": dial tcp 127.0.0.1:{port}: connect: connection refused"));
    }
}

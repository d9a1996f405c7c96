//! HTTP probes and hooks: one GET, over TLS without verification for https; a status from 200 to 399 is success. Redirects within the same
//! host are followed; one that leads elsewhere is an answer like any other.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::{Container, HTTPGetAction};
use tokio::net::TcpStream;

use super::tcp;
use super::tracker::Outcome;

/// Longest body that is read, in bytes.
const BODY_MAX: usize = 10 << 10;

/// Longest chain of redirects.
const REDIRECTS_MAX: usize = 10;

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
    /// Where a redirect leads.
    location: Option<String>,
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

    /// The request that a redirect asks for, if it leads to the same host.
    fn redirected(&self, location: &str) -> Option<Self> {
        let mut next = self.clone();
        if location.starts_with("//") {
            return None;
        }
        if let Ok(uri) = location.parse::<hyper::Uri>()
            && let Some(scheme) = uri.scheme_str()
        {
            let ip: IpAddr = uri.host()?.trim_matches(['[', ']']).parse().ok()?;
            if ip != self.target.ip() {
                return None;
            }
            next.tls = scheme == "https";
            next.target.set_port(uri.port_u16().unwrap_or(if next.tls { 443 } else { 80 }));
            next.path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
            return Some(next);
        }
        let directory = self.path.split('?').next().and_then(|path| path.rsplit_once('/')).map_or("", |(directory, _)| directory);
        next.path = if location.starts_with('/') { location.to_owned() } else { format!("{directory}/{location}") };
        Some(next)
    }

    /// The URL, for people.
    pub fn url(&self) -> String {
        format!("{}://{}{}", if self.tls { "https" } else { "http" }, self.target, self.path)
    }
}

/// Asks and judges.
pub(super) async fn ask(action: &HTTPGetAction, container: &Container, address: Option<IpAddr>, limit: Duration) -> Outcome {
    let request = match Get::of(action, container, address) {
        Ok(request) => request,
        Err(cause) => return Outcome::Unknown(cause),
    };
    match tokio::time::timeout(limit, get_last(request.clone())).await {
        Ok(Ok(answer)) if (200..400).contains(&answer.status) => Outcome::Success,
        Ok(Ok(answer)) => Outcome::Failure(format!("HTTP probe failed with statuscode: {}", answer.status)),
        Ok(Err(cause)) => Outcome::Failure(format!("Get \"{}\": {cause}", request.url())),
        Err(_) => {
            let cause = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)";
            Outcome::Failure(format!("Get \"{}\": {cause}", request.url()))
        }
    }
}

/// The answer at the end of the redirects.
async fn get_last(mut request: Get) -> Result<Answer, String> {
    for _ in 0..REDIRECTS_MAX {
        let answer = get(&request).await?;
        let redirects = matches!(answer.status, 301 | 302 | 303 | 307 | 308);
        match answer.location.as_deref().filter(|_| redirects).and_then(|location| request.redirected(location)) {
            Some(next) => request = next,
            None => return Ok(answer),
        }
    }
    Err(format!("stopped after {REDIRECTS_MAX} redirects"))
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
    let mut request = hyper::Request::get(&get.path).header("Connection", "close");
    for (name, value) in [("Host", get.target.to_string().as_str()), ("User-Agent", "kube-probe/1.33"), ("Accept", "*/*")] {
        if !get.headers.iter().any(|(given, _)| given.eq_ignore_ascii_case(name)) {
            request = request.header(name, value);
        }
    }
    for (name, value) in &get.headers {
        request = request.header(name, value);
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|e| e.to_string())?;
    let response = sender.send_request(request).await.map_err(|e| e.to_string())?;
    let status = response.status().as_u16();
    let location = response.headers().get(hyper::header::LOCATION).and_then(|l| l.to_str().ok()).map(str::to_owned);
    // So that the server sees its answer taken. A longer body is no failure; nobody reads it.
    let _ = Limited::new(response.into_body(), BODY_MAX).collect().await;
    drop(driver);
    Ok(Answer { status, location })
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
            assert_eq!(asked == Outcome::Success, ok, "{status}");
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
        let cause = format!("Get \"http://127.0.0.1:{port}/\": dial tcp 127.0.0.1:{port}: connect: connection refused");
        assert_eq!(asked, Outcome::Failure(cause));
    }

    #[test]
    fn redirects_are_followed_on_the_same_host_only() {
        let get = Get { target: "10.0.0.1:8080".parse().unwrap(), tls: false, path: "/a/b?c".into(), headers: Vec::new() };
        for (location, want) in [
            ("/ok", Some("http://10.0.0.1:8080/ok")),
            ("ok", Some("http://10.0.0.1:8080/a/ok")),
            ("http://10.0.0.1/x?y=1", Some("http://10.0.0.1:80/x?y=1")),
            ("https://10.0.0.1:8443", Some("https://10.0.0.1:8443/")),
            ("http://10.0.0.2:8080/", None),
            ("http://example.org/", None),
            ("//example.org/", None),
        ] {
            assert_eq!(get.redirected(location).map(|next| next.url()).as_deref(), want, "{location}");
        }
    }

    #[tokio::test]
    async fn a_redirect_is_as_good_as_where_it_leads() {
        for (last, ok) in
            [("200 OK", true), ("503 no", false), ("302 x\r\nLocation: /again", false), ("302 x\r\nLocation: http://192.0.2.9/", true)]
        {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = listener.local_addr().unwrap().port();
            let server = tokio::spawn(async move {
                for number in 0.. {
                    let (mut stream, _) = listener.accept().await.unwrap();
                    let mut buffer = [0; 4096];
                    let _ = stream.read(&mut buffer).await.unwrap();
                    let status = if number == 0 { "302 x\r\nLocation: /next" } else { last };
                    stream.write_all(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").as_bytes()).await.unwrap();
                }
            });
            let address = Some("127.0.0.1".parse().unwrap());
            let asked = ask(&action(port, "/"), &Container::default(), address, Duration::from_secs(10)).await;
            assert_eq!(asked == Outcome::Success, ok, "{last}: {asked:?}");
            server.abort();
        }
    }
}

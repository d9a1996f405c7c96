//! Passes one HTTP/1.1 request on over an open connection, and its answer back; when both sides upgrade (WebSocket, SPDY/3.1), the
//! bytes after it in both directions, untouched. The API server uses it towards kubelets, kubelets towards their runtime.
//!
//! Knows nothing of what is inside the stream: protocols are negotiated between the two ends.

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, Uri, header};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

/// Why a request could not be passed on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot ask for {path:?}: it is no path")]
    Path { path: String, source: http::Error },
    #[error("the other side does not speak HTTP: {0}")]
    Handshake(hyper::Error),
    #[error("the other side did not answer: {0}")]
    Exchange(hyper::Error),
    #[error("the other side did not begin to answer within {0:?}")]
    Silent(Duration),
}

/// How long the other side may take until the head of its answer; streams begin at once and then last.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Headers that belong to one connection (RFC 9110 section 7.6.1); those of the upgrade are passed on only with an upgrade.
const HOP_BY_HOP: [header::HeaderName; 5] =
    [header::CONNECTION, header::UPGRADE, header::TRANSFER_ENCODING, header::TE, header::PROXY_AUTHENTICATE];
/// What the caller proved to us is not for the next server.
const PRIVATE: [header::HeaderName; 2] = [header::AUTHORIZATION, header::COOKIE];
/// So begins the WebSocket subprotocol in which browsers send their token: private too.
pub const PRIVATE_PROTOCOL: &str = "base64url.bearer.authorization.k8s.io.";

/// Sends `request` over `connection` as `path_and_query` of `host`, and answers with what comes back, which begins within 30 s or never. After a `101` the two upgraded
/// connections are joined in a task of their own, until one side closes or fails; dropping the answer's body ends a plain one.
pub async fn relay<C, B>(connection: C, host: &str, path_and_query: &str, request: Request<B>) -> Result<Response<Incoming>, Error>
where
    C: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    relay_within(HEAD_TIMEOUT, connection, host, path_and_query, request).await
}

async fn relay_within<C, B>(
    limit: Duration,
    connection: C,
    host: &str,
    path_and_query: &str,
    mut request: Request<B>,
) -> Result<Response<Incoming>, Error>
where
    C: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let client = hyper::upgrade::on(&mut request);
    let mut response = exchange(limit, connection, client, prepare(host, path_and_query, request)?).await?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        response.headers_mut().remove(header::CONNECTION);
        response.headers_mut().remove(header::TRANSFER_ENCODING);
    }
    Ok(response)
}

/// Sends a request as it is, and answers with what comes back as it is, the head within `limit`. After a `101` that connection and `client`, the
/// upgraded one of who asked, are joined as [`relay`] says.
pub async fn exchange<C, B>(limit: Duration, connection: C, client: OnUpgrade, outgoing: Request<B>) -> Result<Response<Incoming>, Error>
where
    C: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (mut sender, driver) = http1::handshake(TokioIo::new(connection)).await.map_err(Error::Handshake)?;
    tokio::spawn(async move {
        if let Err(error) = driver.with_upgrades().await {
            tracing::debug!(%error, "relayed connection ended");
        }
    });
    let answering = timeout(limit, sender.send_request(outgoing)).await;
    let mut response = answering.map_err(|_| Error::Silent(limit))?.map_err(Error::Exchange)?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let server = hyper::upgrade::on(&mut response);
        tokio::spawn(async move {
            match tokio::try_join!(client, server) {
                Ok((client, server)) => {
                    let (mut client, mut server) = (TokioIo::new(client), TokioIo::new(server));
                    if let Err(error) = tokio::io::copy_bidirectional(&mut client, &mut server).await {
                        tracing::debug!(%error, "relayed stream ended");
                    }
                }
                Err(error) => tracing::debug!(%error, "upgrade failed"),
            }
        });
    }
    Ok(response)
}

fn prepare<B>(host: &str, path_and_query: &str, request: Request<B>) -> Result<Request<B>, Error> {
    let bad_path = |source: http::Error| Error::Path { path: path_and_query.to_owned(), source };
    let uri: Uri = path_and_query.parse().map_err(|error: http::uri::InvalidUri| bad_path(error.into()))?;
    let host = HeaderValue::from_str(host).map_err(|error| bad_path(error.into()))?;
    let (mut parts, body) = request.into_parts();
    let upgrade = parts.headers.get(header::UPGRADE).cloned();
    for name in HOP_BY_HOP.iter().chain(&PRIVATE) {
        parts.headers.remove(name);
    }
    if let Some(upgrade) = upgrade {
        parts.headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        parts.headers.insert(header::UPGRADE, upgrade);
    }
    if let Some(offered) = parts.headers.get(header::SEC_WEBSOCKET_PROTOCOL).and_then(|offered| offered.to_str().ok()) {
        let kept: Vec<&str> = offered.split(',').map(str::trim).filter(|protocol| !protocol.starts_with(PRIVATE_PROTOCOL)).collect();
        // What was a header value is one without some of its parts.
        if let Ok(kept) = HeaderValue::from_str(&kept.join(", ")) {
            parts.headers.insert(header::SEC_WEBSOCKET_PROTOCOL, kept);
        }
    }
    parts.headers.insert(header::HOST, host);
    parts.uri = uri;
    parts.version = http::Version::HTTP_11;
    parts.extensions = http::Extensions::new();
    Ok(Request::from_parts(parts, body))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{BodyExt, Empty, Full};
    use hyper::server::conn::http1 as server;
    use hyper::service::service_fn;
    use std::convert::Infallible;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

    /// A server on one end of a pipe: upgrades `/echo` and sends every byte back, answers others with what was asked.
    fn backend() -> DuplexStream {
        let (ours, theirs) = tokio::io::duplex(1024);
        tokio::spawn(async move {
            let service = service_fn(|mut request: Request<Incoming>| async move {
                if request.uri().path() != "/echo" {
                    let seen =
                        format!("{} {:?} {:?}", request.uri(), request.headers().get("host"), request.headers().get("authorization"));
                    return Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(seen))));
                }
                let upgrade = hyper::upgrade::on(&mut request);
                tokio::spawn(async move {
                    let (mut read, mut write) = tokio::io::split(TokioIo::new(upgrade.await.unwrap()));
                    tokio::io::copy(&mut read, &mut write).await.unwrap();
                });
                let mut response = Response::new(Full::default());
                *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
                response.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("echo"));
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
                Ok(response)
            });
            server::Builder::new().serve_connection(TokioIo::new(theirs), service).with_upgrades().await.unwrap();
        });
        ours
    }

    /// A front that relays everything to a backend of its own.
    fn front() -> DuplexStream {
        let (ours, theirs) = tokio::io::duplex(1024);
        tokio::spawn(async move {
            let service = service_fn(|request: Request<Incoming>| async move {
                let path = request.uri().path().to_owned();
                relay(backend(), "inner", &path, request).await
            });
            let _ = server::Builder::new().serve_connection(TokioIo::new(theirs), service).with_upgrades().await;
        });
        ours
    }

    async fn ask(request: Request<Empty<Bytes>>) -> Response<Incoming> {
        let (mut sender, driver) = http1::handshake(TokioIo::new(front())).await.unwrap();
        tokio::spawn(driver.with_upgrades());
        sender.send_request(request).await.unwrap()
    }

    #[tokio::test]
    async fn an_upgraded_stream_passes_both_ways_until_one_side_closes() {
        let request = Request::get("/echo").header("upgrade", "echo").header("connection", "upgrade").body(Empty::new()).unwrap();
        let response = ask(request).await;
        assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
        let mut stream = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
        stream.write_all(b"hello").await.unwrap();
        let mut answer = [0; 5];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"hello");
        stream.shutdown().await.unwrap();
        assert_eq!(stream.read(&mut answer).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_plain_answer_passes_and_credentials_do_not() {
        let request = Request::get("/plain").header("authorization", "Bearer secret").body(Empty::new()).unwrap();
        let body = ask(request).await.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(&body[..], br#"/plain Some("inner") None"#);
    }

    #[tokio::test]
    async fn who_never_answers_is_not_waited_for() {
        let (connection, _silent) = tokio::io::duplex(1024);
        let request = Request::get("/x").body(Empty::<Bytes>::new()).unwrap();
        let answer = relay_within(Duration::from_millis(1), connection, "inner", "/x", request).await;
        assert!(matches!(answer, Err(Error::Silent(_))));
    }

    #[test]
    fn a_token_in_a_subprotocol_stays_here() {
        let request = Request::get("/x").header("sec-websocket-protocol", "v5.channel.k8s.io, base64url.bearer.authorization.k8s.io.YWJj");
        let prepared = prepare("inner", "/x", request.body(()).unwrap()).unwrap();
        assert_eq!(prepared.headers()["sec-websocket-protocol"], "v5.channel.k8s.io");
    }
}

//! Connections to containerd's own stream server, which listens on the node's loopback.

use axum::http::{Method, Request, StatusCode, Uri, header};
use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::target::Refusal;

/// The header in which clients of SPDY streams name what they speak inside.
const PROTOCOL: &str = "x-stream-protocol-version";

/// A connection to the server of a stream's URL, the server's name and the path to ask for.
///
/// # Errors
/// The URL is malformed or nobody listens.
pub(super) async fn connect(url: &str) -> Result<(TcpStream, String, String), Refusal> {
    let uri: Uri = url.parse().map_err(|error| failed(&error))?;
    let authority = uri.authority().ok_or_else(|| failed(&format_args!("{url} names no server")))?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let connection = TcpStream::connect(authority.as_str()).await.map_err(|error| failed(&error))?;
    // A terminal's keys are small packets that should not wait for each other.
    let _ = connection.set_nodelay(true);
    Ok((connection, authority.to_string(), path.to_owned()))
}

/// A connection on which the server speaks SPDY/3.1 from here on.
///
/// # Errors
/// As [`connect`], and when the server does not agree.
pub(super) async fn spdy(url: &str, protocol: &str) -> Result<TokioIo<Upgraded>, Refusal> {
    let (connection, host, path) = connect(url).await?;
    let request = Request::builder()
        .method(Method::POST)
        .uri(path)
        .header(header::HOST, host)
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "SPDY/3.1")
        .header(PROTOCOL, protocol)
        .body(Empty::<Bytes>::new())
        .map_err(|error| failed(&error))?;
    let (mut sender, driver) = http1::handshake(TokioIo::new(connection)).await.map_err(|error| failed(&error))?;
    tokio::spawn(driver.with_upgrades());
    let response = sender.send_request(request).await.map_err(|error| failed(&error))?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err(failed(&format_args!("it answered {}", response.status())));
    }
    Ok(TokioIo::new(hyper::upgrade::on(response).await.map_err(|error| failed(&error))?))
}

/// A failure between here and the runtime.
pub(super) fn failed(error: &dyn std::fmt::Display) -> Refusal {
    (StatusCode::BAD_GATEWAY, format!("cannot stream from the container runtime: {error}"))
}

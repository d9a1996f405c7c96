//! The server's side of a WebSocket (RFC 6455): which subprotocols a client offers, the answer that accepts one, the orderly end.

use std::time::Duration;

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::{Sink, SinkExt, Stream, StreamExt};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, frame::coding::CloseCode};
use tokio_tungstenite::tungstenite::{Error, Message};

/// A client's WebSocket.
pub(super) type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// How long a client may take to answer the end.
const FAREWELL: Duration = Duration::from_secs(2);

/// True when the request asks for a WebSocket and offers the subprotocol.
pub(super) fn offers(headers: &HeaderMap, protocol: &str) -> bool {
    let is_websocket = headers.get(header::UPGRADE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"));
    let offered = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    is_websocket && offered.flat_map(|list| list.split(',')).any(|name| name.trim() == protocol)
}

/// Answers with an acceptance of the subprotocol; `serve` gets the socket once the client has the answer.
pub(super) fn accept<F>(mut request: Request, protocol: &'static str, serve: impl FnOnce(Socket) -> F + Send + 'static) -> Response
where
    F: Future<Output = ()> + Send,
{
    let key = request.headers().get(header::SEC_WEBSOCKET_KEY).map(|key| derive_accept_key(key.as_bytes()));
    let Some(Ok(key)) = key.map(|key| HeaderValue::from_str(&key)) else {
        return (StatusCode::BAD_REQUEST, "the WebSocket's key is missing").into_response();
    };
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        match upgrade.await {
            Ok(upgraded) => serve(WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await).await,
            Err(error) => tracing::debug!(%error, "WebSocket not begun"),
        }
    });
    let mut response = StatusCode::SWITCHING_PROTOCOLS.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, key);
    headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
    response
}

/// Says that this was all, and waits a moment for the client to agree: closing at once could take back what it has not read yet.
pub(super) async fn close(mut sink: impl Sink<Message> + Unpin, mut source: impl Stream<Item = Result<Message, Error>> + Unpin) {
    let normal = CloseFrame { code: CloseCode::Normal, reason: "".into() };
    if sink.send(Message::Close(Some(normal))).await.is_ok() {
        let rest = async { while let Some(Ok(_)) = source.next().await {} };
        let _ = tokio::time::timeout(FAREWELL, rest).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subprotocol_is_found_in_any_list_of_a_websocket_request() {
        let mut headers = HeaderMap::new();
        headers.append(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("v5.channel.k8s.io, v4.channel.k8s.io"));
        headers.append(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("other"));
        assert!(!offers(&headers, "other"), "no WebSocket is asked for");
        headers.insert(header::UPGRADE, HeaderValue::from_static("WebSocket"));
        assert!(offers(&headers, "v5.channel.k8s.io") && offers(&headers, "v4.channel.k8s.io") && offers(&headers, "other"));
        assert!(!offers(&headers, "v5"));
    }
}

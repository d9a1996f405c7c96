//! A watch over a WebSocket (RFC 6455): each event is a message, of text or, where its encoding is binary, of bytes. What the client sends is passed
//! over. Browsers can watch in no other way that tells them of each event.

use super::credentials::WEBSOCKET_PREFIX;
use crate::audit;
use crate::error::ApiError;
use axum::body::Body;
use futures::{SinkExt, StreamExt};
use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use std::time::Duration;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

/// Most that a client may say at once, in bytes: it has nothing to say.
const SAID: usize = 4096;
/// How long a client that has stopped reading may take to hear of the end.
const FAREWELL: Duration = Duration::from_secs(5);

/// A request that asks for a WebSocket.
pub struct Handshake {
    upgrade: OnUpgrade,
    accept: String,
    protocol: Option<HeaderValue>,
}

impl Handshake {
    /// `None` when the request asks for none; 400 for one that is not as the RFC has it.
    pub fn of(request: &mut Request<Body>) -> Result<Option<Self>, ApiError> {
        let headers = request.headers();
        if !has_token(headers, &CONNECTION, "upgrade") || !has_token(headers, &UPGRADE, "websocket") {
            return Ok(None);
        }
        if !has_token(headers, &SEC_WEBSOCKET_VERSION, "13") {
            return Err(ApiError::bad_request("the WebSocket's version must be 13"));
        }
        let key = headers.get(SEC_WEBSOCKET_KEY).ok_or_else(|| ApiError::bad_request("the WebSocket's key is missing"))?;
        let accept = derive_accept_key(key.as_bytes());
        let protocol = protocols(headers).next().and_then(|protocol| HeaderValue::from_str(protocol).ok());
        Ok(Some(Self { upgrade: hyper::upgrade::on(request), accept, protocol }))
    }

    /// Carries the stream of an answer, whose chunks are one event each; an answer that is no stream stays as it is.
    pub fn carry(self, response: Response<Body>, is_binary: bool) -> Response<Body> {
        if response.status() != StatusCode::OK {
            return response;
        }
        let (mut parts, events) = response.into_parts();
        let events = Body::new(audit::hold(events));
        tokio::spawn(async move {
            let Ok(connection) = self.upgrade.await else { return };
            let config = WebSocketConfig::default().max_message_size(Some(SAID)).max_frame_size(Some(SAID));
            let socket = WebSocketStream::from_raw_socket(TokioIo::new(connection), Role::Server, Some(config)).await;
            send(socket, events, is_binary).await;
        });
        parts.status = StatusCode::SWITCHING_PROTOCOLS;
        parts.headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        parts.headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        // Base64 is a header value.
        if let Ok(accept) = HeaderValue::from_str(&self.accept) {
            parts.headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
        }
        if let Some(protocol) = self.protocol {
            parts.headers.insert(SEC_WEBSOCKET_PROTOCOL, protocol);
        }
        Response::from_parts(parts, Body::empty())
    }
}

/// Sends events until they or the client end.
async fn send<S>(socket: WebSocketStream<S>, events: Body, is_binary: bool)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let (mut sink, mut said) = socket.split();
    let mut events = events.into_data_stream();
    let sending = async {
        while let Some(Ok(event)) = events.next().await {
            let message = if is_binary {
                Message::Binary(event)
            } else {
                match Utf8Bytes::try_from(event) {
                    Ok(text) => Message::Text(text),
                    // JSON is text.
                    Err(_) => return,
                }
            };
            if sink.send(message).await.is_err() {
                return;
            }
        }
        let _ = tokio::time::timeout(FAREWELL, sink.close()).await;
    };
    // Pings and a farewell are answered while this reads; a client that goes ends it.
    let listening = async { while said.next().await.is_some_and(|message| message.is_ok()) {} };
    tokio::select! {
        () = sending => {}
        () = listening => {}
    }
}

/// The subprotocols that are asked for, but for the one that is a token.
fn protocols(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|protocol| !protocol.is_empty() && !protocol.starts_with(WEBSOCKET_PREFIX))
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|value| value.trim().eq_ignore_ascii_case(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(headers: &[(&str, &str)]) -> Request<Body> {
        let mut request = Request::builder().uri("/");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(Body::empty()).expect("a request")
    }

    #[test]
    fn only_who_asks_gets_a_socket_and_its_answer_is_that_of_the_rfc() {
        assert!(Handshake::of(&mut request(&[("connection", "keep-alive")])).expect("plain").is_none());
        let asked = [("connection", "keep-alive, Upgrade"), ("upgrade", "WebSocket")];
        assert_eq!(Handshake::of(&mut request(&asked)).err().map(|error| error.code()), Some(400));
        let whole = [&asked[..], &[("sec-websocket-version", "13"), ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")]].concat();
        let handshake = Handshake::of(&mut request(&whole)).expect("valid").expect("asked for");
        // The example of RFC 6455, 1.3.
        assert_eq!((&handshake.accept[..], handshake.protocol), ("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", None));
    }

    #[test]
    fn a_token_is_no_protocol() {
        let asked = request(&[("sec-websocket-protocol", "base64url.bearer.authorization.k8s.io.YWJj, watch")]);
        assert_eq!(protocols(asked.headers()).collect::<Vec<_>>(), ["watch"]);
    }
}

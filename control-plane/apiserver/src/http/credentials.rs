//! The credentials in a request's headers.

use http::HeaderMap;
use http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// WebSocket clients in browsers cannot set headers: they send the token as a subprotocol of this name.
pub const WEBSOCKET_PREFIX: &str = "base64url.bearer.authorization.k8s.io.";

/// The bearer token, if there is one.
pub fn bearer(headers: &HeaderMap) -> Option<String> {
    let from_header = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned()).filter(|token| !token.is_empty())
    });
    from_header.or_else(|| {
        let protocols = headers.get(SEC_WEBSOCKET_PROTOCOL)?.to_str().ok()?;
        let encoded = protocols.split(',').find_map(|protocol| protocol.trim().strip_prefix(WEBSOCKET_PREFIX))?;
        String::from_utf8(URL_SAFE_NO_PAD.decode(encoded).ok()?).ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn tokens_come_in_a_header_or_a_subprotocol() {
        let mut headers = HeaderMap::new();
        assert_eq!(bearer(&headers), None);
        headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("v4.channel.k8s.io, base64url.bearer.authorization.k8s.io.YWJj"));
        assert_eq!(bearer(&headers).as_deref(), Some("abc"));
        headers.insert(AUTHORIZATION, HeaderValue::from_static("Bearer xyz"));
        assert_eq!(bearer(&headers).as_deref(), Some("xyz"));
        headers.insert(AUTHORIZATION, HeaderValue::from_static("Basic xyz"));
        headers.remove(SEC_WEBSOCKET_PROTOCOL);
        assert_eq!(bearer(&headers), None);
    }
}

//! The headers of requests that are passed on, and of their answers: what is of one connection stays with it (RFC 9110, 7.6.1), and what a client has shown
//! of itself is not for the next server. Pure.

use http::HeaderMap;
use http::header::{AUTHORIZATION, CONNECTION, HeaderName, HeaderValue, SEC_WEBSOCKET_PROTOCOL, TE, UPGRADE};
use orknet_relay::PRIVATE_PROTOCOL;
use std::net::IpAddr;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const OF_ONE_CONNECTION: [&str; 9] = [
    "connection",
    "proxy-connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
/// As whom somebody acts, and for whom a front proxy vouches: worth something only to who has checked it.
const OF_IDENTITIES: [&str; 2] = ["impersonate-", "x-remote-"];

/// Whether the client asks for another protocol on its connection.
pub fn is_upgrade(headers: &HeaderMap) -> bool {
    headers.contains_key(UPGRADE) && listed(headers, &CONNECTION).any(|token| token.eq_ignore_ascii_case("upgrade"))
}

/// Makes a client's headers those of a request to the next server. `peer`: the client's address.
pub fn outgoing(headers: &mut HeaderMap, peer: Option<IpAddr>) {
    let upgrade = is_upgrade(headers).then(|| headers.get(UPGRADE).cloned()).flatten();
    let trailers = listed(headers, &TE).any(|token| token.eq_ignore_ascii_case("trailers"));
    of_message(headers);
    headers.remove(AUTHORIZATION);
    without_identities(headers);
    without_token(headers);
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    if let Some(upgrade) = upgrade {
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, upgrade);
    }
    if let Some(peer) = peer {
        let before: Vec<&str> = headers.get_all(FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok()).collect();
        let all = before.into_iter().map(str::to_owned).chain([peer.to_canonical().to_string()]).collect::<Vec<_>>().join(", ");
        // What were header values, and an address.
        if let Ok(all) = HeaderValue::from_str(&all) {
            headers.insert(FORWARDED_FOR, all);
        }
    }
}

/// Makes the headers of an answer that is no upgrade those of an answer to the client.
pub fn of_message(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = listed(headers, &CONNECTION).filter_map(|token| token.parse().ok()).collect();
    for name in named {
        headers.remove(name);
    }
    for name in OF_ONE_CONNECTION {
        headers.remove(name);
    }
}

/// Takes away what names identities.
fn without_identities(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> =
        headers.keys().filter(|name| OF_IDENTITIES.iter().any(|prefix| name.as_str().starts_with(prefix))).cloned().collect();
    for name in named {
        headers.remove(name);
    }
}

/// Takes away the subprotocol that is a browser's token.
fn without_token(headers: &mut HeaderMap) {
    let offered: Vec<String> = listed(headers, &SEC_WEBSOCKET_PROTOCOL).map(str::to_owned).collect();
    if !offered.iter().any(|protocol| protocol.starts_with(PRIVATE_PROTOCOL)) {
        return;
    }
    let kept: Vec<String> = offered.into_iter().filter(|protocol| !protocol.starts_with(PRIVATE_PROTOCOL)).collect();
    headers.remove(SEC_WEBSOCKET_PROTOCOL);
    // What were header values are one together.
    if let (false, Ok(kept)) = (kept.is_empty(), HeaderValue::from_str(&kept.join(", "))) {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, kept);
    }
}

fn listed<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn what_is_of_the_clients_connection_or_of_its_credentials_stays_here() {
        let mut headers = map(&[
            ("connection", "keep-alive, X-Mine"),
            ("x-mine", "1"),
            ("keep-alive", "5"),
            ("te", "gzip, trailers"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("authorization", "Bearer x"),
            ("impersonate-user", "ann"),
            ("x-remote-group", "system:masters"),
            ("x-remote-extra-a", "b"),
            ("x-forwarded-for", "10.9.9.9"),
            ("cookie", "a=b"),
            ("accept", "text/html"),
        ]);
        outgoing(&mut headers, Some([10, 0, 0, 7].into()));
        assert_eq!(
            headers,
            map(&[("cookie", "a=b"), ("accept", "text/html"), ("te", "trailers"), ("x-forwarded-for", "10.9.9.9, 10.0.0.7")])
        );
    }

    #[test]
    fn an_upgrade_is_passed_on_without_the_token_in_it() {
        let mut headers = map(&[
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-protocol", "chat, base64url.bearer.authorization.k8s.io.YWJj"),
        ]);
        assert!(is_upgrade(&headers));
        outgoing(&mut headers, None);
        assert_eq!(headers, map(&[("connection", "Upgrade"), ("upgrade", "websocket"), ("sec-websocket-protocol", "chat")]));
        assert!(!is_upgrade(&map(&[("upgrade", "websocket")])));
    }
}

//! What a request through a proxy names: `name`, `name:port` or `scheme:name:port`, and a path behind it; and which addresses may be asked. Pure.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::net::IpAddr;

/// A name with its scheme and port, as the path has it. The port is a number or, of Services, a name; empty where there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named<'a> {
    pub https: bool,
    pub name: &'a str,
    pub port: &'a str,
}

impl<'a> Named<'a> {
    /// `None` for another form or scheme.
    pub fn parse(id: &'a str) -> Option<Self> {
        let parts: Vec<&str> = id.split(':').collect();
        let (scheme, name, port) = match parts[..] {
            [name] => ("", name, ""),
            [name, port] => ("", name, port),
            [scheme, name, port] => (scheme, name, port),
            _ => return None,
        };
        (!name.is_empty() && matches!(scheme, "" | "http" | "https")).then_some(Self { https: scheme == "https", name, port })
    }
}

/// Whether a pod's address may be asked: one that is somebody's, and nobody's own ("global unicast" of Go: neither unspecified nor loopback, link-local,
/// multicast or broadcast). Who may reach pods through the server is not to reach what listens on its own loopback, or the metadata of its cloud.
pub fn is_of_a_pod(address: IpAddr) -> bool {
    let is_everybody = matches!(address.to_canonical(), IpAddr::V4(v4) if v4.is_broadcast());
    is_elsewhere(address) && !address.to_canonical().is_unspecified() && !address.to_canonical().is_multicast() && !is_everybody
}

/// Whether an address that a node gives of itself may be asked: neither loopback nor link-local.
pub fn is_elsewhere(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => !v4.is_loopback() && !v4.is_link_local() && v4.octets()[..3] != [224, 0, 0],
        // Link-local and interface-local multicast: ff02::/16, ff01::/16 with any flags.
        IpAddr::V6(v6) => !v6.is_loopback() && v6.segments()[0] & 0xffc0 != 0xfe80 && !matches!(v6.segments()[0] & 0xff0f, 0xff01 | 0xff02),
    }
}

/// The shortest path that means the same (Go's `path.Clean` of what begins with a slash), with the slash that it ends with. Empty stays empty.
pub fn clean(path: &str) -> String {
    if path.is_empty() {
        return String::new();
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    let mut cleaned: String = parts.iter().flat_map(|part| ["/", part]).collect();
    if path.ends_with('/') || cleaned.is_empty() {
        cleaned.push('/');
    }
    cleaned
}

/// What stays as it is in a path, besides letters and digits (RFC 3986: `pchar` and the slash).
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b',')
    .remove(b':')
    .remove(b';')
    .remove(b'=')
    .remove(b'@')
    .remove(b'!')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*');

/// A path as it is written in a request.
pub fn encode(path: &str) -> String {
    utf8_percent_encode(path, PLAIN).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_up_to_three_parts() {
        let read = |id| Named::parse(id).map(|named| (named.https, named.name, named.port));
        assert_eq!(read("a"), Some((false, "a", "")));
        assert_eq!(read("a:80"), Some((false, "a", "80")));
        assert_eq!(read("http:a:web"), Some((false, "a", "web")));
        assert_eq!(read("https:a:"), Some((true, "a", "")));
        assert_eq!(read(":a:80"), Some((false, "a", "80")));
        for wrong in ["", ":80", "ftp:a:80", "https::1", "a:b:c:d"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_servers_own_network_is_not_asked() {
        let address = |text: &str| text.parse::<IpAddr>().expect("an address");
        for text in ["10.0.0.1", "fd00::1", "192.168.0.1", "8.8.8.8", "::ffff:10.0.0.1"] {
            assert!(is_of_a_pod(address(text)) && is_elsewhere(address(text)), "{text}");
        }
        for text in ["127.0.0.1", "127.9.9.9", "::1", "169.254.169.254", "fe80::1", "224.0.0.1", "ff02::1", "::ffff:127.0.0.1"] {
            assert!(!is_of_a_pod(address(text)) && !is_elsewhere(address(text)), "{text}");
        }
        for text in ["0.0.0.0", "::", "239.1.1.1", "255.255.255.255", "ff0e::1"] {
            assert!(!is_of_a_pod(address(text)), "{text}");
        }
    }

    #[test]
    fn paths_lead_nowhere_else() {
        for (path, cleaned) in [
            ("", ""),
            ("/", "/"),
            ("/a", "/a"),
            ("/a//b/", "/a/b/"),
            ("/../../etc", "/etc"),
            ("/a/./b/..", "/a"),
            ("/..", "/"),
            ("//", "/"),
        ] {
            assert_eq!(clean(path), cleaned, "{path}");
        }
        assert_eq!(encode("/a b/ä?#%/x:y@z=1"), "/a%20b/%C3%A4%3F%23%25/x:y@z=1");
    }
}

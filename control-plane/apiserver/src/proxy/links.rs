//! Links in what a backend answers: those to itself are made to lead through the proxy again (`rewriteURL` of Kubernetes' apimachinery). Pure.

use super::address::clean;

/// What links are seen from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View<'a> {
    /// The server's path to the backend's root: `/api/v1/namespaces/a/pods/b/proxy`, as it is written in a URL.
    pub prefix: &'a str,
    /// The backend's host and port.
    pub backend: &'a str,
    /// The host that the client asked for.
    pub asked: &'a str,
}

impl View<'_> {
    /// The link to give the client; `None` where the one that is there is right.
    pub fn rewritten(&self, link: &str) -> Option<String> {
        let parts = Parts::read(link)?;
        let is_of_backend = parts.host.is_empty() || parts.host == self.backend || parts.host == self.asked;
        if !is_of_backend || !parts.path.starts_with('/') {
            return None;
        }
        // The client's own name for the server stays.
        let origin = if parts.host == self.asked { parts.origin } else { "" };
        let path =
            if parts.path.starts_with(self.prefix) { parts.path.to_owned() } else { format!("{}{}", self.prefix, clean(parts.path)) };
        let new = format!("{origin}{path}{}", parts.rest);
        (new != link).then_some(new)
    }
}

/// A link taken apart, each part as it is written.
struct Parts<'a> {
    /// `https://a:1`, `//a`; empty without a host.
    origin: &'a str,
    host: &'a str,
    path: &'a str,
    /// Query and fragment.
    rest: &'a str,
}

impl<'a> Parts<'a> {
    /// `None` for links that are no place (`mailto:a`, `javascript:…`), or are no link.
    fn read(link: &'a str) -> Option<Self> {
        if link.bytes().any(|byte| byte.is_ascii_control() || byte == b' ') {
            return None;
        }
        let end = link.find(['?', '#']).unwrap_or(link.len());
        let (before, rest) = link.split_at(end);
        let after_scheme = match before.find(':') {
            Some(colon) if is_scheme(&before[..colon]) => before[colon + 1..].starts_with("//").then_some(colon + 1)?,
            _ => 0,
        };
        let Some(authority) = before[after_scheme..].strip_prefix("//") else {
            return Some(Self { origin: "", host: "", path: before, rest });
        };
        let length = authority.find('/').unwrap_or(authority.len());
        let (origin, path) = before.split_at(after_scheme + 2 + length);
        let host = authority[..length].rsplit('@').next().unwrap_or_default();
        Some(Self { origin, host, path, rest })
    }
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_to_the_backend_lead_through_the_proxy() {
        let view = View { prefix: "/api/v1/nodes/n/proxy", backend: "10.0.0.1:80", asked: "api.example:6443" };
        for (link, expected) in [
            ("/", "/api/v1/nodes/n/proxy/"),
            ("/a/b?c=/d#e", "/api/v1/nodes/n/proxy/a/b?c=/d#e"),
            ("/a/../b/", "/api/v1/nodes/n/proxy/b/"),
            ("http://10.0.0.1:80/a", "/api/v1/nodes/n/proxy/a"),
            ("//10.0.0.1:80/a", "/api/v1/nodes/n/proxy/a"),
            ("https://api.example:6443/a", "https://api.example:6443/api/v1/nodes/n/proxy/a"),
            ("http://10.0.0.1:80/api/v1/nodes/n/proxy/a", "/api/v1/nodes/n/proxy/a"),
        ] {
            assert_eq!(view.rewritten(link).as_deref(), Some(expected), "{link}");
        }
        for link in [
            "",
            "a/b",
            "../a",
            "?a",
            "#a",
            "mailto:a@b",
            "javascript:go('/x')",
            "http://elsewhere/a",
            "//elsewhere/a",
            "http://10.0.0.1:81/a",
            "http://10.0.0.1:80",
            "/api/v1/nodes/n/proxy/a",
            "/a b",
            "/a\nb",
        ] {
            assert_eq!(view.rewritten(link), None, "{link}");
        }
    }
}

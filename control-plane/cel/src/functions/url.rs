//! URLs: Kubernetes' own library (`apiserver/pkg/cel/library/urls.go`), absolute ones and absolute paths.

use super::{Evaluated, Library, text};
use crate::budget::Budget;
use crate::error::EvalError;
use crate::value::Value;
use std::rc::Rc;

pub const LIBRARY: Library = &[
    ("url", "(string) -> kubernetes.URL", |budget, args| {
        budget.traverse(text(args, 0)?.len())?;
        let of = text(args, 0)?;
        Url::parse(of)
            .map(|url| Value::Url(Rc::new(url)))
            .ok_or_else(|| EvalError::other(format!("URL parse error during conversion from string: {of:.64?}")))
    }),
    ("isURL", "(string) -> bool", |budget, args| {
        budget.traverse(text(args, 0)?.len())?;
        Ok(Value::Bool(Url::parse(text(args, 0)?).is_some()))
    }),
    ("getScheme", PART, |budget, args| part(budget, args, |url| url.scheme.clone())),
    ("getHost", PART, |budget, args| part(budget, args, |url| url.host.clone())),
    ("getHostname", PART, |budget, args| part(budget, args, |url| split_port(&url.host).0.trim_matches(['[', ']']).to_owned())),
    ("getPort", PART, |budget, args| part(budget, args, |url| split_port(&url.host).1.to_owned())),
    ("getEscapedPath", PART, |budget, args| part(budget, args, |url| url.path.clone())),
    ("getQuery", "kubernetes.URL.() -> map<string, list<string>>", query),
];

const PART: &str = "kubernetes.URL.() -> string";

/// Parts of a URL, as they are written. The one home of Go's reading of URLs (`net/url`): expressions, formats of schemas and the rules of addresses of
/// webhooks and approvals ask here.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Url {
    /// In small letters; empty where there is none.
    pub scheme: String,
    /// What is before the `@`.
    pub user: Option<String>,
    /// With the port.
    pub host: String,
    /// With all that a path may not have written as `%XX`.
    pub path: String,
    pub query: String,
    pub fragment: String,
}

impl Url {
    /// What Go's `url.ParseRequestURI` takes: what has a scheme, a path from the root, or `*`.
    pub fn parse(text: &str) -> Option<Self> {
        if text.is_empty() { None } else { Self::read(text, true) }
    }

    /// What Go's `url.Parse` takes: relative ones and fragments too.
    pub fn parse_reference(text: &str) -> Option<Self> {
        let (text, fragment) = text.split_once('#').unwrap_or((text, ""));
        let url = Self::read(text, false).filter(|_| escapes_are_whole(fragment) && is_printable(fragment))?;
        Some(Self { fragment: fragment.to_owned(), ..url })
    }

    fn read(text: &str, is_request: bool) -> Option<Self> {
        if !is_printable(text) {
            return None;
        }
        if text == "*" {
            return Some(Self { path: text.to_owned(), ..Self::default() });
        }
        let (scheme, rest) = split_scheme(text)?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let url = Self { scheme: scheme.to_ascii_lowercase(), query: query.to_owned(), ..Self::default() };
        if !rest.starts_with('/') {
            if !scheme.is_empty() {
                // `mailto:someone` has no parts.
                return Some(url);
            }
            let first = rest.split('/').next().unwrap_or_default();
            return (!is_request && !first.contains(':') && escapes_are_whole(rest)).then(|| Self { path: escaped(rest), ..url });
        }
        let has_host = !scheme.is_empty() || !is_request && !rest.starts_with("///");
        let Some(after) = rest.strip_prefix("//").filter(|_| has_host) else {
            return escapes_are_whole(rest).then(|| Self { path: escaped(rest), ..url });
        };
        let (authority, path) = after.split_at(after.find('/').unwrap_or(after.len()));
        let (user, host) = authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
        let is_right = is_host(host) && user.is_none_or(is_user) && escapes_are_whole(path);
        is_right.then(|| Self { user: user.map(str::to_owned), host: host.to_owned(), path: escaped(path), ..url })
    }
}

fn is_printable(text: &str) -> bool {
    !text.bytes().any(|byte| byte < b' ' || byte == 0x7f)
}

/// The scheme, if there is one, and the rest; `None` where a scheme is missing before its colon.
fn split_scheme(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))).unwrap_or(text.len());
    match text[end..].strip_prefix(':') {
        Some(_) if end == 0 => None,
        Some(rest) if text.starts_with(|c: char| c.is_ascii_alphabetic()) => Some((&text[..end], rest)),
        _ => Some(("", text)),
    }
}

/// A host with or without a port. What is in brackets ends with the last one.
fn is_host(host: &str) -> bool {
    let port = match host.strip_prefix('[') {
        Some(rest) => match rest.rsplit_once(']') {
            Some((_, port)) => port,
            None => return false,
        },
        None => host.rfind(':').map_or("", |at| &host[at..]),
    };
    let port_is_right = port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.bytes().all(|digit| digit.is_ascii_digit()));
    port_is_right && !host.contains([' ', '#', '\\', '^', '`', '{', '|', '}']) && escapes_are_whole(host)
}

fn is_user(user: &str) -> bool {
    user.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(&byte)) && escapes_are_whole(user)
}

fn escapes_are_whole(text: &str) -> bool {
    text.split('%').skip(1).all(|rest| rest.len() >= 2 && rest.as_bytes()[..2].iter().all(u8::is_ascii_hexdigit))
}

/// With all that a path may not have written as `%XX`.
fn escaped(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~$&+,/:;=@!'()*%".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// Host and port; the port may be missing.
fn split_port(host: &str) -> (&str, &str) {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, port),
        _ => (host, ""),
    }
}

fn part<'a>(budget: &mut Budget, args: &[Value<'a>], of: fn(&Url) -> String) -> Evaluated<'a> {
    budget.charge(1)?;
    match args {
        [Value::Url(url)] => {
            budget.work((url.path.len() + url.host.len() + url.scheme.len() + url.query.len()) / 16)?;
            Ok(Value::owned(of(url)))
        }
        _ => Err(EvalError::NoSuchOverload),
    }
}

fn query<'a>(budget: &mut Budget, args: &[Value<'a>]) -> Evaluated<'a> {
    budget.charge(1)?;
    let [Value::Url(url)] = args else { return Err(EvalError::NoSuchOverload) };
    budget.work(url.query.len())?;
    let mut all: std::collections::BTreeMap<String, Vec<Value<'a>>> = std::collections::BTreeMap::new();
    for pair in url.query.split('&').filter(|pair| !pair.is_empty() && !pair.contains(';')) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        if let (Some(key), Some(value)) = (unescaped(key), unescaped(value)) {
            all.entry(key).or_default().push(Value::owned(value));
        }
    }
    let mut entries = Vec::with_capacity(all.len());
    for (key, values) in all {
        entries.push((Value::owned(key), Value::list(values)?));
    }
    Value::map(entries)
}

fn unescaped(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = [bytes.next()?, bytes.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(out).ok()
}

/// Whether the text is one, as requests have them.
pub fn is_url(text: &str) -> bool {
    Url::parse(text).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_as_go_reads_them() {
        let right =
            ["*", "http://a/b c", "mailto:x", "/a", "//a b/c", "http://[::1]:8/", "http://u:p@h:1/", "HTTP://h", "http://h?", "http:///p"];
        for text in right {
            assert!(Url::parse(text).is_some(), "{text}");
        }
        for text in ["", "a", "../a", ":a", "http://a b", "http://a:b/", "/%zz", "http://[::1", "http://a/\u{7f}", "http://u u@h/", "a\nb"]
        {
            assert!(Url::parse(text).is_none(), "{text}");
        }
        let url = Url::parse("HTTPS://me@h:1/a b?c=d").unwrap();
        let parts = (&url.scheme[..], url.user.as_deref(), &url.host[..], &url.path[..], &url.query[..]);
        assert_eq!(parts, ("https", Some("me"), "h:1", "/a%20b", "c=d"));
        // Only a reference may do without a scheme and still have a host.
        assert_eq!((Url::parse("//h/a").unwrap().host, Url::parse_reference("//h/a").unwrap().host), (String::new(), "h".to_owned()));
        assert_eq!(Url::parse_reference("https://h/a#b").unwrap().fragment, "b");
        assert!(Url::parse_reference("a/b").is_some() && Url::parse_reference("1:b").is_none());
    }
}

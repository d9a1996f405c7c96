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

/// Parts of a URL, as they are written.
#[derive(Debug, PartialEq, Eq)]
pub struct Url {
    scheme: String,
    host: String,
    path: String,
    query: String,
}

impl Url {
    /// What Go's `url.ParseRequestURI` takes: a scheme, or a path from the root.
    fn parse(text: &str) -> Option<Self> {
        if text.is_empty() || text.bytes().any(|b| b <= b' ' || b == 0x7f) {
            return None;
        }
        let scheme_end = text
            .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.')))
            .filter(|&end| end > 0 && text[end..].starts_with(':'));
        let (scheme, rest) = match scheme_end {
            Some(end) if text.starts_with(|c: char| c.is_ascii_alphabetic()) => (text[..end].to_ascii_lowercase(), &text[end + 1..]),
            _ => (String::new(), text),
        };
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        if !rest.starts_with('/') && scheme.is_empty() {
            return None;
        }
        let (host, path) = match rest.strip_prefix("//").filter(|_| !scheme.is_empty() || !rest.starts_with("///")) {
            Some(rest) => {
                let slash = rest.find('/').unwrap_or(rest.len());
                (rest[..slash].rsplit_once('@').map_or(&rest[..slash], |(_, host)| host), &rest[slash..])
            }
            None => ("", rest),
        };
        let port = split_port(host).1;
        let bracket = host.contains('[') != host.contains(']') || host.contains([' ', '"', '<', '>', '\\', '^', '`', '{', '}', '|']);
        if bracket || !port.bytes().all(|b| b.is_ascii_digit()) || !escapes_are_whole(path) || !escapes_are_whole(host) {
            return None;
        }
        Some(Self { scheme, host: host.to_owned(), path: escaped(path), query: query.to_owned() })
    }
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

/// Whether the text is one.
pub fn is_url(text: &str) -> bool {
    Url::parse(text).is_some()
}

//! Words of the language.

use crate::error::Issue;

#[derive(Clone, Debug, PartialEq)]
pub enum Token {
    Ident(String),
    Int(String),
    Uint(String),
    Double(String),
    String(String),
    Bytes(Vec<u8>),
    /// Operators and brackets.
    Sign(&'static str),
    End,
}

/// A word with its place in the source, in bytes.
#[derive(Clone, Debug)]
pub struct Spanned {
    pub token: Token,
    pub start: usize,
    pub end: usize,
}

/// Longest first.
const SIGNS: &[&str] =
    &["&&", "||", "==", "!=", "<=", ">=", "<", ">", "+", "-", "*", "/", "%", "!", "?", ":", ".", ",", "(", ")", "[", "]", "{", "}"];

/// All words of the source; the last is [`Token::End`].
pub fn lex(source: &str) -> Result<Vec<Spanned>, Issue> {
    let mut words = Vec::new();
    let mut at = 0;
    while let Some(c) = source[at..].chars().next() {
        let rest = &source[at..];
        if matches!(c, ' ' | '\t' | '\n' | '\r' | '\u{c}') {
            at += 1;
            continue;
        }
        if rest.starts_with("//") {
            at += rest.find('\n').unwrap_or(rest.len());
            continue;
        }
        let (token, length) = word(source, at, rest, c)?;
        words.push(Spanned { token, start: at, end: at + length });
        at += length;
    }
    words.push(Spanned { token: Token::End, start: source.len(), end: source.len() });
    Ok(words)
}

fn word(source: &str, at: usize, rest: &str, first: char) -> Result<(Token, usize), Issue> {
    if let Some(found) = quoted(source, at, rest)? {
        return Ok(found);
    }
    if first.is_ascii_digit() || (first == '.' && rest[1..].starts_with(|c: char| c.is_ascii_digit())) {
        return Ok(number(rest));
    }
    if first.is_ascii_alphabetic() || first == '_' {
        let length = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
        return Ok((Token::Ident(rest[..length].to_owned()), length));
    }
    match SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
        Some(sign) => Ok((Token::Sign(sign), sign.len())),
        None => Err(Issue::at(source, at, format!("Syntax error: token recognition error at: '{first}'"))),
    }
}

fn number(rest: &str) -> (Token, usize) {
    let digits = |from: usize| from + rest[from..].find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len() - from);
    let unsigned = |end: usize| rest[end..].starts_with(['u', 'U']);
    if rest.starts_with("0x") && rest[2..].starts_with(|c: char| c.is_ascii_hexdigit()) {
        let end = 2 + rest[2..].find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(rest.len() - 2);
        let text = rest[..end].to_owned();
        return if unsigned(end) { (Token::Uint(text), end + 1) } else { (Token::Int(text), end) };
    }
    let whole = digits(0);
    let mut end = whole;
    if rest[end..].starts_with('.') && rest[end + 1..].starts_with(|c: char| c.is_ascii_digit()) {
        end = digits(end + 1);
    }
    if rest[end..].starts_with(['e', 'E']) {
        let sign = end + 1 + usize::from(rest[end + 1..].starts_with(['+', '-']));
        if rest[sign..].starts_with(|c: char| c.is_ascii_digit()) {
            end = digits(sign);
        }
    }
    let text = rest[..end].to_owned();
    match (end == whole, unsigned(end)) {
        (true, true) => (Token::Uint(text), end + 1),
        (true, false) => (Token::Int(text), end),
        (false, _) => (Token::Double(text), end),
    }
}

/// A string or bytes, with their prefixes, or `None` for another word.
fn quoted(source: &str, at: usize, rest: &str) -> Result<Option<(Token, usize)>, Issue> {
    let prefix = rest.bytes().take(3).position(|b| matches!(b, b'"' | b'\'')).filter(|&length| {
        rest.get(..length).is_some_and(|marks| matches!(marks.to_ascii_lowercase().as_str(), "" | "r" | "b" | "rb" | "br"))
    });
    let Some(prefix) = prefix else { return Ok(None) };
    let marks = rest[..prefix].to_ascii_lowercase();
    let (raw, bytes) = (marks.contains('r'), marks.contains('b'));
    let body = &rest[prefix..];
    let quote = &body[..1];
    let triple = quote.repeat(3);
    let (mark, many) = if body.starts_with(&triple) { (triple.as_str(), true) } else { (quote, false) };
    let wrong = |offset: usize| {
        Issue::at(source, at + offset, format!("Syntax error: token recognition error at: '{}'", rest.lines().next().unwrap_or_default()))
    };
    let mut out = Vec::new();
    let mut i = mark.len();
    loop {
        let tail = &body[i..];
        if tail.starts_with(mark) {
            i += mark.len();
            break;
        }
        let Some(c) = tail.chars().next() else { return Err(wrong(0)) };
        if !many && matches!(c, '\n' | '\r') {
            return Err(wrong(0));
        }
        if c == '\\' && !raw {
            i += escape(&tail[1..], bytes, &mut out).ok_or_else(|| wrong(0))? + 1;
        } else if c == '\\' {
            // A raw string's quote after a backslash does not end it.
            out.push(b'\\');
            i += 1;
            if let Some(next) = body[i..].chars().next().filter(|c| many || !matches!(c, '\n' | '\r')) {
                out.extend(next.encode_utf8(&mut [0; 4]).as_bytes());
                i += next.len_utf8();
            }
        } else {
            out.extend(c.encode_utf8(&mut [0; 4]).as_bytes());
            i += c.len_utf8();
        }
    }
    let token = if bytes { Token::Bytes(out) } else { Token::String(String::from_utf8(out).map_err(|_| wrong(0))?) };
    Ok(Some((token, prefix + i)))
}

/// What follows a backslash: appends what it stands for, and answers its length in bytes.
fn escape(tail: &str, bytes: bool, out: &mut Vec<u8>) -> Option<usize> {
    let first = tail.chars().next()?;
    let simple = match first {
        'a' => Some(7),
        'b' => Some(8),
        'f' => Some(12),
        'n' => Some(b'\n'),
        'r' => Some(b'\r'),
        't' => Some(b'\t'),
        'v' => Some(11),
        '\\' => Some(b'\\'),
        '\'' => Some(b'\''),
        '"' => Some(b'"'),
        '`' => Some(b'`'),
        '?' => Some(b'?'),
        _ => None,
    };
    if let Some(byte) = simple {
        out.push(byte);
        return Some(1);
    }
    let (start, length, radix) = match first {
        'x' | 'X' => (1, 2, 16),
        'u' if !bytes => (1, 4, 16),
        'U' if !bytes => (1, 8, 16),
        '0'..='3' => (0, 3, 8),
        _ => return None,
    };
    let digits = tail.get(start..start + length).filter(|digits| digits.chars().all(|c| c.is_digit(radix)))?;
    let code = u32::from_str_radix(digits, radix).ok()?;
    if bytes {
        out.push(u8::try_from(code).ok()?);
    } else {
        out.extend(char::from_u32(code)?.encode_utf8(&mut [0; 4]).as_bytes());
    }
    Some(start + length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_what_the_language_says() {
        let kinds = |source: &str| lex(source).unwrap().into_iter().map(|word| word.token).collect::<Vec<_>>();
        assert_eq!(
            kinds("1 2u 0x1F 1.5 1e3 .5"),
            [
                Token::Int("1".into()),
                Token::Uint("2".into()),
                Token::Int("0x1F".into()),
                Token::Double("1.5".into()),
                Token::Double("1e3".into()),
                Token::Double(".5".into()),
                Token::End
            ]
        );
        assert_eq!(
            kinds(r#"'a\n\u00e9\x41\101' r'\d' b'\xff' """a"b""" // rest"#),
            [
                Token::String("a\néAA".into()),
                Token::String(r"\d".into()),
                Token::Bytes(vec![255]),
                Token::String("a\"b".into()),
                Token::End
            ]
        );
        for source in ["'", "'\n'", r"'\q'", r"'\ud800'", "#", "b'\\u0041'", "'''a", "\"\\"] {
            assert!(lex(source).is_err(), "{source}");
        }
    }
}

//! Links in HTML pages that pass through a proxy (`rewriteHTML` of Kubernetes' apimachinery): attributes of tags that are links, found without
//! understanding the page; everything else stays as it is, byte by byte. Pure.

use super::links::View;

/// Tags with the attributes that are links.
const LINKS: &[(&str, &[&str])] = &[
    ("a", &["href"]),
    ("applet", &["codebase"]),
    ("area", &["href"]),
    ("audio", &["src"]),
    ("base", &["href"]),
    ("blockquote", &["cite"]),
    ("body", &["background"]),
    ("button", &["formaction"]),
    ("command", &["icon"]),
    ("del", &["cite"]),
    ("embed", &["src"]),
    ("form", &["action"]),
    ("frame", &["longdesc", "src"]),
    ("head", &["profile"]),
    ("html", &["manifest"]),
    ("iframe", &["longdesc", "src"]),
    ("img", &["longdesc", "src", "usemap"]),
    ("input", &["src", "usemap", "formaction"]),
    ("ins", &["cite"]),
    ("link", &["href"]),
    ("object", &["classid", "codebase", "data", "usemap"]),
    ("q", &["cite"]),
    ("script", &["src"]),
    ("source", &["src"]),
    ("video", &["poster", "src"]),
];

/// Tags whose content is text up to their end.
const TEXTS: &[&str] = &["iframe", "noembed", "noframes", "noscript", "plaintext", "script", "style", "textarea", "title", "xmp"];

/// The page with its links as the view has them.
pub fn rewritten(page: &str, view: &View<'_>) -> String {
    let mut out = String::with_capacity(page.len() + page.len() / 8);
    let mut rest = page;
    while let Some(at) = rest.find('<') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let length = markup(rest, view, &mut out);
        rest = &rest[length..];
    }
    out.push_str(rest);
    out
}

/// Writes what begins with the text's first `<`; its length in the text.
fn markup(text: &str, view: &View<'_>, out: &mut String) -> usize {
    if let Some(comment) = text.strip_prefix("<!--") {
        return copied(text, comment.find("-->").map_or(text.len(), |end| end + "<!---->".len()), out);
    }
    let is_tag = text[1..].starts_with(|first: char| first.is_ascii_alphabetic());
    if !is_tag {
        let is_other = text[1..].starts_with(['/', '!', '?']);
        return copied(text, if is_other { text.find('>').map_or(text.len(), |end| end + 1) } else { 1 }, out);
    }
    let name_end = text.find(|sign: char| sign.is_ascii_whitespace() || matches!(sign, '>' | '/')).unwrap_or(text.len());
    let name = text[1..name_end].to_ascii_lowercase();
    let links = LINKS.iter().find(|(tag, _)| *tag == name).map_or(&[][..], |(_, attributes)| attributes);
    out.push_str(&text[..name_end]);
    let end = name_end + attributes(&text[name_end..], links, view, out);
    if !TEXTS.contains(&&name[..]) || text[..end].ends_with("/>") {
        return end;
    }
    let content = text_length(&text[end..], &name);
    out.push_str(&text[end..end + content]);
    end + content
}

fn copied(text: &str, length: usize, out: &mut String) -> usize {
    out.push_str(&text[..length]);
    length
}

/// Bytes before the closing tag.
fn text_length(text: &str, name: &str) -> usize {
    let mut from = 0;
    while let Some(at) = text[from..].find("</") {
        let begin = from + at + 2;
        if text.as_bytes()[begin..].get(..name.len()).is_some_and(|tag| tag.eq_ignore_ascii_case(name.as_bytes())) {
            return from + at;
        }
        from = begin;
    }
    text.len()
}

/// Writes the attributes up to and with the tag's `>`; their length.
fn attributes(text: &str, links: &[&str], view: &View<'_>, out: &mut String) -> usize {
    let at = |from: usize, wanted: fn(char) -> bool| text[from..].find(wanted).map_or(text.len(), |length| from + length);
    let mut here = 0;
    loop {
        let begin = at(here, |sign| !sign.is_ascii_whitespace() && sign != '/');
        out.push_str(&text[here..begin]);
        if begin == text.len() || text[begin..].starts_with('>') {
            let end = text.len().min(begin + 1);
            out.push_str(&text[begin..end]);
            return end;
        }
        // A name may begin with `=`, and then has it.
        let first = text[begin..].chars().next().map_or(0, char::len_utf8);
        let name_end = at(begin + first, |sign| sign.is_ascii_whitespace() || matches!(sign, '/' | '>' | '='));
        let name = text[begin..name_end].to_ascii_lowercase();
        let after = at(name_end, |sign| !sign.is_ascii_whitespace());
        if !text[after..].starts_with('=') {
            out.push_str(&text[begin..name_end]);
            here = name_end;
            continue;
        }
        let value_begin = at(after + 1, |sign| !sign.is_ascii_whitespace());
        let (from, to) = match text[value_begin..].chars().next() {
            Some('"') => (value_begin + 1, at(value_begin + 1, |sign| sign == '"')),
            Some('\'') => (value_begin + 1, at(value_begin + 1, |sign| sign == '\'')),
            _ => (value_begin, at(value_begin, |sign| sign.is_ascii_whitespace() || sign == '>')),
        };
        out.push_str(&text[begin..from]);
        let value = &text[from..to];
        let new = links.contains(&&name[..]).then(|| view.rewritten(value.trim_matches(|sign: char| sign.is_ascii_whitespace()))).flatten();
        out.push_str(new.as_deref().unwrap_or(value));
        here = to;
        if from > value_begin && to < text.len() {
            out.push_str(&text[to..=to]);
            here = to + 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(page: &str) -> String {
        rewritten(page, &View { prefix: "/p", backend: "b:80", asked: "a" })
    }

    #[test]
    fn links_are_found_in_every_way_of_writing_them() {
        for (page, expected) in [
            ("<a href=\"/x\">x</a>", "<a href=\"/p/x\">x</a>"),
            ("<A\n HREF = '/x?a=1&amp;b=2' class=c>", "<A\n HREF = '/p/x?a=1&amp;b=2' class=c>"),
            ("<a href=/x>y</a>", "<a href=/p/x>y</a>"),
            ("<img alt='>' src=\"/i.png\"/>", "<img alt='>' src=\"/p/i.png\"/>"),
            ("<form disabled action=\"http://b:80/go\">", "<form disabled action=\"/p/go\">"),
            (
                "<script src=\"/s.js\">if (a<b) { x = '<a href=\"/no\">' }</script><a href='/y'>",
                "<script src=\"/p/s.js\">if (a<b) { x = '<a href=\"/no\">' }</script><a href='/p/y'>",
            ),
        ] {
            assert_eq!(seen(page), expected);
        }
    }

    #[test]
    fn everything_else_stays_as_it_is() {
        for page in [
            "",
            "no page",
            "<!DOCTYPE html><!-- <a href=\"/x\"> --><p title='/x'>1 < 2</p>",
            "<a href=\"x\"><a href=\"http://other/x\"><a data-href=\"/x\">",
            "<a href=\"/unclosed",
            "<a href=",
            "<a =\"/x\" href",
            "<",
            "<a",
            "</a href=\"/x\">",
            "<?php echo '<b>' ?>ä<",
            "<div href=\"/x\">",
        ] {
            let expected = if page == "<a href=\"/unclosed" { "<a href=\"/p/unclosed" } else { page };
            assert_eq!(seen(page), expected);
        }
    }
}

//! Text: the language's own functions, and those of cel-go's strings library (version 2, as Kubernetes has it).

use super::{Evaluated, Library, int, list, text};
use crate::budget::{Budget, tenth};
use crate::error::EvalError;
use crate::value::Value;

pub const LIBRARY: Library = &[
    ("startsWith", "string.(string) -> bool", |budget, args| {
        budget.traverse(text(args, 0)?.len())?;
        Ok(Value::Bool(text(args, 0)?.starts_with(text(args, 1)?)))
    }),
    ("endsWith", "string.(string) -> bool", |budget, args| {
        budget.traverse(text(args, 0)?.len())?;
        Ok(Value::Bool(text(args, 0)?.ends_with(text(args, 1)?)))
    }),
    ("contains", "string.(string) -> bool", |budget, args| {
        let (of, part) = (text(args, 0)?, text(args, 1)?);
        budget.charge(tenth(of.len()) * tenth(part.len()))?;
        Ok(Value::Bool(of.contains(part)))
    }),
    ("charAt", "string.(int) -> string", char_at),
    ("indexOf", "string.(string) -> int; string.(string, int) -> int", |budget, args| position(budget, args, false)),
    ("lastIndexOf", "string.(string) -> int; string.(string, int) -> int", |budget, args| position(budget, args, true)),
    ("lowerAscii", "string.() -> string", |budget, args| {
        budget.traverse(text(args, 0)?.len())?;
        Ok(Value::owned(text(args, 0)?.to_ascii_lowercase()))
    }),
    ("upperAscii", "string.() -> string", |budget, args| {
        budget.traverse(text(args, 0)?.len())?;
        Ok(Value::owned(text(args, 0)?.to_ascii_uppercase()))
    }),
    ("trim", "string.() -> string", |budget, args| {
        budget.traverse(text(args, 0)?.len())?;
        Ok(Value::owned(text(args, 0)?.trim()))
    }),
    ("replace", "string.(string, string) -> string; string.(string, string, int) -> string", replace),
    ("split", "string.(string) -> list<string>; string.(string, int) -> list<string>", split),
    ("substring", "string.(int) -> string; string.(int, int) -> string", substring),
    ("join", "list<string>.() -> string; list<string>.(string) -> string", join),
    ("strings.quote", "(string) -> string", quote),
];

/// Pays for two passes over a text.
fn twice(budget: &mut Budget, length: usize) -> Result<(), EvalError> {
    budget.traverse(length.saturating_mul(2))
}

fn out_of_range(i: i64) -> EvalError {
    EvalError::other(format!("index out of range: {i}"))
}

/// The byte at which the character begins; the end counts.
fn byte_of(text: &str, character: usize) -> Option<usize> {
    text.char_indices().map(|(at, _)| at).chain([text.len()]).nth(character)
}

fn char_at<'a>(budget: &mut Budget, args: &[Value<'a>]) -> Evaluated<'a> {
    let (of, i) = (text(args, 0)?, int(args, 1)?);
    budget.traverse(of.len())?;
    let at = usize::try_from(i).ok().and_then(|i| byte_of(of, i)).ok_or_else(|| out_of_range(i))?;
    Ok(Value::owned(of[at..].chars().next().map(String::from).unwrap_or_default()))
}

/// Whether the part can be in the text at all. A part that is longer is looked for nowhere: preparing the search would be work by the part's length,
/// and what is paid for is the text's.
fn fits(of: &str, part: &str) -> bool {
    part.len() <= of.len()
}

/// In characters; -1 where it is not. From an offset on, or, for the last, up to one.
fn position<'a>(budget: &mut Budget, args: &[Value<'a>], last: bool) -> Evaluated<'a> {
    let (of, part) = (text(args, 0)?, text(args, 1)?);
    budget.traverse(of.len())?;
    let from = if args.len() > 2 { Some(int(args, 2)?) } else { None };
    let offset = match from {
        Some(i) => usize::try_from(i).ok().and_then(|i| byte_of(of, i)).ok_or_else(|| out_of_range(i))?,
        None if last => of.len(),
        None => 0,
    };
    let found = if !fits(of, part) {
        None
    } else if last {
        let end = offset.saturating_add(part.len()).min(of.len());
        let end = (end..=of.len()).find(|&end| of.is_char_boundary(end)).unwrap_or(of.len());
        of[..end].rfind(part)
    } else {
        of[offset..].find(part).map(|at| at + offset)
    };
    Ok(found.map_or(Value::Int(-1), |at| super::count(of[..at].chars().count())))
}

fn replace<'a>(budget: &mut Budget, args: &[Value<'a>]) -> Evaluated<'a> {
    let (of, part, by) = (text(args, 0)?, text(args, 1)?, text(args, 2)?);
    let limit = if args.len() > 3 { usize::try_from(int(args, 3)?).ok() } else { None };
    twice(budget, of.len())?;
    if !fits(of, part) {
        return Ok(args.first().cloned().unwrap_or(Value::Null));
    }
    let found = of.matches(part).count().min(limit.unwrap_or(usize::MAX));
    // What is made is paid for before it is.
    budget.traverse(found.saturating_mul(by.len()))?;
    Ok(Value::owned(limit.map_or_else(|| of.replace(part, by), |limit| of.replacen(part, by, limit))))
}

fn split<'a>(budget: &mut Budget, args: &[Value<'a>]) -> Evaluated<'a> {
    let (of, by) = (text(args, 0)?, text(args, 1)?);
    let limit = if args.len() > 2 { usize::try_from(int(args, 2)?).unwrap_or(usize::MAX) } else { usize::MAX };
    twice(budget, of.len())?;
    budget.work(match by {
        "" => of.len(),
        by if fits(of, by) => of.matches(by).count().min(limit),
        _ => 0,
    })?;
    let items: Vec<Value<'a>> = match (limit, by) {
        (0, _) => Vec::new(),
        (1, _) => vec![Value::owned(of)],
        (_, by) if !fits(of, by) => vec![Value::owned(of)],
        // Nothing splits between all characters.
        (_, "") => {
            let mut items: Vec<Value<'a>> = Vec::new();
            let mut rest = of;
            while let Some(c) = rest.chars().next() {
                if items.len() + 1 == limit {
                    break;
                }
                items.push(Value::owned(&rest[..c.len_utf8()]));
                rest = &rest[c.len_utf8()..];
            }
            if !rest.is_empty() {
                items.push(Value::owned(rest));
            }
            items
        }
        (limit, by) => of.splitn(limit, by).map(Value::owned).collect(),
    };
    Value::list(items)
}

fn substring<'a>(budget: &mut Budget, args: &[Value<'a>]) -> Evaluated<'a> {
    let of = text(args, 0)?;
    budget.traverse(of.len())?;
    let at = |i: i64| usize::try_from(i).ok().and_then(|i| byte_of(of, i)).ok_or_else(|| out_of_range(i));
    let from = int(args, 1)?;
    let start = at(from)?;
    let end = if args.len() > 2 { at(int(args, 2)?)? } else { of.len() };
    of.get(start..end).map(Value::owned).ok_or_else(|| {
        EvalError::other(format!("invalid substring range. start: {from}, end: {}", args.get(2).map(Value::shown).unwrap_or_default()))
    })
}

fn join<'a>(budget: &mut Budget, args: &[Value<'a>]) -> Evaluated<'a> {
    let items = list(args, 0)?;
    let by = if args.len() > 1 { text(args, 1)? } else { "" };
    budget.work(items.len())?;
    let mut length = items.len().saturating_mul(by.len());
    for item in items.iter() {
        length = length.saturating_add(item.as_str().ok_or(EvalError::NoSuchOverload)?.len());
    }
    twice(budget, length)?;
    let mut out = String::with_capacity(length);
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            out.push_str(by);
        }
        out.push_str(item.as_str().unwrap_or_default());
    }
    Ok(Value::owned(out))
}

fn quote<'a>(budget: &mut Budget, args: &[Value<'a>]) -> Evaluated<'a> {
    let of = text(args, 0)?;
    twice(budget, of.len())?;
    let mut out = String::with_capacity(of.len() + 2);
    out.push('"');
    for c in of.chars() {
        match c {
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            c => out.push(c),
        }
    }
    out.push('"');
    Ok(Value::owned(out))
}

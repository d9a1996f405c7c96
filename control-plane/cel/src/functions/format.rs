//! `format`: `'%s has %d'.format([name, n])`, of cel-go's strings library.

use super::{Evaluated, Library, list, text};
use crate::budget::Budget;
use crate::error::EvalError;
use crate::value::Value;

pub const LIBRARY: Library = &[("format", "string.(list<dyn>) -> string", format)];

/// Digits after the point may be so many.
const MAX_PRECISION: usize = 100;

fn format<'a>(budget: &mut Budget, args: &[Value<'a>]) -> Evaluated<'a> {
    let (pattern, items) = (text(args, 0)?, list(args, 1)?);
    budget.traverse(pattern.len())?;
    let mut out = String::new();
    let mut items = items.iter();
    let mut rest = pattern;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(tail) = rest.strip_prefix('%') {
            out.push('%');
            rest = tail;
            continue;
        }
        let mut precision = None;
        if let Some(tail) = rest.strip_prefix('.') {
            let end = tail.find(|c: char| !c.is_ascii_digit()).unwrap_or(tail.len());
            let digits: usize = tail[..end].parse().map_err(|_| wrong("error while parsing precision"))?;
            if digits > MAX_PRECISION {
                return Err(wrong("precision is too large"));
            }
            precision = Some(digits);
            rest = &tail[end..];
        }
        let clause = rest.chars().next().ok_or_else(|| wrong("unexpected end of string"))?;
        rest = &rest[clause.len_utf8()..];
        let item = items.next().ok_or_else(|| wrong("index out of range"))?;
        let before = out.len();
        one(budget, clause, precision, &item, &mut out)?;
        budget.traverse(out.len() - before)?;
    }
    out.push_str(rest);
    Ok(Value::owned(out))
}

fn wrong(why: impl std::fmt::Display) -> EvalError {
    EvalError::other(format!("could not parse formatting clause: {why}"))
}

fn one(budget: &mut Budget, clause: char, precision: Option<usize>, item: &Value<'_>, out: &mut String) -> Result<(), EvalError> {
    let unfit = |kinds: &str| wrong(format!("{clause:?} can only be used on {kinds}, was given {}", item.type_name()));
    match (clause, item) {
        ('s', item) => shown(budget, item, out)?,
        ('d', Value::Int(_) | Value::Uint(_)) => out.push_str(&item.shown()),
        ('d', Value::Double(f)) if !f.is_finite() => out.push_str(&not_finite(*f)),
        ('d', _) => return Err(unfit("integers")),
        ('b', Value::Int(i)) => out.push_str(&signed(*i, |n| format!("{n:b}"))),
        ('b', Value::Uint(u)) => out.push_str(&format!("{u:b}")),
        ('b', Value::Bool(b)) => out.push(if *b { '1' } else { '0' }),
        ('b', _) => return Err(unfit("integers and bools")),
        ('o', Value::Int(i)) => out.push_str(&signed(*i, |n| format!("{n:o}"))),
        ('o', Value::Uint(u)) => out.push_str(&format!("{u:o}")),
        ('o', _) => return Err(unfit("integers")),
        ('x' | 'X', _) => {
            let hex = match item {
                Value::Int(i) => signed(*i, |n| format!("{n:x}")),
                Value::Uint(u) => format!("{u:x}"),
                Value::String(text) => hex(budget, text.as_bytes())?,
                Value::Bytes(bytes) => {
                    let bytes = bytes.read(budget)?;
                    hex(budget, &bytes)?
                }
                _ => return Err(unfit("integers, byte buffers, and strings")),
            };
            out.push_str(&if clause == 'X' { hex.to_uppercase() } else { hex });
        }
        ('f' | 'e', _) => {
            let f = number(item).ok_or_else(|| unfit("doubles"))?;
            let digits = precision.unwrap_or(6);
            if !f.is_finite() {
                out.push_str(&not_finite(f));
            } else if clause == 'f' {
                out.push_str(&format!("{f:.digits$}"));
            } else {
                let text = format!("{f:.digits$e}");
                let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
                let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |digits| ('-', digits));
                out.push_str(&format!("{mantissa}e{sign}{exponent:0>2}"));
            }
        }
        _ => return Err(wrong(format!("unrecognized formatting clause {clause:?}"))),
    }
    Ok(())
}

fn not_finite(f: f64) -> String {
    if f.is_nan() {
        "NaN"
    } else if f > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    }
    .to_owned()
}

fn signed(i: i64, digits: impl Fn(u64) -> String) -> String {
    format!("{}{}", if i < 0 { "-" } else { "" }, digits(i.unsigned_abs()))
}

fn hex(budget: &mut Budget, bytes: &[u8]) -> Result<String, EvalError> {
    budget.traverse(bytes.len() * 2)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[allow(clippy::cast_precision_loss, reason = "the nearest double is what is shown")]
fn number(item: &Value<'_>) -> Option<f64> {
    match item {
        Value::Double(f) => Some(*f),
        Value::Int(i) => Some(*i as f64),
        Value::Uint(u) => Some(*u as f64),
        Value::String(text) => match &**text {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            _ => None,
        },
        _ => None,
    }
}

/// `%s`: lists and maps with all that is in them, keys in order.
fn shown(budget: &mut Budget, item: &Value<'_>, out: &mut String) -> Result<(), EvalError> {
    budget.work(1)?;
    match item {
        Value::String(text) => {
            budget.traverse(text.len())?;
            out.push_str(text);
        }
        Value::Bytes(bytes) => {
            budget.traverse(bytes.len())?;
            out.push_str(&String::from_utf8_lossy(&bytes.read(budget)?));
        }
        Value::Null => out.push_str("null"),
        Value::Double(f) if !f.is_finite() => out.push_str(&not_finite(*f)),
        Value::Type(name) => out.push_str(name),
        Value::List(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push_str(", ");
                }
                shown(budget, &item, out)?;
            }
            out.push(']');
        }
        Value::Map(map) => {
            out.push('{');
            for (i, (key, value)) in map.entries(budget)?.enumerate() {
                if i > 0 {
                    out.push_str(", ");
                }
                shown(budget, &key, out)?;
                out.push_str(": ");
                shown(budget, &value, out)?;
            }
            out.push('}');
        }
        other => match super::convert::to_string(other) {
            Some(text) => out.push_str(&text),
            None => return Err(wrong(format!("no formatting function for {}", other.type_name()))),
        },
    }
    Ok(())
}

//! Conversions between types (`bool()`, `int()`, `string()` …), in Go's forms of numbers.

use super::{Evaluated, Library};
use crate::budget::Budget;
use crate::error::EvalError;
use crate::value::{Bytes, Value};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

pub const LIBRARY: Library = &[
    ("dyn", "(A) -> dyn", |budget, args| {
        budget.charge(1)?;
        args.first().cloned().ok_or(EvalError::NoSuchOverload)
    }),
    ("bool", "(bool) -> bool; (string) -> bool", to_bool),
    ("int", "(int) -> int; (uint) -> int; (double) -> int; (string) -> int; (timestamp) -> int; (duration) -> int", to_int),
    ("uint", "(uint) -> uint; (int) -> uint; (double) -> uint; (string) -> uint", to_uint),
    ("double", "(double) -> double; (int) -> double; (uint) -> double; (string) -> double", to_double),
    (
        "string",
        "(string) -> string; (bool) -> string; (int) -> string; (uint) -> string; (double) -> string; (bytes) -> string; \
         (timestamp) -> string; (duration) -> string; (net.IP) -> string; (net.CIDR) -> string",
        text,
    ),
    ("bytes", "(bytes) -> bytes; (string) -> bytes", bytes),
];

fn wrong(value: &Value<'_>, to: &str) -> EvalError {
    match value {
        Value::String(text) => {
            EvalError::other(format!("type conversion error from '{}' to '{to}': \"{:.64}\"", value.type_name(), &**text))
        }
        _ => EvalError::other(format!("type conversion error from '{}' to '{to}'", value.type_name())),
    }
}

fn to_bool<'a>(budget: &mut Budget, args: &[Value<'a>]) -> Evaluated<'a> {
    budget.charge(1)?;
    match args {
        [Value::Bool(b)] => Ok(Value::Bool(*b)),
        [value @ Value::String(text)] => match &**text {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Value::Bool(true)),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Value::Bool(false)),
            _ => Err(wrong(value, "bool")),
        },
        _ => Err(EvalError::NoSuchOverload),
    }
}

/// Whole numbers of Go: a sign, and digits alone.
fn digits(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    !unsigned.is_empty() && unsigned.bytes().all(|b| b.is_ascii_digit())
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within the range that was asked for just before")]
fn to_int<'a>(budget: &mut Budget, args: &[Value<'a>]) -> Evaluated<'a> {
    budget.charge(1)?;
    let overflow = || EvalError::other("integer overflow");
    Ok(Value::Int(match args {
        [Value::Int(i)] => *i,
        [Value::Uint(u)] => i64::try_from(*u).map_err(|_| overflow())?,
        [Value::Double(f)] if f.abs() < 9_223_372_036_854_775_807.0 => *f as i64,
        [Value::Double(_)] => return Err(overflow()),
        [value @ Value::String(text)] => {
            budget.traverse(text.len())?;
            text.parse().ok().filter(|_| digits(text)).ok_or_else(|| wrong(value, "int"))?
        }
        [Value::Timestamp(t)] => t.as_second(),
        [Value::Duration(d)] => *d,
        _ => return Err(EvalError::NoSuchOverload),
    }))
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within the range that was asked for just before")]
fn to_uint<'a>(budget: &mut Budget, args: &[Value<'a>]) -> Evaluated<'a> {
    budget.charge(1)?;
    let overflow = || EvalError::other("unsigned integer overflow");
    Ok(Value::Uint(match args {
        [Value::Uint(u)] => *u,
        [Value::Int(i)] => u64::try_from(*i).map_err(|_| overflow())?,
        [Value::Double(f)] if (0.0..18_446_744_073_709_551_615.0).contains(f) => *f as u64,
        [Value::Double(_)] => return Err(overflow()),
        [value @ Value::String(text)] => {
            budget.traverse(text.len())?;
            text.parse().ok().filter(|_| digits(text) && !text.starts_with('+')).ok_or_else(|| wrong(value, "uint"))?
        }
        _ => return Err(EvalError::NoSuchOverload),
    }))
}

#[allow(clippy::cast_precision_loss, reason = "the nearest double is what is asked for")]
fn to_double<'a>(budget: &mut Budget, args: &[Value<'a>]) -> Evaluated<'a> {
    budget.charge(1)?;
    Ok(Value::Double(match args {
        [Value::Double(f)] => *f,
        [Value::Int(i)] => *i as f64,
        [Value::Uint(u)] => *u as f64,
        [value @ Value::String(text)] => {
            budget.traverse(text.len())?;
            text.parse().map_err(|_| wrong(value, "double"))?
        }
        _ => return Err(EvalError::NoSuchOverload),
    }))
}

fn text<'a>(budget: &mut Budget, args: &[Value<'a>]) -> Evaluated<'a> {
    match args {
        [value @ Value::String(_)] => {
            budget.charge(1)?;
            Ok(value.clone())
        }
        [Value::Bytes(bytes)] => {
            budget.traverse(bytes.len())?;
            let bytes = bytes.read(budget)?;
            let text = std::str::from_utf8(&bytes).map_err(|_| EvalError::other("invalid UTF-8 in bytes, cannot convert to string"))?;
            Ok(Value::owned(text))
        }
        [value] => {
            budget.charge(1)?;
            to_string(value).map(Value::owned).ok_or(EvalError::NoSuchOverload)
        }
        _ => Err(EvalError::NoSuchOverload),
    }
}

fn bytes<'a>(budget: &mut Budget, args: &[Value<'a>]) -> Evaluated<'a> {
    match args {
        [value @ Value::Bytes(_)] => {
            budget.charge(1)?;
            Ok(value.clone())
        }
        [Value::String(text)] => {
            budget.traverse(text.len())?;
            Ok(Value::Bytes(Bytes::Owned(text.as_bytes().into())))
        }
        _ => Err(EvalError::NoSuchOverload),
    }
}

/// The text of a scalar; of bytes their base64.
pub fn to_string(value: &Value<'_>) -> Option<String> {
    Some(match value {
        Value::Bool(b) => b.to_string(),
        Value::Int(i) => i.to_string(),
        Value::Uint(u) => u.to_string(),
        Value::Double(f) => double(*f),
        Value::String(text) => text.to_string(),
        Value::Bytes(Bytes::Encoded(text)) => (*text).to_owned(),
        Value::Bytes(Bytes::Owned(bytes)) => STANDARD.encode(bytes),
        Value::Timestamp(t) => t.to_string(),
        Value::Duration(d) => super::time::show_duration(*d),
        Value::Ip(ip) => ip.to_string(),
        Value::Cidr(cidr) => cidr.to_string(),
        Value::Quantity(quantity) => quantity.to_string(),
        Value::Semver(version) => version.to_string(),
        _ => return None,
    })
}

/// The bytes of a text in base64.
pub fn base64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

/// As Go's `%g`: the fewest digits that tell the number, with an exponent below -4 and from 6 on.
pub fn double(f: f64) -> String {
    if f.is_nan() {
        return "NaN".to_owned();
    }
    if f.is_infinite() {
        return if f > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let scientific = format!("{f:e}");
    let Some((mantissa, exponent)) = scientific.split_once('e') else { return scientific };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..6).contains(&exponent) || f == 0.0 {
        return format!("{f}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}

//! Types, numbers, texts and enumerations.

use super::validate::{At, Found, type_of};
use super::{Checks, Node, Type, Types};
use crate::complaint::{self, float, quoted};
use serde_json::{Number, Value};

/// Whether the value is of the type that the node asks for.
pub(super) fn types(node: &Node, value: &Value, at: At<'_>, found: &mut Found) {
    let format = node.checks.as_deref().and_then(|checks| checks.format.as_ref()).map(|(name, _)| &name[..]);
    if node.types == Types::Any && format.is_none() {
        return;
    }
    let wrong = match type_of(value) {
        None => (!node.nullable && node.types != Types::Any).then(|| at.wrong_type(node.types.text(), "null")),
        Some(own) => {
            let fits = node.types.contains(own)
                || (own == Type::Integer && node.types.contains(Type::Number))
                || (own == Type::Number && node.types.contains(Type::Integer) && value.as_f64().is_some_and(is_whole));
            match (fits, format) {
                (true, _) => None,
                (false, Some(_)) if node.types == Types::Any => None,
                // A format speaks for the type where the value is no text.
                (false, Some(format)) if !matches!(own, Type::String | Type::Array) => Some(at.wrong_type(format, format_of(own))),
                _ => Some(at.wrong_type(node.types.text(), own.name())),
            }
        }
    };
    match wrong {
        Some(wrong) => found.errors.push(wrong),
        None => found.passed += 1,
    }
}

/// What Go calls the form of a decoded value.
fn format_of(own: Type) -> &'static str {
    match own {
        Type::Integer => "int64",
        Type::Number => "float64",
        _ => "",
    }
}

pub(super) fn check(checks: &Checks, value: &Value, at: At<'_>, found: &mut Found) {
    match value {
        Value::String(text) => texts(checks, text, at, found),
        Value::Number(number) => numbers(checks, number, at, found),
        _ => {}
    }
}

fn texts(checks: &Checks, text: &str, at: At<'_>, found: &mut Found) {
    let value = || Value::from(text);
    let length = || i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
    if let Some(max) = checks.max_length.filter(|max| length() > *max) {
        found.errors.push(complaint::too_long(at.field(), max));
    } else if let Some(min) = checks.min_length.filter(|min| length() < *min) {
        found.errors.push(at.invalid(&value(), format_args!("should be at least {min} chars long")));
    } else if let Some((pattern, _)) = checks.pattern.as_ref().filter(|(_, expression)| !expression.is_match(text)) {
        found.errors.push(at.invalid(&value(), format_args!("should match '{pattern}'")));
    }
    if let Some((name, Some(format))) = &checks.format
        && !format.allows(text)
    {
        let detail = format!("{} in body must be of type {name}: {}", at.name(), quoted(text));
        found.errors.push(complaint::about(orknet_resources::Cause::TypeInvalid, at.field(), &value(), detail));
    }
}

fn numbers(checks: &Checks, number: &Number, at: At<'_>, found: &mut Found) {
    let value = Value::from(number.clone());
    // Whole numbers are compared with the bound's whole part.
    let whole = number.as_i64();
    let own = number.as_f64().unwrap_or_default();
    let beyond = |bound: f64, exclusive: bool, above: bool| match whole {
        Some(own) if above => own > bound as i64 || (exclusive && own == bound as i64),
        Some(own) => own < bound as i64 || (exclusive && own == bound as i64),
        None if above => own > bound || (exclusive && own == bound),
        None => own < bound || (exclusive && own == bound),
    };
    let shown = |bound: f64| if whole.is_some() { (bound as i64).to_string() } else { float(bound) };
    if let Some(factor) = checks.multiple_of {
        if factor < 0.0 {
            let detail = format!("factor MultipleOf declared for {} must be positive: {}", at.name(), shown(factor));
            found.errors.push(complaint::invalid(at.field(), &factor.into(), detail));
        } else if !is_multiple(whole, own, factor) {
            found.errors.push(at.invalid(&value, format_args!("should be a multiple of {}", float(factor))));
        }
    }
    if let Some(max) = checks.maximum.filter(|max| beyond(*max, checks.exclusive_maximum, true)) {
        let or_equal = if checks.exclusive_maximum { "" } else { " or equal to" };
        found.errors.push(at.invalid(&value, format_args!("should be less than{or_equal} {}", shown(max))));
    }
    if let Some(min) = checks.minimum.filter(|min| beyond(*min, checks.exclusive_minimum, false)) {
        let or_equal = if checks.exclusive_minimum { "" } else { " or equal to" };
        found.errors.push(at.invalid(&value, format_args!("should be greater than{or_equal} {}", shown(min))));
    }
}

fn is_multiple(whole: Option<i64>, own: f64, factor: f64) -> bool {
    match whole {
        // A factor below 1 has no whole part to divide by.
        Some(own) if factor >= 1.0 => own % (factor as i64) == 0,
        _ if factor == 0.0 => own == 0.0,
        _ if factor < 1.0 => is_whole(1.0 / factor * own),
        _ => is_whole(own / factor),
    }
}

/// Whether a number is one of JSON's integers, up to what floats cannot tell.
fn is_whole(number: f64) -> bool {
    const LARGEST: f64 = 9_007_199_254_740_991.0;
    let difference = (number - number.trunc()).abs().min((number - number.round()).abs());
    number.abs() <= LARGEST && (difference == 0.0 || difference / (2.0 * number.abs()) < 1e-9)
}

/// Whether the value is one of those listed.
pub(super) fn values(checks: &Checks, value: &Value, at: At<'_>, found: &mut Found) {
    if checks.values.is_empty() || checks.values.iter().any(|known| !value.is_null() && equal(known, value)) {
        return;
    }
    let name = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let names: Vec<String> = checks.values.iter().map(name).collect();
    found.errors.push(complaint::not_supported(at.field(), value, &names));
}

fn equal(one: &Value, other: &Value) -> bool {
    one == other || matches!((one, other), (Value::Number(one), Value::Number(other)) if one.as_f64() == other.as_f64())
}

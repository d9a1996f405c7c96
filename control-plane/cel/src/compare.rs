//! Equality and order. Numbers of different types compare by value; what else differs in type is unequal, and has no order.

use crate::budget::Budget;
use crate::error::EvalError;
use crate::types::ListKind;
use crate::value::{Key, List, Map, Value};
use std::cmp::Ordering;

/// `a == b`. Goes through both as far as they are equal, and pays for it.
pub fn equal<'a>(a: &Value<'a>, b: &Value<'a>, budget: &mut Budget) -> Result<bool, EvalError> {
    // Taking both out of their lists or objects is most of it.
    budget.work(4)?;
    Ok(match (a, b) {
        (Value::Null, Value::Null) | (Value::Optional(None), Value::Optional(None)) => true,
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::Int(_) | Value::Uint(_) | Value::Double(_), _) => numbers(a, b) == Some(Ordering::Equal),
        (Value::String(a), Value::String(b)) => {
            budget.work(a.len().min(b.len()) / 16)?;
            **a == **b
        }
        (Value::Bytes(a), Value::Bytes(b)) => {
            budget.work(a.len().min(b.len()) / 16)?;
            a.read(budget)? == b.read(budget)?
        }
        (Value::Timestamp(a), Value::Timestamp(b)) => a == b,
        (Value::Duration(a), Value::Duration(b)) => a == b,
        (Value::List(a), Value::List(b)) => lists(a, b, budget)?,
        (Value::Map(a), Value::Map(b)) => maps(a, b, budget)?,
        (Value::Optional(Some(a)), Value::Optional(Some(b))) => equal(a, b, budget)?,
        (Value::Type(a), Value::Type(b)) => a == b,
        (Value::Quantity(a), Value::Quantity(b)) => a == b,
        (Value::Url(a), Value::Url(b)) => a == b,
        (Value::Ip(a), Value::Ip(b)) => a == b,
        (Value::Cidr(a), Value::Cidr(b)) => a == b,
        (Value::Semver(a), Value::Semver(b)) => a.cmp(b) == Ordering::Equal,
        (Value::Format(a), Value::Format(b)) => a == b,
        _ => false,
    })
}

fn lists<'a>(a: &List<'a>, b: &List<'a>, budget: &mut Budget) -> Result<bool, EvalError> {
    if a.len() != b.len() {
        return Ok(false);
    }
    match a.kind() {
        ListKind::Atomic => {
            for (a, b) in a.iter().zip(b.iter()) {
                if !equal(&a, &b, budget)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        // Whatever the order.
        ListKind::Set => {
            for a in a.iter() {
                if !contains(b, &a, budget)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        ListKind::Map(keys) => {
            for a in a.iter() {
                match with_keys_of(b, &a, keys, budget)? {
                    Some(b) if equal(&a, &b, budget)? => {}
                    _ => return Ok(false),
                }
            }
            Ok(true)
        }
    }
}

/// Whether an element of the list equals the value.
pub fn contains<'a>(list: &List<'a>, value: &Value<'a>, budget: &mut Budget) -> Result<bool, EvalError> {
    for item in list.iter() {
        if equal(&item, value, budget)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The element of a list that is a map by `keys`, with the keys of `like`.
pub fn with_keys_of<'a>(list: &List<'a>, like: &Value<'a>, keys: &[String], budget: &mut Budget) -> Result<Option<Value<'a>>, EvalError> {
    let Value::Map(like) = like else { return Ok(None) };
    for item in list.iter() {
        budget.work(1)?;
        let Value::Map(map) = &item else { continue };
        let mut same = true;
        for key in keys {
            let (a, b) = (map.property(key), like.property(key));
            same = match (a, b) {
                (Some(a), Some(b)) => equal(&a, &b, budget)?,
                (None, None) => true,
                _ => false,
            };
            if !same {
                break;
            }
        }
        if same {
            return Ok(Some(item));
        }
    }
    Ok(None)
}

fn maps<'a>(a: &Map<'a>, b: &Map<'a>, budget: &mut Budget) -> Result<bool, EvalError> {
    if a.count(budget)? != b.count(budget)? {
        return Ok(false);
    }
    for (key, value) in a.entries(budget)? {
        match b.get(&key, budget)? {
            Some(other) if equal(&value, &other, budget)? => {}
            _ => return Ok(false),
        }
    }
    Ok(true)
}

/// The order of two numbers, whatever their types; `None` for NaN and for what is no number.
pub fn numbers(a: &Value<'_>, b: &Value<'_>) -> Option<Ordering> {
    if let (Value::Double(a), Value::Double(b)) = (a, b) {
        return a.partial_cmp(b);
    }
    match (a, b) {
        (Value::Double(a), Value::Int(_) | Value::Uint(_)) => double_to_whole(*a, whole(b)?),
        (Value::Int(_) | Value::Uint(_), Value::Double(b)) => double_to_whole(*b, whole(a)?).map(Ordering::reverse),
        _ => Some(whole(a)?.cmp(&whole(b)?)),
    }
}

fn whole(value: &Value<'_>) -> Option<i128> {
    match value {
        Value::Int(i) => Some((*i).into()),
        Value::Uint(u) => Some((*u).into()),
        _ => None,
    }
}

fn double_to_whole(a: f64, b: i128) -> Option<Ordering> {
    if a.is_nan() {
        return None;
    }
    // Doubles outside of 64 bits are beyond all whole numbers; inside, the whole part compares exactly.
    if a.abs() >= 2e19 {
        return Some(if a > 0.0 { Ordering::Greater } else { Ordering::Less });
    }
    #[allow(clippy::cast_possible_truncation, reason = "within 128 bits")]
    let order = (a.floor() as i128).cmp(&b);
    Some(if order == Ordering::Equal && a.fract() != 0.0 { Ordering::Greater } else { order })
}

/// The order of two values of a kind that has one.
pub fn order(a: &Value<'_>, b: &Value<'_>, budget: &mut Budget) -> Result<Option<Ordering>, EvalError> {
    budget.work(1)?;
    Ok(match (a, b) {
        (Value::Int(_) | Value::Uint(_) | Value::Double(_), Value::Int(_) | Value::Uint(_) | Value::Double(_)) => numbers(a, b),
        (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
        (Value::String(a), Value::String(b)) => {
            budget.work(a.len().min(b.len()) / 16)?;
            Some((**a).cmp(&**b))
        }
        (Value::Bytes(a), Value::Bytes(b)) => {
            budget.work(a.len().min(b.len()) / 16)?;
            Some(a.read(budget)?.cmp(&b.read(budget)?))
        }
        (Value::Timestamp(a), Value::Timestamp(b)) => Some(a.cmp(b)),
        (Value::Duration(a), Value::Duration(b)) => Some(a.cmp(b)),
        _ => return Err(EvalError::NoSuchOverload),
    })
}

/// Whether the value is a key of the map.
pub fn has_key<'a>(map: &Map<'a>, key: &Value<'a>, budget: &mut Budget) -> Result<bool, EvalError> {
    budget.work(1)?;
    if Key::of(key).is_none() {
        return Ok(false);
    }
    match map {
        Map::Owned(_) | Map::Json(..) => Ok(map.get(key, budget)?.is_some()),
        Map::Lazy(_) => Ok(false),
    }
}

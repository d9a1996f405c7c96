//! Operators, sizes and membership.

use super::{Evaluated, Library, count, size};
use crate::budget::{Budget, tenth};
use crate::compare::{contains, equal, has_key, order, with_keys_of};
use crate::error::EvalError;
use crate::eval::index_optional;
use crate::types::ListKind;
use crate::value::{Bytes, List, Value};
use std::cmp::Ordering;

pub const LIBRARY: Library = &[
    ("_?_:_", "(bool, A, A) -> A", never),
    ("!_", "(bool) -> bool", not),
    ("-_", "(int) -> int; (double) -> double", negate),
    ("_==_", "(A, A) -> bool", eq),
    ("_!=_", "(A, A) -> bool", |budget, args| eq(budget, args).map(|same| Value::Bool(same.as_bool() == Some(false)))),
    ("_<_", ORDER, |budget, args| ordered(budget, args, |order| order == Ordering::Less)),
    ("_<=_", ORDER, |budget, args| ordered(budget, args, |order| order != Ordering::Greater)),
    ("_>_", ORDER, |budget, args| ordered(budget, args, |order| order == Ordering::Greater)),
    ("_>=_", ORDER, |budget, args| ordered(budget, args, |order| order != Ordering::Less)),
    (
        "_+_",
        "(int, int) -> int; (uint, uint) -> uint; (double, double) -> double; (string, string) -> string; (bytes, bytes) -> bytes; \
         (list<A>, list<A>) -> list<A>; (duration, duration) -> duration; (timestamp, duration) -> timestamp; (duration, timestamp) -> timestamp",
        add,
    ),
    (
        "_-_",
        "(int, int) -> int; (uint, uint) -> uint; (double, double) -> double; (duration, duration) -> duration; \
         (timestamp, timestamp) -> duration; (timestamp, duration) -> timestamp",
        subtract,
    ),
    ("_*_", "(int, int) -> int; (uint, uint) -> uint; (double, double) -> double", multiply),
    ("_/_", "(int, int) -> int; (uint, uint) -> uint; (double, double) -> double", divide),
    ("_%_", "(int, int) -> int; (uint, uint) -> uint", modulo),
    (
        "_[_]",
        "(list<A>, int) -> A; (map<A, B>, A) -> B; (optional<list<A>>, int) -> optional<A>; (optional<map<A, B>>, A) -> optional<B>",
        at,
    ),
    (
        "_[?_]",
        "(list<A>, int) -> optional<A>; (map<A, B>, A) -> optional<B>; (optional<list<A>>, int) -> optional<A>; \
         (optional<map<A, B>>, A) -> optional<B>",
        at_optional,
    ),
    ("@in", "(A, list<A>) -> bool; (A, map<A, B>) -> bool", is_in),
    (
        "size",
        "(string) -> int; (bytes) -> int; (list<A>) -> int; (map<A, B>) -> int; string.() -> int; bytes.() -> int; list<A>.() -> int; \
         map<A, B>.() -> int",
        length,
    ),
    ("type", "(A) -> type<A>", |budget, args| {
        budget.charge(1)?;
        args.first().map(|value| Value::Type(value.type_name().into())).ok_or(EvalError::NoSuchOverload)
    }),
];

const ORDER: &str = "(bool, bool) -> bool; (int, int) -> bool; (int, uint) -> bool; (int, double) -> bool; (uint, uint) -> bool; \
     (uint, int) -> bool; (uint, double) -> bool; (double, double) -> bool; (double, int) -> bool; (double, uint) -> bool; \
     (string, string) -> bool; (bytes, bytes) -> bool; (timestamp, timestamp) -> bool; (duration, duration) -> bool";

/// The conditional is a node of its own.
fn never<'a>(_: &mut Budget, _: &[Value<'a>]) -> Evaluated<'a> {
    Err(EvalError::NoSuchOverload)
}

fn not<'a>(budget: &mut Budget, args: &[Value<'a>]) -> Evaluated<'a> {
    budget.charge(1)?;
    match args {
        [Value::Bool(b)] => Ok(Value::Bool(!b)),
        _ => Err(EvalError::NoSuchOverload),
    }
}

fn overflow() -> EvalError {
    EvalError::other("integer overflow")
}

fn unsigned_overflow() -> EvalError {
    EvalError::other("unsigned integer overflow")
}

fn negate<'a>(budget: &mut Budget, args: &[Value<'a>]) -> Evaluated<'a> {
    budget.charge(1)?;
    match args {
        [Value::Int(i)] => i.checked_neg().map(Value::Int).ok_or_else(overflow),
        [Value::Double(f)] => Ok(Value::Double(-f)),
        [Value::Duration(d)] => d.checked_neg().map(Value::Duration).ok_or_else(duration_overflow),
        _ => Err(EvalError::NoSuchOverload),
    }
}

fn duration_overflow() -> EvalError {
    EvalError::other("duration overflow")
}

fn compare_cost(budget: &mut Budget, a: &Value<'_>, b: &Value<'_>) -> Result<(), EvalError> {
    budget.charge(tenth(size(a).min(size(b))))
}

fn eq<'a>(budget: &mut Budget, args: &[Value<'a>]) -> Evaluated<'a> {
    let [a, b] = args else { return Err(EvalError::NoSuchOverload) };
    compare_cost(budget, a, b)?;
    equal(a, b, budget).map(Value::Bool)
}

fn ordered<'a>(budget: &mut Budget, args: &[Value<'a>], holds: fn(Ordering) -> bool) -> Evaluated<'a> {
    let [a, b] = args else { return Err(EvalError::NoSuchOverload) };
    compare_cost(budget, a, b)?;
    match order(a, b, budget)? {
        Some(order) => Ok(Value::Bool(holds(order))),
        None => Err(EvalError::other("NaN values cannot be ordered")),
    }
}

fn add<'a>(budget: &mut Budget, args: &[Value<'a>]) -> Evaluated<'a> {
    match args {
        [Value::String(a), Value::String(b)] => {
            budget.traverse(a.len() + b.len())?;
            Ok(Value::owned([&**a, &**b].concat()))
        }
        [Value::Bytes(a), Value::Bytes(b)] => {
            budget.traverse(a.len() + b.len())?;
            let both = [a.read(budget)?, b.read(budget)?].concat();
            Ok(Value::Bytes(Bytes::Owned(both.into())))
        }
        [Value::List(a), Value::List(b)] => {
            budget.charge(1)?;
            budget.work((a.len() + b.len()) * 4)?;
            concat(budget, a, b)
        }
        args => {
            budget.charge(1)?;
            match args {
                [Value::Int(a), Value::Int(b)] => a.checked_add(*b).map(Value::Int).ok_or_else(overflow),
                [Value::Uint(a), Value::Uint(b)] => a.checked_add(*b).map(Value::Uint).ok_or_else(unsigned_overflow),
                [Value::Double(a), Value::Double(b)] => Ok(Value::Double(a + b)),
                [Value::Duration(a), Value::Duration(b)] => a.checked_add(*b).map(Value::Duration).ok_or_else(duration_overflow),
                [Value::Timestamp(t), Value::Duration(d)] | [Value::Duration(d), Value::Timestamp(t)] => super::time::moved(*t, *d),
                _ => Err(EvalError::NoSuchOverload),
            }
        }
    }
}

/// Lists after each other; what a set has already is not added, and an element of the same keys is replaced.
fn concat<'a>(budget: &mut Budget, a: &List<'a>, b: &List<'a>) -> Evaluated<'a> {
    let mut items: Vec<Value<'a>> = a.iter().collect();
    match a.kind() {
        ListKind::Atomic => items.extend(b.iter()),
        ListKind::Set => {
            for item in b.iter() {
                if !contains(a, &item, budget)? {
                    items.push(item);
                }
            }
        }
        ListKind::Map(keys) => {
            for (place, item) in a.iter().enumerate() {
                if let Some(new) = with_keys_of(b, &item, keys, budget)? {
                    items[place] = new;
                }
            }
            for item in b.iter() {
                if with_keys_of(a, &item, keys, budget)?.is_none() {
                    items.push(item);
                }
            }
        }
    }
    Value::list(items)
}

fn subtract<'a>(budget: &mut Budget, args: &[Value<'a>]) -> Evaluated<'a> {
    budget.charge(1)?;
    match args {
        [Value::Int(a), Value::Int(b)] => a.checked_sub(*b).map(Value::Int).ok_or_else(overflow),
        [Value::Uint(a), Value::Uint(b)] => a.checked_sub(*b).map(Value::Uint).ok_or_else(unsigned_overflow),
        [Value::Double(a), Value::Double(b)] => Ok(Value::Double(a - b)),
        [Value::Duration(a), Value::Duration(b)] => a.checked_sub(*b).map(Value::Duration).ok_or_else(duration_overflow),
        [Value::Timestamp(a), Value::Timestamp(b)] => super::time::between(*a, *b),
        [Value::Timestamp(t), Value::Duration(d)] => super::time::moved(*t, d.checked_neg().ok_or_else(duration_overflow)?),
        _ => Err(EvalError::NoSuchOverload),
    }
}

fn multiply<'a>(budget: &mut Budget, args: &[Value<'a>]) -> Evaluated<'a> {
    budget.charge(1)?;
    match args {
        [Value::Int(a), Value::Int(b)] => a.checked_mul(*b).map(Value::Int).ok_or_else(overflow),
        [Value::Uint(a), Value::Uint(b)] => a.checked_mul(*b).map(Value::Uint).ok_or_else(unsigned_overflow),
        [Value::Double(a), Value::Double(b)] => Ok(Value::Double(a * b)),
        _ => Err(EvalError::NoSuchOverload),
    }
}

fn divide<'a>(budget: &mut Budget, args: &[Value<'a>]) -> Evaluated<'a> {
    budget.charge(1)?;
    match args {
        [Value::Int(_), Value::Int(0)] | [Value::Uint(_), Value::Uint(0)] => Err(EvalError::other("division by zero")),
        [Value::Int(a), Value::Int(b)] => a.checked_div(*b).map(Value::Int).ok_or_else(overflow),
        [Value::Uint(a), Value::Uint(b)] => a.checked_div(*b).map(Value::Uint).ok_or_else(unsigned_overflow),
        [Value::Double(a), Value::Double(b)] => Ok(Value::Double(a / b)),
        _ => Err(EvalError::NoSuchOverload),
    }
}

fn modulo<'a>(budget: &mut Budget, args: &[Value<'a>]) -> Evaluated<'a> {
    budget.charge(1)?;
    match args {
        [Value::Int(_), Value::Int(0)] | [Value::Uint(_), Value::Uint(0)] => Err(EvalError::other("modulus by zero")),
        [Value::Int(a), Value::Int(b)] => a.checked_rem(*b).map(Value::Int).ok_or_else(overflow),
        [Value::Uint(a), Value::Uint(b)] => a.checked_rem(*b).map(Value::Uint).ok_or_else(unsigned_overflow),
        _ => Err(EvalError::NoSuchOverload),
    }
}

/// The element or entry, or `None` where there is none.
pub fn index<'a>(budget: &mut Budget, operand: &Value<'a>, key: &Value<'a>) -> Result<Option<Value<'a>>, EvalError> {
    budget.charge(1)?;
    match operand {
        Value::List(list) => {
            let place = match key {
                Value::Int(i) => usize::try_from(*i).ok(),
                Value::Uint(u) => usize::try_from(*u).ok(),
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole, positive and within 32 bits")]
                Value::Double(f) if f.fract() == 0.0 && (0.0..4e9).contains(f) => Some(*f as usize),
                _ => return Err(EvalError::NoSuchOverload),
            };
            Ok(place.and_then(|place| list.get(place)))
        }
        Value::Map(map) => map.get(key, budget),
        _ => Err(EvalError::NoSuchOverload),
    }
}

fn at<'a>(budget: &mut Budget, args: &[Value<'a>]) -> Evaluated<'a> {
    match args {
        [optional @ Value::Optional(_), key] => index_optional(budget, optional, key),
        [operand, key] => index(budget, operand, key)?.ok_or_else(|| match operand {
            Value::List(_) => EvalError::other(format!("index out of bounds: {}", key.shown())),
            _ => EvalError::NoSuchKey(key.shown()),
        }),
        _ => Err(EvalError::NoSuchOverload),
    }
}

fn at_optional<'a>(budget: &mut Budget, args: &[Value<'a>]) -> Evaluated<'a> {
    match args {
        [operand, key] => index_optional(budget, operand, key),
        _ => Err(EvalError::NoSuchOverload),
    }
}

fn is_in<'a>(budget: &mut Budget, args: &[Value<'a>]) -> Evaluated<'a> {
    match args {
        [value, Value::List(list)] => {
            budget.charge(list.len() as u64)?;
            contains(list, value, budget).map(Value::Bool)
        }
        [value, Value::Map(map)] => {
            budget.charge(1)?;
            has_key(map, value, budget).map(Value::Bool)
        }
        _ => Err(EvalError::NoSuchOverload),
    }
}

fn length<'a>(budget: &mut Budget, args: &[Value<'a>]) -> Evaluated<'a> {
    budget.charge(1)?;
    Ok(count(match args {
        [Value::String(text)] => {
            budget.work(text.len() / 64)?;
            text.chars().count()
        }
        [Value::Bytes(bytes)] => bytes.len(),
        [Value::List(list)] => list.len(),
        [Value::Map(map)] => map.count(budget)?,
        _ => return Err(EvalError::NoSuchOverload),
    }))
}

//! Optional values (`optional.of(x)`, `a.?b`, `orValue`): cel-go's library. `optMap` and `optFlatMap` are macros, `or` and `orValue` nodes of their own.

use super::{Evaluated, Library};
use crate::budget::Budget;
use crate::error::EvalError;
use crate::value::Value;

pub const LIBRARY: Library = &[
    ("optional.of", "(A) -> optional<A>", |budget, args| {
        budget.charge(1)?;
        args.first().cloned().map_or(Err(EvalError::NoSuchOverload), Value::some)
    }),
    ("optional.none", "() -> optional<A>", |budget, _| {
        budget.charge(1)?;
        Ok(Value::Optional(None))
    }),
    ("optional.ofNonZeroValue", "(A) -> optional<A>", non_zero),
    ("hasValue", "optional<A>.() -> bool", |budget, args| {
        budget.charge(1)?;
        match args {
            [Value::Optional(inner)] => Ok(Value::Bool(inner.is_some())),
            _ => Err(EvalError::NoSuchOverload),
        }
    }),
    ("value", "optional<A>.() -> A", |budget, args| {
        budget.charge(1)?;
        match args {
            [Value::Optional(Some(inner))] => Ok((**inner).clone()),
            [Value::Optional(None)] => Err(EvalError::other("optional.none() dereference")),
            _ => Err(EvalError::NoSuchOverload),
        }
    }),
    ("or", "optional<A>.(optional<A>) -> optional<A>", never),
    ("orValue", "optional<A>.(A) -> A", never),
];

/// A node of its own is evaluated instead.
fn never<'a>(_: &mut Budget, _: &[Value<'a>]) -> Evaluated<'a> {
    Err(EvalError::NoSuchOverload)
}

fn non_zero<'a>(budget: &mut Budget, args: &[Value<'a>]) -> Evaluated<'a> {
    budget.charge(1)?;
    let [value] = args else { return Err(EvalError::NoSuchOverload) };
    let zero = match value {
        Value::Null | Value::Bool(false) | Value::Int(0) | Value::Uint(0) | Value::Duration(0) | Value::Optional(None) => true,
        Value::Double(f) => *f == 0.0,
        Value::String(text) => text.is_empty(),
        Value::Bytes(bytes) => bytes.len() == 0,
        Value::List(list) => list.is_empty(),
        Value::Map(map) => map.size() == 0,
        _ => false,
    };
    if zero { Ok(Value::Optional(None)) } else { Value::some(value.clone()) }
}

//! Lists: Kubernetes' own library (`apiserver/pkg/cel/library/lists.go`).

use super::{Evaluated, Library, list};
use crate::budget::{Budget, tenth};
use crate::compare::{equal, order};
use crate::error::EvalError;
use crate::value::{List, Value};
use std::cmp::Ordering;

pub const LIBRARY: Library = &[
    (
        "isSorted",
        "list<int>.() -> bool; list<uint>.() -> bool; list<double>.() -> bool; list<bool>.() -> bool; list<string>.() -> bool; \
      list<bytes>.() -> bool; list<timestamp>.() -> bool; list<duration>.() -> bool",
        sorted,
    ),
    ("sum", "list<int>.() -> int; list<uint>.() -> uint; list<double>.() -> double; list<duration>.() -> duration", sum),
    ("min", EXTREME, |budget, args| extreme(budget, args, Ordering::Less, "min")),
    ("max", EXTREME, |budget, args| extreme(budget, args, Ordering::Greater, "max")),
    ("indexOf", "list<A>.(A) -> int", |budget, args| index_of(budget, args, false)),
    ("lastIndexOf", "list<A>.(A) -> int", |budget, args| index_of(budget, args, true)),
];

const EXTREME: &str = "list<int>.() -> int; list<uint>.() -> uint; list<double>.() -> double; list<bool>.() -> bool; list<string>.() -> string; \
     list<bytes>.() -> bytes; list<timestamp>.() -> timestamp; list<duration>.() -> duration";

/// Pays for looking at all elements, and at their characters.
fn traverse(budget: &mut Budget, list: &List<'_>) -> Result<(), EvalError> {
    budget.charge(list.len() as u64)?;
    for item in list.iter() {
        if let Value::String(_) | Value::Bytes(_) = item {
            budget.charge(tenth(super::size(&item)))?;
        }
    }
    Ok(())
}

fn sorted<'a>(budget: &mut Budget, args: &[Value<'a>]) -> Evaluated<'a> {
    let items = list(args, 0)?;
    traverse(budget, items)?;
    for (a, b) in items.iter().zip(items.iter().skip(1)) {
        if order(&a, &b, budget)? == Some(Ordering::Greater) {
            return Ok(Value::Bool(false));
        }
    }
    Ok(Value::Bool(true))
}

fn sum<'a>(budget: &mut Budget, args: &[Value<'a>]) -> Evaluated<'a> {
    let items = list(args, 0)?;
    traverse(budget, items)?;
    let overflow = || EvalError::other("integer overflow");
    let mut sum = None;
    for item in items.iter() {
        sum = Some(match (sum, item) {
            (None, item @ (Value::Int(_) | Value::Uint(_) | Value::Double(_) | Value::Duration(_))) => item,
            (Some(Value::Int(a)), Value::Int(b)) => Value::Int(a.checked_add(b).ok_or_else(overflow)?),
            (Some(Value::Uint(a)), Value::Uint(b)) => Value::Uint(a.checked_add(b).ok_or_else(overflow)?),
            (Some(Value::Double(a)), Value::Double(b)) => Value::Double(a + b),
            (Some(Value::Duration(a)), Value::Duration(b)) => Value::Duration(a.checked_add(b).ok_or_else(overflow)?),
            _ => return Err(EvalError::NoSuchOverload),
        });
    }
    // The zero of the list's type, where the checker knew it.
    Ok(sum.or_else(|| args.get(1).cloned()).unwrap_or(Value::Int(0)))
}

fn extreme<'a>(budget: &mut Budget, args: &[Value<'a>], wanted: Ordering, name: &str) -> Evaluated<'a> {
    let items = list(args, 0)?;
    traverse(budget, items)?;
    let mut found: Option<Value<'a>> = None;
    for item in items.iter() {
        let better = match &found {
            None => true,
            Some(best) => order(&item, best, budget)? == Some(wanted),
        };
        if better {
            found = Some(item);
        }
    }
    found.ok_or_else(|| EvalError::other(format!("{name} called on empty list")))
}

fn index_of<'a>(budget: &mut Budget, args: &[Value<'a>], last: bool) -> Evaluated<'a> {
    let items = list(args, 0)?;
    let wanted = args.get(1).ok_or(EvalError::NoSuchOverload)?;
    traverse(budget, items)?;
    let mut found = Value::Int(-1);
    for (i, item) in items.iter().enumerate() {
        if equal(&item, wanted, budget)? {
            found = super::count(i);
            if !last {
                break;
            }
        }
    }
    Ok(found)
}

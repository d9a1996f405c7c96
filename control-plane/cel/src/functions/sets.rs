//! Lists as sets: cel-go's sets library.

use super::{Library, list};
use crate::budget::Budget;
use crate::compare;
use crate::error::EvalError;
use crate::value::{List, Value};

pub const LIBRARY: Library = &[
    ("sets.contains", "(list<A>, list<A>) -> bool", |budget, args| {
        let (a, b) = two(budget, args, 1)?;
        all_in(budget, a, b).map(Value::Bool)
    }),
    ("sets.equivalent", "(list<A>, list<A>) -> bool", |budget, args| {
        let (a, b) = two(budget, args, 2)?;
        Ok(Value::Bool(all_in(budget, a, b)? && all_in(budget, b, a)?))
    }),
    ("sets.intersects", "(list<A>, list<A>) -> bool", |budget, args| {
        let (a, b) = two(budget, args, 1)?;
        for item in b.iter() {
            if compare::contains(a, &item, budget)? {
                return Ok(Value::Bool(true));
            }
        }
        Ok(Value::Bool(false))
    }),
];

fn two<'v, 'a>(budget: &mut Budget, args: &'v [Value<'a>], times: u64) -> Result<(&'v List<'a>, &'v List<'a>), EvalError> {
    let (a, b) = (list(args, 0)?, list(args, 1)?);
    let product = (a.len() as u64).saturating_mul(b.len() as u64);
    budget.charge(product.saturating_mul(times).saturating_add(1))?;
    Ok((a, b))
}

/// Whether `a` has all of `b`.
fn all_in<'a>(budget: &mut Budget, a: &List<'a>, b: &List<'a>) -> Result<bool, EvalError> {
    for item in b.iter() {
        if !compare::contains(a, &item, budget)? {
            return Ok(false);
        }
    }
    Ok(true)
}

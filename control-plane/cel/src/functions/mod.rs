//! The functions, a file for each library. A library is a table: name, signatures ([`crate::declarations`]), and what is called.

pub mod authorizer;
pub mod convert;
pub mod format;
pub mod lists;
pub mod named_format;
pub mod net;
pub mod operators;
pub mod optional;
pub mod quantity;
pub mod regex;
pub mod semver;
pub mod sets;
pub mod strings;
pub mod time;
pub mod url;

use crate::budget::Budget;
use crate::error::EvalError;
use crate::value::{List, Value};
use std::collections::HashMap;
use std::sync::LazyLock;

/// A function over values: the target first, where there is one. It pays for its work before it does it.
pub type Native = for<'a> fn(&mut Budget, &[Value<'a>]) -> Evaluated<'a>;

pub type Evaluated<'a> = Result<Value<'a>, EvalError>;

/// Name, signatures and what is called.
pub type Library = &'static [(&'static str, &'static str, Native)];

pub static LIBRARIES: &[Library] = &[
    operators::LIBRARY,
    convert::LIBRARY,
    time::LIBRARY,
    strings::LIBRARY,
    format::LIBRARY,
    lists::LIBRARY,
    sets::LIBRARY,
    regex::LIBRARY,
    url::LIBRARY,
    quantity::LIBRARY,
    net::LIBRARY,
    semver::LIBRARY,
    named_format::LIBRARY,
    optional::LIBRARY,
    authorizer::LIBRARY,
];

static NATIVES: LazyLock<HashMap<&'static str, Vec<Native>>> = LazyLock::new(|| {
    let mut all: HashMap<_, Vec<Native>> = HashMap::new();
    for (name, _, function) in LIBRARIES.iter().copied().flatten() {
        let functions = all.entry(*name).or_default();
        if !functions.iter().any(|known| std::ptr::fn_addr_eq(*known, *function)) {
            functions.push(*function);
        }
    }
    all
});

/// What is called for a name. Where several libraries know the name, each is asked in turn until one takes the values.
pub fn native(name: &str) -> Option<Native> {
    match &NATIVES.get(name)?[..] {
        [only] => Some(*only),
        _ => SHARED.iter().find(|(shared, _)| *shared == name).map(|(_, function)| *function),
    }
}

/// Names of several libraries; a test holds that there are no others.
static SHARED: &[(&str, Native)] = &[
    ("string", |budget, args| first("string", budget, args)),
    ("size", |budget, args| first("size", budget, args)),
    ("indexOf", |budget, args| first("indexOf", budget, args)),
    ("lastIndexOf", |budget, args| first("lastIndexOf", budget, args)),
    ("isGreaterThan", |budget, args| first("isGreaterThan", budget, args)),
    ("isLessThan", |budget, args| first("isLessThan", budget, args)),
    ("compareTo", |budget, args| first("compareTo", budget, args)),
    ("ip", |budget, args| first("ip", budget, args)),
    ("value", |budget, args| first("value", budget, args)),
    ("format", |budget, args| first("format", budget, args)),
    ("getHours", |budget, args| first("getHours", budget, args)),
    ("getMinutes", |budget, args| first("getMinutes", budget, args)),
    ("getSeconds", |budget, args| first("getSeconds", budget, args)),
    ("getMilliseconds", |budget, args| first("getMilliseconds", budget, args)),
];

fn first<'a>(name: &str, budget: &mut Budget, args: &[Value<'a>]) -> Evaluated<'a> {
    for function in NATIVES.get(name).into_iter().flatten() {
        match function(budget, args) {
            Err(EvalError::NoSuchOverload) => {}
            other => return other,
        }
    }
    Err(EvalError::NoSuchOverload)
}

/// Characters of a text, elements of a list or map, else 1 (`actualSize`).
pub fn size(value: &Value<'_>) -> usize {
    match value {
        // Never less than the characters, and known at once.
        Value::String(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        Value::List(list) => list.len(),
        Value::Map(map) => map.size(),
        _ => 1,
    }
}

/// Text for a call.
pub(crate) fn text<'v>(args: &'v [Value<'_>], i: usize) -> Result<&'v str, EvalError> {
    args.get(i).and_then(Value::as_str).ok_or(EvalError::NoSuchOverload)
}

pub(crate) fn int(args: &[Value<'_>], i: usize) -> Result<i64, EvalError> {
    match args.get(i) {
        Some(Value::Int(i)) => Ok(*i),
        _ => Err(EvalError::NoSuchOverload),
    }
}

pub(crate) fn list<'v, 'a>(args: &'v [Value<'a>], i: usize) -> Result<&'v List<'a>, EvalError> {
    match args.get(i) {
        Some(Value::List(list)) => Ok(list),
        _ => Err(EvalError::NoSuchOverload),
    }
}

/// Counts as an `int`.
pub(crate) fn count<'a>(n: usize) -> Value<'a> {
    Value::Int(i64::try_from(n).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_called_by_one_function() {
        for (name, functions) in NATIVES.iter() {
            assert!(native(name).is_some(), "{name} is of {} libraries and not shared", functions.len());
        }
    }
}

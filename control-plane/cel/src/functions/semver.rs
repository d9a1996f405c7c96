//! Versions as Semantic Versioning has them: Kubernetes' own library (`apiserver/pkg/cel/library/semverlib.go`, version 1).

use super::{Evaluated, Library, text};
use crate::budget::Budget;
use crate::error::EvalError;
use crate::value::Value;
use std::cmp::Ordering;
use std::rc::Rc;

pub use semver::Version as Inner;

pub const LIBRARY: Library = &[
    ("semver", "(string) -> kubernetes.Semver; (string, bool) -> kubernetes.Semver", |budget, args| {
        budget.traverse(text(args, 0)?.len())?;
        parse(args)?.map(|version| Value::Semver(Rc::new(version))).map_err(EvalError::Other)
    }),
    ("isSemver", "(string) -> bool; (string, bool) -> bool", |budget, args| {
        budget.traverse(text(args, 0)?.len())?;
        Ok(Value::Bool(parse(args)?.is_ok()))
    }),
    ("major", PART, |budget, args| part(budget, args, |version| version.0.major)),
    ("minor", PART, |budget, args| part(budget, args, |version| version.0.minor)),
    ("patch", PART, |budget, args| part(budget, args, |version| version.0.patch)),
    ("isGreaterThan", COMPARE, |budget, args| compare(budget, args, |order| Value::Bool(order == Ordering::Greater))),
    ("isLessThan", COMPARE, |budget, args| compare(budget, args, |order| Value::Bool(order == Ordering::Less))),
    ("compareTo", "kubernetes.Semver.(kubernetes.Semver) -> int", |budget, args| compare(budget, args, |order| Value::Int(order as i64))),
];

const PART: &str = "kubernetes.Semver.() -> int";
const COMPARE: &str = "kubernetes.Semver.(kubernetes.Semver) -> bool";

/// A version; what follows `+` does not make versions differ.
#[derive(Clone, Debug)]
pub struct Version(Inner);

impl Version {
    pub fn cmp(&self, other: &Self) -> Ordering {
        self.0.cmp_precedence(&other.0)
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

fn parse(args: &[Value<'_>]) -> Result<Result<Version, String>, EvalError> {
    let of = text(args, 0)?;
    let normalize = match args.get(1) {
        None => false,
        Some(Value::Bool(b)) => *b,
        Some(_) => return Err(EvalError::NoSuchOverload),
    };
    let normal = if normalize { normalized(of) } else { of.to_owned() };
    Ok(Inner::parse(&normal).map(Version).map_err(|e| e.to_string()))
}

/// Without a leading `v`, without leading zeros, and with all three numbers.
fn normalized(text: &str) -> String {
    let text = text.strip_prefix('v').unwrap_or(text);
    let end = text.find(['-', '+']).unwrap_or(text.len());
    let (numbers, rest) = text.split_at(end);
    let mut parts: Vec<&str> = numbers
        .split('.')
        .map(|part| match part.trim_start_matches('0') {
            "" if !part.is_empty() => "0",
            part => part,
        })
        .collect();
    // Only a bare number of numbers is filled up.
    while rest.is_empty() && parts.len() < 3 {
        parts.push("0");
    }
    format!("{}{rest}", parts.join("."))
}

fn part<'a>(budget: &mut Budget, args: &[Value<'a>], of: fn(&Version) -> u64) -> Evaluated<'a> {
    budget.charge(1)?;
    match args {
        [Value::Semver(version)] => i64::try_from(of(version)).map(Value::Int).map_err(|_| EvalError::other("integer overflow")),
        _ => Err(EvalError::NoSuchOverload),
    }
}

fn compare<'a>(budget: &mut Budget, args: &[Value<'a>], of: fn(Ordering) -> Value<'a>) -> Evaluated<'a> {
    let [Value::Semver(a), Value::Semver(b)] = args else { return Err(EvalError::NoSuchOverload) };
    budget.charge(1)?;
    let length = a.0.pre.len() + b.0.pre.len();
    budget.work(length)?;
    Ok(of(a.cmp(b)))
}

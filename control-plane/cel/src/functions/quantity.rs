//! Quantities (`1.5Gi`, `100m`): Kubernetes' own library (`apiserver/pkg/cel/library/quantity.go`).

use super::{Evaluated, Library, text};
use crate::budget::Budget;
use crate::error::EvalError;
use crate::value::Value;
use std::cmp::Ordering;
use std::fmt;

pub const LIBRARY: Library = &[
    ("quantity", "(string) -> kubernetes.Quantity", |budget, args| {
        budget.traverse(text(args, 0)?.len())?;
        Quantity::parse(text(args, 0)?)
            .map(Value::Quantity)
            .ok_or_else(|| EvalError::other("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"))
    }),
    ("isQuantity", "(string) -> bool", |budget, args| {
        budget.traverse(text(args, 0)?.len())?;
        Ok(Value::Bool(Quantity::parse(text(args, 0)?).is_some()))
    }),
    ("sign", "kubernetes.Quantity.() -> int", |budget, args| one(budget, args, |q| Some(Value::Int(q.0.signum().try_into().unwrap_or(0))))),
    ("isInteger", "kubernetes.Quantity.() -> bool", |budget, args| one(budget, args, |q| Some(Value::Bool(q.integer().is_some())))),
    ("asInteger", "kubernetes.Quantity.() -> int", |budget, args| one(budget, args, |q| q.integer().map(Value::Int))),
    ("asApproximateFloat", "kubernetes.Quantity.() -> double", |budget, args| one(budget, args, |q| Some(Value::Double(q.approximate())))),
    ("isGreaterThan", COMPARE, |budget, args| compare(budget, args, |order| Value::Bool(order == Ordering::Greater))),
    ("isLessThan", COMPARE, |budget, args| compare(budget, args, |order| Value::Bool(order == Ordering::Less))),
    ("compareTo", "kubernetes.Quantity.(kubernetes.Quantity) -> int", |budget, args| {
        compare(budget, args, |order| Value::Int(order as i64))
    }),
    ("add", SUM, |budget, args| sum(budget, args, i128::checked_add)),
    ("sub", SUM, |budget, args| sum(budget, args, i128::checked_sub)),
];

const COMPARE: &str = "kubernetes.Quantity.(kubernetes.Quantity) -> bool";
const SUM: &str = "kubernetes.Quantity.(kubernetes.Quantity) -> kubernetes.Quantity; kubernetes.Quantity.(int) -> kubernetes.Quantity";

/// In units of 10⁻⁹, the finest that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quantity(i128);

const NANO: i128 = 1_000_000_000;

impl Quantity {
    /// `None` for what is no quantity, and for what has more than some 29 digits before the point.
    pub fn parse(text: &str) -> Option<Self> {
        let (sign, rest) = match text.as_bytes().first()? {
            b'-' => (-1, &text[1..]),
            b'+' => (1, &text[1..]),
            _ => (1, text),
        };
        let end = rest.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(rest.len());
        let (number, suffix) = rest.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') || number.len() > 64 {
            return None;
        }
        // Numerator and denominator of the unit.
        let (up, down): (i128, i128) = match suffix {
            "" => (1, 1),
            "n" => (1, 1_000_000_000),
            "u" => (1, 1_000_000),
            "m" => (1, 1_000),
            "k" => (1_000, 1),
            "M" => (1_000_000, 1),
            "G" => (1_000_000_000, 1),
            "T" => (1_000_000_000_000, 1),
            "P" => (1_000_000_000_000_000, 1),
            "E" => (1_000_000_000_000_000_000, 1),
            "Ki" => (1 << 10, 1),
            "Mi" => (1 << 20, 1),
            "Gi" => (1 << 30, 1),
            "Ti" => (1 << 40, 1),
            "Pi" => (1 << 50, 1),
            "Ei" => (1 << 60, 1),
            exponent => {
                let digits = exponent.strip_prefix(['e', 'E'])?;
                let power: i32 = digits.parse().ok().filter(|power: &i32| power.abs() <= 36)?;
                let scale = 10_i128.checked_pow(power.unsigned_abs())?;
                if power < 0 { (1, scale) } else { (scale, 1) }
            }
        };
        let digits = format!("{whole}{fraction}");
        let digits = digits.trim_start_matches('0');
        let mantissa: i128 = if digits.is_empty() { 0 } else { digits.parse().ok()? };
        let places = 10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
        // Finer than 10⁻⁹ is rounded up, away from zero.
        let down = down.checked_mul(places)?;
        let (shift, down) = (gcd(NANO, down), down);
        let scaled = mantissa.checked_mul(up)?.checked_mul(NANO / shift)?;
        let down = down / shift;
        Some(Self(sign * (scaled / down + i128::from(scaled % down != 0))))
    }

    fn integer(self) -> Option<i64> {
        if self.0 % NANO == 0 { (self.0 / NANO).try_into().ok() } else { None }
    }

    #[allow(clippy::cast_precision_loss, reason = "approximate")]
    fn approximate(self) -> f64 {
        self.0 as f64 / NANO as f64
    }
}

fn gcd(a: i128, b: i128) -> i128 {
    if b == 0 { a } else { gcd(b, a % b) }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let n = self.0.unsigned_abs();
        let whole = NANO.unsigned_abs();
        match [(whole, ""), (whole / 1_000, "m"), (whole / 1_000_000, "u")].into_iter().find(|(unit, _)| n.is_multiple_of(*unit)) {
            Some((unit, suffix)) => write!(f, "{sign}{}{suffix}", n / unit),
            None => write!(f, "{sign}{n}n"),
        }
    }
}

fn one<'a>(budget: &mut Budget, args: &[Value<'a>], of: fn(Quantity) -> Option<Value<'a>>) -> Evaluated<'a> {
    budget.charge(1)?;
    match args {
        [Value::Quantity(quantity)] => of(*quantity).ok_or_else(|| EvalError::other("cannot convert value to integer")),
        _ => Err(EvalError::NoSuchOverload),
    }
}

fn compare<'a>(budget: &mut Budget, args: &[Value<'a>], of: fn(Ordering) -> Value<'a>) -> Evaluated<'a> {
    let [Value::Quantity(a), Value::Quantity(b)] = args else { return Err(EvalError::NoSuchOverload) };
    budget.charge(1)?;
    Ok(of(a.0.cmp(&b.0)))
}

fn sum<'a>(budget: &mut Budget, args: &[Value<'a>], of: fn(i128, i128) -> Option<i128>) -> Evaluated<'a> {
    budget.charge(1)?;
    let (a, b) = match args {
        [Value::Quantity(a), Value::Quantity(b)] => (a.0, b.0),
        [Value::Quantity(a), Value::Int(b)] => (a.0, i128::from(*b) * NANO),
        _ => return Err(EvalError::NoSuchOverload),
    };
    of(a, b).map(|sum| Value::Quantity(Quantity(sum))).ok_or_else(|| EvalError::other("quantity overflow"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_as_upstream_does() {
        for (text, nano) in [
            ("1", NANO),
            ("-1.5", -1_500_000_000),
            ("100m", 100_000_000),
            ("1Ki", 1024 * NANO),
            ("0.5Gi", (1 << 29) * NANO),
            ("1e3", 1000 * NANO),
            ("1E", 1_000_000_000_000_000_000 * NANO),
            ("1E2", 100 * NANO),
            (".5", 500_000_000),
            ("0.1n", 1),
            ("00012", 12 * NANO),
        ] {
            assert_eq!(Quantity::parse(text), Some(Quantity(nano)), "{text}");
        }
        for bad in ["", "-", ".", "1.2.3", "1kk", "abc", "1 Gi", "1e", "1Kib", "1e99"] {
            assert_eq!(Quantity::parse(bad), None, "{bad}");
        }
    }
}

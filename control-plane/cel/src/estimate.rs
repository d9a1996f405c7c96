//! The most that an expression can cost, from what its types say of sizes. Upstream's formulas (`cel-go/checker/cost.go`,
//! `apiserver/pkg/cel/library/cost.go`), the upper bound alone: limits are on it.

use crate::ast::How;
use crate::check::Checked;
use crate::types::{Bound, Type};

/// The most of both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guess {
    /// Of evaluating the expression.
    pub cost: u64,
    /// Characters, bytes or elements of its value; 1 for what has no size.
    pub size: u64,
}

/// The formulas.
pub struct Estimate;

impl Estimate {
    /// The most elements or characters that the type allows.
    pub fn size_of(type_: &Type) -> u64 {
        match type_ {
            Type::String(Bound(max)) | Type::Bytes(Bound(max)) => *max,
            Type::List(list) => list.max.0,
            Type::Map(map) => map.max.0,
            Type::Optional(inner) => Self::size_of(inner),
            Type::Dyn | Type::Var(_) => u64::MAX,
            _ => 1,
        }
    }

    /// A call with its arguments, the target first.
    pub fn call(name: &str, types: &[Type], args: &[Checked], result: &Type) -> Guess {
        let size = |i: usize| args.get(i).map_or(1, |arg| arg.guess.size);
        let tenth = |n: u64| n.div_ceil(10);
        let scalar = |i: usize| {
            !matches!(types.get(i), Some(Type::String(_) | Type::Bytes(_) | Type::List(_) | Type::Map(_) | Type::Dyn | Type::Var(_)))
        };
        // Cost of the call itself, and size of what it answers.
        let (own, answer) = match name {
            "_?_:_" => {
                let (condition, yes, no) = (args.first(), args.get(1), args.get(2));
                let cost = |arg: Option<&Checked>| arg.map_or(0, |arg| arg.guess.cost);
                let total = cost(condition).saturating_add(cost(yes).max(cost(no)));
                return Guess { cost: total, size: size(1).max(size(2)) };
            }
            "check" => (350_000, 1),
            "startsWith" | "endsWith" | "bytes" | "string" | "url" | "isURL" | "quantity" | "isQuantity" | "ip" | "isIP" | "cidr"
            | "isCIDR" | "semver" | "isSemver" => {
                if scalar(0) {
                    (1, Self::size_of(result))
                } else {
                    (tenth(size(0)).max(1), size(0))
                }
            }
            "ip.isCanonical" => (tenth(size(0).saturating_mul(2)), 1),
            "@in" => (size(1), 1),
            "_==_" | "_!=_" | "_<_" | "_<=_" | "_>_" | "_>=_" => {
                if scalar(0) || scalar(1) {
                    (1, 1)
                } else {
                    (tenth(size(0).min(size(1))), 1)
                }
            }
            "_+_" => {
                let sum = size(0).saturating_add(size(1));
                match result {
                    Type::String(_) | Type::Bytes(_) | Type::Dyn => (tenth(sum).max(1), sum),
                    Type::List(_) => (1, sum),
                    _ => (1, 1),
                }
            }
            "matches" | "find" | "findAll" => (tenth(size(0).saturating_add(1)).saturating_mul(size(1).div_ceil(4)), size(0)),
            "contains" => (tenth(size(0)).saturating_mul(tenth(size(1))), 1),
            "sum" | "min" | "max" | "isSorted" | "indexOf" | "lastIndexOf" => match types.first() {
                Some(Type::List(list)) => {
                    let element = 1_u64.saturating_add(match &list.element {
                        text @ (Type::String(_) | Type::Bytes(_)) => tenth(Self::size_of(text)),
                        _ => 0,
                    });
                    (size(0).saturating_mul(element), 1)
                }
                _ => (tenth(size(0)), 1),
            },
            "lowerAscii" | "upperAscii" | "substring" | "trim" | "reverse" => (tenth(size(0)), size(0)),
            "split" => (tenth(size(0).saturating_mul(2)), size(0)),
            "replace" => {
                let pieces = size(0).saturating_add(1);
                (tenth(size(0).saturating_mul(2)), pieces.saturating_mul(size(2).max(1)))
            }
            "join" => {
                let element = match types.first() {
                    Some(Type::List(list)) => Self::size_of(&list.element),
                    _ => u64::MAX,
                };
                let sum = size(0).saturating_mul(element).saturating_add(size(0).saturating_mul(size(1)));
                (tenth(sum), sum)
            }
            "sets.contains" | "sets.equivalent" | "sets.intersects" => {
                let product = size(0).saturating_mul(size(1));
                (if name == "sets.equivalent" { product.saturating_mul(2) } else { product }.saturating_add(1), 1)
            }
            "containsIP" | "containsCIDR" => (tenth(size(1)).saturating_add(7), 1),
            "validate" => (tenth(size(1)), 1),
            "format" => (tenth(size(0).saturating_add(size(1))), u64::MAX),
            "orValue" | "or" => (1, size(0).max(size(1))),
            "optional.of" | "optional.ofNonZeroValue" => (1, size(0)),
            _ => (1, Self::size_of(result)),
        };
        let cost = args.iter().fold(own, |cost, arg| cost.saturating_add(arg.guess.cost));
        Guess { cost, size: answer }
    }

    /// A macro over a range.
    pub fn fold(how: How, range: Guess, filter: Option<Guess>, body: Guess, value: Option<Guess>) -> Guess {
        if matches!(how, How::OptMap | How::OptFlatMap) {
            return Guess { cost: range.cost.saturating_add(body.cost).saturating_add(2), size: body.size };
        }
        let inner = body.cost.saturating_add(filter.map_or(0, |f| f.cost)).saturating_add(value.map_or(0, |v| v.cost));
        let (before, each, after) = step(how);
        let loops = range.size.saturating_mul(inner.saturating_add(each));
        let cost = range.cost.saturating_add(before + after).saturating_add(loops);
        let size = if matches!(how, How::All | How::Exists | How::ExistsOne) { 1 } else { range.size };
        Guess { cost, size }
    }
}

/// What a macro costs besides its parts: before, for each element (at most), and after.
pub fn step(how: How) -> (u64, u64, u64) {
    match how {
        How::All => (0, 3, 1),
        How::Exists => (0, 4, 1),
        How::ExistsOne => (0, 2, 2),
        How::Map | How::TransformList => (10, 12, 1),
        How::Filter => (10, 13, 1),
        How::TransformMap | How::TransformMapEntry => (30, 3, 1),
        How::OptMap | How::OptFlatMap => (1, 0, 1),
    }
}

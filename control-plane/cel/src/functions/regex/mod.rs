//! Regular expressions in Go's syntax (RE2): never backtracking, of bounded size, and paid for by text times pattern.

mod pattern;
mod syntax;

pub use pattern::{Pattern, Patterns};

use super::{Evaluated, Library, int, text};
use crate::budget::{Budget, tenth};
use crate::value::Value;

pub const LIBRARY: Library = &[
    ("matches", "(string, string) -> bool; string.(string) -> bool", |budget, args| Function::Matches.compile(budget, args)),
    ("find", "string.(string) -> string", |budget, args| Function::Find.compile(budget, args)),
    ("findAll", "string.(string) -> list<string>; string.(string, int) -> list<string>", |budget, args| {
        Function::FindAll.compile(budget, args)
    }),
];

#[derive(Clone, Copy, Debug)]
pub enum Function {
    Matches,
    Find,
    FindAll,
}

impl Function {
    pub fn of(name: &str) -> Option<Self> {
        match name {
            "matches" => Some(Self::Matches),
            "find" => Some(Self::Find),
            "findAll" => Some(Self::FindAll),
            _ => None,
        }
    }

    /// With a pattern that is known only now.
    fn compile<'a>(self, budget: &mut Budget, args: &[Value<'a>]) -> Evaluated<'a> {
        let source = text(args, 1)?;
        // Compiling is far more than reading.
        budget.charge(20)?;
        budget.traverse(source.len().saturating_mul(20))?;
        let pattern = Pattern::paid(source, budget)?;
        let rest: Vec<Value<'a>> = args.iter().take(1).chain(args.iter().skip(2)).cloned().collect();
        self.apply(&pattern, &rest, budget)
    }

    /// `args`: the text, and the limit of `findAll`.
    pub fn apply<'a>(self, pattern: &Pattern, args: &[Value<'a>], budget: &mut Budget) -> Evaluated<'a> {
        let of = text(args, 0)?;
        budget.charge(tenth(of.len().saturating_add(1)).saturating_mul((pattern.length() as u64).div_ceil(4)))?;
        match self {
            Self::Matches => pattern.matches(of, budget).map(Value::Bool),
            Self::Find => Ok(Value::owned(pattern.find(of, budget)?)),
            Self::FindAll => {
                let limit = if args.len() > 1 { int(args, 1)? } else { -1 };
                let found = pattern.find_all(of, usize::try_from(limit).unwrap_or(usize::MAX), budget)?;
                Value::list(found.into_iter().map(Value::owned).collect())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_gos() {
        for (pattern, text, expected) in [
            (r"^\d+$", "12", true),
            (r"^\d+$", "١٢", false),
            (r"^\w+$", "aé", false),
            (r"^[\w-]+$", "a-b_9", true),
            (r"^[^\s]+$", "ab", true),
            (r"^[[]$", "[", true),
            (r"^[&&a]+$", "&a", true),
            (r"^[]a]$", "]", true),
            (r"^[[:alpha:]]+$", "ab", true),
            (r"^\Qa.b\E$", "a.b", true),
            (r"^\Qa.b\E$", "axb", false),
            (r"\bfoo\b", "a foo b", true),
            (r"(?i)^ABC$", "abc", true),
            (r"^\${a}{2}{x,}$", "${a}}{x,}", true),
            (r"^{.*}$", "{a}", true),
            (r"^a{2,3}b{1,}$", "aab", true),
            (r"^\<a\>$", "<a>", true),
        ] {
            assert_eq!(Pattern::new(pattern).unwrap().is_match(text), expected, "{pattern} on {text}");
        }
        for bad in ["(", "[a", "*", r"\8", "(?=a)", "a{1000}{1000}{1000}", &"(".repeat(1000)] {
            assert!(Pattern::new(bad).is_err(), "{bad:.20}");
        }
    }
}

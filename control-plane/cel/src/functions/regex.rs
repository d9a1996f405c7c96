//! Regular expressions in Go's syntax (RE2): never backtracking, of bounded size, and paid for by text times pattern.

use super::{Evaluated, Library, int, text};
use crate::budget::{Budget, tenth};
use crate::error::EvalError;
use crate::value::Value;
use regex_syntax::hir::{Hir, HirKind};

pub const LIBRARY: Library = &[
    ("matches", "(string, string) -> bool; string.(string) -> bool", |budget, args| Function::Matches.compile(budget, args)),
    ("find", "string.(string) -> string", |budget, args| Function::Find.compile(budget, args)),
    ("findAll", "string.(string) -> list<string>; string.(string, int) -> list<string>", |budget, args| {
        Function::FindAll.compile(budget, args)
    }),
];

/// Bytes of a compiled pattern.
const MAX_SIZE: usize = 256 << 10;
/// Bytes of a pattern's source.
const MAX_SOURCE: usize = 16 << 10;
/// Groups in groups.
const MAX_NESTING: u32 = 64;

/// A compiled pattern.
#[derive(Debug)]
pub struct Pattern {
    regex: regex::Regex,
    /// Bytes of its source.
    length: usize,
    /// States that it can be in at once, roughly: what one character of text can cost.
    weight: u64,
}

#[derive(Clone, Copy, Debug)]
pub enum Function {
    Matches,
    Find,
    FindAll,
}

impl Pattern {
    /// Why not, in words for the client.
    pub fn new(source: &str) -> Result<Self, String> {
        Self::within(source, MAX_SIZE)
    }

    /// One that may take more bytes than those of expressions.
    pub fn within(source: &str, max_size: usize) -> Result<Self, String> {
        let wrong = |why: String| format!("error parsing regexp: {}", why.lines().last().unwrap_or_default().trim_start_matches("error: "));
        if source.len() > MAX_SOURCE {
            return Err(wrong(format!("expression is longer than {MAX_SOURCE} bytes")));
        }
        let translated = translate(source);
        let mut parser = regex_syntax::ParserBuilder::new().nest_limit(MAX_NESTING).build();
        let hir = parser.parse(&translated).map_err(|e| wrong(e.to_string()))?;
        let regex = regex::RegexBuilder::new(&translated)
            .size_limit(max_size)
            .dfa_size_limit(MAX_SIZE)
            .nest_limit(MAX_NESTING)
            .build()
            .map_err(|e| wrong(e.to_string()))?;
        Ok(Self { regex, length: source.len(), weight: weight(&hir) })
    }

    /// Whether the text has a match. For those outside of expressions (`pattern` of a schema).
    pub fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }
}

/// Sum of all characters and classes, repetitions multiplied out.
fn weight(hir: &Hir) -> u64 {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => 1,
        HirKind::Literal(literal) => literal.0.len() as u64,
        HirKind::Class(_) => 2,
        HirKind::Repetition(repetition) => {
            let times = u64::from(repetition.max.unwrap_or(repetition.min.saturating_add(1)).max(1));
            weight(&repetition.sub).saturating_mul(times)
        }
        HirKind::Capture(capture) => weight(&capture.sub).saturating_add(1),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => parts.iter().map(weight).fold(0, u64::saturating_add),
    }
}

/// From Go's syntax to the crate's: classes of ASCII alone, and what only the crate would take for operators in classes.
fn translate(source: &str) -> String {
    let mut out = String::with_capacity(source.len() + 16);
    let mut chars = source.chars().peekable();
    let mut class = 0_usize;
    let mut quoted = false;
    while let Some(c) = chars.next() {
        if quoted {
            if c == '\\' && chars.peek() == Some(&'E') {
                chars.next();
                quoted = false;
            } else {
                out.push_str(&regex_syntax::escape(c.encode_utf8(&mut [0; 4])));
            }
            continue;
        }
        match c {
            '\\' => match chars.next() {
                Some('Q') => quoted = true,
                Some('d') => out.push_str(if class > 0 { "0-9" } else { "[0-9]" }),
                Some('w') => out.push_str(if class > 0 { "0-9A-Za-z_" } else { "[0-9A-Za-z_]" }),
                Some('s') => out.push_str(if class > 0 { "\\t\\n\\x0C\\r " } else { "[\\t\\n\\x0C\\r ]" }),
                Some('D') => out.push_str("[^0-9]"),
                Some('W') => out.push_str("[^0-9A-Za-z_]"),
                Some('S') => out.push_str("[^\\t\\n\\x0C\\r ]"),
                Some('b') if class == 0 => out.push_str("(?-u:\\b)"),
                Some('B') if class == 0 => out.push_str("(?-u:\\B)"),
                // Boundaries of words to the crate alone.
                Some(other @ ('<' | '>')) => out.push(other),
                Some(other) => {
                    out.push('\\');
                    out.push(other);
                }
                None => out.push('\\'),
            },
            // No repetition: itself.
            '{' if class == 0 && !is_repetition(chars.clone()) => out.push_str("\\{"),
            '[' if class == 0 => {
                class = 1;
                out.push('[');
                if chars.peek() == Some(&'^') {
                    chars.next();
                    out.push('^');
                }
                if chars.peek() == Some(&']') {
                    chars.next();
                    out.push_str("\\]");
                }
            }
            '[' if chars.peek() == Some(&':') => {
                // [:alpha:]
                out.push('[');
                for c in chars.by_ref() {
                    out.push(c);
                    if c == ']' {
                        break;
                    }
                }
            }
            '[' => out.push_str("\\["),
            ']' if class > 0 => {
                class = 0;
                out.push(']');
            }
            '&' | '~' if class > 0 => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out
}

/// What follows a brace: `3}`, `3,}`, `3,5}`.
fn is_repetition(rest: impl Iterator<Item = char>) -> bool {
    let mut rest = rest.peekable();
    let mut digits = || std::iter::from_fn(|| rest.next_if(char::is_ascii_digit)).count();
    if digits() == 0 {
        return false;
    }
    match rest.next() {
        Some('}') => true,
        Some(',') => rest.find(|c| !c.is_ascii_digit()) == Some('}'),
        _ => false,
    }
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
        let pattern = Pattern::new(source).map_err(EvalError::Other)?;
        budget.work(usize::try_from(pattern.weight).unwrap_or(usize::MAX))?;
        let rest: Vec<Value<'a>> = args.iter().take(1).chain(args.iter().skip(2)).cloned().collect();
        self.apply(&pattern, &rest, budget)
    }

    /// `args`: the text, and the limit of `findAll`.
    pub fn apply<'a>(self, pattern: &Pattern, args: &[Value<'a>], budget: &mut Budget) -> Evaluated<'a> {
        let of = text(args, 0)?;
        budget.charge(tenth(of.len().saturating_add(1)).saturating_mul((pattern.length as u64).div_ceil(4)))?;
        // Small patterns mostly become tables, where a character is one step whatever the states.
        let weight = if pattern.weight <= 256 { pattern.weight.div_ceil(4) } else { pattern.weight };
        let steps = (of.len() as u64).saturating_mul(weight);
        budget.work(usize::try_from(steps).unwrap_or(usize::MAX))?;
        match self {
            Self::Matches => Ok(Value::Bool(pattern.regex.is_match(of))),
            Self::Find => Ok(Value::owned(pattern.regex.find(of).map_or("", |found| found.as_str()))),
            Self::FindAll => {
                let limit = if args.len() > 1 { int(args, 1)? } else { -1 };
                let limit = usize::try_from(limit).unwrap_or(usize::MAX);
                let mut items = Vec::new();
                for found in pattern.regex.find_iter(of).take(limit) {
                    // Each search may have gone through the rest of the text.
                    let steps = ((of.len() - found.start()) as u64).saturating_mul(pattern.weight) / 16;
                    budget.work(usize::try_from(steps).unwrap_or(usize::MAX).saturating_add(1))?;
                    items.push(Value::owned(found.as_str()));
                }
                Value::list(items)
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

//! The JSON paths of printer columns, as kubectl writes them without the braces: `.spec.size`, `.status.conditions[?(@.type=="Ready")].status`,
//! `.items[0].name`, `.a['b.c']`, `.list[*].x`, `..name`.

use serde_json::Value;
use std::cell::Cell;

/// How many values one step may find.
const MAX_FOUND: usize = 10_000;
/// How many values may be looked at for one path, those of its filters among them. Nothing is found where that is not enough.
const MAX_LOOKS: usize = 200_000;

/// Bytes of a path, and how deep its brackets may be in each other: more than anybody writes, and what any stack has room for.
const MAX_LENGTH: usize = 4096;
const MAX_DEPTH: usize = 8;

/// A path that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct JsonPath(Vec<Step>);

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Field(String),
    /// One of several fields.
    Fields(Vec<String>),
    /// From, to (exclusive) and by what step; counted from the end where negative.
    Slice(Option<i64>, Option<i64>, i64),
    /// One item, counted from the end where negative.
    Index(i64),
    /// All entries or items.
    All,
    /// The value and all below it.
    Descend,
    Filter(Filter),
}

#[derive(Clone, Debug, PartialEq)]
struct Filter {
    left: Operand,
    /// `None`: whether the left side finds anything.
    right: Option<(Comparison, Operand)>,
}

#[derive(Clone, Debug, PartialEq)]
enum Operand {
    Path { from_root: bool, path: JsonPath },
    Literal(Value),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl JsonPath {
    /// Reads a path; the error says what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > MAX_LENGTH {
            return Err(format!("it has more than {MAX_LENGTH} bytes"));
        }
        if depth(text) > MAX_DEPTH {
            return Err(format!("brackets stand more than {MAX_DEPTH} deep in each other"));
        }
        let text = text.strip_prefix('$').unwrap_or(text);
        let mut steps = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            rest = step(rest, &mut steps)?;
        }
        Ok(Self(steps))
    }

    /// The values that the path leads to, in order.
    pub fn find<'v>(&self, root: &'v Value) -> Vec<&'v Value> {
        let looks = Looks(Cell::new(MAX_LOOKS));
        let found = self.find_from(root, root, &looks);
        if looks.0.get() == 0 { Vec::new() } else { found }
    }

    /// The first of them.
    pub fn first<'v>(&self, root: &'v Value) -> Option<&'v Value> {
        self.find(root).into_iter().next()
    }

    fn find_from<'v>(&self, start: &'v Value, root: &'v Value, looks: &Looks) -> Vec<&'v Value> {
        let mut found = vec![start];
        for step in &self.0 {
            let mut next = Vec::new();
            for value in found {
                if !looks.take() {
                    return Vec::new();
                }
                step.follow(value, root, &mut next, looks);
                if next.len() > MAX_FOUND {
                    next.truncate(MAX_FOUND);
                    break;
                }
            }
            found = next;
        }
        found
    }
}

/// How many more values may be looked at.
struct Looks(Cell<usize>);

impl Looks {
    /// One look; `false` when there are no more.
    fn take(&self) -> bool {
        self.0.set(self.0.get().saturating_sub(1));
        self.0.get() > 0
    }
}

impl Step {
    fn follow<'v>(&self, value: &'v Value, root: &'v Value, found: &mut Vec<&'v Value>, looks: &Looks) {
        match (self, value) {
            (Self::Field(name), value) => found.extend(value.get(name)),
            (Self::Fields(names), value) => found.extend(names.iter().filter_map(|name| value.get(name))),
            (Self::Index(index), Value::Array(items)) => found.extend(place(*index, items.len()).and_then(|index| items.get(index))),
            (Self::Slice(from, to, by), Value::Array(items)) => {
                let bound =
                    |bound: Option<i64>, other: usize| bound.map_or(other, |at| place(at, items.len()).unwrap_or(0).min(items.len()));
                let (from, to) = (bound(*from, 0), bound(*to, items.len()));
                let by = usize::try_from(*by).unwrap_or(1).max(1);
                found.extend(items.get(from..to).unwrap_or_default().iter().step_by(by));
            }
            (Self::All, Value::Array(items)) => found.extend(items),
            (Self::All, Value::Object(fields)) => found.extend(fields.values()),
            (Self::Descend, value) => descend(value, found, looks),
            (Self::Filter(filter), Value::Array(items)) => {
                found.extend(items.iter().take_while(|_| looks.take()).filter(|item| filter.holds(item, root, looks)))
            }
            _ => {}
        }
    }
}

/// An index from the front; `None` for one before it.
fn place(index: i64, length: usize) -> Option<usize> {
    let index = if index < 0 { index.checked_add(i64::try_from(length).ok()?)? } else { index };
    usize::try_from(index).ok()
}

fn descend<'v>(value: &'v Value, found: &mut Vec<&'v Value>, looks: &Looks) {
    if found.len() > MAX_FOUND || !looks.take() {
        return;
    }
    found.push(value);
    match value {
        Value::Array(items) => items.iter().for_each(|item| descend(item, found, looks)),
        Value::Object(fields) => fields.values().for_each(|value| descend(value, found, looks)),
        _ => {}
    }
}

impl Filter {
    fn holds(&self, item: &Value, root: &Value, looks: &Looks) -> bool {
        let left = self.left.value(item, root, looks);
        let Some((comparison, right)) = &self.right else { return left.is_some() };
        let (Some(left), Some(right)) = (left, right.value(item, root, looks)) else { return false };
        let order = match (left, right) {
            (Value::Number(left), Value::Number(right)) => left.as_f64().partial_cmp(&right.as_f64()),
            (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
            (Value::Bool(left), Value::Bool(right)) => Some(left.cmp(right)),
            _ => return *comparison == Comparison::NotEqual,
        };
        order.is_some_and(|order| match comparison {
            Comparison::Equal => order.is_eq(),
            Comparison::NotEqual => order.is_ne(),
            Comparison::Less => order.is_lt(),
            Comparison::LessOrEqual => order.is_le(),
            Comparison::Greater => order.is_gt(),
            Comparison::GreaterOrEqual => order.is_ge(),
        })
    }
}

impl Operand {
    fn value<'v>(&'v self, item: &'v Value, root: &'v Value, looks: &Looks) -> Option<&'v Value> {
        match self {
            Self::Literal(value) => Some(value),
            Self::Path { from_root, path } => path.find_from(if *from_root { root } else { item }, root, looks).into_iter().next(),
        }
    }

    fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let path = |text: &str, from_root| JsonPath::parse(text).map(|path| Self::Path { from_root, path });
        if let Some(rest) = text.strip_prefix('@') {
            return path(rest, false);
        }
        if text.starts_with('$') {
            return path(text, true);
        }
        for quote in ['"', '\''] {
            if let Some(inner) = text.strip_prefix(quote) {
                let inner = inner.strip_suffix(quote).ok_or_else(|| format!("unterminated quoted string in {text}"))?;
                return Ok(Self::Literal(unescaped(inner).into()));
            }
        }
        match serde_json::from_str(text) {
            Ok(literal @ (Value::Number(_) | Value::Bool(_))) => Ok(Self::Literal(literal)),
            _ => Err(format!("unrecognized operand {text}")),
        }
    }
}

/// Reads one step off the front.
fn step<'t>(text: &'t str, steps: &mut Vec<Step>) -> Result<&'t str, String> {
    if let Some(rest) = text.strip_prefix("..") {
        steps.push(Step::Descend);
        return if rest.starts_with('[') { Ok(rest) } else { field(rest, steps) };
    }
    if let Some(rest) = text.strip_prefix('.') {
        return if rest.is_empty() || rest.starts_with('[') { Ok(rest) } else { field(rest, steps) };
    }
    match text.strip_prefix('[') {
        Some(rest) => {
            let end = closing(rest)?;
            steps.push(bracket(rest[..end].trim())?);
            Ok(&rest[end + 1..])
        }
        None => field(text, steps),
    }
}

/// A name up to the next `.` or `[`; a backslash takes the special meaning from what follows.
fn field<'t>(text: &'t str, steps: &mut Vec<Step>) -> Result<&'t str, String> {
    let mut escaped = false;
    let end = text.char_indices().find(|(_, sign)| {
        let is_end = !escaped && matches!(sign, '.' | '[');
        escaped = *sign == '\\' && !escaped;
        is_end
    });
    let (name, rest) = text.split_at(end.map_or(text.len(), |(at, _)| at));
    match name {
        "" => return Err(format!("a field name is missing before {rest:?}")),
        "*" => steps.push(Step::All),
        name if name.contains(|sign: char| sign.is_whitespace() || "{}()?@,'\"=".contains(sign)) => {
            return Err(format!("{name:?} is no field name"));
        }
        name => steps.push(Step::Field(unescaped(name))),
    }
    Ok(rest)
}

fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut signs = text.chars();
    while let Some(sign) = signs.next() {
        plain.push(if sign == '\\' { signs.next().unwrap_or(sign) } else { sign });
    }
    plain
}

/// How deep brackets stand in each other at most, those in texts counted as well.
fn depth(text: &str) -> usize {
    let mut open = 0_usize;
    text.bytes().fold(0, |deepest, byte| {
        match byte {
            b'[' => open += 1,
            b']' => open = open.saturating_sub(1),
            _ => {}
        }
        deepest.max(open)
    })
}

/// Where the bracket that is open ends.
fn closing(text: &str) -> Result<usize, String> {
    let (mut quote, mut depth, mut escaped) = (None, 0, false);
    for (at, sign) in text.char_indices() {
        match (quote, sign) {
            _ if escaped => escaped = false,
            (_, '\\') => escaped = true,
            (Some(open), sign) if sign == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(sign),
            (None, '[') => depth += 1,
            (None, ']') if depth == 0 => return Ok(at),
            (None, ']') => depth -= 1,
            _ => {}
        }
    }
    Err("unterminated array".to_owned())
}

fn bracket(text: &str) -> Result<Step, String> {
    if text == "*" {
        return Ok(Step::All);
    }
    if let Some(inner) = text.strip_prefix("?(") {
        let inner = inner.strip_suffix(')').ok_or("unterminated filter")?;
        return filter(inner);
    }
    if text.starts_with(['\'', '"']) {
        let names = text.split(',').map(|part| {
            let part = part.trim();
            let quote = part.chars().next().unwrap_or_default();
            let inner = part.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
            inner.map(unescaped).ok_or_else(|| format!("invalid array index {text}"))
        });
        let mut names = names.collect::<Result<Vec<_>, _>>()?;
        return Ok(if names.len() == 1 { Step::Field(names.remove(0)) } else { Step::Fields(names) });
    }
    let number = |text: &str| text.trim().parse::<i64>().map_err(|_| format!("invalid array index {text}"));
    let parts: Vec<&str> = text.split(':').collect();
    let bound = |text: &str| if text.trim().is_empty() { Ok(None) } else { number(text).map(Some) };
    match &parts[..] {
        [index] => Ok(Step::Index(number(index)?)),
        [from, to] => Ok(Step::Slice(bound(from)?, bound(to)?, 1)),
        [from, to, by] => Ok(Step::Slice(bound(from)?, bound(to)?, bound(by)?.unwrap_or(1))),
        _ => Err(format!("invalid array index {text}")),
    }
}

fn filter(text: &str) -> Result<Step, String> {
    const COMPARISONS: [(&str, Comparison); 6] = [
        ("==", Comparison::Equal),
        ("!=", Comparison::NotEqual),
        ("<=", Comparison::LessOrEqual),
        (">=", Comparison::GreaterOrEqual),
        ("<", Comparison::Less),
        (">", Comparison::Greater),
    ];
    let mut quote = None;
    for (at, sign) in text.char_indices() {
        match (quote, sign) {
            (Some(open), sign) if sign == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(sign),
            _ => {
                if let Some((word, comparison)) = COMPARISONS.iter().find(|(word, _)| text[at..].starts_with(word)) {
                    let left = Operand::parse(&text[..at])?;
                    let right = Operand::parse(&text[at + word.len()..])?;
                    return Ok(Step::Filter(Filter { left, right: Some((*comparison, right)) }));
                }
            }
        }
    }
    Ok(Step::Filter(Filter { left: Operand::parse(text)?, right: None }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn found(path: &str) -> Value {
        let object = json!({
            "spec": { "size": 3, "a.b": "dotted", "parts": [{ "name": "x", "n": 1 }, { "name": "y", "n": 2 }, { "name": "z" }] },
            "status": { "conditions": [{ "type": "Ready", "status": "True" }, { "type": "Bad", "status": "False" }], "wanted": "y" },
        });
        JsonPath::parse(path).expect(path).find(&object).into_iter().cloned().collect()
    }

    #[test]
    fn paths_lead_to_values() {
        for (path, values) in [
            (".spec.size", json!([3])),
            ("$.spec.size", json!([3])),
            (".spec.none.deeper", json!([])),
            (r".spec.a\.b", json!(["dotted"])),
            (".spec['a.b']", json!(["dotted"])),
            (".spec.parts[0].name", json!(["x"])),
            (".spec.parts[-1].name", json!(["z"])),
            (".spec.parts[5]", json!([])),
            (".spec.parts[1:].name", json!(["y", "z"])),
            (".spec.parts[:-1].name", json!(["x", "y"])),
            (".spec.parts[::2].name", json!(["x", "z"])),
            (".spec.parts[*].n", json!([1, 2])),
            (".spec.parts[0]['n','name']", json!([1, "x"])),
            ("..n", json!([1, 2])),
            (".spec.parts[?(@.n>1)].name", json!(["y"])),
            (".spec.parts[?(@.n)].name", json!(["x", "y"])),
            (".spec.parts[?(@.name==$.status.wanted)].n", json!([2])),
            (r#".status.conditions[?(@.type=="Ready")].status"#, json!(["True"])),
            (".status.conditions[?(@.type == 'Ready')].status", json!(["True"])),
            (r#".status.conditions[?(@.type!="Ready")].status"#, json!(["False"])),
        ] {
            assert_eq!(found(path), values, "{path}");
        }
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for text in [".spec[", ".spec[x]", ".a[?(@.b==)]", ".a[?(@.b=='c]", ".a b", ".spec..", "{.spec}", ".a[1:2:3:4]", "['a]"] {
            assert!(JsonPath::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_nested_or_long_beyond_reason_is_refused() {
        let nested = |levels: usize| format!(".a{}.x{}", "[?(@".repeat(levels), ")]".repeat(levels));
        assert!(JsonPath::parse(&nested(8)).is_ok());
        for text in [nested(9), nested(20_000), "[".repeat(4000), ".a".repeat(3000)] {
            assert!(JsonPath::parse(&text).is_err(), "{} bytes", text.len());
        }
    }

    #[test]
    fn a_path_finds_a_bounded_number_of_values() {
        let wide = Value::Array(vec![json!([1, 2, 3]); 10_000]);
        let path = JsonPath::parse("..[*]..[*]").expect("a path");
        assert!(path.find(&wide).len() <= MAX_FOUND);
    }

    #[test]
    fn filters_look_at_a_bounded_number_of_values() {
        let (few, many) = (json!({ "list": vec![json!({ "x": 1 }); 100] }), json!({ "list": vec![json!({ "x": 1 }); 10_000] }));
        let path = JsonPath::parse(".list[?($..x==1)].x").expect("a path");
        assert_eq!(path.find(&few).len(), 100);
        // Each of the many would look at all of them.
        assert!(path.find(&many).is_empty());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in r#"[.\[\]*a-c0-9:?(@)='"<>!$ \\-]{0,30}"#) {
            if let Ok(path) = JsonPath::parse(&text) {
                path.find(&json!({ "a": [{ "b": 1 }, [2, { "c": "x" }]], "b": { "a": true } }));
            }
        }
    }
}

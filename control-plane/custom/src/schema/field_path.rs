//! Paths of fields in a schema, as rules and selectable fields name them: `.spec.color`, `.spec['odd.name']`.

use super::{Node, Type, Types};
use crate::complaint;
use orknet_resources::FieldError;
use serde_json::Value;
use std::fmt;

/// How many fields of a version may be selectable.
const MAX_SELECTABLE: usize = 8;
/// How long one's path may be: every process that has known the kind keeps it.
pub const MAX_SELECTABLE_BYTES: usize = 256;

/// A path that a schema has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldPath(Vec<Step>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Field(String),
    /// An entry of a map.
    Key(String),
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, step) in self.0.iter().enumerate() {
            match step {
                Step::Field(name) if index == 0 => f.write_str(name)?,
                Step::Field(name) => write!(f, ".{name}")?,
                Step::Key(name) => write!(f, "[{name}]")?,
            }
        }
        Ok(())
    }
}

impl FieldPath {
    /// Reads a path below `node`, and answers the node that it leads to. `brackets`: whether names may be quoted in brackets.
    pub fn parse<'n>(text: &str, node: &'n Node, brackets: bool) -> Result<(Self, &'n Node), String> {
        let mut at = node;
        let mut steps = Vec::new();
        let mut tokens = tokens(text).into_iter();
        while let Some(token) = tokens.next() {
            let mut next = || tokens.next().ok_or_else(|| "unexpected end of JSON path".to_owned());
            let name = match token {
                "[" if !brackets => return Err("array notation is not allowed".to_owned()),
                "[" => {
                    let quoted = next()?;
                    let inner = quoted.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
                    let name = inner.ok_or_else(|| format!("expected single quoted string but got {quoted}"))?.replace("\\'", "'");
                    match next()? {
                        "]" => name,
                        other => return Err(format!("expected ] but got {other}")),
                    }
                }
                "." => next()?.to_owned(),
                other => return Err(format!("expected [ or . but got: {other}")),
            };
            let unknown = || "does not refer to a valid field".to_owned();
            if at.properties.is_empty() {
                at = at.field(&name).ok_or_else(unknown)?;
                steps.push(Step::Key(name));
            } else {
                at = at.properties.get(&name).ok_or_else(unknown)?;
                steps.push(Step::Field(name));
            }
        }
        Ok((Self(steps), at))
    }

    /// The fields' names, from the top.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|step| match step {
            Step::Field(name) | Step::Key(name) => &name[..],
        })
    }

    /// The value there.
    pub fn find<'v>(&self, value: &'v Value) -> Option<&'v Value> {
        self.names().try_fold(value, |at, name| at.get(name))
    }
}

/// Delimiters (`.`, `[`, `]`), texts in single quotes, and what is between.
fn tokens(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let end = match first {
            '.' | '[' | ']' => 1,
            '\'' => {
                let bytes = rest.as_bytes();
                (1..bytes.len()).find(|at| bytes[*at] == b'\'' && bytes[at - 1] != b'\\').map_or(rest.len(), |at| at + 1)
            }
            _ => rest.find(['.', '[', ']']).unwrap_or(rest.len()),
        };
        let (token, after) = rest.split_at(end);
        found.push(token);
        rest = after;
    }
    found
}

/// The rules of a version's `selectableFields`: complaints about a list at `at` (`spec.versions[0].selectableFields`), by a schema that has no problems.
pub fn selectable_fields(fields: &[Value], schema: &Node, at: &str) -> Vec<FieldError> {
    let mut found = Vec::new();
    let mut known: Vec<FieldPath> = Vec::new();
    for (index, field) in fields.iter().enumerate() {
        if known.len() > MAX_SELECTABLE {
            break;
        }
        let path = &field["jsonPath"];
        let here = format!("{at}[{index}].jsonPath");
        let Some(text) = path.as_str().filter(|text| !text.is_empty()) else {
            found.push(complaint::required(here, ""));
            continue;
        };
        match FieldPath::parse(text, schema, false) {
            Err(why) => found.push(complaint::invalid(here, path, format!("is an invalid path: {why}"))),
            Ok((field, node)) => {
                if text.len() > MAX_SELECTABLE_BYTES {
                    let why = format!("must be no more than {MAX_SELECTABLE_BYTES} bytes");
                    found.push(complaint::invalid(here.clone(), path, why));
                }
                if field.names().next() == Some("metadata") {
                    found.push(complaint::invalid(here.clone(), path, "must not point to fields in metadata"));
                }
                if !matches!(node.types, Types::One(Type::String | Type::Boolean | Type::Integer)) {
                    let why = "must point to a field of type string, boolean or integer. Enum string fields and strings with allowed formats are supported.";
                    found.push(complaint::invalid(here.clone(), path, why));
                }
                if known.contains(&field) {
                    found.push(complaint::duplicate(here, path));
                } else {
                    known.push(field);
                }
            }
        }
    }
    if known.len() > MAX_SELECTABLE {
        found.push(complaint::too_many(at.to_owned(), fields.len(), MAX_SELECTABLE as i64));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn schema() -> Node {
        Node::compile(&json!({ "type": "object", "properties": {
            "metadata": { "type": "object", "properties": { "name": { "type": "string" } } },
            "spec": { "type": "object", "properties": {
                "color": { "type": "string" }, "size": { "type": "integer" }, "odd.name": { "type": "string" }, "ratio": { "type": "number" },
                "tags": { "type": "object", "additionalProperties": { "type": "string" } },
            } },
        } }))
        .expect("compiles")
    }

    #[test]
    fn paths_follow_the_schema() {
        let schema = schema();
        for (text, path) in [
            (".spec.color", "spec.color"),
            (".spec['odd.name']", "spec.odd.name"),
            (".spec.tags.a", "spec.tags[a]"),
            (".spec.tags['a.b']", "spec.tags[a.b]"),
        ] {
            assert_eq!(FieldPath::parse(text, &schema, true).expect(text).0.to_string(), path);
        }
        for (text, why) in [
            ("spec", "expected [ or . but got: spec"),
            (".", "unexpected end of JSON path"),
            (".spec.colour", "does not refer to a valid field"),
            (".spec.color.x", "does not refer to a valid field"),
            (".spec[0]", "expected single quoted string but got 0"),
            (".spec['color'", "unexpected end of JSON path"),
        ] {
            assert_eq!(FieldPath::parse(text, &schema, true).expect_err(text), why);
        }
        let found = FieldPath::parse(".spec['odd.name']", &schema, true).expect("known").0;
        assert_eq!(found.find(&json!({ "spec": { "odd.name": 3 } })), Some(&json!(3)));
    }

    #[test]
    fn selectable_fields_are_scalars_that_are_there_once() {
        let complaints = |paths: &[&str]| {
            let fields: Vec<Value> = paths.iter().map(|path| json!({ "jsonPath": path })).collect();
            selectable_fields(&fields, &schema(), "f").iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(complaints(&[".spec.color", ".spec.size"]), Vec::<String>::new());
        let scalars =
            "must point to a field of type string, boolean or integer. Enum string fields and strings with allowed formats are supported.";
        assert_eq!(
            complaints(&["", ".spec.x", ".metadata.name", ".spec.ratio", ".spec.color", ".spec.color"]),
            [
                "f[0].jsonPath: Required value".to_owned(),
                r#"f[1].jsonPath: Invalid value: ".spec.x": is an invalid path: does not refer to a valid field"#.to_owned(),
                r#"f[2].jsonPath: Invalid value: ".metadata.name": must not point to fields in metadata"#.to_owned(),
                format!(r#"f[3].jsonPath: Invalid value: ".spec.ratio": {scalars}"#),
                r#"f[5].jsonPath: Duplicate value: ".spec.color""#.to_owned(),
            ]
        );
    }
}

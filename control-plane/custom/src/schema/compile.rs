//! From a `JSONSchemaProps` as JSON to nodes. Tells apart only what makes compiling impossible: the rules are [`super::problems`].

use super::{Checks, Format, List, MAX_DEPTH, Node, Rest, Rule, Type, Types};
use orknet_cel::{Pattern, Patterns};
use serde_json::Value;

/// Bytes that a compiled pattern may take, and all of a schema together.
const PATTERN_BYTES: usize = 10 << 20;
pub(super) const ALL_PATTERNS: usize = 64 << 20;

/// The value is no schema.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    #[error("schemas are nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    #[error("a schema is not an object")]
    NotAnObject,
    #[error("type {0:?} is not known")]
    Type(String),
    #[error("pattern {0:?}: {1}")]
    Pattern(String, String),
}

impl Node {
    /// Compiles a schema.
    pub fn compile(schema: &Value) -> Result<Self, CompileError> {
        node(schema, 0, &Patterns::within(ALL_PATTERNS))
    }
}

/// The expression of a `pattern`, in Go's dialect.
pub(super) fn pattern(text: &str) -> Result<Pattern, String> {
    Pattern::within(text, PATTERN_BYTES)
}

fn node(schema: &Value, depth: usize, patterns: &Patterns) -> Result<Node, CompileError> {
    if depth > MAX_DEPTH {
        return Err(CompileError::TooDeep);
    }
    let schema = schema.as_object().ok_or(CompileError::NotAnObject)?;
    let text = |name: &str| schema.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let flag = |name: &str| schema.get(name) == Some(&Value::Bool(true));
    let below = |schema: &Value| node(schema, depth + 1, patterns);
    let types = match text("type") {
        _ if flag("x-kubernetes-int-or-string") => Types::IntOrString,
        None => Types::Any,
        Some(name) => Types::One(Type::of(name).ok_or_else(|| CompileError::Type(name.to_owned()))?),
    };
    let mut compiled = Node {
        types,
        nullable: flag("nullable"),
        default: schema.get("default").filter(|value| !value.is_null()).cloned(),
        preserves_unknown: flag("x-kubernetes-preserve-unknown-fields"),
        is_embedded: flag("x-kubernetes-embedded-resource"),
        is_atomic: text("x-kubernetes-map-type") == Some("atomic"),
        list: match text("x-kubernetes-list-type") {
            Some("set") => List::Set,
            Some("map") => List::Map(texts(schema.get("x-kubernetes-list-map-keys"))),
            _ => List::Atomic,
        },
        rest: match schema.get("additionalProperties") {
            None | Some(Value::Null) => Rest::Undeclared,
            Some(Value::Bool(true)) => Rest::Any,
            Some(Value::Bool(false)) => Rest::Forbidden,
            Some(schema) => Rest::Of(Box::new(below(schema)?)),
        },
        rules: list(schema.get("x-kubernetes-validations")).map(Rule::read).collect(),
        ..Node::default()
    };
    if let Some(items) = schema.get("items").filter(|items| !items.is_null()) {
        compiled.items = Some(Box::new(below(items)?));
    }
    for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        compiled.properties.insert(name.clone(), below(property)?);
    }
    compiled.checks = checks(schema, types, &below, patterns)?;
    Ok(compiled)
}

fn checks(
    schema: &serde_json::Map<String, Value>,
    types: Types,
    below: &dyn Fn(&Value) -> Result<Node, CompileError>,
    patterns: &Patterns,
) -> Result<Option<Box<Checks>>, CompileError> {
    const NAMES: [&str; 19] = [
        "format",
        "maximum",
        "exclusiveMaximum",
        "minimum",
        "exclusiveMinimum",
        "multipleOf",
        "maxLength",
        "minLength",
        "pattern",
        "maxItems",
        "minItems",
        "maxProperties",
        "minProperties",
        "required",
        "enum",
        "allOf",
        "anyOf",
        "oneOf",
        "not",
    ];
    if !NAMES.iter().any(|name| schema.contains_key(*name)) {
        return Ok(None);
    }
    let text = |name: &str| schema.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let float = |name: &str| schema.get(name).and_then(Value::as_f64);
    let whole = |name: &str| schema.get(name).and_then(Value::as_i64);
    let flag = |name: &str| schema.get(name) == Some(&Value::Bool(true));
    let all = |name: &str| list(schema.get(name)).map(below).collect::<Result<Vec<_>, _>>();
    Ok(Some(Box::new(Checks {
        format: text("format").and_then(|name| Format::supported(name, types)).map(|(name, format)| (name.to_owned(), format)),
        maximum: float("maximum"),
        exclusive_maximum: flag("exclusiveMaximum"),
        minimum: float("minimum"),
        exclusive_minimum: flag("exclusiveMinimum"),
        multiple_of: float("multipleOf"),
        max_length: whole("maxLength"),
        min_length: whole("minLength"),
        pattern: match text("pattern") {
            Some(text) => {
                let pattern = patterns.get(text, PATTERN_BYTES).map_err(|why| CompileError::Pattern(text.to_owned(), why))?;
                Some((text.to_owned(), pattern))
            }
            None => None,
        },
        max_items: whole("maxItems"),
        min_items: whole("minItems"),
        max_properties: whole("maxProperties"),
        min_properties: whole("minProperties"),
        required: texts(schema.get("required")),
        values: list(schema.get("enum")).cloned().collect(),
        all_of: all("allOf")?,
        any_of: all("anyOf")?,
        one_of: all("oneOf")?,
        not: match schema.get("not").filter(|not| !not.is_null()) {
            Some(not) => Some(Box::new(below(not)?)),
            None => None,
        },
    })))
}

fn list(value: Option<&Value>) -> impl Iterator<Item = &Value> {
    value.and_then(Value::as_array).into_iter().flatten()
}

fn texts(value: Option<&Value>) -> Vec<String> {
    list(value).filter_map(Value::as_str).map(str::to_owned).collect()
}

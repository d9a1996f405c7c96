//! Reading a schema that is JSON: what is empty is not there.

use serde_json::{Map, Value};

/// Schemas that stand in lists.
pub const LISTS: [&str; 3] = ["allOf", "anyOf", "oneOf"];

pub fn text<'v>(schema: &'v Value, name: &str) -> &'v str {
    schema[name].as_str().unwrap_or_default()
}

pub fn flag(schema: &Value, name: &str) -> bool {
    schema[name] == true
}

/// A schema, or anything else, that is there.
pub fn there<'v>(schema: &'v Value, name: &str) -> Option<&'v Value> {
    schema.get(name).filter(|value| !value.is_null())
}

pub fn list<'v>(schema: &'v Value, name: &str) -> &'v [Value] {
    schema[name].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Sorted by name, as a map is.
pub fn properties(schema: &Value) -> impl Iterator<Item = (&String, &Value)> {
    schema["properties"].as_object().into_iter().flatten()
}

/// The schema of the items, where it is one.
pub fn items(schema: &Value) -> Option<&Value> {
    there(schema, "items").filter(|items| items.is_object())
}

/// The schema of other fields, where it is one.
pub fn rest(schema: &Value) -> Option<&Value> {
    there(schema, "additionalProperties").filter(|rest| rest.is_object())
}

/// Whether a field says nothing: as good as not there.
pub fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

/// All schemas inside of a schema.
fn inside(schema: &Value) -> impl Iterator<Item = &Value> {
    let map = |name: &str| schema[name].as_object().into_iter().flat_map(Map::values);
    let one = |name: &str| there(schema, name).filter(|value| value.is_object());
    let lists = LISTS.iter().chain(&["items"]).flat_map(|name| list(schema, name));
    let maps = map("properties").chain(map("definitions")).chain(map("patternProperties")).chain(map("dependencies"));
    lists.chain(maps).chain(["items", "additionalProperties", "additionalItems", "not"].iter().filter_map(move |name| one(name)))
}

/// How many schemas stand inside of each other, at most; without recursion, and no more than the rules allow by much.
pub fn depth(schema: &Value) -> usize {
    let mut deepest = 0;
    let mut open = vec![(schema, 0)];
    while let Some((schema, depth)) = open.pop() {
        deepest = deepest.max(depth);
        if depth <= super::MAX_DEPTH {
            open.extend(inside(schema).map(|below| (below, depth + 1)));
        }
    }
    deepest
}

/// Why a schema has no structural form: the first field that has none.
pub fn unreadable(schema: &Value) -> Option<String> {
    let not_supported = |name: &str| Some(format!("OpenAPIV3Schema '{name}' is not supported"));
    let fields = ["id", "$schema", "$ref", "patternProperties", "dependencies", "definitions"];
    if let Some(name) = fields.into_iter().find(|name| schema.get(*name).is_some_and(|value| !is_empty(value))) {
        return not_supported(if name == "$schema" { "schema" } else { name });
    }
    if there(schema, "additionalItems").is_some() {
        return not_supported("additionalItems");
    }
    if schema["items"].is_array() {
        return Some("OpenAPIV3Schema 'items' must be a schema, but is an array".to_owned());
    }
    if schema["x-kubernetes-preserve-unknown-fields"] == false {
        return Some("internal error: 'x-kubernetes-preserve-unknown-fields' must be true or undefined".to_owned());
    }
    inside(schema).find_map(unreadable)
}

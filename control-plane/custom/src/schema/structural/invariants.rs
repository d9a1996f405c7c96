//! Structure stands outside of value validations: each place has its type, and `allOf`, `anyOf`, `oneOf` and `not` only judge.

use super::super::compile::pattern;
use super::view::{LISTS, flag, is_empty, items, list, properties, rest, text, there};
use crate::complaint::{forbidden, invalid, required};
use orknet_resources::FieldError;
use orknet_resources::field::Path;
use serde_json::{Value, json};

const EMBEDDED: &str = "x-kubernetes-embedded-resource";
const INT_OR_STRING: &str = "x-kubernetes-int-or-string";
const PRESERVE: &str = "x-kubernetes-preserve-unknown-fields";

/// What a schema is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Item,
    Field,
}

/// The rules for a whole schema.
pub fn check(schema: &Value, at: &Path<'_>, found: &mut Vec<FieldError>) {
    structure(schema, Level::Root, at, found);
}

fn structure(schema: &Value, level: Level, at: &Path<'_>, found: &mut Vec<FieldError>) {
    let field = |name: &str| at.field(name).to_string();
    let kind = text(schema, "type");
    if kind == "array" && items(schema).is_none() {
        found.push(required(field("items"), "must be specified"));
    }
    if let Some(items) = items(schema) {
        structure(items, Level::Item, &at.field("items"), found);
    }
    for (name, property) in properties(schema) {
        structure(property, Level::Field, &at.field("properties").key(name), found);
    }
    if there(schema, "additionalProperties").is_some() {
        let here = at.field("additionalProperties");
        if level == Level::Root {
            found.push(forbidden(here.to_string(), "must not be used at the root"));
        }
        if let Some(rest) = rest(schema) {
            structure(rest, Level::Field, &here, found);
        }
        if flag(schema, EMBEDDED) {
            found.push(forbidden(here.to_string(), "must not be used if x-kubernetes-embedded-resource is set"));
        }
    }
    extensions(schema, at, found);
    let first_all_of = list(schema, "allOf").first().is_some_and(is_int_or_string);
    validations(schema, is_int_or_string(schema), first_all_of, at, found);
    types(schema, level, at, found);
    let has_meta = level == Level::Root || flag(schema, EMBEDDED);
    let property = |name: &str| schema["properties"].get(name);
    for name in ["kind", "apiVersion"] {
        if let Some(property) = property(name).filter(|property| has_meta && text(property, "type") != "string") {
            let here = at.field("properties").key(name).field("type").to_string();
            found.push(invalid(here, &text(property, "type").into(), "must be string"));
        }
    }
    if let Some(property) = property("metadata") {
        metadata(property, has_meta, level, &at.field("properties").key("metadata"), found);
    }
    if flag(schema, EMBEDDED) && !flag(schema, PRESERVE) && properties(schema).next().is_none() {
        let why = "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields";
        found.push(required(field("properties"), why));
    }
}

fn types(schema: &Value, level: Level, at: &Path<'_>, found: &mut Vec<FieldError>) {
    let kind = text(schema, "type");
    let here = at.field("type").to_string();
    if flag(schema, EMBEDDED) && kind != "object" {
        let why = "must be object if x-kubernetes-embedded-resource is true";
        found.push(if kind.is_empty() { required(here.clone(), why) } else { invalid(here.clone(), &kind.into(), why) });
    } else if kind.is_empty() && !flag(schema, INT_OR_STRING) && !flag(schema, PRESERVE) {
        let why = match level {
            Level::Root => "must not be empty at the root",
            Level::Item => "must not be empty for specified array items",
            Level::Field => "must not be empty for specified object fields",
        };
        found.push(required(here.clone(), why));
    }
    if level == Level::Root && !kind.is_empty() && kind != "object" {
        found.push(invalid(here, &kind.into(), "must be object at the root"));
    }
}

/// At the root only the form of `name` and `generateName` may be restricted.
fn metadata(schema: &Value, has_meta: bool, level: Level, at: &Path<'_>, found: &mut Vec<FieldError>) {
    if has_meta && text(schema, "type") != "object" {
        found.push(invalid(at.field("type").to_string(), &text(schema, "type").into(), "must be object"));
    }
    let says_nothing = |name: &str, value: &Value| match name {
        "type" | "default" | "externalDocs" | "example" => true,
        "properties" => properties(schema).all(|(name, _)| matches!(&name[..], "name" | "generateName")),
        _ => is_empty(value),
    };
    let fields = schema.as_object().into_iter().flatten();
    if level == Level::Root && !fields.into_iter().all(|(name, value)| says_nothing(name, value)) {
        let why = "must not specify anything other than name and generateName, but metadata is implicitly specified";
        found.push(forbidden(at.to_string(), why));
    }
}

fn extensions(schema: &Value, at: &Path<'_>, found: &mut Vec<FieldError>) {
    for name in [PRESERVE, EMBEDDED] {
        if flag(schema, INT_OR_STRING) && flag(schema, name) {
            found.push(invalid(at.field(name).to_string(), &true.into(), "must be false if x-kubernetes-int-or-string is true"));
        }
    }
}

/// `anyOf: [{type: integer}, {type: string}]`, which may stand where types may not.
fn is_int_or_string(schema: &Value) -> bool {
    schema["anyOf"] == json!([{ "type": "integer" }, { "type": "string" }])
}

fn validations(schema: &Value, skip_any_of: bool, skip_first_all_of: bool, at: &Path<'_>, found: &mut Vec<FieldError>) {
    for name in LISTS {
        let here = at.field(name);
        for (index, nested) in list(schema, name).iter().enumerate() {
            let here = here.index(index);
            match name {
                "anyOf" if skip_any_of => {}
                "allOf" => judging(nested, skip_first_all_of && index == 0, &here, found),
                _ => judging(nested, false, &here, found),
            }
        }
    }
    if let Some(not) = there(schema, "not") {
        judging(not, false, &at.field("not"), found);
    }
    let expression = text(schema, "pattern");
    if let Err(why) = pattern(expression) {
        let why = format!("must be a valid regular expression, but isn't: {why}");
        found.push(invalid(at.field("pattern").to_string(), &expression.into(), why));
    }
}

/// The rules for a schema inside of a value validation.
fn judging(schema: &Value, skip_any_of: bool, at: &Path<'_>, found: &mut Vec<FieldError>) {
    validations(schema, skip_any_of, false, at, found);
    if let Some(items) = items(schema) {
        judging(items, false, &at.field("items"), found);
    }
    for (name, property) in properties(schema) {
        judging(property, false, &at.field("properties").key(name), found);
    }
    for (name, why) in [
        ("type", "must be empty to be structural"),
        ("additionalProperties", "must be undefined to be structural"),
        ("default", "must be undefined to be structural"),
        ("title", "must be empty to be structural"),
        ("description", "must be empty to be structural"),
        ("nullable", "must be false to be structural"),
        (PRESERVE, "must be false to be structural"),
        (EMBEDDED, "must be false to be structural"),
        (INT_OR_STRING, "must be false to be structural"),
        ("x-kubernetes-list-map-keys", "must be empty to be structural"),
        ("x-kubernetes-list-type", "must be undefined to be structural"),
        ("x-kubernetes-map-type", "must be undefined to be structural"),
        ("x-kubernetes-validations", "must be empty to be structural"),
    ] {
        // What must not be defined is wrong whatever it says.
        let is_there =
            if why.contains("undefined") { there(schema, name).is_some() } else { schema.get(name).is_some_and(|value| !is_empty(value)) };
        if is_there {
            found.push(forbidden(at.field(name).to_string(), why));
        }
    }
    if schema["properties"].get("metadata").is_some() {
        found.push(forbidden(at.field("properties").key("metadata").to_string(), "must not be specified in a nested context"));
    }
}

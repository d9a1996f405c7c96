//! What a schema may have: the fields, lists, maps and rules that Kubernetes supports.

use super::super::{FieldPath, Node, Reason};
use super::view::{LISTS, flag, is_empty, items, list, properties, rest, text, there};
use crate::complaint::{forbidden, invalid, not_supported, required};
use orknet_resources::field::Path;
use orknet_resources::{Cause, FieldError};
use serde_json::Value;
use std::cell::OnceCell;

const TYPES: [&str; 6] = ["array", "boolean", "integer", "number", "object", "string"];
const META: [&str; 3] = ["metadata", "kind", "apiVersion"];

/// What the schemas around one say of it.
#[derive(Clone, Copy, Default)]
struct Context<'c> {
    /// Why there may be no default.
    no_defaults: Option<&'c str>,
    inside_meta: bool,
}

/// The rules for a whole schema.
pub fn check(schema: &Value, at: &Path<'_>, found: &mut Vec<FieldError>) {
    walk(schema, at, Context::default(), true, found);
}

fn walk(schema: &Value, at: &Path<'_>, context: Context<'_>, is_root: bool, found: &mut Vec<FieldError>) {
    fields(schema, at, context, found);
    if there(schema, "additionalProperties").is_some() {
        let here = at.field("additionalProperties");
        if properties(schema).next().is_some() && schema["additionalProperties"] != true {
            found.push(forbidden(here.to_string(), "additionalProperties and properties are mutual exclusive"));
        }
        if let Some(rest) = rest(schema) {
            // What is dropped from metadata cannot be told without a value.
            let reason = context.inside_meta.then_some("inside additionalProperties applying to object metadata");
            walk(rest, &here, Context { no_defaults: reason.or(context.no_defaults), ..context }, false, found);
        }
    }
    for (name, property) in properties(schema) {
        let is_meta = (is_root || flag(schema, "x-kubernetes-embedded-resource")) && META.contains(&&name[..]);
        let reason = (is_meta && is_root).then(|| format!("in top-level {name}"));
        let below = Context { no_defaults: reason.as_deref().or(context.no_defaults), inside_meta: context.inside_meta || is_meta };
        walk(property, &at.field("properties").key(name), below, false, found);
    }
    if let Some(not) = there(schema, "not") {
        walk(not, &at.field("not"), context, false, found);
    }
    for name in LISTS {
        for (index, nested) in list(schema, name).iter().enumerate() {
            walk(nested, &at.field(name).index(index), context, false, found);
        }
    }
    if let Some(items) = items(schema) {
        walk(items, &at.field("items"), context, false, found);
    }
    for (index, item) in list(schema, "items").iter().enumerate() {
        walk(item, &at.field("items").index(index), context, false, found);
    }
    if schema["x-kubernetes-preserve-unknown-fields"] == false {
        let here = at.field("x-kubernetes-preserve-unknown-fields").to_string();
        found.push(invalid(here, &false.into(), "must be true or undefined"));
    }
    map_type(schema, at, found);
    list_type(schema, at, found);
    list_keys(schema, at, found);
    not_nullable(schema, at, found);
    // Compiled once, if one of the rules wants it.
    let node = OnceCell::new();
    for (index, rule) in list(schema, "x-kubernetes-validations").iter().enumerate() {
        check_rule(
            || node.get_or_init(|| Node::compile(schema).ok()).as_ref(),
            rule,
            &at.field("x-kubernetes-validations").index(index),
            found,
        );
    }
}

fn fields(schema: &Value, at: &Path<'_>, context: Context<'_>, found: &mut Vec<FieldError>) {
    let field = |name: &str| at.field(name).to_string();
    let kind = text(schema, "type");
    if !kind.is_empty() && !TYPES.contains(&kind) {
        found.push(not_supported(field("type"), &kind.into(), &TYPES));
    }
    if there(schema, "default").is_some()
        && let Some(reason) = context.no_defaults
    {
        found.push(forbidden(field("default"), format!("must not be set {reason}")));
    }
    for name in ["id", "additionalItems", "patternProperties", "definitions", "dependencies", "$ref"] {
        let is_there = match name {
            "id" | "patternProperties" | "definitions" => schema.get(name).is_some_and(|value| !is_empty(value)),
            _ => there(schema, name).is_some(),
        };
        if is_there {
            found.push(forbidden(field(name), format!("{name} is not supported")));
        }
    }
    if kind == "null" {
        found.push(forbidden(field("type"), "type cannot be set to null, use nullable as an alternative"));
    }
    if !list(schema, "items").is_empty() {
        found.push(forbidden(field("items"), "items must be a schema object and not an array"));
    }
    if context.inside_meta && flag(schema, "x-kubernetes-embedded-resource") {
        found.push(forbidden(field("x-kubernetes-embedded-resource"), "must not be used inside of resource meta"));
    }
    if flag(schema, "uniqueItems") {
        let why = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
        found.push(forbidden(field("uniqueItems"), why));
    }
}

fn must_be(kind: &str, wanted: &str, extension: &str, at: &Path<'_>, found: &mut Vec<FieldError>) -> bool {
    let (here, why) = (at.field("type").to_string(), format!("must be {wanted} if {extension} is specified"));
    if kind != wanted {
        found.push(if kind.is_empty() { required(here, why) } else { invalid(here, &kind.into(), why) });
    }
    kind == wanted
}

fn map_type(schema: &Value, at: &Path<'_>, found: &mut Vec<FieldError>) {
    const NAME: &str = "x-kubernetes-map-type";
    let Some(own) = there(schema, NAME) else { return };
    must_be(text(schema, "type"), "object", NAME, at, found);
    if !matches!(own.as_str(), Some("atomic" | "granular")) {
        found.push(not_supported(at.field(NAME).to_string(), own, &["atomic", "granular"]));
    }
}

fn list_type(schema: &Value, at: &Path<'_>, found: &mut Vec<FieldError>) {
    const NAME: &str = "x-kubernetes-list-type";
    let Some(own) = there(schema, NAME) else { return };
    if must_be(text(schema, "type"), "array", NAME, at, found)
        && own == "set"
        && let Some(items) = items(schema)
    {
        // Unset, a list is atomic, and a map is not.
        let wrong = match text(items, "type") {
            "array" => there(items, NAME).is_some_and(|list| list != "atomic").then_some(NAME),
            "object" => (text(items, "x-kubernetes-map-type") != "atomic").then_some("x-kubernetes-map-type"),
            _ => None,
        };
        if let Some(name) = wrong {
            let why = "must be atomic as item of a list with x-kubernetes-list-type=set";
            found.push(invalid(at.field("items").field(name).to_string(), &items[NAME], why));
        }
    }
    if !matches!(own.as_str(), Some("atomic" | "set" | "map")) {
        found.push(not_supported(at.field(NAME).to_string(), own, &["atomic", "set", "map"]));
    }
}

fn list_keys(schema: &Value, at: &Path<'_>, found: &mut Vec<FieldError>) {
    let field = |name: &str| at.field(name).to_string();
    let keys: Vec<&str> = list(schema, "x-kubernetes-list-map-keys").iter().filter_map(Value::as_str).collect();
    let own = there(schema, "x-kubernetes-list-type");
    if !keys.is_empty() && own.is_none_or(|own| own != "map") {
        let (here, why) = (field("x-kubernetes-list-type"), "must be map if x-kubernetes-list-map-keys is non-empty");
        found.push(own.map_or_else(|| required(here.clone(), why), |own| invalid(here.clone(), own, why)));
    }
    if own.is_none_or(|own| own != "map") {
        return;
    }
    if keys.is_empty() {
        found.push(required(field("x-kubernetes-list-map-keys"), "must not be empty if x-kubernetes-list-type is map"));
    }
    let Some(items) = items(schema) else {
        found.push(if there(schema, "items").is_none() {
            required(field("items"), "must have a schema if x-kubernetes-list-type is map")
        } else {
            let detail = "must only have a single schema if x-kubernetes-list-type is map".to_owned();
            FieldError { cause: Cause::Invalid, field: field("items"), value: None, detail }
        });
        return;
    };
    let kind = text(items, "type");
    if kind != "object" {
        let here = at.field("items").field("type").to_string();
        found.push(invalid(here, &kind.into(), "must be object if parent array's x-kubernetes-list-type is map"));
        return;
    }
    for (index, key) in keys.iter().enumerate() {
        // A list of texts is shown as one.
        let wrong = |why: &str| FieldError {
            cause: Cause::Invalid,
            field: field("x-kubernetes-list-map-keys"),
            value: Some(keys.clone().into()),
            detail: why.to_owned(),
        };
        match items["properties"].get(*key) {
            Some(property) if matches!(text(property, "type"), "array" | "object") => {
                let here = at.field("items").field("properties").key(key).field("type").to_string();
                found.push(invalid(here, &kind.into(), "must be a scalar type if parent array's x-kubernetes-list-type is map"));
            }
            Some(_) => {}
            None => found.push(wrong("entries must all be names of item properties")),
        }
        if keys[..index].contains(key) {
            found.push(wrong("must not contain duplicate entries"));
        }
    }
}

/// Items of sets and maps, and the fields that tell items apart, are there.
fn not_nullable(schema: &Value, at: &Path<'_>, found: &mut Vec<FieldError>) {
    let own = text(schema, "x-kubernetes-list-type");
    let (Some(items), "set" | "map") = (items(schema), own) else { return };
    let here = at.field("items");
    if flag(items, "nullable") {
        let why = format!("cannot be nullable when x-kubernetes-list-type is {own}");
        found.push(forbidden(here.field("nullable").to_string(), why));
    }
    if own == "set" {
        return;
    }
    let is_required = |key: &Value| list(items, "required").contains(key);
    for key in list(schema, "x-kubernetes-list-map-keys") {
        let Some((name, property)) = key.as_str().and_then(|name| Some((name, items["properties"].get(name)?))) else { continue };
        let field = |field: &str| here.field("properties").key(name).field(field).to_string();
        if !is_required(key) && there(property, "default").is_none() {
            let why = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property";
            found.push(required(field("default"), why));
        }
        if flag(property, "nullable") {
            found.push(forbidden(field("nullable"), "this property is in x-kubernetes-list-map-keys, so it cannot be nullable"));
        }
    }
}

/// The rules for a rule, but for its expressions. `node`: the schema at its place; `None` where that cannot be compiled, which has complaints of its own.
fn check_rule<'n>(node: impl Fn() -> Option<&'n Node>, rule: &Value, at: &Path<'_>, found: &mut Vec<FieldError>) {
    let field = |name: &str| at.field(name).to_string();
    let breaks = |text: &str| text.contains(['\n', '\r']);
    let (expression, message) = (text(rule, "rule").trim(), text(rule, "message"));
    if expression.is_empty() {
        found.push(required(field("rule"), "rule is not specified"));
    } else if !message.is_empty() && message.trim().is_empty() {
        found.push(invalid(field("message"), &message.into(), "message must be non-empty if specified"));
    } else if breaks(message.trim()) {
        found.push(invalid(field("message"), &message.into(), "message must not contain line breaks"));
    } else if breaks(expression) && message.is_empty() {
        found.push(required(field("message"), "message must be specified if rule contains line breaks"));
    }
    let expression = text(rule, "messageExpression");
    if !expression.is_empty() && expression.trim().is_empty() {
        found.push(required(field("messageExpression"), "messageExpression must be non-empty if specified"));
    }
    if let Some(reason) = there(rule, "reason").filter(|reason| reason.as_str().is_none_or(|name| Reason::of(name).is_none())) {
        found.push(not_supported(field("reason"), reason, &Reason::NAMES));
    }
    let path = text(rule, "fieldPath");
    let mut wrong = |why: &str| found.push(invalid(field("fieldPath"), &path.into(), why));
    if !path.is_empty() && path.trim().is_empty() {
        wrong("fieldPath must be non-empty if specified");
    }
    if breaks(path) {
        wrong("fieldPath must not contain line breaks");
    }
    if !path.is_empty() && node().is_some_and(|node| FieldPath::parse(path, node, true).is_err()) {
        wrong("fieldPath must be a valid path");
    }
}

//! The rules for objects: metadata, the schema, numbers of the `scale` subresource, embedded resources, lists.

use super::CustomKind;
use crate::complaint;
use crate::schema::cel;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::serde::Deserialize;
use orknet_resources::field::{Errors, Path};
use orknet_resources::meta;
use orknet_resources::names::NameRule;
use orknet_resources::{FieldError, Resource, ScalePaths, Subresource};
use serde_json::Value;

/// The largest number that a `Scale` can show.
const MAX_REPLICAS: i64 = i32::MAX as i64;

pub fn create(kind: &CustomKind, object: &Value) -> Vec<FieldError> {
    let mut found = metadata(kind, object, None);
    found.extend(kind.schema.complaints(object, ""));
    found.extend(scale(kind, object, None));
    found.extend(kind.schema.embedded_complaints(object, ""));
    found.extend(kind.schema.duplicates(object));
    expressions(kind, object, None, &mut found);
    found
}

pub fn update(kind: &CustomKind, new: &Value, old: &Value, subresource: Subresource<'_>) -> Vec<FieldError> {
    let mut found = metadata(kind, new, Some(old));
    found.extend(kind.schema.complaints_about_change(new, old, ""));
    found.extend(scale(kind, new, subresource));
    found.extend(kind.schema.embedded_complaints(new, ""));
    // Where there were items twice before the lists had their types, they may stay.
    if kind.schema.duplicates(old).is_empty() {
        found.extend(kind.schema.duplicates(new));
    }
    expressions(kind, new, Some(old), &mut found);
    found
}

fn expressions(kind: &CustomKind, new: &Value, old: Option<&Value>, found: &mut Vec<FieldError>) {
    let Some(rules) = &kind.rules else { return };
    match cel::not_checked(found) {
        Some(error) => found.push(error),
        None => found.extend(rules.complaints(&kind.schema, new, old)),
    }
}

fn metadata(kind: &CustomKind, new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let read = |object: &Value| ObjectMeta::deserialize(&object["metadata"]);
    let at = Path::Root.field("metadata");
    let mut errors = Errors::default();
    match (read(new), old.map(read).transpose()) {
        (Ok(new), Ok(old)) => {
            meta::validate(&new, kind.descriptor().scope, NameRule::Subdomain, &at, &mut errors);
            if let Some(old) = old {
                meta::validate_update(&new, &old, &at, &mut errors);
            }
        }
        (Err(error), _) | (_, Err(error)) => errors.invalid_as_is(&at, error.to_string()),
    }
    errors.into_list()
}

fn scale(kind: &CustomKind, object: &Value, subresource: Subresource<'_>) -> Vec<FieldError> {
    let Some(ScalePaths { spec_replicas, status_replicas, selector }) = &kind.scale else { return Vec::new() };
    let mut found = Vec::new();
    // A change of the status is not asked about the rest.
    if subresource != Some("status") {
        replicas(object, spec_replicas, &mut found);
    }
    replicas(object, status_replicas, &mut found);
    if let Some(path) = selector
        && let Err(why) = at(object, path, Value::is_string, "string")
    {
        found.push(complaint::invalid(dotted(path), &"".into(), why));
    }
    found
}

fn replicas(object: &Value, path: &[String], found: &mut Vec<FieldError>) {
    let why = match at(object, path, Value::is_i64, "int64") {
        Err(why) => (0, why),
        Ok(value) => match value.and_then(Value::as_i64).unwrap_or_default() {
            number if number < 0 => (number, "should be a non-negative integer".to_owned()),
            number if number > MAX_REPLICAS => (number, format!("should be less than or equal to {MAX_REPLICAS}")),
            _ => return,
        },
    };
    found.push(complaint::invalid(dotted(path), &why.0.into(), why.1));
}

/// The value at a path; an error where something else is in the way.
fn at<'v>(object: &'v Value, path: &[String], is: fn(&Value) -> bool, expected: &str) -> Result<Option<&'v Value>, String> {
    let mut value = object;
    for (depth, name) in path.iter().enumerate() {
        let Value::Object(fields) = value else {
            let (shown, type_) = (shown(value), go_type(value));
            return Err(format!(
                ".{} accessor error: {shown} is of the type {type_}, expected map[string]interface{{}}",
                path[..depth].join(".")
            ));
        };
        match fields.get(name) {
            Some(below) => value = below,
            None => return Ok(None),
        }
    }
    if is(value) {
        return Ok(Some(value));
    }
    Err(format!(".{} accessor error: {} is of the type {}, expected {expected}", path.join("."), shown(value), go_type(value)))
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| if value.is_null() { "<nil>".to_owned() } else { value.to_string() }, str::to_owned)
}

fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.as_i64().is_some() => "int64",
        Value::Number(_) => "float64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

fn dotted(path: &[String]) -> String {
    format!(".{}", path.join("."))
}

//! Whether a value is right, with the words of Kubernetes. A change may leave what was wrong before as it is (ratcheting).

use super::same::Unchanged;
use super::{Checks, List, Node, Rest, Type, lists, scalar};
use crate::complaint::{self, quoted};
use orknet_resources::field::Path;
use orknet_resources::{Cause, FieldError};
use serde_json::{Map, Value};
use std::collections::HashMap;

/// What is wrong with a value, and how many checks it passed: the branch of an `anyOf` or `oneOf` that passed most speaks for all.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub errors: Vec<FieldError>,
    pub passed: u64,
}

/// Where a value is: `prefix` is empty for an object, and the field of a default for a default.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    pub prefix: &'a str,
    pub path: &'a Path<'a>,
}

impl Node {
    /// What is wrong with a value. `prefix`: the field that holds it; empty for an object, whose fields stand for themselves.
    pub fn complaints(&self, value: &Value, prefix: &str) -> Vec<FieldError> {
        check(self, value, None, At { prefix, path: &Path::Root }, &mut Unchanged::default()).errors
    }

    /// What is wrong with a value and was not before: a part that is not changed may stay wrong.
    pub fn complaints_about_change(&self, new: &Value, old: &Value, prefix: &str) -> Vec<FieldError> {
        check(self, new, Some(old), At { prefix, path: &Path::Root }, &mut Unchanged::default()).errors
    }

    /// The old item that each new one came from. Only map lists say; of others none is known.
    pub fn old_items<'v>(&self, new: &[Value], old: Option<&'v Value>) -> Vec<Option<&'v Value>> {
        match (&self.list, old) {
            (List::Map(keys), Some(Value::Array(old))) => {
                let old = by_key(old, keys);
                new.iter().map(|item| old.get(&identity(item, keys)).copied()).collect()
            }
            _ => vec![None; new.len()],
        }
    }
}

pub(super) fn identity(item: &Value, keys: &[String]) -> String {
    lists::identity(&lists::key_of(item, keys))
}

pub(super) fn by_key<'v>(items: &'v [Value], keys: &[String]) -> HashMap<String, &'v Value> {
    // The first of several with one key.
    items.iter().rev().map(|item| (identity(item, keys), item)).collect()
}

impl At<'_> {
    /// The path below the value that is looked at.
    pub fn name(&self) -> String {
        self.path.to_string()
    }

    /// The field that a complaint names.
    pub fn field(&self) -> String {
        self.field_of(&self.name())
    }

    fn field_of(&self, name: &str) -> String {
        match (self.prefix, name) {
            // Go's nil path.
            ("", "") => "<nil>".to_owned(),
            ("", name) => name.to_owned(),
            (prefix, "") => prefix.to_owned(),
            (prefix, name) => format!("{prefix}.{name}"),
        }
    }

    /// `spec.x in body should be …`.
    pub fn invalid(&self, value: &Value, what: impl std::fmt::Display) -> FieldError {
        complaint::invalid(self.field(), value, format!("{} in body {what}", self.name()))
    }

    pub fn wrong_type(&self, expected: &str, found: &str) -> FieldError {
        let detail = format!("{} in body must be of type {expected}: {}", self.name(), quoted(found));
        FieldError { cause: Cause::TypeInvalid, field: self.field(), value: Some(found.into()), detail }
    }

    /// A complaint about several schemas at once, which Kubernetes says of no field.
    pub fn composite(&self, what: impl std::fmt::Display) -> FieldError {
        complaint::invalid(self.field_of(""), &"".into(), format!("{} {what}", quoted(&self.name())))
    }
}

impl Found {
    pub fn merge(&mut self, other: Self) {
        self.errors.extend(other.errors);
        self.passed += other.passed;
    }
}

/// `known`: what is known of this change already.
pub(super) fn check(node: &Node, value: &Value, old: Option<&Value>, at: At<'_>, known: &mut Unchanged) -> Found {
    let mut found = Found::default();
    let checks = node.checks.as_deref();
    scalar::types(node, value, at, &mut found);
    if value.is_null() {
        checks.inspect(|checks| scalar::values(checks, value, at, &mut found));
    } else {
        if let Some(checks) = checks {
            checks.junctors(value, old, at, (&mut found, &mut *known));
            scalar::check(checks, value, at, &mut found);
        }
        if let Value::Array(items) = value {
            list(node, items, old, at, (&mut found, &mut *known));
        }
        checks.inspect(|checks| scalar::values(checks, value, at, &mut found));
        if let Value::Object(fields) = value {
            object(node, fields, old, at, (&mut found, &mut *known));
        }
        // The type, the junctors, the kind of value, its values, and the whole.
        found.passed += 5;
    }
    if !found.errors.is_empty() && old.is_some_and(|old| known.same(node, value, old)) {
        found.errors.clear();
    }
    found
}

fn list(node: &Node, items: &[Value], old: Option<&Value>, at: At<'_>, (found, known): (&mut Found, &mut Unchanged)) {
    if let Some(below) = &node.items {
        let olds = node.old_items(items, old);
        for (index, (item, old)) in items.iter().zip(olds).enumerate() {
            found.merge(check(below, item, old, At { path: &at.path.index(index), ..at }, known));
        }
    }
    let Some(checks) = node.checks.as_deref() else { return };
    let size = items.len();
    if let Some(min) = checks.min_items.filter(|min| (size as i64) < *min) {
        found.errors.push(at.invalid(&size.into(), format_args!("should have at least {min} items")));
    }
    if let Some(max) = checks.max_items.filter(|max| size as i64 > *max) {
        found.errors.push(complaint::too_many(at.field(), size, max));
    }
}

fn object(node: &Node, fields: &Map<String, Value>, old: Option<&Value>, at: At<'_>, (found, known): (&mut Found, &mut Unchanged)) {
    let empty = Checks::default();
    let checks = node.checks.as_deref().unwrap_or(&empty);
    let size = fields.len();
    if let Some(min) = checks.min_properties.filter(|min| (size as i64) < *min) {
        found.errors.push(at.invalid(&size.into(), format_args!("should have at least {min} properties")));
        return;
    }
    if let Some(max) = checks.max_properties.filter(|max| size as i64 > *max) {
        found.errors.push(complaint::too_many(at.field(), size, max));
        return;
    }
    for (name, value) in fields {
        match (node.properties.get(name), &node.rest) {
            (Some(below), _) => found.merge(check_field(below, name, value, old, (at, &mut *known))),
            (None, Rest::Of(below)) => found.merge(check_field(below, name, value, old, (at, &mut *known))),
            (None, Rest::Forbidden) => {
                let detail = format!("{}.{name} in body is a forbidden property", at.name());
                found.errors.push(complaint::invalid(at.field(), &name.as_str().into(), detail));
            }
            _ => {}
        }
    }
    for name in checks.required.iter().filter(|name| !fields.contains_key(*name)) {
        found.errors.push(complaint::required(At { path: &at.path.field(name), ..at }.field(), ""));
    }
}

fn check_field(node: &Node, name: &str, value: &Value, old: Option<&Value>, (at, known): (At<'_>, &mut Unchanged)) -> Found {
    let old = old.and_then(Value::as_object).and_then(|old| old.get(name));
    check(node, value, old, At { path: &at.path.field(name), ..at }, known)
}

/// The type that JSON gives a value.
pub(super) fn type_of(value: &Value) -> Option<Type> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(_) => Type::Boolean,
        Value::Number(number) if number.as_i64().is_some() => Type::Integer,
        Value::Number(_) => Type::Number,
        Value::String(_) => Type::String,
        Value::Array(_) => Type::Array,
        Value::Object(_) => Type::Object,
    })
}

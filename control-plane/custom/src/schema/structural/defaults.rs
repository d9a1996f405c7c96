//! Defaults are right, and nothing of them would be dropped.

use super::super::Node;
use crate::complaint::invalid;
use orknet_resources::FieldError;
use orknet_resources::field::Path;
use serde_json::{Map, Value, json};

/// A step from a resource to a field of it.
#[derive(Clone, Copy)]
enum Step<'s> {
    Field(&'s str),
    Index,
}

/// A place below a resource.
struct Place<'p> {
    /// The schema of the innermost resource that it belongs to.
    resource: &'p Node,
    /// From there.
    steps: Vec<Step<'p>>,
    /// Whether it is part of `apiVersion`, `kind` or `metadata` of that resource, which have rules of their own.
    inside_meta: bool,
}

/// The rules for all defaults of an object's schema.
pub fn check(root: &Node, at: &Path<'_>, found: &mut Vec<FieldError>) {
    let resource = Node { is_embedded: true, ..root.clone() };
    walk(&resource, Place { resource: &resource, steps: Vec::new(), inside_meta: false }, at, found);
}

fn walk(node: &Node, place: Place<'_>, at: &Path<'_>, found: &mut Vec<FieldError>) {
    let Place { resource, steps, inside_meta } =
        if node.is_embedded { Place { resource: node, steps: Vec::new(), inside_meta: false } } else { place };
    if let Some(default) = &node.default {
        let here = at.field("default").to_string();
        if inside_meta {
            in_metadata(node, default, resource, &steps, &here, found);
        } else {
            plain(node, default, &here, found);
        }
    }
    // There are none in other fields: a default needs a name.
    if let Some(items) = &node.items {
        let steps = steps.iter().copied().chain([Step::Index]).collect();
        walk(items, Place { resource, steps, inside_meta }, &at.field("items"), found);
    }
    for (name, property) in &node.properties {
        let inside_meta = inside_meta || (node.is_embedded && matches!(&name[..], "metadata" | "apiVersion" | "kind"));
        let steps = steps.iter().copied().chain([Step::Field(name)]).collect();
        walk(property, Place { resource, steps, inside_meta }, &at.field("properties").key(name), found);
    }
}

fn plain(node: &Node, default: &Value, here: &str, found: &mut Vec<FieldError>) {
    let mut value = default.clone();
    node.prune(&mut value);
    if value != *default {
        found.push(invalid(here.to_owned(), default, "must not have unknown fields"));
    }
    let mut value = default.clone();
    if let Err(error) = node.coerce(&mut value, &mut Vec::new()) {
        let separator = if error.field.starts_with('[') { "" } else { "." };
        found.push(FieldError { field: format!("{here}{separator}{}", error.field), ..error });
        return;
    }
    let wrong = node.embedded_complaints(default, here);
    found.extend(if wrong.is_empty() { node.complaints(default, here) } else { wrong });
}

fn in_metadata(node: &Node, default: &Value, resource: &Node, steps: &[Step<'_>], here: &str, found: &mut Vec<FieldError>) {
    let mut object = surrounding(default.clone(), steps);
    let wrong = match resource.coerce(&mut object, &mut Vec::new()) {
        Err(error) => Some(error.to_string()),
        Ok(()) => aggregate(&resource.embedded_complaints(&object, "")),
    };
    match wrong {
        Some(why) => found.push(invalid(here.to_owned(), default, format!("must result in valid metadata: {why}"))),
        None => found.extend(node.complaints(default, here)),
    }
}

/// The least resource that has the value at a place.
fn surrounding(value: Value, steps: &[Step<'_>]) -> Value {
    let mut object = steps.iter().rev().fold(value, |value, step| match step {
        Step::Field(name) => Value::Object(Map::from_iter([((*name).to_owned(), value)])),
        Step::Index => json!([value]),
    });
    if let Some(fields) = object.as_object_mut() {
        fields.entry("apiVersion").or_insert_with(|| "validation/v1".into());
        fields.entry("kind").or_insert_with(|| "Validation".into());
    }
    object
}

/// Several complaints in one text.
fn aggregate(errors: &[FieldError]) -> Option<String> {
    match errors {
        [] => None,
        [one] => Some(one.to_string()),
        several => Some(format!("[{}]", several.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_surrounded_by_what_it_is_part_of() {
        let steps = [Step::Field("metadata"), Step::Field("finalizers"), Step::Index];
        let object = surrounding("x".into(), &steps);
        assert_eq!(object, json!({ "apiVersion": "validation/v1", "kind": "Validation", "metadata": { "finalizers": ["x"] } }));
    }
}

//! What changed between two objects, as sets of fields.

use super::items;
use crate::fields::{FieldSet, Segment};
use crate::{Place, schema::ListType, schema::Shape};
use serde_json::{Map, Value};
use std::collections::HashMap;

/// The outcome of a comparison.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub added: FieldSet,
    pub modified: FieldSet,
    pub removed: FieldSet,
}

impl Changes {
    /// Fields that have another value now than before, or none before.
    pub fn set(&self) -> FieldSet {
        self.added.clone().union(&self.modified)
    }
}

/// Compares two objects of the kind that `place` is the root of.
pub(super) fn compare(place: Place<'_>, old: &Value, new: &Value) -> Changes {
    let mut changes = Changes::default();
    visit(place, Some(old), Some(new), &mut Vec::new(), &mut changes);
    changes
}

fn visit(place: Place<'_>, old: Option<&Value>, new: Option<&Value>, path: &mut Vec<Segment>, changes: &mut Changes) {
    let old = old.filter(|old| !old.is_null());
    let new = new.filter(|new| !new.is_null());
    let (Some(some), false) = (new.or(old), old == new) else { return };
    let shape = match place.shape() {
        Shape::Deduced if some.is_object() => Shape::Granular,
        shape => shape,
    };
    let empty = |value: Option<&Value>| match value {
        Some(Value::Object(fields)) => fields.is_empty(),
        Some(Value::Array(items)) => items.is_empty(),
        _ => value.is_none(),
    };
    if empty(old) && empty(new) {
        return leaf(old, new, path, changes);
    }
    match shape {
        Shape::Granular if is(old, Value::is_object) && is(new, Value::is_object) => {
            let none = Map::new();
            let old_fields = old.and_then(Value::as_object).unwrap_or(&none);
            let new_fields = new.and_then(Value::as_object).unwrap_or(&none);
            container(place, old, new, path, changes);
            for (name, value) in old_fields {
                within(path, Segment::field(name), |path| visit(place.field(name), Some(value), new_fields.get(name), path, changes));
            }
            for (name, value) in new_fields.iter().filter(|(name, _)| !old_fields.contains_key(*name)) {
                within(path, Segment::field(name), |path| visit(place.field(name), None, Some(value), path, changes));
            }
        }
        Shape::List(list_type) if list_type != ListType::Atomic && is(old, Value::is_array) && is(new, Value::is_array) => {
            let old_items = items::segments(place, list_type, old.and_then(Value::as_array).map_or(&[], Vec::as_slice));
            let new_items = items::segments(place, list_type, new.and_then(Value::as_array).map_or(&[], Vec::as_slice));
            let before: HashMap<&Segment, &Value> = old_items.iter().rev().map(|(segment, item)| (segment, *item)).collect();
            let after: HashMap<&Segment, &Value> = new_items.iter().rev().map(|(segment, item)| (segment, *item)).collect();
            for (segment, item) in &before {
                within(path, (*segment).clone(), |path| list_item(place, Some(item), after.get(segment).copied(), path, changes));
            }
            for (segment, item) in after.iter().filter(|(segment, _)| !before.contains_key(*segment)) {
                within(path, (*segment).clone(), |path| list_item(place, None, Some(item), path, changes));
            }
        }
        _ => leaf(old, new, path, changes),
    }
}

fn list_item(list: Place<'_>, old: Option<&Value>, new: Option<&Value>, path: &mut Vec<Segment>, changes: &mut Changes) {
    match (old, new) {
        (None, _) => changes.added.insert(path),
        (_, None) => changes.removed.insert(path),
        _ => {}
    }
    visit(list.item(), old, new, path, changes);
}

/// A map that came or went counts as itself besides its entries; a struct counts by its fields alone.
fn container(place: Place<'_>, old: Option<&Value>, new: Option<&Value>, path: &[Segment], changes: &mut Changes) {
    let is_struct = some_field(old.or(new)).is_some_and(|name| place.declares(name));
    match (old, new) {
        (None, _) if !is_struct => changes.added.insert(path),
        (_, None) => changes.removed.insert(path),
        _ => {}
    }
}

fn some_field(value: Option<&Value>) -> Option<&String> {
    value?.as_object()?.keys().next()
}

fn leaf(old: Option<&Value>, new: Option<&Value>, path: &[Segment], changes: &mut Changes) {
    match (old, new) {
        (None, _) => changes.added.insert(path),
        (_, None) => changes.removed.insert(path),
        _ => changes.modified.insert(path),
    }
}

fn is(value: Option<&Value>, test: impl Fn(&Value) -> bool) -> bool {
    value.is_none_or(test)
}

fn within(path: &mut Vec<Segment>, segment: Segment, visit: impl FnOnce(&mut Vec<Segment>)) {
    path.push(segment);
    visit(path);
    path.pop();
}

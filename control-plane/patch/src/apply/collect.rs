//! The fields that a value sets.

use super::items;
use crate::fields::{FieldSet, Segment};
use crate::{Place, schema::Shape};
use serde_json::Value;

/// Every leaf, item and map entry of `value`, and structs and lists that are empty. Nulls set nothing.
pub(super) fn fields_of(place: Place<'_>, value: &Value) -> FieldSet {
    let mut set = FieldSet::new();
    visit(place, value, &mut Vec::new(), &mut set);
    set
}

fn visit(place: Place<'_>, value: &Value, path: &mut Vec<Segment>, set: &mut FieldSet) {
    match (place.shape(), value) {
        (_, Value::Null) => {}
        (Shape::Granular | Shape::Deduced, Value::Object(fields)) => {
            for (name, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
                path.push(Segment::field(name));
                if !place.declares(name) || is_empty(value) {
                    set.insert(path);
                }
                visit(place.field(name), value, path, set);
                path.pop();
            }
        }
        (Shape::List(list_type), Value::Array(values)) if list_type != crate::schema::ListType::Atomic => {
            for (segment, item) in items::segments(place, list_type, values) {
                path.push(segment);
                set.insert(path);
                visit(place.item(), item, path, set);
                path.pop();
            }
        }
        _ => set.insert(path),
    }
}

/// Whether a value is an object or list without anything in it.
pub(super) fn is_empty(value: &Value) -> bool {
    match value {
        Value::Object(fields) => fields.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

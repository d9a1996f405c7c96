//! Removal of what an applier applied before and applies no longer.

use super::{collect::is_empty, items};
use crate::fields::{FieldSet, Segment};
use crate::{Place, schema::ListType, schema::Shape};
use serde_json::{Map, Value};

/// Removes from `value` the fields in `gone`. A struct, map or list that this empties goes too, unless `owned` has it as such.
pub(super) fn remove(place: Place<'_>, value: Value, gone: &FieldSet, owned: Option<&FieldSet>) -> Value {
    match (place.shape(), value) {
        (Shape::Granular | Shape::Deduced, Value::Object(fields)) => {
            let mut kept = Map::new();
            for (name, value) in fields {
                let segment = Segment::field(&name);
                if let Some(value) = below(place.field(&name), segment, value, gone, owned) {
                    kept.insert(name, value);
                }
            }
            Value::Object(kept)
        }
        (Shape::List(list_type), Value::Array(values)) if list_type != ListType::Atomic => {
            let kept = values.into_iter().filter_map(|item| match items::segment(place, list_type, &item) {
                Ok(segment) => below(place.item(), segment, item, gone, owned),
                Err(_) => Some(item),
            });
            Value::Array(kept.collect())
        }
        (_, value) => value,
    }
}

fn below(place: Place<'_>, segment: Segment, value: Value, gone: &FieldSet, owned: Option<&FieldSet>) -> Option<Value> {
    if gone.has(&segment) {
        return None;
    }
    let Some(inner) = gone.below(&segment) else { return Some(value) };
    let was_empty = is_empty(&value);
    let value = remove(place, value, inner, owned.and_then(|owned| owned.below(&segment)));
    let keep = was_empty || !is_empty(&value) || owned.is_some_and(|owned| owned.has(&segment));
    keep.then_some(value)
}

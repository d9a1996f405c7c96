//! An applied configuration laid over the live object.

use super::items;
use crate::fields::{FieldPath, Segment};
use crate::{PatchError, Place, schema::ListType, schema::Shape};
use serde_json::{Map, Value};
use std::collections::{HashMap, HashSet};

/// The live object with everything that the configuration sets. Nulls in the configuration set nothing.
pub(super) fn merge(place: Place<'_>, live: &Value, config: &Value) -> Result<Value, PatchError> {
    visit(place, Some(live), config, &mut Vec::new())
}

fn visit(place: Place<'_>, live: Option<&Value>, config: &Value, path: &mut Vec<Segment>) -> Result<Value, PatchError> {
    let shape = match place.shape() {
        Shape::Deduced if config.is_object() => Shape::Granular,
        shape => shape,
    };
    match (shape, config) {
        (Shape::Granular, Value::Object(config)) => {
            let mut merged = live.and_then(Value::as_object).cloned().unwrap_or_default();
            fields(place, &mut merged, config, path)?;
            Ok(Value::Object(merged))
        }
        (Shape::List(list_type), Value::Array(config)) if list_type != ListType::Atomic => {
            let live = live.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            list(place, list_type, live, config, path).map(Value::Array)
        }
        _ => Ok(config.clone()),
    }
}

fn fields(
    place: Place<'_>,
    merged: &mut Map<String, Value>,
    config: &Map<String, Value>,
    path: &mut Vec<Segment>,
) -> Result<(), PatchError> {
    for (name, value) in config.iter().filter(|(_, value)| !value.is_null()) {
        path.push(Segment::field(name));
        let value = visit(place.field(name), merged.get(name), value, path)?;
        path.pop();
        merged.insert(name.clone(), value);
    }
    Ok(())
}

/// Items that only the live object has keep their place before the next item that both have; the configuration's order wins otherwise.
fn list<'v>(
    place: Place<'_>,
    list_type: ListType<'_>,
    live: &'v [Value],
    config: &'v [Value],
    path: &mut Vec<Segment>,
) -> Result<Vec<Value>, PatchError> {
    let at = |path: &[Segment]| FieldPath(path.to_vec()).to_string();
    // An item that cannot be told apart would be lost or doubled: nothing is merged then, in either list.
    let keyed = |side: &str, items: &'v [Value], path: &[Segment]| -> Result<Vec<(Segment, &'v Value)>, PatchError> {
        let keyed = items.iter().enumerate().map(|(index, item)| match items::segment(place, list_type, item) {
            Ok(segment) => Ok((segment, item)),
            Err(reason) => Err(PatchError::unapplicable(&at(path), format!("{side}element {index}: {reason}"))),
        });
        keyed.collect()
    };
    let applied = keyed("", config, path)?;
    let live = keyed("live ", live, path)?;
    let mut mentioned = HashSet::with_capacity(applied.len());
    for (segment, _) in &applied {
        if !mentioned.insert(segment) {
            path.push(segment.clone());
            return Err(PatchError::unapplicable(&at(path), "duplicate entries for this key"));
        }
    }
    let mut first: HashMap<&Segment, &Value> = HashMap::with_capacity(live.len());
    for (segment, item) in &live {
        first.entry(segment).or_insert(item);
    }
    let mut shared = applied.iter().map(|(segment, _)| segment).filter(|segment| first.contains_key(segment)).peekable();
    let mut live = live.iter().peekable();
    let mut merged = Vec::with_capacity(first.len() + applied.len());
    for (segment, item) in &applied {
        // Live items go first, up to the next one that the configuration has as well.
        while let Some((theirs, value)) = live.peek() {
            if !mentioned.contains(theirs) {
                merged.push((*value).clone());
            } else if shared.peek() == Some(&theirs) {
                break;
            }
            live.next();
        }
        shared.next_if(|next| *next == segment);
        path.push(segment.clone());
        merged.push(visit(place.item(), first.get(segment).copied(), item, path)?);
        path.pop();
    }
    merged.extend(live.filter(|(segment, _)| !mentioned.contains(segment)).map(|(_, value)| (*value).clone()));
    Ok(merged)
}

//! Lists of a strategic merge patch: merged by key or by value, and brought into order.
//!
//! The order of a merged list: items that the patch names stand as the patch orders them, items that only the server has keep their place
//! among each other, and come before a patch item where they stood before it.

use super::{directive, merge_map};
use crate::{PatchError, Place};
use serde_json::{Map, Value};
use std::collections::{HashMap, HashSet};

/// By what an item of a list, or its merge key, is known: 80 and 80.0 are the same number.
#[derive(PartialEq, Eq, Hash)]
enum Identity {
    /// The bits of the number; zero has one form.
    Number(u64),
    Value(Value),
}

impl Identity {
    fn of(value: &Value) -> Self {
        value.as_f64().map_or_else(|| Self::Value(value.clone()), |number| Self::Number((number + 0.0).to_bits()))
    }

    /// `None`: the item has no merge key.
    fn of_item(item: &Value, key: Option<&str>) -> Option<Self> {
        match key {
            Some(key) => item.get(key).map(Self::of),
            None => Some(Self::of(item)),
        }
    }
}

/// Merges the items of `patch` into those of `target`.
pub(super) fn merge(place: Place<'_>, target: Vec<Value>, patch: &[Value], path: &str) -> Result<Vec<Value>, PatchError> {
    if holds_objects(&target, patch, path)? {
        merge_objects(place, target, patch, path)
    } else {
        let mut seen = HashSet::new();
        let merged = target.iter().chain(patch).filter(|value| seen.insert(Identity::of(value))).cloned().collect();
        in_order(merged, patch, &target, None, path)
    }
}

/// Handles `$setElementOrder` of a list together with the list's own patch. `None`: the list exists on neither side.
pub(super) fn merge_in_order(
    place: Place<'_>,
    target: Option<&Value>,
    patch: Option<&Value>,
    order: &Value,
    path: &str,
) -> Result<Option<Vec<Value>>, PatchError> {
    let order = as_list(order, path)?;
    // A null in the patch removes the list; there is nothing to order then.
    let patch = patch.filter(|patch| !patch.is_null()).map(|patch| as_list(patch, path)).transpose()?;
    let target = target.map(|target| as_list(target, path)).transpose()?;
    if let Some(patch) = patch {
        check_order(place, patch, order, path)?;
    }
    let merged = match (target, patch) {
        (None, None) => return Ok(None),
        (Some(target), None) => target.to_vec(),
        (None, Some(patch)) => patch.iter().filter_map(directive::cleaned).collect(),
        (Some(target), Some(patch)) if place.merges() => merge(place, target.to_vec(), patch, path)?,
        (Some(_), Some(patch)) => return Ok(Some(patch.iter().filter_map(directive::cleaned).collect())),
    };
    if !place.merges() {
        return Ok(Some(merged));
    }
    in_order(merged, order, target.unwrap_or_default(), place.merge_key(), path).map(Some)
}

/// Takes the values of `$deleteFromPrimitiveList` out.
pub(super) fn remove_values(items: &mut Vec<Value>, values: &Value, path: &str) -> Result<(), PatchError> {
    let Value::Array(values) = values else {
        return Err(PatchError::Malformed(format!("{path}: invalid patch format of primitive list: not a list")));
    };
    let values: HashSet<Identity> = values.iter().map(Identity::of).collect();
    items.retain(|item| !values.contains(&Identity::of(item)));
    Ok(())
}

fn merge_objects(place: Place<'_>, target: Vec<Value>, patch: &[Value], path: &str) -> Result<Vec<Value>, PatchError> {
    let key = place.merge_key().ok_or_else(|| PatchError::unapplicable(path, "cannot merge lists without merge key"))?;
    let mut target = target;
    let mut changes = Vec::new();
    let mut deleted = HashSet::new();
    let mut replace = false;
    for change in patch.iter().filter_map(Value::as_object) {
        match change.get(directive::PATCH).map(Value::as_str) {
            None => changes.push(change),
            Some(Some("delete")) => {
                deleted.insert(Identity::of(change.get(key).ok_or_else(|| no_key(change, key, path))?));
            }
            Some(Some("replace")) => replace = true,
            Some(_) => return Err(directive::unknown(change, path)),
        }
    }
    if replace {
        return Ok(changes.into_iter().map(|change| Value::Object(directive::without_directives(change))).collect());
    }
    target.retain(|item| !item.get(key).is_some_and(|known| deleted.contains(&Identity::of(known))));
    let before = target.clone();
    let mut places = places(&target, Some(key));
    for change in &changes {
        let value = change.get(key).ok_or_else(|| no_key(change, key, path))?;
        let at = *places.entry(Identity::of(value)).or_insert(target.len());
        match target.get_mut(at) {
            Some(Value::Object(item)) => {
                let old = std::mem::take(item);
                *item = merge_map(place.item(), old, change, &format!("{path}[{key}={value}]"))?;
            }
            _ => target.push(Value::Object(directive::without_directives(change))),
        }
    }
    let order: Vec<Value> = changes.into_iter().cloned().map(Value::Object).collect();
    in_order(target, &order, &before, Some(key), path)
}

/// Sorts `items`: those in `wanted` as there, the others as in `before`, the two merged by their places in `before`.
fn in_order(items: Vec<Value>, wanted: &[Value], before: &[Value], key: Option<&str>, path: &str) -> Result<Vec<Value>, PatchError> {
    if let (Some(key), Some(item)) = (key, items.iter().find(|item| key.is_some_and(|key| item.get(key).is_none()))) {
        return Err(no_key(item.as_object().unwrap_or(&Map::new()), key, path));
    }
    let (wanted, before) = (places(wanted, key), places(before, key));
    let place = |list: &HashMap<Identity, usize>, item: &Value| list.get(&Identity::of_item(item, key)?).copied();
    let placed = |item: Value| (place(&wanted, &item), place(&before, &item), item);
    let (mut named, mut others): (Vec<_>, Vec<_>) = items.into_iter().map(placed).partition(|(wanted, ..)| wanted.is_some());
    named.sort_by_key(|(wanted, ..)| *wanted);
    others.sort_by_key(|(_, before, _)| before.unwrap_or(usize::MAX));
    let mut sorted = Vec::with_capacity(named.len() + others.len());
    let mut others = others.into_iter().peekable();
    for (_, here, item) in named {
        while let Some((.., other)) = others.next_if(|(_, other, _)| matches!((other, here), (Some(other), Some(here)) if *other < here)) {
            sorted.push(other);
        }
        sorted.push(item);
    }
    sorted.extend(others.map(|(.., other)| other));
    Ok(sorted)
}

/// Where each item first stands.
fn places(list: &[Value], key: Option<&str>) -> HashMap<Identity, usize> {
    let mut places = HashMap::with_capacity(list.len());
    for (index, item) in list.iter().enumerate() {
        if let Some(identity) = Identity::of_item(item, key) {
            places.entry(identity).or_insert(index);
        }
    }
    places
}

/// The items that a patch brings must stand in `$setElementOrder`, in the same order.
fn check_order(place: Place<'_>, patch: &[Value], order: &[Value], path: &str) -> Result<(), PatchError> {
    let mut rest = order.iter();
    for item in patch.iter().filter(|item| item.get(directive::PATCH).is_none()) {
        let identity = Identity::of_item(item, place.merge_key());
        if identity.is_none() || !rest.by_ref().any(|wanted| Identity::of_item(wanted, place.merge_key()) == identity) {
            return Err(PatchError::Malformed(format!("{path}: the order in patch list doesn't match $setElementOrder list")));
        }
    }
    Ok(())
}

/// Whether both lists hold objects (true) or scalars (false); mixtures and lists of lists cannot be merged.
fn holds_objects(target: &[Value], patch: &[Value], path: &str) -> Result<bool, PatchError> {
    let all = || target.iter().chain(patch);
    if all().any(Value::is_array) {
        return Err(PatchError::unapplicable(path, "lists of lists are not supported"));
    }
    let objects = all().filter(|item| item.is_object()).count();
    if objects != 0 && objects != target.len() + patch.len() {
        return Err(PatchError::unapplicable(path, "list element types are not identical"));
    }
    Ok(objects != 0)
}

fn as_list<'v>(value: &'v Value, path: &str) -> Result<&'v [Value], PatchError> {
    value.as_array().map(Vec::as_slice).ok_or_else(|| PatchError::Malformed(format!("{path}: expected a list, but received {value}")))
}

fn no_key(item: &Map<String, Value>, key: &str, path: &str) -> PatchError {
    let item = Value::Object(item.clone());
    PatchError::unapplicable(path, format!("map: {item} does not contain declared merge key: {key}"))
}

//! The words beginning with `$` that a strategic merge patch may contain, and values freed from them.

use crate::PatchError;
use serde_json::{Map, Value};

/// `replace`, `delete` or (in no place) `merge`.
pub(super) const PATCH: &str = "$patch";
/// Names of the fields of an object that may stay.
pub(super) const RETAIN_KEYS: &str = "$retainKeys";
/// `$setElementOrder/LIST`: the order that the items of a list shall have.
pub(super) const SET_ORDER: &str = "$setElementOrder/";
/// `$deleteFromPrimitiveList/LIST`: values to take out of a list of scalars.
pub(super) const DELETE_FROM_LIST: &str = "$deleteFromPrimitiveList/";

pub(super) fn is_directive(name: &str) -> bool {
    name == PATCH || name == RETAIN_KEYS || name.starts_with(SET_ORDER) || name.starts_with(DELETE_FROM_LIST)
}

pub(super) fn unknown(patch: &Map<String, Value>, path: &str) -> PatchError {
    let word = patch.get(PATCH).unwrap_or(&Value::Null);
    PatchError::unapplicable(path, format!("unknown patch type [{}]", word.as_str().map_or_else(|| word.to_string(), str::to_owned)))
}

/// Removes what `$retainKeys` does not name. A patch that sets a field which it does not retain contradicts itself.
pub(super) fn retain_keys(target: &mut Map<String, Value>, patch: &Map<String, Value>, keys: &Value, path: &str) -> Result<(), PatchError> {
    let malformed = |what: &str| PatchError::Malformed(format!("{path}: invalid patch format of retainKeys: {what}"));
    let keys = keys.as_array().ok_or_else(|| malformed("not a list"))?;
    let retained = |name: &str| keys.iter().any(|key| key.as_str() == Some(name));
    if let Some((name, _)) = patch.iter().find(|(name, value)| !value.is_null() && !is_directive(name) && !retained(name)) {
        return Err(malformed(&format!("{name} is set but not retained")));
    }
    let names: Vec<String> = target.keys().filter(|name| !retained(name)).cloned().collect();
    for name in names {
        target.remove(&name);
    }
    Ok(())
}

/// What a patch's value is where there is nothing to merge it with: without directives and nulls; `None` where it asks for a deletion.
pub(super) fn cleaned(value: &Value) -> Option<Value> {
    match value {
        Value::Object(fields) if fields.get(PATCH).and_then(Value::as_str) == Some("delete") => None,
        Value::Object(fields) => Some(Value::Object(without_directives(fields))),
        Value::Array(items) => {
            // `{"$patch": "replace"}` as an item is about the list, it is no item.
            let items = items.iter().filter(|item| item.get(PATCH).is_none());
            Some(Value::Array(items.map(|item| cleaned(item).unwrap_or(Value::Null)).collect()))
        }
        other => Some(other.clone()),
    }
}

pub(super) fn without_directives(fields: &Map<String, Value>) -> Map<String, Value> {
    let kept = fields.iter().filter(|(name, value)| !is_directive(name) && !value.is_null());
    kept.filter_map(|(name, value)| Some((name.clone(), cleaned(value)?))).collect()
}

//! Strategic merge patch (`application/strategic-merge-patch+json`): a merge patch that knows which lists merge, and by which key.
//!
//! The directives and the order rules are those of the Kubernetes design proposals "strategic merge patch" and "preserve order in strategic
//! merge patch". Lists are in `list`, the words that a patch may contain in `directive`.

mod directive;
mod list;

use crate::{PatchError, Place};
use directive::{DELETE_FROM_LIST, PATCH, RETAIN_KEYS, SET_ORDER};
use serde_json::{Map, Value};

/// Applies `patch` to a copy of `target`, an object of the kind that `place` is the root of.
pub fn apply(place: Place<'_>, target: &Value, patch: &Value) -> Result<Value, PatchError> {
    let Value::Object(patch) = patch else {
        return Err(PatchError::Malformed("invalid JSON document: a strategic merge patch is an object".to_owned()));
    };
    let Value::Object(target) = target else {
        return Err(PatchError::unapplicable("", "only objects take a strategic merge patch"));
    };
    merge_map(place, target.clone(), patch, "").map(Value::Object)
}

fn merge_map(
    place: Place<'_>,
    mut target: Map<String, Value>,
    patch: &Map<String, Value>,
    path: &str,
) -> Result<Map<String, Value>, PatchError> {
    match patch.get(PATCH).map(Value::as_str) {
        None => {}
        Some(Some("replace")) => return Ok(directive::without_directives(patch)),
        Some(Some("delete")) => return Ok(Map::new()),
        Some(_) => return Err(directive::unknown(patch, path)),
    }
    if let Some(keys) = patch.get(RETAIN_KEYS) {
        directive::retain_keys(&mut target, patch, keys, path)?;
    }
    let mut ordered = Vec::new();
    for (name, order) in patch {
        let Some(field) = name.strip_prefix(SET_ORDER) else { continue };
        let merged = list::merge_in_order(place.field(field), target.get(field), patch.get(field), order, &below(path, field))?;
        if let Some(merged) = merged {
            target.insert(field.to_owned(), Value::Array(merged));
        }
        ordered.push(field);
    }
    for (name, values) in patch {
        let Some(field) = name.strip_prefix(DELETE_FROM_LIST) else { continue };
        if let Some(Value::Array(items)) = target.get_mut(field) {
            list::remove_values(items, values, &below(path, field))?;
        }
    }
    for (name, change) in patch {
        if name.starts_with('$') && directive::is_directive(name) || ordered.contains(&name.as_str()) {
            continue;
        }
        let merged = match (target.remove(name), change) {
            (_, Value::Null) => None,
            (Some(Value::Object(old)), Value::Object(new)) if !place.field(name).replaces() => {
                Some(Value::Object(merge_map(place.field(name), old, new, &below(path, name))?))
            }
            (Some(Value::Array(old)), Value::Array(new)) if place.field(name).merges() => {
                Some(Value::Array(list::merge(place.field(name), old, new, &below(path, name))?))
            }
            (_, new) => directive::cleaned(new),
        };
        if let Some(merged) = merged {
            target.insert(name.clone(), merged);
        }
    }
    Ok(target)
}

fn below(path: &str, field: &str) -> String {
    if path.is_empty() { field.to_owned() } else { format!("{path}.{field}") }
}

#[cfg(test)]
mod tests;

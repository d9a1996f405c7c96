//! Pure: the JSON merge patch (RFC 7386) that turns one value into another, so that reconcilers write only what differs.

use serde_json::{Map, Value};

/// The merge patch from `old` to `new`; `None` when they are equal. A member that is null in `new` counts as absent.
pub fn diff(old: &Value, new: &Value) -> Option<Value> {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            let mut patch = Map::new();
            for key in old.keys().filter(|key| new.get(*key).is_none_or(Value::is_null)) {
                if !old[key].is_null() {
                    patch.insert(key.clone(), Value::Null);
                }
            }
            for (key, value) in new.iter().filter(|(_, value)| !value.is_null()) {
                let change = diff(old.get(key).unwrap_or(&Value::Null), value);
                patch.extend(change.map(|change| (key.clone(), change)));
            }
            Some(Value::Object(patch)).filter(|patch| patch.as_object().is_some_and(|patch| !patch.is_empty()))
        }
        // An absent object must be created even when all that is in it is empty.
        (_, new) => Some(new.clone()).filter(|_| old != new),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_differs_is_in_the_patch() {
        for (old, new, patch) in [
            (json!({"a": 1, "b": 2}), json!({"a": 1, "b": 2}), None),
            (json!({"a": 1, "b": 2}), json!({"a": 1}), Some(json!({"b": null}))),
            (json!({"a": 1}), json!({"a": 1, "b": {"c": 1}}), Some(json!({"b": {"c": 1}}))),
            (json!({"a": {"x": 1, "y": 2}}), json!({"a": {"x": 1, "y": 3}}), Some(json!({"a": {"y": 3}}))),
            (json!({"a": [1, 2]}), json!({"a": [1]}), Some(json!({"a": [1]}))),
            (json!(null), json!({"a": 1}), Some(json!({"a": 1}))),
            (json!({"a": null}), json!({}), None),
        ] {
            assert_eq!(diff(&old, &new), patch, "{old} -> {new}");
        }
    }
}

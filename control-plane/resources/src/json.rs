//! Edits of JSON objects that never panic, whatever the value is.

use serde_json::{Map, Value};

/// Sets the value at `path`, making objects on the way; does nothing where something else than an object is in the way.
pub fn put(object: &mut Value, path: &[&str], value: Value) {
    let Some((last, parents)) = path.split_last() else { return };
    let mut at = object;
    for key in parents {
        let Some(map) = at.as_object_mut() else { return };
        let next = map.entry((*key).to_owned()).or_insert(Value::Null);
        if next.is_null() {
            *next = Value::Object(Map::new());
        }
        at = next;
    }
    if let Some(map) = at.as_object_mut() {
        map.insert((*last).to_owned(), value);
    }
}

/// The value at `path`.
pub fn get<'a>(object: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(object, |at, key| at.get(key))
}

/// What the value at `path` is as the text of a field selector: strings, numbers and flags; else nothing.
pub fn text(object: &Value, path: &[&str]) -> String {
    match get(object, path) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        Some(Value::Bool(flag)) => flag.to_string(),
        _ => String::new(),
    }
}

/// [`text`], or `other` where there is none.
pub fn text_or(object: &Value, path: &[&str], other: &str) -> String {
    let text = text(object, path);
    if text.is_empty() { other.to_owned() } else { text }
}

/// Makes `new` have at top-level `key` what `old` has there.
pub fn keep(new: &mut Value, old: &Value, key: &str) {
    let Some(map) = new.as_object_mut() else { return };
    match old.get(key) {
        Some(value) => {
            map.insert(key.to_owned(), value.clone());
        }
        None => {
            map.remove(key);
        }
    }
}

/// Makes `new` have at `path` what `old` has there.
pub fn keep_at(new: &mut Value, old: &Value, path: &[&str]) {
    if let Some(value) = get(old, path) {
        put(new, path, value.clone());
        return;
    }
    let Some((last, parents)) = path.split_last() else { return };
    let holder = parents.iter().try_fold(new, |at, key| at.get_mut(*key));
    if let Some(holder) = holder.and_then(Value::as_object_mut) {
        holder.remove(*last);
    }
}

/// Whether lists and objects are nested in more levels than this; a text or number has none.
pub fn is_deeper_than(value: &Value, levels: usize) -> bool {
    let deeper = |inner: &Value| is_deeper_than(inner, levels - 1);
    match value {
        Value::Array(items) => levels == 0 || items.iter().any(deeper),
        Value::Object(map) => levels == 0 || map.values().any(deeper),
        _ => false,
    }
}

/// Renames top-level keys, `(from, to)`.
pub fn rename(object: &mut Value, names: impl IntoIterator<Item = (&'static str, &'static str)>) {
    let Some(map) = object.as_object_mut() else { return };
    for (from, to) in names {
        if let Some(value) = map.remove(from) {
            map.insert(to.to_owned(), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_of_any_form_are_left_alone() {
        let mut object = json!({"a": "text"});
        put(&mut object, &["a", "b"], json!(1));
        put(&mut object, &["c", "d"], json!(1));
        assert_eq!(object, json!({"a": "text", "c": {"d": 1}}));
        let mut list = json!([1]);
        put(&mut list, &["a"], json!(1));
        keep(&mut list, &object, "a");
        assert_eq!(list, json!([1]));
    }

    #[test]
    fn depth_is_counted_in_lists_and_objects() {
        for (value, depth) in [(json!(1), 0), (json!({}), 1), (json!({"a": 1}), 1), (json!({"a": [1, {}], "b": 2}), 3)] {
            assert!(!is_deeper_than(&value, depth) && (depth == 0 || is_deeper_than(&value, depth - 1)), "{value}");
        }
    }

    #[test]
    fn what_is_kept_is_there_or_gone_as_before() {
        let mut object = json!({"m": {"a": 1, "b": 2}});
        for field in ["a", "b"] {
            keep_at(&mut object, &json!({"m": {"b": 3}}), &["m", field]);
        }
        assert_eq!(object, json!({"m": {"b": 3}}));
    }
}

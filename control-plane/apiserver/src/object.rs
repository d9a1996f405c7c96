//! Reading and writing `metadata` of objects that are JSON values. Total: nothing here panics on any shape.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// The last second that a `Timestamp` can hold: 9999-12-30T22:00:00Z.
const LAST: Timestamp = Timestamp::constant(253_402_207_200, 0);

/// `metadata.<field>` as text; empty when absent.
pub fn meta_str<'a>(object: &'a Value, field: &str) -> &'a str {
    object.get("metadata").and_then(|meta| meta.get(field)).and_then(Value::as_str).unwrap_or_default()
}

/// `metadata.name`.
pub fn name(object: &Value) -> &str {
    meta_str(object, "name")
}

/// `metadata.namespace`; empty for cluster-wide objects.
pub fn namespace(object: &Value) -> &str {
    meta_str(object, "namespace")
}

/// `metadata.uid`.
pub fn uid(object: &Value) -> &str {
    meta_str(object, "uid")
}

/// `metadata.resourceVersion`; empty when the client gave none.
pub fn resource_version(object: &Value) -> &str {
    meta_str(object, "resourceVersion")
}

/// Whether the object is being deleted.
pub fn is_deleting(object: &Value) -> bool {
    !meta_str(object, "deletionTimestamp").is_empty()
}

/// `metadata.generation`.
pub fn generation(object: &Value) -> Option<i64> {
    object.pointer("/metadata/generation").and_then(Value::as_i64)
}

/// `metadata.deletionGracePeriodSeconds`.
pub fn deletion_grace(object: &Value) -> Option<i64> {
    object.pointer("/metadata/deletionGracePeriodSeconds").and_then(Value::as_i64)
}

/// `metadata.finalizers`.
pub fn finalizers(object: &Value) -> Vec<&str> {
    strings(object.pointer("/metadata/finalizers"))
}

/// The texts of an array; empty when it is none.
pub fn strings(array: Option<&Value>) -> Vec<&str> {
    array.and_then(Value::as_array).map(|items| items.iter().filter_map(Value::as_str).collect()).unwrap_or_default()
}

/// Text at a JSON pointer; empty when absent.
pub fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The map at `key` of an object, made when it is not there or no map.
pub fn map_at<'a>(object: &'a mut Value, key: &str) -> &'a mut Map<String, Value> {
    if !object.is_object() {
        *object = json!({});
    }
    let slot = &mut object[key];
    if !slot.is_object() {
        *slot = json!({});
    }
    match slot {
        Value::Object(map) => map,
        // The slot was made an object two lines above.
        _ => unreachable!("the slot is an object"),
    }
}

/// `metadata` for writing.
pub fn meta_mut(object: &mut Value) -> &mut Map<String, Value> {
    map_at(object, "metadata")
}

/// Sets `metadata.<field>`.
pub fn set_meta(object: &mut Value, field: &str, value: impl Into<Value>) {
    meta_mut(object).insert(field.into(), value.into());
}

/// Sets `metadata.<field>` to what `old` has, absent where it has none.
pub fn keep_meta(new: &mut Value, old: &Value, field: &str) {
    match old.get("metadata").and_then(|meta| meta.get(field)) {
        Some(value) => set_meta(new, field, value.clone()),
        None => {
            meta_mut(new).remove(field);
        }
    }
}

/// Sets `metadata.finalizers`, absent when empty.
pub fn set_finalizers(object: &mut Value, finalizers: &[String]) {
    if finalizers.is_empty() {
        meta_mut(object).remove("finalizers");
    } else {
        set_meta(object, "finalizers", json!(finalizers));
    }
}

/// `2006-01-02T15:04:05Z`, `seconds` from now, at most the last second that there is.
pub fn timestamp(seconds: i64) -> String {
    let at = Timestamp::now().as_second().saturating_add(seconds);
    Timestamp::from_second(at).unwrap_or(LAST).to_string()
}

/// Unix time of a timestamp; `None` when it is none.
pub fn unix_seconds(timestamp: &str) -> Option<i64> {
    timestamp.parse::<Timestamp>().ok().map(Timestamp::as_second)
}

/// Now, as Unix time.
pub fn now_seconds() -> i64 {
    Timestamp::now().as_second()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_of_the_wrong_shape_is_replaced_not_trusted() {
        let mut object = json!({ "metadata": "x" });
        assert_eq!(name(&object), "");
        set_meta(&mut object, "name", "a");
        assert_eq!(name(&object), "a");
    }

    #[test]
    fn timestamps_have_whole_seconds() {
        let text = timestamp(0);
        assert_eq!(text.len(), "2006-01-02T15:04:05Z".len());
        assert!(unix_seconds(&text).is_some_and(|at| (now_seconds() - at).abs() <= 2));
        assert!(timestamp(i64::MAX).starts_with("9999-12-30T"));
    }
}

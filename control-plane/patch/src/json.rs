//! JSON patch (RFC 6902) with the API server's limits. The operations themselves are the `json-patch` crate's.

use crate::PatchError;
use json_patch::{PatchErrorKind, PatchOperation};
use serde_json::Value;

/// Operations that one patch may have, as in kube-apiserver.
pub const MAX_OPERATIONS: usize = 10_000;
/// Bytes of JSON that all `copy` operations of a patch may copy together: the size of the largest request body.
pub const MAX_COPIED_BYTES: usize = 3 * 1024 * 1024;
/// Levels of nesting that a result may have: what JSON readers accept, so that nothing is stored that cannot be read again.
pub const MAX_DEPTH: usize = 120;

/// Applies a patch given as a JSON array of operations to a copy of `target`.
pub fn apply(target: &Value, patch: &Value) -> Result<Value, PatchError> {
    let count = patch.as_array().map_or(0, Vec::len);
    if count > MAX_OPERATIONS {
        let what = format!("The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {count}");
        return Err(PatchError::TooLarge(what));
    }
    let operations: Vec<PatchOperation> =
        serde::Deserialize::deserialize(patch).map_err(|error| PatchError::Malformed(format!("error decoding patch: {error}")))?;
    let mut result = target.clone();
    let mut copied = 0;
    for operation in &operations {
        if let PatchOperation::Copy(copy) = operation {
            copied += result.pointer(copy.from.as_str()).map_or(0, size);
            if copied > MAX_COPIED_BYTES {
                let what = format!(
                    "Unable to complete the copy, the accumulated size increase of copy is {copied}, exceeding the limit {MAX_COPIED_BYTES}"
                );
                return Err(PatchError::TooLarge(what));
            }
        }
        // One at a time and on a copy: nothing has to be undone when a later operation fails.
        json_patch::patch_unsafe(&mut result, std::slice::from_ref(operation)).map_err(|error| {
            let reason = match error.kind {
                PatchErrorKind::TestFailed => "testing value: test failed".to_owned(),
                PatchErrorKind::InvalidPointer => format!("{}: the path does not exist", name(operation)),
                PatchErrorKind::InvalidFromPointer => format!("{}: the \"from\" path does not exist", name(operation)),
                other => format!("{}: {other}", name(operation)),
            };
            PatchError::unapplicable(operation.path().as_str(), reason)
        })?;
    }
    if deeper_than(&result, MAX_DEPTH) {
        return Err(PatchError::unapplicable("", format!("the result nests deeper than {MAX_DEPTH} levels")));
    }
    Ok(result)
}

fn name(operation: &PatchOperation) -> &'static str {
    match operation {
        PatchOperation::Add(_) => "add",
        PatchOperation::Remove(_) => "remove",
        PatchOperation::Replace(_) => "replace",
        PatchOperation::Move(_) => "move",
        PatchOperation::Copy(_) => "copy",
        PatchOperation::Test(_) => "test",
    }
}

/// About as many bytes as the value has when written.
fn size(value: &Value) -> usize {
    match value {
        Value::Object(map) => 2 + map.iter().map(|(name, value)| name.len() + 4 + size(value)).sum::<usize>(),
        Value::Array(items) => 2 + items.iter().map(|item| 1 + size(item)).sum::<usize>(),
        Value::String(text) => 2 + text.len(),
        _ => 8,
    }
}

fn deeper_than(value: &Value, levels: usize) -> bool {
    match value {
        Value::Object(map) => levels == 0 || map.values().any(|value| deeper_than(value, levels - 1)),
        Value::Array(items) => levels == 0 || items.iter().any(|item| deeper_than(item, levels - 1)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn operations_apply_in_order() {
        let object = json!({"spec":{"replicas":1,"list":["a"]}});
        let patch = json!([
            {"op":"test","path":"/spec/replicas","value":1},
            {"op":"replace","path":"/spec/replicas","value":3},
            {"op":"add","path":"/spec/list/-","value":"b"},
            {"op":"copy","from":"/spec/list","path":"/copy"},
            {"op":"remove","path":"/spec/list/0"},
        ]);
        assert_eq!(apply(&object, &patch), Ok(json!({"spec":{"replicas":3,"list":["b"]},"copy":["a","b"]})));
    }

    #[test]
    fn errors_name_the_path() {
        let object = json!({"a":1});
        let error = apply(&object, &json!([{"op":"test","path":"/a","value":2}])).unwrap_err();
        assert_eq!(error.to_string(), "/a: testing value: test failed");
        let error = apply(&object, &json!([{"op":"remove","path":"/b/c"}])).unwrap_err();
        assert_eq!(error.to_string(), "/b/c: remove: the path does not exist");
        assert!(matches!(apply(&object, &json!({"op":"x"})), Err(PatchError::Malformed(_))));
        assert!(matches!(apply(&object, &json!([{"op":"fly","path":"/a"}])), Err(PatchError::Malformed(_))));
    }

    #[test]
    fn the_limits_hold() {
        let many: Vec<Value> = (0..=MAX_OPERATIONS).map(|_| json!({"op":"test","path":"/a","value":1})).collect();
        assert!(matches!(apply(&json!({"a":1}), &Value::Array(many)), Err(PatchError::TooLarge(_))));
        let doubling: Vec<Value> = (0..40).map(|n| json!({"op":"copy","from":"","path":format!("/{n}")})).collect();
        assert!(matches!(apply(&json!({"a":"text"}), &Value::Array(doubling)), Err(PatchError::TooLarge(_))));
        let path = |depth: usize| "/a".repeat(depth);
        let deep: Vec<Value> = (1..200).map(|depth| json!({"op":"add","path":path(depth),"value":{}})).collect();
        assert!(matches!(apply(&json!({}), &Value::Array(deep)), Err(PatchError::Unapplicable { .. })));
    }
}

//! `PartialObjectMetadata`: an object without what is special to its kind.

use serde_json::{Value, json};

/// The object's metadata alone.
pub fn partial_metadata(object: &Value) -> Value {
    json!({ "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object.get("metadata").cloned().unwrap_or_else(|| json!({})) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_metadata_is_left() {
        let object = json!({ "kind": "Pod", "apiVersion": "v1", "metadata": { "name": "a" }, "spec": {} });
        let partial = partial_metadata(&object);
        assert_eq!(partial["metadata"], json!({ "name": "a" }));
        assert_eq!(partial.get("spec"), None);
    }
}

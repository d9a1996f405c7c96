//! `PartialObjectMetadata`: an object without what is special to its kind.

use serde_json::{Value, json};

/// The object's metadata alone, in a version of `meta.k8s.io`.
pub fn partial_metadata(version: &str, object: &Value) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": format!("meta.k8s.io/{version}"),
        "metadata": object.get("metadata").cloned().unwrap_or_else(|| json!({})),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_metadata_is_left() {
        let object = json!({ "kind": "Pod", "apiVersion": "v1", "metadata": { "name": "a" }, "spec": {} });
        let partial = partial_metadata("v1", &object);
        assert_eq!(partial["metadata"], json!({ "name": "a" }));
        assert_eq!(partial.get("spec"), None);
    }
}

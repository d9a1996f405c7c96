//! Lists: whole ones are put together from the bytes in the cache, without parsing an object.

use super::{IncludeObject, column_definitions, partial_metadata, row};
use crate::cache::CachedObject;
use crate::call::Call;
use crate::http::accept::View;
use crate::object;
use axum::body::Body;
use bytes::Bytes;
use http::Response;
use http::header::{CONTENT_TYPE, HeaderValue};
use serde_json::{Value, json};
use std::sync::Arc;

/// `metav1.ListMeta`.
#[derive(Clone, Debug, Default)]
pub struct ListMeta {
    pub revision: u64,
    /// Empty on the last page.
    pub continue_token: String,
    pub remaining: Option<u64>,
}

impl ListMeta {
    fn to_value(&self) -> Value {
        let mut meta = json!({ "resourceVersion": self.revision.to_string() });
        if !self.continue_token.is_empty() {
            meta["continue"] = json!(self.continue_token);
            if let Some(remaining) = self.remaining {
                meta["remainingItemCount"] = json!(remaining);
            }
        }
        meta
    }
}

/// The answer to a list call.
pub fn list(call: &Call, objects: &[Arc<CachedObject>], meta: &ListMeta) -> Response<Body> {
    let names = call.kind.descriptor();
    let meta = meta.to_value();
    let bytes = match call.accept.view {
        View::Whole => {
            let head = (format!("{}List", names.kind), names.api_version());
            envelope(&head.0, &head.1, &meta, "items", objects.iter().map(|object| object.json_as(call.kind)))
        }
        View::Metadata => {
            let items = objects.iter().map(|object| encode(&partial_metadata(&object.value())));
            envelope("PartialObjectMetadataList", "meta.k8s.io/v1", &meta, "items", items)
        }
        View::Table(version) => {
            let (now, include) = (object::now_seconds(), IncludeObject::of(call));
            let rows = objects.iter().map(|object| encode(&row(call.kind, &object.value_as(call.kind), now, include)));
            let mut bytes = envelope("Table", &format!("meta.k8s.io/{version}"), &meta, "rows", rows);
            // The envelope's last byte closes the object.
            bytes.pop();
            bytes.extend_from_slice(b",\"columnDefinitions\":");
            bytes.extend_from_slice(&encode(&column_definitions(call.kind)));
            bytes.push(b'}');
            bytes
        }
    };
    let (media, bytes) = if call.accept.yaml {
        let value: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        ("application/yaml", serde_yaml_ng::to_string(&value).unwrap_or_default().into_bytes())
    } else {
        ("application/json", bytes)
    };
    let mut response = Response::new(Body::from(bytes));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media));
    response
}

fn envelope(kind: &str, api_version: &str, meta: &Value, items_name: &str, items: impl Iterator<Item = Bytes>) -> Vec<u8> {
    let mut bytes = encode(&json!({ "kind": kind, "apiVersion": api_version, "metadata": meta })).to_vec();
    bytes.pop();
    bytes.extend_from_slice(format!(",\"{items_name}\":[").as_bytes());
    for (index, item) in items.enumerate() {
        if index > 0 {
            bytes.push(b',');
        }
        bytes.extend_from_slice(&item);
    }
    bytes.extend_from_slice(b"]}");
    bytes
}

fn encode(value: &Value) -> Bytes {
    // A value made of JSON always serialises.
    serde_json::to_vec(value).unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_envelope_is_valid_json_with_any_number_of_items() {
        for count in [0, 1, 3] {
            let items = (0..count).map(|_| Bytes::from_static(b"{\"a\":1}"));
            let bytes = envelope("PodList", "v1", &ListMeta { revision: 5, ..ListMeta::default() }.to_value(), "items", items);
            let value: Value = serde_json::from_slice(&bytes).expect("valid");
            assert_eq!(value["items"].as_array().map(Vec::len), Some(count));
            assert_eq!(value["metadata"]["resourceVersion"], "5");
        }
    }

    #[test]
    fn only_a_list_that_goes_on_tells_what_remains() {
        let mut meta = ListMeta { revision: 1, continue_token: String::new(), remaining: Some(3) };
        assert_eq!(meta.to_value(), json!({ "resourceVersion": "1" }));
        meta.continue_token = "x".into();
        assert_eq!(meta.to_value(), json!({ "resourceVersion": "1", "continue": "x", "remainingItemCount": 3 }));
    }
}

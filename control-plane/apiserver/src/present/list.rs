//! Lists: whole ones are put together from the bytes in the cache, without parsing an object. Long ones leave other requests their turn.

use super::{IncludeObject, column_definitions, partial_metadata, row};
use crate::cache::CachedObject;
use crate::call::Call;
use crate::http::accept::View;
use crate::object;
use crate::turns::Turns;
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

/// The answer to a list call. Cancel-safe.
pub async fn list(call: &Call, objects: &[Arc<CachedObject>], meta: &ListMeta) -> Response<Body> {
    let names = call.kind.descriptor();
    let meta = meta.to_value();
    let bytes = match call.accept.view {
        View::Whole => {
            let head = (format!("{}List", names.kind), names.api_version());
            let room = objects.iter().map(|object| object.json.len() + 1).sum();
            envelope(&head.0, &head.1, &meta, "items", room, objects.iter().map(|object| object.json_as(&call.kind))).await
        }
        View::Metadata => {
            let items = objects.iter().map(|object| encode(&partial_metadata(&object.value())));
            envelope("PartialObjectMetadataList", "meta.k8s.io/v1", &meta, "items", 0, items).await
        }
        View::Table(version) => {
            let (now, include) = (object::now_seconds(), IncludeObject::of(call));
            let rows = objects.iter().map(|object| encode(&row(&call.kind, &object.value_as(&call.kind), now, include)));
            let mut bytes = envelope("Table", &format!("meta.k8s.io/{version}"), &meta, "rows", 0, rows).await;
            // The envelope's last byte closes the object.
            bytes.pop();
            bytes.extend_from_slice(b",\"columnDefinitions\":");
            bytes.extend_from_slice(&encode(&column_definitions(&call.kind)));
            bytes.push(b'}');
            bytes
        }
    };
    let (media, bytes) = if call.accept.yaml {
        ("application/yaml", tokio::task::spawn_blocking(move || yaml(&bytes)).await.unwrap_or_default())
    } else {
        ("application/json", bytes)
    };
    let mut response = Response::new(Body::from(bytes));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media));
    response
}

/// `room`: bytes that the items take, about.
async fn envelope(
    kind: &str,
    api_version: &str,
    meta: &Value,
    items_name: &str,
    room: usize,
    items: impl Iterator<Item = Bytes>,
) -> Vec<u8> {
    let mut bytes = encode(&json!({ "kind": kind, "apiVersion": api_version, "metadata": meta })).to_vec();
    bytes.reserve(room);
    let mut turns = Turns::default();
    bytes.pop();
    bytes.extend_from_slice(format!(",\"{items_name}\":[").as_bytes());
    for (index, item) in items.enumerate() {
        turns.take().await;
        if index > 0 {
            bytes.push(b',');
        }
        bytes.extend_from_slice(&item);
    }
    bytes.extend_from_slice(b"]}");
    bytes
}

fn yaml(json: &[u8]) -> Vec<u8> {
    let value: Value = serde_json::from_slice(json).unwrap_or_default();
    serde_yaml_ng::to_string(&value).unwrap_or_default().into_bytes()
}

fn encode(value: &Value) -> Bytes {
    // A value made of JSON always serialises.
    serde_json::to_vec(value).unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[tokio::test]
    async fn an_envelope_is_valid_json_with_any_number_of_items() {
        for count in [0, 1, 3, 1000] {
            let items = (0..count).map(|_| Bytes::from_static(b"{\"a\":1}"));
            let meta = ListMeta { revision: 5, ..ListMeta::default() }.to_value();
            let bytes = envelope("PodList", "v1", &meta, "items", 0, items).await;
            let value: Value = serde_json::from_slice(&bytes).expect("valid");
            assert_eq!(value["items"].as_array().map(Vec::len), Some(count));
            assert_eq!(value["metadata"]["resourceVersion"], "5");
        }
    }

    #[test]
    fn a_long_list_leaves_others_their_turn() {
        let list = |count: usize| {
            let items = (0..count).map(|_| Bytes::from_static(b"{}"));
            envelope("PodList", "v1", &Value::Null, "items", 0, items).now_or_never()
        };
        assert!(list(10).is_some());
        assert!(list(1000).is_none());
    }

    #[test]
    fn only_a_list_that_goes_on_tells_what_remains() {
        let mut meta = ListMeta { revision: 1, continue_token: String::new(), remaining: Some(3) };
        assert_eq!(meta.to_value(), json!({ "resourceVersion": "1" }));
        meta.continue_token = "x".into();
        assert_eq!(meta.to_value(), json!({ "resourceVersion": "1", "continue": "x", "remainingItemCount": 3 }));
    }
}

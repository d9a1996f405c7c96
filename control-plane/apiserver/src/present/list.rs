//! Lists, in the view and encoding that the client asked for. Long ones leave other requests their turn.

use super::encode::{Encoder, Item, ListHead, encoder};
use super::response::answer;
use super::{IncludeObject, column_definitions, error, partial_metadata, row};
use crate::cache::CachedObject;
use crate::call::Call;
use crate::error::ApiError;
use crate::http::accept::View;
use crate::object;
use crate::turns::Turns;
use axum::body::Body;
use http::{Response, StatusCode};
use serde_json::{Value, json};
use std::sync::Arc;

/// `metav1.ListMeta`.
#[derive(Clone, Debug, Default)]
pub struct ListMeta {
    /// 0 of what has none.
    pub revision: u64,
    /// Empty on the last page.
    pub continue_token: String,
    pub remaining: Option<u64>,
}

impl ListMeta {
    fn to_value(&self) -> Value {
        let mut meta = json!({});
        if self.revision > 0 {
            meta["resourceVersion"] = json!(self.revision.to_string());
        }
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
    let (names, encoder) = (call.kind.descriptor(), encoder(call.accept.encoding));
    let meta = meta.to_value();
    let written = match call.accept.view {
        View::Whole => {
            let head = ListHead {
                kind: format!("{}List", names.kind),
                api_version: names.api_version(),
                item_kind: names.kind.to_owned(),
                meta,
                items: "items",
                more: None,
            };
            let room = objects.iter().map(|object| object.json.len() + 1).sum();
            write(encoder, head, room, objects.iter().map(|object| Item::Cached(object, &call.kind))).await
        }
        View::Metadata(version) => {
            let head = ListHead {
                kind: "PartialObjectMetadataList".to_owned(),
                api_version: format!("meta.k8s.io/{version}"),
                item_kind: "PartialObjectMetadata".to_owned(),
                meta,
                items: "items",
                more: None,
            };
            write(encoder, head, 0, objects.iter().map(|object| Item::Made(partial_metadata(version, &object.value())))).await
        }
        View::Table(version) => {
            let (now, include) = (object::now_seconds(), IncludeObject::of(call));
            let head = ListHead {
                kind: "Table".to_owned(),
                api_version: format!("meta.k8s.io/{version}"),
                item_kind: "TableRow".to_owned(),
                meta,
                items: "rows",
                more: Some(("columnDefinitions", column_definitions(&call.kind))),
            };
            let rows = objects.iter().map(|object| Item::Made(row(version, &call.kind, &object.value_as(&call.kind), now, include)));
            write(encoder, head, 0, rows).await
        }
    };
    match written {
        Ok(bytes) => answer(StatusCode::OK, encoder.media_type(), bytes),
        Err(failure) => error(&failure, call.accept.encoding),
    }
}

/// `room`: bytes that the items take, about.
async fn write<'a>(encoder: &dyn Encoder, head: ListHead, room: usize, items: impl Iterator<Item = Item<'a>>) -> Result<Vec<u8>, ApiError> {
    let mut list = encoder.list(head, room)?;
    let mut turns = Turns::default();
    for item in items {
        turns.take().await;
        list.push(&item);
    }
    if list.ends_slowly() {
        return tokio::task::spawn_blocking(move || list.end()).await.map_err(ApiError::internal);
    }
    Ok(list.end())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::accept::Encoding;
    use futures::FutureExt;

    #[test]
    fn a_long_list_leaves_others_their_turn() {
        let list = |count: usize| {
            let head = ListHead {
                kind: "PodList".into(),
                api_version: "v1".into(),
                item_kind: "Pod".into(),
                meta: Value::Null,
                items: "items",
                more: None,
            };
            write(encoder(Encoding::Json), head, 0, (0..count).map(|_| Item::Made(json!({})))).now_or_never()
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

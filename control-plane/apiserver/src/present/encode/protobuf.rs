//! Kubernetes' protobuf form of the kinds that have one. The cache has objects as JSON, so that each is parsed for it.

use super::{Encoder, Item, ListHead, ListWriter};
use crate::codec::protobuf::{self, List};
use crate::error::ApiError;
use crate::kinds::Kind;
use serde_json::Value;

/// See the module.
pub struct Protobuf;

struct ProtobufList {
    list: List,
    kind: String,
    api_version: String,
}

/// Whether objects of a kind have this form.
pub fn has_form(kind: &Kind) -> bool {
    let names = kind.descriptor();
    !kind.is_added() && protobuf::is_known(&names.api_version(), names.kind)
}

impl Encoder for Protobuf {
    fn media_type(&self) -> &'static str {
        "application/vnd.kubernetes.protobuf"
    }

    fn stream_media_type(&self) -> &'static str {
        "application/vnd.kubernetes.protobuf;stream=watch"
    }

    fn object(&self, object: &Value) -> Result<Vec<u8>, ApiError> {
        protobuf::to_protobuf(object).map_err(|_| ApiError::no_protobuf(&object["kind"]))
    }

    fn list(&self, head: ListHead, _room: usize) -> Result<Box<dyn ListWriter>, ApiError> {
        let list = List::begin(&head.api_version, &head.item_kind, &head.meta).map_err(|_| ApiError::no_protobuf(&head.kind))?;
        Ok(Box::new(ProtobufList { list, kind: head.kind, api_version: head.api_version }))
    }

    fn event(&self, name: &str, item: &Item<'_>, out: &mut Vec<u8>) {
        // Negotiation lets only kinds come here that have this form.
        let object = item.with_value(protobuf::to_protobuf).unwrap_or_default();
        protobuf::event(name, &object, out);
    }

    fn is_binary(&self) -> bool {
        true
    }
}

impl ListWriter for ProtobufList {
    fn push(&mut self, item: &Item<'_>) {
        item.with_value(|value| self.list.push(value));
    }

    fn end(self: Box<Self>) -> Vec<u8> {
        self.list.end(&self.api_version, &self.kind)
    }
}

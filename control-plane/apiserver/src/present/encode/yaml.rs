//! YAML: made of the JSON form, for people and files. There are no streams of it.

use super::json::{Json, JsonList};
use super::{Encoder, Item, ListHead, ListWriter};
use crate::error::ApiError;
use serde_json::Value;

/// See the module.
pub struct Yaml;

impl Encoder for Yaml {
    fn media_type(&self) -> &'static str {
        "application/yaml"
    }

    fn object(&self, object: &Value) -> Result<Vec<u8>, ApiError> {
        Ok(yaml(object))
    }

    fn list(&self, head: ListHead, room: usize) -> Result<Box<dyn ListWriter>, ApiError> {
        Ok(Box::new(JsonList::begin(head, room, Some(|json| yaml(&serde_json::from_slice(json).unwrap_or_default())))))
    }

    fn event(&self, name: &str, item: &Item<'_>, out: &mut Vec<u8>) {
        // Negotiation does not come here.
        Json.event(name, item, out);
    }
}

fn yaml(value: &Value) -> Vec<u8> {
    serde_yaml_ng::to_string(value).unwrap_or_default().into_bytes()
}

//! JSON: lists and events are put together from the bytes in the cache, without parsing an object. For people it is set out in lines at the end.

use super::{Encoder, Item, ListHead, ListWriter};
use crate::error::ApiError;
use serde_json::{Value, json};

/// As short as it can be.
pub struct Json;

/// For people.
pub struct Pretty;

/// What a whole text goes through at the end.
pub type Convert = fn(&[u8]) -> Vec<u8>;

/// A list in the making.
pub struct JsonList {
    bytes: Vec<u8>,
    more: Option<(&'static str, Value)>,
    convert: Option<Convert>,
}

impl JsonList {
    pub fn begin(head: ListHead, room: usize, convert: Option<Convert>) -> Self {
        let mut bytes = encode(&json!({ "kind": head.kind, "apiVersion": head.api_version, "metadata": head.meta }));
        bytes.reserve(room);
        // The last byte closes the object.
        bytes.pop();
        bytes.extend_from_slice(format!(",\"{}\":[", head.items).as_bytes());
        Self { bytes, more: head.more, convert }
    }
}

impl ListWriter for JsonList {
    fn push(&mut self, item: &Item<'_>) {
        if self.bytes.last() != Some(&b'[') {
            self.bytes.push(b',');
        }
        self.bytes.extend_from_slice(&item.json());
    }

    fn ends_slowly(&self) -> bool {
        self.convert.is_some()
    }

    fn end(mut self: Box<Self>) -> Vec<u8> {
        self.bytes.push(b']');
        if let Some((name, value)) = &self.more {
            self.bytes.extend_from_slice(format!(",\"{name}\":").as_bytes());
            self.bytes.extend_from_slice(&encode(value));
        }
        self.bytes.push(b'}');
        match self.convert {
            Some(convert) => convert(&self.bytes),
            None => self.bytes,
        }
    }
}

impl Encoder for Json {
    fn media_type(&self) -> &'static str {
        "application/json"
    }

    fn object(&self, object: &Value) -> Result<Vec<u8>, ApiError> {
        Ok(encode(object))
    }

    fn list(&self, head: ListHead, room: usize) -> Result<Box<dyn ListWriter>, ApiError> {
        Ok(Box::new(JsonList::begin(head, room, None)))
    }

    fn event(&self, name: &str, item: &Item<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"type\":\"");
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\",\"object\":");
        out.extend_from_slice(&item.json());
        out.extend_from_slice(b"}\n");
    }
}

impl Encoder for Pretty {
    fn media_type(&self) -> &'static str {
        Json.media_type()
    }

    fn object(&self, object: &Value) -> Result<Vec<u8>, ApiError> {
        Ok(indented(&encode(object)))
    }

    fn list(&self, head: ListHead, room: usize) -> Result<Box<dyn ListWriter>, ApiError> {
        Ok(Box::new(JsonList::begin(head, room, Some(indented))))
    }

    fn event(&self, name: &str, item: &Item<'_>, out: &mut Vec<u8>) {
        // Each event stays one line.
        Json.event(name, item, out);
    }
}

fn encode(value: &Value) -> Vec<u8> {
    // A value made of JSON always serialises.
    serde_json::to_vec(value).unwrap_or_default()
}

/// JSON without spaces, set out in lines with two spaces a level. The order of fields stays.
fn indented(json: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(json.len() * 2);
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    let line = |out: &mut Vec<u8>, depth: usize| {
        out.push(b'\n');
        out.resize(out.len() + 2 * depth, b' ');
    };
    for (index, &byte) in json.iter().enumerate() {
        if in_text {
            in_text = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
            out.push(byte);
            continue;
        }
        match byte {
            b'{' | b'[' => {
                out.push(byte);
                depth += 1;
                if !matches!(json.get(index + 1), Some(b'}' | b']')) {
                    line(&mut out, depth);
                }
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                if !matches!(out.last(), Some(b'{' | b'[')) {
                    line(&mut out, depth);
                }
                out.push(byte);
            }
            b',' => {
                out.push(byte);
                line(&mut out, depth);
            }
            b':' => out.extend_from_slice(b": "),
            _ => {
                in_text = byte == b'"';
                out.push(byte);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> ListHead {
        let meta = json!({ "resourceVersion": "5" });
        ListHead { kind: "PodList".into(), api_version: "v1".into(), item_kind: "Pod".into(), meta, items: "items", more: None }
    }

    #[test]
    fn a_list_is_valid_with_any_number_of_items() {
        for encoder in [&Json as &dyn Encoder, &Pretty] {
            for count in [0, 1, 3] {
                let mut list = encoder.list(ListHead { more: Some(("columns", json!([1]))), ..head() }, 0).expect("a list");
                for _ in 0..count {
                    list.push(&Item::Made(json!({ "a": 1 })));
                }
                let value: Value = serde_json::from_slice(&list.end()).expect("valid");
                assert_eq!(value["items"].as_array().map(Vec::len), Some(count));
                assert_eq!((&value["metadata"]["resourceVersion"], &value["columns"]), (&json!("5"), &json!([1])));
            }
        }
    }

    #[test]
    fn pretty_json_is_what_serde_writes() {
        let value = json!({ "a": [], "b": {}, "c": [1, { "d": "x{\\\"}[,:" }, []], "e\\": "\"", "f": { "g": null } });
        assert_eq!(indented(&encode(&value)), serde_json::to_vec_pretty(&value).expect("serialises"));
    }
}

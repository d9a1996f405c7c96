//! How answers are written, one file for each encoding. What is shown is said elsewhere; here it becomes bytes.

mod json;
mod protobuf;
mod yaml;

use crate::cache::CachedObject;
use crate::error::ApiError;
use crate::http::accept::Encoding;
use crate::kinds::Kind;
use bytes::Bytes;
use serde_json::Value;

pub use protobuf::has_form;

/// An object among others: as the cache has it, in a kind's form, or made for this answer.
pub enum Item<'a> {
    Cached(&'a CachedObject, &'a Kind),
    Made(Value),
}

/// What a list says around its items.
pub struct ListHead {
    pub kind: String,
    pub api_version: String,
    /// The kind of its items, of the same version.
    pub item_kind: String,
    /// `metav1.ListMeta`.
    pub meta: Value,
    /// `items`; of tables `rows`.
    pub items: &'static str,
    /// One field more: the columns of a table.
    pub more: Option<(&'static str, Value)>,
}

/// An encoding.
pub trait Encoder: Sync {
    /// The type of an object or list.
    fn media_type(&self) -> &'static str;

    /// The type of a stream of events.
    fn stream_media_type(&self) -> &'static str {
        self.media_type()
    }

    /// An object with its `apiVersion` and `kind`; 406 where it has no such form.
    fn object(&self, object: &Value) -> Result<Vec<u8>, ApiError>;

    /// Begins a list. `room`: bytes of JSON that its items take, about.
    fn list(&self, head: ListHead, room: usize) -> Result<Box<dyn ListWriter>, ApiError>;

    /// Appends an event of a watch (`metav1.WatchEvent`).
    fn event(&self, name: &str, item: &Item<'_>, out: &mut Vec<u8>);

    /// Whether events are bytes, each with its length before it (four bytes, the greatest first); else they are lines of text.
    fn is_binary(&self) -> bool {
        false
    }
}

/// A list that is written item by item.
pub trait ListWriter: Send {
    /// Appends an item.
    fn push(&mut self, item: &Item<'_>);

    /// Whether the end takes long.
    fn ends_slowly(&self) -> bool {
        false
    }

    /// The whole list.
    fn end(self: Box<Self>) -> Vec<u8>;
}

/// The encoding by its name.
pub fn encoder(encoding: Encoding) -> &'static dyn Encoder {
    match encoding {
        Encoding::Json => &json::Json,
        Encoding::Pretty => &json::Pretty,
        Encoding::Yaml => &yaml::Yaml,
        Encoding::Protobuf => &protobuf::Protobuf,
    }
}

impl Item<'_> {
    fn json(&self) -> Bytes {
        match self {
            Self::Cached(object, kind) => object.json_as(kind),
            // A value made of JSON always serialises.
            Self::Made(value) => serde_json::to_vec(value).unwrap_or_default().into(),
        }
    }

    fn with_value<T>(&self, read: impl FnOnce(&Value) -> T) -> T {
        match self {
            Self::Cached(object, kind) => read(&object.value_as(kind)),
            Self::Made(value) => read(value),
        }
    }
}

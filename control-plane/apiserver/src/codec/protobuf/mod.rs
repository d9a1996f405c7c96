//! Kubernetes' protobuf form (`application/vnd.kubernetes.protobuf`) of the built-in kinds, to and from the JSON value that the same object has: bodies
//! that clients of 1.33 send, and answers to those that ask for it. Kinds that come at run time have no such form.
//!
//! `fields.txt` holds the facts: for each message its fields as `NUMBER NAME TYPE`. Types: `s` text, `i` integer, `b` boolean, `d` double, `y` bytes,
//! `Q` quantity, `O` integer or text, `T` time, `U` time with microseconds, `F` field set, `R` any JSON, `X` list of texts, `B`, `A` and `P` a JSON
//! schema or a boolean, schemas or texts, or a message's name; `*` before it: repeated, `%`: a map from text; `?` after it: a zero counts when it is
//! read (elsewhere zeros are absent values, as Go's `omitempty` has it); `!` after that: no pointer in Go, so that it is written even when it is zero.
//! The name `.` means that the message's fields belong to the one around it. `cargo xtask fields` makes it of the Go types.

pub mod encode;

mod decode;
mod table;
mod wire;

use serde_json::{Map, Value, json};
use table::{Message, Table};

/// What every message begins with.
const MAGIC: &[u8] = b"k8s\0";

/// Why a body could not be read or written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtobufError {
    #[error("the body does not begin with the bytes of the Kubernetes protobuf form")]
    NoMagic,
    #[error("the body ends or is broken in {0}")]
    Broken(&'static str),
    #[error("the body is nested too deeply")]
    TooDeep,
    #[error("no protobuf form is known for kind {kind:?} of {api_version:?}")]
    UnknownKind { api_version: String, kind: String },
    #[error("embedded JSON is not valid")]
    EmbeddedJson,
}

/// Reads a body: the object with its `apiVersion` and `kind`.
pub fn from_protobuf(body: &[u8]) -> Result<Value, ProtobufError> {
    let envelope = wire::envelope(body.strip_prefix(MAGIC).ok_or(ProtobufError::NoMagic)?)?;
    let message = message(envelope.api_version, envelope.kind)?;
    let mut object = decode::object(Table::get(), message, envelope.raw)?;
    object.insert("apiVersion".into(), envelope.api_version.into());
    object.insert("kind".into(), envelope.kind.into());
    Ok(Value::Object(object))
}

/// Reads an answer: an object, or a list of objects.
pub fn answer_from_protobuf(body: &[u8]) -> Result<Value, ProtobufError> {
    let envelope = wire::envelope(body.strip_prefix(MAGIC).ok_or(ProtobufError::NoMagic)?)?;
    let Some(kind) = envelope.kind.strip_suffix("List") else { return from_protobuf(body) };
    let item = message(envelope.api_version, kind)?;
    let (meta_number, items_number) = list_numbers(envelope.api_version);
    let (mut meta, mut items) = (Map::new(), Vec::new());
    for field in wire::Fields::new(envelope.raw) {
        match field? {
            (number, wire::Raw::Bytes(bytes)) if number == meta_number => {
                meta = decode::object(Table::get(), named("meta.v1.ListMeta")?, bytes)?
            }
            (number, wire::Raw::Bytes(bytes)) if number == items_number => items.push(decode::object(Table::get(), item, bytes)?.into()),
            _ => {}
        }
    }
    Ok(json!({ "apiVersion": envelope.api_version, "kind": envelope.kind, "metadata": meta, "items": Value::Array(items) }))
}

/// Numbers of a list's metadata and items. There is one list whose fields are numbered the other way round.
fn list_numbers(api_version: &str) -> (u32, u32) {
    if api_version == "meta.k8s.io/v1beta1" { (2, 1) } else { (1, 2) }
}

/// Whether objects of a kind have this form.
pub fn is_known(api_version: &str, kind: &str) -> bool {
    message(api_version, kind).is_ok()
}

/// Writes an object by its `apiVersion` and `kind`.
pub fn to_protobuf(object: &Value) -> Result<Vec<u8>, ProtobufError> {
    let text = |field: &str| object.get(field).and_then(Value::as_str).unwrap_or_default();
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    let message = message(api_version, kind)?;
    let mut raw = Vec::new();
    if let Value::Object(fields) = object {
        encode::message(Table::get(), message, fields, &mut raw);
    }
    Ok(enveloped(api_version, kind, &raw))
}

/// A list that is written item by item.
pub struct List {
    item: Message,
    items: u32,
    raw: Vec<u8>,
}

impl List {
    /// Begins a list of objects of a kind with its `metav1.ListMeta`.
    pub fn begin(api_version: &str, item_kind: &str, meta: &Value) -> Result<Self, ProtobufError> {
        let item = message(api_version, item_kind)?;
        let list_meta = named("meta.v1.ListMeta")?;
        let (meta_number, items) = list_numbers(api_version);
        let mut raw = Vec::new();
        let empty = Map::new();
        let meta = meta.as_object().unwrap_or(&empty);
        encode::delimited(meta_number, &mut raw, |out| encode::message(Table::get(), list_meta, meta, out));
        Ok(Self { item, items, raw })
    }

    /// Appends an object.
    pub fn push(&mut self, object: &Value) {
        let empty = Map::new();
        let fields = object.as_object().unwrap_or(&empty);
        encode::delimited(self.items, &mut self.raw, |out| encode::message(Table::get(), self.item, fields, out));
    }

    /// The whole list.
    pub fn end(self, api_version: &str, kind: &str) -> Vec<u8> {
        enveloped(api_version, kind, &self.raw)
    }
}

/// Appends a `metav1.WatchEvent` with an object that is written already: without an envelope of its own, as streams have it.
pub fn event(name: &str, object: &[u8], out: &mut Vec<u8>) {
    encode::bytes(1, name.as_bytes(), out);
    encode::delimited(2, out, |out| encode::bytes(1, object, out));
}

/// The magic bytes and `runtime.Unknown`.
fn enveloped(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len() + api_version.len() + kind.len() + 32);
    out.extend_from_slice(MAGIC);
    encode::delimited(1, &mut out, |out| {
        encode::bytes(1, api_version.as_bytes(), out);
        encode::bytes(2, kind.as_bytes(), out);
    });
    encode::bytes(2, raw, &mut out);
    // Neither the content's encoding nor its type is said.
    encode::bytes(3, b"", &mut out);
    encode::bytes(4, b"", &mut out);
    out
}

fn message(api_version: &str, kind: &str) -> Result<Message, ProtobufError> {
    let unknown = || ProtobufError::UnknownKind { api_version: api_version.to_owned(), kind: kind.to_owned() };
    let group = api_version.split_once('/').map_or("core", |(group, _)| group);
    // Groups of other domains are not Kubernetes' own.
    if group.contains('.') && !group.ends_with(".k8s.io") {
        return Err(unknown());
    }
    let group = group.split('.').next().unwrap_or_default();
    let version = api_version.rsplit('/').next().unwrap_or_default();
    let known = match kind {
        // Every group has its own name for the one DeleteOptions; a Status is of the core group.
        "DeleteOptions" | "Status" => named(&format!("meta.v1.{kind}")),
        // The same in all versions.
        "PartialObjectMetadata" if group == "meta" => named("meta.v1.PartialObjectMetadata"),
        _ => named(&format!("{group}.{version}.{kind}")),
    };
    known.map_err(|_| unknown())
}

fn named(name: &str) -> Result<Message, ProtobufError> {
    let unknown = || ProtobufError::UnknownKind { api_version: String::new(), kind: name.to_owned() };
    Table::get().message(name).ok_or_else(unknown)
}

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

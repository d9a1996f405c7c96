//! Request bodies in Kubernetes' protobuf form (`application/vnd.kubernetes.protobuf`), which clients of 1.33 send for the built-in kinds: turned into
//! the JSON value that the same object has. Answers are never in this form: clients that ask for it take JSON as well.
//!
//! `fields.txt` holds the facts: for each message its fields as `NUMBER NAME TYPE`. Types: `s` text, `i` integer, `b` boolean, `d` double, `y` bytes,
//! `Q` quantity, `O` integer or text, `T` time, `U` time with microseconds, `F` field set, `R` any JSON, `X` list of texts, or a message's name; `*`
//! before it: repeated, `%`: a map from text; `?` after it: a zero counts (elsewhere zeros are absent values, as Go writes them). The name `.` means
//! that the message's fields belong to the one around it.

mod decode;
mod table;
mod wire;

use serde_json::Value;
use table::Table;

/// What every message begins with.
const MAGIC: &[u8] = b"k8s\0";

/// Why a body could not be read.
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
    let table = Table::get();
    let group = envelope.api_version.split_once('/').map_or("core", |(group, _)| group.split('.').next().unwrap_or_default());
    let version = envelope.api_version.rsplit('/').next().unwrap_or_default();
    // Every group has its own name for the one DeleteOptions.
    let name =
        if envelope.kind == "DeleteOptions" { "meta.v1.DeleteOptions".to_owned() } else { format!("{group}.{version}.{}", envelope.kind) };
    let message = table
        .message(&name)
        .ok_or_else(|| ProtobufError::UnknownKind { api_version: envelope.api_version.to_owned(), kind: envelope.kind.to_owned() })?;
    let mut object = decode::object(table, message, envelope.raw)?;
    object.insert("apiVersion".into(), envelope.api_version.into());
    object.insert("kind".into(), envelope.kind.into());
    Ok(Value::Object(object))
}

#[cfg(test)]
mod tests;

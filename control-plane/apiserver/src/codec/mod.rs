//! Request bodies: from bytes of a media type to a JSON value, telling of keys that are given twice; and the protobuf form of both directions.

mod duplicates;
mod media;
pub mod protobuf;

pub use duplicates::Document;
pub use media::{BodyFormat, PatchFormat, essence};

use crate::error::ApiError;

/// Reads a body. An empty one is refused.
pub fn parse(format: BodyFormat, body: &[u8]) -> Result<Document, ApiError> {
    let parsed = match format {
        BodyFormat::Json => duplicates::from_json(body).map_err(|error| format!("couldn't get version/kind; json parse error: {error}")),
        BodyFormat::Protobuf => {
            protobuf::from_protobuf(body).map(|value| Document { value, duplicates: Vec::new() }).map_err(|error| error.to_string())
        }
        BodyFormat::Yaml => duplicates::from_yaml(body).map_err(|error| format!("error converting YAML to JSON: {error}")),
    };
    parsed.map_err(|error| ApiError::bad_request(format!("the object provided is unrecognized (must be of type Object): {error}")))
}

//! Subresources that are more than another view of the object, one file each.

mod binding;
mod eviction;
mod finalize;
mod scale;
mod token;

use crate::call::{Call, check_fields};
use crate::codec::{self, BodyFormat, Document};
use crate::error::ApiError;
use axum::body::Body;
use http::Response;
use orknet_resources::typed::decode_body;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Answers a call on a subresource.
pub async fn run(call: &Call) -> Result<Response<Body>, ApiError> {
    match (&call.path.subresource[..], call.verb) {
        ("scale", _) => scale::run(call).await,
        ("binding", "create") => binding::run(call).await,
        ("eviction", "create") => eviction::run(call).await,
        ("token", "create") => token::run(call).await,
        ("finalize", "update") => finalize::run(call).await,
        _ => Err(call.method_not_allowed()),
    }
}

/// Binds the pod that a `Binding` in its own right names.
pub async fn bind_pod(call: &Call, binding: Value) -> Result<Response<Body>, ApiError> {
    let pods = call.server.kinds().find("", "v1", "pods").ok_or_else(ApiError::no_such_resource)?;
    let name = crate::object::name(&binding).to_owned();
    binding::bind(call, &pods, &name, binding).await
}

/// Reads the body as an object of another kind than the parent's, strictly or not, as asked for.
fn read<T>(call: &Call, warnings: &mut Vec<String>) -> Result<Value, ApiError>
where
    T: k8s_openapi::Resource + DeserializeOwned + Serialize,
{
    let document = codec::parse(BodyFormat::of(call.content_type.as_deref())?, &call.body)?;
    decode::<T>(call, document, warnings)
}

/// The same for what has been read already (a patched one).
fn decode<T>(call: &Call, mut document: Document, warnings: &mut Vec<String>) -> Result<Value, ApiError>
where
    T: k8s_openapi::Resource + DeserializeOwned + Serialize,
{
    // The server's to say; clients send an empty one.
    if let Some(object) = document.value.as_object_mut() {
        object.remove("status");
    }
    let (typed, unknown) = decode_body::<T>(document.value).map_err(|error| ApiError::bad_request(error.to_string()))?;
    check_fields(call.options.field_validation, call.names(), &document.duplicates, &unknown, warnings)?;
    serde_json::to_value(typed).map_err(|error| ApiError::bad_request(error.to_string()))
}

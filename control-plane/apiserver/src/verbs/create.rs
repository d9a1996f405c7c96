//! POST of a new object.

use super::write;
use crate::call::Call;
use crate::error::ApiError;
use crate::object;
use crate::present;
use axum::body::Body;
use http::{Response, StatusCode};
use orknet_auth::authz::{Attributes, Target};
use serde_json::Value;

/// Creates the object in the body; 201 with the object.
pub async fn run(call: &Call) -> Result<Response<Body>, ApiError> {
    let mut warnings = Vec::new();
    let object = call.decode(&mut warnings)?;
    check_place(call, &object)?;
    if !object::resource_version(&object).is_empty() {
        return Err(ApiError::bad_request("resourceVersion should not be set on objects to be created"));
    }
    let created = write::create(call, object, false, &mut warnings).await?;
    Ok(present::object(call, StatusCode::CREATED, created, &warnings))
}

/// 403 unless the caller may create the object in the path: who may replace or patch what is there may not make it for that.
pub fn must_be_allowed(call: &Call) -> Result<(), ApiError> {
    let names = call.names();
    let target = Target::Resource {
        group: names.group,
        resource: names.plural,
        subresource: "",
        namespace: call.namespace(),
        name: &call.path.name,
    };
    if call.server.access.allows(&call.who, &Attributes { verb: "create", target }) {
        return Ok(());
    }
    let why = format!("User {:?} cannot create resource {:?} in API group {:?}", call.who.username, names.plural, names.group);
    Err(ApiError::forbidden(names, &call.path.name, why))
}

/// The object's namespace and name, where it has them, must be those of the path.
pub fn check_place(call: &Call, object: &Value) -> Result<(), ApiError> {
    let (namespace, name) = (object::namespace(object), object::name(object));
    if crate::kinds::is_namespaced(call.names()) {
        if call.namespace().is_empty() {
            return Err(ApiError::bad_request("an empty namespace may not be set during creation"));
        }
        if !namespace.is_empty() && namespace != call.namespace() {
            return Err(ApiError::bad_request("the namespace of the provided object does not match the namespace sent on the request"));
        }
    }
    if !call.path.name.is_empty() && !name.is_empty() && name != call.path.name {
        return Err(ApiError::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            call.path.name
        )));
    }
    Ok(())
}

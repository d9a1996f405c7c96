//! PUT of a whole object, or of its status; it creates objects of some kinds.

use super::create::{check_place, must_be_allowed};
use super::write::{self, Update, Updated, update_for};
use crate::call::Call;
use crate::error::ApiError;
use crate::object;
use crate::present;
use axum::body::Body;
use http::{Response, StatusCode};

/// Replaces the object; the version in the body, if there is one, must be the stored one.
pub async fn run(call: &Call) -> Result<Response<Body>, ApiError> {
    let mut warnings = Vec::new();
    let object = call.decode(&mut warnings)?;
    check_place(call, &object)?;
    if object::name(&object).is_empty() {
        return Err(ApiError::bad_request("name must be provided"));
    }
    let names_version = !matches!(object::resource_version(&object), "" | "0");
    let may_create = call.kind.creates_on_update() && call.subresource().is_none() && !names_version && object::uid(&object).is_empty();
    if may_create && call.server.storage.get(&call.key()).await?.is_none() {
        must_be_allowed(call)?;
        match write::create(call, object.clone(), false, &mut warnings).await {
            // Somebody else was faster to create it.
            Err(error) if error.reason() == "AlreadyExists" => {}
            created => return Ok(present::object(call, StatusCode::CREATED, created?, &warnings)),
        }
    }
    if call.kind.replaces_known_versions_only() && !names_version {
        return Err(ApiError::version_required(call.names(), &call.path.name));
    }
    let updated = update_for(call, &Update::of(call), |_, _| Ok(object.clone()), &mut warnings).await?;
    let (Updated::Object(shown) | Updated::Removed(shown)) = updated;
    warnings.extend(call.kind.warnings(&shown));
    Ok(present::object(call, StatusCode::OK, shown, &warnings))
}

//! PUT of a whole object, or of its status.

use super::create::check_place;
use super::write::{Update, Updated, update};
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
    if call.kind.replaces_known_versions_only() && matches!(object::resource_version(&object), "" | "0") {
        return Err(ApiError::version_required(call.names(), &call.path.name));
    }
    let what = Update {
        kind: call.kind,
        namespace: call.namespace(),
        name: &call.path.name,
        subresource: call.subresource(),
        dry_run: call.options.dry_run,
        manager: Some(call.field_manager()),
        validate: true,
    };
    let updated = update(&call.server, &call.who, &what, |_, _| Ok(object.clone())).await?;
    let (Updated::Object(shown) | Updated::Removed(shown)) = updated;
    warnings.extend(call.kind.warnings(&shown));
    Ok(present::object(call, StatusCode::OK, shown, &warnings))
}

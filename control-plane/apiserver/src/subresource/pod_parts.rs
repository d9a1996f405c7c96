//! `pods/<name>/ephemeralcontainers` and `resize`: changes of a running pod that the main resource refuses. The kind's rules decide what may change.

use crate::call::Call;
use crate::codec::{self, BodyFormat, PatchFormat};
use crate::error::ApiError;
use crate::object;
use crate::present;
use crate::verbs::write::{Update, Updated, update};
use axum::body::Body;
use http::{Response, StatusCode};
use serde_json::Value;

/// Answers get, update and patch.
pub async fn run(call: &Call) -> Result<Response<Body>, ApiError> {
    let mut warnings = Vec::new();
    let what = Update {
        kind: call.kind,
        namespace: call.namespace(),
        name: &call.path.name,
        subresource: call.subresource(),
        dry_run: call.options.dry_run,
        manager: Some(call.field_manager()),
        validate: true,
    };
    let updated = match call.verb {
        "get" => {
            let stored = call.server.storage.get(&call.key()).await?.ok_or_else(|| call.not_found())?;
            Updated::Object(stored.versioned())
        }
        "update" => {
            let object = call.decode(&mut warnings)?;
            update(&call.server, &call.who, &what, |_, _| Ok(object.clone())).await?
        }
        "patch" => {
            let format = PatchFormat::of(call.content_type.as_deref())?;
            let patch = codec::parse(BodyFormat::Json, &call.body)?.value;
            update(&call.server, &call.who, &what, |old, revision| patched(call, format, old, revision, &patch)).await?
        }
        _ => return Err(call.method_not_allowed()),
    };
    let (Updated::Object(shown) | Updated::Removed(shown)) = updated;
    Ok(present::object(call, StatusCode::OK, shown, &warnings))
}

fn patched(call: &Call, format: PatchFormat, old: &Value, revision: u64, patch: &Value) -> Result<Value, ApiError> {
    let names = call.names();
    let mut live = old.clone();
    object::set_meta(&mut live, "resourceVersion", revision.to_string());
    let patched = match format {
        PatchFormat::Json => orknet_patch::json::apply(&live, patch),
        PatchFormat::Merge => {
            orknet_patch::merge::apply(&mut live, patch);
            Ok(live)
        }
        PatchFormat::Strategic => {
            orknet_patch::strategic::apply(call.server.schema.root_or_deduced(names.group, names.version, names.kind), &live, patch)
        }
        PatchFormat::Apply => {
            return Err(ApiError::unsupported_media_type(
                "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json",
            ));
        }
    };
    let patched = patched.map_err(|error| ApiError::patch(names, &call.path.name, &error))?;
    call.decode_value(patched, Vec::new(), &mut Vec::new())
}

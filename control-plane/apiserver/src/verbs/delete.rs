//! DELETE of one object.

use super::write;
use crate::admission;
use crate::call::Call;
use crate::codec::{self, BodyFormat};
use crate::error::{ApiError, qualified};
use crate::kinds::Kind;
use crate::life::{Decision, DeleteOptions, Preconditions, Propagation, decide};
use crate::object;
use crate::present;
use crate::server::Server;
use crate::storage::{encode, keys};
use axum::body::Body;
use http::{Response, StatusCode};
use orknet_auth::Identity;
use orknet_store::{Commit, Compare, Op};
use serde_json::{Value, json};

/// How often a deletion is tried when others change the object meanwhile.
const ATTEMPTS: usize = 32;

/// One deletion.
pub struct DeleteRequest<'a> {
    pub kind: Kind,
    pub namespace: &'a str,
    pub name: &'a str,
    pub options: &'a DeleteOptions,
}

/// What a deletion left.
pub enum Deleted {
    /// The object is gone: its last state.
    Gone(Value),
    /// It will go later: its state now.
    Later(Value),
}

/// Deletes the object; 200 with a `Status` when it is gone, else with the object.
pub async fn run(call: &Call) -> Result<Response<Body>, ApiError> {
    let options = options(call)?;
    let request = DeleteRequest { kind: call.kind, namespace: call.namespace(), name: &call.path.name, options: &options };
    match delete_object(&call.server, &call.who, &request).await? {
        Deleted::Gone(object) if call.names().stored_as.1 == "pods" => Ok(present::object(call, StatusCode::OK, object, &[])),
        Deleted::Gone(object) => {
            let names = call.names();
            let mut details = json!({ "name": call.path.name, "kind": names.plural, "uid": object::uid(&object) });
            if !names.group.is_empty() {
                details["group"] = names.group.into();
            }
            Ok(present::json(StatusCode::OK, &present::status_success(details)))
        }
        Deleted::Later(object) => {
            let code = if options.cascades_by_flag { StatusCode::ACCEPTED } else { StatusCode::OK };
            Ok(present::object(call, code, object, &[]))
        }
    }
}

/// Deletes or marks one object, whatever its kind.
pub async fn delete_object(server: &Server, who: &Identity, request: &DeleteRequest<'_>) -> Result<Deleted, ApiError> {
    let (kind, names, options) = (request.kind, request.kind.descriptor(), request.options);
    let key = keys::object(names.stored_as, request.namespace, request.name);
    for _ in 0..ATTEMPTS {
        let Some(stored) = server.storage.get(&key).await? else { return Err(ApiError::not_found(names, request.name)) };
        let object = kind.from_stored(stored.object.clone());
        options.preconditions.check(kind, &object, stored.revision)?;
        admission::admit_delete(who, kind, &object)?;
        let versioned = |object: &Value, revision: u64| {
            let mut object = object.clone();
            object::set_meta(&mut object, "resourceVersion", revision.to_string());
            object
        };
        match decide(&object, options, default_grace(kind, &object), object::now_seconds()) {
            Decision::Nothing => return Ok(Deleted::Later(versioned(&object, stored.revision))),
            Decision::Remove => {
                if options.dry_run {
                    return Ok(Deleted::Gone(versioned(&object, stored.revision)));
                }
                if let Some(revision) = write::remove(server, kind, &key, &stored).await? {
                    return Ok(Deleted::Gone(versioned(&object, revision)));
                }
            }
            Decision::Mark(marked) => {
                if options.dry_run {
                    return Ok(Deleted::Later(versioned(&marked, stored.revision)));
                }
                let put = Op::Put { key: key.clone().into(), value: encode(&kind.to_stored((*marked).clone())), ttl: None };
                let compare = Compare::ModRevision(key.clone().into(), stored.revision);
                if let Commit::Done(revision) = server.storage.commit(vec![compare], vec![put]).await? {
                    return Ok(Deleted::Later(versioned(&marked, revision)));
                }
            }
        }
    }
    Err(ApiError::stale(names, request.name))
}

/// The options in body and query; the body counts where both say something.
pub fn options(call: &Call) -> Result<DeleteOptions, ApiError> {
    let body = if call.body.iter().all(u8::is_ascii_whitespace) {
        json!({})
    } else {
        codec::parse(BodyFormat::of(call.content_type.as_deref())?, &call.body)?.value
    };
    let other_kind = body.get("kind").and_then(Value::as_str).is_some_and(|kind| kind != "DeleteOptions" && !kind.is_empty());
    if !body.is_object() || other_kind {
        return Err(ApiError::bad_request("the body of a deletion must be a DeleteOptions object"));
    }
    let query = &call.options;
    let propagation = body.get("propagationPolicy").and_then(Value::as_str).map(str::to_owned).or_else(|| query.propagation_policy.clone());
    let orphan = body.get("orphanDependents").and_then(Value::as_bool).or(query.orphan_dependents);
    let propagation = match (propagation.as_deref(), orphan) {
        (Some(_), Some(_)) => {
            return Err(ApiError::bad_request("orphanDependents and propagationPolicy cannot be both set"));
        }
        (Some("Orphan"), None) | (None, Some(true)) => Some(Propagation::Orphan),
        (Some("Background"), None) | (None, Some(false)) => Some(Propagation::Background),
        (Some("Foreground"), None) => Some(Propagation::Foreground),
        (Some(other), None) => {
            return Err(ApiError::bad_request(format!(
                "invalid propagationPolicy {other:?}: supported values: \"Foreground\", \"Background\", \"Orphan\""
            )));
        }
        (None, None) => None,
    };
    let precondition = |field: &str| body.pointer(&format!("/preconditions/{field}")).and_then(Value::as_str).map(str::to_owned);
    let dry_run = match object::strings(body.get("dryRun"))[..] {
        [] => query.dry_run,
        ["All"] => true,
        _ => return Err(ApiError::bad_request("invalid dryRun: supported values: \"All\"")),
    };
    let grace_period_seconds = match body.get("gracePeriodSeconds").filter(|seconds| !seconds.is_null()) {
        Some(seconds) => Some(seconds.as_i64().ok_or_else(|| ApiError::bad_request("gracePeriodSeconds must be a number"))?),
        None => query.grace_period_seconds,
    };
    Ok(DeleteOptions {
        grace_period_seconds,
        preconditions: Preconditions { uid: precondition("uid"), resource_version: precondition("resourceVersion") },
        propagation,
        dry_run,
        cascades_by_flag: orphan == Some(false),
    })
}

/// Pods that run have a period of grace: what their spec says. Those that no node has, or that have ended, go at once.
fn default_grace(kind: Kind, object: &Value) -> i64 {
    if qualified(kind.descriptor().plural, kind.descriptor().group) != "pods" {
        return 0;
    }
    let ended = matches!(object::text(object, "/status/phase"), "Succeeded" | "Failed");
    if object::text(object, "/spec/nodeName").is_empty() || ended {
        return 0;
    }
    object.pointer("/spec/terminationGracePeriodSeconds").and_then(Value::as_i64).unwrap_or(30).max(0)
}

//! DELETE of one object.

use super::write;
use crate::admission::{self, Asked, Operation};
use crate::allocate::Allocation;
use crate::call::Call;
use crate::codec::{self, BodyFormat};
use crate::companions;
use crate::custom::convert;
use crate::error::{ApiError, qualified};
use crate::kinds::Kind;
use crate::life::{Decision, DeleteOptions, Preconditions, Propagation, decide};
use crate::object;
use crate::present;
use crate::server::Server;
use crate::storage::{encode, keys};
use axum::body::Body;
use http::{Response, StatusCode};
use k8s_openapi::apimachinery::pkg::apis::meta::v1 as meta;
use orknet_auth::Identity;
use orknet_resources::typed::decode::read;
use orknet_store::{Commit, Compare, Op};
use serde_json::{Value, json};

/// How often a deletion is tried when others change the object meanwhile.
const ATTEMPTS: usize = 32;

/// One deletion.
pub struct DeleteRequest<'a> {
    pub kind: &'a Kind,
    pub namespace: &'a str,
    pub name: &'a str,
    pub options: &'a DeleteOptions,
    /// Whether admission has been asked already: about an eviction.
    pub admitted: bool,
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
    let request =
        DeleteRequest { kind: &call.kind, namespace: call.namespace(), name: &call.path.name, options: &options, admitted: false };
    let mut warnings = Vec::new();
    match delete_object(&call.server, &call.who, &request, &mut warnings).await? {
        Deleted::Gone(object) if call.names().stored_as.1 == "pods" => Ok(present::object(call, StatusCode::OK, object, &warnings)),
        Deleted::Gone(object) => {
            let names = call.names();
            let mut details = json!({ "name": call.path.name, "kind": names.plural, "uid": object::uid(&object) });
            if !names.group.is_empty() {
                details["group"] = names.group.into();
            }
            let mut response = present::status(call, StatusCode::OK, &present::status_success(details));
            present::add_warnings(&mut response, &warnings);
            Ok(response)
        }
        Deleted::Later(object) => {
            let code = if options.cascades_by_flag { StatusCode::ACCEPTED } else { StatusCode::OK };
            Ok(present::object(call, code, object, &warnings))
        }
    }
}

/// Deletes or marks one object, whatever its kind. `warnings` gets what admission warns of.
pub async fn delete_object(
    server: &Server,
    who: &Identity,
    request: &DeleteRequest<'_>,
    warnings: &mut Vec<String>,
) -> Result<Deleted, ApiError> {
    let (kind, names, options) = (request.kind, request.kind.descriptor(), request.options);
    let key = keys::object(names.stored_as, request.namespace, request.name);
    let asked = admission::Request {
        server,
        who,
        kind,
        subresource: None,
        operation: Operation::Delete,
        namespace: request.namespace,
        name: request.name,
        dry_run: options.dry_run,
        form: None,
        revision: 0,
        options: Asked::Delete(options),
    };
    for _ in 0..ATTEMPTS {
        let Some(stored) = server.storage.get(&key).await? else { return Err(ApiError::not_found(names, request.name)) };
        let mut object = convert::read(server, kind, stored.object.clone()).await?;
        options.preconditions.check(kind, &object, stored.revision)?;
        if !request.admitted {
            warnings.clear();
            admission::delete(admission::Request { revision: stored.revision, ..asked }, &object, warnings).await?;
        }
        if !object::is_deleting(&object) {
            kind.prepare_delete(&mut object, &object::timestamp(0));
        }
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
                let put = Op::Put {
                    key: key.clone().into(),
                    value: encode(&convert::written(server, kind, (*marked).clone()).await?),
                    ttl: None,
                };
                let compare = Compare::ModRevision(key.clone().into(), stored.revision);
                let own = Allocation { compares: vec![compare], ops: vec![put] };
                // Its companion goes now: garbage collection has nothing to wait for, whether it deletes or orphans.
                let Allocation { compares, ops } = own.and(companions::release(server, kind, &object));
                if let Commit::Done(revision) = server.storage.commit(compares, ops).await? {
                    return Ok(Deleted::Later(versioned(&marked, revision)));
                }
            }
        }
    }
    Err(ApiError::stale(names, request.name))
}

/// The options in body and query; the body counts where both say something. 400 when one has not its form: a precondition that is not understood
/// is never passed over.
pub fn options(call: &Call) -> Result<DeleteOptions, ApiError> {
    let (body, query) = (read_options(call)?, &call.options);
    let propagation = propagation(
        body.propagation_policy.as_deref().or(query.propagation_policy.as_deref()),
        body.orphan_dependents.or(query.orphan_dependents),
    )?;
    let preconditions = body.preconditions.unwrap_or_default();
    Ok(DeleteOptions {
        grace_period_seconds: body.grace_period_seconds.or(query.grace_period_seconds),
        preconditions: Preconditions { uid: preconditions.uid, resource_version: preconditions.resource_version },
        propagation,
        dry_run: is_dry_run(body.dry_run.as_deref().unwrap_or_default())?.unwrap_or(query.dry_run),
        cascades_by_flag: body.orphan_dependents.or(query.orphan_dependents) == Some(false),
    })
}

/// The body as `metav1.DeleteOptions`, which every group has under a version of its own; an empty body says nothing.
fn read_options(call: &Call) -> Result<meta::DeleteOptions, ApiError> {
    if call.body.iter().all(u8::is_ascii_whitespace) {
        return Ok(meta::DeleteOptions::default());
    }
    let body = codec::parse(BodyFormat::of(call.content_type.as_deref())?, &call.body)?.value;
    let other_kind = body.get("kind").and_then(Value::as_str).is_some_and(|kind| kind != "DeleteOptions" && !kind.is_empty());
    if !body.is_object() || other_kind {
        return Err(ApiError::bad_request("the body of a deletion must be a DeleteOptions object"));
    }
    let (options, _) = read(body).map_err(|error| ApiError::bad_request(format!("DeleteOptions cannot be handled: {error}")))?;
    Ok(options)
}

/// The policy by its name, or by the older flag that says whether dependants are orphaned.
fn propagation(policy: Option<&str>, orphan: Option<bool>) -> Result<Option<Propagation>, ApiError> {
    match (policy, orphan) {
        (Some(_), Some(_)) => Err(ApiError::bad_request("orphanDependents and propagationPolicy cannot be both set")),
        (Some("Orphan"), None) | (None, Some(true)) => Ok(Some(Propagation::Orphan)),
        (Some("Background"), None) | (None, Some(false)) => Ok(Some(Propagation::Background)),
        (Some("Foreground"), None) => Ok(Some(Propagation::Foreground)),
        (Some(other), None) => Err(ApiError::bad_request(format!(
            "invalid propagationPolicy {other:?}: supported values: \"Foreground\", \"Background\", \"Orphan\""
        ))),
        (None, None) => Ok(None),
    }
}

/// `None`: nothing said.
fn is_dry_run(stages: &[String]) -> Result<Option<bool>, ApiError> {
    match stages {
        [] => Ok(None),
        stages if stages.iter().all(|stage| stage == "All") => Ok(Some(true)),
        _ => Err(ApiError::bad_request("invalid dryRun: supported values: \"All\"")),
    }
}

/// Pods that run have a period of grace: what their spec says. Those that no node has, or that have ended, go at once.
fn default_grace(kind: &Kind, object: &Value) -> i64 {
    if qualified(kind.descriptor().plural, kind.descriptor().group) != "pods" {
        return 0;
    }
    let ended = matches!(object::text(object, "/status/phase"), "Succeeded" | "Failed");
    if object::text(object, "/spec/nodeName").is_empty() || ended {
        return 0;
    }
    object.pointer("/spec/terminationGracePeriodSeconds").and_then(Value::as_i64).unwrap_or(30).max(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policy_and_flag_mean_the_same_but_not_together() {
        assert_eq!(propagation(None, Some(true)).ok(), Some(Some(Propagation::Orphan)));
        assert_eq!(propagation(Some("Background"), None).ok(), Some(Some(Propagation::Background)));
        assert_eq!(propagation(None, None).ok(), Some(None));
        assert!(propagation(Some("Orphan"), Some(true)).is_err() && propagation(Some("Later"), None).is_err());
    }

    #[test]
    fn the_only_stage_of_a_dry_run_is_all() {
        assert_eq!(is_dry_run(&[]).ok(), Some(None));
        assert_eq!(is_dry_run(&["All".into()]).ok(), Some(Some(true)));
        assert!(is_dry_run(&["None".into()]).is_err());
    }
}

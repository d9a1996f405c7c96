//! Kinds that are created, answered in the same breath, and never stored: questions about identity and permission, and bindings.

mod access;
mod rules;
mod who;

use crate::admission::{self, Operation};
use crate::call::Call;
use crate::error::ApiError;
use crate::object;
use crate::present;
use crate::subresource;
use crate::verbs::write::validate_new;
use axum::body::Body;
use http::{Response, StatusCode};
use serde_json::Value;

/// Answers a review kind's create: the object with its `status`.
pub async fn run(call: &Call) -> Result<Response<Body>, ApiError> {
    let mut warnings = Vec::new();
    let mut object = call.decode(&mut warnings)?;
    let names = call.names();
    object["apiVersion"] = names.api_version().into();
    object["kind"] = names.kind.into();
    if !call.namespace().is_empty() {
        object::set_meta(&mut object, "namespace", call.namespace());
    }
    validate_new(&call.server, &call.kind, &object)?;
    if names.kind == "Binding" {
        return subresource::bind_pod(call, object).await;
    }
    admission::submit(call.admission(Operation::Create), &mut object, &mut warnings).await?;
    let status = status(call, &object).await.ok_or_else(|| call.method_not_allowed())?;
    object["status"] = status;
    Ok(present::object(call, StatusCode::CREATED, object, &warnings))
}

async fn status(call: &Call, object: &Value) -> Option<Value> {
    let access = &call.server.access;
    match call.names().kind {
        "TokenReview" => Some(who::token_review(access, &object["spec"]).await),
        "SelfSubjectReview" => Some(who::self_review(&call.who)),
        "SelfSubjectAccessReview" => Some(access::review(access, &call.who, &object["spec"])),
        "SubjectAccessReview" | "LocalSubjectAccessReview" => {
            Some(access::review(access, &access::subject(&object["spec"]), &object["spec"]))
        }
        "SelfSubjectRulesReview" => Some(rules::review(access, &call.who, object::text(object, "/spec/namespace"))),
        _ => None,
    }
}

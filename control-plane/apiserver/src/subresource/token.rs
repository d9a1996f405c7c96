//! `serviceaccounts/<name>/token`: a token for the account, bound to a pod, node or secret if asked for (TokenRequest).

use super::read;
use crate::admission::{self, Operation, check_token, form};
use crate::call::Call;
use crate::error::ApiError;
use crate::object;
use crate::present;
use crate::storage::keys;
use axum::body::Body;
use http::{Response, StatusCode};
use k8s_openapi::api::authentication::v1::TokenRequest;
use orknet_auth::tokens::{API_AUDIENCE, DEFAULT_SECONDS, MIN_SECONDS, Reference, Subject};
use orknet_resources::field::{Errors, Path};
use serde_json::{Value, json};

/// Longest life of a token.
const MAX_SECONDS: i64 = 1 << 32;
/// What injected volumes ask for is renewed in time by the kubelet, and lives longer to spare programs that never read it again (as in Kubernetes).
const INJECTED_SECONDS: i64 = 3607;
const INJECTED_LIFE: i64 = 365 * 86_400;

/// Issues a token.
pub async fn run(call: &Call) -> Result<Response<Body>, ApiError> {
    let mut warnings = Vec::new();
    let mut request = read::<TokenRequest>(call, &mut warnings)?;
    let (namespace, name) = (call.namespace(), &call.path.name);
    let account = call.server.storage.get(&call.key()).await?.ok_or_else(|| call.not_found())?.object;
    let asked = admission::Request { form: Some(&form::TOKEN_REQUEST), ..call.admission(Operation::Create) };
    admission::submit(asked, &mut request, &mut warnings).await?;
    let seconds = request.pointer("/spec/expirationSeconds").and_then(Value::as_i64).unwrap_or(DEFAULT_SECONDS);
    check_seconds(seconds)?;
    let mut subject = Subject {
        namespace: namespace.to_owned(),
        serviceaccount: Reference { name: name.clone(), uid: object::uid(&account).to_owned() },
        pod: None,
        node: None,
        secret: None,
    };
    let mut pod = None;
    if request.pointer("/spec/boundObjectRef").is_some_and(Value::is_object) {
        pod = bind(call, &request["spec"]["boundObjectRef"], &mut subject).await?;
    }
    check_token(&call.who, &call.kind, name, pod.as_ref(), object::text(&request, "/spec/boundObjectRef/uid"))?;
    let audiences: Vec<String> = object::strings(request.pointer("/spec/audiences"))
        .into_iter()
        .filter(|audience| !audience.is_empty())
        .map(str::to_owned)
        .collect();
    let shown_audiences = if audiences.is_empty() { vec![API_AUDIENCE.to_owned()] } else { audiences.clone() };
    let life = if seconds == INJECTED_SECONDS && subject.pod.is_some() { INJECTED_LIFE } else { seconds };
    let token = call.server.access.tokens.issue(&subject, &audiences, life).map_err(ApiError::internal)?;
    request["kind"] = json!("TokenRequest");
    request["apiVersion"] = json!("authentication.k8s.io/v1");
    request["metadata"] = json!({ "name": name, "namespace": namespace, "creationTimestamp": object::timestamp(0) });
    request["spec"]["audiences"] = json!(shown_audiences);
    request["spec"]["expirationSeconds"] = json!(seconds);
    request["status"] = json!({ "token": token, "expirationTimestamp": object::timestamp(seconds) });
    Ok(present::object(call, StatusCode::CREATED, request, &warnings))
}

fn check_seconds(seconds: i64) -> Result<(), ApiError> {
    let why = match seconds {
        ..MIN_SECONDS => "may not specify a duration less than 10 minutes",
        MIN_SECONDS..=MAX_SECONDS => return Ok(()),
        _ => "may not specify a duration larger than 2^32 seconds",
    };
    let mut errors = Errors::default();
    errors.invalid(&Path::Root.field("spec").field("expirationSeconds"), seconds, why);
    Err(ApiError::invalid_kind("authentication.k8s.io", "TokenRequest", "", &errors.into_list()))
}

/// Binds the token to an object that must be there, with the uid asked for. Answers the object if it is a pod.
async fn bind(call: &Call, reference: &Value, subject: &mut Subject) -> Result<Option<Value>, ApiError> {
    let text = |field: &str| reference.get(field).and_then(Value::as_str).unwrap_or_default();
    let (kind, name, uid) = (text("kind"), text("name"), text("uid"));
    let (plural, namespace) = match kind {
        "Pod" => ("pods", call.namespace()),
        "Secret" => ("secrets", call.namespace()),
        "Node" => ("nodes", ""),
        _ => return Err(ApiError::bad_request(format!("cannot bind token for serviceaccount {:?} to type {kind:?}", call.path.name))),
    };
    let found = call.server.storage.get(&keys::object(("", plural), namespace, name)).await?;
    let found = found.ok_or_else(|| ApiError::not_found_resource("", plural, name))?.object;
    let actual = object::uid(&found).to_owned();
    if !uid.is_empty() && uid != actual {
        let why = format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been deleted and then recreated"
        );
        return Err(ApiError::conflict(call.names(), &call.path.name, why));
    }
    let bound = Some(Reference { name: name.to_owned(), uid: actual });
    match kind {
        "Pod" => {
            if object::text(&found, "/spec/serviceAccountName") != call.path.name {
                let why =
                    format!("cannot bind token for serviceaccount {:?} to pod running with different serviceaccount name", call.path.name);
                return Err(ApiError::bad_request(why));
            }
            let node = object::text(&found, "/spec/nodeName");
            let node_object = call.server.storage.caches.get(("", "nodes"), "", node);
            subject.node = node_object.map(|object| Reference { name: node.to_owned(), uid: object::uid(&object.value()).to_owned() });
            subject.pod = bound;
            return Ok(Some(found));
        }
        "Secret" => subject.secret = bound,
        _ => subject.node = bound,
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_lives_from_ten_minutes_to_the_longest() {
        assert!(check_seconds(MIN_SECONDS).is_ok() && check_seconds(MAX_SECONDS).is_ok());
        let error = check_seconds(5).expect_err("too short");
        assert_eq!(
            (error.code(), error.message()),
            (
                422,
                "TokenRequest.authentication.k8s.io \"\" is invalid: spec.expirationSeconds: Invalid value: 5: may not specify a duration less than 10 minutes"
            )
        );
        assert!(check_seconds(MAX_SECONDS + 1).is_err());
    }
}

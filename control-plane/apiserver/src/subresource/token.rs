//! `serviceaccounts/<name>/token`: a token for the account, bound to a pod, node or secret if asked for (TokenRequest).

use super::read;
use crate::call::Call;
use crate::error::ApiError;
use crate::object;
use crate::present;
use crate::storage::keys;
use axum::body::Body;
use http::{Response, StatusCode};
use k8s_openapi::api::authentication::v1::TokenRequest;
use orknet_auth::tokens::{API_AUDIENCE, DEFAULT_SECONDS, MIN_SECONDS, Reference, Subject};
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
    let seconds = request.pointer("/spec/expirationSeconds").and_then(Value::as_i64).unwrap_or(DEFAULT_SECONDS);
    let complaint = |why: String| {
        ApiError::bad_request(format!(
            "TokenRequest.authentication.k8s.io \"\" is invalid: spec.expirationSeconds: Invalid value: {seconds}: {why}"
        ))
    };
    if seconds < MIN_SECONDS {
        return Err(complaint("may not specify a duration less than 10 minutes".into()));
    }
    if seconds > MAX_SECONDS {
        return Err(complaint("may not specify a duration larger than 2^32 seconds".into()));
    }
    let mut subject = Subject {
        namespace: namespace.to_owned(),
        serviceaccount: Reference { name: name.clone(), uid: object::uid(&account).to_owned() },
        pod: None,
        node: None,
        secret: None,
    };
    if request.pointer("/spec/boundObjectRef").is_some_and(Value::is_object) {
        bind(call, &request["spec"]["boundObjectRef"], &mut subject).await?;
    }
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

/// Binds the token to an object that must be there, with the uid asked for.
async fn bind(call: &Call, reference: &Value, subject: &mut Subject) -> Result<(), ApiError> {
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
        }
        "Secret" => subject.secret = bound,
        _ => subject.node = bound,
    }
    Ok(())
}

//! Whether extension servers can be reached: what their Services and endpoints say, and whether they tell what they serve. The answer is the condition
//! `Available` of their APIServices, with kube-aggregator's reasons.

use super::discovered::Discovered;
use super::register::{GROUP, PLURAL};
use super::table::{Remote, condition, destination};
use super::trust::{self, FrontProxy};
use crate::admission::webhooks::connect::Connector;
use crate::cache::Caches;
use crate::error::ApiError;
use crate::object;
use crate::ownership::server_identity;
use crate::proxy::{forward, wire};
use crate::server::Server;
use crate::verbs::write::{Update, update};
use axum::body::Body;
use http::header::{ACCEPT, HOST};
use http::{Request, Response};
use http_body_util::{BodyExt, Limited};
use orknet_auth::Identity;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// How long an extension server may take to tell what it serves.
const PATIENCE: Duration = Duration::from_secs(5);
/// It is asked again where it did not answer: another endpoint may.
const ATTEMPTS: usize = 2;
/// Most that is read of what it serves, in bytes.
const LARGEST: usize = 8 << 20;

/// What there is to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub holds: bool,
    pub reason: &'static str,
    pub message: String,
}

impl Verdict {
    /// Of what this server serves itself.
    pub fn local() -> Self {
        Self { holds: true, reason: "Local", message: "Local APIServices are always available".to_owned() }
    }

    fn no(reason: &'static str, message: String) -> Self {
        Self { holds: false, reason, message }
    }
}

/// What the Service and its EndpointSlices say against it, before anybody is asked. Pure.
pub fn objection((namespace, name, port): &(String, String, u16), service: Option<&Value>, slices: &[Value]) -> Option<Verdict> {
    let shown = format!("service/{name} in {namespace:?}");
    let Some(service) = service else { return Some(Verdict::no("ServiceNotFound", format!("{shown} is not present"))) };
    if !matches!(object::text(service, "/spec/type"), "" | "ClusterIP") {
        return None;
    }
    let list = |value: &Value, pointer: &str| value.pointer(pointer).and_then(Value::as_array).cloned().unwrap_or_default();
    let ports = list(service, "/spec/ports");
    let Some(listening) = ports.iter().find(|candidate| candidate["port"] == *port) else {
        return Some(Verdict::no("ServicePortError", format!("{shown} is not listening on port {port}")));
    };
    let port_name = object::text(listening, "/name");
    if slices.is_empty() {
        return Some(Verdict::no("EndpointsNotFound", format!("cannot find endpointslices for {shown}")));
    }
    let is_ready = |slice: &Value| {
        let ready = |endpoint: &Value| endpoint.pointer("/conditions/ready").and_then(Value::as_bool) != Some(false);
        let serves = |port: &Value| object::text(port, "/name") == port_name && port["port"].is_number();
        list(slice, "/endpoints").iter().any(ready) && list(slice, "/ports").iter().any(serves)
    };
    let missing = || format!("endpointslices for {shown} have no addresses with port name {port_name:?}");
    (!slices.iter().any(is_ready)).then(|| Verdict::no("MissingEndpoints", missing()))
}

/// The Service and the EndpointSlices behind a remote.
pub fn behind(remote: &Remote, caches: &Arc<Caches>) -> (Option<Value>, Vec<Value>) {
    let (namespace, name, _) = &remote.service;
    let service = caches.get(("", "services"), namespace, name).map(|service| service.value());
    let slices = caches.of(("discovery.k8s.io", "endpointslices")).map(|cache| cache.snapshot(namespace).objects);
    let slices = (slices.into_iter().flatten())
        .filter(|slice| slice.label("kubernetes.io/service-name") == Some(name))
        .map(|slice| slice.value())
        .collect();
    (service, slices)
}

/// Asks the server what it serves.
pub async fn probe(remote: &Remote, front: &FrontProxy, caches: &Arc<Caches>) -> Result<Discovered, Verdict> {
    let failed = |why: String| Verdict::no("FailedDiscoveryCheck", why);
    let client = front.certificate().map_err(failed)?;
    // Who it is matters when it is asked for something; a server that says nothing of use is away either way.
    let tls = wire::trusting(Some(&client)).map_err(|error| failed(error.to_string()))?;
    let connector = Connector::with_tls(destination(&remote.service), caches.clone(), tls).map_err(failed)?;
    let path = format!("/apis/{}/{}", remote.group, remote.version);
    let url = format!("{}{path}", destination(&remote.service).origin());
    let mut last = String::new();
    for _ in 0..ATTEMPTS {
        match timeout(PATIENCE, ask(&connector, &path, "application/json")).await {
            Err(_) => last = format!("Get {url:?}: context deadline exceeded"),
            Ok(Err(why)) => last = format!("Get {url:?}: {why}"),
            Ok(Ok((code, _))) if !(200..300).contains(&code) => last = format!("bad status from {url}: {code}"),
            Ok(Ok((_, body))) => {
                let openapi = timeout(PATIENCE, ask(&connector, "/openapi/v3", "application/json")).await;
                let openapi = openapi.ok().and_then(Result::ok).filter(|(code, _)| *code == 200).map(|(_, body)| body);
                return Ok(Discovered::read(&remote.group, &remote.version, &body, openapi.as_deref()));
            }
        }
    }
    Err(failed(format!("failing or missing response from {url}: {last}")))
}

async fn ask(connector: &Connector, path: &str, accept: &str) -> Result<(u16, Vec<u8>), String> {
    let words = |error: &dyn std::fmt::Display| error.to_string();
    let stream = connector.open().await.map_err(|error| words(&error))?;
    let request = Request::get(path).header(HOST, connector.server_name()).header(ACCEPT, accept).body(Body::empty());
    let mut request = request.map_err(|error| words(&error))?;
    let who = Identity { username: "system:kube-aggregator".into(), groups: vec!["system:masters".into()], ..Identity::default() };
    trust::vouch(request.headers_mut(), &who).map_err(|error| words(&error))?;
    let response: Response<Body> = forward::send(Box::new(stream), request).await.map_err(|error| words(&error))?;
    let code = response.status().as_u16();
    let body = Limited::new(response.into_body(), LARGEST).collect().await.map_err(|error| words(&error))?;
    Ok((code, body.to_bytes().to_vec()))
}

/// Writes the verdict into the APIService, unless it says so already.
pub async fn tell(server: &Server, object: &Value, verdict: &Verdict) -> Result<(), ApiError> {
    let told = |object: &Value| {
        condition(object).is_some_and(|condition| {
            let text = |field: &str| condition.get(field).and_then(Value::as_str).unwrap_or_default();
            (text("status") == "True", text("reason"), text("message")) == (verdict.holds, verdict.reason, &verdict.message)
        })
    };
    if told(object) {
        return Ok(());
    }
    let Some(kind) = server.kinds().find_any_version(GROUP, PLURAL) else { return Ok(()) };
    let what = Update { subresource: Some("status"), ..Update::own(&kind, "", object::name(object)) };
    let change = |old: &Value, _: u64| Ok(if told(old) { old.clone() } else { with(old, verdict) });
    match update(server, &server_identity(), &what, change).await {
        Err(error) if error.code() == 404 => Ok(()),
        done => done.map(drop),
    }
}

/// The APIService with the condition.
fn with(old: &Value, verdict: &Verdict) -> Value {
    let mut new = old.clone();
    let status = if verdict.holds { "True" } else { "False" };
    let before = condition(old);
    let since = before.filter(|before| before["status"] == status).map(|before| before["lastTransitionTime"].clone());
    let now = json!({ "type": "Available", "status": status, "reason": verdict.reason, "message": verdict.message,
        "lastTransitionTime": since.unwrap_or_else(|| object::timestamp(0).into()) });
    let others = old.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten();
    let others = others.filter(|condition| condition["type"] != "Available").cloned();
    new["status"]["conditions"] = others.chain([now]).collect();
    new
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_services_and_endpoints_say_against_a_server() {
        let place = ("n".to_owned(), "s".to_owned(), 443);
        let service = json!({ "spec": { "type": "ClusterIP", "ports": [{ "name": "https", "port": 443 }] } });
        let slice = |ready: bool, port: &str| json!({ "ports": [{ "name": port, "port": 8443 }], "endpoints": [{ "addresses": ["10.0.0.1"], "conditions": { "ready": ready } }] });
        let said =
            |service: Option<&Value>, slices: &[Value]| objection(&place, service, slices).map(|verdict| (verdict.reason, verdict.message));
        let no = |reason, message: &str| Some((reason, message.to_owned()));
        assert_eq!(said(None, &[]), no("ServiceNotFound", "service/s in \"n\" is not present"));
        let other = json!({ "spec": { "ports": [{ "port": 80 }] } });
        assert_eq!(said(Some(&other), &[]), no("ServicePortError", "service/s in \"n\" is not listening on port 443"));
        assert_eq!(said(Some(&service), &[]), no("EndpointsNotFound", "cannot find endpointslices for service/s in \"n\""));
        let missing = no("MissingEndpoints", "endpointslices for service/s in \"n\" have no addresses with port name \"https\"");
        assert_eq!(said(Some(&service), &[slice(false, "https")]), missing);
        assert_eq!(said(Some(&service), &[slice(true, "other")]), missing);
        assert_eq!(said(Some(&service), &[slice(false, "https"), slice(true, "https")]), None);
        assert_eq!(said(Some(&json!({ "spec": { "type": "ExternalName" } })), &[]), None);
    }

    #[test]
    fn a_condition_tells_since_when_it_holds() {
        let no = Verdict::no("MissingEndpoints", "none".to_owned());
        let old = json!({ "status": { "conditions": [
            { "type": "Other", "status": "True" }, { "type": "Available", "status": "False", "reason": "x", "lastTransitionTime": "then" },
        ] } });
        let new = with(&old, &no);
        assert_eq!(
            condition(&new).map(|now| (&now["lastTransitionTime"], &now["reason"])),
            Some((&json!("then"), &json!("MissingEndpoints")))
        );
        assert_eq!(new["status"]["conditions"][0]["type"], "Other");
        let passed = Verdict { holds: true, reason: "Passed", message: "all checks passed".to_owned() };
        assert_ne!(condition(&with(&new, &passed)).expect("there")["lastTransitionTime"], "then");
    }
}

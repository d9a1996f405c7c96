//! What every request goes through, top to bottom: identifier, panic guard, a filled cache, authentication, impersonation, authorization, limits, then its route;
//! large answers are compressed on the way back.

use super::accept::Accept;
use super::compress::{accepts_gzip, compressed};
use super::credentials::bearer;
use super::impersonate::impersonate;
use super::listener::Peer;
use super::request_info::RequestInfo;
use super::routes;
use crate::error::{ApiError, qualified};
use crate::health;
use crate::present;
use crate::selector::FieldSelector;
use crate::server::Server;
use axum::body::Body;
use futures::FutureExt;
use http::header::{ACCEPT, HeaderName, HeaderValue, USER_AGENT};
use http::{HeaderMap, Request, Response};
use orknet_auth::Identity;
use orknet_auth::authz::{Attributes, Target};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

const REQUEST_ID: HeaderName = HeaderName::from_static("audit-id");

/// Answers one request. Never fails and never panics: what goes wrong is a `Status`.
pub async fn handle(server: Arc<Server>, peer: Arc<Peer>, request: Request<Body>) -> Response<Body> {
    let started = Instant::now();
    let id = request.headers().get(REQUEST_ID).cloned().unwrap_or_else(new_id);
    let gzip = accepts_gzip(request.headers());
    let plain = Accept::of_status(request.headers().get(ACCEPT).and_then(|value| value.to_str().ok()));
    let user_agent = request.headers().get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let info = RequestInfo::new(request.method(), request.uri().path(), request.uri().query().unwrap_or_default());
    let answered = match &info {
        Some(info) => AssertUnwindSafe(filtered(&server, &peer, info, request)).catch_unwind().await,
        None => Ok(Err(ApiError::bad_request("the path is not text"))),
    };
    let plain = info.as_ref().map_or(plain, |info| plain.for_reader(&info.query, &user_agent)).encoding;
    let mut response = match answered {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => present::error(&error, plain),
        Err(_) => {
            tracing::error!(path = info.as_ref().map(|info| &info.path[..]), "a request panicked");
            present::error(&ApiError::internal("this request caused a panic; the server goes on"), plain)
        }
    };
    if gzip {
        response = compressed(response).await;
    }
    response.headers_mut().entry(REQUEST_ID).or_insert(id);
    server.metrics.request(info.as_ref(), &server.kinds(), response.status().as_u16(), started.elapsed());
    if let Some(info) = &info {
        let (code, took_ms) = (response.status().as_u16(), started.elapsed().as_millis());
        tracing::debug!(verb = info.verb, path = info.path, code, took_ms, "request");
    }
    response
}

async fn filtered(server: &Arc<Server>, peer: &Peer, info: &RequestInfo, request: Request<Body>) -> Result<Response<Body>, ApiError> {
    if let Some(response) = health::public(server, info, request.uri().query().unwrap_or_default()) {
        return Ok(response);
    }
    // Who is who and may do what is read from the caches, and a list of any version too: empty ones would answer wrongly, not late.
    server.storage.caches.must_be_filled().await?;
    let who = authenticate(server, peer, request.headers()).ok_or_else(ApiError::unauthorized)?;
    let who = impersonate(&server.access, request.headers(), who)?;
    authorize(server, &who, info).await?;
    if info.is_long_running() {
        return routes::route(server, who, info, request).await;
    }
    let _place = server.in_flight.enter(info.verb)?;
    let answer = routes::route(server, who, info, request);
    tokio::time::timeout(server.config.request_timeout, answer).await.map_err(|_| ApiError::timeout())?
}

fn authenticate(server: &Server, peer: &Peer, headers: &HeaderMap) -> Option<Identity> {
    let certificate = match peer {
        Peer::InProcess(who) => return Some(who.clone()),
        Peer::Certified(certificate) => Some(&certificate[..]),
        Peer::Unknown => None,
    };
    server.access.authenticate(certificate, bearer(headers).as_deref())
}

async fn authorize(server: &Server, who: &Identity, info: &RequestInfo) -> Result<(), ApiError> {
    let target = match &info.resource {
        Some(path) => Target::Resource {
            group: &path.group,
            resource: &path.plural,
            subresource: &path.subresource,
            namespace: &path.namespace,
            // The path has a name or the selector has; never both.
            name: info.selected_name.as_deref().unwrap_or(&path.name),
        },
        None => Target::Path(&info.path),
    };
    let what = Attributes { verb: info.verb, target };
    let selected = |field: &str| FieldSelector::parse(info.query.first("fieldSelector")?).ok()?.exact(field).map(str::to_owned);
    let mut verdict = server.access.decide(who, &what, selected);
    // Another server of this store may have told the kubelet of a pod before this one heard of it.
    if verdict.unrelated && server.storage.catch_up().await.is_ok() {
        verdict = server.access.decide(who, &what, selected);
    }
    if verdict.allowed {
        return Ok(());
    }
    let reason = if verdict.reason.is_empty() { String::new() } else { format!(": {}", verdict.reason) };
    let Some(path) = &info.resource else {
        return Err(ApiError::forbidden_path(format!("User {:?} cannot {} path {:?}{reason}", who.username, info.verb, info.path)));
    };
    let shown = if path.subresource.is_empty() { path.plural.clone() } else { format!("{}/{}", path.plural, path.subresource) };
    let place = if path.namespace.is_empty() || qualified(&path.plural, &path.group) == "namespaces" {
        "at the cluster scope".to_owned()
    } else {
        format!("in the namespace {:?}", path.namespace)
    };
    let why = format!("User {:?} cannot {} resource {shown:?} in API group {:?} {place}{reason}", who.username, info.verb, path.group);
    Err(ApiError::forbidden_resource(&path.group, &path.plural, &path.name, why))
}

fn new_id() -> HeaderValue {
    // Hexadecimal digits and dashes are a header value.
    HeaderValue::from_str(&uuid::Uuid::new_v4().to_string()).unwrap_or(HeaderValue::from_static("-"))
}

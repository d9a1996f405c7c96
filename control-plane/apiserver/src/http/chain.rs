//! What every request goes through, top to bottom: identifier, panic guard, a filled cache, authentication, impersonation, its turn, authorization, then its route;
//! large answers are compressed on the way back.

use super::accept::Accept;
use super::compress::{accepts_gzip, compressed};
use super::credentials::bearer;
use super::flow::Marks;
use super::impersonate::impersonate;
use super::listener::{Peer, Shown};
use super::request_info::RequestInfo;
use super::routes;
use crate::audit::{self, Record};
use crate::error::{ApiError, qualified};
use crate::health;
use crate::present;
use crate::selector::FieldSelector;
use crate::server::Server;
use axum::body::Body;
use futures::FutureExt;
use http::header::{ACCEPT, CACHE_CONTROL, HeaderName, HeaderValue, USER_AGENT};
use http::{HeaderMap, Request, Response};
use orknet_auth::Identity;
use orknet_auth::authz::{Attributes, Target};
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::Arc;
use std::time::Instant;

const REQUEST_ID: HeaderName = HeaderName::from_static("audit-id");
const ID_LENGTH: usize = 64;

/// Answers one request. Never fails and never panics: what goes wrong is a `Status`.
pub async fn handle(server: Arc<Server>, peer: Arc<Peer>, mut request: Request<Body>) -> Response<Body> {
    request.extensions_mut().insert(peer.clone());
    let started = Instant::now();
    let id = request_id(request.headers());
    let gzip = accepts_gzip(request.headers());
    let plain = Accept::of_status(request.headers().get(ACCEPT).and_then(|value| value.to_str().ok()));
    let user_agent = request.headers().get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let info = RequestInfo::new(request.method(), request.uri().path(), request.uri().query().unwrap_or_default());
    let mut marks = None;
    let answered = match &info {
        Some(info) => AssertUnwindSafe(filtered(&server, &peer, info, &id, request, &mut marks)).catch_unwind().await,
        None => Ok(Err(ApiError::bad_request("the path is not text"))),
    };
    let plain = info.as_ref().map_or(plain, |info| plain.for_reader(&info.query, &user_agent)).encoding;
    let mut response = match answered {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => present::error(&error, plain),
        Err(_) => {
            tracing::error!(path = info.as_ref().map(|info| &info.path[..]), "a request panicked");
            present::error(&panicked(), plain)
        }
    };
    if gzip {
        response = compressed(response).await;
    }
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().entry(REQUEST_ID).or_insert(id);
    }
    if let Some(marks) = marks {
        marks.write(response.headers_mut());
    }
    // What may be kept says so itself.
    response.headers_mut().entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-cache, private"));
    server.metrics.request(info.as_ref(), &server.kinds(), response.status().as_u16(), started.elapsed());
    if let Some(info) = &info {
        let (code, took_ms) = (response.status().as_u16(), started.elapsed().as_millis());
        tracing::debug!(verb = info.verb, path = info.path, code, took_ms, "request");
    }
    response
}

async fn filtered(
    server: &Arc<Server>,
    peer: &Peer,
    info: &RequestInfo,
    id: &str,
    request: Request<Body>,
    marks: &mut Option<Marks>,
) -> Result<Response<Body>, ApiError> {
    // Anybody may ask, and also before the caches are filled; but a token that is none is told, where it can be judged without waiting for them.
    if let Some(response) = health::public(server, info, request.uri().query().unwrap_or_default()) {
        let shows_token = bearer(request.headers()).is_some() && server.storage.caches.filled().now_or_never().is_some();
        return match shows_token && authenticate(server, peer, request.headers(), &info.path).await.is_none() {
            true => Err(ApiError::unauthorized()),
            false => Ok(response),
        };
    }
    // Who is who and may do what is read from the caches, and a list of any version too: empty ones would answer wrongly, not late.
    server.storage.caches.must_be_filled().await?;
    let (head, body) = request.into_parts();
    let who = authenticate(server, peer, &head.headers, &info.path).await;
    let record = server.audit.received(who.as_ref(), info, &head, id, peer.address).await;
    let request = Request::from_parts(head, body);
    let answering = async {
        let who = who.ok_or_else(ApiError::unauthorized)?;
        allowed(server, who, info, request, record.as_deref(), marks).await
    };
    match &record {
        Some(record) => audited(record, info, answering).await,
        None => answering.await,
    }
}

/// Answers, and tells the record of it.
async fn audited(
    record: &Arc<Record>,
    info: &RequestInfo,
    answering: impl Future<Output = Result<Response<Body>, ApiError>>,
) -> Result<Response<Body>, ApiError> {
    match AssertUnwindSafe(record.during(answering)).catch_unwind().await {
        Ok(Ok(response)) => Ok(record.clone().answer(response, info.is_long_running()).await),
        Ok(Err(error)) => Err(error).inspect_err(|error| record.fails(error)),
        Err(fault) => {
            record.panics(&panicked());
            resume_unwind(fault)
        }
    }
}

/// Answers whom is known, if he may.
async fn allowed(
    server: &Arc<Server>,
    who: Identity,
    info: &RequestInfo,
    request: Request<Body>,
    record: Option<&Record>,
    marks: &mut Option<Marks>,
) -> Result<Response<Body>, ApiError> {
    let acting = impersonate(&server.access, request.headers(), who.clone())?;
    if let Some(record) = record.filter(|_| acting != who) {
        record.impersonates(&acting);
    }
    let who = acting;
    if info.is_long_running() {
        // Streams are as many as there are; a watch costs what it takes to begin.
        let _seat = if info.verb == "watch" { Some(server.flow.enter(server, &who, info, marks).await?) } else { None };
        authorize(server, &who, info).await?;
        return routes::route(server, who, info, request).await;
    }
    let _seat = server.flow.enter(server, &who, info, marks).await?;
    let _present = server.metrics.in_flight(info.verb);
    authorize(server, &who, info).await?;
    let answer = async {
        let request = match record {
            Some(record) => told(server, record, request).await?,
            None => request,
        };
        routes::route(server, who, info, request).await
    };
    tokio::time::timeout(server.config.request_timeout, answer).await.map_err(|_| ApiError::timeout())?
}

/// The request again, after the record has been told of its body.
async fn told(server: &Server, record: &Record, request: Request<Body>) -> Result<Request<Body>, ApiError> {
    let (head, body) = request.into_parts();
    let body = routes::read_body(&head.headers, body, server.config.max_body_bytes).await?;
    record.request(&head.headers, &body);
    Ok(Request::from_parts(head, Body::from(body)))
}

fn panicked() -> ApiError {
    ApiError::internal("this request caused a panic; the server goes on")
}

/// Who asks. Who shows nothing is `system:anonymous`, if such may ask at all; a token that is none makes nobody of its holder, whatever rights
/// everybody has, so that clients learn that it is not good. `None`: nobody.
async fn authenticate(server: &Server, peer: &Peer, headers: &HeaderMap, path: &str) -> Option<Identity> {
    let started = Instant::now();
    let who = known(server, peer, headers, path).await;
    server.metrics.authenticated(who.as_ref().map(|who| &who.username[..]), started.elapsed());
    who
}

async fn known(server: &Server, peer: &Peer, headers: &HeaderMap, path: &str) -> Option<Identity> {
    let certificate = match &peer.shown {
        Shown::InProcess(who) => return Some(who.clone()),
        Shown::Certificate(certificate) => Some(&certificate[..]),
        Shown::Nothing => None,
    };
    let bearer = bearer(headers);
    let known = server.access.authenticate(certificate, bearer.as_deref()).await;
    let anonymous = || server.access.oidc.anonymous(path).unwrap_or(server.config.anonymous_auth);
    known.or_else(|| (bearer.is_none() && anonymous()).then(Identity::anonymous))
}

async fn authorize(server: &Server, who: &Identity, info: &RequestInfo) -> Result<(), ApiError> {
    let target = match &info.resource {
        Some(path) => Target::Resource {
            group: &path.group,
            resource: &path.plural,
            subresource: &path.subresource,
            namespace: &path.namespace,
            name: info.name(),
        },
        None => Target::Path(&info.path),
    };
    let what = Attributes { verb: info.verb, target };
    let selected = |field: &str| FieldSelector::parse(info.query.first("fieldSelector")?).ok()?.exact(field).map(str::to_owned);
    let started = Instant::now();
    let mut verdict = server.access.decide(who, &what, selected);
    // Another server of this store may have told the kubelet of a pod before this one heard of it.
    if verdict.unrelated && server.storage.catch_up().await.is_ok() {
        verdict = server.access.decide(who, &what, selected);
    }
    server.metrics.authorized(verdict.allowed, started.elapsed());
    audit::annotate("authorization.k8s.io/decision", || if verdict.allowed { "allow" } else { "forbid" }.to_owned());
    audit::annotate("authorization.k8s.io/reason", || verdict.reason.clone());
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

/// The client's identifier of the request, of which as much is kept as Kubernetes keeps, or one of its own.
fn request_id(headers: &HeaderMap) -> String {
    let given = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok()).filter(|id| !id.is_empty());
    // What `to_str` gives is ASCII.
    given.map_or_else(|| uuid::Uuid::new_v4().to_string(), |id| id[..id.len().min(ID_LENGTH)].to_owned())
}

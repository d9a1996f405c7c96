//! The audit log: who asked for what and how it ended, as a policy says (Kubernetes, "Auditing").
//!
//! A request that the policy tells of has a [`Record`], which whoever works on it holds: the chain, the body of an answer that goes on, a stream. When
//! the last of them lets it go, the request is complete, and its last event is written; so none is without an end, whatever ends it.

mod event;
mod log;
mod policy;

pub use event::{Level, Stage};
pub use log::{Counts, LogConfig};
pub use policy::PolicyError;

use crate::error::ApiError;
use crate::http::accept::Encoding;
use crate::http::request_info::RequestInfo;
use crate::present;
use crate::proxy::Foreign;
use axum::body::Body;
use bytes::Bytes;
use event::{Event, ObjectRef};
use http::header::{CONTENT_TYPE, USER_AGENT};
use http::request::Parts;
use http::{HeaderMap, HeaderName, Response};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use jiff::Timestamp;
use log::Log;
use orknet_auth::Identity;
use parking_lot::Mutex;
use policy::{Policy, Told};
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Rules and place of the audit log.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct AuditConfig {
    /// File of an `audit.k8s.io/v1 Policy`.
    pub policy_file: PathBuf,
    pub log: LogConfig,
}

/// Why there can be no audit log.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    #[error("cannot read the audit policy {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("the audit policy {path} cannot be used")]
    Policy { path: PathBuf, source: PolicyError },
    #[error("cannot open the audit log {path}")]
    Log { path: PathBuf, source: io::Error },
}

/// See the module. Without a configuration nothing is told.
#[derive(Default)]
pub struct Audit(Option<Arc<Open>>);

struct Open {
    policy: Policy,
    log: Log,
}

impl Audit {
    /// Reads the policy and opens the log.
    pub fn open(config: Option<&AuditConfig>) -> Result<Self, AuditError> {
        let Some(AuditConfig { policy_file: path, log }) = config else { return Ok(Self::default()) };
        let text = std::fs::read_to_string(path).map_err(|source| AuditError::Read { path: path.clone(), source })?;
        let policy = Policy::parse(&text).map_err(|source| AuditError::Policy { path: path.clone(), source })?;
        let log = Log::open(log.clone()).map_err(|source| AuditError::Log { path: log.path.clone(), source })?;
        Ok(Self(Some(Arc::new(Open { policy, log }))))
    }

    /// How many events were written, and how many could not be.
    pub fn counts(&self) -> Option<&Counts> {
        self.0.as_ref().map(|open| &open.log.counts)
    }

    /// Waits until all that was told is written.
    pub async fn flushed(&self) {
        if let Some(open) = &self.0 {
            open.log.flushed().await;
        }
    }

    /// Begins the record of a request; `None` where the policy tells nothing of it. `who`: as authenticated; `None` for somebody unknown, whose request
    /// ends here. Waits while the log is behind.
    pub async fn received(
        &self,
        who: Option<&Identity>,
        info: &RequestInfo,
        head: &Parts,
        id: &str,
        peer: Option<IpAddr>,
    ) -> Option<Arc<Record>> {
        let open = self.0.as_ref()?;
        let told = open.policy.of(who, info);
        if told.level == Level::None {
            return None;
        }
        open.log.room().await;
        let uri = head.uri.path_and_query().map_or("/", |uri| uri.as_str()).to_owned();
        let mut event = Event::new(told.level, id.to_owned(), info.verb, uri, who.cloned().unwrap_or_default(), now());
        event.set_user_agent(text(&head.headers, USER_AGENT).unwrap_or_default());
        event.sources = sources(&head.headers, peer);
        event.object_ref = ObjectRef::of(info);
        let long_running = info.is_long_running();
        let record = Record { open: open.clone(), told, long_running, state: Mutex::new(State { event, panicked: false }) };
        match who {
            Some(_) => record.tell(Stage::RequestReceived),
            None => record.state.lock().event.stage = Stage::ResponseStarted,
        }
        Some(Arc::new(record))
    }
}

/// What is told of one request. Its last event is written when it is dropped.
pub struct Record {
    open: Arc<Open>,
    told: Told,
    long_running: bool,
    state: Mutex<State>,
}

struct State {
    event: Event,
    panicked: bool,
}

/// Largest body that is told, in bytes, and from which size on it is read apart from the requests. A Status that says of a success more than so much
/// there is not.
const LARGEST: u64 = 4 << 20;
const SLOW: usize = 64 << 10;
const STATUS: u64 = 4 << 10;
/// How long a body that is to be told may take to come.
const PATIENCE: Duration = Duration::from_secs(30);

tokio::task_local! {
    /// The record of the request that this task works on.
    static CURRENT: Arc<Record>;
}

/// Adds an annotation to what is told of the request that the caller works on, if anything is: what admission and authorization say of it. The first
/// value of a key stays, as with Kubernetes.
pub fn annotate(key: &str, value: impl FnOnce() -> String) {
    let _ = CURRENT.try_with(|record| record.annotate(key, value()));
}

/// The same for what is told with the bodies of requests alone.
pub fn annotate_request(key: &str, value: impl FnOnce() -> String) {
    let _ = CURRENT.try_with(|record| {
        if record.told.level >= Level::Request {
            record.annotate(key, value());
        }
    });
}

impl Record {
    /// Runs what answers the request, so that [`annotate`] finds the record.
    pub async fn during<F: Future>(self: &Arc<Self>, work: F) -> F::Output {
        CURRENT.scope(self.clone(), work).await
    }

    /// Adds an annotation that is not there yet.
    pub fn annotate(&self, key: &str, value: String) {
        self.state.lock().event.annotations.entry(key.to_owned()).or_insert(value);
    }

    /// As whom the sender acts.
    pub fn impersonates(&self, who: &Identity) {
        self.state.lock().event.impersonated_user = Some(who.clone());
    }

    /// The body that was sent.
    pub fn request(&self, headers: &HeaderMap, body: &Bytes) {
        self.state.lock().event.set_request(body, text(headers, CONTENT_TYPE), self.told.omit_managed_fields);
    }

    /// The answer. `goes_on`: its body is a stream that is not looked into; with it the record ends.
    pub async fn answer(self: Arc<Self>, response: Response<Body>, goes_on: bool) -> Response<Body> {
        let (head, body) = response.into_parts();
        let content_type = text(&head.headers, CONTENT_TYPE);
        let respond = |bytes: Option<&Bytes>| {
            let bytes = bytes.map(|bytes| &bytes[..]);
            self.state.lock().event.set_response(head.status.as_u16(), bytes, content_type, self.told.omit_managed_fields);
        };
        // A failure is told; one that is passed on may be of any length.
        let is_failure = head.status.is_client_error() || head.status.is_server_error();
        if goes_on && (!is_failure || head.extensions.get::<Foreign>().is_some()) {
            respond(None);
            self.tell(Stage::ResponseStarted);
            return Response::from_parts(head, Body::new(Held { inner: body, _record: Some(self) }));
        }
        // A Status is told at every level, other bodies at the highest alone. What comes from somewhere else and has no known length is not looked into.
        let size = body.size_hint().exact();
        let verb = self.state.lock().event.verb;
        let may_be_status =
            !head.status.is_success() || ((verb == "create" || verb.starts_with("delete")) && size.is_some_and(|size| size <= STATUS));
        if !(self.told.level >= Level::RequestResponse || may_be_status) || size.is_none_or(|size| size > LARGEST) {
            respond(None);
            if self.told.level >= Level::RequestResponse {
                self.annotate("audit.k8s.io/truncated", "true".into());
            }
            return Response::from_parts(head, Body::new(Held { inner: body, _record: Some(self) }));
        }
        let Ok(Ok(bytes)) = tokio::time::timeout(PATIENCE, body.collect()).await.map(|body| body.map(http_body_util::Collected::to_bytes))
        else {
            let error = ApiError::of_kubelet(502, "the answer ended before it was whole");
            self.fails(&error);
            return present::error(&error, Encoding::Json);
        };
        let content_type = content_type.map(str::to_owned);
        let (code, body, record) = (head.status.as_u16(), bytes.clone(), self.clone());
        let tell = move || {
            record.state.lock().event.set_response(code, Some(&body), content_type.as_deref(), record.told.omit_managed_fields);
        };
        if bytes.len() > SLOW {
            // Other requests go on, and this one waits until there is room for what is told of it.
            let _ = tokio::task::spawn_blocking(tell).await;
            self.open.log.room().await;
        } else {
            tell();
        }
        Response::from_parts(head, Body::from(bytes))
    }

    /// The failure that is the answer.
    pub fn fails(&self, error: &ApiError) {
        let status = error.to_status().to_string();
        self.state.lock().event.set_response(error.code(), Some(status.as_bytes()), None, false);
    }

    /// The request met a fault of the server, and this is the answer.
    pub fn panics(&self, error: &ApiError) {
        self.fails(error);
        self.state.lock().panicked = true;
    }

    fn tell(&self, stage: Stage) {
        if self.told.tells(stage) {
            let mut state = self.state.lock();
            state.event.stage = stage;
            state.event.stage_timestamp = now();
            self.open.log.write(&state.event);
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let state = self.state.get_mut();
        let (is_known, is_answered) = (!state.event.user.username.is_empty(), state.event.response_status.is_some());
        if is_known && !is_answered && !state.panicked {
            // Its sender went away.
            state.event.response_status = Some(event::closed_early());
            if self.long_running {
                self.tell(Stage::ResponseStarted);
            }
        }
        let state = self.state.get_mut();
        let stage = match (state.panicked, state.event.user.username.is_empty()) {
            (true, _) => Stage::Panic,
            // Nobody works for somebody unknown: Kubernetes tells of the answer's beginning alone.
            (false, true) => Stage::ResponseStarted,
            (false, false) => Stage::ResponseComplete,
        };
        self.tell(stage);
    }
}

/// A body or a connection that goes on after its request was answered, with the record that ends when it does.
pub struct Held<T> {
    inner: T,
    _record: Option<Arc<Record>>,
}

/// Holds the record of the request that the caller works on for as long as the connection is there: an upgraded one goes on by itself.
pub fn hold<T>(connection: T) -> Held<T> {
    Held { inner: connection, _record: CURRENT.try_with(Arc::clone).ok() }
}

impl http_body::Body for Held<Body> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.inner).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Held<T> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Held<T> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

/// The addresses that a request came by: those that proxies tell of, then the peer's (`SourceIPs` of Kubernetes' apimachinery). What is no address is
/// left out. Proxies are believed: the peer's own address is always the last one.
fn sources(headers: &HeaderMap, peer: Option<IpAddr>) -> Vec<String> {
    let named = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let forwarded = named("x-forwarded-for").split(',').chain([named("x-real-ip")]);
    let mut found: Vec<IpAddr> = Vec::new();
    for address in forwarded.filter_map(|text| text.trim().parse().ok()).chain(peer.map(|peer| peer.to_canonical())) {
        if found.last() != Some(&address) {
            found.push(address);
        }
    }
    found.iter().map(IpAddr::to_string).collect()
}

fn now() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

#[cfg(test)]
mod tests;

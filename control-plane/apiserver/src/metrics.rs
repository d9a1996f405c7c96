//! The server's metrics, in the names that Kubernetes documents for its API server. Labels are bounded: only kinds that exist are named.

use crate::admission::webhooks::WebhookMetrics;
use crate::audit;
use crate::http::flow::FlowMetrics;
use crate::http::request_info::RequestInfo;
use crate::kinds::{Kinds, StoredAs};
use crate::server::Server;
use axum::body::Body;
use http::Response;
use http::header::{CONTENT_TYPE, HeaderValue};
use jiff::Timestamp;
use nix::time::{ClockId, clock_gettime};
use parking_lot::Mutex;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

/// Upper bounds of the duration buckets, in seconds.
const BUCKETS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RequestLabels {
    verb: String,
    group: String,
    version: String,
    resource: String,
    subresource: String,
    code: u32,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct DurationLabels {
    verb: String,
    resource: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ObjectLabels {
    resource: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct LeaseLabels {
    name: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct InFlightLabels {
    request_kind: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct LongRunningLabels {
    verb: &'static str,
    group: &'static str,
    version: &'static str,
    resource: &'static str,
    subresource: &'static str,
    scope: &'static str,
    component: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct KindLabels {
    group: &'static str,
    version: &'static str,
    kind: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ResultLabels {
    result: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct UserLabels {
    username: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct StoreLabels {
    operation: &'static str,
    r#type: String,
}

/// Whether this process leads, now.
type Leads = Box<dyn Fn() -> bool + Send + Sync>;

type Durations<L> = Family<L, Histogram, fn() -> Histogram>;

fn durations<L: Clone + std::hash::Hash + Eq>() -> Durations<L> {
    Family::new_with_constructor((|| Histogram::new(BUCKETS)) as fn() -> Histogram)
}

/// Attempts at something that ends in one way or another, and how long they took. Cheap to clone; clones count together.
#[derive(Clone)]
struct Attempts {
    ends: Family<ResultLabels, Counter>,
    took: Durations<ResultLabels>,
}

impl Attempts {
    /// `count`: the counter's name.
    fn new(registry: &mut Registry, count: &'static str, took: &'static str, what: &str) -> Self {
        let attempts = Self { ends: Family::default(), took: durations() };
        registry.register(count, format!("{what}, by how it ended"), attempts.ends.clone());
        registry.register(took, format!("Time of {what}"), attempts.took.clone());
        attempts
    }

    fn ended(&self, result: &'static str, took: Duration) {
        self.ends.get_or_create(&ResultLabels { result }).inc();
        self.took.get_or_create(&ResultLabels { result }).observe(took.as_secs_f64());
    }
}

/// What the store was asked for, in the names of kube-apiserver, for whichever store. Cheap to clone; clones count together.
#[derive(Clone)]
pub struct StoreMetrics {
    took: Durations<StoreLabels>,
    requests: Family<StoreLabels, Counter>,
    errors: Family<StoreLabels, Counter>,
}

impl StoreMetrics {
    fn new(registry: &mut Registry) -> Self {
        let metrics = Self { took: durations(), requests: Family::default(), errors: Family::default() };
        registry.register("etcd_request_duration_seconds", "Time of the store's operations", metrics.took.clone());
        registry.register("etcd_requests", "The store's operations", metrics.requests.clone());
        registry.register("etcd_request_errors", "The store's operations that failed", metrics.errors.clone());
        metrics
    }

    /// Counts an operation on the folder of a kind.
    pub fn request(&self, operation: &'static str, folder: String, took: Duration, failed: bool) {
        let labels = StoreLabels { operation, r#type: folder };
        self.took.get_or_create(&labels).observe(took.as_secs_f64());
        self.requests.get_or_create(&labels).inc();
        if failed {
            self.errors.get_or_create(&labels).inc();
        }
    }
}

/// Counted as long as it is there.
pub struct Present(Gauge);

impl Present {
    fn of(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// See the module.
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    durations: Family<DurationLabels, Histogram, fn() -> Histogram>,
    objects: Family<ObjectLabels, Gauge>,
    revision: Gauge,
    leads: Family<LeaseLabels, Gauge>,
    leaders: Mutex<Vec<(&'static str, Leads)>>,
    in_flight: Family<InFlightLabels, Gauge>,
    long_running: Family<LongRunningLabels, Gauge>,
    watch_events: Family<KindLabels, Counter>,
    authentication: Attempts,
    users: Family<UserLabels, Counter>,
    authorization: Attempts,
    refused_connections: Family<ReasonLabels, Counter>,
    memory: Gauge,
    files: Gauge,
    /// Seconds of processors. Locked so that no two requests for it add the same.
    processors: Mutex<Counter<f64, AtomicU64>>,
    pub store: StoreMetrics,
    pub webhooks: WebhookMetrics,
    pub flow: FlowMetrics,
}

impl Metrics {
    /// `audit`: what its log has done, where there is one.
    pub fn new(audit: Option<&audit::Counts>) -> Self {
        let mut registry = Registry::default();
        let requests = Family::default();
        let durations = Family::new_with_constructor((|| Histogram::new(BUCKETS)) as fn() -> Histogram);
        let (objects, revision) = (Family::default(), Gauge::default());
        let (leads, in_flight, long_running) = (Family::default(), Family::default(), Family::default());
        let (memory, files, started): (Gauge, Gauge, Gauge) = Default::default();
        started.set(Timestamp::now().as_second());
        registry.register(
            "apiserver_current_inflight_requests",
            "Requests that are worked on, streams and watches not counted",
            in_flight.clone(),
        );
        registry.register("apiserver_longrunning_requests", "Watches that are open", long_running.clone());
        registry.register("process_resident_memory_bytes", "Memory that the process has", memory.clone());
        registry.register("process_open_fds", "Files and sockets that the process has open", files.clone());
        registry.register("process_start_time_seconds", "Unix time at which the server was started", started);
        registry.register("apiserver_request", "Requests answered", requests.clone());
        registry.register("apiserver_request_duration_seconds", "Time until the head of the answer", durations.clone());
        registry.register("apiserver_storage_objects", "Objects stored", objects.clone());
        registry.register("apiserver_watch_cache_revision", "Newest store revision in the watch cache", revision.clone());
        registry.register("leader_election_master_status", "Whether this process holds the lease (1) or not (0)", leads.clone());
        let (watch_events, users, refused_connections) = (Family::default(), Family::default(), Family::default());
        let processors = Counter::<f64, AtomicU64>::default();
        registry.register("apiserver_watch_events", "Events sent to watches", watch_events.clone());
        registry.register("authenticated_user_requests", "Requests of users who are known", users.clone());
        let (count, took) = ("authentication_attempts", "authentication_duration_seconds");
        let authentication = Attempts::new(&mut registry, count, took, "finding out who asks");
        let (count, took) = ("authorization_attempts", "authorization_duration_seconds");
        let authorization = Attempts::new(&mut registry, count, took, "deciding whether he may");
        let refused = "Connections closed because there were too many, in all or from their address";
        registry.register("orknet_apiserver_connections_refused", refused, refused_connections.clone());
        registry.register("process_cpu_seconds", "Time of processors that the process has used", processors.clone());
        let store = StoreMetrics::new(&mut registry);
        let webhooks = WebhookMetrics::new(&mut registry);
        let flow = FlowMetrics::new(&mut registry);
        if let Some(counts) = audit {
            registry.register("apiserver_audit_event", "Events written to the audit log", counts.written.clone());
            registry.register("apiserver_audit_error", "Events that could not be written to the audit log", counts.failed.clone());
        }
        Self {
            registry,
            requests,
            durations,
            objects,
            revision,
            leads,
            leaders: Mutex::default(),
            in_flight,
            long_running,
            watch_events,
            authentication,
            users,
            authorization,
            refused_connections,
            memory,
            files,
            processors: Mutex::new(processors),
            store,
            webhooks,
            flow,
        }
    }

    /// Counts a request.
    pub fn request(&self, info: Option<&RequestInfo>, kinds: &Kinds, code: u16, took: Duration) {
        let path = info.and_then(|info| info.resource.as_ref());
        let kind = path.and_then(|path| kinds.find(&path.group, &path.version, &path.plural));
        let subresource = match (path, &kind) {
            (Some(path), Some(kind)) if kind.descriptor().subresources.contains(&&path.subresource[..]) => path.subresource.clone(),
            _ => String::new(),
        };
        let verb = info.map(|info| info.verb).unwrap_or_default().to_owned();
        let text = |part: fn(&orknet_resources::Descriptor) -> &'static str| {
            kind.as_ref().map(|kind| part(kind.descriptor())).unwrap_or_default().to_owned()
        };
        let resource = text(|names| names.plural);
        if verb != "watch" {
            self.durations.get_or_create(&DurationLabels { verb: verb.clone(), resource: resource.clone() }).observe(took.as_secs_f64());
        }
        let labels = RequestLabels {
            verb,
            group: text(|names| names.group),
            version: text(|names| names.version),
            resource,
            subresource,
            code: code.into(),
        };
        self.requests.get_or_create(&labels).inc();
    }

    /// Counts a request as worked on until what is answered is dropped.
    pub fn in_flight(&self, verb: &str) -> Present {
        let request_kind = if matches!(verb, "get" | "list" | "head") { "readOnly" } else { "mutating" };
        Present::of(&self.in_flight.get_or_create(&InFlightLabels { request_kind }))
    }

    /// Counts a watch as open until what is answered is dropped.
    pub fn watches(&self, names: &orknet_resources::Descriptor, scope: &'static str) -> Present {
        let labels = LongRunningLabels {
            verb: "WATCH",
            group: names.group,
            version: names.version,
            resource: names.plural,
            subresource: "",
            scope,
            component: "apiserver",
        };
        Present::of(&self.long_running.get_or_create(&labels))
    }

    /// Counts events that are sent to watches of a kind.
    pub fn watch_events(&self, names: &orknet_resources::Descriptor) -> Counter {
        let labels = KindLabels { group: names.group, version: names.version, kind: names.kind };
        self.watch_events.get_or_create(&labels).clone()
    }

    /// It was found out who asks (`None`: nobody), which took so long. Users are told apart as little as kube-apiserver does.
    pub fn authenticated(&self, username: Option<&str>, took: Duration) {
        self.authentication.ended(if username.is_some() { "success" } else { "failure" }, took);
        if let Some(username) = username {
            let username = match username {
                "admin" => "admin",
                "client" => "client",
                "kube_proxy" => "kube_proxy",
                address if address.contains('@') => "email_id",
                _ => "other",
            };
            self.users.get_or_create(&UserLabels { username }).inc();
        }
    }

    /// It was decided whether he may.
    pub fn authorized(&self, allowed: bool, took: Duration) {
        self.authorization.ended(if allowed { "allowed" } else { "denied" }, took);
    }

    /// A connection was closed because there were too many.
    pub fn connection_refused(&self, reason: &'static str) {
        self.refused_connections.get_or_create(&ReasonLabels { reason }).inc();
    }

    /// Tells no more of objects that are not served any longer.
    pub fn forget(&self, (group, plural): StoredAs) {
        self.objects.remove(&ObjectLabels { resource: crate::error::qualified(plural, group) });
    }

    /// Whom to ask whether this process holds a Lease of the control plane (or works without one), each time that somebody wants to know.
    pub fn ask_leader(&self, lease: &'static str, leads: impl Fn() -> bool + Send + Sync + 'static) {
        let mut leaders = self.leaders.lock();
        leaders.retain(|(other, _)| *other != lease);
        leaders.push((lease, Box::new(leads)));
    }

    /// Whether this process holds it now.
    pub fn is_leader(&self, lease: &'static str) -> bool {
        self.leaders.lock().iter().any(|(other, leads)| *other == lease && leads())
    }

    /// The answer to `/metrics`.
    pub fn scrape(&self, server: &Server) -> Response<Body> {
        let caches = &server.storage.caches;
        for ((group, plural), _) in server.kinds().stored() {
            let count = caches.of((group, plural)).map(|cache| cache.count()).unwrap_or_default();
            let labels = ObjectLabels { resource: crate::error::qualified(plural, group) };
            self.objects.get_or_create(&labels).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        self.revision.set(i64::try_from(caches.progress().revision).unwrap_or(i64::MAX));
        self.memory.set(resident_bytes().unwrap_or_default());
        self.files.set(std::fs::read_dir("/proc/self/fd").map_or(0, |open| i64::try_from(open.count()).unwrap_or(i64::MAX)));
        let processors = self.processors.lock();
        processors.inc_by((processor_seconds().unwrap_or_default() - processors.get()).max(0.0));
        drop(processors);
        // Last, and each time anew: what was true a while ago may be another's now.
        for (lease, leads) in &*self.leaders.lock() {
            self.leads.get_or_create(&LeaseLabels { name: lease }).set(leads().into());
        }
        let mut body = String::new();
        // Writing into a string cannot fail.
        let _ = text::encode(&mut body, &self.registry);
        let mut response = Response::new(Body::from(body));
        let media = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
        response.headers_mut().insert(CONTENT_TYPE, media);
        response
    }
}

/// Seconds of processors that the process has used.
fn processor_seconds() -> Option<f64> {
    let used = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).ok()?;
    Some(Duration::from(used).as_secs_f64())
}

/// The process's resident memory.
fn resident_bytes() -> Option<i64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let kibibytes = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.split_whitespace().next()?.parse::<i64>().ok()?;
    Some(kibibytes * 1024)
}

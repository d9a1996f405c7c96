//! Priority and fairness: who is let in now, who waits, who is told to come back. FlowSchemas say which priority level a request goes to
//! ([`schemas`]); levels share the server's seats ([`levels`]); within a level flows take fair turns ([`queues`]).
//! Source: Kubernetes, "API Priority and Fairness"; docs/how-to/load-and-fairness.md says what differs.

mod keep;
mod levels;
mod metrics;
mod queues;
mod schemas;
#[cfg(test)]
mod simulation;
mod work;

pub use keep::keep;
pub use metrics::FlowMetrics;

use super::request_info::RequestInfo;
use crate::cache::Caches;
use crate::config::Config;
use crate::error::ApiError;
use crate::kinds::StoredAs;
use crate::server::Server;
use http::{HeaderMap, HeaderName, HeaderValue};
use levels::{Bounds, Level, bounds, lend};
use metrics::Of;
use orknet_auth::Identity;
use orknet_resources::kinds::flow_schema::first;
use parking_lot::Mutex;
use queues::{Place, Queues, Ticket};
use schemas::Schema;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

const SCHEMAS: StoredAs = (first::GROUP, "flowschemas");
const LEVELS: StoredAs = (first::GROUP, "prioritylevelconfigurations");
/// Of the time that a request may take, the part that it may wait (one of so many), as with Kubernetes.
const WAITS: u32 = 4;

const SCHEMA_UID: HeaderName = HeaderName::from_static("x-kubernetes-pf-flowschema-uid");
const LEVEL_UID: HeaderName = HeaderName::from_static("x-kubernetes-pf-prioritylevel-uid");

/// The gate that requests go through. Cheap to clone.
#[derive(Clone)]
pub struct Flow(Arc<Gate>);

struct Gate {
    caches: Arc<Caches>,
    /// Seats of the whole server.
    total: u32,
    wait_limit: Duration,
    /// Differs from server to server: nobody can choose names that are dealt one's queues.
    hasher: RandomState,
    metrics: FlowMetrics,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Of the caches that the rest was made from.
    revisions: Option<[u64; 2]>,
    schemas: Arc<Vec<Schema>>,
    levels: BTreeMap<String, Running>,
    tickets: Ticket,
    /// Those who wait, each with the way to tell him.
    waiting: HashMap<Ticket, oneshot::Sender<Place>>,
}

/// A level that requests are in.
struct Running {
    level: Level,
    /// Its object is gone; it ends with its last request.
    gone: bool,
    bounds: Bounds,
    current: u32,
    queues: Queues,
    /// Most seats wanted since the last lending.
    peak: u32,
    /// The same, smoothed over lendings.
    demand: f64,
}

/// Which schema and level a request was found to be of: what its answer says in its head.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    schema: String,
    level: String,
}

impl Marks {
    pub fn write(&self, headers: &mut HeaderMap) {
        for (name, uid) in [(SCHEMA_UID, &self.schema), (LEVEL_UID, &self.level)] {
            if let Some(value) = HeaderValue::from_str(uid).ok().filter(|uid| !uid.is_empty()) {
                headers.insert(name, value);
            }
        }
    }
}

/// A place among those that are worked for, given back when dropped.
pub struct Seat {
    gate: Arc<Gate>,
    of: Of,
    /// `None`: of an exempt level.
    place: Option<Place>,
    since: Instant,
}

impl Flow {
    pub fn new(config: &Config, caches: Arc<Caches>, metrics: FlowMetrics) -> Self {
        let total = config.max_reads_in_flight.saturating_add(config.max_writes_in_flight);
        Self(Arc::new(Gate {
            caches,
            total: u32::try_from(total).unwrap_or(u32::MAX),
            wait_limit: config.request_timeout / WAITS,
            hasher: RandomState::new(),
            metrics,
            state: Mutex::default(),
        }))
    }

    /// Lets a request in, after a while perhaps; 429 where there is no room to wait, or it has waited long. Writes `marks` as soon as they are known.
    pub async fn enter(&self, server: &Server, who: &Identity, info: &RequestInfo, marks: &mut Option<Marks>) -> Result<Seat, ApiError> {
        let came = Instant::now();
        let schemas = self.0.refreshed();
        // There always is one.
        let Some(schema) = schemas::find(&schemas, who, info) else { return Err(ApiError::internal("no FlowSchema takes the request")) };
        let flow = self.0.hasher.hash_one((&schema.name, schema.flow(who, info)));
        let of = Of { flow_schema: schema.name.clone(), priority_level: schema.level.clone() };
        let wanted = work::seats(server, info);
        let arrived = self.0.arrive(&schema.uid, &of, flow, wanted, marks);
        let arrived = arrived.inspect_err(|reason| self.0.metrics.rejected(&of, reason, came.elapsed()));
        match arrived.map_err(|_| ApiError::too_many_requests())? {
            Arrival::In(place) => Ok(self.0.seat(of, place, came)),
            Arrival::Waits { ticket, queue, told } => {
                self.wait(of, Waiting { gate: &self.0, level: &schema.level, ticket, queue, told }, came).await
            }
        }
    }

    async fn wait(&self, of: Of, mut waiting: Waiting<'_>, came: Instant) -> Result<Seat, ApiError> {
        self.0.metrics.waits(&of, 1);
        let counted = Counted(|| self.0.metrics.waits(&of, -1));
        let told = tokio::time::timeout(self.0.wait_limit, &mut waiting.told).await;
        drop(counted);
        if let Ok(Ok(place)) = told {
            return Ok(self.0.seat(of, Some(place), came));
        }
        self.0.metrics.rejected(&of, "time-out", came.elapsed());
        Err(ApiError::too_many_requests())
    }

    /// Lends the levels each other's seats by what they wanted since the last time.
    pub fn lend(&self) {
        self.0.refreshed();
        let mut state = self.0.state.lock();
        for running in state.levels.values_mut() {
            let peak = f64::from(running.peak);
            // Follows what is wanted at once when it grows, and slowly when it falls.
            running.demand = peak.max(0.5 * running.demand + 0.5 * peak);
            let (in_use, wanted) = running.queues.demand();
            running.peak = in_use + wanted;
        }
        self.0.share(&mut state);
        self.0.dispatch(&mut state);
    }

    /// The schemas and whether the level of each is there, by name.
    pub fn has_level(&self, level: &str) -> bool {
        self.0.refreshed();
        self.0.state.lock().levels.get(level).is_some_and(|running| !running.gone)
    }
}

/// What became of a request that came.
enum Arrival {
    /// With a place, or none where that is not counted.
    In(Option<Place>),
    Waits {
        ticket: Ticket,
        queue: u32,
        told: oneshot::Receiver<Place>,
    },
}

/// A request that waits. Where it goes away, it leaves its queue, or gives the place back that it was just given.
struct Waiting<'a> {
    gate: &'a Gate,
    level: &'a str,
    ticket: Ticket,
    queue: u32,
    told: oneshot::Receiver<Place>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut state = self.gate.state.lock();
        if state.waiting.remove(&self.ticket).is_some() {
            if let Some(running) = state.levels.get_mut(self.level) {
                running.queues.leave(self.ticket, self.queue);
            }
        } else if let Ok(place) = self.told.try_recv()
            && let Some(running) = state.levels.get_mut(self.level)
        {
            running.queues.finish(place, 0.0);
        }
        // Whoever left may have been the one that all others waited for.
        self.gate.dispatch(&mut state);
    }
}

/// Calls when dropped.
struct Counted<F: Fn()>(F);

impl<F: Fn()> Drop for Counted<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let took = self.since.elapsed();
        self.gate.metrics.ends(&self.of, self.place.map_or(1, |place| place.seats), took);
        let Some(place) = self.place else { return };
        let mut state = self.gate.state.lock();
        if let Some(running) = state.levels.get_mut(&self.of.priority_level) {
            running.queues.finish(place, took.as_secs_f64());
            if running.gone && running.queues.is_idle() {
                state.levels.remove(&self.of.priority_level);
            }
        }
        self.gate.dispatch(&mut state);
    }
}

impl Gate {
    fn seat(self: &Arc<Self>, of: Of, place: Option<Place>, came: Instant) -> Seat {
        self.metrics.starts(&of, place.map_or(1, |place| place.seats), came.elapsed());
        Seat { gate: self.clone(), of, place, since: Instant::now() }
    }

    /// Lines a request up in its level; the failure is the reason.
    fn arrive(&self, schema: &str, of: &Of, flow: u64, seats: u32, marks: &mut Option<Marks>) -> Result<Arrival, &'static str> {
        let mut state = self.state.lock();
        let state = &mut *state;
        // The level can have gone since its schema was found; then the next try finds another.
        let Some(running) = state.levels.get_mut(&of.priority_level) else { return Err("cancelled") };
        *marks = Some(Marks { schema: schema.to_owned(), level: running.level.uid.clone() });
        if running.level.exempt {
            return Ok(Arrival::In(None));
        }
        state.tickets += 1;
        let (ticket, seats) = (state.tickets, seats.min(running.bounds.most_seats()));
        let arrived = running.queues.arrive(ticket, flow, seats);
        let (in_use, wanted) = running.queues.demand();
        running.peak = running.peak.max(in_use + wanted);
        let (queue, _) = arrived.map_err(queues::Refused::reason)?;
        let (tell, mut told) = oneshot::channel();
        state.waiting.insert(ticket, tell);
        self.dispatch(state);
        Ok(match told.try_recv() {
            Ok(place) => Arrival::In(Some(place)),
            Err(_) => Arrival::Waits { ticket, queue, told },
        })
    }

    /// Starts whoever may start.
    fn dispatch(&self, state: &mut State) {
        for running in state.levels.values_mut() {
            while let Some((ticket, place)) = running.queues.next() {
                let told = state.waiting.remove(&ticket).map(|tell| tell.send(place));
                // Nobody is there any more. Cannot be: who goes away leaves his queue first.
                if !matches!(told, Some(Ok(()))) {
                    running.queues.finish(place, 0.0);
                }
            }
        }
    }

    /// The schemas as the caches have them now, with levels to match.
    fn refreshed(&self) -> Arc<Vec<Schema>> {
        let revisions = [SCHEMAS, LEVELS].map(|kind| self.caches.of(kind).map(|cache| cache.revision()).unwrap_or_default());
        let mut state = self.state.lock();
        if state.revisions != Some(revisions) {
            state.revisions = Some(revisions);
            self.refresh(&mut state);
        }
        state.schemas.clone()
    }

    fn refresh(&self, state: &mut State) {
        let mut levels: BTreeMap<String, Level> =
            objects(&self.caches, LEVELS).into_iter().filter_map(Level::of).map(|level| (level.name.clone(), level)).collect();
        let mut schemas: Vec<Schema> = objects(&self.caches, SCHEMAS).into_iter().filter_map(Schema::of).collect();
        // What must be there is thought to be where it is not.
        for (_, plural, object) in
            first::all().into_iter().filter(|(_, _, object)| first::MANDATORY.iter().any(|name| object["metadata"]["name"] == *name))
        {
            if plural == LEVELS.1 {
                if let Some(level) = read(object).and_then(Level::of) {
                    levels.entry(level.name.clone()).or_insert(level);
                }
            } else if let Some(schema) = read(object).and_then(Schema::of)
                && !schemas.iter().any(|there| there.name == schema.name)
            {
                schemas.push(schema);
            }
        }
        schemas.retain(|schema| levels.contains_key(&schema.level));
        schemas::sort(&mut schemas);
        state.schemas = Arc::new(schemas);
        for (name, running) in &mut state.levels {
            running.gone = !levels.contains_key(name);
            if running.gone {
                self.metrics.forget(name);
            }
        }
        state.levels.retain(|_, running| !(running.gone && running.queues.is_idle()));
        for (name, level) in levels {
            match state.levels.get_mut(&name) {
                Some(running) => running.level = level,
                None => {
                    let running = Running {
                        queues: Queues::new(level.shape, 0),
                        level,
                        gone: false,
                        bounds: Bounds::default(),
                        current: 0,
                        peak: 0,
                        demand: 0.0,
                    };
                    state.levels.insert(name, running);
                }
            }
        }
        self.share(state);
        self.dispatch(state);
    }

    /// Gives the levels their seats.
    fn share(&self, state: &mut State) {
        let levels: Vec<Level> = state.levels.values().map(|running| running.level.clone()).collect();
        let bounds = bounds(self.total, &levels);
        let demands: Vec<(Bounds, f64)> = bounds.iter().copied().zip(state.levels.values().map(|running| running.demand)).collect();
        for ((running, bounds), current) in state.levels.values_mut().zip(bounds).zip(lend(self.total, &demands)) {
            (running.bounds, running.current) = (bounds, current);
            running.queues.set(running.level.shape, current);
            if !running.level.exempt && !running.gone {
                self.metrics.limits(&running.level.name, bounds, current);
            }
        }
    }
}

/// Objects that cannot be read are passed over.
fn objects<T: DeserializeOwned>(caches: &Caches, kind: StoredAs) -> Vec<T> {
    caches.values(kind).into_iter().filter_map(read).collect()
}

fn read<T: DeserializeOwned>(object: Value) -> Option<T> {
    serde_json::from_value(object).ok()
}

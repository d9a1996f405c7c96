//! What is counted about priority and fairness, in the names of kube-apiserver. Labels are names of objects that administrators make.

use super::levels::Bounds;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use std::time::Duration;

/// Upper bounds of the duration buckets, in seconds (those of Kubernetes).
const BUCKETS: [f64; 14] = [0.0, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0];

/// Of which schema and level.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct Of {
    pub flow_schema: String,
    pub priority_level: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Rejected {
    flow_schema: String,
    priority_level: String,
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Waited {
    flow_schema: String,
    priority_level: String,
    execute: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct LevelLabel {
    priority_level: String,
}

type Durations<L> = Family<L, Histogram, fn() -> Histogram>;

/// See the module. Cheap to clone; clones count together.
#[derive(Clone)]
pub struct FlowMetrics {
    rejected: Family<Rejected, Counter>,
    dispatched: Family<Of, Counter>,
    waiting: Family<Of, Gauge>,
    working: Family<Of, Gauge>,
    seats: Family<Of, Gauge>,
    waits: Durations<Waited>,
    works: Durations<Of>,
    limits: [(&'static str, Family<LevelLabel, Gauge>); 4],
}

impl FlowMetrics {
    pub fn new(registry: &mut Registry) -> Self {
        let histogram = || (|| Histogram::new(BUCKETS)) as fn() -> Histogram;
        let (waits, works) = (Family::new_with_constructor(histogram()), Family::new_with_constructor(histogram()));
        let limits = ["nominal", "lower", "upper", "current"].map(|name| (name, Family::default()));
        let metrics = Self {
            rejected: Family::default(),
            dispatched: Family::default(),
            waiting: Family::default(),
            working: Family::default(),
            seats: Family::default(),
            waits,
            works,
            limits,
        };
        let name = |rest: &str| format!("apiserver_flowcontrol_{rest}");
        registry.register(name("rejected_requests"), "Requests refused by priority and fairness", metrics.rejected.clone());
        registry.register(name("dispatched_requests"), "Requests let in", metrics.dispatched.clone());
        registry.register(name("current_inqueue_requests"), "Requests waiting", metrics.waiting.clone());
        registry.register(name("current_executing_requests"), "Requests let in that have not ended", metrics.working.clone());
        registry.register(name("current_executing_seats"), "Seats in use", metrics.seats.clone());
        registry.register(name("request_wait_duration_seconds"), "Time in a queue", metrics.waits.clone());
        registry.register(name("request_execution_seconds"), "Time from being let in to the end", metrics.works.clone());
        for (which, family) in &metrics.limits {
            registry.register(name(&format!("{which}_limit_seats")), "Seats of the level", family.clone());
        }
        metrics
    }

    pub fn rejected(&self, of: &Of, reason: &'static str, waited: Duration) {
        let Of { flow_schema, priority_level } = of.clone();
        self.rejected.get_or_create(&Rejected { flow_schema, priority_level, reason }).inc();
        self.waited(of, "false", waited);
    }

    pub fn waits(&self, of: &Of, by: i64) {
        self.waiting.get_or_create(of).inc_by(by);
    }

    pub fn starts(&self, of: &Of, seats: u32, waited: Duration) {
        self.dispatched.get_or_create(of).inc();
        self.working.get_or_create(of).inc();
        self.seats.get_or_create(of).inc_by(seats.into());
        self.waited(of, "true", waited);
    }

    pub fn ends(&self, of: &Of, seats: u32, took: Duration) {
        self.working.get_or_create(of).dec();
        self.seats.get_or_create(of).dec_by(seats.into());
        self.works.get_or_create(of).observe(took.as_secs_f64());
    }

    pub fn limits(&self, level: &str, bounds: Bounds, current: u32) {
        for ((_, family), seats) in self.limits.iter().zip([bounds.nominal, bounds.lower, bounds.upper, current]) {
            family.get_or_create(&LevelLabel { priority_level: level.to_owned() }).set(seats.into());
        }
    }

    /// Tells no more of a level that is gone.
    pub fn forget(&self, level: &str) {
        for (_, family) in &self.limits {
            family.remove(&LevelLabel { priority_level: level.to_owned() });
        }
    }

    fn waited(&self, of: &Of, execute: &'static str, waited: Duration) {
        let Of { flow_schema, priority_level } = of.clone();
        self.waits.get_or_create(&Waited { flow_schema, priority_level, execute }).observe(waited.as_secs_f64());
    }
}

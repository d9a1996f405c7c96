//! Numbers for Prometheus. Counters of the kernel are read when they are asked for.

use crate::dataplane::Dataplane;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, text};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use std::fmt;
use std::sync::Arc;

/// What the agent itself counts.
#[derive(Debug)]
pub struct Metrics {
    /// Seconds from a watch event to its change in the maps.
    pub programming: Histogram,
    pub steps: Counter,
    pub failures: Counter,
    pub repairs: Counter,
    pub services: Gauge,
    pub attachments: Gauge,
    /// 1 if the maps hold what the cluster wants.
    pub synced: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            // 50 µs to 26 s.
            programming: Histogram::new(exponential_buckets(0.000_05, 2.0, 20)),
            steps: Counter::default(),
            failures: Counter::default(),
            repairs: Counter::default(),
            services: Gauge::default(),
            attachments: Gauge::default(),
            synced: Gauge::default(),
        }
    }
}

/// Everything in the text format. Reads the maps: blocks for some tens of milliseconds when they are large.
pub fn render(metrics: &Metrics, dataplane: Arc<dyn Dataplane>) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("orknet");
    let own = [
        ("plan_steps", "Writes to the maps", metrics.steps.clone()),
        ("plan_failures", "Writes to the maps that failed", metrics.failures.clone()),
        ("map_repairs", "Times that the maps differed from what had been written", metrics.repairs.clone()),
    ];
    for (name, help, counter) in own {
        registry.register(name, help, counter);
    }
    registry.register("programming_seconds", "Time from a watch event to its change in the maps", metrics.programming.clone());
    registry.register("services", "Services with entries in the maps", metrics.services.clone());
    registry.register("attachments", "Pods of this node", metrics.attachments.clone());
    registry.register("synced", "Whether the maps hold what the cluster wants", metrics.synced.clone());
    registry.register_collector(Box::new(Kernel(dataplane)));
    let mut text = String::new();
    text::encode(&mut text, &registry)?;
    Ok(text)
}

/// What the kernel counts. What cannot be read is left out and logged.
struct Kernel(Arc<dyn Dataplane>);

impl fmt::Debug for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Kernel")
    }
}

impl Collector for Kernel {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        match self.0.drops() {
            Ok(drops) => {
                let packets = drops.iter().map(|(reason, count)| (reason.name(), ConstCounter::new(count.packets)));
                family(&mut encoder, "drops", "Packets and calls that were not let through", "reason", packets)?;
            }
            Err(failure) => tracing::warn!(%failure, "cannot read the drop counters"),
        }
        match self.0.maps() {
            Ok(maps) => {
                let entries = maps.iter().map(|map| (map.name, ConstGauge::new(i64::from(map.entries))));
                family(&mut encoder, "map_entries", "Entries of a map", "map", entries)?;
                let capacities = maps.iter().map(|map| (map.name, ConstGauge::new(i64::from(map.capacity))));
                family(&mut encoder, "map_capacity", "Entries that a map can hold", "map", capacities)?;
            }
            Err(failure) => tracing::warn!(%failure, "cannot read the size of the maps"),
        }
        Ok(())
    }
}

fn family<'a, M: EncodeMetric>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    label: &str,
    metrics: impl Iterator<Item = (&'a str, M)>,
) -> fmt::Result {
    let mut metrics = metrics.peekable();
    let Some((_, first)) = metrics.peek() else { return Ok(()) };
    let mut descriptor = encoder.encode_descriptor(name, help, None, first.metric_type())?;
    for (value, metric) in metrics {
        metric.encode(descriptor.encode_family(&[(label, value)])?)?;
    }
    Ok(())
}

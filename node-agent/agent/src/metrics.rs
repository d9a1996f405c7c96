//! Numbers for Prometheus. Counters of the kernel are read when they are asked for.

use crate::dataplane::Dataplane;
use crate::degraded::Troubles;
use crate::monitor::RuleName;
use crate::room::Missing;
use orknet_abi::{MAPS, protocol};
use orknet_dataplane::{EndedSockets, Swept, TroubleKind, Untold};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Rules that have series of their own.
const RULE_SERIES: usize = 2_000;

/// What the agent itself counts.
#[derive(Debug)]
pub struct Metrics {
    /// Seconds from a watch event to its change in the maps.
    pub programming: Histogram,
    /// The same of policies, and of the pods, namespaces and nodes that they speak of.
    pub policy_programming: Histogram,
    pub steps: Counter,
    pub failures: Counter,
    pub repairs: Counter,
    pub services: Gauge,
    pub attachments: Gauge,
    /// 1 if the maps hold what the cluster wants.
    pub synced: Gauge,
    /// Flows at the end of the last pass, by protocol.
    flows: Family<Label, Gauge>,
    /// Flows that were removed or marked, by reason.
    flows_ended: Family<Label, Counter>,
    /// Sockets that were ended because their backend was gone, by protocol.
    sockets_ended: Family<Label, Counter>,
    /// Seconds of work of one pass over the flows.
    flow_sweep: Histogram,
    /// Entries that do not fit, by map.
    missing: Family<Label, Gauge>,
    /// 1 for a map that forgets what is still in use, or soon will.
    pressed: Family<Label, Gauge>,
    /// Devices with which something is wrong, by what.
    troubles: Family<Label, Gauge>,
}

/// One label, name and value.
type Label = [(&'static str, &'static str); 1];

impl Metrics {
    /// Takes note of a pass over the flows.
    pub fn count_flows(&self, swept: &Swept) {
        for name in PROTOCOLS.map(|(name, _)| name).into_iter().chain([OTHER]) {
            let flows: u64 = swept.flows.iter().filter(|(number, _)| protocol_name(**number) == name).map(|(_, flows)| flows).sum();
            self.flows.get_or_create(&[("protocol", name)]).set(i64::try_from(flows).unwrap_or(i64::MAX));
        }
        for (reason, flows) in [("expired", swept.expired), ("backend-gone", swept.gone), ("half", swept.halves)] {
            self.flows_ended.get_or_create(&[("reason", reason)]).inc_by(flows);
        }
        self.flow_sweep.observe(swept.took.as_secs_f64());
    }

    /// Takes note of flows, by their entries, of addresses that another pod has now.
    pub fn count_purged(&self, entries: u64) {
        self.flows_ended.get_or_create(&[("reason", "address-reused")]).inc_by(entries / 2);
    }

    /// Takes note of what does not fit into the maps.
    pub fn count_missing(&self, full: &BTreeMap<&'static str, Missing>) {
        for map in MAPS.iter().filter(|map| !map.kind.forgets() && !map.kind.is_per_cpu()) {
            let entries = full.get(map.name).map_or(0, |missing| missing.entries);
            self.missing.get_or_create(&[("map", map.name)]).set(i64::try_from(entries).unwrap_or(i64::MAX));
        }
    }

    /// Takes note of what is wrong with devices.
    pub fn count_troubles(&self, troubles: &Troubles) {
        for kind in TroubleKind::ALL {
            let devices = troubles.values().filter(|trouble| trouble.kind == kind).count();
            self.troubles.get_or_create(&[("reason", kind.name())]).set(i64::try_from(devices).unwrap_or(i64::MAX));
        }
    }

    /// Takes note of whether a map is nearly full.
    pub fn note_pressure(&self, map: &'static str, is_pressed: bool) {
        self.pressed.get_or_create(&[("map", map)]).set(i64::from(is_pressed));
    }

    /// Takes note of sockets that were ended.
    pub fn count_sockets(&self, ended: EndedSockets) {
        for (protocol, sockets) in [("udp", ended.udp), ("tcp", ended.tcp)] {
            self.sockets_ended.get_or_create(&[("protocol", protocol)]).inc_by(sockets);
        }
    }
}

/// Protocols without ports.
const OTHER: &str = "other";
/// Protocols of flows by name; all others are [`OTHER`].
const PROTOCOLS: [(&str, &[u8]); 4] =
    [("tcp", &[protocol::TCP]), ("udp", &[protocol::UDP]), ("sctp", &[protocol::SCTP]), ("icmp", &[protocol::ICMP, protocol::ICMP6])];

fn protocol_name(number: u8) -> &'static str {
    PROTOCOLS.iter().find(|(_, numbers)| numbers.contains(&number)).map_or(OTHER, |(name, _)| name)
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            // 50 µs to 26 s.
            programming: Histogram::new(exponential_buckets(0.000_05, 2.0, 20)),
            policy_programming: Histogram::new(exponential_buckets(0.000_05, 2.0, 20)),
            steps: Counter::default(),
            failures: Counter::default(),
            repairs: Counter::default(),
            services: Gauge::default(),
            attachments: Gauge::default(),
            synced: Gauge::default(),
            flows: Family::default(),
            flows_ended: Family::default(),
            sockets_ended: Family::default(),
            missing: Family::default(),
            pressed: Family::default(),
            troubles: Family::default(),
            // 10 µs to 5 s.
            flow_sweep: Histogram::new(exponential_buckets(0.000_01, 2.0, 20)),
        }
    }
}

/// Everything in the text format; rules are those that the maps have by number. Reads the maps: blocks for some tens of milliseconds when they
/// are large.
pub fn render(metrics: &Metrics, dataplane: Arc<dyn Dataplane>, rules: BTreeMap<u32, RuleName>) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("orknet");
    let own = [
        ("plan_steps", "Writes to the maps", metrics.steps.clone()),
        ("plan_failures", "Writes to the maps that failed", metrics.failures.clone()),
        ("map_repairs", "Times that the maps differed from what had been written", metrics.repairs.clone()),
    ];
    for (name, help, counter) in own {
        registry.register(name, help, counter);
    }
    let help = "Time from a watch event of a Service or its endpoints to its change in the maps";
    registry.register("programming_seconds", help, metrics.programming.clone());
    let help = "Time from a watch event of a policy, pod, namespace or node to its change in the maps";
    registry.register("policy_programming_seconds", help, metrics.policy_programming.clone());
    registry.register("services", "Services with entries in the maps", metrics.services.clone());
    registry.register("attachments", "Pods of this node", metrics.attachments.clone());
    registry.register("synced", "Whether the maps hold what the cluster wants", metrics.synced.clone());
    registry.register("flows", "Flows that packets are translated for, at the last pass over them", metrics.flows.clone());
    registry.register("flows_ended", "Flows that were removed, or marked because their backend was gone", metrics.flows_ended.clone());
    registry.register("sockets_ended", "Sockets that were ended because their backend was gone", metrics.sockets_ended.clone());
    registry.register("map_missing", "Entries that should be in a map and do not fit", metrics.missing.clone());
    registry.register("map_pressed", "Whether a map that is written by programs is nearly full", metrics.pressed.clone());
    let help = "Devices to the network that do not do what the configuration wants of them";
    registry.register("device_troubles", help, metrics.troubles.clone());
    registry.register("flow_sweep_seconds", "Work of a pass over the flows", metrics.flow_sweep.clone());
    registry.register_collector(Box::new(Kernel { dataplane, rules }));
    let mut text = String::new();
    text::encode(&mut text, &registry)?;
    Ok(text)
}

/// What the kernel counts. What cannot be read is left out and logged.
struct Kernel {
    dataplane: Arc<dyn Dataplane>,
    /// Of policies, by their numbers.
    rules: BTreeMap<u32, RuleName>,
}

impl fmt::Debug for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Kernel")
    }
}

impl Collector for Kernel {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        match self.dataplane.drops() {
            Ok(drops) => {
                let packets = drops.iter().map(|(reason, count)| (reason.name(), ConstCounter::new(count.packets)));
                family(&mut encoder, "drops", "Packets and calls that were not let through", "reason", packets)?;
            }
            Err(failure) => tracing::warn!(%failure, "cannot read the drop counters"),
        }
        match self.dataplane.left() {
            Ok(left) => {
                let frames = left.iter().map(|(reason, count)| (reason.name(), ConstCounter::new(count.packets)));
                let help = "Frames from the wire that could have gone on at once but were left to the stack";
                family(&mut encoder, "wire_left", help, "reason", frames)?;
            }
            Err(failure) => tracing::warn!(%failure, "cannot read the counters of frames that were left to the stack"),
        }
        match self.dataplane.rule_counts() {
            Ok(counts) => {
                let named = counts.iter().filter_map(|(number, count)| Some((self.rules.get(number)?, count.packets)));
                let mut named: Vec<_> = named.collect();
                let unlisted = named.len().saturating_sub(RULE_SERIES);
                // Whoever writes policies must not be able to fill the memory of whoever reads these.
                named.sort_by_key(|(_, packets)| std::cmp::Reverse(*packets));
                named.truncate(RULE_SERIES);
                let help = "Connections that a rule of a policy let through, packets that it refused";
                // Named also while no policy selects a pod of this node.
                let mut descriptor = encoder.encode_descriptor("policy_rule_hits", help, None, MetricType::Counter)?;
                for (rule, packets) in named {
                    ConstCounter::new(packets).encode(descriptor.encode_family(&rule.labels())?)?;
                }
                let help = "Rules of policies without a series of their own: those that were used least";
                let descriptor = encoder.encode_descriptor("policy_rules_unlisted", help, None, MetricType::Gauge)?;
                ConstGauge::new(unlisted as i64).encode(descriptor)?;
            }
            Err(failure) => tracing::warn!(%failure, "cannot read the counters of rules"),
        }
        match self.dataplane.untold_events() {
            Ok(Untold { rate, full }) => {
                let lost = [("rate", rate), ("full", full)].map(|(reason, events)| (reason, ConstCounter::new(events)));
                let help = "Events that programs did not tell: more than they are to tell, or more than was read";
                family(&mut encoder, "events_lost", help, "reason", lost.into_iter())?;
            }
            Err(failure) => tracing::warn!(%failure, "cannot read how many events were lost"),
        }
        match self.dataplane.maps() {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flow_is_counted_with_its_protocol_or_with_the_others() {
        const GRE: u8 = 47;
        let metrics = Metrics::default();
        let flows = [(protocol::TCP, 1), (protocol::ICMP, 2), (protocol::ICMP6, 4), (GRE, 8), (0, 16)];
        metrics.count_flows(&Swept { flows: flows.into(), ..Swept::default() });
        let count = |name| metrics.flows.get_or_create(&[("protocol", name)]).get();
        assert_eq!(["tcp", "udp", "sctp", "icmp", "other"].map(count), [1, 0, 0, 6, 24]);
    }
}

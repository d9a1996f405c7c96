//! The last two samples of each node, and usage out of them by the rules of metrics-server: processor time over the time between the two, memory of the
//! newer. What has one sample has no usage yet, but for a container that just began: it began at nothing. Pure.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use orknet_resources::kinds::metrics::ContainerMetrics;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// A container that began less than this before its first sample says too little, in nanoseconds.
const FRESH: u64 = 10_000_000_000;

/// Suffixes from a thousandth of a thousandth of a thousandth up.
const DECIMAL: [&str; 4] = ["n", "u", "m", ""];
const BINARY: [&str; 5] = ["", "Ki", "Mi", "Gi", "Ti"];

/// Counters of a node or a container at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counters {
    /// When it began, nanoseconds since 1970; 0: not known.
    pub started: u64,
    /// When it was read, nanoseconds since 1970.
    pub at: u64,
    /// Processor time since it began, nanoseconds.
    pub cpu: u64,
    /// Bytes.
    pub memory: u64,
}

/// By namespace and name.
pub type PodKey = (String, String);

/// What a kubelet told at one time.
#[derive(Debug, Default)]
pub struct NodeSample {
    pub node: Option<Counters>,
    pub pods: HashMap<PodKey, PodSample>,
}

#[derive(Debug)]
pub struct PodSample {
    pub uid: String,
    pub containers: BTreeMap<String, Counters>,
}

/// Usage over a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// The end of that time, nanoseconds since 1970.
    pub at: u64,
    /// Its length in nanoseconds.
    pub window: u64,
    /// Billionths of a CPU.
    pub cpu: u64,
    /// Bytes.
    pub memory: u64,
}

struct PodUsage {
    uid: String,
    containers: BTreeMap<String, (Counters, Option<Counters>)>,
}

/// All nodes, and the pods by themselves. The older sample is the second of each pair.
#[derive(Default)]
pub struct Samples {
    nodes: HashMap<String, (Counters, Option<Counters>)>,
    pods: HashMap<PodKey, PodUsage>,
}

impl Samples {
    /// Takes in what was scraped in one round: as with metrics-server, what is not told of any more is forgotten, a node that does not answer with its
    /// pods. `interval`: time between rounds.
    pub fn store(&mut self, round: Vec<(String, NodeSample)>, interval: Duration) {
        let interval = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
        let (mut nodes, mut pods) = (HashMap::new(), HashMap::new());
        for (name, sample) in round {
            if let Some(new) = sample.node {
                let before = self.nodes.get(&name).and_then(|(last, before)| older(new, *last, *before));
                nodes.insert(name, (new, before));
            }
            for (key, pod) in sample.pods {
                let known = self.pods.get(&key);
                let containers = pod.containers.into_iter().map(|(name, new)| {
                    let before = match known.and_then(|known| known.containers.get(&name)) {
                        Some((last, before)) => older(new, *last, *before),
                        None => {
                            let age = new.at.saturating_sub(new.started);
                            let is_fresh = new.started > 0 && age >= FRESH && age < interval.max(FRESH + 1);
                            is_fresh.then_some(Counters { at: new.started, cpu: 0, ..new })
                        }
                    };
                    (name, (new, before))
                });
                pods.insert(key, PodUsage { uid: pod.uid, containers: containers.collect() });
            }
        }
        (self.nodes, self.pods) = (nodes, pods);
    }

    /// A node's usage.
    pub fn node(&self, name: &str) -> Option<Usage> {
        let (last, before) = self.nodes.get(name)?;
        usage(*last, (*before)?)
    }

    /// Whether anything is known of a pod of this name.
    pub fn has_pod(&self, namespace: &str, name: &str) -> bool {
        self.pods.contains_key(&(namespace.to_owned(), name.to_owned()))
    }

    /// The usage of a pod's containers, all or none, with its time and the window that ended then (nanoseconds): those of the container that was read first.
    pub fn pod(&self, namespace: &str, name: &str, uid: &str) -> Option<(u64, u64, Vec<ContainerMetrics>)> {
        let pod = self.pods.get(&(namespace.to_owned(), name.to_owned())).filter(|pod| pod.uid == uid)?;
        let usages = pod.containers.iter().map(|(name, (last, before))| Some((name, usage(*last, (*before)?)?)));
        let usages: Vec<_> = usages.collect::<Option<_>>()?;
        let first = usages.iter().map(|(_, usage)| usage).min_by_key(|usage| usage.at)?;
        let containers = usages.iter().map(|(name, usage)| ContainerMetrics { name: (*name).clone(), usage: usage.amounts() });
        Some((first.at, first.window, containers.collect()))
    }
}

/// The older of the two samples to keep beside a new one: the last, if it is of the same run and older.
fn older(new: Counters, last: Counters, before: Option<Counters>) -> Option<Counters> {
    if new.started > last.at {
        // Begun anew since: what was used before is another's.
        return None;
    }
    if new.at > last.at { Some(last) } else { before }
}

fn usage(last: Counters, before: Counters) -> Option<Usage> {
    let window = last.at.checked_sub(before.at).filter(|window| *window > 0)?;
    let cpu = u128::from(last.cpu.checked_sub(before.cpu)?) * 1_000_000_000 / u128::from(window);
    Some(Usage { at: last.at, window, cpu: u64::try_from(cpu).ok()?, memory: last.memory })
}

impl Usage {
    /// As the API has it.
    pub fn amounts(&self) -> BTreeMap<String, Quantity> {
        let amount = |number, factor, suffixes| Quantity(spelled(number, factor, suffixes));
        BTreeMap::from([
            ("cpu".to_owned(), amount(self.cpu, 1000, &DECIMAL[..])),
            ("memory".to_owned(), amount(self.memory, 1024, &BINARY[..])),
        ])
    }
}

/// The number with the largest suffix that leaves it whole.
fn spelled(mut number: u64, factor: u64, suffixes: &[&str]) -> String {
    let mut at = 0;
    while number > 0 && number.is_multiple_of(factor) && at + 1 < suffixes.len() {
        (number, at) = (number / factor, at + 1);
    }
    let suffix = if number == 0 { "" } else { suffixes.get(at).copied().unwrap_or_default() };
    format!("{number}{suffix}")
}

/// Metadata of what is made for an object: its name, namespace and labels, and now as its time of creation.
pub fn metadata(of: &ObjectMeta, now: i64) -> ObjectMeta {
    ObjectMeta {
        name: of.name.clone(),
        namespace: of.namespace.clone(),
        labels: of.labels.clone(),
        creation_timestamp: Timestamp::from_second(now).ok().map(Time),
        ..ObjectMeta::default()
    }
}

/// Seconds suffice the API.
pub fn time(nanoseconds: u64) -> Time {
    Time(Timestamp::from_second(i64::try_from(nanoseconds / 1_000_000_000).unwrap_or_default()).unwrap_or_default())
}

/// A window as `metav1.Duration` spells it, in milliseconds: `15s`, `14.982s`, `1m5.5s`.
pub fn window(nanoseconds: u64) -> String {
    let milliseconds = nanoseconds / 1_000_000;
    let (minutes, rest) = (milliseconds / 60_000, milliseconds % 60_000);
    let mut seconds = format!("{}.{:03}", rest / 1000, rest % 1000);
    seconds.truncate(seconds.trim_end_matches('0').trim_end_matches('.').len());
    match (minutes / 60, minutes % 60) {
        (0, 0) => format!("{seconds}s"),
        (0, minutes) => format!("{minutes}m{seconds}s"),
        (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const ROUND: Duration = Duration::from_secs(15);

    fn counters(at: u64, cpu: u64) -> Counters {
        Counters { started: SECOND, at: at * SECOND, cpu: cpu * SECOND, memory: 2048 }
    }

    fn round(at: u64, cpu: u64, containers: &[(&str, Counters)]) -> Vec<(String, NodeSample)> {
        let containers = containers.iter().map(|(name, counters)| ((*name).to_owned(), *counters)).collect();
        let pod = PodSample { uid: "u".into(), containers };
        let pods = HashMap::from([(("n".to_owned(), "p".to_owned()), pod)]);
        vec![("node".to_owned(), NodeSample { node: Some(counters(at, cpu)), pods })]
    }

    fn cpus(samples: &Samples) -> Option<Vec<String>> {
        let (_, _, containers) = samples.pod("n", "p", "u")?;
        Some(containers.iter().map(|container| container.usage["cpu"].0.clone()).collect())
    }

    #[test]
    fn usage_is_over_the_time_between_two_samples() {
        let mut samples = Samples::default();
        samples.store(round(100, 7, &[("c", counters(100, 1))]), ROUND);
        assert_eq!((samples.node("node"), cpus(&samples)), (None, None));
        samples.store(round(110, 12, &[("c", counters(110, 2))]), ROUND);
        let used = Usage { at: 110 * SECOND, window: 10 * SECOND, cpu: SECOND / 2, memory: 2048 };
        assert_eq!(samples.node("node"), Some(used));
        assert_eq!(cpus(&samples), Some(vec!["100m".to_owned()]));
        assert!(samples.pod("n", "p", "another").is_none(), "a pod of the same name");
        // The same sample again is no new one.
        samples.store(round(110, 12, &[("c", counters(110, 2))]), ROUND);
        assert_eq!(samples.node("node"), Some(used));
        samples.store(Vec::new(), ROUND);
        assert_eq!((samples.node("node"), samples.has_pod("n", "p")), (None, false), "it did not answer");
    }

    #[test]
    fn what_begins_anew_is_measured_anew() {
        let mut samples = Samples::default();
        samples.store(round(100, 7, &[("c", counters(100, 5))]), ROUND);
        let again = Counters { started: 105 * SECOND, ..counters(110, 1) };
        samples.store(round(110, 8, &[("c", again)]), ROUND);
        assert_eq!(cpus(&samples), None);
        let further = Counters { started: 105 * SECOND, ..counters(120, 3) };
        samples.store(round(120, 8, &[("c", further)]), ROUND);
        assert_eq!(cpus(&samples), Some(vec!["200m".to_owned()]));
    }

    #[test]
    fn a_container_that_just_began_began_at_nothing_and_a_pod_is_whole_or_unknown() {
        let fresh = |age: u64| Counters { started: (100 - age) * SECOND, ..counters(100, 6) };
        for (age, known) in [(9, None), (12, Some(vec!["500m".to_owned()])), (15, None), (90, None)] {
            let mut samples = Samples::default();
            samples.store(round(100, 7, &[("c", fresh(age))]), ROUND);
            assert_eq!(cpus(&samples), known, "{age}");
        }
        let mut samples = Samples::default();
        samples.store(round(100, 7, &[("a", counters(100, 1))]), ROUND);
        samples.store(round(110, 7, &[("a", counters(110, 2)), ("b", counters(110, 1))]), ROUND);
        assert_eq!(cpus(&samples), None);
    }

    #[test]
    fn amounts_and_windows_are_spelled_as_kubernetes_does() {
        let decimal = |number| spelled(number, 1000, &DECIMAL);
        assert_eq!([0, 7, 1500, 2000, 156_340_000, 3 * SECOND].map(decimal), ["0", "7n", "1500n", "2u", "156340u", "3"]);
        assert_eq!([0, 1000, 4096, 3 << 20].map(|bytes| spelled(bytes, 1024, &BINARY)), ["0", "1000", "4Ki", "3Mi"]);
        let windows = [15 * SECOND, 14_982 * SECOND / 1000, 65_500 * SECOND / 1000, 3600 * SECOND].map(window);
        assert_eq!(windows, ["15s", "14.982s", "1m5.5s", "1h0m0s"]);
    }
}

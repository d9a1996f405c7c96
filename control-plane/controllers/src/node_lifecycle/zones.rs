//! Pure: how fast nodes that are lost may have their pods driven away. When most nodes of a zone are lost at once it is more likely cut off
//! than dead, and its pods would find no room elsewhere. States of zones and numbers are those of kube-controller-manager's defaults
//! (`--node-eviction-rate`, `--secondary-node-eviction-rate`, `--unhealthy-zone-threshold`, `--large-cluster-size-threshold`).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;
use tokio::time::Instant;

use super::plan::is_ready;

/// From one node to the next of a zone.
const EVERY: Duration = Duration::from_secs(10);
/// The same in a large zone that is disrupted.
const EVERY_DISRUPTED: Duration = Duration::from_secs(100);
/// A zone is disrupted when more than so many of its nodes are not ready, and at least so many in a hundred.
const FEW: usize = 2;
const THRESHOLD_PERCENT: usize = 55;
/// A zone with more nodes is large.
const LARGE: usize = 50;

const REGION: [&str; 2] = ["topology.kubernetes.io/region", "failure-domain.beta.kubernetes.io/region"];
const ZONE: [&str; 2] = ["topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone"];
/// The label of nodes that come and go by intention, and say nothing about their zone.
const EXCLUDED: &str = "node.kubernetes.io/exclude-disruption";

/// Region and zone; empty where a node has no such label.
pub(super) type Zone = [String; 2];

/// How fast nodes of one zone lose their pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// Not at all, and nodes that are to lose them keep them: no node anywhere is ready, so the fault is more likely ours than theirs.
    Revoked,
    /// No further node.
    Stopped,
    /// One node per time.
    OneEvery(Duration),
}

#[derive(Default)]
struct Count {
    ready: usize,
    lost: usize,
}

pub(super) fn zone_of(node: &Node) -> Zone {
    [REGION, ZONE].map(|names| names.iter().find_map(|name| node.labels().get(*name)).cloned().unwrap_or_default())
}

/// In which zone the node counts, and whether as a ready one.
pub(super) fn counted(node: &Node) -> Option<(Zone, bool)> {
    (!node.labels().contains_key(EXCLUDED)).then(|| (zone_of(node), is_ready(node)))
}

/// The pace in `zone`, given all nodes of the cluster.
pub(super) fn pace<'a>(zone: &Zone, nodes: impl Iterator<Item = &'a Node>) -> Pace {
    let mut zones: BTreeMap<Zone, Count> = BTreeMap::new();
    for (zone, ready) in nodes.filter_map(counted) {
        let count = zones.entry(zone).or_default();
        if ready { count.ready += 1 } else { count.lost += 1 }
    }
    if zones.values().all(|count| count.ready == 0) {
        return Pace::Revoked;
    }
    let Some(Count { ready, lost }) = zones.get(zone) else { return Pace::OneEvery(EVERY) };
    let disrupted = *ready > 0 && *lost > FEW && lost * 100 >= THRESHOLD_PERCENT * (ready + lost);
    match disrupted {
        false => Pace::OneEvery(EVERY),
        true if ready + lost > LARGE => Pace::OneEvery(EVERY_DISRUPTED),
        true => Pace::Stopped,
    }
}

/// Which node of each zone had the last turn, and when.
#[derive(Default)]
pub(super) struct Turns(HashMap<Zone, (Arc<str>, Instant)>);

impl Turns {
    /// Takes the turn for the node, or says how long to wait. A node whose turn it is has it until another takes the next: a write that failed
    /// is tried again.
    pub fn take(&mut self, zone: Zone, node: &Arc<str>, every: Duration, now: Instant) -> Result<(), Duration> {
        self.0.retain(|_, (_, taken)| now.duration_since(*taken) < EVERY_DISRUPTED);
        if let Some((holder, taken)) = self.0.get(&zone) {
            if holder == node {
                return Ok(());
            }
            let wait = every.saturating_sub(now.duration_since(*taken));
            if !wait.is_zero() {
                return Err(wait);
            }
        }
        self.0.insert(zone, (node.clone(), now));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn nodes(zone: &str, ready: usize, lost: usize) -> Vec<Node> {
        let node = |status: &str| {
            serde_json::from_value(json!({"metadata": {"name": "n", "labels": {ZONE[0]: zone}},
                "status": {"conditions": [{"type": "Ready", "status": status}]}}))
            .unwrap()
        };
        (0..ready).map(|_| node("True")).chain((0..lost).map(|_| node("Unknown"))).collect()
    }

    fn pace_in(zone: &str, nodes: &[Node]) -> Pace {
        pace(&[String::new(), zone.to_owned()], nodes.iter())
    }

    #[test]
    fn a_zone_of_which_most_is_lost_is_left_alone_or_slowed_down() {
        for (ready, lost, wanted) in [
            (9, 1, Pace::OneEvery(EVERY)),
            (1, 2, Pace::OneEvery(EVERY)),
            (3, 3, Pace::OneEvery(EVERY)),
            (2, 3, Pace::Stopped),
            (9, 11, Pace::Stopped),
            (22, 28, Pace::Stopped),
            (22, 29, Pace::OneEvery(EVERY_DISRUPTED)),
            (0, 3, Pace::Revoked),
        ] {
            assert_eq!(pace_in("a", &nodes("a", ready, lost)), wanted, "{ready} ready, {lost} lost");
        }
        assert_eq!(pace_in("a", &[]), Pace::Revoked);
    }

    #[test]
    fn zones_are_judged_apart_and_a_dead_one_is_left_behind_while_another_lives() {
        let all = [nodes("a", 2, 3), nodes("b", 0, 5), nodes("c", 5, 1)].concat();
        assert_eq!(pace_in("a", &all), Pace::Stopped);
        assert_eq!(pace_in("b", &all), Pace::OneEvery(EVERY));
        assert_eq!(pace_in("c", &all), Pace::OneEvery(EVERY));
    }

    #[test]
    fn nodes_excluded_from_disruption_say_nothing_about_their_zone() {
        let mut all = nodes("a", 2, 3);
        all[4].labels_mut().insert(EXCLUDED.into(), String::new());
        assert_eq!(pace_in("a", &all), Pace::OneEvery(EVERY));
    }

    #[test]
    fn one_node_of_a_zone_has_its_turn_at_a_time() {
        let (mut turns, start) = (Turns::default(), Instant::now());
        let (one, two) = (Arc::from("one"), Arc::from("two"));
        let zone = |name: &str| [String::new(), name.to_owned()];
        let seconds = Duration::from_secs;
        assert_eq!(turns.take(zone("a"), &one, EVERY, start), Ok(()));
        assert_eq!(turns.take(zone("a"), &one, EVERY, start + seconds(1)), Ok(()), "its own turn");
        assert_eq!(turns.take(zone("a"), &two, EVERY, start + seconds(4)), Err(seconds(6)));
        assert_eq!(turns.take(zone("b"), &two, EVERY, start + seconds(4)), Ok(()));
        assert_eq!(turns.take(zone("a"), &two, EVERY, start + seconds(10)), Ok(()));
        assert_eq!(turns.take(zone("a"), &one, EVERY_DISRUPTED, start + seconds(30)), Err(seconds(80)));
        turns.take(zone("c"), &one, EVERY, start + seconds(200)).unwrap();
        assert_eq!(turns.0.len(), 1, "what no longer counts is forgotten");
    }
}

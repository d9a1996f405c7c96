//! Maps that are full: what did not fit, as the programmer finds it, and what the node, its events and its metrics say of it. The rest of
//! the maps works; a person must raise a capacity.

use crate::dataplane::{Cause, FailedStep};
use crate::notice::{Condition, Matter, Warning, about_node};
use orknet_abi::{FLOWS, ServiceKey, TABLES};
use orknet_compiler::rows::range_text;
use orknet_compiler::{ObjectName, Step, WithoutTable};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// The condition's type in the node's status.
pub const CONDITION: &str = "NetworkMapsFull";
/// Reasons of the condition and of events.
const FULL: &str = "MapFull";
const ROOM: &str = "RoomForAll";
/// Names that are told of those that do not fit.
const NAMED: usize = 10;

/// Without a place in these, a pod is not switched to its rules.
const RULES_LIE_IN: [&str; 3] = [orknet_abi::PEERS.name, orknet_abi::VERDICTS.name, orknet_abi::PORTS.name];

/// What is known of maps that are full. Those who know tell their part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// What does not fit, by the name of the map: the programmer's part. `None` until the maps have been written for the first time.
    pub planned: Option<BTreeMap<&'static str, Missing>>,
    /// Look-up tables that were not planned for want of room: the programmer's part, too. Their Services work on without.
    pub tables: Option<Missing>,
    /// The capacity of the map of flows while it is full: the collector's part.
    pub flows: Option<u32>,
}

impl Room {
    /// Everything that is full, once that is known.
    pub(crate) fn full(&self) -> Option<Full> {
        let mut full = self.planned.clone()?;
        if let Some(tables) = &self.tables {
            full.entry(TABLES.name).or_insert_with(|| tables.clone());
        }
        full.extend(self.flows.map(|capacity| (FLOWS.name, Missing { capacity, ..Missing::default() })));
        Some(full)
    }
}

/// What does not fit into a map.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Missing {
    /// Entries that the map can hold.
    pub capacity: u32,
    /// Entries that should be in it and are not; none for a map that programs write.
    pub entries: usize,
    /// Services that are not as the cluster wants them because of it.
    pub services: BTreeSet<ObjectName>,
    /// Addresses of pods, ranges, or addresses that rules know, that are left out.
    pub left_out: BTreeSet<String>,
    /// Addresses of pods that keep the rules they had, or have no network, because of it.
    pub pods: BTreeSet<String>,
}

/// What a plan's failures say of full maps. `owner` names the Service of a front.
pub fn missing(failures: &[FailedStep], owner: impl Fn(&ServiceKey) -> Option<ObjectName>) -> BTreeMap<&'static str, Missing> {
    let mut full: BTreeMap<&'static str, Missing> = BTreeMap::new();
    for failure in failures {
        let Cause::Full(map, capacity) = failure.cause else { continue };
        let missing = full.entry(map).or_default();
        (missing.capacity, missing.entries) = (capacity, missing.entries + 1);
        match &failure.step {
            Step::PutPod(key, _) => _ = missing.left_out.insert(IpAddr::from(key.address).to_string()),
            Step::PutRange(key, _) | Step::PutPeer(key, _) => _ = missing.left_out.insert(range_text(key)),
            _ => {}
        }
    }
    for failure in failures {
        let Step::PutService(key, _) = &failure.step else { continue };
        // A front that waits for its list, table or sources waits for whichever map had no room for them.
        let hit: Vec<_> = match failure.cause {
            Cause::Full(map, _) => vec![map],
            Cause::Waits => full.keys().filter(|map| **map != orknet_abi::SERVICES.name).copied().collect(),
            Cause::Refused => Vec::new(),
        };
        for map in hit {
            full.entry(map).or_default().services.extend(owner(key));
        }
    }
    // A pod waits for the maps that its rules lie in.
    let waiting = failures.iter().filter(|failure| matches!(failure.cause, Cause::Waits));
    let pods = waiting.filter_map(|failure| if let Step::PutPod(key, _) = &failure.step { Some(IpAddr::from(key.address)) } else { None });
    for pod in pods {
        full.iter_mut().filter(|(map, _)| RULES_LIE_IN.contains(map)).for_each(|(_, missing)| _ = missing.pods.insert(pod.to_string()));
    }
    full
}

/// The same of look-up tables that go by room alone; `None` if there is room for all.
pub fn missing_tables(without: WithoutTable) -> Option<Missing> {
    (without.entries > 0).then_some(Missing {
        capacity: without.room,
        entries: without.entries,
        services: without.services,
        ..Missing::default()
    })
}

impl Missing {
    fn message(&self, map: &str) -> String {
        let capacity = self.capacity;
        let lost = if self.entries == 0 { "what is new is dropped".to_owned() } else { format!("{} do not fit", self.entries) };
        let mut text = format!("{map} is full ({capacity} entries): {lost}; raise capacities.{map}");
        if !self.left_out.is_empty() {
            text += &format!(". Left out: {}", some_of(self.left_out.iter().cloned()));
        }
        if !self.pods.is_empty() {
            text += &format!(". Pods whose policies are not as they should be: {}", some_of(self.pods.iter().cloned()));
        }
        if !self.services.is_empty() {
            let names = self.services.iter().map(|name| format!("{}/{}", name.namespace, name.name));
            text += &format!(". Services that are not as they should be: {}", some_of(names));
        }
        text
    }
}

/// The first names, and how many more there are.
fn some_of(names: impl ExactSizeIterator<Item = String>) -> String {
    let more = names.len().saturating_sub(NAMED);
    let named: Vec<_> = names.take(NAMED).collect();
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    named.join(", ") + &rest
}

/// What is full, by the name of the map.
pub type Full = BTreeMap<&'static str, Missing>;

impl Matter for Full {
    fn condition(&self) -> Condition {
        if self.is_empty() {
            let message = "the maps of the data plane have room for everything".to_owned();
            return Condition { kind: CONDITION, is_true: false, reason: ROOM, message };
        }
        let messages: Vec<_> = self.iter().map(|(map, missing)| missing.message(map)).collect();
        Condition { kind: CONDITION, is_true: true, reason: FULL, message: messages.join("; ") }
    }

    /// Maps and Services that were not among the full ones before.
    fn warnings(&self, node: &str, told: &Self) -> Vec<Warning> {
        let mut warnings = Vec::new();
        for (map, missing) in self {
            let before = told.get(map);
            if before.is_none() {
                warnings.push(about_node(node, FULL, missing.message(map)));
            }
            let is_new = |name: &&ObjectName| before.is_none_or(|before| !before.services.contains(*name));
            for name in missing.services.iter().filter(is_new).take(NAMED) {
                let (namespace, name) = (&*name.namespace, &*name.name);
                let about = json!({ "apiVersion": "v1", "kind": "Service", "namespace": namespace, "name": name });
                let capacity = missing.capacity;
                let message = format!("Not as it should be on node {node}: {map} is full ({capacity} entries); raise capacities.{map}");
                warnings.push(Warning { namespace: namespace.to_owned(), about, reason: FULL, message });
            }
        }
        warnings
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use orknet_abi::{Address, Backend, BackendKey, Peer, Pod, PodKey, Range, RangeKey, Rule, Service};

    fn failed(step: Step, cause: Cause) -> FailedStep {
        FailedStep { step, why: "full".into(), cause }
    }

    fn front(port: u16) -> ServiceKey {
        ServiceKey { port_be: port.to_be(), ..ServiceKey::default() }
    }

    fn owner(key: &ServiceKey) -> Option<ObjectName> {
        Some(ObjectName { namespace: "default".into(), name: format!("s{:03}", u16::from_be(key.port_be)).into() })
    }

    #[test]
    fn services_that_wait_for_a_full_map_are_named_with_it() {
        let failures = [
            failed(Step::PutBackend(BackendKey::default(), Backend::default()), Cause::Full("BACKENDS", 16)),
            failed(Step::PutBackend(BackendKey { list: 1, slot: 1 }, Backend::default()), Cause::Full("BACKENDS", 16)),
            failed(Step::PutService(front(1), Service::default()), Cause::Waits),
            failed(Step::PutService(front(2), Service::default()), Cause::Full("SERVICES", 8)),
            // Something else is wrong with it.
            failed(Step::PutService(front(3), Service::default()), Cause::Refused),
        ];
        let full = missing(&failures, owner);
        let names = |map: &str| full[map].services.iter().map(|name| name.name.to_string()).collect::<Vec<_>>();
        assert_eq!((names("BACKENDS"), names("SERVICES")), (vec!["s001".to_owned()], vec!["s002".to_owned()]));
        assert_eq!((full["BACKENDS"].entries, full["BACKENDS"].capacity, full["SERVICES"].entries), (2, 16, 1));
        let Condition { is_true, reason, message, .. } = full.condition();
        assert_eq!((is_true, reason), (true, "MapFull"));
        let expected = "BACKENDS is full (16 entries): 2 do not fit; raise capacities.BACKENDS. Services that are not as they should be: \
            default/s001; SERVICES is full (8 entries): 1 do not fit; raise capacities.SERVICES. Services that are not as they should be: \
            default/s002";
        assert_eq!(message, expected);
        assert!(!Full::new().condition().is_true);
    }

    #[test]
    fn pods_and_ranges_that_are_left_out_are_named() {
        let pod = |last| PodKey { address: Address::from_v4([10, 244, 1, last]) };
        let range = RangeKey::new(IpAddr::from([172, 16, 0, 0]), 16);
        let failures = [
            failed(Step::PutPod(pod(2), Pod::default()), Cause::Full("PODS", 1)),
            failed(Step::PutPod(pod(3), Pod::default()), Cause::Full("PODS", 1)),
            failed(Step::PutRange(range, Range::default()), Cause::Full("RANGES", 4)),
        ];
        let message = missing(&failures, owner).condition().message;
        let expected = "PODS is full (1 entries): 2 do not fit; raise capacities.PODS. Left out: 10.244.1.2, 10.244.1.3; \
            RANGES is full (4 entries): 1 do not fit; raise capacities.RANGES. Left out: 172.16.0.0/16";
        assert_eq!(message, expected);
    }

    #[test]
    fn pods_that_wait_for_their_rules_are_named_with_the_map_that_these_have_no_room_in() {
        let pod = PodKey { address: Address::from_v4([10, 244, 1, 2]) };
        let peer = RangeKey::new(IpAddr::from([10, 244, 2, 9]), 32);
        let failures = [
            failed(Step::PutRule(1, Rule::default()), Cause::Full("RULES", 8)),
            failed(Step::PutPeer(peer, Peer::default()), Cause::Full("PEERS", 4)),
            failed(Step::PutPod(pod, Pod::default()), Cause::Waits),
        ];
        let message = missing(&failures, owner).condition().message;
        let expected = "PEERS is full (4 entries): 1 do not fit; raise capacities.PEERS. Left out: 10.244.2.9/32. \
            Pods whose policies are not as they should be: 10.244.1.2; RULES is full (8 entries): 1 do not fit; raise capacities.RULES";
        assert_eq!(message, expected);
    }

    #[test]
    fn flows_that_find_no_room_are_told_beside_what_was_planned() {
        let mut room = Room { planned: None, tables: None, flows: Some(65_536) };
        assert_eq!(room.full(), None, "not before the maps have been written");
        room.planned = Some(BTreeMap::new());
        let Condition { is_true, message, .. } = room.full().unwrap().condition();
        assert_eq!((is_true, message.as_str()), (true, "FLOWS is full (65536 entries): what is new is dropped; raise capacities.FLOWS"));
        room.flows = None;
        assert!(!room.full().unwrap().condition().is_true);
    }

    #[test]
    fn tables_without_room_are_told_as_what_does_not_fit() {
        let services: BTreeSet<_> = owner(&front(1)).into_iter().collect();
        let tables = missing_tables(WithoutTable { room: 70, entries: 35, services });
        let mut room = Room { planned: Some(BTreeMap::new()), tables, flows: None };
        let Condition { is_true, message, .. } = room.full().unwrap().condition();
        let expected =
            "TABLES is full (70 entries): 35 do not fit; raise capacities.TABLES. Services that are not as they should be: default/s001";
        assert_eq!((is_true, message.as_str()), (true, expected));
        room.tables = missing_tables(WithoutTable { room: 70, ..WithoutTable::default() });
        assert!(!room.full().unwrap().condition().is_true);
    }

    #[test]
    fn many_services_are_counted_and_each_is_told_of_once() {
        let failures: Vec<_> =
            (1..=30).map(|port| failed(Step::PutService(front(port), Service::default()), Cause::Full("SERVICES", 8))).collect();
        let full = missing(&failures, owner);
        assert!(full.condition().message.ends_with("default/s010 and 20 more"));
        let first = full.warnings("here", &Full::new());
        assert_eq!(first.len(), 1 + NAMED, "the node and some of the Services");
        assert_eq!((first[0].namespace.as_str(), &first[0].about["kind"]), ("default", &json!("Node")));
        assert_eq!(first[1].about["name"], "s001");
        assert_eq!(full.warnings("here", &full), []);
    }
}

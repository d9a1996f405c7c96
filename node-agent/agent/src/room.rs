//! Maps that are full: what did not fit, as the programmer finds it, and what the node, its events and its metrics say of it. The rest of
//! the maps works; a person must raise a capacity.

use crate::dataplane::{Cause, FailedStep};
use k8s_openapi::api::core::v1::{Event, Node};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use orknet_abi::{FLOWS, ServiceKey, TABLES};
use orknet_compiler::{ObjectName, Step, WithoutTable};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::sync::watch;

/// The condition's type in the node's status.
pub const CONDITION: &str = "NetworkMapsFull";
/// Reasons of the condition and of events.
const FULL: &str = "MapFull";
const ROOM: &str = "RoomForAll";
/// Objects that are named of those that do not fit.
const NAMED: usize = 10;
/// Who tells.
const COMPONENT: &str = "orknet-agent";
/// Before a report that the API server did not take is tried again; doubled up to a minute.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(60);

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
    pub(crate) fn full(&self) -> Option<BTreeMap<&'static str, Missing>> {
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
}

/// What a plan's failures say of full maps. `owner` names the Service of a front.
pub fn missing(failures: &[FailedStep], owner: impl Fn(&ServiceKey) -> Option<ObjectName>) -> BTreeMap<&'static str, Missing> {
    let mut full: BTreeMap<&'static str, Missing> = BTreeMap::new();
    for failure in failures {
        let Cause::Full(map, capacity) = failure.cause else { continue };
        let missing = full.entry(map).or_default();
        (missing.capacity, missing.entries) = (capacity, missing.entries + 1);
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
    full
}

/// The same of look-up tables that go by room alone; `None` if there is room for all.
pub fn missing_tables(without: WithoutTable) -> Option<Missing> {
    (without.entries > 0).then_some(Missing { capacity: without.room, entries: without.entries, services: without.services })
}

impl Missing {
    fn message(&self, map: &str) -> String {
        let capacity = self.capacity;
        let lost = if self.entries == 0 { "what is new is dropped".to_owned() } else { format!("{} do not fit", self.entries) };
        let mut text = format!("{map} is full ({capacity} entries): {lost}; raise capacities.{map}");
        if !self.services.is_empty() {
            let named: Vec<_> = self.services.iter().take(NAMED).map(|name| format!("{}/{}", name.namespace, name.name)).collect();
            let more = self.services.len().saturating_sub(NAMED);
            let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
            text += &format!(". Services that are not as they should be: {}{rest}", named.join(", "));
        }
        text
    }
}

/// Status, reason and message of the condition.
fn condition(full: &BTreeMap<&'static str, Missing>) -> (&'static str, &'static str, String) {
    if full.is_empty() {
        return ("False", ROOM, "the maps of the data plane have room for everything".to_owned());
    }
    let messages: Vec<_> = full.iter().map(|(map, missing)| missing.message(map)).collect();
    ("True", FULL, messages.join("; "))
}

/// Keeps the node's condition, and tells of maps and Services that were not among the full ones before, until nobody watches the maps.
/// What the API server does not take is tried again.
pub async fn report(client: Client, node: String, mut room: watch::Receiver<Room>) {
    let mut told = BTreeMap::new();
    let mut retry = FIRST_RETRY;
    loop {
        let current = room.borrow_and_update().full();
        let outcome = match &current {
            Some(full) => tell(&client, &node, full, &mut told).await,
            None => Ok(()),
        };
        let changed = match outcome {
            Ok(()) => {
                retry = FIRST_RETRY;
                room.changed().await
            }
            Err(error) => {
                tracing::warn!(%error, "cannot tell the API server which maps are full; trying again");
                let again = tokio::time::timeout(retry, room.changed()).await;
                retry = (retry * 2).min(LAST_RETRY);
                again.unwrap_or(Ok(()))
            }
        };
        if changed.is_err() {
            return;
        }
    }
}

async fn tell(
    client: &Client,
    name: &str,
    full: &BTreeMap<&'static str, Missing>,
    told: &mut BTreeMap<&'static str, Missing>,
) -> Result<(), kube::Error> {
    let nodes: Api<Node> = Api::all(client.clone());
    let (status, reason, message) = condition(full);
    let node = nodes.get(name).await?;
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let known = conditions.iter().find(|condition| condition.type_ == CONDITION);
    let is_told = known.is_some_and(|known| known.status == status && known.message.as_ref() == Some(&message));
    if !is_told {
        let now = now();
        let since = known.filter(|known| known.status == status).and_then(|known| known.last_transition_time.clone());
        let since = since.map_or_else(|| json!(now), |since| json!(since));
        let condition = json!({
            "type": CONDITION, "status": status, "reason": reason, "message": message,
            "lastHeartbeatTime": now, "lastTransitionTime": since,
        });
        let patch = json!({ "status": { "conditions": [condition] } });
        nodes.patch_status(name, &PatchParams::default(), &Patch::Strategic(patch)).await?;
    }
    for (namespace, event) in events(name, full, told) {
        let events: Api<Event> = Api::namespaced(client.clone(), &namespace);
        let event = serde_json::from_value(event).map_err(kube::Error::SerdeError)?;
        match events.create(&PostParams::default(), &event).await {
            // Its namespace goes, or is full: nobody is helped by the others' being told again.
            Err(kube::Error::Api(status)) if (400..500).contains(&status.code) => {
                tracing::info!(namespace, error = %status, "an event about a full map was refused");
            }
            created => drop(created?),
        }
    }
    told.clone_from(full);
    Ok(())
}

/// Events, with their namespaces, about what is full now and was not when we told last.
fn events(node: &str, full: &BTreeMap<&'static str, Missing>, told: &BTreeMap<&'static str, Missing>) -> Vec<(String, Value)> {
    let mut events = Vec::new();
    for (map, missing) in full {
        let before = told.get(map);
        if before.is_none() {
            // A node's name stands for its uid, as in a kubelet's events: by that, clients find them.
            let about = json!({ "apiVersion": "v1", "kind": "Node", "name": node, "uid": node });
            events.push(("default".to_owned(), event(node, node, &about, missing.message(map))));
        }
        let is_new = |name: &&ObjectName| before.is_none_or(|before| !before.services.contains(*name));
        for name in missing.services.iter().filter(is_new).take(NAMED) {
            let (namespace, name) = (&*name.namespace, &*name.name);
            let about = json!({ "apiVersion": "v1", "kind": "Service", "namespace": namespace, "name": name });
            let capacity = missing.capacity;
            let message = format!("Not as it should be on node {node}: {map} is full ({capacity} entries); raise capacities.{map}");
            events.push((namespace.to_owned(), event(node, name, &about, message)));
        }
    }
    events
}

fn event(node: &str, name: &str, about: &Value, message: String) -> Value {
    let now = now();
    json!({
        "metadata": { "generateName": format!("{name}.") }, "involvedObject": about, "type": "Warning", "reason": FULL,
        "message": message, "source": { "component": COMPONENT, "host": node }, "reportingComponent": COMPONENT,
        "reportingInstance": node, "count": 1, "firstTimestamp": now, "lastTimestamp": now,
    })
}

/// To the second, as the API has it.
fn now() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use orknet_abi::{Backend, BackendKey, Service};

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
        let (status, reason, message) = condition(&full);
        assert_eq!((status, reason), ("True", "MapFull"));
        let expected = "BACKENDS is full (16 entries): 2 do not fit; raise capacities.BACKENDS. Services that are not as they should be: \
            default/s001; SERVICES is full (8 entries): 1 do not fit; raise capacities.SERVICES. Services that are not as they should be: \
            default/s002";
        assert_eq!(message, expected);
        assert_eq!(condition(&BTreeMap::new()).0, "False");
    }

    #[test]
    fn flows_that_find_no_room_are_told_beside_what_was_planned() {
        let mut room = Room { planned: None, tables: None, flows: Some(65_536) };
        assert_eq!(room.full(), None, "not before the maps have been written");
        room.planned = Some(BTreeMap::new());
        let (status, _, message) = condition(&room.full().unwrap());
        assert_eq!((status, message.as_str()), ("True", "FLOWS is full (65536 entries): what is new is dropped; raise capacities.FLOWS"));
        room.flows = None;
        assert_eq!(condition(&room.full().unwrap()).0, "False");
    }

    #[test]
    fn tables_without_room_are_told_as_what_does_not_fit() {
        let services: BTreeSet<_> = owner(&front(1)).into_iter().collect();
        let tables = missing_tables(WithoutTable { room: 70, entries: 35, services });
        let mut room = Room { planned: Some(BTreeMap::new()), tables, flows: None };
        let (status, _, message) = condition(&room.full().unwrap());
        let expected =
            "TABLES is full (70 entries): 35 do not fit; raise capacities.TABLES. Services that are not as they should be: default/s001";
        assert_eq!((status, message.as_str()), ("True", expected));
        room.tables = missing_tables(WithoutTable { room: 70, ..WithoutTable::default() });
        assert_eq!(condition(&room.full().unwrap()).0, "False");
    }

    #[test]
    fn many_services_are_counted_and_each_is_told_of_once() {
        let failures: Vec<_> =
            (1..=30).map(|port| failed(Step::PutService(front(port), Service::default()), Cause::Full("SERVICES", 8))).collect();
        let full = missing(&failures, owner);
        assert!(condition(&full).2.ends_with("default/s010 and 20 more"));
        let first = events("here", &full, &BTreeMap::new());
        assert_eq!(first.len(), 1 + NAMED, "the node and some of the Services");
        assert_eq!((first[0].0.as_str(), &first[0].1["involvedObject"]["kind"]), ("default", &json!("Node")));
        assert_eq!(first[1].1["involvedObject"]["name"], "s001");
        assert_eq!(events("here", &full, &full), []);
    }
}

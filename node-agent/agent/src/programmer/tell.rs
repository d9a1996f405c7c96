//! What others are told without having asked, and what the collector asks.

use super::Programmer;
use crate::collector::Alarm;
use crate::dataplane::{Cause, FailedStep};
use crate::degraded::Troubles;
use crate::health_check::Health;
use crate::own_routes::{Fronts, is_whole};
use crate::progress::{Failed, Kind, OF_POLICIES, OF_SERVICES, Object, Progress};
use crate::room::{self, Room};
use orknet_compiler::{Lead, Plan, PolicyName, Step};
use orknet_dataplane::Use;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::sync::watch;

/// Objects that are logged when they stop to be in force.
const LOGGED: usize = 5;

/// Who hears from the programmer.
pub struct Listeners {
    /// Rung when endpoints may be gone.
    pub alarm: Alarm,
    pub health: watch::Sender<Health>,
    pub room: watch::Sender<Room>,
    /// What is wrong with the devices to the network, once they have been looked at.
    pub troubles: watch::Sender<Option<Troubles>>,
    /// The addresses of Services, once all are in the maps.
    pub fronts: watch::Sender<Option<Arc<Fronts>>>,
    /// What of the cluster is in the maps, once all of it has been tried.
    pub progress: watch::Sender<Option<Progress>>,
    /// Told when all of the cluster is in the maps for the first time.
    pub synced: watch::Sender<bool>,
}

impl Programmer {
    /// Which of these lead to backends that are no endpoints of their Service any more. Before all endpoints are known, none.
    pub(super) fn gone(&self, uses: BTreeSet<Use>) -> BTreeSet<Use> {
        if !self.is_synced() {
            return BTreeSet::new();
        }
        let lead =
            |used: &Use| Lead { front: used.front, front_port_be: used.front_port_be, protocol: used.protocol, backend: used.backend };
        let answers = self.state.lead(&uses.iter().map(lead).collect::<Vec<_>>());
        uses.into_iter().zip(answers).filter(|(_, leads)| !leads).map(|(used, _)| used).collect()
    }

    /// Packets from the network meet programs only when the maps are complete: then these decide about all of them. Tells what is wrong with
    /// the devices.
    ///
    /// Hooks of another version translate by maps that nobody writes any more. They go once ours are in all their places: those on the
    /// devices to the network come last, and until then the others must serve what comes in there. A device that ours did not get onto keeps
    /// all of them.
    pub(super) fn keep_network(&mut self) {
        let Some(devices) = self.network.as_ref().filter(|_| self.was_synced) else { return };
        let mut troubles = self.dataplane.keep_network_devices(devices);
        if !self.others_retired && !troubles.values().any(|trouble| trouble.kind.is_failure()) {
            match self.dataplane.retire_other_versions() {
                Ok(()) => {
                    self.others_retired = true;
                    // Of programs for frames from the wire a device takes one: where another version's was, ours finds room now.
                    troubles = self.dataplane.keep_network_devices(devices);
                }
                Err(failure) => tracing::warn!(%failure, "cannot remove the pins of another version; trying again"),
            }
        }
        self.metrics.count_troubles(&troubles);
        let now = Some(troubles);
        self.listeners.troubles.send_if_modified(|known| {
            let is_new = *known != now;
            for trouble in now.iter().flat_map(BTreeMap::values).filter(|_| is_new) {
                let (device, kind) = (&trouble.device, trouble.kind.name());
                tracing::warn!(device, kind, "{trouble}");
            }
            *known = now;
            is_new
        });
    }

    /// Tells which maps are full, once everything that should be in them has been tried.
    pub(super) fn tell_room(&self, failures: &[FailedStep]) {
        if !self.is_synced() {
            return;
        }
        let planned = Some(room::missing(failures, |key| self.state.service_of(key).cloned()));
        let tables = room::missing_tables(self.state.without_table());
        self.listeners.room.send_if_modified(|room| {
            let now = Room { planned, tables, flows: room.flows };
            self.metrics.count_missing(&now.full().unwrap_or_default());
            let is_new = *room != now;
            *room = now;
            is_new
        });
    }

    /// Tells up to which versions the cluster is in the maps, and which objects are not. What was noted before a plan is in it.
    pub(super) fn tell_progress(&mut self) {
        if !self.is_synced() {
            return;
        }
        let mut failed = self.failed.clone();
        for (policy, trouble) in self.state.policy_troubles() {
            failed.objects.insert(policy.into(), format!("not understood, and closed where it might have opened: {trouble}"));
        }
        // A policy would be told as in force that speaks of labels, or counts beside policies, that nobody has seen.
        for kind in &self.behind {
            failed.hold_up(OF_POLICIES, Some(&format!("watching kind {} fails", kind.name())));
        }
        for (pod, why) in self.bare_pods() {
            failed.hold_up(OF_POLICIES, Some(&format!("pod {pod}: its device has no programs of this version")));
            failed.objects.insert(pod, format!("the pod's device has no programs of this version, so no policy is in force for it: {why}"));
        }
        for (pod, why) in self.unknown_pods() {
            failed.hold_up(OF_POLICIES, Some(&format!("pod {pod}: {why}")));
            failed.objects.insert(pod, format!("{why}, so its policies are not known: it keeps the rules that it had"));
        }
        let lowered = std::mem::take(&mut self.lowered);
        self.listeners.progress.send_if_modified(|progress| {
            let before = progress.take().unwrap_or_default();
            let now = Progress::after(&before.lowered_to(&lowered), &self.noted, failed);
            let new = now.failed.iter().filter(|(object, why)| before.failed.get(*object) != Some(*why));
            for (Object { kind, namespace, name }, why) in new.take(LOGGED) {
                let (kind, effect) = (kind.name(), kind.effect_of_failure());
                tracing::warn!(kind, namespace, name, why, "{effect}");
            }
            let is_new = now != before;
            *progress = Some(now);
            is_new
        });
    }

    /// The objects that are not in force because of these, and the kinds of those that cannot be named. To be asked before the failures are
    /// taken back.
    pub(super) fn failed_objects(&self, failures: &[FailedStep]) -> Failed {
        let mut failed = Failed::default();
        for failure in failures {
            let full = if let Cause::Full(map, entries) = failure.cause { Some(is_full(map, entries)) } else { None };
            let why = if failure.cause == Cause::Refused { Some(failure.why.as_str()) } else { full.as_deref() };
            match &failure.step {
                Step::PutService(key, _) | Step::DeleteService(key) => {
                    let name = self.state.service_of(key);
                    failed.objects.extend(name.map(|name| (Object::named(Kind::Service, name), failure.why.clone())));
                }
                // Services wait for these, and are named.
                Step::PutBackend(..) | Step::PutTable(..) | Step::PutSource(_) if failure.cause != Cause::Refused => {}
                // Nobody uses them any more.
                Step::DeleteBackend(_) | Step::DeleteTable(_) | Step::DeleteSource(_) => {}
                Step::DeleteVerdict(_) | Step::DeletePort(_) | Step::DeleteRule(_) => {}
                Step::PutBackend(..) | Step::PutTable(..) | Step::PutSource(_) | Step::PutRange(..) | Step::DeleteRange(_) => {
                    failed.hold_up(OF_SERVICES, why);
                }
                Step::PutPod(..) | Step::DeletePod(_) | Step::PutPeer(..) | Step::DeletePeer(_) => failed.hold_up(OF_POLICIES, why),
                Step::PutVerdict(..) | Step::PutPort(..) | Step::PutRule(..) => failed.hold_up(OF_POLICIES, why),
                // Addresses of the node, and how policies count.
                Step::PutNode(_) => failed.hold_up(OF_SERVICES.into_iter().chain(OF_POLICIES), why),
            }
        }
        for (policy, first) in self.state.policies_behind(failures.iter().map(|failure| &failure.step)) {
            failed.objects.insert((&policy).into(), self.why_not_in_force(&failures[first]));
        }
        failed
    }

    /// What a policy's status says of a write that failed. The same at each attempt, of whichever entry it is: it is told to the cluster each
    /// time it changes.
    fn why_not_in_force(&self, failure: &FailedStep) -> String {
        let why = match failure.cause {
            Cause::Full(map, entries) => is_full(map, entries),
            Cause::Waits => "what it depends on is not in the maps".to_owned(),
            Cause::Refused => failure.why.clone(),
        };
        let Step::PutPod(key, _) = &failure.step else { return why };
        match self.state.pods_at(&[key.address].into()).get(&key.address) {
            Some(pod) => format!("not in force for pod {}/{}: {why}", pod.name.namespace, pod.name.name),
            None => why,
        }
    }

    /// The pods that keep the rules they had because nobody knows which policies select them, and why nobody does.
    fn unknown_pods(&self) -> BTreeMap<Object, &'static str> {
        if !self.has_policies {
            return BTreeMap::new();
        }
        let unknown = self.state.attachments().filter_map(|(name, attachment)| match &attachment.owner {
            // One that the API had while the agent ran keeps to what was known of it then.
            Some(owner) => {
                let is_known = self.state.pod_uid(&owner.pod) == Some(owner.uid) || self.state.policies_of(name).is_some();
                (!is_known).then(|| (Object::named(Kind::Pod, &owner.pod), "the API does not have it"))
            }
            None => {
                let is_broken = self.broken.contains(name);
                is_broken.then(|| (Object::of_cluster(Kind::Pod, name), "the CNI plugin's record of it cannot be read"))
            }
        });
        unknown.collect()
    }

    /// The pods that no policy holds for because their devices have no programs, and why these have none.
    fn bare_pods(&self) -> BTreeMap<Object, &str> {
        if !self.has_policies || self.bare.is_empty() {
            return BTreeMap::new();
        }
        let attachments = self.state.attachments().filter_map(|(name, attachment)| {
            let why = self.bare.get(&attachment.pod.ifindex)?;
            let pod =
                attachment.owner.as_ref().map_or_else(|| Object::of_cluster(Kind::Pod, name), |owner| Object::named(Kind::Pod, &owner.pod));
            Some((pod, why.as_str()))
        });
        attachments.collect()
    }

    /// Tells which addresses Services have, where a plan changes that.
    pub(super) fn tell_fronts(&self, plan: &Plan) {
        let is_told = self.listeners.fronts.borrow().is_some();
        let changes = |step: &Step| matches!(step, Step::PutService(key, _) | Step::DeleteService(key) if is_whole(key));
        if self.is_synced() && (!is_told || plan.steps.iter().any(changes)) {
            let now = Some(Arc::new(Fronts::of(&self.state.image().services)));
            self.listeners.fronts.send_if_modified(|fronts| std::mem::replace(fronts, now.clone()) != now);
        }
    }

    /// Tells whoever answers health checks what has changed. A map that is full is the matter of the Services that it has no room for.
    pub(super) fn tell_health(&mut self) {
        let is_healthy = self.is_synced() && !self.is_refused;
        let checks = self.state.take_health_checks();
        let missing = self.listeners.room.borrow().planned.iter().flatten().flat_map(|(_, missing)| missing.services.clone()).collect();
        self.listeners.health.send_if_modified(|health| {
            let checks = checks.unwrap_or_else(|| health.checks.clone());
            let now = Health { checks, is_healthy, missing };
            let is_new = *health != now;
            *health = now;
            is_new
        });
    }
}

fn is_full(map: &str, entries: u32) -> String {
    format!("map {map} is full ({entries} entries); raise capacities.{map}")
}

impl From<&PolicyName> for Object {
    fn from(policy: &PolicyName) -> Self {
        match policy {
            PolicyName::Namespaced(name) => Self::named(Kind::NetworkPolicy, name),
            PolicyName::Cluster(name) => Self::of_cluster(Kind::ClusterNetworkPolicy, name),
        }
    }
}

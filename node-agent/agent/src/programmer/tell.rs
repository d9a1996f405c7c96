//! What others are told without having asked, and what the collector asks.

use super::Programmer;
use crate::collector::Alarm;
use crate::dataplane::{Cause, FailedStep};
use crate::degraded::Troubles;
use crate::health_check::Health;
use crate::own_routes::{Fronts, is_whole};
use crate::progress::{Failed, FailedObjects, Kind, OF_POLICIES, OF_SERVICES, Object, Progress};
use crate::room::{self, Room};
use orknet_abi::{PodKey, direction};
use orknet_compiler::{Lead, Plan, Step};
use orknet_dataplane::Use;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::sync::watch;

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
        failed.objects.extend(self.troubles.failed());
        // A policy would be told as in force that speaks of labels, or counts beside policies, that nobody has seen.
        if !self.behind.is_empty() {
            failed.behind.extend(OF_POLICIES);
        }
        for pods in [self.unknown_pods(), self.bare_pods()].into_iter().filter(|pods| !pods.is_empty()) {
            failed.behind.extend(OF_POLICIES);
            failed.objects.extend(pods);
        }
        let lowered = std::mem::take(&mut self.lowered);
        self.listeners.progress.send_if_modified(|progress| {
            let before = progress.take().unwrap_or_default();
            let now = Progress::after(&before.lowered_to(&lowered), &self.noted, failed);
            let is_new_pod = |object: &Object| object.kind == Kind::Pod && !before.failed.contains_key(object);
            for (pod, why) in now.failed.iter().filter(|(object, _)| is_new_pod(object)) {
                let Object { namespace, name, .. } = pod;
                tracing::warn!(namespace, name, why, "no newer policy counts as programmed on this node because of a pod");
            }
            let is_new = now != before;
            *progress = Some(now);
            is_new
        });
    }

    /// The objects that are not in force because of these, and the kinds of those that cannot be named.
    pub(super) fn failed_objects(&self, failures: &[FailedStep]) -> Failed {
        let mut failed = Failed::default();
        for failure in failures {
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
                    failed.behind.extend(OF_SERVICES);
                }
                Step::PutPod(key, pod) => {
                    if pod.ingress | pod.egress | pod.own_ingress | pod.own_egress != 0 {
                        failed.objects.extend(self.policies_of_pod(key, &failure.why));
                    }
                    failed.behind.extend(OF_POLICIES);
                }
                Step::DeletePod(_) | Step::PutPeer(..) | Step::DeletePeer(_) => failed.behind.extend(OF_POLICIES),
                Step::PutVerdict(..) | Step::PutPort(..) | Step::PutRule(..) => failed.behind.extend(OF_POLICIES),
                // Addresses of the node, and how policies count.
                Step::PutNode(_) => failed.behind.extend(OF_SERVICES.into_iter().chain(OF_POLICIES)),
            }
        }
        failed
    }

    /// The pods that keep the rules they had because nobody knows which policies select them.
    fn unknown_pods(&self) -> FailedObjects {
        if !self.has_policies {
            return FailedObjects::new();
        }
        let attachments = self.state.attachments().filter_map(|(name, attachment)| match &attachment.owner {
            // One that the API had while the agent ran keeps to what was known of it then.
            Some(owner) => {
                let is_known = self.state.pod_uid(&owner.pod) == Some(owner.uid) || self.state.policies_of(name).is_some();
                let why = "the API does not have the pod (any more), so its policies are not known: it keeps the rules that it had";
                (!is_known).then(|| (Object::named(Kind::Pod, &owner.pod), why))
            }
            None => {
                let why = "the CNI plugin's record cannot be read, so it is not known whose it is: it keeps the rules that it had";
                self.broken.contains(name).then(|| (Object::of_cluster(Kind::Pod, name), why))
            }
        });
        attachments.map(|(pod, why)| (pod, why.to_owned())).collect()
    }

    /// The pods that no policy holds for because their devices have no programs.
    fn bare_pods(&self) -> FailedObjects {
        if !self.has_policies || self.bare.is_empty() {
            return FailedObjects::new();
        }
        let attachments = self.state.attachments().filter_map(|(name, attachment)| {
            let why = self.bare.get(&attachment.pod.ifindex)?;
            let pod =
                attachment.owner.as_ref().map_or_else(|| Object::of_cluster(Kind::Pod, name), |owner| Object::named(Kind::Pod, &owner.pod));
            Some((pod, format!("the pod's device has no programs of this version, so no policy is in force for it: {why}")))
        });
        attachments.collect()
    }

    /// The NetworkPolicies that a pod's entry would put in force.
    fn policies_of_pod(&self, key: &PodKey, why: &str) -> FailedObjects {
        let pods = self.state.pods_at(&[key.address].into());
        let Some(pod) = pods.get(&key.address) else { return FailedObjects::new() };
        let isolating = [direction::INGRESS, direction::EGRESS].into_iter().flat_map(|way| self.state.isolating(&pod.name, way));
        let message = format!("not in force for pod {}/{}: {why}", pod.name.namespace, pod.name.name);
        isolating.map(|policy| (Object::named(Kind::NetworkPolicy, &policy), message.clone())).collect()
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

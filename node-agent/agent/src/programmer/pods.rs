//! The pods of this node: programs on their devices, entries in the maps, and what becomes of pods that are gone.

use super::{NO_ENTRIES, Programmer, Reply, Waiting, answer, key, refusal};
use crate::attachments;
use crate::dataplane::{FailedStep, Failure};
use orknet_abi::{Address, Pod, PodKey};
use orknet_cni::protocol::{self, AttachmentName, Reason, Refusal};
use orknet_compiler::{Attachment, Change, Owner, Step};
use std::collections::BTreeSet;
use std::sync::Arc;

impl Programmer {
    pub(super) fn attach(&mut self, record: &protocol::Attachment, owner: Option<Owner>, reply: Reply, waiting: &mut Waiting) {
        // Programs first: once the maps lead to the device, packets must already be checked.
        match self.dataplane.attach_pod(record.host_ifindex) {
            Ok(()) => {
                self.bare.remove(&record.host_ifindex);
                // The plugin gives an address to one pod at a time: who had it before is gone, even if nobody told us.
                let abandoned = self.note_pod(&record.attachment, Some(attachments::facts(record, owner)));
                waiting.abandoned.extend(abandoned);
                waiting.new_devices.insert(record.host_ifindex);
                self.namespaces.extend(attachments::namespace(record).map(|path| (record.host_ifindex, path)));
                waiting.attached.push((record.attachment.clone(), reply));
            }
            Err(failure) => answer(reply, Err(refusal(Reason::Failed, failure))),
        }
    }

    /// Takes note of a pod; the devices that are no pod's from now on.
    pub(super) fn note_pod(&mut self, name: &AttachmentName, facts: Option<Attachment>) -> BTreeSet<u32> {
        let before = self.devices();
        self.broken.remove(&key(name));
        self.state.note(Change::Attachment(key(name), facts));
        let gone: BTreeSet<u32> = before.difference(&self.devices()).copied().collect();
        self.namespaces.retain(|device, _| !gone.contains(device));
        gone
    }

    pub(super) fn check(&self, name: &AttachmentName) -> Result<(), Refusal> {
        let known = self.state.attachment(&key(name)).ok_or_else(|| refusal(Reason::NotFound, "the pod is not attached"))?;
        let devices = self.dataplane.pod_devices().map_err(|failure| refusal(Reason::Failed, failure))?;
        if !devices.contains(&known.pod.ifindex) {
            return Err(refusal(Reason::NotFound, "the pod's device has no programs"));
        }
        if self.leads_to(known) { Ok(()) } else { Err(refusal(Reason::NotFound, NO_ENTRIES)) }
    }

    /// Whether the kernel is known to hold what a pod needs.
    pub(super) fn leads_to(&self, pod: &Attachment) -> bool {
        let pods = &self.state.image().pods;
        // Its rules are as they were planned.
        let place = |pod: &Pod| (pod.ifindex, pod.pod_mac, pod.host_mac);
        let is_held = |(key, value): (PodKey, Pod)| pods.get(&key).is_some_and(|held| place(held) == place(&value));
        self.is_image_known && !pod.addresses.is_empty() && pod.entries().all(is_held)
    }

    /// Takes the programs from devices that are no pod's, once the maps no longer send packets to them.
    pub(super) fn release(&self, devices: &BTreeSet<u32>) -> Result<(), Failure> {
        let is_target = |device: u32| self.state.image().pods.values().any(|pod| pod.ifindex == device);
        for &device in devices.difference(&self.devices()) {
            if !self.is_image_known || is_target(device) {
                return Err(Failure(format!("the maps may still lead to device {device}")));
            }
            self.dataplane.detach_pod(device)?;
        }
        Ok(())
    }

    /// The addresses of a pod that has been programmed.
    pub(super) fn outcome_of(&self, name: &AttachmentName, failures: &[FailedStep]) -> Result<BTreeSet<Address>, Refusal> {
        let known = self.state.attachment(&key(name)).ok_or_else(|| {
            // A detach of the same pod, or another pod with its address, was in the same batch.
            refusal(Reason::NotFound, "the pod was detached meanwhile")
        })?;
        // An entry of its own may be left from before, with other rules.
        let own = |failure: &&FailedStep| matches!(failure.step, Step::PutPod(key, _) if known.addresses.contains(&key.address));
        match failures.iter().find(own) {
            None if self.leads_to(known) => Ok(known.addresses.iter().copied().collect()),
            failure => Err(refusal(Reason::Failed, failure.map_or(NO_ENTRIES, |failure| &failure.why))),
        }
    }

    /// Answers for a pod that has been programmed once no flow is left of who had its addresses before.
    pub(super) fn purge_then_answer(&self, addresses: BTreeSet<Address>, reply: Reply) {
        // Nothing may be noted of that any more.
        drop(self.open_flows.withdraw(&addresses));
        let then = |outcome: Result<(), Failure>| answer(reply, outcome.map_err(|failure| refusal(Reason::Failed, failure)));
        self.purger.purge(addresses, Box::new(then));
    }

    /// A pod whose device is gone is gone with it, even if nobody could tell us: its DEL may have come while no agent was there.
    pub(super) fn forget_gone_pods(&mut self) {
        let present = match attachments::device_indices() {
            Ok(present) => present,
            Err(error) => return tracing::warn!(%error, "cannot read which devices there are"),
        };
        let gone = self.state.attachments().filter(|(_, pod)| !present.contains(&pod.pod.ifindex));
        let gone: Vec<_> = gone.map(|(name, _)| Arc::clone(name)).collect();
        if gone.is_empty() {
            return;
        }
        for name in gone {
            tracing::info!(pod = &*name, "the device of a pod is gone; forgetting the pod");
            self.state.note(Change::Attachment(name, None));
        }
        self.program(Waiting::default());
    }

    /// Every attachment has its programs, and nothing else has.
    pub(super) fn restore_devices(&mut self) {
        let wanted = self.devices();
        // Over new maps (another version's, after an upgrade) there are no entries before the policies are known: till then programs of ours
        // would take what these pods send for a stranger's, and those of before serve them by their own maps.
        let is_served = |device: &&u32| self.was_synced || self.state.image().pods.values().any(|pod| pod.ifindex == **device);
        let served: Vec<_> = wanted.iter().filter(is_served).copied().collect();
        self.bare.clear();
        for device in served {
            if let Err(failure) = self.dataplane.attach_pod(device) {
                tracing::warn!(device, %failure, "cannot attach the programs of a pod");
                self.bare.insert(device, failure.to_string());
            }
        }
        if !self.bare.is_empty()
            && let Ok(present) = attachments::device_indices()
        {
            // Nothing passes a device that is gone, and its pod is soon forgotten.
            self.bare.retain(|device, _| present.contains(device));
        }
        let found = self.dataplane.pod_devices().and_then(|devices| Ok((devices, self.dataplane.stale_devices()?)));
        let (attached, stale) = match found {
            Ok(found) => found,
            Err(failure) => return tracing::warn!(%failure, "cannot read which devices have programs"),
        };
        for &device in attached.union(&stale).filter(|device| !wanted.contains(device)) {
            match self.dataplane.detach_pod(device) {
                Ok(()) => tracing::info!(device, "detached a device that is no pod's"),
                Err(failure) => tracing::warn!(device, %failure, "cannot detach a device"),
            }
        }
    }

    /// The pods' devices.
    pub(super) fn devices(&self) -> BTreeSet<u32> {
        self.state.attachments().map(|(_, attachment)| attachment.pod.ifindex).collect()
    }
}

//! Writes that found no room: the image goes back to what the kernel holds, without reading the maps, and what is concerned is planned
//! again. So a full map costs what does not fit, and not all of the maps at every change.

use super::State;
use crate::image::Step;
use orknet_abi::{Backend, BackendKey, Pod, PodKey, Service, ServiceKey, TableChunk, TableKey};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What the last plan replaced and removed.
#[derive(Debug, Default)]
pub(super) struct Before {
    pub services: BTreeMap<ServiceKey, Replaced>,
    pub backends: BTreeMap<BackendKey, Backend>,
    pub tables: BTreeMap<TableKey, Arc<TableChunk>>,
    /// What they were, and how often the plan writes or removes them.
    pub pods: BTreeMap<PodKey, (Option<Pod>, usize)>,
}

/// What an entry was before the plan.
#[derive(Clone, Copy, Debug)]
pub(super) struct Replaced {
    /// `None` if it is new.
    pub old: Option<Service>,
    /// Times that the plan writes it.
    pub writes: usize,
}

impl Before {
    /// A plan writes an entry.
    pub fn note(&mut self, key: ServiceKey, old: Option<Service>) {
        self.services.entry(key).or_insert(Replaced { old, writes: 0 }).writes += 1;
    }

    /// The same of a pod's entry, written or removed.
    pub fn note_pod(&mut self, key: PodKey, old: Option<Pod>) {
        self.pods.entry(key).or_insert((old, 0)).1 += 1;
    }
}

impl State {
    /// Takes these steps of the last plan out of the image: the kernel had no room for them, or for what they need, and holds what it
    /// held. All others were done. The next plan tries again what they were for.
    ///
    /// `false` if it cannot be told what the kernel holds: then it must be read, and adopted. So it is for what is said of the node itself,
    /// for look-up tables (a Service that misses its own is written without), for rules and addresses that were to be removed, and for
    /// steps that are not of the last plan.
    #[must_use]
    pub fn take_back<'a>(&mut self, failed: impl IntoIterator<Item = &'a Step> + Clone) -> bool {
        // What was to be removed is held by what could not be replaced: first come the parts.
        let mut services: BTreeMap<ServiceKey, usize> = BTreeMap::new();
        for step in failed.clone() {
            if let Step::PutService(key, _) = step {
                *services.entry(*key).or_default() += 1;
            }
        }
        let is_known = failed.into_iter().all(|step| self.take_back_part(step))
            && services.into_iter().all(|(key, failures)| self.take_back_service(key, failures));
        self.forget_before();
        is_known
    }

    /// Every step of the last plan is in the kernel, or has been taken back.
    pub(super) fn forget_before(&mut self) {
        self.before = Before::default();
        self.lists.forget_retired();
        self.tables.forget_retired();
        self.sources.forget_retired();
        self.policies.forget_before();
    }

    fn take_back_part(&mut self, step: &Step) -> bool {
        match step {
            Step::PutBackend(key, _) => {
                self.lists.spoil(key.list);
                self.image.backends.remove(key).is_some()
            }
            Step::PutSource(key) => {
                self.sources.spoil(key.set);
                self.image.sources.remove(key)
            }
            Step::DeleteBackend(key) => {
                let Some(backend) = self.before.backends.remove(key) else { return false };
                self.image.backends.insert(*key, backend);
                self.lists.take_back(key.list)
            }
            Step::DeleteTable(key) => {
                let Some(chunk) = self.before.tables.remove(key) else { return false };
                self.image.tables.insert(*key, chunk);
                self.tables.take_back(key.table)
            }
            Step::DeleteSource(key) => self.image.sources.insert(*key) && self.sources.take_back(key.set),
            Step::PutService(..) => true,
            // One that is replaced stays as it was if its rules are not there.
            Step::PutPod(key, new) => {
                self.pods_dirty = true;
                let Some((old, 1)) = self.before.pods.remove(key) else { return false };
                let held = self.image.pods.remove(key);
                self.image.pods.extend(old.map(|old| (*key, old)));
                held == Some(*new)
            }
            // An entry that is there is replaced in its place: what found no room was not.
            Step::PutRange(key, _) => {
                self.ranges_dirty = true;
                self.image.ranges.remove(key).is_some()
            }
            Step::PutNode(_) | Step::PutTable(..) | Step::DeleteRange(_) | Step::DeleteService(_) | Step::DeletePod(_) => false,
            Step::PutRule(..) | Step::PutPort(..) | Step::PutVerdict(..) | Step::PutPeer(..) => {
                self.policies.take_back(step, &mut self.image)
            }
            Step::DeleteRule(_) | Step::DeletePort(_) | Step::DeleteVerdict(_) | Step::DeletePeer(_) => false,
        }
    }

    /// The failures are all of the plan's writes of the entry, or the kernel holds what one of them has left.
    fn take_back_service(&mut self, key: ServiceKey, failures: usize) -> bool {
        let Some(Replaced { old, .. }) = self.before.services.remove(&key).filter(|replaced| replaced.writes == failures) else {
            return false;
        };
        let Some(new) = self.image.services.remove(&key) else { return false };
        if let Some(old) = old {
            self.hold(&old);
            self.image.services.insert(key, old);
        }
        self.release(&new);
        match self.service_of(&key).cloned() {
            Some(owner) => self.dirty.insert(owner),
            // Those of host ports are looked at in every plan.
            None => return self.host_keys.contains(&key),
        };
        true
    }
}

//! [`MapImage`]: everything the kernel should know, as plain values, and the order in which a change of it is safe to apply.

use orknet_abi::{Backend, BackendKey, Pod, PodKey, RangeKey, Service, ServiceKey};
use std::collections::{BTreeMap, BTreeSet};

/// The wanted contents of the maps that user space owns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MapImage {
    pub services: BTreeMap<ServiceKey, Service>,
    pub backends: BTreeMap<BackendKey, Backend>,
    pub pods: BTreeMap<PodKey, Pod>,
    /// Addresses in these that no Service has are dropped.
    pub ranges: BTreeSet<RangeKey>,
}

/// One write to one map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    PutBackend(BackendKey, Backend),
    PutPod(PodKey, Pod),
    PutService(ServiceKey, Service),
    PutRange(RangeKey),
    DeleteRange(RangeKey),
    DeleteService(ServiceKey),
    DeletePod(PodKey),
    DeleteBackend(BackendKey),
}

/// Writes in an order that is safe at every step: backends before the Services that use them, Services before the range in which
/// all others are dropped, the reverse on removal.
/// Steps of one kind stand together, so that a batch operation of the kernel can take them at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    pub steps: Vec<Step>,
}

impl Plan {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }
}

/// What is wrong with an image: none of these may be seen by a program, at any step of any plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Flaw {
    /// A Service counts on a backend that is not there.
    MissingBackend(ServiceKey, BackendKey),
}

impl MapImage {
    /// Whether all maps are empty.
    pub fn is_empty(&self) -> bool {
        self.services.is_empty() && self.backends.is_empty() && self.pods.is_empty() && self.ranges.is_empty()
    }

    /// What one write makes of the maps: the model of the kernel that tests and fakes use.
    pub fn apply(&mut self, step: Step) {
        match step {
            Step::PutBackend(key, value) => drop(self.backends.insert(key, value)),
            Step::PutPod(key, value) => drop(self.pods.insert(key, value)),
            Step::PutService(key, value) => drop(self.services.insert(key, value)),
            Step::PutRange(key) => _ = self.ranges.insert(key),
            Step::DeleteRange(key) => _ = self.ranges.remove(&key),
            Step::DeleteService(key) => drop(self.services.remove(&key)),
            Step::DeletePod(key) => drop(self.pods.remove(&key)),
            Step::DeleteBackend(key) => drop(self.backends.remove(&key)),
        }
    }

    /// The backends of one list, in the order of their slots.
    pub fn list(&self, list: u32) -> impl Iterator<Item = (BackendKey, Backend)> + '_ {
        self.backends.range(BackendKey { list, slot: 0 }..=BackendKey { list, slot: u32::MAX }).map(|(key, value)| (*key, *value))
    }

    /// The first thing that is wrong, if any.
    pub fn flaw(&self) -> Option<Flaw> {
        self.services.iter().find_map(|(key, service)| {
            (0..service.count)
                .map(|slot| BackendKey { list: service.list, slot })
                .find(|backend| !self.backends.contains_key(backend))
                .map(|backend| Flaw::MissingBackend(*key, backend))
        })
    }

    /// Backends that no Service reaches.
    pub fn orphans(&self) -> Vec<BackendKey> {
        let mut counts: BTreeMap<u32, u32> = BTreeMap::new();
        for service in self.services.values() {
            let count = counts.entry(service.list).or_default();
            *count = service.count.max(*count);
        }
        self.backends.keys().filter(|key| counts.get(&key.list).is_none_or(|count| key.slot >= *count)).copied().collect()
    }

    /// The same contents with lists numbered from 1 in the order of the Services: two images that mean the same are equal in
    /// this form. Orphans are left out.
    pub fn canonical(&self) -> Self {
        let mut canonical = Self { pods: self.pods.clone(), ranges: self.ranges.clone(), ..Self::default() };
        let mut next = 0;
        for (key, service) in &self.services {
            let mut service = *service;
            if service.count > 0 {
                next += 1;
                let backends = self.list(service.list).take_while(|(key, _)| key.slot < service.count);
                canonical.backends.extend(backends.map(|(key, value)| (BackendKey { list: next, ..key }, value)));
                service.list = next;
            } else {
                service.list = 0;
            }
            canonical.services.insert(*key, service);
        }
        canonical
    }

    /// List ids that are in use, by a Service or by a backend.
    pub(crate) fn lists(&self) -> BTreeSet<u32> {
        let of_services = self.services.values().filter(|service| service.count > 0).map(|service| service.list);
        of_services.chain(self.backends.keys().map(|key| key.list)).collect()
    }
}

//! The compiler kept up to date: changes in, plans out, touching only what a change touches.

use crate::facts::{Attachment, NodeFacts, ObjectName, ServiceFacts, SliceFacts};
use crate::fronts::{Front, fronts};
use crate::image::{MapImage, Plan, Step};
use crate::lists::ListIds;
use orknet_abi::{Address, BackendKey, Node, Pod, PodKey, Range, RangeKey, Service, ServiceKey};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// One fact that changed. A change is the whole new value, never a difference; `None` means that the object is gone.
#[derive(Clone, Debug)]
pub enum Change {
    Service(ObjectName, Option<ServiceFacts>),
    Slice(ObjectName, Option<SliceFacts>),
    Node(NodeFacts),
    /// The name is unique on the node: container and interface. Others that claim one of its addresses are forgotten.
    Attachment(Arc<str>, Option<Attachment>),
    /// All ranges of addresses that are known.
    Ranges(BTreeMap<RangeKey, Range>),
    /// What programs must know of this node.
    Settings(Node),
}

/// What is wanted, and what the kernel holds as far as we know.
#[derive(Debug, Default)]
pub struct State {
    node: NodeFacts,
    services: HashMap<ObjectName, Entry>,
    /// How many of these have the Service itself, not only slices for one.
    service_count: usize,
    /// Which Service a slice belongs to, by the slice's name.
    owner_of_slice: HashMap<ObjectName, Arc<str>>,
    /// Which Services claim an address. Nearly always one.
    claims: HashMap<Address, Vec<ObjectName>>,
    attachments: BTreeMap<Arc<str>, Attachment>,
    ranges: BTreeMap<RangeKey, Range>,
    settings: Option<Node>,
    dirty: BTreeSet<ObjectName>,
    pods_dirty: bool,
    /// The image was read back: it may hold entries that are nobody's.
    sweep: bool,
    lists: ListIds,
    image: MapImage,
}

/// A Service as far as it is known: slices may come before it and outlive it.
#[derive(Debug, Default)]
struct Entry {
    service: Option<ServiceFacts>,
    slices: Vec<(Arc<str>, SliceFacts)>,
    /// Entries that it has in the image.
    keys: Vec<ServiceKey>,
}

/// Steps by kind, put into their order at the end.
#[derive(Default)]
struct Draft {
    put_node: Vec<Step>,
    put_backends: Vec<Step>,
    put_pods: Vec<Step>,
    put_services: Vec<Step>,
    put_ranges: Vec<Step>,
    delete_ranges: Vec<Step>,
    delete_services: Vec<Step>,
    delete_pods: Vec<Step>,
    delete_backends: Vec<Step>,
}

impl State {
    /// Nothing known, an empty kernel.
    pub fn new(node: NodeFacts) -> Self {
        Self { node, ..Self::default() }
    }

    /// What the kernel holds when every plan up to now has been applied.
    pub fn image(&self) -> &MapImage {
        &self.image
    }

    /// Takes `image` for what the kernel really holds: at a restart, after a write that failed, or when the maps turned out to differ.
    /// The next plan leads from there to what is wanted and rewrites nothing that is already so.
    pub fn adopt(&mut self, image: MapImage) {
        self.lists.resume(&image);
        self.image = image;
        self.sweep = true;
        self.pods_dirty = true;
        self.dirty.extend(self.services.keys().cloned());
    }

    /// Takes note of a change. Nothing is computed before [`Self::plan`], so that a burst costs one computation per Service.
    pub fn note(&mut self, change: Change) {
        match change {
            Change::Service(name, facts) => self.note_service(name, facts),
            Change::Slice(name, facts) => self.note_slice(name, facts),
            Change::Node(facts) if facts == self.node => {}
            Change::Node(facts) => {
                self.node = facts;
                self.dirty.extend(self.services.keys().cloned());
            }
            Change::Attachment(name, Some(facts)) => {
                self.pods_dirty |= self.attachments.get(&name) != Some(&facts);
                self.attachments.retain(|_, known| !known.collides_with(&facts));
                self.attachments.insert(name, facts);
            }
            Change::Attachment(name, None) => self.pods_dirty |= self.attachments.remove(&name).is_some(),
            Change::Ranges(ranges) => self.ranges = ranges,
            Change::Settings(node) => self.settings = Some(node),
        }
    }

    /// Takes note of changes and plans them.
    pub fn apply(&mut self, changes: impl IntoIterator<Item = Change>) -> Plan {
        changes.into_iter().for_each(|change| self.note(change));
        self.plan()
    }

    /// Forgets Services that are not in `listed`: the end of a new list, which shows no deletions.
    pub fn retain_services(&mut self, listed: &HashSet<ObjectName>) {
        let known = self.services.iter().filter(|(_, entry)| entry.service.is_some());
        let gone: Vec<_> = known.map(|(name, _)| name).filter(|name| !listed.contains(*name)).cloned().collect();
        gone.into_iter().for_each(|name| self.note_service(name, None));
    }

    /// Forgets slices that are not in `listed`.
    pub fn retain_slices(&mut self, listed: &HashSet<ObjectName>) {
        let gone: Vec<_> = self.owner_of_slice.keys().filter(|name| !listed.contains(*name)).cloned().collect();
        gone.into_iter().for_each(|name| self.note_slice(name, None));
    }

    /// The attachments that are known, by name; no two have an address in common.
    pub fn attachments(&self) -> impl Iterator<Item = (&Arc<str>, &Attachment)> {
        self.attachments.iter()
    }

    /// One attachment.
    pub fn attachment(&self, name: &str) -> Option<&Attachment> {
        self.attachments.get(name)
    }

    /// Number of Services that have entries.
    pub fn service_count(&self) -> usize {
        self.service_count
    }

    /// The writes that lead from what the kernel holds to what is wanted; [`Self::image`] is then what it will hold. If a write fails,
    /// read the maps back and [`Self::adopt`] them.
    pub fn plan(&mut self) -> Plan {
        let mut draft = Draft::default();
        let wanted = self.wanted_services();
        let mut kept = HashSet::new();
        for (key, front) in wanted {
            match front {
                Some(front) => self.put_service(key, front, &mut kept, &mut draft),
                None => self.delete_service(key, &mut draft),
            }
        }
        if std::mem::take(&mut self.sweep) {
            draft.delete_backends.clear();
            for key in self.image.orphans() {
                self.image.backends.remove(&key);
                draft.delete_backends.push(Step::DeleteBackend(key));
            }
        }
        if std::mem::take(&mut self.pods_dirty) {
            self.plan_pods(&mut draft);
        }
        self.plan_node(&mut draft);
        self.plan_ranges(&mut draft);
        draft.into_plan()
    }

    /// The same for the pods alone, for the time before the Services are known. What is not planned now is planned later.
    pub fn plan_attachments(&mut self) -> Plan {
        let mut draft = Draft::default();
        if std::mem::take(&mut self.pods_dirty) {
            self.plan_pods(&mut draft);
        }
        draft.into_plan()
    }

    fn note_service(&mut self, name: ObjectName, facts: Option<ServiceFacts>) {
        if facts.is_none() && !self.services.contains_key(&name) {
            return;
        }
        let entry = self.services.entry(name.clone()).or_default();
        if entry.service == facts {
            return;
        }
        let addresses = |facts: &Option<ServiceFacts>| facts.iter().flat_map(|facts| facts.cluster_addresses.to_vec()).collect::<Vec<_>>();
        self.service_count = self.service_count + usize::from(facts.is_some()) - usize::from(entry.service.is_some());
        let new = addresses(&facts);
        let old = addresses(&std::mem::replace(&mut entry.service, facts));
        for address in old.iter().filter(|address| !new.contains(address)) {
            let claimants = self.claims.entry(*address).or_default();
            claimants.retain(|claimant| *claimant != name);
            self.dirty.extend(claimants.iter().cloned());
            if claimants.is_empty() {
                self.claims.remove(address);
            }
        }
        for address in new.iter().filter(|address| !old.contains(address)) {
            let claimants = self.claims.entry(*address).or_default();
            self.dirty.extend(claimants.iter().cloned());
            claimants.push(name.clone());
        }
        self.dirty.insert(name);
    }

    fn note_slice(&mut self, name: ObjectName, facts: Option<SliceFacts>) {
        let service = facts.as_ref().map(|facts| facts.service.clone());
        let former = match &service {
            Some(service) => self.owner_of_slice.insert(name.clone(), service.clone()),
            None => self.owner_of_slice.remove(&name),
        };
        if let Some(former) = former.filter(|former| Some(former) != service.as_ref()) {
            let owner = ObjectName { namespace: name.namespace.clone(), name: former };
            if let Some(entry) = self.services.get_mut(&owner) {
                entry.slices.retain(|(slice, _)| *slice != name.name);
            }
            self.dirty.insert(owner);
        }
        if let (Some(facts), Some(service)) = (facts, service) {
            let owner = ObjectName { namespace: name.namespace, name: service };
            let slices = &mut self.services.entry(owner.clone()).or_default().slices;
            match slices.iter_mut().find(|(slice, _)| *slice == name.name) {
                Some((_, known)) if *known == facts => return,
                Some((_, known)) => *known = facts,
                None => slices.push((name.name, facts)),
            }
            self.dirty.insert(owner);
        }
    }

    /// For every entry that may have changed: what it should be. A key that one Service gives up and another takes is in here once.
    fn wanted_services(&mut self) -> BTreeMap<ServiceKey, Option<Front>> {
        let mut wanted: BTreeMap<ServiceKey, Option<Front>> = BTreeMap::new();
        for name in std::mem::take(&mut self.dirty) {
            let Some(entry) = self.services.get_mut(&name) else { continue };
            let claims = &self.claims;
            let owns = |address: Address| claims.get(&address).and_then(|claimants| claimants.iter().min()) == Some(&name);
            let slices = entry.slices.iter().map(|(_, slice)| slice);
            let new = entry.service.as_ref().map(|service| fronts(service, slices, &self.node, owns)).unwrap_or_default();
            let keys = new.iter().map(|(key, _)| *key).collect();
            for key in std::mem::replace(&mut entry.keys, keys) {
                wanted.entry(key).or_insert(None);
            }
            wanted.extend(new.into_iter().map(|(key, front)| (key, Some(front))));
            if entry.service.is_none() && entry.slices.is_empty() {
                self.services.remove(&name);
            }
        }
        if self.sweep {
            // All Services are dirty then, so what is not in `wanted` by now is nobody's.
            for key in self.image.services.keys() {
                wanted.entry(*key).or_insert(None);
            }
        }
        wanted
    }

    /// `kept` holds the lists that entries of this plan go on using: two entries that share a list are taken apart.
    fn put_service(&mut self, key: ServiceKey, front: Front, kept: &mut HashSet<u32>, draft: &mut Draft) {
        let old = self.image.services.get(&key).copied();
        let reusable = old.filter(|old| old.count > 0 && self.holds(old, &front) && kept.insert(old.list));
        let list = match reusable {
            Some(old) => old.list,
            None if front.backends.is_empty() => 0,
            None => self.put_list(&front, draft),
        };
        let new = front.value(list);
        if old != Some(new) {
            self.image.services.insert(key, new);
            draft.put_services.push(Step::PutService(key, new));
        }
        if let Some(old) = old.filter(|old| old.list != list) {
            self.retire(old.list, draft);
        }
    }

    fn delete_service(&mut self, key: ServiceKey, draft: &mut Draft) {
        if let Some(old) = self.image.services.remove(&key) {
            draft.delete_services.push(Step::DeleteService(key));
            self.retire(old.list, draft);
        }
    }

    fn put_list(&mut self, front: &Front, draft: &mut Draft) -> u32 {
        let list = self.lists.next(&self.image);
        for (slot, backend) in (0..).zip(&front.backends) {
            let key = BackendKey { list, slot };
            self.image.backends.insert(key, *backend);
            draft.put_backends.push(Step::PutBackend(key, *backend));
        }
        list
    }

    /// In a sweep the lists stay until all Services are settled: another entry may share one.
    fn retire(&mut self, list: u32, draft: &mut Draft) {
        if list == 0 || self.sweep {
            return;
        }
        let keys: Vec<_> = self.image.list(list).map(|(key, _)| key).collect();
        for key in keys {
            self.image.backends.remove(&key);
            draft.delete_backends.push(Step::DeleteBackend(key));
        }
    }

    fn holds(&self, service: &Service, front: &Front) -> bool {
        let slots = self.image.list(service.list).take_while(|(key, _)| key.slot < service.count);
        service.count as usize == front.backends.len() && slots.map(|(_, backend)| backend).eq(front.backends.iter().copied())
    }

    fn plan_pods(&mut self, draft: &mut Draft) {
        let wanted: BTreeMap<PodKey, Pod> = self.attachments.values().flat_map(Attachment::entries).collect();
        let changed = wanted.iter().filter(|(key, pod)| self.image.pods.get(key) != Some(pod));
        draft.put_pods.extend(changed.map(|(key, pod)| Step::PutPod(*key, *pod)));
        draft.delete_pods.extend(self.image.pods.keys().filter(|key| !wanted.contains_key(key)).map(|key| Step::DeletePod(*key)));
        self.image.pods = wanted;
    }

    fn plan_node(&mut self, draft: &mut Draft) {
        if self.image.node != self.settings {
            draft.put_node.push(Step::PutNode(self.settings.unwrap_or_default()));
            self.image.node = self.settings;
        }
    }

    fn plan_ranges(&mut self, draft: &mut Draft) {
        let changed = self.ranges.iter().filter(|(key, range)| self.image.ranges.get(key) != Some(range));
        draft.put_ranges.extend(changed.map(|(key, range)| Step::PutRange(*key, *range)));
        let gone = self.image.ranges.keys().filter(|key| !self.ranges.contains_key(key));
        draft.delete_ranges.extend(gone.map(|key| Step::DeleteRange(*key)));
        self.image.ranges.clone_from(&self.ranges);
    }
}

impl Draft {
    fn into_plan(self) -> Plan {
        let mut steps = self.put_node;
        steps.extend(self.put_backends);
        steps.extend(self.put_pods);
        steps.extend(self.put_services);
        steps.extend(self.put_ranges);
        steps.extend(self.delete_ranges);
        steps.extend(self.delete_services);
        steps.extend(self.delete_pods);
        steps.extend(self.delete_backends);
        Plan { steps }
    }
}

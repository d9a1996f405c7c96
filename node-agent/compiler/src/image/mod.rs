//! [`MapImage`]: everything the kernel should know, as plain values, and the order in which a change of it is safe to apply.

mod policy;

pub(crate) use policy::{sets_of, with_sets};

use orknet_abi::{
    Backend, BackendKey, Judgement, Node, Peer, Pod, PodKey, PortKey, Range, RangeKey, Rule, Service, ServiceKey, SourceKey, TABLE_CHUNK,
    TableChunk, TableKey, Verdict, VerdictKey, scope,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The wanted contents of the maps that user space owns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MapImage {
    pub services: BTreeMap<ServiceKey, Service>,
    pub backends: BTreeMap<BackendKey, Backend>,
    /// Look-up tables, in the kernel's form.
    pub tables: BTreeMap<TableKey, Arc<TableChunk>>,
    pub sources: BTreeSet<SourceKey>,
    pub pods: BTreeMap<PodKey, Pod>,
    pub peers: BTreeMap<RangeKey, Peer>,
    pub verdicts: BTreeMap<VerdictKey, Verdict>,
    pub ports: BTreeMap<PortKey, Judgement>,
    pub rules: BTreeMap<u32, Rule>,
    pub ranges: BTreeMap<RangeKey, Range>,
    /// `None` until the node is known.
    pub node: Option<Node>,
}

/// One write to one map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// All zero stands for a node that is not known.
    PutNode(Node),
    PutTable(TableKey, Arc<TableChunk>),
    PutBackend(BackendKey, Backend),
    PutSource(SourceKey),
    PutRule(u32, Rule),
    PutPort(PortKey, Judgement),
    PutVerdict(VerdictKey, Verdict),
    PutPeer(RangeKey, Peer),
    PutPod(PodKey, Pod),
    PutService(ServiceKey, Service),
    PutRange(RangeKey, Range),
    DeleteRange(RangeKey),
    DeleteService(ServiceKey),
    DeletePod(PodKey),
    DeletePeer(RangeKey),
    DeleteVerdict(VerdictKey),
    DeletePort(PortKey),
    DeleteRule(u32),
    DeleteSource(SourceKey),
    DeleteBackend(BackendKey),
    DeleteTable(TableKey),
}

/// Writes in an order that is safe at every step: tables, backends and sources before the Services that use them, Services before the
/// range in which all others are dropped, the reverse on removal. Rules, tables of ports and verdicts come before the addresses and the pods
/// that get them, and go after these.
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
    /// A Service's look-up table is not whole: a chunk is missing, or the node that says how long it is.
    MissingTable(ServiceKey, TableKey),
    /// A Service's look-up table names a slot that its list has not.
    StrangeSlot(ServiceKey, u16),
    /// A Service's set of sources is not there.
    MissingSources(ServiceKey),
    /// A front is there for packets from outside, and not for what is inside.
    OnlyOutside(ServiceKey),
    /// A pod's set of rules says nothing about peer set 0.
    MissingSet(PodKey, u32),
    /// A verdict's table of ports is not there.
    MissingPorts(VerdictKey),
    /// Something is said by a rule that is not there.
    MissingRule(u32),
}

impl MapImage {
    /// Whether all maps are empty.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What one write makes of the maps: the model of the kernel that tests and fakes use.
    pub fn apply(&mut self, step: Step) {
        match step {
            Step::PutNode(node) => self.node = (node != Node::default()).then_some(node),
            Step::PutTable(key, chunk) => drop(self.tables.insert(key, chunk)),
            Step::PutBackend(key, value) => drop(self.backends.insert(key, value)),
            Step::PutSource(key) => _ = self.sources.insert(key),
            Step::PutRule(key, value) => drop(self.rules.insert(key, value)),
            Step::PutPort(key, value) => drop(self.ports.insert(key, value)),
            Step::PutVerdict(key, value) => drop(self.verdicts.insert(key, value)),
            Step::PutPeer(key, value) => drop(self.peers.insert(key, value)),
            Step::PutPod(key, value) => drop(self.pods.insert(key, value)),
            Step::PutService(key, value) => drop(self.services.insert(key, value)),
            Step::PutRange(key, value) => drop(self.ranges.insert(key, value)),
            Step::DeleteRange(key) => drop(self.ranges.remove(&key)),
            Step::DeleteService(key) => drop(self.services.remove(&key)),
            Step::DeletePod(key) => drop(self.pods.remove(&key)),
            Step::DeletePeer(key) => drop(self.peers.remove(&key)),
            Step::DeleteVerdict(key) => drop(self.verdicts.remove(&key)),
            Step::DeletePort(key) => drop(self.ports.remove(&key)),
            Step::DeleteRule(key) => drop(self.rules.remove(&key)),
            Step::DeleteSource(key) => _ = self.sources.remove(&key),
            Step::DeleteBackend(key) => drop(self.backends.remove(&key)),
            Step::DeleteTable(key) => drop(self.tables.remove(&key)),
        }
    }

    /// The backends of one list, in the order of their slots.
    pub fn list(&self, list: u32) -> impl Iterator<Item = (BackendKey, Backend)> + '_ {
        self.backends.range(BackendKey { list, slot: 0 }..=BackendKey { list, slot: u32::MAX }).map(|(key, value)| (*key, *value))
    }

    /// The chunks of one look-up table, in their order.
    pub fn table(&self, table: u32) -> impl Iterator<Item = (TableKey, &Arc<TableChunk>)> + '_ {
        self.tables.range(TableKey { table, chunk: 0 }..=TableKey { table, chunk: u32::MAX }).map(|(key, chunk)| (*key, chunk))
    }

    /// The first thing that is wrong, if any.
    pub fn flaw(&self) -> Option<Flaw> {
        let sets: BTreeSet<u32> = self.sources.iter().map(|key| key.set).collect();
        let of_services = self.services.iter().find_map(|(key, service)| {
            self.missing_backend(*key, service)
                .or_else(|| self.table_flaw(*key, service))
                .or_else(|| (service.sources != 0 && !sets.contains(&service.sources)).then_some(Flaw::MissingSources(*key)))
                .or_else(|| {
                    let inside = ServiceKey { scope: scope::INSIDE, ..*key };
                    (!self.services.contains_key(&inside)).then_some(Flaw::OnlyOutside(*key))
                })
        });
        of_services.or_else(|| self.policy_flaw())
    }

    fn missing_backend(&self, key: ServiceKey, service: &Service) -> Option<Flaw> {
        let slots = (0..service.count).map(|slot| BackendKey { list: service.list, slot });
        slots.into_iter().find(|backend| !self.backends.contains_key(backend)).map(|backend| Flaw::MissingBackend(key, backend))
    }

    fn table_flaw(&self, key: ServiceKey, service: &Service) -> Option<Flaw> {
        if service.table == 0 || service.count == 0 {
            return None;
        }
        let size = self.node.map_or(0, |node| node.table_size) as usize;
        let mut chunks = (0..size.div_ceil(TABLE_CHUNK).max(1) as u32).map(|chunk| TableKey { table: service.table, chunk });
        if let Some(missing) = chunks.find(|chunk| !self.tables.contains_key(chunk)) {
            return Some(Flaw::MissingTable(key, missing));
        }
        let mut slots = self.table(service.table).flat_map(|(_, chunk)| chunk.slots);
        slots.find(|slot| u32::from(*slot) >= service.count).map(|slot| Flaw::StrangeSlot(key, slot))
    }

    /// The writes that would remove what no Service reaches: backends, look-up tables, sources; and what no pod reaches of verdicts and ports.
    pub fn orphans(&self) -> Vec<Step> {
        let mut counts: BTreeMap<u32, u32> = BTreeMap::new();
        let (mut tables, mut sets) = (BTreeSet::new(), BTreeSet::new());
        for service in self.services.values() {
            let count = counts.entry(service.list).or_default();
            *count = service.count.max(*count);
            tables.insert(service.table);
            sets.insert(service.sources);
        }
        let sources = self.sources.iter().filter(|key| key.set == 0 || !sets.contains(&key.set)).map(|key| Step::DeleteSource(*key));
        let unreached = |key: &&BackendKey| counts.get(&key.list).is_none_or(|count| key.slot >= *count);
        let backends = self.backends.keys().filter(unreached).map(|key| Step::DeleteBackend(*key));
        let unused = self.tables.keys().filter(|key| key.table == 0 || !tables.contains(&key.table));
        let of_services = sources.chain(backends).chain(unused.map(|key| Step::DeleteTable(*key)));
        of_services.chain(self.policy_orphans()).collect()
    }

    /// The same contents with lists, tables and sets numbered from 1 in the order of the Services (and so what policies are made of, in the order
    /// of addresses and pods), equal ones with equal numbers: two
    /// images that mean the same are equal in this form. Orphans are left out.
    pub fn canonical(&self) -> Self {
        let mut canonical = Self { ranges: self.ranges.clone(), node: self.node, ..Self::default() };
        self.put_canonical_policies(&mut canonical);
        let (mut lists, mut tables, mut sets) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let mut sources: BTreeMap<u32, BTreeSet<RangeKey>> = BTreeMap::new();
        self.sources.iter().for_each(|key| _ = sources.entry(key.set).or_default().insert(key.range()));
        for (key, service) in &self.services {
            let mut service = *service;
            let slots = self.list(service.list).take_while(|(key, _)| key.slot < service.count);
            let backends: Vec<Backend> = slots.map(|(_, backend)| backend).collect();
            if service.table > 0 {
                let chunks: Vec<_> = self.table(service.table).map(|(key, chunk)| (key.chunk, Arc::clone(chunk))).collect();
                let addresses: Vec<_> = backends.iter().map(|backend| backend.address).collect();
                let next = tables.len() as u32 + 1;
                service.table = *tables
                    .entry((addresses, chunks.iter().map(|(place, chunk)| (*place, chunk.slots)).collect::<Vec<_>>()))
                    .or_insert(next);
                canonical.tables.extend(chunks.into_iter().map(|(chunk, slots)| (TableKey { table: service.table, chunk }, slots)));
            }
            if service.sources > 0 {
                let ranges = sources.get(&service.sources).cloned().unwrap_or_default();
                let next = sets.len() as u32 + 1;
                service.sources = *sets.entry(ranges.clone()).or_insert(next);
                canonical.sources.extend(ranges.iter().map(|range| SourceKey::new(service.sources, range)));
            }
            if service.count > 0 {
                let next = lists.len() as u32 + 1;
                service.list = *lists.entry(backends.clone()).or_insert(next);
                canonical.backends.extend((0..).map(|slot| BackendKey { list: service.list, slot }).zip(backends));
            } else {
                service.list = 0;
            }
            canonical.services.insert(*key, service);
        }
        canonical
    }
}

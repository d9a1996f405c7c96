//! What others ask: counts, where a front leads, which health checks there are.

use super::{Entry, State};
use crate::claims::Claim;
use crate::facts::{Attachment, Endpoint, NodeFacts, ObjectName, Readiness, ServiceFacts, SliceFacts, SlicePort};
use crate::fronts::{Ground, inside};
use crate::tables;
use orknet_abi::{Address, Backend, RangeKey, Service, ServiceKey, protocol, range_kinds};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

/// What a balancer outside of the cluster is told of a Service with `healthCheckNodePort`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// Native byte order.
    pub port: u16,
    /// Ready endpoints on this node.
    pub local_endpoints: usize,
}

/// Something that was opened to a front and leads to a backend. Ports in network order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lead {
    pub front: Address,
    pub front_port_be: u16,
    pub protocol: u8,
    pub backend: Backend,
}

/// Look-up tables that there is no room for. Packets for these Services find a backend without, and nodes may differ in which.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WithoutTable {
    /// See [`Options::table_room`](crate::Options::table_room).
    pub room: u32,
    /// Entries that should be in the map of tables.
    pub entries: usize,
    /// The Services, in part or as a whole.
    pub services: BTreeSet<ObjectName>,
}

impl State {
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

    /// What goes without a look-up table because there is no room for it. Takes as long as there are such.
    pub fn without_table(&self) -> WithoutTable {
        let owners = self.demand.refused().flatten().filter_map(|key| self.service_of(key));
        WithoutTable {
            room: self.options.table_room,
            entries: self.demand.refused().count() * tables::chunk_count(self.table_size()) as usize,
            services: owners.cloned().collect(),
        }
    }

    /// The Services with `healthCheckNodePort` as of the last plan, if anything about them has changed since this was last asked.
    pub fn take_health_checks(&mut self) -> Option<BTreeMap<ObjectName, HealthCheck>> {
        std::mem::take(&mut self.health_changed).then(|| self.health.clone())
    }

    /// Whether flows may go on, in the order of the questions: the backend is an endpoint of the front's Service, in whatever state, or a
    /// pod's host port.
    ///
    /// A front that is nobody's any more opens no flows. Those that it opened go on as long as somebody has the endpoint; over UDP
    /// there is nothing to go on with.
    ///
    /// Each takes as long as its Service has endpoints; all about nobody's fronts together take one look at all endpoints. So ask many
    /// at once, each once.
    pub fn lead(&self, questions: &[Lead]) -> Vec<bool> {
        let known: Vec<Option<bool>> = questions.iter().map(|question| self.leads_by_front(question)).collect();
        let unknown = questions.iter().zip(&known).filter(|(question, known)| known.is_none() && question.protocol != protocol::UDP);
        let somebodys = self.endpoints_among(unknown.map(|(question, _)| (question.protocol, question.backend)).collect());
        let is_somebodys = |question: &Lead| somebodys.contains(&(question.protocol, question.backend));
        questions.iter().zip(known).map(|(question, known)| known.unwrap_or_else(|| is_somebodys(question))).collect()
    }

    /// `None` for nobody's front.
    fn leads_by_front(&self, question: &Lead) -> Option<bool> {
        let &Lead { front, front_port_be, protocol, backend } = question;
        if let Some((entry, name)) = self.port_behind(front, u16::from_be(front_port_be), protocol) {
            let is_target = |port: &SlicePort| port.name == *name && port.protocol == protocol && port.port.to_be() == backend.port_be;
            let mut with_port = entry.slices.iter().map(|(_, slice)| slice).filter(|slice| slice.ports.iter().any(is_target));
            return Some(with_port.any(|slice| slice.endpoints.iter().any(|endpoint| endpoint.address == backend.address)));
        }
        let key = ServiceKey { port_be: front_port_be, ..inside(front, 0, protocol) };
        let is_target = |service: &Service| self.image.list(service.list).any(|(_, found)| found == backend);
        self.host_keys.contains(&key).then(|| self.image.services.get(&key).is_some_and(is_target))
    }

    /// Which of these somebody has for an endpoint.
    fn endpoints_among(&self, wanted: HashSet<(u8, Backend)>) -> HashSet<(u8, Backend)> {
        let mut found = HashSet::new();
        if wanted.is_empty() {
            return found;
        }
        for (_, slice) in self.services.values().flat_map(|entry| &entry.slices) {
            for port in &slice.ports {
                let backend = |endpoint: &Endpoint| Backend { address: endpoint.address, port_be: port.port.to_be(), reserved: 0 };
                let all = slice.endpoints.iter().map(|endpoint| (port.protocol, backend(endpoint)));
                found.extend(all.filter(|target| wanted.contains(target)));
            }
        }
        found
    }

    /// The Services that have these, each a protocol and a backend, for endpoints, in whatever state; ascending by name, and without those that
    /// have none. One look at all endpoints, so ask for many at once.
    pub fn services_leading_to(&self, wanted: &HashSet<(u8, Backend)>) -> BTreeMap<(u8, Backend), Vec<ObjectName>> {
        let mut found = BTreeMap::<_, BTreeSet<&ObjectName>>::new();
        if wanted.is_empty() {
            return BTreeMap::new();
        }
        let ports: HashSet<_> = wanted.iter().map(|(protocol, backend)| (*protocol, backend.port_be)).collect();
        for (name, entry) in self.services.iter().filter(|(_, entry)| entry.service.is_some()) {
            for (_, slice) in &entry.slices {
                let its = slice.ports.iter().map(|port| (port.protocol, port.port.to_be()));
                for (protocol, port_be) in its.filter(|port| ports.contains(port)) {
                    let all =
                        slice.endpoints.iter().map(|endpoint| (protocol, Backend { address: endpoint.address, port_be, reserved: 0 }));
                    all.filter(|target| wanted.contains(target)).for_each(|target| _ = found.entry(target).or_default().insert(name));
                }
            }
        }
        found.into_iter().map(|(target, names)| (target, names.into_iter().cloned().collect())).collect()
    }

    /// The Service that has a front.
    pub fn service_of(&self, key: &ServiceKey) -> Option<&ObjectName> {
        let ground = Ground { node: &self.node, options: &self.options, owner: |claim: &Claim| self.claims.owner(claim) };
        let (address, port) = (key.address, u16::from_be(key.port_be));
        // The entry of an address as a whole.
        let external = || self.claims.owner(&Claim::External(address)).filter(|_| port == 0);
        self.claims.owner(&Claim::Cluster(address)).or_else(external).or_else(|| ground.owner_of_port(address, port, key.protocol))
    }

    /// The Service that has a front, and the name of its port.
    fn port_behind(&self, address: Address, port: u16, protocol: u8) -> Option<(&Entry, &Arc<str>)> {
        let ground = Ground { node: &self.node, options: &self.options, owner: |claim: &Claim| self.claims.owner(claim) };
        let cluster_owner = self.claims.owner(&Claim::Cluster(address));
        // Of a node port of another node this one hears by direct return.
        let elsewhere = || self.claims.owner(&Claim::NodePort(port, protocol)).filter(|_| self.kinds(address) & range_kinds::DIRECT != 0);
        let owner = cluster_owner.or_else(|| ground.owner_of_port(address, port, protocol)).or_else(elsewhere)?;
        let entry = self.services.get(owner)?;
        let service = entry.service.as_ref()?;
        let external = service.external.as_ref().filter(|_| cluster_owner.is_none());
        let mut listed = external.iter().flat_map(|external| external.balancer_addresses.iter().chain(&external.addresses));
        let is_listed = cluster_owner.is_some() || listed.any(|listed| *listed == address);
        let mut ports = service.ports.iter().filter(|candidate| candidate.protocol == protocol);
        let by_port = ports.clone().find(|candidate| is_listed && candidate.port == port);
        let found = by_port.or_else(|| ports.find(|candidate| cluster_owner.is_none() && candidate.node_port == port))?;
        Some((entry, &found.name))
    }

    /// What is known of an address, as programs look it up: see [`range_kinds`].
    fn kinds(&self, address: Address) -> u32 {
        let bits = if address.is_v4() { 32 } else { 128 };
        let mut longest_first = (0..=bits).rev().map(|bits| RangeKey::new(address.into(), bits));
        longest_first.find_map(|key| self.ranges.get(&key)).map_or(0, |range| range.kinds)
    }
}

/// Local endpoints as kube-proxy counts them: ready ones, each address once. A pod of two families counts once.
pub(super) fn health_check(service: &ServiceFacts, slices: &[(Arc<str>, SliceFacts)], node: &NodeFacts) -> Option<HealthCheck> {
    let port = service.external.as_ref().map(|external| external.health_port).filter(|port| *port != 0)?;
    let endpoints = slices.iter().flat_map(|(_, slice)| &slice.endpoints);
    let local = endpoints.filter(|endpoint| endpoint.readiness == Readiness::Ready && endpoint.node.as_ref() == Some(&node.name));
    let (v4, v6): (BTreeSet<_>, BTreeSet<_>) = local.map(|endpoint| endpoint.address).partition(|address| address.is_v4());
    Some(HealthCheck { port, local_endpoints: v4.len().max(v6.len()) })
}

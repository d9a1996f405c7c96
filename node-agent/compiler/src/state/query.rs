//! What others ask: counts, where a front leads, which health checks there are.

use super::{Entry, State};
use crate::claims::Claim;
use crate::facts::{Attachment, NodeFacts, ObjectName, Readiness, ServiceFacts, SliceFacts, SlicePort};
use crate::fronts::{Ground, inside};
use crate::tables;
use orknet_abi::{Address, Backend, RangeKey, ServiceKey, protocol, range_kinds};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What a balancer outside of the cluster is told of a Service with `healthCheckNodePort`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// Native byte order.
    pub port: u16,
    /// Ready endpoints on this node.
    pub local_endpoints: usize,
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

    /// Whether a flow that was opened to a front may go on to a backend: it is an endpoint of the front's Service, in whatever state, or
    /// a pod's host port. Ports in network order.
    ///
    /// A front that is nobody's any more opens no flows. Those that it opened go on as long as somebody has the endpoint; over UDP
    /// there is nothing to go on with.
    ///
    /// Takes as long as the Service has endpoints, for nobody's fronts as long as there are endpoints at all: ask once for each front and
    /// backend, not once for each flow.
    pub fn leads(&self, front: Address, front_port_be: u16, protocol: u8, backend: Backend) -> bool {
        let is_target = |port: &SlicePort| port.protocol == protocol && port.port.to_be() == backend.port_be;
        let is_in = |slice: &SliceFacts| slice.endpoints.iter().any(|endpoint| endpoint.address == backend.address);
        if let Some((entry, name)) = self.port_behind(front, u16::from_be(front_port_be), protocol) {
            let slices = entry.slices.iter().map(|(_, slice)| slice);
            let mut with_port = slices.filter(|slice| slice.ports.iter().any(|port| port.name == *name && is_target(port)));
            return with_port.any(is_in);
        }
        let key = ServiceKey { port_be: front_port_be, ..inside(front, 0, protocol) };
        if self.host_keys.contains(&key) {
            return self.image.services.get(&key).is_some_and(|service| self.image.list(service.list).any(|(_, found)| found == backend));
        }
        let mut slices = self.services.values().flat_map(|entry| &entry.slices).map(|(_, slice)| slice);
        protocol != protocol::UDP && slices.any(|slice| slice.ports.iter().any(is_target) && is_in(slice))
    }

    /// The Service that has a front.
    pub fn service_of(&self, key: &ServiceKey) -> Option<&ObjectName> {
        let ground = Ground { node: &self.node, options: &self.options, owner: |claim: &Claim| self.claims.owner(claim) };
        let (address, port) = (key.address, u16::from_be(key.port_be));
        self.claims.owner(&Claim::Cluster(address)).or_else(|| ground.owner_of_port(address, port, key.protocol))
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

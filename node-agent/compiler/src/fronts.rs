//! One Service and its slices to the entries that it has in the maps, without the numbers of lists, tables and sets.
//!
//! A cluster address is there inside only. What is meant for the outside (node ports, load-balancer and external addresses) is there
//! twice: packets that come in from the network follow `externalTrafficPolicy`, and from inside the same address leads to all endpoints.
//! `loadBalancerSourceRanges` hold for both.

use crate::claims::Claim;
use crate::facts::{ExternalFacts, NodeFacts, ObjectName, Options, ServiceFacts, ServicePort, SliceFacts};
use crate::select::{Candidate, Candidates};
use crate::tables::{self, Addresses};
use orknet_abi::{Address, Backend, RangeKey, Service, ServiceKey, scope, service_flags};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

/// What one [`ServiceKey`] leads to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Front {
    /// See [`service_flags`].
    pub flags: u32,
    /// Seconds; 0 without affinity.
    pub affinity_seconds: u32,
    /// Ascending, each once.
    pub backends: Arc<[Backend]>,
    /// Packets find their backend by a look-up table.
    pub has_table: bool,
    /// From where packets may come, ascending and never empty; `None` for anywhere.
    pub sources: Option<Arc<[RangeKey]>>,
}

impl Front {
    /// The map value, once all parts have numbers.
    pub fn value(&self, list: u32, table: u32, sources: u32) -> Service {
        Service { list, count: self.backends.len() as u32, flags: self.flags, affinity_seconds: self.affinity_seconds, table, sources }
    }

    /// What its look-up table of `size` positions is made of; `None` without a table, as all are if `size` is 0.
    pub(crate) fn table(&self, size: u32) -> Option<Addresses> {
        if self.has_table && size > 0 { tables::addresses(&self.backends, size) } else { None }
    }

    /// The entry of an address as a whole.
    fn whole(flags: u32) -> Self {
        Self { flags: service_flags::ADDRESS | flags, ..Self::default() }
    }
}

/// The node on which fronts answer, and who has what there.
#[derive(Clone, Copy)]
pub struct Ground<'a, F> {
    pub node: &'a NodeFacts,
    pub options: &'a Options,
    /// The Service that has a claim.
    pub owner: F,
}

impl<'a, F: Fn(&Claim) -> Option<&'a ObjectName>> Ground<'a, F> {
    /// Addresses of the node, of one family, on which node ports answer.
    fn node_port_addresses(&self, is_v4: bool) -> impl Iterator<Item = Address> {
        let own = self.node.listed().filter(move |address| address.is_v4() == is_v4 && self.has_node_ports(*address));
        own.chain(self.options.loopback_ports.then(|| loopback(is_v4)))
    }

    fn has_node_ports(&self, address: Address) -> bool {
        let ranges = &self.options.node_port_ranges;
        if ranges.is_empty() {
            return self.node.addresses.contains(&address);
        }
        let is_in = |range: &RangeKey| range.address.is_v4() == address.is_v4() && range.contains(address);
        self.node.has(address) && ranges.iter().any(is_in)
    }

    /// Addresses of the node, of one family, on which host ports answer that name none.
    pub(crate) fn host_port_addresses(&self, is_v4: bool) -> impl Iterator<Item = Address> {
        let own = self.node.addresses.iter().copied().filter(move |address| address.is_v4() == is_v4);
        own.chain(self.options.loopback_ports.then(|| loopback(is_v4)))
    }

    /// The Service that has a port (native byte order) of an address outside of the cluster's own. Node ports and external addresses
    /// may meet on an address of the node.
    pub(crate) fn owner_of_port(&self, address: Address, port: u16, protocol: u8) -> Option<&'a ObjectName> {
        let is_node = self.has_node_ports(address) || is_loopback(address);
        let by_node_port = if is_node { (self.owner)(&Claim::NodePort(port, protocol)) } else { None };
        (self.owner)(&Claim::Port(address, port, protocol)).into_iter().chain(by_node_port).min()
    }

    /// A cluster address belongs to its Service with all its ports: nobody can take one by an external address.
    pub(crate) fn is_cluster_address(&self, address: Address) -> bool {
        (self.owner)(&Claim::Cluster(address)).is_some()
    }
}

/// Every entry of a Service, as far as it owns what it claims.
pub fn fronts<'a, 's, F: Fn(&Claim) -> Option<&'a ObjectName>>(
    name: &ObjectName,
    service: &ServiceFacts,
    slices: impl Iterator<Item = &'s SliceFacts> + Clone,
    ground: &Ground<'a, F>,
) -> BTreeMap<ServiceKey, Front> {
    let mut making = Making { name, service, ground, entries: BTreeMap::new() };
    for &address in &service.cluster_addresses {
        let is_v4 = address.is_v4();
        let is_ours = (ground.owner)(&Claim::Cluster(address)) == Some(name);
        making.add_whole_addresses(address, is_ours);
        let mut node_ports = Vec::new();
        for port in &service.ports {
            let candidates = Candidates::new(candidates(port, is_v4, slices.clone()), ground.node);
            let everywhere = candidates.cluster_wide();
            if is_ours {
                let front = front_by_policy(service, service.internal_local, &candidates, &everywhere);
                making.entries.insert(inside(address, port.port, port.protocol), front);
            }
            if let Some(external) = &service.external {
                let outside = front_by_policy(service, external.local, &candidates, &everywhere);
                let sets = Sets { everywhere, outside };
                making.add_external(external, port, is_v4, &sets);
                node_ports.push((port, sets));
            }
        }
        // Last: a load-balancer address that is the node's, too, has its own ports first.
        for (port, sets) in node_ports.iter().filter(|(port, _)| port.node_port != 0) {
            for address in ground.node_port_addresses(is_v4) {
                making.add_port(address, port.node_port, port.protocol, sets, None);
            }
        }
    }
    making.entries
}

/// Where a port of one family leads from inside, and from outside.
struct Sets {
    everywhere: Arc<[Backend]>,
    /// For packets that come in from the network; sources are still to be set.
    outside: Front,
}

struct Making<'m, 'a, F> {
    name: &'m ObjectName,
    service: &'m ServiceFacts,
    ground: &'m Ground<'a, F>,
    entries: BTreeMap<ServiceKey, Front>,
}

impl<'a, F: Fn(&Claim) -> Option<&'a ObjectName>> Making<'_, 'a, F> {
    /// Of the cluster address, if it is ours, and of the external ones of its family.
    fn add_whole_addresses(&mut self, cluster_address: Address, is_ours: bool) {
        let key = |address| ServiceKey { address, ..ServiceKey::default() };
        if is_ours {
            // Tells an undefined port of a live address (refused) from an address that is nobody's (dropped), and from one that
            // another proxy serves (left alone).
            let foreign = if self.service.is_foreign { service_flags::FOREIGN } else { 0 };
            self.entries.insert(key(cluster_address), Front::whole(foreign));
        }
        let external = self.service.external.iter().flat_map(|external| external.balancer_addresses.iter().chain(&external.addresses));
        let ours = external.copied().filter(|address| {
            address.is_v4() == cluster_address.is_v4()
                && (self.ground.owner)(&Claim::External(*address)) == Some(self.name)
                && !self.ground.is_cluster_address(*address)
                // The node answers for itself.
                && !self.ground.node.addresses.contains(address)
        });
        self.entries.extend(ours.map(|address| (key(address), Front::whole(service_flags::EXTERNAL))));
    }

    /// A port of the balancer's addresses and the external ones, of one family.
    fn add_external(&mut self, external: &ExternalFacts, port: &ServicePort, is_v4: bool, sets: &Sets) {
        let sources = sources(external, is_v4);
        for address in external.balancer_addresses.iter().filter(|address| address.is_v4() == is_v4) {
            self.add_port(*address, port.port, port.protocol, sets, sources.clone());
        }
        for address in external.addresses.iter().filter(|address| address.is_v4() == is_v4) {
            self.add_port(*address, port.port, port.protocol, sets, None);
        }
    }

    /// One port (native byte order) in both scopes, if it is ours. What is listed first counts: a load-balancer address is one even if
    /// it is an external address or the node's, too.
    fn add_port(&mut self, address: Address, port: u16, protocol: u8, sets: &Sets, sources: Option<Arc<[RangeKey]>>) {
        let key = inside(address, port, protocol);
        let is_ours = !self.ground.is_cluster_address(address) && self.ground.owner_of_port(address, port, protocol) == Some(self.name);
        if !is_ours || self.entries.contains_key(&key) {
            return;
        }
        self.entries.insert(key, Front { sources: sources.clone(), ..front(self.service, false, Arc::clone(&sets.everywhere)) });
        if !is_loopback(address) {
            let has_table = sets.outside.backends.len() > 1;
            self.entries.insert(ServiceKey { scope: scope::OUTSIDE, ..key }, Front { has_table, sources, ..sets.outside.clone() });
        }
    }
}

/// A front under a traffic policy. What has endpoints on other nodes alone is dropped here, so that nobody takes the Service for dead; what
/// has none at all is refused whatever the policy, as kube-proxy does.
fn front_by_policy(service: &ServiceFacts, is_local: bool, candidates: &Candidates<'_>, everywhere: &Arc<[Backend]>) -> Front {
    let is_local = is_local && !everywhere.is_empty();
    front(service, is_local, if is_local { candidates.local() } else { Arc::clone(everywhere) })
}

fn front(service: &ServiceFacts, is_local: bool, backends: Arc<[Backend]>) -> Front {
    let local = if is_local { service_flags::LOCAL_ONLY } else { 0 };
    let affinity = if service.affinity_seconds > 0 { service_flags::AFFINITY } else { 0 };
    Front { flags: local | affinity, affinity_seconds: service.affinity_seconds, backends, ..Front::default() }
}

/// The ranges for an address of one family. `::/0` must not let IPv4 in, which it would in the mapped form; a Service that names only
/// ranges of the other family lets nobody in, which is said by a range that no packet comes from.
fn sources(external: &ExternalFacts, is_v4: bool) -> Option<Arc<[RangeKey]>> {
    let of_family: Vec<_> = external.sources.as_ref()?.iter().filter(|range| range.address.is_v4() == is_v4).copied().collect();
    let nowhere = RangeKey::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 128);
    Some(if of_family.is_empty() { Arc::new([nowhere]) } else { of_family.into() })
}

/// Endpoints of a family that have the port. Slices name ports as the Service does.
fn candidates<'a>(port: &ServicePort, is_v4: bool, slices: impl Iterator<Item = &'a SliceFacts>) -> Vec<Candidate<'a>> {
    let mut found = Vec::new();
    for slice in slices {
        for target in slice.ports.iter().filter(|target| target.name == port.name && target.protocol == port.protocol) {
            let of_family = slice.endpoints.iter().filter(|endpoint| endpoint.address.is_v4() == is_v4);
            found.extend(of_family.map(|endpoint| Candidate {
                backend: Backend { address: endpoint.address, port_be: target.port.to_be(), reserved: 0 },
                endpoint,
            }));
        }
    }
    found
}

/// `port` in native byte order.
pub(crate) fn inside(address: Address, port: u16, protocol: u8) -> ServiceKey {
    ServiceKey { address, port_be: port.to_be(), protocol, scope: scope::INSIDE }
}

pub(crate) fn loopback(is_v4: bool) -> Address {
    if is_v4 { Address::from_v4([127, 0, 0, 1]) } else { Address::from(IpAddr::V6(Ipv6Addr::LOCALHOST)) }
}

/// Whether no packet can come to it from outside.
pub(crate) fn is_loopback(address: Address) -> bool {
    IpAddr::from(address).is_loopback()
}

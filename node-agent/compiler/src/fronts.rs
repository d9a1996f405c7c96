//! One Service and its slices to the entries that it has in the maps, without list ids.
//!
//! Today's fronts are the ClusterIPs. External addresses, load-balancer addresses and node ports are further fronts of the same
//! Service: they add entries here, with their own policy (`externalTrafficPolicy`) given to [`select`], and change nothing elsewhere.

use crate::facts::{NodeFacts, ServiceFacts, ServicePort, SliceFacts};
use crate::select::{Candidate, select};
use orknet_abi::{Address, Backend, Service, ServiceKey, scope, service_flags};

/// What one [`ServiceKey`] leads to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Front {
    /// See [`service_flags`].
    pub flags: u32,
    /// Seconds; 0 without affinity.
    pub affinity_seconds: u32,
    /// Ascending, each once.
    pub backends: Vec<Backend>,
}

impl Front {
    /// The map value, once the backends have a list.
    pub fn value(&self, list: u32) -> Service {
        Service {
            list,
            count: self.backends.len() as u32,
            flags: self.flags,
            affinity_seconds: self.affinity_seconds,
            table: 0,
            sources: 0,
        }
    }
}

/// Every entry of a Service, for those of its addresses that `owns` says are its own.
pub fn fronts<'a>(
    service: &ServiceFacts,
    slices: impl Iterator<Item = &'a SliceFacts> + Clone,
    node: &NodeFacts,
    owns: impl Fn(Address) -> bool,
) -> Vec<(ServiceKey, Front)> {
    let mut entries = Vec::new();
    for &address in service.cluster_addresses.iter().filter(|address| owns(**address)) {
        // Tells an undefined port of a live address (refused) from an address that is nobody's (dropped), and from one that
        // another proxy serves (left alone).
        let foreign = if service.is_foreign { service_flags::FOREIGN } else { 0 };
        let whole = Front { flags: service_flags::ADDRESS | foreign, ..Front::default() };
        entries.push((ServiceKey { address, ..ServiceKey::default() }, whole));
        for port in &service.ports {
            let key = ServiceKey { address, port_be: port.port.to_be(), protocol: port.protocol, scope: scope::INSIDE };
            let backends = select(candidates(port, address, slices.clone()), node, service.internal_local);
            entries.push((key, cluster_front(service, backends)));
        }
    }
    entries
}

fn cluster_front(service: &ServiceFacts, backends: Vec<Backend>) -> Front {
    let mut flags = 0;
    if service.internal_local {
        flags |= service_flags::LOCAL_ONLY;
    }
    if service.affinity_seconds > 0 {
        flags |= service_flags::AFFINITY;
    }
    Front { flags, affinity_seconds: service.affinity_seconds, backends }
}

/// Endpoints of the front's family that have the port. Slices name ports as the Service does.
fn candidates<'a>(port: &ServicePort, front: Address, slices: impl Iterator<Item = &'a SliceFacts>) -> Vec<Candidate<'a>> {
    let mut found = Vec::new();
    for slice in slices {
        for target in slice.ports.iter().filter(|target| target.name == port.name && target.protocol == port.protocol) {
            let of_family = slice.endpoints.iter().filter(|endpoint| endpoint.address.is_v4() == front.is_v4());
            found.extend(of_family.map(|endpoint| Candidate {
                backend: Backend { address: endpoint.address, port_be: target.port.to_be(), reserved: 0 },
                endpoint,
            }));
        }
    }
    found
}

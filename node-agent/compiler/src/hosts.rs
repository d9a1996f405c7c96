//! Host ports: ports of the node that lead to one of its pods.

use crate::claims::Claim;
use crate::facts::{Attachment, HostPort, ObjectName};
use crate::fronts::{Front, Ground, inside, is_loopback};
use orknet_abi::{Address, Backend, ServiceKey, scope, service_flags};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

/// The entries of the pods' host ports, at addresses of the node alone, but those that a Service has: its node port wins. Of two pods with the same port the first has
/// it; the scheduler puts no two on a node, so one of them is about to go.
pub fn host_fronts<'a, F: Fn(&Claim) -> Option<&'a ObjectName>>(
    attachments: impl Iterator<Item = &'a Attachment>,
    ground: &Ground<'a, F>,
) -> BTreeMap<ServiceKey, Front> {
    let mut entries = BTreeMap::new();
    for attachment in attachments.filter(|attachment| !attachment.host_ports.is_empty()) {
        for is_v4 in [true, false] {
            let Some(&pod) = attachment.addresses.iter().find(|address| address.is_v4() == is_v4) else { continue };
            for host_port in &attachment.host_ports {
                let (port, protocol) = (host_port.port, host_port.protocol);
                let is_free =
                    |address: &Address| !ground.is_cluster_address(*address) && ground.owner_of_port(*address, port, protocol).is_none();
                for address in addresses(host_port, is_v4, ground).into_iter().filter(is_free) {
                    let key = inside(address, port, protocol);
                    let backend = Backend { address: pod, port_be: host_port.container_port.to_be(), reserved: 0 };
                    let front = Front { backends: Arc::new([backend]), ..Front::default() };
                    if !is_loopback(address) {
                        // The pod is here, and sees who asks.
                        let outside = Front { flags: service_flags::LOCAL_ONLY, ..front.clone() };
                        entries.entry(ServiceKey { scope: scope::OUTSIDE, ..key }).or_insert(outside);
                    }
                    entries.entry(key).or_insert(front);
                }
            }
        }
    }
    entries
}

fn addresses<'a, F: Fn(&Claim) -> Option<&'a ObjectName>>(host_port: &HostPort, is_v4: bool, ground: &Ground<'a, F>) -> Vec<Address> {
    match host_port.address {
        Some(address) if address.is_v4() != is_v4 => Vec::new(),
        Some(address) if is_loopback(address) && !ground.options.loopback_ports => Vec::new(),
        // Elsewhere in the network an address is not a pod's to take.
        Some(address) if !IpAddr::from(address).is_unspecified() => {
            if is_loopback(address) || ground.node.has(address) {
                vec![address]
            } else {
                Vec::new()
            }
        }
        _ => ground.host_port_addresses(is_v4).collect(),
    }
}

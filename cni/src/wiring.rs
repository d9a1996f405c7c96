//! How a pod is wired: a veth pair, addresses that are networks of their own, a next hop that no device has, neighbours that are
//! never asked for. Nothing of it depends on other pods, and no broadcast ever crosses the pair.
//!
//! ```text
//!   pod's namespace                                node's namespace
//!   eth0  10.244.1.5/32  fd00:…::5/128  ──veth──   ork4f0c…  (no address)
//!   default via 169.254.1.1, fe80::1 onlink        10.244.1.5/32, fd00:…::5/128 dev ork4f0c…
//!   neighbours 169.254.1.1, fe80::1 = ork4f0c…     neighbours 10.244.1.5, fd00:…::5 = eth0
//! ```

use crate::error::CniError;
use crate::namespace::Namespace;
use crate::netlink::{Link, Netlink, Route, host_prefix};
use crate::protocol::{AttachmentName, NodeConfiguration};
use crate::sysctl::{self, Family};
use ipnet::IpNet;
use std::net::IpAddr;

/// Both sides of a pod's pair.
#[derive(Clone, Debug)]
pub struct Pair {
    pub host: Link,
    pub pod: Link,
}

/// Name of the host's side: the same for the same attachment, whoever computes it, so DEL needs no record. 48 bits of FNV-1a.
pub fn host_name(attachment: &AttachmentName) -> String {
    let bytes = attachment.container_id.bytes().chain([b'/']).chain(attachment.ifname.bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    format!("ork{:012x}", (hash ^ (hash >> 48)) & 0xffff_ffff_ffff)
}

/// Makes the pair and configures both sides, the pod's first: when the host's routes appear, the pod can answer.
pub fn wire(
    node: &Namespace,
    pod: &Namespace,
    attachment: &AttachmentName,
    addresses: &[IpAddr],
    configuration: &NodeConfiguration,
    mtu: u32,
) -> Result<Pair, CniError> {
    let host_name = host_name(attachment);
    let pod_name = attachment.ifname.as_str();
    let pod_link = pod.enter(|netlink| {
        if let Some(loopback) = netlink.link("lo")? {
            netlink.set_up(loopback.index)?;
        }
        netlink.add_veth(pod_name, &host_name, node, mtu)?;
        netlink.known_link(pod_name)
    })?;
    let host_link = node.enter(|netlink| {
        let link = netlink.known_link(&host_name)?;
        configure_host(netlink, &host_name, link.index)?;
        Ok(link)
    })?;
    pod.enter(|netlink| configure_pod(netlink, pod_name, pod_link.index, host_link.mac, addresses, &configuration.gateways))?;
    node.enter(|netlink| {
        for &address in addresses {
            netlink.add_neighbour(host_link.index, address, pod_link.mac)?;
            netlink.put_route(host_route(address, host_link.index))?;
        }
        Ok(())
    })?;
    Ok(Pair { host: host_link, pod: pod_link })
}

/// The route by which the node reaches a pod's address.
pub fn host_route(address: IpAddr, device: u32) -> Route {
    Route { destination: IpNet::from(address), gateway: None, device }
}

/// The routes of a pod: everything goes to the next hop of its family.
pub fn pod_routes<'a>(addresses: &'a [IpAddr], gateways: &'a [IpAddr], device: u32) -> impl Iterator<Item = Route> + 'a {
    gateways.iter().filter(|gateway| addresses.iter().any(|address| address.is_ipv4() == gateway.is_ipv4())).map(move |gateway| Route {
        destination: everywhere(*gateway),
        gateway: Some(*gateway),
        device,
    })
}

/// The prefix of everything, in the family of `address`.
fn everywhere(address: IpAddr) -> IpNet {
    let zero = if address.is_ipv4() { IpAddr::from([0; 4]) } else { IpAddr::from([0; 16]) };
    IpNet::new_assert(zero, 0)
}

fn configure_host(netlink: &Netlink, name: &str, device: u32) -> Result<(), CniError> {
    // The pod's packets come with addresses for which the way back is this device alone: forwarding is needed, proxies are not.
    sysctl::set(Family::V4, name, "forwarding", "1")?;
    sysctl::set(Family::V4, name, "rp_filter", "0")?;
    sysctl::set(Family::V4, name, "proxy_arp", "0")?;
    sysctl::set(Family::V6, name, "disable_ipv6", "0")?;
    sysctl::set(Family::V6, name, "forwarding", "1")?;
    sysctl::set(Family::V6, name, "accept_ra", "0")?;
    sysctl::set(Family::V6, name, "accept_dad", "0")?;
    netlink.set_up(device)
}

fn configure_pod(
    netlink: &Netlink,
    name: &str,
    device: u32,
    host_mac: [u8; 6],
    addresses: &[IpAddr],
    gateways: &[IpAddr],
) -> Result<(), CniError> {
    if addresses.iter().any(IpAddr::is_ipv6) {
        sysctl::set(Family::V6, name, "disable_ipv6", "0")?;
    }
    sysctl::set(Family::V6, name, "accept_dad", "0")?;
    sysctl::set(Family::V6, name, "dad_transmits", "0")?;
    sysctl::set(Family::V6, name, "accept_ra", "0")?;
    for &address in addresses {
        netlink.add_address(device, address)?;
    }
    netlink.set_up(device)?;
    for route in pod_routes(addresses, gateways, device) {
        if let Some(gateway) = route.gateway {
            netlink.add_neighbour(device, gateway, host_mac)?;
        }
        netlink.put_route(route)?;
    }
    Ok(())
}

/// `ADDRESS/32` or `ADDRESS/128`.
pub fn host_cidr(address: IpAddr) -> String {
    format!("{address}/{}", host_prefix(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names_fit_and_differ() {
        let name = |id: &str, ifname: &str| host_name(&AttachmentName { container_id: id.into(), ifname: ifname.into() });
        let mut names: Vec<_> = (0..10_000).map(|n| name(&format!("{n:064x}"), "eth0")).collect();
        names.push(name(&format!("{:064x}", 0), "eth1"));
        assert!(names.iter().all(|name| name.len() == 15));
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn a_pod_has_a_default_route_for_each_family_that_it_has() {
        let gateways = ["169.254.1.1".parse().unwrap(), "fe80::1".parse().unwrap()];
        let only_v4 = ["10.0.0.2".parse().unwrap()];
        let routes: Vec<_> = pod_routes(&only_v4, &gateways, 2).map(|route| route.destination.to_string()).collect();
        assert_eq!(routes, ["0.0.0.0/0"]);
    }
}

//! Which devices lead to the network: those that carry the node's addresses, unless the configuration names them.

use nix::ifaddrs::getifaddrs;
use nix::net::if_::{if_indextoname, if_nametoindex};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// Names of the devices that carry one of these addresses. The loopback device leads nowhere.
pub fn carriers<'a>(addresses: impl Iterator<Item = (&'a str, IpAddr)>, own: &BTreeSet<IpAddr>) -> BTreeSet<&'a str> {
    addresses.filter(|(device, address)| *device != "lo" && own.contains(address)).map(|(device, _)| device).collect()
}

/// The indices of the devices in our namespace that lead to the network. Names that are configured and not there are passed over: their
/// devices may come later.
///
/// # Errors
/// When the kernel does not tell its addresses. Then nothing is known of any device.
pub fn to_network(configured: &[String], own: &BTreeSet<IpAddr>) -> nix::Result<BTreeSet<u32>> {
    let index = |name: &str| if_nametoindex(name).ok();
    if !configured.is_empty() {
        return Ok(configured.iter().filter_map(|name| index(name)).collect());
    }
    let listed: Vec<(String, IpAddr)> =
        getifaddrs()?.filter_map(|found| Some((found.interface_name, address_of(&found.address?)?))).collect();
    let carriers = carriers(listed.iter().map(|(name, address)| (name.as_str(), *address)), own);
    Ok(carriers.into_iter().filter_map(index).collect())
}

/// The name of a device in our namespace.
pub fn name(index: u32) -> Option<String> {
    if_indextoname(index).ok()?.into_string().ok()
}

fn address_of(address: &nix::sys::socket::SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_with_the_nodes_addresses_lead_to_the_network() {
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let listed = [("lo", "127.0.0.1"), ("lo", "192.0.2.9"), ("eth0", "192.0.2.1"), ("eth1", "198.51.100.1"), ("eth2", "2001:db8::1")];
        let listed = listed.map(|(name, text)| (name, address(text)));
        let own = BTreeSet::from([address("192.0.2.1"), address("2001:db8::1"), address("192.0.2.9")]);
        assert_eq!(carriers(listed.into_iter(), &own), BTreeSet::from(["eth0", "eth2"]));
    }
}

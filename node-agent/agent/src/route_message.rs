//! Our routes as rtnetlink messages, there and back.

use crate::routes::{Routes, Target, Tunnel};
use ipnet::IpNet;
use orknet_abi::OVERLAY_ID;
use rtnetlink::RouteMessageBuilder;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteIp6Tunnel, RouteIp6TunnelFlags, RouteIpTunnel, RouteLwEnCapType, RouteLwTunnelEncap,
    RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use std::net::IpAddr;

/// Marks our routes (`ip route show proto 79`). Not assigned in linux/rtnetlink.h.
pub const PROTOCOL: u8 = 79;

/// The message that adds a route to a table; `device` is the one for routes to Services and through the overlay.
pub(crate) fn message(table: u32, prefix: IpNet, target: Target, device: u32) -> RouteMessage {
    let mut message = removal(table, prefix, target);
    if let Target::Tunnel(tunnel) = target {
        message.header.flags.insert(RouteFlags::Onlink);
        message.attributes.push(RouteAttribute::Oif(device));
        message.attributes.push(RouteAttribute::Gateway(tunnel.gateway.into()));
        message.attributes.extend(tunnel.source.map(|source| RouteAttribute::PrefSource(source.into())));
        message.attributes.extend(encapsulation(&tunnel));
    }
    if let Target::Services(source) = target {
        message.attributes.push(RouteAttribute::Oif(device));
        message.attributes.push(RouteAttribute::PrefSource(source.into()));
    }
    message
}

/// The message that removes it.
pub(crate) fn removal(table: u32, prefix: IpNet, target: Target) -> RouteMessage {
    let mut message = RouteMessageBuilder::<IpAddr>::new().protocol(RouteProtocol::Other(PROTOCOL)).table_id(table).build();
    message.header.address_family = if prefix.addr().is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    message.header.destination_prefix_length = prefix.prefix_len();
    message.attributes.push(RouteAttribute::Destination(prefix.addr().into()));
    match target {
        Target::Via(gateway) => message.attributes.push(RouteAttribute::Gateway(gateway.into())),
        Target::Unreachable => message.header.kind = RouteType::Unreachable,
        Target::Throw => message.header.kind = RouteType::Throw,
        // Of IPv6 there are no scopes.
        Target::Services(_) if prefix.addr().is_ipv4() => message.header.scope = RouteScope::Link,
        // There is one to a prefix in a table.
        Target::Tunnel(_) | Target::Services(_) => {}
    }
    message
}

/// The routes of ours in a table, by prefix.
pub(crate) fn read<'a>(messages: impl Iterator<Item = &'a RouteMessage>, table: u32) -> Routes {
    messages.filter_map(|message| read_one(message, table)).collect()
}

fn encapsulation(tunnel: &Tunnel) -> [RouteAttribute; 2] {
    let id = u64::from(OVERLAY_ID);
    match (tunnel.node, tunnel.own) {
        (IpAddr::V6(node), IpAddr::V6(own)) => {
            // Over IPv6 a UDP checksum of zero is refused unless both ends agree to it (RFC 6935).
            let parts = [
                RouteIp6Tunnel::Id(id),
                RouteIp6Tunnel::Destination(node),
                RouteIp6Tunnel::Source(own),
                RouteIp6Tunnel::Flags(RouteIp6TunnelFlags::Checksum),
            ];
            let parts = parts.map(RouteLwTunnelEncap::Ip6);
            [RouteAttribute::EncapType(RouteLwEnCapType::Ip6), RouteAttribute::Encap(parts.into())]
        }
        (node, own) => {
            let v4 = |address| match address {
                IpAddr::V4(v4) => v4,
                IpAddr::V6(v6) => v6.to_ipv4_mapped().unwrap_or(std::net::Ipv4Addr::UNSPECIFIED),
            };
            let parts = [RouteIpTunnel::Id(id), RouteIpTunnel::Destination(v4(node)), RouteIpTunnel::Source(v4(own))];
            let parts = parts.map(RouteLwTunnelEncap::Ip);
            [RouteAttribute::EncapType(RouteLwEnCapType::Ip), RouteAttribute::Encap(parts.into())]
        }
    }
}

/// A route of ours in the table; `None` for all others.
fn read_one(message: &RouteMessage, table: u32) -> Option<(IpNet, Target)> {
    if message.header.protocol != RouteProtocol::Other(PROTOCOL) {
        return None;
    }
    let (mut destination, mut gateway, mut source, mut ends, mut in_table) = (None, None, None, None, u32::from(message.header.table));
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(found) => destination = address(found),
            RouteAttribute::Gateway(found) => gateway = address(found),
            RouteAttribute::PrefSource(found) => source = address(found),
            RouteAttribute::Table(found) => in_table = *found,
            RouteAttribute::Encap(parts) => ends = Some(read_ends(parts)),
            _ => {}
        }
    }
    if in_table != table {
        return None;
    }
    let target = match (gateway, ends) {
        (Some(gateway), Some((node, own))) => Target::Tunnel(Tunnel { node: node?, own: own?, gateway, source }),
        (Some(gateway), None) => Target::Via(gateway),
        (None, _) => match (message.header.kind, source) {
            (RouteType::Throw, _) => Target::Throw,
            (RouteType::Unicast, Some(source)) => Target::Services(source),
            _ => Target::Unreachable,
        },
    };
    Some((IpNet::new(destination?, message.header.destination_prefix_length).ok()?, target))
}

/// Where the tunnel leads, and where it begins.
fn read_ends(parts: &[RouteLwTunnelEncap]) -> (Option<IpAddr>, Option<IpAddr>) {
    let (mut node, mut own) = (None, None);
    for part in parts {
        match part {
            RouteLwTunnelEncap::Ip(RouteIpTunnel::Destination(v4)) => node = Some(IpAddr::from(*v4)),
            RouteLwTunnelEncap::Ip(RouteIpTunnel::Source(v4)) => own = Some(IpAddr::from(*v4)),
            RouteLwTunnelEncap::Ip6(RouteIp6Tunnel::Destination(v6)) => node = Some(IpAddr::from(*v6)),
            RouteLwTunnelEncap::Ip6(RouteIp6Tunnel::Source(v6)) => own = Some(IpAddr::from(*v6)),
            _ => {}
        }
    }
    (node, own)
}

fn address(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(v4) => Some(IpAddr::V4(*v4)),
        RouteAddress::Inet6(v6) => Some(IpAddr::V6(*v6)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_are_read_as_they_were_written_and_only_from_their_table() {
        let tunnel = |node: &str, own: &str, gateway: &str, source: Option<&str>| {
            let address = |text: &str| text.parse().unwrap();
            Target::Tunnel(Tunnel { node: address(node), own: address(own), gateway: address(gateway), source: source.map(address) })
        };
        let targets = [
            ("10.244.1.0/24", Target::Unreachable),
            ("10.96.0.0/16", Target::Services("192.0.2.1".parse().unwrap())),
            ("fd00:10:96::7/128", Target::Throw),
            ("10.244.2.0/24", Target::Via("192.0.2.2".parse().unwrap())),
            ("10.244.3.0/24", tunnel("192.0.2.3", "192.0.2.1", "10.244.3.0", Some("192.0.2.1"))),
            ("fd00:3::/64", tunnel("2001:db8::3", "2001:db8::1", "fd00:3::", None)),
        ];
        for (prefix, target) in targets {
            let prefix = prefix.parse().unwrap();
            for table in [254, 7979] {
                let written = message(table, prefix, target, 5);
                assert_eq!(read([&written].into_iter(), table), Routes::from([(prefix, target)]));
                assert_eq!(read([&written].into_iter(), table + 1), Routes::new());
            }
        }
        let mut foreign = message(254, "10.0.0.0/8".parse().unwrap(), Target::Unreachable, 0);
        foreign.header.protocol = RouteProtocol::Static;
        assert_eq!(read([&foreign].into_iter(), 254), Routes::new());
    }
}

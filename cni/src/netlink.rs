//! Devices, addresses, neighbours and routes of the namespace that the thread is in, over rtnetlink. Every call blocks until the
//! kernel has answered.

use crate::error::{CniError, Code};
use crate::namespace::Namespace;
use futures::TryStreamExt;
use ipnet::IpNet;
use nix::libc;
use rtnetlink::packet_route::address::{AddressAttribute, AddressFlags};
use rtnetlink::packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteScope};
use rtnetlink::packet_route::{AddressFamily, link};
use rtnetlink::{Handle, LinkUnspec, LinkVeth, RouteMessageBuilder};
use std::net::IpAddr;
use std::os::fd::AsRawFd;
use tokio::runtime::{Builder, Runtime};

/// A connection to the kernel in one namespace.
pub struct Netlink {
    runtime: Runtime,
    handle: Handle,
}

/// A device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    pub index: u32,
    pub mac: [u8; 6],
    pub mtu: u32,
    pub is_up: bool,
}

/// A route through a device: to a destination (or everywhere), by way of a next hop (or directly).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    pub destination: IpNet,
    pub gateway: Option<IpAddr>,
    pub device: u32,
}

impl Netlink {
    /// Connects in the calling thread's namespace.
    pub fn connect() -> Result<Self, CniError> {
        let failed = |error| CniError::new(Code::Network, "connecting to netlink", error);
        let runtime = Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let (connection, handle, _) = runtime.block_on(async { rtnetlink::new_connection() }).map_err(failed)?;
        runtime.spawn(connection);
        Ok(Self { runtime, handle })
    }

    /// The device of that name, if there is one.
    pub fn link(&self, name: &str) -> Result<Option<Link>, CniError> {
        let mut links = Box::pin(self.handle.link().get().match_name(name).execute());
        match self.runtime.block_on(links.try_next()) {
            Ok(found) => Ok(found.map(read_link)),
            Err(error) if errno(&error) == Some(libc::ENODEV) => Ok(None),
            Err(error) => Err(failed(format!("looking for the device {name}"), error)),
        }
    }

    /// The device of that name, which must be there.
    pub fn known_link(&self, name: &str) -> Result<Link, CniError> {
        self.link(name)?.ok_or_else(|| CniError::new(Code::Changed, format!("looking for the device {name}"), "it is not there"))
    }

    /// Makes a veth pair: one side here, the other in `peer_namespace`. One request, so a crash leaves both sides or none.
    pub fn add_veth(&self, name: &str, peer: &str, peer_namespace: &Namespace, mtu: u32) -> Result<(), CniError> {
        let peer_side = LinkUnspec::new_with_name(peer).mtu(mtu).setns_by_fd(peer_namespace.file().as_raw_fd()).build();
        let pair = LinkVeth::new(name, peer).mtu(mtu).set_info_data(link::InfoData::Veth(link::InfoVeth::Peer(peer_side))).build();
        let added = self.runtime.block_on(self.handle.link().add(pair).execute());
        added.map_err(|error| failed(format!("making the veth pair {name} and {peer}"), error))
    }

    /// Brings a device up.
    pub fn set_up(&self, index: u32) -> Result<(), CniError> {
        let set = self.runtime.block_on(self.handle.link().set(LinkUnspec::new_with_index(index).up().build()).execute());
        set.map_err(|error| failed(format!("bringing up device {index}"), error))
    }

    /// Removes a device by name, and with it its peer, addresses and routes. Whether it was there.
    pub fn remove_link(&self, name: &str) -> Result<bool, CniError> {
        let Some(link) = self.link(name)? else { return Ok(false) };
        match self.runtime.block_on(self.handle.link().del(link.index).execute()) {
            Ok(()) => Ok(true),
            Err(error) if errno(&error) == Some(libc::ENODEV) => Ok(false),
            Err(error) => Err(failed(format!("removing the device {name}"), error)),
        }
    }

    /// Gives a device an address that is a network of its own. Duplicate address detection is off: the address is ours by allocation.
    pub fn add_address(&self, device: u32, address: IpAddr) -> Result<(), CniError> {
        let mut request = self.handle.address().add(device, address, host_prefix(address));
        if address.is_ipv6() {
            request.message_mut().attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
        }
        self.runtime.block_on(request.execute()).map_err(|error| failed(format!("giving the address {address}"), error))
    }

    /// Addresses of a device.
    pub fn addresses(&self, device: u32) -> Result<Vec<IpAddr>, CniError> {
        let request = self.handle.address().get().set_link_index_filter(device).execute();
        let messages: Vec<_> = self.runtime.block_on(request.try_collect()).map_err(|error| failed("reading addresses".into(), error))?;
        let attributes = messages.into_iter().flat_map(|message| message.attributes);
        let addresses = attributes.filter_map(|attribute| match attribute {
            AddressAttribute::Address(address) => Some(address),
            _ => None,
        });
        Ok(addresses.collect())
    }

    /// A neighbour that is never asked for.
    pub fn add_neighbour(&self, device: u32, address: IpAddr, mac: [u8; 6]) -> Result<(), CniError> {
        let request = self.handle.neighbours().add(device, address).link_layer_address(&mac).replace();
        self.runtime.block_on(request.execute()).map_err(|error| failed(format!("adding the neighbour {address}"), error))
    }

    /// Adds a route or replaces the one to the same destination.
    pub fn put_route(&self, route: Route) -> Result<(), CniError> {
        let request = self.handle.route().add(route_message(route)).replace();
        self.runtime.block_on(request.execute()).map_err(|error| failed(format!("adding the route to {}", route.destination), error))
    }

    /// Routes of the main table through a device.
    pub fn routes(&self, device: u32) -> Result<Vec<Route>, CniError> {
        let mut routes = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut filter = RouteMessageBuilder::<IpAddr>::new().build();
            filter.header.address_family = family;
            let request = self.handle.route().get(filter).execute();
            let messages: Vec<_> = self.runtime.block_on(request.try_collect()).map_err(|error| failed("reading routes".into(), error))?;
            routes.extend(messages.iter().filter_map(read_route).filter(|route| route.device == device));
        }
        Ok(routes)
    }
}

fn read_link(message: LinkMessage) -> Link {
    let mut link = Link { index: message.header.index, mac: [0; 6], mtu: 0, is_up: message.header.flags.contains(LinkFlags::Up) };
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::Address(bytes) => link.mac = bytes.try_into().unwrap_or_default(),
            LinkAttribute::Mtu(mtu) => link.mtu = mtu,
            _ => {}
        }
    }
    link
}

fn route_message(route: Route) -> RouteMessage {
    let mut message = RouteMessageBuilder::<IpAddr>::new().output_interface(route.device).build();
    let address = route.destination.addr();
    message.header.address_family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    message.header.destination_prefix_length = route.destination.prefix_len();
    if route.destination.prefix_len() > 0 {
        message.attributes.push(RouteAttribute::Destination(address.into()));
    }
    match route.gateway {
        // No address of the device is on the next hop's network, so the kernel must be told that it is on the link.
        Some(gateway) => {
            message.header.flags.insert(RouteFlags::Onlink);
            message.attributes.push(RouteAttribute::Gateway(gateway.into()));
        }
        None if address.is_ipv4() => message.header.scope = RouteScope::Link,
        None => {}
    }
    message
}

fn read_route(message: &RouteMessage) -> Option<Route> {
    let (mut destination, mut gateway, mut device) = (None, None, 0);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(address) => destination = read_address(address),
            RouteAttribute::Gateway(address) => gateway = read_address(address),
            RouteAttribute::Oif(index) => device = *index,
            _ => {}
        }
    }
    let everywhere = match message.header.address_family {
        AddressFamily::Inet => IpAddr::from([0; 4]),
        AddressFamily::Inet6 => IpAddr::from([0; 16]),
        _ => return None,
    };
    let destination = IpNet::new(destination.unwrap_or(everywhere), message.header.destination_prefix_length).ok()?;
    Some(Route { destination, gateway, device })
}

fn read_address(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(v4) => Some((*v4).into()),
        RouteAddress::Inet6(v6) => Some((*v6).into()),
        _ => None,
    }
}

/// Bits of a prefix that holds one address.
pub fn host_prefix(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn errno(error: &rtnetlink::Error) -> Option<i32> {
    match error {
        rtnetlink::Error::NetlinkError(message) => Some(message.raw_code().abs()),
        _ => None,
    }
}

fn failed(operation: String, error: rtnetlink::Error) -> CniError {
    match &error {
        rtnetlink::Error::NetlinkError(message) => CniError::new(Code::Network, operation, message.to_io()),
        other => CniError::new(Code::Network, operation, other),
    }
}

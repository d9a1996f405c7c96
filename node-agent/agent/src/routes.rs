//! Routes to the pods of other nodes. What should be there is a pure function of the Nodes; the routes that are ours are known by
//! their protocol number, so what a former run left behind is found and removed.

use crate::error::Error;
use crate::route_message::{message, read, removal};
use futures::TryStreamExt;
use ipnet::IpNet;
use nix::libc;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::AddressAttribute;
use rtnetlink::packet_route::link::LinkAttribute;
use rtnetlink::packet_route::route::RouteHeader;
use rtnetlink::{Handle, RouteMessageBuilder};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

pub use crate::route_message::PROTOCOL;

/// The table for packets of pods to nodes, where there is an overlay (`ip route show table 7979`).
pub const PODS_TABLE: u32 = 7979;
/// The table for everybody.
pub const MAIN_TABLE: u32 = RouteHeader::RT_TABLE_MAIN as u32;

/// Where packets for a prefix go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// To a node, by an address of it that is on a network of ours.
    Via(IpAddr),
    /// To a node through the overlay.
    Tunnel(Tunnel),
    /// Nowhere: our own pods have routes of their own, and an address without one has no pod; nor is an address of a Service a place.
    Unreachable,
    /// To Services, by the device that is there for the node's own packets; from this address.
    Services(IpAddr),
    /// Where other tables say.
    Throw,
}

/// A way through the overlay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tunnel {
    /// Its other end.
    pub node: IpAddr,
    /// Our end, of the same family.
    pub own: IpAddr,
    /// The next hop inside, of the prefix's family.
    pub gateway: IpAddr,
    /// From which address we ourselves send into it.
    pub source: Option<IpAddr>,
}

/// Routes by destination.
pub type Routes = BTreeMap<IpNet, Target>;

/// What the routes of a node depend on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeNetwork {
    /// `spec.podCIDRs`.
    pub pod_cidrs: Vec<IpNet>,
    /// `status.addresses` of type InternalIP, in their order.
    pub internal: Vec<IpAddr>,
}

#[cfg(test)]
impl NodeNetwork {
    /// From texts.
    pub(crate) fn of(cidrs: &[&str], internal: &[&str]) -> Self {
        Self {
            pod_cidrs: cidrs.iter().map(|text| text.parse().unwrap()).collect(),
            internal: internal.iter().map(|text| text.parse().unwrap()).collect(),
        }
    }
}

/// The routes that a node should have to the pods of all nodes without an overlay. A node without an InternalIP of a prefix's family has
/// no route for it.
pub fn direct(own: &NodeNetwork, others: &BTreeMap<String, NodeNetwork>) -> Routes {
    let mut routes: Routes = own.pod_cidrs.iter().map(|prefix| (prefix.trunc(), Target::Unreachable)).collect();
    for node in others.values() {
        for prefix in &node.pod_cidrs {
            let address = node.internal.iter().find(|address| address.is_ipv4() == prefix.addr().is_ipv4());
            if let Some(address) = address {
                routes.entry(prefix.trunc()).or_insert(Target::Via(*address));
            }
        }
    }
    routes
}

/// Addresses of Services are for the hooks; a packet that still carries one after them is answered, instead of leaving the node.
pub fn barred(service_cidrs: &[IpNet]) -> Routes {
    service_cidrs.iter().map(|prefix| (prefix.trunc(), Target::Unreachable)).collect()
}

/// The kernel's routing tables in our namespace.
#[derive(Clone)]
pub struct Router(pub(crate) Handle);

impl Router {
    /// Connects. The connection is served by a task of the current runtime until the router is dropped.
    pub fn connect() -> Result<Self, Error> {
        let (connection, handle, _) = rtnetlink::new_connection().map_err(|error| failed("connecting", error))?;
        tokio::spawn(connection);
        Ok(Self(handle))
    }

    /// Our routes in the main table.
    pub async fn own_routes(&self) -> Result<Routes, Error> {
        self.routes_in(MAIN_TABLE).await
    }

    /// Makes our routes in the main table what is wanted; does what can be done. Returns what could not be, with the reason.
    pub async fn reconcile(&self, wanted: &Routes) -> Result<Vec<Error>, Error> {
        self.reconcile_in(MAIN_TABLE, wanted, 0).await
    }

    /// The same in any table; `device` is the index of the device that tunnels, or routes to Services, lead through.
    pub async fn reconcile_in(&self, table: u32, wanted: &Routes, device: u32) -> Result<Vec<Error>, Error> {
        let present = self.routes_in(table).await?;
        let mut failures = Vec::new();
        for (prefix, target) in wanted.iter().filter(|(prefix, target)| present.get(prefix) != Some(target)) {
            // A route of another kind is not replaced but stands beside the new one.
            if let Some(old) = present.get(prefix) {
                failures.extend(self.remove(table, *prefix, *old).await.err());
            }
            let added = self.0.route().add(message(table, *prefix, *target, device)).replace().execute().await;
            match added {
                Ok(()) => tracing::info!(%prefix, table, ?target, "added a route"),
                Err(error) => failures.push(failed(&format!("adding the route to {prefix} ({target:?})"), error)),
            }
        }
        for (prefix, target) in present.iter().filter(|(prefix, _)| !wanted.contains_key(prefix)) {
            match self.remove(table, *prefix, *target).await {
                Ok(()) => tracing::info!(%prefix, table, "removed a route"),
                Err(error) => failures.push(error),
            }
        }
        Ok(failures)
    }

    /// MTU in bytes of the device that has one of these addresses.
    pub async fn mtu_of(&self, addresses: &BTreeSet<IpAddr>) -> Result<Option<u32>, Error> {
        let found: Vec<_> = self.0.address().get().execute().try_collect().await.map_err(|error| failed("reading the addresses", error))?;
        let device = found.iter().find(|message| {
            message.attributes.iter().any(|attribute| {
                matches!(attribute, AddressAttribute::Address(address) | AddressAttribute::Local(address) if addresses.contains(address))
            })
        });
        let Some(device) = device else { return Ok(None) };
        let mut links = Box::pin(self.0.link().get().match_index(device.header.index).execute());
        let link = links.try_next().await.map_err(|error| failed("reading a device", error))?;
        Ok(link.and_then(|link| {
            link.attributes.into_iter().find_map(|attribute| if let LinkAttribute::Mtu(mtu) = attribute { Some(mtu) } else { None })
        }))
    }

    async fn routes_in(&self, table: u32) -> Result<Routes, Error> {
        let mut routes = Routes::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut filter = RouteMessageBuilder::<IpAddr>::new().build();
            filter.header.address_family = family;
            let found: Vec<_> =
                self.0.route().get(filter).execute().try_collect().await.map_err(|error| failed("reading the routes", error))?;
            routes.extend(read(found.iter(), table));
        }
        Ok(routes)
    }

    async fn remove(&self, table: u32, prefix: IpNet, target: Target) -> Result<(), Error> {
        match self.0.route().del(removal(table, prefix, target)).execute().await {
            Err(rtnetlink::Error::NetlinkError(error)) if error.raw_code().abs() == libc::ESRCH => Ok(()),
            Err(error) => Err(failed(&format!("removing the route to {prefix}"), error)),
            Ok(()) => Ok(()),
        }
    }
}

/// What the kernel said, as a positive number, if it was the kernel.
pub(crate) fn errno(error: &rtnetlink::Error) -> Option<i32> {
    match error {
        rtnetlink::Error::NetlinkError(message) => Some(message.raw_code().abs()),
        _ => None,
    }
}

pub(crate) fn failed(operation: &str, error: impl ToString) -> Error {
    Error::Netlink { operation: operation.to_owned(), cause: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_other_node_has_a_route_per_family_by_its_own_address() {
        let own = NodeNetwork::of(&["10.244.1.0/24", "fd00:1::/64"], &["192.0.2.1", "2001:db8::1"]);
        let others = BTreeMap::from([
            ("b".to_owned(), NodeNetwork::of(&["10.244.2.0/24", "fd00:2::/64"], &["2001:db8::2", "192.0.2.2", "192.0.2.3"])),
            ("c".to_owned(), NodeNetwork::of(&["10.244.3.0/24", "fd00:3::/64"], &["192.0.2.4"])),
            ("new".to_owned(), NodeNetwork::of(&[], &["192.0.2.5"])),
        ]);
        let routes: Vec<_> = direct(&own, &others).into_iter().map(|(prefix, target)| (prefix.to_string(), target)).collect();
        let via = |text: &str| Target::Via(text.parse().unwrap());
        let expected = [
            ("10.244.1.0/24", Target::Unreachable),
            ("10.244.2.0/24", via("192.0.2.2")),
            ("10.244.3.0/24", via("192.0.2.4")),
            ("fd00:1::/64", Target::Unreachable),
            ("fd00:2::/64", via("2001:db8::2")),
        ];
        assert_eq!(routes, expected.map(|(prefix, target)| (prefix.to_owned(), target)));
    }
}

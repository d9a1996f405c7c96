//! The overlay in the kernel: its device, the neighbours behind it, the rules that send pods' packets to it. Everything is ours by its
//! name or by its protocol number, so what a former run left behind is found and removed.

use crate::error::Error;
use crate::overlay::{DEVICE, Overlay};
use crate::own_way;
use crate::routes::{PODS_TABLE, PROTOCOL, Router, Routes, errno, failed};
use futures::TryStreamExt;
use ipnet::IpNet;
use nix::libc;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::link::{InfoData, InfoKind, InfoVxlan, LinkAttribute, LinkFlags, LinkInfo, LinkMessage};
use rtnetlink::packet_route::neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState};
use rtnetlink::packet_route::route::RouteProtocol;
use rtnetlink::packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use rtnetlink::{IpVersion, LinkMessageBuilder, LinkUnspec, LinkVxlan};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Before the main table (32766), after the local one (0): `ip rule show`.
const PRIORITY: u32 = 7979;

impl Router {
    /// Makes the overlay's device and all that leads to it what it should be, except for the main table. `mtu` in bytes. The device's
    /// index, and what could not be done.
    ///
    /// # Errors
    /// When there is no device, or nothing can be read.
    pub async fn reconcile_overlay(&self, overlay: &Overlay, port: u16, mtu: u32) -> Result<(u32, Vec<Error>), Error> {
        let device = self.keep_device(overlay.mac, port, mtu).await?;
        let mut failures = self.keep_neighbours(device, &overlay.neighbours).await?;
        failures.extend(self.reconcile_in(PODS_TABLE, &overlay.to_nodes, device).await?);
        failures.extend(self.keep_rules(&overlay.pods).await?);
        Ok((device, failures))
    }

    /// Removes what [`Self::reconcile_overlay`] made; its routes in the main table go with the device. Nothing there is fine.
    pub async fn remove_overlay(&self) -> Result<Vec<Error>, Error> {
        let mut failures = self.keep_rules(&BTreeSet::new()).await?;
        failures.extend(self.reconcile_in(PODS_TABLE, &Routes::new(), 0).await?);
        if let Some(link) = self.overlay_link().await? {
            match self.0.link().del(link.header.index).execute().await {
                Err(error) if errno(&error) != Some(libc::ENODEV) => failures.push(failed(&format!("removing {DEVICE}"), error)),
                _ => tracing::info!(device = DEVICE, "removed the overlay's device"),
            }
        }
        Ok(failures)
    }

    /// The overlay's device, if it is there.
    async fn overlay_link(&self) -> Result<Option<LinkMessage>, Error> {
        let found = Box::pin(self.0.link().get().match_name(DEVICE.to_owned()).execute()).try_next().await;
        match found {
            Ok(Some(link)) if settings(&link).is_none() => Err(failed(&format!("using {DEVICE}"), "there is a device of another kind")),
            Ok(link) => Ok(link),
            Err(error) if errno(&error) == Some(libc::ENODEV) => Ok(None),
            Err(error) => Err(failed(&format!("looking for {DEVICE}"), error)),
        }
    }

    async fn keep_device(&self, mac: [u8; 6], port: u16, mtu: u32) -> Result<u32, Error> {
        let mut present = self.overlay_link().await?;
        // A port cannot be changed.
        if let Some(link) = present.take_if(|link| settings(link) != Some(Settings { port, is_external: true })) {
            let removed = self.0.link().del(link.header.index).execute().await;
            removed.map_err(|error| failed(&format!("removing {DEVICE}, which has other settings"), error))?;
        }
        let link = match present {
            Some(link) => link,
            None => self.make_device(mac, port, mtu).await?,
        };
        let is_up = link.header.flags.contains(LinkFlags::Up);
        let has_mac = link.attributes.iter().any(|attribute| matches!(attribute, LinkAttribute::Address(found) if found[..] == mac));
        let has_mtu = link.attributes.contains(&LinkAttribute::Mtu(mtu));
        if !(is_up && has_mac && has_mtu) {
            let change = LinkUnspec::new_with_index(link.header.index).address(mac.to_vec()).mtu(mtu).up().build();
            let set = self.0.link().set(change).execute().await;
            set.map_err(|error| failed(&format!("setting up {DEVICE} (MTU {mtu}, UDP port {port})"), error))?;
            tracing::info!(device = DEVICE, mtu, port, "set up the overlay's device");
        }
        Ok(link.header.index)
    }

    async fn make_device(&self, mac: [u8; 6], port: u16, mtu: u32) -> Result<LinkMessage, Error> {
        let device = LinkMessageBuilder::<LinkVxlan>::new(DEVICE).collect_metadata(true).learning(false).port(port);
        let made = self.0.link().add(device.address(mac.to_vec()).mtu(mtu).build()).execute().await;
        made.map_err(|error| failed(&format!("making {DEVICE}"), error))?;
        // Nobody is on this wire whom an address of its own or a router's advertisement could reach. Kernels without IPv6 have no file.
        for (setting, value) in [("addr_gen_mode", "1"), ("accept_ra", "0")] {
            let _ = std::fs::write(format!("/proc/sys/net/ipv6/conf/{DEVICE}/{setting}"), value);
        }
        self.overlay_link().await?.ok_or_else(|| failed(&format!("making {DEVICE}"), "it is gone again"))
    }

    async fn keep_neighbours(&self, device: u32, wanted: &BTreeMap<IpAddr, [u8; 6]>) -> Result<Vec<Error>, Error> {
        let found: Vec<NeighbourMessage> =
            self.0.neighbours().get().execute().try_collect().await.map_err(|error| failed("reading the neighbours", error))?;
        let of_device =
            found.iter().filter(|message| message.header.ifindex == device && message.header.state == NeighbourState::Permanent);
        let present: BTreeMap<_, _> =
            of_device.filter_map(read_neighbour).map(|(address, mac, message)| (address, (mac, message))).collect();
        let mut failures = Vec::new();
        for (address, mac) in wanted.iter().filter(|(address, mac)| present.get(address).is_none_or(|(known, _)| known != *mac)) {
            let added = self.0.neighbours().add(device, *address).link_layer_address(mac).replace().execute().await;
            failures.extend(added.err().map(|error| failed(&format!("adding the neighbour {address} of {DEVICE}"), error)));
        }
        for (address, (_, message)) in present.iter().filter(|(address, _)| !wanted.contains_key(address)) {
            let removed = self.0.neighbours().del((*message).clone()).execute().await;
            failures.extend(removed.err().map(|error| failed(&format!("removing the neighbour {address} of {DEVICE}"), error)));
        }
        Ok(failures)
    }

    async fn keep_rules(&self, pods: &BTreeSet<IpNet>) -> Result<Vec<Error>, Error> {
        let (mut failures, mut present) = (Vec::new(), BTreeSet::new());
        for version in [IpVersion::V4, IpVersion::V6] {
            let found: Vec<RuleMessage> =
                self.0.rule().get(version).execute().try_collect().await.map_err(|error| failed("reading the rules", error))?;
            for rule in found.iter().filter(|rule| is_ours(rule)) {
                // Another's table or another prefix: of a former run. Twice the same: one goes.
                if let Some(prefix) = read_rule(rule).filter(|prefix| pods.contains(prefix))
                    && present.insert(prefix)
                {
                    continue;
                }
                let removed = self.0.rule().del(rule.clone()).execute().await;
                failures.extend(removed.err().map(|error| failed("removing a rule for pods", error)));
            }
        }
        for prefix in pods.difference(&present) {
            let mut request = self.0.rule().add();
            *request.message_mut() = rule(*prefix);
            let added = request.execute().await;
            failures.extend(added.err().map(|error| failed(&format!("adding the rule for packets from {prefix}"), error)));
        }
        Ok(failures)
    }
}

/// What of a VXLAN device is fixed when it is made.
#[derive(Debug, PartialEq, Eq)]
struct Settings {
    port: u16,
    /// The routes say where packets go.
    is_external: bool,
}

/// `None` for a device of another kind.
fn settings(link: &LinkMessage) -> Option<Settings> {
    let infos = link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::LinkInfo(infos) => Some(infos),
        _ => None,
    })?;
    if !infos.contains(&LinkInfo::Kind(InfoKind::Vxlan)) {
        return None;
    }
    let mut settings = Settings { port: 0, is_external: false };
    for info in infos {
        let LinkInfo::Data(InfoData::Vxlan(data)) = info else { continue };
        for part in data {
            match part {
                InfoVxlan::Port(port) => settings.port = *port,
                InfoVxlan::CollectMetadata(is_external) => settings.is_external = *is_external,
                _ => {}
            }
        }
    }
    Some(settings)
}

fn read_neighbour(message: &NeighbourMessage) -> Option<(IpAddr, [u8; 6], &NeighbourMessage)> {
    let (mut address, mut mac) = (None, [0; 6]);
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(v4)) => address = Some(IpAddr::from(*v4)),
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(v6)) => address = Some(IpAddr::from(*v6)),
            NeighbourAttribute::LinkLayerAddress(bytes) => mac = bytes.as_slice().try_into().unwrap_or_default(),
            _ => {}
        }
    }
    Some((address?, mac, message))
}

/// Packets from a prefix of pods look into the pods' table first.
fn rule(pods: IpNet) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header.family = if pods.addr().is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    message.header.src_len = pods.prefix_len();
    message.header.action = RuleAction::ToTable;
    message.attributes = vec![
        RuleAttribute::Source(pods.addr()),
        RuleAttribute::Priority(PRIORITY),
        RuleAttribute::Table(PODS_TABLE),
        RuleAttribute::Protocol(RouteProtocol::Other(PROTOCOL)),
    ];
    message
}

fn is_ours(rule: &RuleMessage) -> bool {
    rule.attributes.contains(&RuleAttribute::Protocol(RouteProtocol::Other(PROTOCOL))) && !own_way::is_own(rule)
}

/// The pods whose packets the rule is for; `None` if it is not as [`rule`] makes it.
fn read_rule(rule: &RuleMessage) -> Option<IpNet> {
    let has = |attribute: &RuleAttribute| rule.attributes.contains(attribute);
    if !has(&RuleAttribute::Table(PODS_TABLE)) || !has(&RuleAttribute::Priority(PRIORITY)) || rule.header.dst_len != 0 {
        return None;
    }
    let source = rule.attributes.iter().find_map(|attribute| match attribute {
        RuleAttribute::Source(source) => Some(*source),
        _ => None,
    });
    IpNet::new(source?, rule.header.src_len).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_as_they_were_written_and_others_are_not_ours() {
        for prefix in ["10.244.1.0/24", "fd00:1::/64"] {
            let mut message = rule(prefix.parse().unwrap());
            assert!(is_ours(&message));
            assert_eq!(read_rule(&message), prefix.parse().ok());
            message.attributes.retain(|attribute| !matches!(attribute, RuleAttribute::Table(_)));
            assert_eq!(read_rule(&message), None);
            message.attributes.retain(|attribute| !matches!(attribute, RuleAttribute::Protocol(_)));
            assert!(!is_ours(&message));
        }
    }
}

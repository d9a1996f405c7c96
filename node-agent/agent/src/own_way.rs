//! The way of the node's own packets to Services in the kernel: a veth pair, the rules and routes that lead into its near end, and the
//! program at its far end, which sends answers back. Everything is ours by its name, its tables or its protocol number, so what a former
//! run left behind is found, used or removed.
//!
//! A pair, because then the program is where packets come in, as all others that answer and translate are, and because every host that
//! has pods has the driver. Nobody has an address on it, and nobody is asked for a MAC address.

use crate::error::Error;
use crate::own_routes::{CLUSTER_TABLE, EXTERNAL_TABLE, OwnRoutes, Rule, Whose};
use crate::routes::{PROTOCOL, Router, errno, failed};
use crate::sysctl;
use futures::TryStreamExt;
use nix::libc;
use orknet_abi::DONE_MARK;
use rtnetlink::packet_route::link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage};
use rtnetlink::packet_route::route::RouteProtocol;
use rtnetlink::packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use rtnetlink::packet_route::{AddressFamily, IpProtocol};
use rtnetlink::{IpVersion, LinkUnspec, LinkVeth};
use std::collections::BTreeSet;

/// The end that routes lead into.
pub const NEAR: &str = "orknet0";
/// The end that the program is at.
pub const FAR: &str = "orknet1";

impl Router {
    /// Makes the pair, if it is not there as it should be. The index of the far end.
    ///
    /// # Errors
    /// When there is no such pair, or devices of another kind have the names.
    pub async fn keep_pair(&self) -> Result<u32, Error> {
        let mut ends = (self.end(NEAR).await?, self.end(FAR).await?);
        if !matches!(&ends, (Some(near), Some(far)) if peer(near) == Some(far.header.index)) {
            self.remove_pair().await?;
            let made = self.0.link().add(LinkVeth::new(NEAR, FAR).build()).execute().await;
            made.map_err(|error| failed(&format!("making {NEAR} and {FAR}"), error))?;
            tracing::info!(near = NEAR, far = FAR, "made the devices for the node's own packets to Services");
            ends = (self.end(NEAR).await?, self.end(FAR).await?);
        }
        let (Some(near), Some(far)) = ends else { return Err(failed(&format!("making {NEAR} and {FAR}"), "they are gone again")) };
        for (name, link) in [(NEAR, &near), (FAR, &far)] {
            // Without an address of its own the family stays silent there. Kernels without IPv6 have no file.
            let _ = std::fs::write(format!("/proc/sys/net/ipv6/conf/{name}/addr_gen_mode"), "1");
            if !link.header.flags.contains(LinkFlags::Up | LinkFlags::Noarp) {
                let change = LinkUnspec::new_with_index(link.header.index).arp(false).up().build();
                let set = self.0.link().set(change).execute().await;
                set.map_err(|error| failed(&format!("setting up {name}"), error))?;
            }
        }
        // The look-up of routes asks the device that packets come in on.
        sysctl::forward(FAR)?;
        sysctl::check_marks(NEAR)?;
        Ok(far.header.index)
    }

    /// Makes rules and routes what is wanted; needs the pair. Does what can be done; what could not be.
    pub async fn keep_own_routes(&self, wanted: &OwnRoutes) -> Result<Vec<Error>, Error> {
        let near = self.end(NEAR).await?.map_or(0, |link| link.header.index);
        let mut failures = Vec::new();
        // The rules come last and go first: what they lead to is whole.
        self.keep_own_rules(&wanted.rules, &mut failures, false).await?;
        failures.extend(self.reconcile_in(CLUSTER_TABLE, &wanted.cluster, near).await?);
        failures.extend(self.reconcile_in(EXTERNAL_TABLE, &wanted.external, near).await?);
        self.keep_own_rules(&wanted.rules, &mut failures, true).await?;
        Ok(failures)
    }

    /// Removes rules, routes and the pair. Nothing there is fine.
    pub async fn remove_own_way(&self) -> Result<Vec<Error>, Error> {
        let failures = self.keep_own_routes(&OwnRoutes::default()).await?;
        self.remove_pair().await?;
        Ok(failures)
    }

    async fn keep_own_rules(&self, wanted: &BTreeSet<Rule>, failures: &mut Vec<Error>, adds: bool) -> Result<(), Error> {
        let mut present = BTreeSet::new();
        for version in [IpVersion::V4, IpVersion::V6] {
            let found: Vec<RuleMessage> =
                self.0.rule().get(version).execute().try_collect().await.map_err(|error| failed("reading the rules", error))?;
            for rule in found.iter().filter(|rule| is_own(rule)) {
                // Twice the same: one goes.
                if let Some(read) = read(rule).filter(|read| wanted.contains(read))
                    && present.insert(read)
                {
                    continue;
                }
                let removed = self.0.rule().del(rule.clone()).execute().await;
                failures.extend(removed.err().map(|error| failed("removing a rule for the node's own packets", error)));
            }
        }
        for rule in wanted.difference(&present).filter(|_| adds) {
            let mut request = self.0.rule().add();
            *request.message_mut() = message(rule);
            let added = request.execute().await;
            failures.extend(added.err().map(|error| failed(&format!("adding the rule for table {}", rule.table), error)));
        }
        Ok(())
    }

    /// One end of the pair, if it is there.
    async fn end(&self, name: &str) -> Result<Option<LinkMessage>, Error> {
        let found = Box::pin(self.0.link().get().match_name(name.to_owned()).execute()).try_next().await;
        match found {
            Ok(Some(link)) if !is_veth(&link) => Err(failed(&format!("using {name}"), "there is a device of another kind")),
            Ok(link) => Ok(link),
            Err(error) if errno(&error) == Some(libc::ENODEV) => Ok(None),
            Err(error) => Err(failed(&format!("looking for {name}"), error)),
        }
    }

    async fn remove_pair(&self) -> Result<(), Error> {
        // With one end goes the other, unless it is another's.
        for name in [NEAR, FAR] {
            let Some(link) = self.end(name).await? else { continue };
            match self.0.link().del(link.header.index).execute().await {
                Err(error) if errno(&error) != Some(libc::ENODEV) => return Err(failed(&format!("removing {name}"), error)),
                _ => tracing::info!(device = name, "removed a device for the node's own packets"),
            }
        }
        Ok(())
    }
}

/// Whether the rule is one of those here; [`crate::vxlan`] has others.
pub(crate) fn is_own(rule: &RuleMessage) -> bool {
    let has = |attribute: &RuleAttribute| rule.attributes.contains(attribute);
    has(&RuleAttribute::Protocol(RouteProtocol::Other(PROTOCOL)))
        && [CLUSTER_TABLE, EXTERNAL_TABLE].into_iter().any(|table| has(&RuleAttribute::Table(table)))
}

fn message(rule: &Rule) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header.family = if rule.is_v4 { AddressFamily::Inet } else { AddressFamily::Inet6 };
    message.header.action = RuleAction::ToTable;
    message.attributes = vec![
        // By this name the kernel means what comes from the host itself.
        RuleAttribute::Iifname("lo".to_owned()),
        RuleAttribute::Priority(rule.priority),
        RuleAttribute::Table(rule.table),
        RuleAttribute::Protocol(RouteProtocol::Other(PROTOCOL)),
    ];
    match rule.whose {
        Whose::All => {}
        Whose::Icmp => message.attributes.push(RuleAttribute::IpProtocol(icmp(rule.is_v4))),
        Whose::Sctp => message.attributes.push(RuleAttribute::IpProtocol(IpProtocol::Sctp)),
        Whose::Answers => message.attributes.extend([RuleAttribute::FwMark(DONE_MARK), RuleAttribute::FwMask(u32::MAX)]),
    }
    message
}

/// `None` if the rule is not as [`message`] makes it.
fn read(rule: &RuleMessage) -> Option<Rule> {
    let is_v4 = rule.header.family == AddressFamily::Inet;
    let has = |attribute: &RuleAttribute| rule.attributes.contains(attribute);
    let number = |pick: fn(&RuleAttribute) -> Option<u32>| rule.attributes.iter().find_map(pick);
    let read = Rule {
        is_v4,
        priority: number(|attribute| if let RuleAttribute::Priority(found) = attribute { Some(*found) } else { None })?,
        whose: match () {
            () if has(&RuleAttribute::IpProtocol(icmp(is_v4))) => Whose::Icmp,
            () if has(&RuleAttribute::IpProtocol(IpProtocol::Sctp)) => Whose::Sctp,
            () if has(&RuleAttribute::FwMark(DONE_MARK)) => Whose::Answers,
            () => Whose::All,
        },
        table: number(|attribute| if let RuleAttribute::Table(found) = attribute { Some(*found) } else { None })?,
    };
    let is_whole = message(&read).attributes.iter().all(has);
    (is_whole && rule.header.src_len == 0 && rule.header.dst_len == 0).then_some(read)
}

fn icmp(is_v4: bool) -> IpProtocol {
    if is_v4 { IpProtocol::Icmp } else { IpProtocol::Other(libc::IPPROTO_ICMPV6) }
}

fn is_veth(link: &LinkMessage) -> bool {
    let kind = LinkInfo::Kind(InfoKind::Veth);
    link.attributes.iter().any(|attribute| matches!(attribute, LinkAttribute::LinkInfo(infos) if infos.contains(&kind)))
}

/// The index of the other end, if it is in our namespace.
fn peer(link: &LinkMessage) -> Option<u32> {
    let is_elsewhere = link.attributes.iter().any(|attribute| matches!(attribute, LinkAttribute::LinkNetNsId(_)));
    let other = link.attributes.iter().find_map(|attribute| if let LinkAttribute::Link(index) = attribute { Some(*index) } else { None });
    other.filter(|_| !is_elsewhere)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_as_they_were_written_and_others_are_not_ours() {
        for is_v4 in [true, false] {
            let of_external = [Whose::Icmp, Whose::Sctp, Whose::Answers].map(|whose| (whose, EXTERNAL_TABLE));
            for (whose, table) in of_external.into_iter().chain([(Whose::All, CLUSTER_TABLE)]) {
                let rule = Rule { is_v4, priority: 7980, whose, table };
                let mut written = message(&rule);
                assert!(is_own(&written));
                assert_eq!(read(&written), Some(rule));
                written.attributes.retain(|attribute| !matches!(attribute, RuleAttribute::Iifname(_)));
                assert_eq!(read(&written), None, "it is for everybody's packets");
                written.attributes.retain(|attribute| !matches!(attribute, RuleAttribute::Protocol(_)));
                assert!(!is_own(&written));
            }
        }
    }
}

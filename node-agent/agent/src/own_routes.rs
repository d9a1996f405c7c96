//! Which packets of the node itself are for Services although no socket hook sees them (pings, SCTP, raw sockets): those to the addresses of
//! Services. A pure function of the maps' Services and of the Nodes. How it gets into the kernel is [`crate::own_way`]'s.
//!
//! ```text
//!  rule: from the node itself        ─▶ table 7980: 10.96.0.0/16  dev orknet0, from the node's address    (cluster addresses)
//!                                                   10.96.7.7     as if this table were not there         (another proxy's)
//!  rule: … and ICMP or SCTP          ─▶ table 7981: 203.0.113.5   dev orknet0, from the node's address    (load balancers')
//!  rule: … and nothing else leads to it ─▶ the same
//! ```
//!
//! Rules go by who sends: what the node forwards is never led there. A load-balancer or external address may be a host's, too, so of the
//! packets to it only those of ICMP and SCTP are, which sockets do not translate, and those that no other route is for. Addresses of nodes are never, whatever a Service says.

use crate::nodes::Outlook;
use crate::routes::{Routes, Target};
use ipnet::IpNet;
use orknet_abi::{Service, ServiceKey, service_flags};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// The table for cluster addresses (`ip route show table 7980`).
pub const CLUSTER_TABLE: u32 = 7980;
/// The table for load-balancer and external addresses.
pub const EXTERNAL_TABLE: u32 = 7981;
/// Before the main table (32766), after the local one (0).
const FIRST: u32 = 7980;
/// After the main and the default table (32767).
const LAST: u32 = 32_790;

/// Addresses that Services have as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fronts {
    /// Cluster addresses.
    pub cluster: BTreeSet<IpAddr>,
    /// Cluster addresses that another proxy serves.
    pub foreign: BTreeSet<IpAddr>,
    /// Load balancers' and external addresses.
    pub external: BTreeSet<IpAddr>,
}

impl Fronts {
    /// Those in an image of the maps.
    pub fn of(services: &BTreeMap<ServiceKey, Service>) -> Self {
        let mut fronts = Self::default();
        for (key, service) in services.iter().filter(|(key, _)| is_whole(key)) {
            let kind = match service.flags & (service_flags::FOREIGN | service_flags::EXTERNAL) {
                0 => &mut fronts.cluster,
                service_flags::EXTERNAL => &mut fronts.external,
                _ => &mut fronts.foreign,
            };
            kind.insert(key.address.into());
        }
        fronts
    }
}

/// Whether an entry stands for an address, not for a port of it.
pub fn is_whole(key: &ServiceKey) -> bool {
    key.port_be == 0 && key.protocol == 0
}

/// Which packets of the node a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Whose {
    All,
    /// Those of ICMP.
    Icmp,
    /// Those of SCTP, whose connections no socket hook sees.
    Sctp,
    /// None: by it the kernel's check of sources (`rp_filter`) finds that an answer comes from where its sender is. It asks as if the
    /// node sent something there, of no protocol but with the answer's mark.
    Answers,
}

/// Which packets of the node a table is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rule {
    pub is_v4: bool,
    pub priority: u32,
    pub whose: Whose,
    pub table: u32,
}

/// What leads the node's own packets to Services.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnRoutes {
    /// Of [`CLUSTER_TABLE`].
    pub cluster: Routes,
    /// Of [`EXTERNAL_TABLE`].
    pub external: Routes,
    pub rules: BTreeSet<Rule>,
}

impl OwnRoutes {
    /// What this node should have. Addresses of a family that the node has no address of are not reached.
    pub fn of(fronts: &Fronts, service_cidrs: &[IpNet], nodes: &Outlook) -> Self {
        let by_device = |prefix: IpNet| {
            let source = nodes.own.internal.iter().find(|address| address.is_ipv4() == prefix.addr().is_ipv4())?;
            Some((prefix, Target::Services(*source)))
        };
        let is_in_range = |address: &&IpAddr| service_cidrs.iter().any(|prefix| prefix.contains(*address));
        let ranges = service_cidrs.iter().filter(|_| !fronts.cluster.is_empty()).map(IpNet::trunc);
        let others = fronts.cluster.iter().filter(|address| !is_in_range(address)).map(|address| IpNet::from(*address));
        let mut cluster: Routes = ranges.chain(others).filter_map(by_device).collect();
        if !cluster.is_empty() {
            cluster.extend(fronts.foreign.iter().filter(is_in_range).map(|address| (IpNet::from(*address), Target::Throw)));
        }
        let internal: BTreeSet<_> = nodes.others.values().chain([&nodes.own]).flat_map(|node| &node.internal).collect();
        let strangers = fronts.external.iter().filter(|address| !internal.contains(address));
        let external: Routes = strangers.filter_map(|address| by_device(IpNet::from(*address))).collect();
        let rules = rules(&cluster, &external);
        Self { cluster, external, rules }
    }

    /// Whether nothing leads there.
    pub fn is_empty(&self) -> bool {
        self.cluster.is_empty() && self.external.is_empty()
    }
}

fn rules(cluster: &Routes, external: &Routes) -> BTreeSet<Rule> {
    let of = |routes: &Routes, is_v4: bool| routes.keys().any(|prefix| prefix.addr().is_ipv4() == is_v4);
    let mut rules = BTreeSet::new();
    for is_v4 in [true, false] {
        if of(cluster, is_v4) {
            rules.insert(Rule { is_v4, priority: FIRST, whose: Whose::All, table: CLUSTER_TABLE });
        }
        if of(external, is_v4) {
            let rule = |priority, whose| Rule { is_v4, priority, whose, table: EXTERNAL_TABLE };
            rules.extend([rule(FIRST + 1, Whose::Icmp), rule(FIRST + 1, Whose::Sctp), rule(LAST, Whose::All)]);
            // IPv6 has no such check.
            rules.extend(is_v4.then(|| rule(FIRST + 2, Whose::Answers)));
        }
    }
    rules
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::NodeNetwork;
    use orknet_abi::{Address, scope};

    fn addresses(texts: &[&str]) -> BTreeSet<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn nodes(own: &[&str]) -> Outlook {
        let others = BTreeMap::from([("b".to_owned(), NodeNetwork::of(&[], &["192.0.2.2"]))]);
        Outlook { own: NodeNetwork::of(&[], own), others, is_leaving: false }
    }

    fn shown(routes: &Routes) -> Vec<String> {
        let target = |target: &Target| match target {
            Target::Services(source) => format!("from {source}"),
            other => format!("{other:?}"),
        };
        routes.iter().map(|(prefix, to)| format!("{prefix} {}", target(to))).collect()
    }

    #[test]
    fn ranges_lead_to_services_and_addresses_outside_of_them_one_by_one() {
        let fronts = Fronts { cluster: addresses(&["10.96.0.1", "10.97.0.1", "fd00:10:96::1"]), ..Fronts::default() };
        let cidrs = ["10.96.0.0/16".parse().unwrap(), "fd00:10:96::/112".parse().unwrap()];
        let own = OwnRoutes::of(&fronts, &cidrs, &nodes(&["192.0.2.1", "2001:db8::1"]));
        let expected = ["10.96.0.0/16 from 192.0.2.1", "10.97.0.1/32 from 192.0.2.1", "fd00:10:96::/112 from 2001:db8::1"];
        assert_eq!(shown(&own.cluster), expected);
        let rule = |is_v4| Rule { is_v4, priority: FIRST, whose: Whose::All, table: CLUSTER_TABLE };
        assert_eq!((own.external.len(), own.rules), (0, BTreeSet::from([rule(true), rule(false)])));
        // Without an address there is nobody whom an answer could reach.
        assert_eq!(shown(&OwnRoutes::of(&fronts, &cidrs, &nodes(&["192.0.2.1"])).cluster), expected[..2]);
        assert!(OwnRoutes::of(&Fronts::default(), &cidrs, &nodes(&["192.0.2.1"])).is_empty());
    }

    #[test]
    fn another_proxys_addresses_are_left_to_other_routes() {
        let foreign = addresses(&["10.96.7.7", "10.97.7.7"]);
        let fronts = Fronts { cluster: addresses(&["10.96.0.1"]), foreign: foreign.clone(), ..Fronts::default() };
        let cidrs = ["10.96.0.0/16".parse().unwrap()];
        let own = OwnRoutes::of(&fronts, &cidrs, &nodes(&["192.0.2.1"]));
        assert_eq!(shown(&own.cluster), ["10.96.0.0/16 from 192.0.2.1", "10.96.7.7/32 Throw"]);
        assert_eq!(shown(&OwnRoutes::of(&fronts, &[], &nodes(&["192.0.2.1"])).cluster), ["10.96.0.1/32 from 192.0.2.1"]);
        assert!(OwnRoutes::of(&Fronts { foreign, ..Fronts::default() }, &cidrs, &nodes(&["192.0.2.1"])).is_empty());
    }

    #[test]
    fn external_addresses_lead_there_for_icmp_and_sctp_or_as_a_last_resort_and_nodes_addresses_never() {
        let fronts = Fronts { external: addresses(&["203.0.113.5", "192.0.2.1", "192.0.2.2"]), ..Fronts::default() };
        let own = OwnRoutes::of(&fronts, &[], &nodes(&["192.0.2.1"]));
        assert_eq!(shown(&own.external), ["203.0.113.5/32 from 192.0.2.1"]);
        let rules: Vec<_> = own.rules.iter().map(|rule| (rule.priority, rule.whose, rule.table)).collect();
        assert_eq!(
            rules,
            [
                (7981, Whose::Icmp, EXTERNAL_TABLE),
                (7981, Whose::Sctp, EXTERNAL_TABLE),
                (7982, Whose::Answers, EXTERNAL_TABLE),
                (32_790, Whose::All, EXTERNAL_TABLE)
            ]
        );
    }

    #[test]
    fn fronts_are_the_whole_addresses_by_kind() {
        let key = |last, port| ServiceKey {
            address: Address::from_v4([10, 96, 0, last]),
            port_be: port,
            protocol: u8::from(port > 0),
            scope: scope::INSIDE,
        };
        let with = |flags| Service { flags: service_flags::ADDRESS | flags, ..Service::default() };
        let services = BTreeMap::from([
            (key(1, 0), with(0)),
            (key(2, 0), with(service_flags::FOREIGN)),
            (key(3, 0), with(service_flags::EXTERNAL)),
            (key(4, 80), Service::default()),
        ]);
        let expected =
            Fronts { cluster: addresses(&["10.96.0.1"]), foreign: addresses(&["10.96.0.2"]), external: addresses(&["10.96.0.3"]) };
        assert_eq!(Fronts::of(&services), expected);
    }
}

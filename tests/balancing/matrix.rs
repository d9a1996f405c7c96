//! Who answers, and whom does it see: type × protocol × family × client × policy, each cell against the rules of [`crate::expected`].

use crate::expected::{BACKENDS, Expected, FAR, Front, NEAR, Policy, Return, Seen, Who, expected, expected_of_packets};
use crate::scene::{self, Clients, FAMILIES, NETTOOL};
use anyhow::{Result, bail, ensure};
use orknet_tests::outside::node_addresses;
use orknet_tests::talk::{Client, How, Outcome, Target};
use orknet_tests::{Cluster, Kubectl, Outside, eventually, tests};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

tests![e2e_every_client_reaches_the_right_backends_through_every_front_and_is_seen_as_the_rules_say];

/// So many that one of two backends is missed once in 500 million cells.
const TRIES: u16 = 30;
const HOWS: [How; 4] = [How::Tcp, How::Udp, How::UdpConnected, How::Sctp];
const VIAS: [&str; 2] = [NEAR, FAR];

/// A front of a Service with its policy, at an address of a family.
struct Cell {
    front: Front,
    policy: Policy,
    family: usize,
    address: String,
    port: u16,
}

impl Cell {
    fn expected(&self, who: Who, how: How) -> Expected {
        let rules = if how == How::Sctp || !scene::sees_sockets() { expected_of_packets } else { expected };
        // Direct return is for TCP and UDP.
        let returns = if how == How::Sctp { Return::ThroughFront } else { scene::returns() };
        rules(self.front, self.policy, who, returns)
    }

    fn target(&self, how: How) -> Target {
        Target::new(how, &self.address, self.port)
    }
}

fn e2e_every_client_reaches_the_right_backends_through_every_front_and_is_seen_as_the_rules_say(
    cluster: &Cluster,
    kubectl: &Kubectl,
) -> Result<()> {
    let outside = Outside::attach(cluster, NETTOOL)?;
    scene::backends(kubectl)?;
    let clients = Clients::start(cluster, kubectl, &outside)?;
    let cells = cells(kubectl, &outside)?;
    let mut wrong = Vec::new();
    for who in Who::ALL {
        let (client, own) = (clients.get(who), clients.addresses(who)?);
        is_known(&client, &cells, who)?;
        let targets = cells.iter().flat_map(|cell| HOWS.map(|how| cell.target(how)));
        let tally = client.ask_all(targets, TRIES)?;
        for cell in &cells {
            for how in HOWS {
                let outcomes: BTreeSet<&Outcome> = tally.get(&cell.target(how)).into_iter().flat_map(|found| found.keys()).collect();
                if let Err(error) = is_as(&outcomes, &cell.expected(who, how), own[cell.family], cell) {
                    wrong.push(format!("{who:?} to {:?} {:?} at {} over {how:?}: {error}", cell.front, cell.policy, cell.address));
                }
            }
        }
    }
    ensure!(wrong.is_empty(), "{} of {} cells are wrong:\n{}", wrong.len(), cells.len() * HOWS.len() * Who::ALL.len(), wrong.join("\n"));
    Ok(())
}

/// Makes the Services: one for each type and policy.
fn cells(kubectl: &Kubectl, outside: &Outside) -> Result<Vec<Cell>> {
    let mut cells = Vec::new();
    for (index, policy) in [Policy::Cluster, Policy::Local].into_iter().enumerate() {
        // Numbers of addresses: those of a policy, a type and a way.
        let number = |kind: usize, via: usize| 10 + (index * 4 + kind * 2 + via) as u8;
        let name = |kind: &str| format!("{kind}-{policy:?}").to_lowercase();
        let mut add = |front, family, address: String, port| cells.push(Cell { front, policy, family, address, port });

        let service = scene::service(kubectl, &name("internal"), &format!("internalTrafficPolicy: {policy:?}"))?;
        for (family, address) in scene::cluster_addresses(&service)?.into_iter().enumerate() {
            add(Front::ClusterIp, family, address, 80);
        }

        let service = scene::service(kubectl, &name("node-port"), &format!("type: NodePort, externalTrafficPolicy: {policy:?}"))?;
        for node in VIAS {
            for family in FAMILIES {
                add(Front::NodePort { node }, family, node_addresses(node)?[family].to_string(), scene::node_port(&service)?);
            }
        }

        let more = format!("type: LoadBalancer, allocateLoadBalancerNodePorts: false, externalTrafficPolicy: {policy:?}");
        scene::service(kubectl, &name("balanced"), &more)?;
        let addresses = routed(outside, |via| number(0, via))?;
        scene::balance(kubectl, &name("balanced"), &addresses.iter().map(|(_, _, address)| address.clone()).collect::<Vec<_>>())?;
        for (via, family, address) in addresses {
            add(Front::LoadBalancer { via }, family, address, 80);
        }

        let addresses = routed(outside, |via| number(1, via))?;
        let list: Vec<String> = addresses.iter().map(|(_, _, address)| format!("{address:?}")).collect();
        let more = format!("externalIPs: [{}], externalTrafficPolicy: {policy:?}", list.join(", "));
        scene::service(kubectl, &name("external"), &more)?;
        for (via, family, address) in addresses {
            add(Front::ExternalIp { via }, family, address, 80);
        }
        for kind in ["internal", "node-port", "balanced", "external"] {
            scene::endpoints(kubectl, &name(kind), BACKENDS.len())?;
        }
    }
    // What the outside sends to cluster addresses arrives at a node, and nobody takes it.
    for range in ["10.96.0.0/16", "fd00:10:96::/112"] {
        outside.route(range, NEAR)?;
    }
    Ok(cells)
}

/// An address for each way and family, routed so: way, family, address.
fn routed(outside: &Outside, number: impl Fn(usize) -> u8) -> Result<Vec<(&'static str, usize, String)>> {
    let mut all = Vec::new();
    for (index, via) in VIAS.into_iter().enumerate() {
        for family in FAMILIES {
            let address = scene::free_address(family, number(index));
            outside.route(&address, via)?;
            all.push((via, family, address));
        }
    }
    Ok(all)
}

/// Waits until every front that must answer does: only then is a wrong answer more than an early one.
fn is_known(client: &Client<'_>, cells: &[Cell], who: Who) -> Result<()> {
    let answers = |cell: &Cell, how: &How| matches!(cell.expected(who, *how), Expected::Answers(_));
    let of_cell = |cell| HOWS.into_iter().filter(move |how| answers(cell, how)).map(|how| cell.target(how));
    let mut open: Vec<Target> = cells.iter().flat_map(of_cell).collect();
    eventually(&format!("all fronts to answer {who:?}"), || {
        let tally = client.ask_all(open.clone(), 1)?;
        open.retain(|target| !tally.get(target).is_some_and(|found| found.keys().all(|outcome| matches!(outcome, Outcome::Answer { .. }))));
        ensure!(open.is_empty(), "{open:?}");
        Ok(())
    })
}

fn is_as(outcomes: &BTreeSet<&Outcome>, wanted: &Expected, own: IpAddr, cell: &Cell) -> Result<()> {
    let error = |kind: &str| BTreeSet::from([Outcome::Error(kind.to_owned())]);
    let found: BTreeSet<Outcome> = outcomes.iter().map(|outcome| (*outcome).clone()).collect();
    let wanted = match wanted {
        Expected::Answers(backends) => {
            let of = |(name, seen): (&&str, &Seen)| {
                let seen_from = match seen {
                    Seen::Client => own,
                    Seen::Front => cell.address.parse()?,
                    Seen::Node(node) => node_addresses(node)?[cell.family],
                };
                Ok(Outcome::Answer { server: (*name).to_owned(), seen_from: seen_from.to_string() })
            };
            backends.iter().map(of).collect::<Result<BTreeSet<Outcome>>>()?
        }
        Expected::Denied => error("PermissionDenied"),
        Expected::Silence => error("TimedOut"),
        Expected::Nobody => {
            ensure!(
                !found.is_empty() && found.iter().all(|outcome| matches!(outcome, Outcome::Error(_))),
                "{}, expected no answer",
                show(&found)
            );
            return Ok(());
        }
    };
    if found != wanted {
        bail!("{}, expected {}", show(&found), show(&wanted));
    }
    Ok(())
}

fn show(outcomes: &BTreeSet<Outcome>) -> String {
    let one = |outcome: &Outcome| match outcome {
        Outcome::Answer { server, seen_from } => format!("{server} seeing {seen_from}"),
        Outcome::Error(kind) => kind.clone(),
    };
    let all: BTreeMap<String, ()> = outcomes.iter().map(|outcome| (one(outcome), ())).collect();
    if all.is_empty() { "nothing".to_owned() } else { all.into_keys().collect::<Vec<_>>().join(" and ") }
}

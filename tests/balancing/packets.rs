//! What is special about some packets: fragments, pings, clients that stay with their server.

use crate::expected::{BACKENDS, Expected, FAR, Front, NEAR, Policy, Return, Seen, Who, expected};
use crate::scene::{self, Clients, FAMILIES, NETTOOL};
use anyhow::{Context, Result, bail, ensure};
use orknet_tests::outside::node_addresses;
use orknet_tests::talk::{Attempt, Client, How, Outcome, Target, at};
use orknet_tests::{Cluster, Kubectl, Outside, eventually, tests};
use std::collections::BTreeSet;

tests![
    e2e_a_datagram_in_fragments_reaches_one_backend_whole_and_so_does_its_answer,
    e2e_pings_of_service_addresses_are_answered,
    e2e_a_client_outside_keeps_its_backend_if_asked_to,
    e2e_a_port_that_was_used_through_another_nodes_node_port_serves_other_ways_too,
];

/// More than three frames, in both directions.
const LARGE: &str = "5000";

fn e2e_a_datagram_in_fragments_reaches_one_backend_whole_and_so_does_its_answer(cluster: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let outside = Outside::attach(cluster, NETTOOL)?;
    scene::backends(kubectl)?;
    let service = scene::service(kubectl, "large", "type: NodePort")?;
    scene::endpoints(kubectl, "large", BACKENDS.len())?;
    let client = Client::outside(&outside);
    // In pieces it has no room to tell a backend anything: answers come back as they do without direct return.
    for node in [NEAR, FAR] {
        let Expected::Answers(backends) = expected(Front::NodePort { node }, Policy::Cluster, Who::Outside, Return::ThroughFront) else {
            bail!("no answers")
        };
        for family in FAMILIES {
            let address = at(&node_addresses(node)?[family].to_string(), scene::node_port(&service)?);
            eventually("the node port to answer", || client.attempt(How::Udp, &address)?.answer().map(drop))?;
            let mut answered = BTreeSet::new();
            for _ in 0..20 {
                let attempt = Attempt::parse(&client.run(&["nettool", "try-large", &address, LARGE])?)?;
                let (server, seen_from) = attempt.answer().with_context(|| address.clone())?;
                let seen = match backends.get(server).with_context(|| format!("{server} is no backend"))? {
                    Seen::Client | Seen::Front => outside.addresses()[family],
                    Seen::Node(node) => node_addresses(node)?[family],
                };
                ensure!(seen_from == seen.to_string(), "{address}: {server} saw {seen_from}, expected {seen}");
                answered.insert(server.to_owned());
            }
            // Both backends: once with a local, once with a translated source (missed once in 500,000 runs).
            ensure!(answered.len() == BACKENDS.len(), "{address}: only {answered:?} of 20 datagrams");
        }
    }
    Ok(())
}

fn e2e_pings_of_service_addresses_are_answered(cluster: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let outside = Outside::attach(cluster, NETTOOL)?;
    let clients = Clients::start(cluster, kubectl, &outside)?;
    scene::backends(kubectl)?;
    let service = scene::service(kubectl, "pinged", "type: LoadBalancer")?;
    let balanced = FAMILIES.map(|family| scene::free_address(family, 90));
    scene::balance(kubectl, "pinged", &balanced)?;
    balanced.iter().try_for_each(|address| outside.route(address, FAR))?;
    let is_answered = |who: Who, address: &str| {
        let client = clients.get(who);
        eventually(&format!("{address} to answer a ping of {who:?}"), || client.ping(address))
    };
    for address in &balanced {
        is_answered(Who::Outside, address)?;
    }
    for address in scene::cluster_addresses(&service)?.iter().chain(&balanced) {
        for who in [Who::Backend, Who::SameNode, Who::OtherNode, Who::Host, Who::OtherHost] {
            is_answered(who, address)?;
        }
    }
    Ok(())
}

fn e2e_a_client_outside_keeps_its_backend_if_asked_to(cluster: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let outsides = [Outside::attach(cluster, NETTOOL)?, Outside::attach(cluster, NETTOOL)?, Outside::attach(cluster, NETTOOL)?];
    scene::backends(kubectl)?;
    scene::server(kubectl, "third", FAR)?;
    orknet_tests::talk::wait_ready(kubectl, "third")?;
    let service = scene::service(kubectl, "kept", "type: NodePort, sessionAffinity: ClientIP")?;
    scene::endpoints(kubectl, "kept", 3)?;
    let port = scene::node_port(&service)?;
    let targets = || -> Result<Vec<Target>> {
        Ok(node_addresses(NEAR)?.iter().map(|address| Target::new(How::Tcp, &address.to_string(), port)).collect())
    };
    // Who answers a client at an address: one, whatever its port.
    let kept = |outside: &Outside| -> Result<Vec<String>> {
        let tally = Client::outside(outside).ask_all(targets()?, 30)?;
        let mut servers = Vec::new();
        for (target, outcomes) in tally {
            let answered: BTreeSet<String> = outcomes.into_keys().map(|outcome| server_of(&outcome)).collect::<Result<_>>()?;
            ensure!(answered.len() == 1, "{target:?} is answered by {answered:?}");
            servers.extend(answered);
        }
        Ok(servers)
    };
    for outside in &outsides {
        let before = eventually("the node port to be known", || kept(outside))?;
        ensure!(kept(outside)? == before, "the client was moved");
    }
    // Its server goes: another one is chosen, and kept.
    let first = kept(&outsides[0])?.remove(0);
    kubectl.run(&["label", "pod", &first, "app-"])?;
    scene::endpoints(kubectl, "kept", 2)?;
    let next = eventually("another server to be chosen", || {
        let servers = kept(&outsides[0])?;
        ensure!(!servers.contains(&first), "{servers:?}");
        Ok(servers)
    })?;
    ensure!(kept(&outsides[0])? == next, "the client was moved again");
    Ok(())
}

fn server_of(outcome: &Outcome) -> Result<String> {
    match outcome {
        Outcome::Answer { server, .. } => Ok(server.clone()),
        Outcome::Error(kind) => bail!("{kind}"),
    }
}

/// What is remembered of a flow must not be taken for a later one between the same pods.
fn e2e_a_port_that_was_used_through_another_nodes_node_port_serves_other_ways_too(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    scene::server(kubectl, "only", NEAR)?;
    let client = Client::on_node(kubectl, "client", FAR)?;
    orknet_tests::talk::wait_ready(kubectl, "only")?;
    let service = scene::service(kubectl, "several-ways", "type: NodePort")?;
    scene::endpoints(kubectl, "several-ways", 1)?;
    let (node_port, inner) = (scene::node_port(&service)?, scene::cluster_addresses(&service)?);
    for family in FAMILIES {
        let through_node = at(&node_addresses(NEAR)?[family].to_string(), node_port);
        let direct = at(&scene::pod_addresses(kubectl, "only")?[family].to_string(), orknet_tests::talk::PORT);
        let through_service = at(&inner[family], 80);
        for address in [&through_node, &through_service] {
            eventually("the Service to answer", || client.attempt(How::Udp, address)?.answer().map(drop))?;
        }
        // One socket cannot tell the Service from its backend when it speaks to both, so each order has a socket of its own.
        for ways in [[&through_node, &direct, &through_node, &direct], [&through_node, &through_service, &through_node, &through_service]] {
            let command: Vec<&str> = ["nettool", "try-from-one-port"].into_iter().chain(ways.iter().map(|way| way.as_str())).collect();
            let said = client.run(&command)?;
            ensure!(said.lines().count() == ways.len(), "{said}");
            for line in said.lines() {
                let attempt = Attempt::parse(line)?;
                let (server, _) = attempt.answer().with_context(|| format!("{ways:?} in this order: {said}"))?;
                ensure!(server == "only", "{server}");
            }
        }
    }
    Ok(())
}

//! From outside of the cluster: which address policies see, with source NAT and without.

use crate::scene::{NETTOOL, NODES, expect_both, policy, server};
use anyhow::{Context, Result};
use orknet_tests::outside::node_addresses;
use orknet_tests::talk::{self, Client, at};
use orknet_tests::{Cluster, Kubectl, Outside, tests};
use std::net::IpAddr;

tests![e2e_policy_sees_who_comes_from_outside_with_the_address_that_the_pod_sees];

fn e2e_policy_sees_who_comes_from_outside_with_the_address_that_the_pod_sees(cluster: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let outside = Outside::attach(cluster, NETTOOL)?;
    let client = Client::outside(&outside);
    server(kubectl, "web", NODES[1])?;
    let mut ports = Vec::new();
    for policy in ["Cluster", "Local"] {
        let name = format!("web-{}", policy.to_lowercase());
        talk::serve(kubectl, &name, "web", &format!("type: NodePort, ipFamilyPolicy: RequireDualStack, externalTrafficPolicy: {policy}"))?;
        let spec = kubectl.json(&["get", "service", &name])?["spec"].take();
        ports.push(spec["ports"][0]["nodePort"].as_u64().context("the Service has no node port")?.try_into()?);
    }
    let [cluster_port, local_port]: [u16; 2] = [ports[0], ports[1]];
    let from = |addresses: &[IpAddr]| {
        let blocks: Vec<String> = addresses.iter().map(|address| format!("{{ipBlock: {{cidr: '{address}/{}'}}}}", bits(address))).collect();
        format!("{{podSelector: {{}}, ingress: [{{from: [{}]}}]}}", blocks.join(", "))
    };
    let fronts = |node: &str, port: u16| node_addresses(node).map(|both| both.map(|address| at(&address.to_string(), port)));
    // The pod's node leaves the client its address, the other node gives its own.
    let cases = [
        ("the client", from(&outside.addresses()), true, false),
        ("the other node", from(&node_addresses(NODES[0])?), false, true),
        ("nobody", "{podSelector: {}}".to_owned(), false, false),
    ];
    for (who, spec, is_client_in, is_node_in) in cases {
        policy(kubectl, "in", &spec)?;
        for front in fronts(NODES[1], local_port)?.iter().chain(&fronts(NODES[1], cluster_port)?) {
            expect_both(&client, &format!("{who} may, at {front} of the pod's node"), front, is_client_in)?;
        }
        for front in fronts(NODES[0], cluster_port)? {
            expect_both(&client, &format!("{who} may, at {front} of the other node"), &front, is_node_in)?;
        }
    }
    // Answers to what the pod itself asks outside come back, and what it may not ask is not asked.
    let asker = Client::of(kubectl, "web");
    for address in outside.addresses() {
        expect_both(&asker, "a pod that takes nobody", &at(&address.to_string(), talk::PORT), true)?;
    }
    policy(kubectl, "out", "{podSelector: {}, policyTypes: [Egress], egress: [{to: [{namespaceSelector: {}}]}]}")?;
    for address in outside.addresses() {
        expect_both(&asker, "a pod that may not go out", &at(&address.to_string(), talk::PORT), false)?;
    }
    Ok(())
}

fn bits(address: &IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

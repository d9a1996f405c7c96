//! Nodes, and pods on their network.

use crate::scene::{NETTOOL, NODES, addresses, client, expect_both, policy, server};
use anyhow::Result;
use orknet_tests::outside::node_addresses;
use orknet_tests::talk::{self, Client, TOOLS, at};
use orknet_tests::{Cluster, Kubectl, tests};

tests![e2e_policy_lets_the_own_node_through_and_no_other, e2e_policy_is_not_about_pods_on_the_hosts_network,];

/// Ports of the nodes, one for each test: what is over may still be on its way out.
const HOST_PORT: u16 = 8_092;
const OTHER_HOST_PORT: u16 = 8_093;

fn e2e_policy_lets_the_own_node_through_and_no_other(cluster: &Cluster, kubectl: &Kubectl) -> Result<()> {
    policy(kubectl, "deny", "{podSelector: {}, policyTypes: [Ingress, Egress]}")?;
    // Its probe comes from the node.
    server(kubectl, "web", NODES[0])?;
    for address in addresses(kubectl, "web")? {
        let web = at(&address, talk::PORT);
        for (index, node) in NODES.into_iter().enumerate() {
            expect_both(&Client::of_node(cluster, node, NETTOOL), node, &web, index == 0)?;
        }
    }
    on_host(kubectl, "host", NODES[0], HOST_PORT)?;
    on_host(kubectl, "other-host", NODES[1], HOST_PORT)?;
    for (index, node) in NODES.into_iter().enumerate() {
        for address in node_addresses(node)? {
            let who = format!("a pod of {} to {node}", NODES[0]);
            expect_both(&Client::of(kubectl, "web"), &who, &at(&address.to_string(), HOST_PORT), index == 0)?;
        }
    }
    Ok(())
}

fn e2e_policy_is_not_about_pods_on_the_hosts_network(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    on_host(kubectl, "host", NODES[0], OTHER_HOST_PORT)?;
    server(kubectl, "near", NODES[0])?;
    server(kubectl, "far", NODES[1])?;
    let asker = client(kubectl, "asker", NODES[1], "asker")?;
    // It selects them all, and all of them may reach each other.
    policy(kubectl, "own", "{podSelector: {}, policyTypes: [Ingress], ingress: [{from: [{podSelector: {}}]}]}")?;
    for address in node_addresses(NODES[0])? {
        expect_both(&asker, "to the host", &at(&address.to_string(), OTHER_HOST_PORT), true)?;
    }
    let host = Client::of(kubectl, "host");
    for (pod, is_allowed) in [("near", true), ("far", false)] {
        for address in addresses(kubectl, pod)? {
            expect_both(&host, &format!("from the host to {pod}"), &at(&address, talk::PORT), is_allowed)?;
            expect_both(&asker, &format!("from a pod to {pod}"), &at(&address, talk::PORT), true)?;
        }
    }
    Ok(())
}

/// A server on the network of a node, ready.
fn on_host(kubectl: &Kubectl, name: &str, node: &str, port: u16) -> Result<()> {
    kubectl.apply(&format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, labels: {{app: {name}}}}}\nspec: {{nodeName: {node}, hostNetwork: true, terminationGracePeriodSeconds: 0, containers: [{{name: server, image: \"{TOOLS}\", command: [nettool, serve, \"[::]:{port}\"], readinessProbe: {{tcpSocket: {{port: {port}}}, periodSeconds: 1}}}}]}}\n"
    ))?;
    talk::wait_ready(kubectl, name)?;
    Ok(())
}

//! A node whose pods have IPv6 addresses only, beside nodes whose pods have both families.

use crate::scene::{NETTOOL, NODES, addresses, client, expect_both, label, policy, server};
use anyhow::{Context, Result, ensure};
use orknet_tests::talk::{self, Client, TOOLS, at};
use orknet_tests::{Cluster, Kubectl, programmed, tests};
use serde_json::json;

tests![e2e_policy_holds_for_pods_with_ipv6_alone];

/// One more than the cluster of this suite has: it joins it here, and stays. Its range of pods is none that the controller would give.
const NODE: &str = "node3";
const RANGE: &str = "fd00:10:244:f6::/64";

fn e2e_policy_holds_for_pods_with_ipv6_alone(cluster: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}, "spec": {"podCIDR": RANGE, "podCIDRs": [RANGE]}});
    kubectl.apply(&node.to_string())?;
    cluster.up_again(&["--bare", "--nodes", "3"])?;
    cluster.orknet(&["add-image", TOOLS, NETTOOL])?;
    server(kubectl, "web", NODE)?;
    server(kubectl, "both", NODES[0])?;
    let clients = [("near", NODE), ("far", NODES[0])].map(|(name, node)| (name, client(kubectl, name, node, "stranger")));
    let own = kubectl.run(&["get", "pod", "web", "-o", "jsonpath={.status.podIPs[*].ip}"])?;
    ensure!(own.starts_with("fd00:10:244:f6:") && !own.contains(' '), "its addresses are {own:?}");
    // A server there, one with both families, and both from there and from elsewhere.
    let [_, both] = addresses(kubectl, "both")?;
    let expect = |when: &str, is_allowed: bool| -> Result<()> {
        for (name, client) in &clients {
            let client: &Client<'_> = client.as_ref().map_err(|error| anyhow::anyhow!("{error:#}"))?;
            for address in [&own, &both] {
                expect_both(client, &format!("{name}, {when}"), &at(address, talk::PORT), is_allowed)?;
            }
        }
        Ok(())
    };
    expect("without policies", true)?;
    let friends = "{podSelector: {matchExpressions: [{key: app, operator: Exists}]}, ingress: [{from: [{podSelector: {matchLabels: {role: friend}}}]}]}";
    policy(kubectl, "friends", friends)?;
    expect("as a stranger", false)?;
    for name in ["near", "far"] {
        label(kubectl, &format!("pod/{name}"), "role=friend")?;
    }
    expect("as a friend", true)?;
    let blocks = format!(
        "{{podSelector: {{matchLabels: {{role: friend}}}}, policyTypes: [Egress], egress: [{{to: [{{ipBlock: {{cidr: '::/0', except: ['{own}/128', '{both}/128']}}}}, {{ipBlock: {{cidr: 0.0.0.0/0}}}}]}}]}}"
    );
    policy(kubectl, "nobody", &blocks).context("a policy for what goes out")?;
    expect("where an exception says so", false)?;
    kubectl.run(&["delete", "networkpolicy", "nobody"])?;
    programmed::settle(kubectl)?;
    expect("as a friend again", true)
}

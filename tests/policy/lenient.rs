//! Agents with `policy: lenient`: what is open outlives a policy that forbids it, and nothing begins that it forbids. Of a pod that had no rules,
//! what its sockets tell is open: connections, and datagrams of a socket that is connected to the other end. A server's, which is to nobody, tells
//! nothing of who asked it.

use crate::held::Held;
use crate::scene::{NODES, addresses, client, expect_both, policy, server};
use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use orknet_tests::talk::{self, at};
use orknet_tests::{Cluster, Kubectl, programmed, tests};
use serde_json::json;

tests![e2e_policy_that_is_lenient_ends_nothing_that_is_open];

fn e2e_policy_that_is_lenient_ends_nothing_that_is_open(cluster: &Cluster, kubectl: &Kubectl) -> Result<()> {
    server(kubectl, "web", NODES[0])?;
    let clients = [("near", client(kubectl, "near", NODES[0], "friend")?), ("far", client(kubectl, "far", NODES[1], "friend")?)];
    let strict = Strict(cluster);
    agents(cluster, "lenient")?;
    programmed::settle(kubectl)?;
    // Open from before there is any policy, and since a policy allows it.
    let before = Held::open(kubectl, &["near", "far"], "web")?;
    before.flow()?;
    first_rules(kubectl)?;
    policy(
        kubectl,
        "friends",
        "{podSelector: {matchLabels: {app: web}}, ingress: [{from: [{podSelector: {matchLabels: {role: friend}}}]}]}",
    )?;
    let after = Held::open(kubectl, &["near", "far"], "web")?;
    after.flow()?;
    before.go_on().context("a policy that allows it")?;
    policy(kubectl, "friends", "{podSelector: {matchLabels: {app: web}}}")?;
    for address in addresses(kubectl, "web")? {
        clients.iter().try_for_each(|(name, client)| expect_both(client, name, &at(&address, talk::PORT), false))?;
    }
    before.go_on().context("what was open before the first policy")?;
    after.go_on().context("what a policy allowed")?;
    drop(strict);
    programmed::settle(kubectl)?;
    before.stop().context("what was open before the first policy")?;
    after.stop().context("what a policy allowed")
}

/// The first policy that there is for a pod is the one that forbids what is open.
fn first_rules(kubectl: &Kubectl) -> Result<()> {
    server(kubectl, "shut", NODES[0])?;
    for (name, node) in [("asks", NODES[0]), ("asks-far", NODES[1])] {
        client(kubectl, name, node, "asks")?;
    }
    let of_server = Held::open(kubectl, &["near", "far"], "shut")?;
    let of_clients = Held::open(kubectl, &["asks", "asks-far"], "web")?;
    of_server.flow()?;
    of_clients.flow()?;
    policy(kubectl, "shut", "{podSelector: {matchLabels: {app: shut}}}")?;
    policy(kubectl, "asks", "{podSelector: {matchLabels: {role: asks}}, policyTypes: [Egress]}")?;
    of_server.only_connections_go_on().context("what a server had open before its first rules")?;
    of_clients.go_on().context("what clients had open before their first rules")
}

/// Starts the agents again with this setting.
fn agents(cluster: &Cluster, policy: &str) -> Result<()> {
    cluster.set_agents(json!({ "policy": policy }))?;
    NODES.iter().try_for_each(|node| cluster.signal(node, "agent", Signal::SIGKILL))?;
    cluster.up_again(&["--bare"])
}

/// Agents are strict again once this is dropped.
struct Strict<'a>(&'a Cluster);

impl Drop for Strict<'_> {
    fn drop(&mut self) {
        if let Err(error) = agents(self.0, "strict") {
            eprintln!("agents are lenient still: {error:#}");
        }
    }
}

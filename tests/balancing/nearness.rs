//! Does a client that has backends of its zone, or on its node, reach these alone, and all others when it has none?

use crate::expected::{FAR, MIDDLE, NEAR};
use crate::scene::{self, FAMILIES, NETTOOL};
use anyhow::{Context, Result, ensure};
use orknet_tests::outside::node_addresses;
use orknet_tests::talk::{self, Client, How, Outcome, Target};
use orknet_tests::{Cluster, Kubectl, Outside, eventually, tests};
use serde_json::json;
use std::collections::BTreeSet;

tests![e2e_clients_keep_to_their_zone_or_node_while_there_is_a_backend];

/// Two zones, one of two nodes: `topology.kubernetes.io/zone`.
const ZONES: [(&str, &str); 3] = [(NEAR, "left"), (MIDDLE, "right"), (FAR, "left")];
/// So many that one of three backends is missed once in 60,000 times, and then they are asked again.
const TRIES: u16 = 30;
const HOWS: [How; 2] = [How::Tcp, How::Udp];

/// Who answers on each node, in the order of [`ZONES`]: names of nodes.
type Nearest<'a> = [&'a [&'a str]; 3];

struct Nearness<'a> {
    cluster: &'a Cluster,
    kubectl: &'a Kubectl,
    outside: &'a Outside,
    inner: [String; 2],
    node_port: u16,
}

fn e2e_clients_keep_to_their_zone_or_node_while_there_is_a_backend(cluster: &Cluster, kubectl: &Kubectl) -> Result<()> {
    for (node, zone) in ZONES {
        kubectl.run(&["label", "node", node, &format!("topology.kubernetes.io/zone={zone}"), "--overwrite"])?;
        Client::on_node(kubectl, &format!("on-{node}"), node)?;
        scene::server(kubectl, &backend(node), node)?;
    }
    ZONES.iter().try_for_each(|(node, _)| talk::wait_ready(kubectl, &backend(node)))?;
    let outside = Outside::attach(cluster, NETTOOL)?;
    let service = scene::service(kubectl, "nearest", "type: NodePort")?;
    scene::endpoints(kubectl, "nearest", ZONES.len())?;
    let (inner, node_port) = (scene::cluster_addresses(&service)?, scene::node_port(&service)?);
    let nearness = Nearness { cluster, kubectl, outside: &outside, inner, node_port };
    let all: &[&str] = &[NEAR, MIDDLE, FAR];

    nearness.is([all, all, all]).context("without a preference")?;
    nearness.prefer("PreferSameZone")?;
    nearness.is([&[NEAR, FAR], &[MIDDLE], &[NEAR, FAR]]).context("PreferSameZone")?;
    nearness.prefer("PreferSameNode")?;
    nearness.is([&[NEAR], &[MIDDLE], &[FAR]]).context("PreferSameNode")?;

    // Without one of the own node there is the zone, and without one of the zone there are all.
    nearness.takes_part(FAR, false)?;
    nearness.takes_part(MIDDLE, false)?;
    nearness.is([&[NEAR], &[NEAR], &[NEAR]]).context("PreferSameNode with one backend")?;
    nearness.takes_part(FAR, true)?;
    nearness.is([&[NEAR], &[NEAR, FAR], &[FAR]]).context("PreferSameNode with none of a zone")?;
    nearness.prefer("PreferSameZone")?;
    nearness.is([&[NEAR, FAR], &[NEAR, FAR], &[NEAR, FAR]]).context("PreferSameZone with none of a zone")?;
    nearness.takes_part(MIDDLE, true)?;
    nearness.is([&[NEAR, FAR], &[MIDDLE], &[NEAR, FAR]]).context("PreferSameZone with all again")
}

fn backend(node: &str) -> String {
    format!("of-{node}")
}

impl Nearness<'_> {
    fn prefer(&self, distribution: &str) -> Result<()> {
        let patch = json!({"spec": {"trafficDistribution": distribution}}).to_string();
        self.kubectl.run(&["patch", "service", "nearest", "--type=merge", "-p", &patch]).map(drop)
    }

    fn takes_part(&self, node: &str, does: bool) -> Result<()> {
        self.kubectl.run(&["label", "pod", &backend(node), if does { "app=all" } else { "app-" }]).map(drop)
    }

    /// Pods and processes of a node at cluster addresses, and the outside at the node's port.
    fn is(&self, nearest: Nearest<'_>) -> Result<()> {
        for ((node, _), wanted) in ZONES.into_iter().zip(nearest) {
            let wanted: BTreeSet<String> = wanted.iter().map(|node| backend(node)).collect();
            let inner = FAMILIES.iter().flat_map(|family| HOWS.map(|how| Target::new(how, &self.inner[*family], 80))).collect::<Vec<_>>();
            let at_node =
                node_addresses(node)?.iter().map(|address| Target::new(How::Tcp, &address.to_string(), self.node_port)).collect::<Vec<_>>();
            let pod = Client::of(self.kubectl, &format!("on-{node}"));
            let host = Client::of_node(self.cluster, node, NETTOOL);
            reaches(&pod, &inner, &wanted).with_context(|| format!("a pod on {node}"))?;
            reaches(&host, &inner, &wanted).with_context(|| format!("a process of {node}"))?;
            reaches(&Client::outside(self.outside), &at_node, &wanted).with_context(|| format!("the outside at {node}"))?;
        }
        Ok(())
    }
}

/// Exactly these answer at each of the targets.
fn reaches(client: &Client<'_>, targets: &[Target], wanted: &BTreeSet<String>) -> Result<()> {
    eventually(&format!("answers from {wanted:?}"), || {
        for (target, answers) in client.ask_all(targets.iter().cloned(), TRIES)? {
            let server = |outcome: &Outcome| match outcome {
                Outcome::Answer { server, .. } => server.clone(),
                Outcome::Error(kind) => format!("nobody: {kind}"),
            };
            let servers: BTreeSet<String> = answers.keys().map(server).collect();
            ensure!(servers == *wanted, "{target:?}: {answers:?}");
        }
        Ok(())
    })
}

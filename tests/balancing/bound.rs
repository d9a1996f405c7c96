//! Who answers at a node port that a process of the node has bound? The Service, as long as there is one: nobody else gets what is for it.

use crate::expected::{FAR, NEAR, Who};
use crate::scene::{self, Clients, NETTOOL};
use anyhow::{Context, Result, ensure};
use orknet_tests::outside::node_addresses;
use orknet_tests::talk::{Client, How, Outcome, Target, at};
use orknet_tests::{Cluster, Kubectl, Lines, Outside, eventually, tests};
use serde_json::json;
use std::collections::BTreeSet;
use std::process::{Child, Stdio};

tests![e2e_a_process_that_binds_a_node_port_gets_nothing_that_is_for_the_service];

const HOWS: [How; 3] = [How::Tcp, How::Udp, How::UdpConnected];
const NODES: [&str; 2] = [NEAR, FAR];
const TRIES: u16 = 10;

/// A process in a node's network that has bound a port on every address of it, over TCP and UDP. It ends when dropped.
struct Squatter {
    child: Child,
    /// What its answers bear as a name.
    name: String,
}

impl Squatter {
    fn start(cluster: &Cluster, node: &str, port: u16) -> Result<Self> {
        let mut command = cluster.command_inside(node, &[NETTOOL, "stay", &format!("[::]:{port}")]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("cannot start a process on the node")?;
        let said = Lines::of(child.stdout.take().context("there is no output")?);
        let mut squatter = Self { child, name: String::new() };
        said.next()?.context("the process has ended")?;
        // The loopback addresses are no node ports, so there it has what it has bound.
        let client = Client::of_node(cluster, node, NETTOOL);
        for (address, how) in ["127.0.0.1", "::1"].into_iter().flat_map(|address| HOWS.map(|how| (address, how))) {
            squatter.name =
                eventually("the process to have bound the port", || Ok(client.attempt(how, &at(address, port))?.answer()?.0.to_owned()))?;
        }
        Ok(squatter)
    }
}

impl Drop for Squatter {
    fn drop(&mut self) {
        // Its standard input ends, and so does it.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

fn e2e_a_process_that_binds_a_node_port_gets_nothing_that_is_for_the_service(cluster: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let outside = Outside::attach(cluster, NETTOOL)?;
    scene::backends(kubectl)?;
    let clients = Clients::start(cluster, kubectl, &outside)?;
    let service = scene::service(kubectl, "wanted", "type: NodePort")?;
    scene::endpoints(kubectl, "wanted", 2)?;
    let port = scene::node_port(&service)?;
    let mut fronts = Vec::new();
    for node in NODES {
        fronts.extend(node_addresses(node)?.iter().flat_map(|address| HOWS.map(|how| Target::new(how, &address.to_string(), port))));
    }
    // Every client is answered by backends alone, wherever it is.
    let backends = BTreeSet::from(["near", "middle"]);
    let are_served = |what: &str| {
        Who::ALL.into_iter().try_for_each(|who| {
            let client = clients.get(who);
            let asked = |tries| -> Result<()> {
                for (target, outcomes) in client.ask_all(fronts.iter().cloned(), tries)? {
                    let is_backend =
                        |outcome: &Outcome| matches!(outcome, Outcome::Answer { server, .. } if backends.contains(server.as_str()));
                    ensure!(outcomes.keys().all(is_backend), "{who:?} at {target:?} {what}: {outcomes:?}");
                }
                Ok(())
            };
            eventually(&format!("backends to answer {who:?} {what}"), || asked(1))?;
            asked(TRIES)
        })
    };
    are_served("before anybody has bound the port")?;
    let squatters = NODES.map(|node| Squatter::start(cluster, node, port)).into_iter().collect::<Result<Vec<_>>>()?;
    ensure!(squatters.iter().all(|squatter| !backends.contains(squatter.name.as_str())), "it can be told from a backend");
    are_served("although a process has bound the port")?;

    // Without endpoints clients are refused: a process that listens there does not take them over either.
    backends.iter().try_for_each(|pod| kubectl.run(&["label", "pod", pod, "app-"]).map(drop))?;
    for who in [Who::SameNode, Who::OtherNode, Who::Host, Who::OtherHost, Who::Outside] {
        let told = || fronts.iter().filter(|target| target.how != How::Udp).cloned();
        eventually(&format!("{who:?} to be refused"), || {
            for (target, attempt) in clients.get(who).try_all(told())? {
                ensure!(attempt.outcome == Outcome::Error("ConnectionRefused".into()), "{who:?} at {target:?}: {attempt:?}");
            }
            Ok(())
        })?;
    }

    // Without the Service the port is a port like any other.
    kubectl.run(&["delete", "service", "wanted"])?;
    let client = clients.get(Who::Outside);
    eventually("the processes to answer at their own ports", || {
        for (target, outcomes) in client.ask_all(fronts.iter().cloned(), 1)? {
            let is_own = |outcome: &Outcome| matches!(outcome, Outcome::Answer { server, .. } if squatters.iter().any(|squatter| squatter.name == *server));
            ensure!(outcomes.keys().all(is_own), "{target:?}: {outcomes:?}");
        }
        Ok(())
    })?;

    // A Service that gets a port which is bound already has it.
    backends.iter().try_for_each(|pod| kubectl.run(&["label", "pod", pod, "app=all"]).map(drop))?;
    scene::service(kubectl, "wanted", "type: NodePort")?;
    let at = |index: usize| json!({"op": "replace", "path": format!("/spec/ports/{index}/nodePort"), "value": port});
    kubectl.run(&["patch", "service", "wanted", "--type=json", "-p", &json!([at(0), at(1), at(2)]).to_string()])?;
    scene::endpoints(kubectl, "wanted", 2)?;
    are_served("although a process had bound the port before")
}

//! Node ports at loopback addresses, where agents are set so: they are for processes of the node, and each pod has its own.

use crate::expected::{BACKENDS, FAR, NEAR, Who};
use crate::scene::{self, Clients, NETTOOL};
use anyhow::{Result, ensure};
use orknet_tests::talk::{How, Outcome, Target};
use orknet_tests::{Cluster, Kubectl, Outside, eventually, tests};
use std::collections::BTreeSet;

tests![e2e_node_ports_at_loopback_addresses_are_for_processes_of_the_node_alone];

const LOOPBACK: [&str; 2] = ["127.0.0.1", "::1"];
const HOWS: [How; 3] = [How::Tcp, How::Udp, How::UdpConnected];
const TRIES: u16 = 30;

fn e2e_node_ports_at_loopback_addresses_are_for_processes_of_the_node_alone(cluster: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let outside = Outside::attach(cluster, NETTOOL)?;
    scene::backends(kubectl)?;
    let clients = Clients::start(cluster, kubectl, &outside)?;
    let service = scene::service(kubectl, "looped", "type: NodePort")?;
    // What says `Local` says it of traffic from outside.
    let local = scene::service(kubectl, "looped-local", "type: NodePort, externalTrafficPolicy: Local")?;
    let ports = [scene::node_port(&service)?, scene::node_port(&local)?];
    let targets = |port: u16| LOOPBACK.iter().flat_map(move |address| HOWS.map(|how| Target::new(how, address, port)));
    let backends = BACKENDS.map(|(name, _)| name);
    for who in [Who::Host, Who::OtherHost] {
        let own = if who == Who::Host { NEAR } else { FAR };
        eventually(&format!("all backends to answer at loopback addresses of {own}"), || {
            for (target, answers) in clients.get(who).ask_all(ports.into_iter().flat_map(targets), TRIES)? {
                let server = |outcome: &Outcome| match outcome {
                    Outcome::Answer { server, .. } => server.clone(),
                    Outcome::Error(kind) => format!("nobody: {kind}"),
                };
                let servers: BTreeSet<String> = answers.keys().map(server).collect();
                ensure!(servers.iter().eq(&BTreeSet::from(backends.map(str::to_owned))), "{target:?}: {answers:?}");
            }
            Ok(())
        })?;
    }
    // Of a pod, nobody has bound that port. By now every node has the Services.
    for who in [Who::Backend, Who::SameNode, Who::OtherNode] {
        let told = ports.into_iter().flat_map(targets).filter(|target| target.how != How::Udp);
        for (target, attempt) in clients.get(who).try_all(told)? {
            ensure!(attempt.outcome == Outcome::Error("ConnectionRefused".into()), "{who:?} at {target:?}: {attempt:?}");
        }
    }
    // The Service goes, and the port with it.
    kubectl.run(&["delete", "service", "looped"])?;
    eventually("nobody to answer any more", || {
        for (target, attempt) in clients.get(Who::Host).try_all(targets(ports[0]))? {
            ensure!(attempt.answer().is_err(), "{target:?}: {attempt:?}");
        }
        Ok(())
    })
}

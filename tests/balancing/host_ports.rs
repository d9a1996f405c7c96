//! Does a pod's `hostPort` answer at its node, and nowhere else?

use crate::expected::{FAR, NEAR, Who};
use crate::scene::{Clients, NETTOOL};
use anyhow::{Context, Result, ensure};
use orknet_tests::outside::node_addresses;
use orknet_tests::talk::{self, How, Outcome, Target};
use orknet_tests::{Cluster, Kubectl, Outside, eventually, tests};
use std::net::IpAddr;

tests![e2e_a_host_port_answers_at_its_node_and_goes_with_its_pod];

/// Outside of the ranges of node ports and of the ports that nodes connect from.
const HOST_PORT: u16 = 18_080;
const HOWS: [How; 2] = [How::Tcp, How::UdpConnected];
const ALL_HOWS: [How; 3] = [How::Tcp, How::UdpConnected, How::Sctp];

fn e2e_a_host_port_answers_at_its_node_and_goes_with_its_pod(cluster: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let outside = Outside::attach(cluster, NETTOOL)?;
    let clients = Clients::start(cluster, kubectl, &outside)?;
    let ports =
        ["TCP", "UDP", "SCTP"].map(|protocol| format!("{{containerPort: {}, hostPort: {HOST_PORT}, protocol: {protocol}}}", talk::PORT));
    kubectl.apply(&format!(
        r#"
apiVersion: v1
kind: Pod
metadata: {{name: hosted}}
spec:
  nodeName: {NEAR}
  terminationGracePeriodSeconds: 1
  containers:
  - {{name: server, image: "{image}", command: [nettool, serve, "[::]:{port}"], ports: [{ports}], readinessProbe: {{tcpSocket: {{port: {port}}}, periodSeconds: 1}}}}
"#,
        image = talk::TOOLS,
        port = talk::PORT,
        ports = ports.join(", "),
    ))?;
    talk::wait_ready(kubectl, "hosted")?;
    let at_node = |node: &str, hows: &[How]| -> Result<Vec<Target>> {
        let of = |address: &IpAddr| hows.iter().map(|how| Target::new(*how, &address.to_string(), HOST_PORT)).collect::<Vec<_>>();
        Ok(node_addresses(node)?.iter().flat_map(of).collect())
    };
    for who in [Who::SameNode, Who::OtherNode, Who::Host, Who::OtherHost, Who::Outside] {
        // Another node's pod is seen as the node that it came to, as with node ports.
        let (client, own) = (clients.get(who), if who == Who::OtherNode { node_addresses(NEAR)? } else { clients.addresses(who)? });
        // What the node itself sends to an address of its own past its sockets comes to no program.
        let hows = if who == Who::Host { &HOWS[..] } else { &ALL_HOWS };
        eventually(&format!("the host port to answer {who:?}"), || {
            for (target, attempt) in client.try_all(at_node(NEAR, hows)?)? {
                let (server, seen_from) = attempt.answer().with_context(|| format!("{target:?}"))?;
                let own = own[usize::from(target.address.starts_with('['))];
                ensure!(server == "hosted" && seen_from == own.to_string(), "{target:?}: {attempt:?}, expected {own} to be seen");
            }
            Ok(())
        })?;
    }
    // Of SCTP the kernel says that it has none: no refusal.
    let nobody_answers = |node: &str| {
        eventually(&format!("{node} to refuse"), || {
            for (target, attempt) in clients.get(Who::Outside).try_all(at_node(node, &HOWS)?)? {
                ensure!(attempt.outcome == Outcome::Error("ConnectionRefused".into()), "{target:?}: {attempt:?}");
            }
            Ok(())
        })
    };
    nobody_answers(FAR)?;
    kubectl.run(&["delete", "pod", "hosted"])?;
    nobody_answers(NEAR)
}

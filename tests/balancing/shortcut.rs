//! Do frames between the outside and other nodes' backends pass below the stack of the node that was asked?

use crate::expected::{FAR, NEAR};
use crate::scene::{self, FAMILIES, NETTOOL};
use anyhow::{Context, Result, ensure};
use orknet_tests::outside::node_addresses;
use orknet_tests::talk::{Attempt, Client, How, Outcome, PORT, Target, at};
use orknet_tests::watch::Tally;
use orknet_tests::{Cluster, Kubectl, Outside, Watch, eventually, tests};
use std::net::IpAddr;

tests![e2e_frames_for_other_nodes_backends_and_their_answers_pass_below_the_stack, e2e_a_stream_of_whole_frames_passes_below_the_stack,];

const HOWS: [How; 4] = [How::Tcp, How::Udp, How::UdpConnected, How::Sctp];
const TRIES: u16 = 20;
const BYTES: &str = "300000";

/// What the node's packet sockets see of a Service's packets from and to its backends and this client while `asking` asks it: nothing,
/// unless the node's own stack has them.
fn seen_at(cluster: &Cluster, node: &str, port: u16, ours: &[IpAddr], asking: impl FnOnce() -> Result<()>) -> Result<Tally> {
    let ports = [port, PORT].map(|port| port.to_string());
    let watch = Watch::start(cluster.command_inside(node, &[NETTOOL, "watch", &ports[0], &ports[1]]))?;
    asking()?;
    // Other tests' packets come by, too.
    Ok(watch.end()?.into_iter().filter(|(kind, _)| [kind.from, kind.to].iter().any(|end| ours.contains(&end.ip()))).collect())
}

fn e2e_frames_for_other_nodes_backends_and_their_answers_pass_below_the_stack(cluster: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let outside = Outside::attach(cluster, NETTOOL)?;
    scene::backends(kubectl)?;
    let service = scene::service(kubectl, "below", "type: LoadBalancer")?;
    scene::endpoints(kubectl, "below", 2)?;
    let balanced = FAMILIES.map(|family| scene::free_address(family, 60));
    scene::balance(kubectl, "below", &balanced)?;
    balanced.iter().try_for_each(|address| outside.route(address, FAR))?;
    let (client, port) = (Client::outside(&outside), scene::node_port(&service)?);
    let ours = [outside.addresses(), scene::pod_addresses(kubectl, "near")?, scene::pod_addresses(kubectl, "middle")?].concat();
    let targets = |node: &str| -> Result<Vec<Target>> {
        let at_node = node_addresses(node)?.map(|address| (address.to_string(), port));
        let fronts = at_node.into_iter().chain(balanced.clone().map(|address| (address, 80)).into_iter().filter(|_| node == FAR));
        Ok(fronts.flat_map(|(address, port)| HOWS.map(|how| Target::new(how, &address, port))).collect())
    };
    // Until they do, the stack looks for the neighbours.
    for node in [NEAR, FAR] {
        eventually("all fronts to answer", || is_answered(&client, targets(node)?, 10))?;
    }
    let seen = seen_at(cluster, FAR, port, &ours, || is_answered(&client, targets(FAR)?, TRIES))?;
    ensure!(seen.is_empty(), "the stack of the node that was asked has seen packets: {seen:?}");
    // A node's own backends are behind its stack, so here there is something to see.
    let seen = seen_at(cluster, NEAR, port, &ours, || is_answered(&client, targets(NEAR)?, TRIES))?;
    let asked =
        |is_v4: bool| seen.keys().any(|kind| kind.device == "eth0" && !kind.is_out && kind.to.port() == port && kind.to.is_ipv4() == is_v4);
    ensure!(asked(true) && asked(false), "the stack of a backend's node has seen no packets for it: {seen:?}");
    Ok(())
}

fn is_answered(client: &Client<'_>, targets: Vec<Target>, tries: u16) -> Result<()> {
    for (target, outcomes) in client.ask_all(targets, tries)? {
        ensure!(outcomes.keys().all(|outcome| matches!(outcome, Outcome::Answer { .. })), "{target:?}: {outcomes:?}");
    }
    Ok(())
}

fn e2e_a_stream_of_whole_frames_passes_below_the_stack(cluster: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let outside = Outside::attach(cluster, NETTOOL)?;
    scene::server(kubectl, "only", NEAR)?;
    orknet_tests::talk::wait_ready(kubectl, "only")?;
    let service = scene::service(kubectl, "stream", "type: NodePort")?;
    scene::endpoints(kubectl, "stream", 1)?;
    let (client, port) = (Client::outside(&outside), scene::node_port(&service)?);
    let ours = [outside.addresses(), scene::pod_addresses(kubectl, "only")?].concat();
    for address in node_addresses(FAR)? {
        let front = at(&address.to_string(), port);
        eventually("the node port to answer", || client.attempt(How::Tcp, &front)?.answer().map(drop))?;
        let seen = seen_at(cluster, FAR, port, &ours, || {
            let attempt = Attempt::parse(&client.run(&["nettool", "try-stream", &front, BYTES])?)?;
            attempt.answer().with_context(|| format!("a stream to {front}")).map(drop)
        })?;
        ensure!(seen.is_empty(), "the stack of the node that was asked has seen packets of the stream: {seen:?}");
    }
    Ok(())
}

//! Direct return: do answers go to the client past the node that was asked, and does everything fit that fits without it?

use crate::expected::{FAR, NEAR};
use crate::scene::{self, FAMILIES, NETTOOL};
use anyhow::{Context, Result, ensure};
use orknet_tests::outside::node_addresses;
use orknet_tests::talk::{self, Attempt, Client, How, PORT, at};
use orknet_tests::{Cluster, Kubectl, Outside, Watch, eventually, tests};
use std::net::{IpAddr, SocketAddr};

tests![e2e_answers_go_to_the_client_past_the_node_that_was_asked, e2e_streams_and_datagrams_of_every_size_pass_with_direct_return,];

const HOWS: [How; 3] = [How::Tcp, How::Udp, How::UdpConnected];

/// One backend, on the first node, behind a Service; asked at the third node: the node port there and a load balancer's address, both
/// families.
struct Asked {
    node_port: u16,
    fronts: Vec<String>,
}

impl Asked {
    fn set_up(kubectl: &Kubectl, outside: &Outside, name: &str, number: u8) -> Result<Self> {
        scene::server(kubectl, "only", NEAR)?;
        talk::wait_ready(kubectl, "only")?;
        let service = scene::service(kubectl, name, "type: LoadBalancer")?;
        scene::endpoints(kubectl, name, 1)?;
        let balanced = FAMILIES.map(|family| scene::free_address(family, number));
        scene::balance(kubectl, name, &balanced)?;
        balanced.iter().try_for_each(|address| outside.route(address, FAR))?;
        let node_port = scene::node_port(&service)?;
        let at_node = node_addresses(FAR)?.map(|address| at(&address.to_string(), node_port));
        let fronts: Vec<String> = at_node.into_iter().chain(balanced.map(|address| at(&address, 80))).collect();
        for front in &fronts {
            eventually("the Service to answer", || Client::outside(outside).attempt(How::Tcp, front)?.answer().map(drop))?;
        }
        Ok(Self { node_port, fronts })
    }
}

fn e2e_answers_go_to_the_client_past_the_node_that_was_asked(cluster: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let outside = Outside::attach(cluster, NETTOOL)?;
    let asked = Asked::set_up(kubectl, &outside, "past", 61)?;
    let (client, pods) = (Client::outside(&outside), scene::pod_addresses(kubectl, "only")?);
    for front in &asked.fronts {
        let at_front: SocketAddr = front.parse()?;
        let family = usize::from(at_front.is_ipv6());
        let (own, pod) = (outside.addresses()[family], SocketAddr::new(pods[family], PORT));
        for how in HOWS {
            let ports = [asked.node_port, 80, PORT].map(|port| port.to_string());
            let command = [NETTOOL, "watch", &ports[0], &ports[1], &ports[2]];
            let watches = [Watch::start(cluster.command_inside(FAR, &command))?, Watch::start(cluster.command_inside(NEAR, &command))?];
            let attempt = client.attempt(how, front)?;
            let (_, seen_from) = attempt.answer().with_context(|| format!("{front} over {how:?}"))?;
            ensure!(seen_from == own.to_string(), "{front} over {how:?}: the backend saw {seen_from}, expected {own}");
            let [asked_node, backends_node] = watches.map(Watch::end);
            let (asked_node, backends_node) = (asked_node?, backends_node?);
            // On the wire of the node that was asked: questions come, and go on as questions to the pod. No answer of any form.
            let ours = |kind: &&orknet_tests::watch::Seen| kind.device == "eth0" && [kind.from.ip(), kind.to.ip()].contains(&own);
            for kind in asked_node.keys().filter(ours) {
                let is_question = kind.from.ip() == own && kind.to == if kind.is_out { pod } else { at_front };
                ensure!(is_question, "{front} over {how:?}: the node that was asked has seen {kind}");
            }
            ensure!(asked_node.keys().any(|kind| kind.is_out && kind.from.ip() == own && kind.has_options), "{front}: nothing was told");
            // From the backend's node they go to the client, as the front's.
            let answers = backends_node.keys().filter(ours).any(|kind| kind.is_out && kind.from == at_front && kind.to.ip() == own);
            ensure!(answers, "{front} over {how:?}: the backend's node has sent no answer: {backends_node:?}");
        }
    }
    Ok(())
}

/// What the packet tells takes room: 8 bytes with IPv4, 24 with IPv6. The frames hold 1500, and through an overlay 50 less.
fn e2e_streams_and_datagrams_of_every_size_pass_with_direct_return(cluster: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let outside = Outside::attach(cluster, NETTOOL)?;
    let asked = Asked::set_up(kubectl, &outside, "sizes", 62)?;
    let client = Client::outside(&outside);
    let is_answered = |mode: &str, front: &str, bytes: u32, seen: IpAddr| {
        let attempt = Attempt::parse(&client.run(&["nettool", mode, front, &bytes.to_string()])?)?;
        let (_, seen_from) = attempt.answer()?;
        ensure!(seen_from == seen.to_string(), "the backend saw {seen_from}, expected {seen}");
        Ok(())
    };
    let overlay = if cluster.inside(FAR, &["ip", "link", "show", "orknet.vxlan"]).is_ok() { 50 } else { 0 };
    for front in &asked.fronts {
        let family = usize::from(front.starts_with('['));
        let (own, node) = (outside.addresses()[family], node_addresses(FAR)?[family]);
        is_answered("try-stream", front, 1_000_000, own).with_context(|| format!("a stream to {front}"))?;
        // What fits into a frame, and of that what leaves room to tell.
        let (largest, room) = [(1472 - overlay, 8), (1452 - overlay, 24)][family];
        for bytes in [largest - 24, largest - 8, largest - 7, largest, largest + 1, 5000] {
            // One that is lost tells its sender what fits, who sends the next in pieces: their answers come back by the node.
            let seen = if bytes + room <= largest { own } else { node };
            eventually("the sender to have learnt the size", || is_answered("try-large", front, bytes, seen))
                .with_context(|| format!("a datagram of {bytes} bytes to {front}"))?;
        }
    }
    Ok(())
}

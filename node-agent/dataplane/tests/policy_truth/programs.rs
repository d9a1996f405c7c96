//! The programs against the model: real maps, written by real plans, and `BPF_PROG_TEST_RUN`.

use crate::alone::{SPREADS, told};
use crate::cluster::{device, macs};
use crate::frames::{Frame, chunk, flags, ping, sctp, tcp, udp};
use crate::host::{Host, NODE_MAC, Run, hosts};
use crate::interpret::judge;
use orknet_abi::{DropReason, action};
use orknet_dataplane::Hook;
use orknet_tests::policy::{Answer, End, Protocol, Question, SERVICE_PORT, Scene, World, any_set, sets};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::Value;
use std::cell::RefCell;
use std::net::SocketAddr;

/// Nodes of the scene, under some policies.
pub struct Table {
    pub scene: Scene,
    pub hosts: Vec<Host>,
}

/// A packet at one of the nodes, and whether it should be let through.
#[derive(Clone, Debug)]
struct Probe {
    host: &'static str,
    run: Run,
    /// What drops it.
    reason: Option<DropReason>,
    about: String,
    question: Question,
    is_first: bool,
}

impl Table {
    pub fn new(tag: &str, scene: Scene) -> Self {
        let hosts = hosts(tag, &scene);
        Self { scene, hosts }
    }

    /// Puts these policies in force.
    pub fn set_policies(&mut self, policies: &[Value]) {
        let Self { scene, hosts } = self;
        hosts.iter_mut().for_each(|host| host.set_policies(scene, policies));
    }

    /// What the programs do otherwise than the model says.
    pub fn mistakes(&self, world: &World) -> Vec<String> {
        let probes = self.probes(world);
        let mut mistakes = Vec::new();
        for host in &self.hosts {
            let own: Vec<&Probe> = probes.iter().filter(|probe| probe.host == host.name).collect();
            let before = host.drops();
            let passed = host.run(&own.iter().map(|probe| probe.run.clone()).collect::<Vec<_>>());
            let mut wanted = before;
            for (probe, passed) in own.iter().zip(passed) {
                if passed != probe.reason.is_none() {
                    mistakes.push(format!("{}: {}", probe.about, if passed { "let through" } else { "dropped" }));
                }
                probe.reason.iter().for_each(|reason| *wanted.entry(*reason).or_default() += 1);
            }
            if mistakes.is_empty() && host.drops() != wanted {
                mistakes.push(format!("{}: dropped {:?}, wanted {wanted:?}", host.name, host.drops()));
            }
        }
        mistakes
    }

    /// Each question, at the node of who asks and at the node of who is asked: the first packet and a second one, which may know its way.
    fn probes(&self, world: &World) -> Vec<Probe> {
        let mut probes = Vec::new();
        let scene = &self.scene;
        for (client, server, question) in scene.questions().into_iter().chain(scene.questions_through_services()) {
            if client == server && !question.through_service {
                continue;
            }
            let answer = world.answer(&question);
            for is_first in [true, false] {
                let frame = frame(scene, client, server, &question, is_first);
                let probe = |host, hook, device, frame: Frame, reason| Probe {
                    host,
                    run: Run { hook, device, frame: frame.bytes() },
                    reason,
                    about: format!("{} to {}, {question:?}, at {host}, {hook:?}: {answer:?}", client.name, server.name),
                    question,
                    is_first,
                };
                if let (true, Some(host)) = (client.is_pod, client.node) {
                    let device = device(scene, &client.name);
                    let frame = Frame { destination_mac: macs(device)[1], ..frame.clone() };
                    probes.push(probe(host, Hook::FromPod, device, frame, reason(&answer, true, server.node == Some(host))));
                }
                if let (true, false, Some(host)) = (server.is_pod, question.through_service, server.node)
                    && client.node != Some(host)
                {
                    let frame = Frame { destination_mac: NODE_MAC, ..frame };
                    probes.push(probe(host, Hook::FromNetwork, 0, frame, reason(&answer, false, true)));
                } else if let (true, false, Some(host)) = (server.is_pod, client.is_pod, server.node) {
                    let device = device(scene, &server.name);
                    let frame = Frame { destination_mac: macs(device)[0], ..frame };
                    probes.push(probe(host, Hook::ToPod, device, frame, None));
                }
            }
        }
        probes
    }

    #[track_caller]
    fn assert_programmed(&self) {
        self.hosts.iter().for_each(Host::assert_programmed);
    }
}

/// Why a node drops it that judges by these rules; `None` if it does not.
fn reason(answer: &Answer, judges_egress: bool, judges_ingress: bool) -> Option<DropReason> {
    if judges_egress && !answer.egress.allows() {
        Some(DropReason::PolicyEgress)
    } else {
        (judges_ingress && !answer.ingress.allows()).then_some(DropReason::PolicyIngress)
    }
}

/// A packet of the connection as its client sends it. Each pair has ports of its own.
fn frame(scene: &Scene, client: &End, server: &End, question: &Question, is_first: bool) -> Frame {
    let place = |end: &End| scene.ends.iter().position(|known| known == end).unwrap() as u16;
    let pair = place(client) * 16 + place(server);
    let from = SocketAddr::new(question.client, 20_000 + pair + if question.through_service { 1_000 } else { 0 });
    let to = match (question.through_service, server.service) {
        (true, Some(addresses)) => SocketAddr::new(addresses[usize::from(from.is_ipv6())], SERVICE_PORT + question.port),
        _ => SocketAddr::new(question.server, question.port),
    };
    match question.protocol {
        Protocol::Tcp => tcp(from, to, if is_first { flags::SYN } else { flags::ACK }, b""),
        Protocol::Udp => udp(from, to, b"?"),
        Protocol::Sctp => sctp(from, to, if is_first { chunk::INIT } else { chunk::DATA }, &[0; 16]),
        Protocol::Icmp => ping(from.ip(), to.ip(), pair),
    }
}

fn world(scene: &Scene, policies: &[Value]) -> World {
    World::of(scene.objects().iter().chain(policies))
}

#[test]
fn root_written_policies_hold() {
    let mut all = Vec::new();
    for spread in SPREADS {
        let mut table = Table::new("written", Scene::new(spread));
        for set in sets() {
            table.set_policies(&set.objects());
            table.assert_programmed();
            let found = table.mistakes(&world(&table.scene, &set.objects()));
            if !found.is_empty() {
                all.push(format!("{} ({spread:?}): {}", set.name, told(&found)));
            }
        }
    }
    assert!(all.is_empty(), "{} sets\n{}", all.len(), all.join("\n"));
}

#[test]
fn root_made_up_policies_hold() {
    for spread in SPREADS {
        let table = RefCell::new(Table::new("made-up", Scene::new(spread)));
        // Both together as many as the environment asks for (PROPTEST_CASES), and never fewer than five hundred.
        let cases = ProptestConfig::default().cases.max(500) / 2;
        let mut runner = TestRunner::new(ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() });
        let outcome = runner.run(&any_set(), |policies| {
            let mut table = table.borrow_mut();
            table.set_policies(&policies);
            let found = table.mistakes(&world(&table.scene, &policies));
            prop_assert!(found.is_empty(), "{}", told(&found));
            Ok(())
        });
        assert!(outcome.is_ok(), "{spread:?}: {}", outcome.unwrap_err());
        table.borrow().assert_programmed();
    }
}

#[test]
fn root_each_rule_counts_the_connections_that_it_let_through_or_refused() {
    let mut table = Table::new("counts", Scene::new(SPREADS[1]));
    for set in sets() {
        table.set_policies(&set.objects());
        let probes = table.probes(&world(&table.scene, &set.objects()));
        for host in &table.hosts {
            host.forget_flows();
            let is_counted = |probe: &&Probe| probe.host == host.name && probe.run.hook != Hook::ToPod && probe.is_first;
            let own: Vec<&Probe> = probes.iter().filter(is_counted).collect();
            let mut wanted = host.rule_counts();
            let passed = host.run(&own.iter().map(|probe| probe.run.clone()).collect::<Vec<_>>());
            for (probe, passed) in own.iter().zip(passed) {
                let judged = judge(&host.state, &probe.question);
                // Who is refused going out is not asked about coming in.
                let ingress = judged.ingress.filter(|_| judged.egress.is_none_or(|egress| egress.action == action::ALLOW));
                let asked = [judged.egress, ingress].into_iter().flatten();
                for rule in asked.filter(|one| (one.action == action::ALLOW) == passed).map(|one| one.rule).filter(|rule| *rule != 0) {
                    *wanted.entry(rule).or_default() += 1;
                }
            }
            assert_eq!(host.rule_counts(), wanted, "{} at {}", set.name, host.name);
        }
    }
}

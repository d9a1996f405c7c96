//! The programs against the model: real maps, written by real plans, and `BPF_PROG_TEST_RUN`.

use crate::alone::{SPREADS, told};
use crate::cluster::{device, macs};
use crate::frames::{Frame, chunk, flags, ping, pong, sctp, tcp, udp};
use crate::host::{Host, NODE_MAC, Run, hosts};
use crate::interpret::judge;
use orknet_abi::{DropReason, action};
use orknet_compiler::Change;
use orknet_dataplane::Hook;
use orknet_tests::policy::{Answer, End, Protocol, Question, SERVICE_PORT, Said, Scene, World, any_set, sets};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use rand::{Rng as _, rngs::StdRng};
use serde_json::Value;
use std::cell::RefCell;
use std::net::SocketAddr;

/// Nodes of the scene, under some policies.
pub struct Table {
    pub scene: Scene,
    pub hosts: Vec<Host>,
    probes: Vec<Probe>,
    pub under: Under,
}

/// Plans that were written while packets were on their way.
#[derive(Clone, Copy, Debug, Default)]
pub struct Under {
    /// Those that wrote something, at nodes that were asked something.
    pub plans: usize,
    /// Those of them during which programs ran on a packet from beginning to end.
    pub met: usize,
}

/// A packet at one of the nodes.
#[derive(Clone, Debug)]
struct Probe {
    host: &'static str,
    run: Run,
    about: String,
    question: Question,
    is_first: bool,
    /// What the server answers to a first packet: it passes where that does. Where it does not, it may be a question of the server's own.
    is_answer: bool,
    /// Whether the client's rules for what goes out are the node's to ask, and the server's for what comes in.
    judges: [bool; 2],
}

impl Probe {
    fn mistake(&self, passed: bool, answer: &Answer) -> String {
        format!("{} {:?} at {}: {}, but {answer:?}", self.about, self.question, self.host, if passed { "let through" } else { "dropped" })
    }
}

impl Table {
    pub fn new(tag: &str, scene: Scene) -> Self {
        let (hosts, probes) = (hosts(tag, &scene), probes(&scene));
        Self { scene, hosts, probes, under: Under::default() }
    }

    /// Puts these policies in force.
    #[track_caller]
    pub fn set_policies(&mut self, policies: &[Value]) {
        let Self { scene, hosts, .. } = self;
        hosts.iter_mut().for_each(|host| host.set_policies(scene, policies));
    }

    /// All that can be asked, by number.
    pub fn everything(&self) -> Vec<usize> {
        (0..self.probes.len()).collect()
    }

    /// About so many of what may be asked, in order: the second packet comes after the first. Answers, which need it, are left out.
    pub fn sample(&self, random: &mut StdRng, count: usize, may_be: impl Fn(&Question) -> bool) -> Vec<usize> {
        let share = (count as f64 / self.probes.len() as f64).min(1.0);
        let mut is_chosen = |probe: &Probe| !probe.is_answer && may_be(&probe.question) && random.random_bool(share);
        (0..self.probes.len()).filter(|number| is_chosen(&self.probes[*number])).collect()
    }

    /// What the programs do otherwise than the model says.
    pub fn mistakes(&self, world: &World) -> Vec<String> {
        self.mistakes_among(&self.everything(), world)
    }

    /// The same of these questions.
    pub fn mistakes_among(&self, numbers: &[usize], world: &World) -> Vec<String> {
        let mut mistakes = Vec::new();
        for host in &self.hosts {
            let has_cause = |probe: &&Probe| !probe.is_answer || reason(&world.answer(&probe.question), probe.judges).is_none();
            let own: Vec<&Probe> = self.at(host.name, numbers).into_iter().filter(has_cause).collect();
            let mut wanted = host.drops();
            let passed = host.run(own.iter().map(|probe| &probe.run));
            for (probe, passed) in own.iter().zip(passed) {
                let answer = world.answer(&probe.question);
                let reason = reason(&answer, probe.judges);
                if passed != reason.is_none() {
                    mistakes.push(probe.mistake(passed, &answer));
                }
                reason.into_iter().for_each(|reason| *wanted.entry(reason).or_default() += 1);
            }
            if mistakes.is_empty() && host.drops() != wanted {
                mistakes.push(format!("{}: dropped {:?}, wanted {wanted:?}", host.name, host.drops()));
            }
        }
        mistakes
    }

    /// Has each node, one after the other, know of its changes while these questions are asked there: what is neither as before nor as after, at
    /// any end of a connection that is judged there.
    pub fn change_under(&mut self, changes: Vec<Vec<Change>>, numbers: &[usize], before: &World, after: &World) -> Vec<String> {
        let mut mistakes = Vec::new();
        let Self { hosts, probes, under, .. } = self;
        for (host, changes) in hosts.iter_mut().zip(changes) {
            let is_own = |probe: &&Probe| probe.host == host.name && !probe.is_answer;
            let own: Vec<&Probe> = numbers.iter().map(|number| &probes[*number]).filter(is_own).collect();
            let runs: Vec<&Run> = own.iter().map(|probe| &probe.run).collect();
            let seen = host.note_under(changes, &runs);
            if let Some(within) = seen.within {
                under.plans += 1;
                under.met += usize::from(within > 0);
            }
            for (probe, (_, passed)) in own.iter().cycle().zip(seen.passed) {
                let answers = [before, after].map(|world| world.answer(&probe.question));
                let may = |is_allowed: bool| {
                    let ends: [fn(&Answer) -> &Said; 2] = [|answer| &answer.egress, |answer| &answer.ingress];
                    let mut asked = ends.iter().zip(probe.judges).filter(|(_, judges)| *judges).map(|(end, _)| end);
                    let can_be = |end: &fn(&Answer) -> &Said, wanted: bool| answers.iter().any(|answer| end(answer).allows() == wanted);
                    if is_allowed { asked.all(|end| can_be(end, true)) } else { asked.any(|end| can_be(end, false)) }
                };
                if !may(passed) {
                    mistakes.push(format!("during the change: {}", probe.mistake(passed, &answers[1])));
                }
            }
        }
        mistakes
    }

    fn at(&self, host: &str, numbers: &[usize]) -> Vec<&Probe> {
        numbers.iter().map(|number| &self.probes[*number]).filter(|probe| probe.host == host).collect()
    }

    #[track_caller]
    pub fn assert_programmed(&self) {
        self.hosts.iter().for_each(Host::assert_programmed);
    }
}

/// Each question, at the node of who asks and at the node of who is asked: the first packet and a second one, which may know its way.
fn probes(scene: &Scene) -> Vec<Probe> {
    let mut probes = Vec::new();
    for (client, server, question) in scene.questions().into_iter().chain(scene.questions_through_services()) {
        if client == server && !question.through_service {
            continue;
        }
        for is_first in [true, false] {
            let frame = frame(scene, client, server, &question, is_first);
            let probe = |host, hook, device, destination_mac, judges| Probe {
                host,
                run: Run { hook, device, frame: Frame { destination_mac, ..frame.clone() }.bytes() },
                about: format!("{} to {}, {hook:?}", client.name, server.name),
                question,
                is_first,
                is_answer: false,
                judges,
            };
            if let (true, Some(host)) = (client.is_pod, client.node) {
                let device = device(scene, client.addresses[0]);
                probes.push(probe(host, Hook::FromPod, device, macs(device)[1], [true, server.node == Some(host)]));
            }
            if let (true, false, Some(host)) = (server.is_pod, question.through_service, server.node)
                && client.node != Some(host)
            {
                probes.push(probe(host, Hook::FromNetwork, 0, NODE_MAC, [false, true]));
            } else if let (true, false, Some(host)) = (server.is_pod, client.is_pod, server.node) {
                // What the node itself sends to its pods.
                let device = device(scene, server.addresses[0]);
                probes.push(probe(host, Hook::ToPod, device, macs(device)[0], [false, false]));
            }
            if is_first && server.is_pod && !question.through_service {
                probes.extend(answers(scene, client, server, question));
            }
        }
    }
    probes
}

/// What the server answers: where it is, and where its client is.
fn answers(scene: &Scene, client: &End, server: &End, question: Question) -> Vec<Probe> {
    let frame = answer(&frame(scene, client, server, &question, true), &question);
    let probe = |host, hook, device, destination_mac, judges| Probe {
        host,
        run: Run { hook, device, frame: Frame { destination_mac, ..frame.clone() }.bytes() },
        about: format!("{} answers {}, {hook:?}", server.name, client.name),
        question,
        is_first: false,
        is_answer: true,
        judges,
    };
    let mut probes = Vec::new();
    if let Some(host) = server.node {
        let device = device(scene, server.addresses[0]);
        let is_beside = client.node == Some(host);
        probes.push(probe(host, Hook::FromPod, device, macs(device)[1], [is_beside && client.is_pod, client.is_pod || !is_beside]));
    }
    if let Some(host) = client.node.filter(|host| client.is_pod && server.node != Some(host)) {
        probes.push(probe(host, Hook::FromNetwork, 0, NODE_MAC, [true, false]));
    }
    probes
}

/// What answers a first packet.
fn answer(asked: &Frame, question: &Question) -> Frame {
    let port = |at: usize| u16::from_be_bytes([asked.payload[at], asked.payload[at + 1]]);
    let (from, to) = (SocketAddr::new(asked.destination, port(2)), SocketAddr::new(asked.source, port(0)));
    match question.protocol {
        Protocol::Tcp => tcp(from, to, flags::SYN_ACK, b""),
        Protocol::Udp => udp(from, to, b"!"),
        Protocol::Sctp => sctp(from, to, chunk::INIT_ACK, &[0; 16]),
        // The identifier is its fifth and sixth byte.
        Protocol::Icmp => pong(asked.destination, asked.source, port(4)),
    }
}

/// Why a node drops it that asks these rules; `None` if it does not.
fn reason(answer: &Answer, [judges_egress, judges_ingress]: [bool; 2]) -> Option<DropReason> {
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
        for host in &table.hosts {
            host.forget_flows();
            // Of a datagram whose answer is let through anyway nobody remembers whether it is the first.
            let begins = |probe: &Probe| probe.is_first && probe.question.protocol == Protocol::Tcp;
            let is_counted = |probe: &&Probe| probe.host == host.name && probe.run.hook != Hook::ToPod && begins(probe);
            let own: Vec<&Probe> = table.probes.iter().filter(is_counted).collect();
            let mut wanted = host.rule_counts();
            let passed = host.run(own.iter().map(|probe| &probe.run));
            for (probe, passed) in own.iter().zip(passed) {
                let judged = judge(host.state.image(), &probe.question);
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

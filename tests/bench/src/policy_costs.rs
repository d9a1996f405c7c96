//! What judging a packet costs: the program of a pod's device on frames that somebody made (BPF_PROG_TEST_RUN), to a pod beside it.

use crate::costs::frames::Frame;
use crate::report::Section;
use crate::samples::percentile;
use anyhow::{Context, Result, ensure};
use nix::sched::{CloneFlags, unshare};
use orknet_abi::{
    Address, Judgement, Node, Peer, Pod, PodKey, PortKey, Range, RangeKey, Rule, Verdict, VerdictKey, action, direction, protocol,
    range_kinds,
};
use orknet_compiler::{Plan, Step};
use orknet_dataplane::{Config, Dataplane, Hook, Verdict as Outcome, cleanup};
use std::net::IpAddr;
use std::process::Command;

/// Single runs of each kind.
const RUNS: u16 = 2_000;
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;
/// Peer sets, rule sets and tables beside those that are met, so that look-ups are not in maps of a few entries.
const OTHERS: u32 = 10_000;

/// A set of rules that lets nobody in.
const CLOSED: u32 = OTHERS + 1;

struct Family {
    name: &'static str,
    client: &'static str,
    server: &'static str,
    pods: (&'static str, u8),
}

const FAMILIES: [Family; 2] = [
    Family { name: "IPv4", client: "10.244.0.2", server: "10.244.0.3", pods: ("10.244.0.0", 24) },
    Family { name: "IPv6", client: "fd00:10:244::2", server: "fd00:10:244::3", pods: ("fd00:10:244::", 64) },
];

/// Measures.
pub fn measure() -> Result<Section> {
    let mut table = vec![["what", "p50", "p99"].map(str::to_owned).to_vec()];
    // In a thread of its own: its network namespace goes with it.
    table.extend(std::thread::spawn(packets).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
    Ok(Section {
        title: "Costs of a verdict",
        command: "cargo xtask bench policy",
        method: format!(
            "{RUNS} single runs of the program of a pod's device by BPF_PROG_TEST_RUN, on TCP segments for a pod beside it, in maps with {OTHERS} peers, sets of rules and tables of \
             ports. Where both pods have rules, there are two judgements, of which the server's goes by its port; with rules for one direction nothing is remembered, with rules for both each connection has a flow. What a run costs by itself is in each figure: the first row is about that. \
             Without rules nothing is looked up but the pod."
        ),
        table,
    })
}

fn packets() -> Result<Vec<Vec<String>>> {
    unshare(CloneFlags::CLONE_NEWNET).context("cannot make a network namespace")?;
    orknet_tests::cluster::run(Command::new("ip").args(["link", "set", "lo", "up"]))?;
    let config = Config { pin_dir: format!("/sys/fs/bpf/orknet-bench-{}", std::process::id()).into(), ..Config::default() };
    let measured = Dataplane::open(&config).map_err(Into::into).and_then(|dataplane| on_frames(&dataplane));
    let cleaned = cleanup(&config.pin_dir);
    let rows = measured?;
    cleaned?;
    Ok(rows)
}

fn on_frames(dataplane: &Dataplane) -> Result<Vec<Vec<String>>> {
    let arp = [&[0xff; 6][..], &[2, 0, 0, 0, 0, 1], &[0x08, 0x06], &[0; 28]].concat();
    let baseline = (0..RUNS).map(|_| Ok(dataplane.run(Hook::FromPod, &arp, 1)?.nanoseconds)).collect::<Result<Vec<u32>>>()?;
    let mut rows = vec![row("a packet that is passed on at once".to_owned(), &baseline)];
    apply(dataplane, others())?;
    for family in &FAMILIES {
        let run = |port: u16, flags: u8, is_allowed: bool| {
            let ran = dataplane.run(Hook::FromPod, &segment(family, port, flags), 1)?;
            ensure!((ran.verdict != Outcome::Drop) == is_allowed, "{}: {:?}", family.name, ran.verdict);
            anyhow::Ok(ran.nanoseconds)
        };
        let each = |first: u16, flags: u8, is_allowed: bool| {
            (0..RUNS).map(|number| run(first + number, flags, is_allowed)).collect::<Result<Vec<u32>>>()
        };
        let mut told = |what: &str, found: &[u32]| rows.push(row(format!("{}: {what}", family.name), found));
        pods(dataplane, family, Rules::None)?;
        each(10_000, SYN, true)?;
        each(10_000, ACK, true)?;
        told("no rules, known", &each(10_000, ACK, true)?);
        for (first, rules, what) in [(15_000, Rules::One, "rules for one direction"), (20_000, Rules::Both, "rules for both directions")] {
            pods(dataplane, family, rules)?;
            told(&format!("{what}, first packet of a connection"), &each(first, SYN, true)?);
            told(&format!("{what}, second packet"), &each(first, ACK, true)?);
            told(&format!("{what}, known"), &each(first, ACK, true)?);
            let anew = (0..RUNS).map(|number| {
                // As any change of policies does.
                pods(dataplane, family, rules)?;
                run(first + number, ACK, true)
            });
            told(&format!("{what}, judged anew after a change"), &anew.collect::<Result<Vec<u32>>>()?);
        }
        pods(dataplane, family, Rules::Refuse)?;
        told("refused", &each(30_000, SYN, false)?);
    }
    Ok(rows)
}

fn allowed(rule: u32) -> Judgement {
    Judgement { action: action::ALLOW, rule }
}

fn refused() -> Verdict {
    Verdict { table: 0, otherwise: Judgement { action: action::DENY, rule: 0 } }
}

fn by_port() -> Verdict {
    Verdict { table: 1, ..refused() }
}

/// What the pods' rules are made of, and many others.
fn others() -> Vec<Step> {
    let mut steps = Vec::new();
    let node = Node { table_size: 16_381, ..Node::default() };
    steps.push(Step::PutNode(node));
    for rule in 1..=2 {
        steps.push(Step::PutRule(rule, Rule { index: rule, direction: direction::INGRESS as u8, kind: 1, ..Rule::default() }));
    }
    for table in 1..=OTHERS {
        steps.extend([8080, 5001, 443].map(|port| Step::PutPort(PortKey::ports(table, protocol::TCP, port, 16), allowed(2))));
    }
    for set in 1..=OTHERS {
        let verdict = if set == 1 { Verdict { table: 0, otherwise: allowed(1) } } else { by_port() };
        steps.extend([Step::PutVerdict(VerdictKey { set, peers: 0 }, refused()), Step::PutVerdict(VerdictKey { set, peers: 1 }, verdict)]);
    }
    steps.push(Step::PutVerdict(VerdictKey { set: CLOSED, peers: 0 }, refused()));
    for number in 0..OTHERS {
        let address = IpAddr::from([10, 245, (number >> 8) as u8, number as u8]);
        steps.push(Step::PutPeer(RangeKey::new(address, 32), Peer { peers: number % 1000 + 1 }));
    }
    steps
}

/// Which rules the pods have. Of those that let through, the client's say yes to the peer, and the server's look at the port.
#[derive(Clone, Copy)]
enum Rules {
    None,
    /// The client's for what goes out, the server's for what comes in.
    One,
    /// And the client's for what comes in, the server's for what goes out: then it must be known who began.
    Both,
    Refuse,
}

fn pods(dataplane: &Dataplane, family: &Family, rules: Rules) -> Result<()> {
    let address = |text: &str| text.parse::<IpAddr>().with_context(|| text.to_owned());
    let (client, server) = (address(family.client)?, address(family.server)?);
    let pod = |ifindex, ingress, egress| Pod { ifindex, pod_mac: [2; 6], host_mac: [4; 6], ingress, egress, ..Pod::default() };
    let (network, bits) = family.pods;
    let mut steps =
        vec![Step::PutRange(RangeKey::new(address(network)?, bits), Range { kinds: range_kinds::PODS, node: Address::default() })];
    steps.extend([client, server].map(|address| Step::PutPeer(RangeKey::new(address, 128), Peer { peers: 1 })));
    let ([client_in, client_out], [server_in, server_out]) = match rules {
        Rules::None => ([0, 0], [0, 0]),
        Rules::One => ([0, 1], [2, 0]),
        Rules::Both => ([2, 1], [2, 1]),
        Rules::Refuse => ([0, 1], [CLOSED, 0]),
    };
    steps.push(Step::PutPod(PodKey { address: client.into() }, pod(1, client_in, client_out)));
    steps.push(Step::PutPod(PodKey { address: server.into() }, pod(7, server_in, server_out)));
    apply(dataplane, steps)
}

fn apply(dataplane: &Dataplane, steps: Vec<Step>) -> Result<()> {
    let applied = dataplane.apply(&Plan { steps });
    ensure!(applied.failures.is_empty(), "{:?}", applied.failures);
    Ok(())
}

fn segment(family: &Family, from_port: u16, flags: u8) -> Vec<u8> {
    let mut segment = vec![0; 20];
    segment[0..2].copy_from_slice(&from_port.to_be_bytes());
    segment[2..4].copy_from_slice(&8080_u16.to_be_bytes());
    (segment[12], segment[13]) = (0x50, flags);
    Frame::new(family.client, family.server, protocol::TCP, &segment).bytes()
}

fn row(what: String, nanoseconds: &[u32]) -> Vec<String> {
    let samples: Vec<f64> = nanoseconds.iter().map(|one| f64::from(*one)).collect();
    vec![what, format!("{:.0} ns", percentile(&samples, 50.0)), format!("{:.0} ns", percentile(&samples, 99.0))]
}

//! What one call and one packet cost: connect(2) of a socket through the hooks, and the programs of devices on frames that somebody made
//! (BPF_PROG_TEST_RUN), on maps that hold one Service.

#[path = "../../../node-agent/dataplane/tests/frames/mod.rs"]
pub mod frames;

use crate::arena::nettool;
use crate::report::Section;
use crate::samples::percentile;
use anyhow::{Context, Result, ensure};
use frames::Frame;
use nix::sched::{CloneFlags, unshare};
use orknet_abi::{
    Address, Backend, BackendKey, Node, Pod, PodKey, Range, RangeKey, Service, ServiceKey, node_flags, protocol, range_kinds, scope,
};
use orknet_compiler::{Plan, Step};
use orknet_dataplane::{Config, Dataplane, Hook, Verdict, cleanup};
use orknet_tests::talk::{self, Client, TOOLS, at};
use orknet_tests::{Cluster, Outside, eventually};
use std::net::IpAddr;
use std::path::Path;
use std::process::Command;

/// Single runs of a program; a run that is repeated by the kernel would find what it has translated itself.
const RUNS: u16 = 2_000;
const CONNECTS: &str = "50000";
const NODE_PORT: u16 = 30_080;
/// TCP's flags.
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;
const NODE_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0xe0];

/// A family's addresses: client, this node, its pod, a pod elsewhere and its node.
struct Family {
    name: &'static str,
    client: &'static str,
    node: &'static str,
    pod: &'static str,
    far_pod: &'static str,
    far_node: &'static str,
    pods: (&'static str, u8),
    far_pods: (&'static str, u8),
}

const FAMILIES: [Family; 2] = [
    Family {
        name: "IPv4",
        client: "10.224.200.1",
        node: "10.224.0.11",
        pod: "10.244.0.2",
        far_pod: "10.244.1.2",
        far_node: "10.224.0.12",
        pods: ("10.244.0.0", 24),
        far_pods: ("10.244.1.0", 24),
    },
    Family {
        name: "IPv6",
        client: "fd00:10:224::c8:1",
        node: "fd00:10:224::b",
        pod: "fd00:10:244::2",
        far_pod: "fd00:10:244:1::2",
        far_node: "fd00:10:224::c",
        pods: ("fd00:10:244::", 64),
        far_pods: ("fd00:10:244:1::", 64),
    },
];

/// Measures both.
pub fn measure() -> Result<Section> {
    let mut table = vec![["what", "p50", "p99"].map(str::to_owned).to_vec()];
    table.extend(connects()?);
    // In a thread of its own: its network namespace goes with it.
    table.extend(std::thread::spawn(packets).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
    Ok(Section {
        title: "Costs of a call and of a packet",
        command: "cargo xtask bench services",
        method: format!(
            "connect(2): the mean of {CONNECTS} calls of one UDP socket, which sends nothing, the best of 5 rounds. Packets: {RUNS} single runs of the program by \
             BPF_PROG_TEST_RUN, the first segments of as many connections, then the second ones, which find the flow's way, then the third ones, \
             which know it. What a run costs by itself is in each figure: about what a packet costs that is passed on at once. The aim was what \
             is told of Katran's program for XDP by the same method: 190 to 260 ns for a known flow, 300 to 440 ns for a new one. Known flows are \
             there if the run itself is taken off; new ones are not: each makes two entries, one for each direction, and finds \
             a free port."
        ),
        table,
    })
}

fn connects() -> Result<Vec<Vec<String>>> {
    let cluster = Cluster::up("bc", &["--bare", "--nodes", "1"])?;
    let nettool = nettool()?;
    cluster.orknet(&["add-image", TOOLS, &nettool])?;
    let kubectl = cluster.kubectl();
    talk::pod(&kubectl, "server", "")?;
    let service = at(&talk::serve(&kubectl, "server", "server", "")?, 80);
    talk::wait_ready(&kubectl, "server")?;
    let pod = at(&kubectl.run(&["get", "pod", "server", "-o", "jsonpath={.status.podIP}"])?, talk::PORT);
    let inside = Client::start(&kubectl, "client")?;
    eventually("the Service to answer", || inside.attempt(talk::How::Udp, &service)?.answer().map(drop))?;
    let outside = Outside::attach(&cluster, &nettool)?;
    let time = |client: &Client<'_>, address: &str| {
        Ok::<_, anyhow::Error>(client.run(&["nettool", "time-connect", address, CONNECTS])?.trim().to_owned())
    };
    let node = at(&orknet_tests::outside::node_addresses("node1")?[0].to_string(), talk::PORT);
    let row = |what: &str, nanoseconds: String| vec![what.to_owned(), format!("{nanoseconds} ns"), String::new()];
    Ok(vec![
        row("connect(2) without hooks", time(&Client::outside(&outside), &node)?),
        row("connect(2) to an address that is no Service's", time(&inside, &pod)?),
        row("connect(2) to a Service", time(&inside, &service)?),
    ])
}

fn packets() -> Result<Vec<Vec<String>>> {
    unshare(CloneFlags::CLONE_NEWNET).context("cannot make a network namespace")?;
    make_ways()?;
    let config = Config { pin_dir: format!("/sys/fs/bpf/orknet-bench-{}", std::process::id()).into(), ..Config::default() };
    let measured = Dataplane::open(&config).map_err(Into::into).and_then(|dataplane| on_frames(&dataplane, &config.pin_dir));
    let cleaned = cleanup(&config.pin_dir);
    let rows = measured?;
    cleaned?;
    Ok(rows)
}

/// Gives the namespace the node's addresses and the ways to the other node's pods.
fn make_ways() -> Result<()> {
    let ip = |arguments: &str| orknet_tests::cluster::run(Command::new("ip").args(arguments.split(' '))).map(drop);
    ip("link set lo up")?;
    ip("link add wire type veth peer name end")?;
    ip("link set wire up")?;
    ip("link set end up")?;
    let forwarding = ["net.ipv4.conf.all.forwarding=1", "net.ipv6.conf.all.forwarding=1"];
    orknet_tests::cluster::run(Command::new("sysctl").args(["-q", "-w"]).args(forwarding))?;
    for family in &FAMILIES {
        let (bits, more) = if family.node.contains(':') { (64, " nodad") } else { (16, "") };
        ip(&format!("address add {}/{bits} dev wire{more}", family.node))?;
        let (network, bits) = family.far_pods;
        ip(&format!("route add {network}/{bits} via {} dev wire", family.far_node))?;
        // Before the stack nobody asks for MAC addresses.
        ip(&format!("neighbour add {} lladdr 02:00:00:00:00:02 dev wire", family.far_node))?;
    }
    Ok(())
}

fn on_frames(dataplane: &Dataplane, pins: &Path) -> Result<Vec<Vec<String>>> {
    // Nobody's: passed on after the first look.
    let arp = [&[0xff; 6][..], &[2, 0, 0, 0, 0, 1], &[0x08, 0x06], &[0; 28]].concat();
    let baseline = (0..RUNS).map(|_| Ok(dataplane.run(Hook::FromNetwork, &arp, 1)?.nanoseconds)).collect::<Result<Vec<u32>>>()?;
    let mut rows = vec![row("a packet that is passed on at once".to_owned(), &baseline)];
    serve_wire(pins)?;
    for family in &FAMILIES {
        // Flows of each have ports of their own.
        for (from_port, what, hook, backend) in [
            (10_000, "tc, to a backend on this node", Hook::FromNetwork, family.pod),
            (20_000, "tc, to one on another node, with source NAT", Hook::FromNetwork, family.far_pod),
            (30_000, "XDP, to one on another node, with source NAT", Hook::FromWire, family.far_pod),
        ] {
            let applied = dataplane.apply(&plan(family, backend)?);
            ensure!(applied.failures.is_empty(), "{:?}", applied.failures);
            // The second segment of a connection finds its way, those after it know it.
            for (which, flags) in [("new flow", SYN), ("second packet of a flow", ACK), ("known flow", ACK)] {
                let run = |number: u16| {
                    let ran = dataplane.run(hook, &frame(family, hook, from_port + number, flags), 1)?;
                    ensure!(ran.verdict == Verdict::Redirect, "{what}, {which}, {}: {:?}", family.name, ran.verdict);
                    Ok(ran.nanoseconds)
                };
                let found = (0..RUNS).map(run).collect::<Result<Vec<u32>>>()?;
                rows.push(row(format!("{}, from outside by {what}: {which}", family.name), &found));
            }
        }
    }
    Ok(rows)
}

/// Makes the loopback device, where test runs of frames from the wire come in, and the one they leave by such that have a program and the
/// node's MAC address, and that take all frames.
fn serve_wire(pins: &Path) -> Result<()> {
    const TAKES_ALL: u8 = orknet_abi::device_takes::FRAMES | orknet_abi::device_takes::PIECES;
    let map = pins.join(format!("v{}/maps/{}", orknet_abi::ABI_VERSION, orknet_abi::DEVICES.name));
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>();
    for device in [1, nix::net::if_::if_nametoindex("wire")?] {
        let mut bpftool = Command::new("bpftool");
        bpftool.args(["map", "update", "pinned"]).arg(&map);
        bpftool
            .args(["key", "hex"])
            .args(hex(&device.to_ne_bytes()))
            .args(["value", "hex"])
            .args(hex(&NODE_MAC))
            .args(hex(&[TAKES_ALL, 0]));
        orknet_tests::cluster::run(&mut bpftool)?;
    }
    Ok(())
}

fn row(what: String, nanoseconds: &[u32]) -> Vec<String> {
    let samples: Vec<f64> = nanoseconds.iter().map(|one| f64::from(*one)).collect();
    vec![what, format!("{:.0} ns", percentile(&samples, 50.0)), format!("{:.0} ns", percentile(&samples, 99.0))]
}

/// A segment of a connection.
fn frame(family: &Family, hook: Hook, from_port: u16, flags: u8) -> Vec<u8> {
    let mut segment = vec![0; 20];
    segment[0..2].copy_from_slice(&from_port.to_be_bytes());
    segment[2..4].copy_from_slice(&NODE_PORT.to_be_bytes());
    (segment[12], segment[13]) = (0x50, flags);
    let mut frame = Frame::new(family.client, family.node, protocol::TCP, &segment);
    if hook == Hook::FromWire {
        frame.destination_mac = NODE_MAC;
    }
    frame.bytes()
}

/// One Service with a node port and one backend, and all that the programs ask for on the way.
fn plan(family: &Family, backend: &str) -> Result<Plan> {
    let address = |text: &str| text.parse::<IpAddr>().map(Address::from).with_context(|| text.to_owned());
    let own = |scope| -> Result<ServiceKey> {
        Ok(ServiceKey { address: address(family.node)?, port_be: NODE_PORT.to_be(), protocol: protocol::TCP, scope })
    };
    let list = if backend == family.pod { 1 } else { 2 };
    let service = Service { list, count: 1, ..Service::default() };
    let node = Node {
        v4: address(FAMILIES[0].node)?,
        v6: address(FAMILIES[1].node)?,
        first_port: 1_024,
        last_port: 29_999,
        flags: node_flags::MASQUERADE,
        table_size: 16_381,
        ..Node::default()
    };
    let range = |(network, bits): (&str, u8), node: &str| -> Result<Step> {
        Ok(Step::PutRange(RangeKey::new(network.parse()?, bits), Range { kinds: range_kinds::PODS, node: address(node)? }))
    };
    Ok(Plan {
        steps: vec![
            Step::PutNode(node),
            Step::PutBackend(BackendKey { list, slot: 0 }, Backend { address: address(backend)?, port_be: 8080_u16.to_be(), reserved: 0 }),
            Step::PutPod(PodKey { address: address(family.pod)? }, Pod { ifindex: 1, pod_mac: [2; 6], host_mac: [4; 6], ..Pod::default() }),
            Step::PutService(own(scope::INSIDE)?, service),
            Step::PutService(own(scope::OUTSIDE)?, service),
            range(family.pods, "::")?,
            range(family.far_pods, family.far_node)?,
        ],
    })
}

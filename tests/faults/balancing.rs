//! Do flows from outside and inside notice that the agents of their nodes end, are away, and come back?

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use orknet_tests::outside::node_addresses;
use orknet_tests::talk::{self, Client, How, TOOLS, at};
use orknet_tests::{Cluster, Outside, Stream, eventually, faults};

faults![
    root_agents_killed_under_flows_from_everywhere_are_not_noticed,
    root_agents_stopped_and_started_under_flows_from_everywhere_are_not_noticed,
    root_agents_killed_again_and_again_are_not_noticed,
];

/// Answers to wait for: more than half a second's.
const SOME: usize = 60;
const NODES: [&str; 2] = ["node1", "node2"];
/// A connection that is held, datagrams of one socket, and new connections: each fails at the first answer that does not come.
const MODES: [&str; 3] = ["hold-tcp", "hold-udp", "log-tcp"];
const NETTOOL: &str = env!("CARGO_BIN_EXE_nettool");

fn root_agents_killed_under_flows_from_everywhere_are_not_noticed() -> Result<()> {
    under_flows("fk", |cluster, flow| {
        end_agents(cluster, Signal::SIGKILL)?;
        flow(SOME)?;
        cluster.up_again(&["--bare"])?;
        flow(SOME)
    })
}

fn root_agents_stopped_and_started_under_flows_from_everywhere_are_not_noticed() -> Result<()> {
    under_flows("fs", |cluster, flow| {
        end_agents(cluster, Signal::SIGTERM)?;
        flow(SOME)?;
        cluster.up_again(&["--bare"])?;
        flow(SOME)
    })
}

/// Also while the agent has only begun.
fn root_agents_killed_again_and_again_are_not_noticed() -> Result<()> {
    under_flows("fa", |cluster, flow| {
        for _ in 0..5 {
            end_agents(cluster, Signal::SIGKILL)?;
            cluster.up_again(&["--bare"])?;
            flow(1)?;
        }
        flow(SOME)
    })
}

/// Waits for so many answers of every flow, none of which may have failed.
type Flow<'a> = &'a dyn Fn(usize) -> Result<()>;

/// Lets the fault happen to a cluster with flows through a ClusterIP from a pod, and from outside through a node port of the backend's own
/// node and of the other one. What began before goes on, and afterwards both ways take new clients, and follow changes.
fn under_flows(tag: &str, fault: impl Fn(&Cluster, Flow<'_>) -> Result<()>) -> Result<()> {
    let cluster = Cluster::up(tag, &["--nodes", "2", "--bare"])?;
    under_flows_of(&cluster, fault).with_context(|| cluster.logs())
}

fn under_flows_of(cluster: &Cluster, fault: impl Fn(&Cluster, Flow<'_>) -> Result<()>) -> Result<()> {
    cluster.orknet(&["add-image", TOOLS, NETTOOL])?;
    let kubectl = cluster.kubectl();
    talk::pod(&kubectl, "server", "nodeName: node2")?;
    talk::wait_ready(&kubectl, "server")?;
    let cluster_address = talk::serve(&kubectl, "server", "server", "type: NodePort, ipFamilyPolicy: RequireDualStack")?;
    let node_port = kubectl.run(&["get", "service", "server", "-o", "jsonpath={.spec.ports[0].nodePort}"])?.parse()?;
    let inside = Client::on_node(&kubectl, "client", "node1")?;
    let outside = Outside::attach(cluster, NETTOOL)?;
    let outer = Client::outside(&outside);

    let mut fronts = Vec::new();
    for node in NODES {
        fronts.extend(node_addresses(node)?.map(|address| at(&address.to_string(), node_port)));
    }
    let inner = at(&cluster_address, 80);
    let answer = || {
        for how in [How::Tcp, How::UdpConnected] {
            eventually("the cluster address to answer", || inside.attempt(how, &inner)?.answer().map(drop))?;
            for front in &fronts {
                eventually("the node ports to answer", || outer.attempt(how, front)?.answer().map(drop))?;
            }
        }
        Ok::<_, anyhow::Error>(())
    };
    answer()?;
    let mut streams = Vec::new();
    for mode in MODES {
        streams.push(Stream::pod(&kubectl, "client", mode, &inner)?);
        for front in &fronts {
            streams.push(Stream::outside(&outside, mode, front)?);
        }
    }
    let flow = |more: usize| streams.iter().try_for_each(|stream| stream.flows(more));
    flow(SOME)?;
    fault(cluster, &flow)?;
    // The agents are back at work: what is new is served, and what goes is forgotten.
    talk::pod(&kubectl, "next", "nodeName: node1")?;
    talk::wait_ready(&kubectl, "next")?;
    kubectl.run(&["label", "pod", "next", "app=server", "--overwrite"])?;
    for front in &fronts {
        eventually("the new backend to be asked too", || {
            let servers = outer.ask(How::Tcp, front, 30)?.servers();
            ensure!(servers.len() == 2, "{servers:?}");
            Ok(())
        })?;
    }
    flow(SOME)
}

/// Ends the agents of all nodes, and waits until they are gone.
fn end_agents(cluster: &Cluster, signal: Signal) -> Result<()> {
    let ids = NODES.iter().map(|node| cluster.process(node, "agent")).collect::<Result<Vec<i32>>>()?;
    NODES.iter().try_for_each(|node| cluster.signal(node, "agent", signal))?;
    eventually("the agents to be gone", || {
        for id in &ids {
            ensure!(!std::path::Path::new(&format!("/proc/{id}/exe")).exists(), "process {id} is there");
        }
        Ok(())
    })
}

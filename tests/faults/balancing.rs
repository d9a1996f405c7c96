//! Do flows from outside and inside notice that the agents of their nodes end, are away, and come back, or that other programs with other
//! maps take over?

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use orknet_tests::cluster::run;
use orknet_tests::losses::Segments;
use orknet_tests::outside::node_addresses;
use orknet_tests::talk::{self, Client, How, TOOLS, at};
use orknet_tests::{Cluster, Outside, Stream, eventually, faults};
use serde_json::json;
use std::process::Command;

faults![
    root_agents_killed_under_flows_from_everywhere_are_not_noticed,
    root_agents_stopped_and_started_under_flows_from_everywhere_are_not_noticed,
    root_agents_killed_again_and_again_are_not_noticed,
    root_programs_with_other_maps_take_over_under_load_and_nothing_is_lost,
];

/// Answers to wait for: more than half a second's.
const SOME: usize = 60;
const NODES: [&str; 2] = ["node1", "node2"];
/// A connection that is held, datagrams of one socket, new connections, and datagrams of new sockets: each fails at the first answer that
/// does not come.
const MODES: [&str; 4] = ["hold-tcp", "hold-udp", "log-tcp", "log-udp"];
/// Bursts of questions beside those: from the pod, and through a front of each node, each of another family.
const LOAD: [&str; 2] = ["rush-tcp", "rush-udp"];
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

/// What an upgrade to another version does, too: programs and maps are made beside the ones at work, learn what these know of flows and
/// clients, and take the hooks over. And back again.
fn root_programs_with_other_maps_take_over_under_load_and_nothing_is_lost() -> Result<()> {
    under_flows("fu", |cluster, flow| {
        for flows in [70_000, 90_000] {
            end_agents(cluster, Signal::SIGTERM)?;
            let capacities = json!({"FLOWS": flows, "SOCKETS": flows, "AFFINITY": flows, "SERVICES": flows});
            cluster.set_agents(json!({"dataplane": {"capacities": capacities}}))?;
            cluster.up_again(&["--bare"])?;
            flow(SOME)?;
            // `up` does not wait for the agents to have loaded their programs: until then, the old maps are the only ones.
            for node in NODES {
                eventually("the new maps to be at work", || {
                    let maps = cluster.orknet(&["maps", "--node", node])?;
                    let has_room = |line: &str| matches!(line.split_whitespace().collect::<Vec<_>>()[..], ["FLOWS", _, room, ..] if room == flows.to_string());
                    ensure!(maps.lines().any(has_room), "{maps}");
                    Ok(())
                })?;
            }
            eventually("the new maps to be the only ones", || {
                let pins = run(Command::new("find").arg(cluster.run_dir()).args(["-name", "v*-*"]))?;
                ensure!(pins.is_empty(), "{pins}");
                Ok(())
            })?;
            flow(SOME)?;
        }
        Ok(())
    })
}

/// Waits for so many answers of every flow, none of which may have failed.
type Flow<'a> = &'a dyn Fn(usize) -> Result<()>;

/// Lets the fault happen to a cluster with flows through a ClusterIP from a pod, and from outside through a node port of the backend's own
/// node and of the other one. What began before goes on, and afterwards both ways take new clients, and follow changes.
fn under_flows(tag: &str, fault: impl Fn(&Cluster, Flow<'_>) -> Result<()>) -> Result<()> {
    let cluster = Cluster::up(tag, &["--nodes", "2", "--bare"])?;
    under_flows_of(&cluster, fault).map_err(|error| cluster.explain(error))
}

fn under_flows_of(cluster: &Cluster, fault: impl Fn(&Cluster, Flow<'_>) -> Result<()>) -> Result<()> {
    cluster.orknet(&["add-image", TOOLS, NETTOOL])?;
    let kubectl = cluster.kubectl();
    talk::pod(&kubectl, "server", "nodeName: node2")?;
    talk::wait_ready(&kubectl, "server")?;
    talk::serve(&kubectl, "server", "server", "type: NodePort, ipFamilyPolicy: RequireDualStack")?;
    let spec = kubectl.json(&["get", "service", "server"])?["spec"].take();
    let node_port = spec["ports"][0]["nodePort"].as_u64().context("the Service has no node port")?.try_into()?;
    let inner: Vec<String> =
        serde_json::from_value::<Vec<String>>(spec["clusterIPs"].clone())?.iter().map(|address| at(address, 80)).collect();
    ensure!(inner.len() == 2, "addresses of both families: {inner:?}");
    let inside = Client::on_node(&kubectl, "client", "node1")?;
    let outside = Outside::attach(cluster, NETTOOL)?;
    let outer = Client::outside(&outside);

    let mut fronts = Vec::new();
    for node in NODES {
        fronts.extend(node_addresses(node)?.map(|address| at(&address.to_string(), node_port)));
    }
    let answer = || {
        for how in [How::Tcp, How::UdpConnected] {
            for address in &inner {
                eventually("the cluster address to answer", || inside.attempt(how, address)?.answer().map(drop))?;
            }
            for front in &fronts {
                eventually("the node ports to answer", || outer.attempt(how, front)?.answer().map(drop))?;
            }
        }
        Ok::<_, anyhow::Error>(())
    };
    answer()?;
    let server = Client::of(&kubectl, "server");
    let talkers = [("outside", &outer), ("the client", &inside), ("the server", &server)];
    let before = talkers.iter().map(|(_, who)| Segments::of(|command| who.run(command))).collect::<Result<Vec<_>>>()?;
    let mut streams = Vec::new();
    for mode in MODES {
        for address in &inner {
            streams.push(Stream::pod(&kubectl, "client", mode, address)?);
        }
        for front in &fronts {
            streams.push(Stream::outside(&outside, mode, front)?);
        }
    }
    for mode in LOAD {
        streams.push(Stream::pod(&kubectl, "client", mode, &inner[0])?);
        for front in [&fronts[0], &fronts[3]] {
            streams.push(Stream::outside(&outside, mode, front)?);
        }
    }
    let flow = |more: usize| Stream::all_flow(&streams, more);
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
    flow(SOME)?;
    streams.iter_mut().try_for_each(Stream::is_unharmed)?;
    // A segment that is lost is sent again, and no program hears of it.
    for ((name, who), before) in talkers.into_iter().zip(before) {
        let now = Segments::of(|command| who.run(command))?;
        ensure!(now.lost_since(&before) == 0, "TCP of {name} lost segments: {:?}", now.since(&before));
    }
    Ok(())
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

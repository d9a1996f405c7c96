//! Do `orknet services | backends | endpoints | maps` show what the API says, from the maps alone?

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;
use orknet_tests::talk::{self, Client, How, at};
use orknet_tests::{Cluster, Kubectl, eventually, tests};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

tests![
    e2e_inspection_shows_every_service_and_its_backends,
    e2e_inspection_shows_every_pod_of_the_node_and_its_traffic,
    e2e_inspection_counts_entries_and_drops,
    e2e_inspection_needs_no_agent,
    e2e_inspection_says_what_is_wrong_with_the_question,
];

/// A Service's front as both sides name it.
type Front = (SocketAddr, String);

fn look(cluster: &Cluster, subject: &str, node: &str) -> Result<Vec<Value>> {
    let text = cluster.orknet(&[subject, "--node", node, "-o", "json"])?;
    serde_json::from_str(&text).with_context(|| format!("orknet {subject} printed no JSON: {text}"))
}

fn text<'a>(value: &'a Value, field: &str) -> Result<&'a str> {
    value[field].as_str().with_context(|| format!("{field} is missing in {value}"))
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list["items"].as_array().into_iter().flatten()
}

fn list<T: serde::de::DeserializeOwned>(value: &Value) -> Result<Vec<T>> {
    if value.is_null() { Ok(Vec::new()) } else { Ok(serde_json::from_value(value.clone())?) }
}

/// What a node's maps say of Services: fronts and their backends.
fn programmed(cluster: &Cluster, node: &str) -> Result<BTreeMap<Front, BTreeSet<SocketAddr>>> {
    let mut fronts = BTreeMap::new();
    for row in look(cluster, "services", node)? {
        let protocol = text(&row, "protocol")?;
        if protocol.is_empty() {
            continue;
        }
        let address: IpAddr = text(&row, "address")?.parse()?;
        let port = row["port"].as_u64().context("no port")? as u16;
        fronts.insert((SocketAddr::new(address, port), protocol.to_owned()), list(&row["backends"])?.into_iter().collect());
    }
    Ok(fronts)
}

/// What the API says: the ready endpoints of every Service with cluster addresses, in all namespaces.
fn wanted(kubectl: &Kubectl) -> Result<BTreeMap<Front, BTreeSet<SocketAddr>>> {
    let (services, slices) = (kubectl.json(&["get", "services", "-A"])?, kubectl.json(&["get", "endpointslices", "-A"])?);
    let mut fronts = BTreeMap::new();
    for service in items(&services).filter(|service| service["spec"]["clusterIP"].as_str() != Some("None")) {
        for address in list::<IpAddr>(&service["spec"]["clusterIPs"])? {
            for port in service["spec"]["ports"].as_array().into_iter().flatten() {
                let front = SocketAddr::new(address, port["port"].as_u64().context("no port")? as u16);
                let backends = backends(&slices, service, port, address.is_ipv6())?;
                fronts.insert((front, text(port, "protocol")?.to_owned()), backends);
            }
        }
    }
    Ok(fronts)
}

/// The ready endpoints of one port of one Service in one family.
fn backends(slices: &Value, service: &Value, port: &Value, ipv6: bool) -> Result<BTreeSet<SocketAddr>> {
    let (family, meta) = (if ipv6 { "IPv6" } else { "IPv4" }, &service["metadata"]);
    let mut found = BTreeSet::new();
    let own = items(slices).filter(|slice| {
        slice["metadata"]["namespace"] == meta["namespace"]
            && slice["metadata"]["labels"]["kubernetes.io/service-name"] == meta["name"]
            && slice["addressType"] == family
    });
    for slice in own {
        let same = |target: &&Value| target["name"].as_str().unwrap_or("") == port["name"].as_str().unwrap_or("");
        let Some(target) = slice["ports"].as_array().into_iter().flatten().find(same) else { continue };
        let number = target["port"].as_u64().context("a slice's port has no number")? as u16;
        let endpoints = slice["endpoints"].as_array().into_iter().flatten();
        for endpoint in endpoints.filter(|endpoint| endpoint["conditions"]["ready"] != false) {
            for address in list::<IpAddr>(&endpoint["addresses"])? {
                found.insert(SocketAddr::new(address, number));
            }
        }
    }
    Ok(found)
}

fn e2e_inspection_shows_every_service_and_its_backends(cluster: &Cluster, kubectl: &Kubectl) -> Result<()> {
    talk::deploy(kubectl, "web", 2)?;
    let address: IpAddr = talk::serve(kubectl, "web", "web", "ipFamilyPolicy: RequireDualStack")?.parse()?;
    talk::serve(kubectl, "empty", "nobody", "")?;
    talk::serve(kubectl, "headless", "web", "clusterIP: None")?;
    let agree = |count: usize| {
        // Other tests make and remove Services meanwhile: both sides are read until they meet.
        eventually("every node's maps to say what the API says", || {
            for node in ["node1", "node2"] {
                let (wanted, programmed) = (wanted(kubectl)?, programmed(cluster, node)?);
                let only_wanted: Vec<_> = wanted.iter().filter(|(front, ends)| programmed.get(front) != Some(ends)).collect();
                let only_programmed: Vec<_> = programmed.iter().filter(|(front, ends)| wanted.get(front) != Some(ends)).collect();
                ensure!(wanted == programmed, "{node}: the API has {only_wanted:?}, the maps have {only_programmed:?}");
                let own = programmed.get(&(SocketAddr::new(address, 80), "TCP".to_owned())).context("our own Service is missing")?;
                ensure!(own.len() == count, "{node}: {own:?}");
            }
            Ok(())
        })
    };
    agree(2)?;
    kubectl.run(&["scale", "deployment", "web", "--replicas=3"])?;
    agree(3)?;

    // Lists of backends, and the table for people.
    let front = format!("{}/TCP", SocketAddr::new(address, 80));
    let rows = look(cluster, "backends", "node1")?;
    let own: Vec<&Value> =
        rows.iter().filter(|row| row["services"].as_array().is_some_and(|list| list.contains(&front.clone().into()))).collect();
    let slots: BTreeSet<u64> = own.iter().filter_map(|row| row["slot"].as_u64()).collect();
    ensure!(own.len() == 3 && slots == BTreeSet::from([0, 1, 2]), "{own:?}");
    let table = cluster.orknet(&["services", "--node", "node1"])?;
    let lines: Vec<&str> = table.lines().filter(|line| line.split_whitespace().next() == Some(&address.to_string())).collect();
    ensure!(table.lines().next().is_some_and(|line| line.contains("ADDRESS") && line.contains("BACKENDS")), "{table}");
    ensure!(lines.len() == 3, "a line per port and one for the whole address: {lines:?}");
    ensure!(cluster.orknet(&["backends", "--node", "node1"])?.contains(&front), "the table of backends lacks {front}");

    kubectl.run(&["delete", "service", "web"])?;
    eventually("the deleted Service to leave the maps", || {
        let rows = look(cluster, "services", "node2")?;
        ensure!(!rows.iter().any(|row| row["address"] == address.to_string()), "{address} is still there");
        Ok(())
    })
}

fn e2e_inspection_shows_every_pod_of_the_node_and_its_traffic(cluster: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let client = Client::on_node(kubectl, "client", "node2")?;
    talk::pod(kubectl, "server", "nodeName: node1")?;
    talk::wait_ready(kubectl, "server")?;
    let status = kubectl.json(&["get", "pod", "client"])?["status"].clone();
    let own: Vec<String> =
        status["podIPs"].as_array().into_iter().flatten().filter_map(|item| item["ip"].as_str().map(str::to_owned)).collect();
    ensure!(own.len() == 2, "{own:?}");
    for node in ["node1", "node2"] {
        eventually("the maps to have the node's pods", || {
            let pods = kubectl.json(&["get", "pods", "-A", "--field-selector", &format!("spec.nodeName={node}")])?;
            let on_network = items(&pods).filter(|pod| pod["spec"]["hostNetwork"] != true && pod["status"]["phase"] == "Running");
            let wanted: BTreeSet<&str> = on_network
                .flat_map(|pod| pod["status"]["podIPs"].as_array().into_iter().flatten())
                .filter_map(|item| item["ip"].as_str())
                .collect();
            let rows = look(cluster, "endpoints", node)?;
            let shown: BTreeSet<&str> = rows.iter().filter_map(|row| row["address"].as_str()).collect();
            ensure!(wanted == shown, "{node}: the API has {wanted:?}, the maps have {shown:?}");
            Ok(())
        })?;
    }
    let table = cluster.orknet(&["endpoints", "--node", "node2"])?;
    ensure!(table.lines().next().is_some_and(|line| line.contains("ADDRESS")), "{table}");
    ensure!(own.iter().all(|address| table.lines().any(|line| line.split_whitespace().any(|word| word == address))), "{own:?} in\n{table}");
    let packets = |direction: &str| -> Result<u64> {
        let rows = look(cluster, "endpoints", "node2")?;
        let row = rows.iter().find(|row| row["address"] == own[0]).context("the pod is missing")?;
        row[direction]["packets"].as_u64().with_context(|| format!("no count in {row}"))
    };
    let (from, to) = (packets("fromPod")?, packets("toPod")?);
    let address = kubectl.run(&["get", "pod", "server", "-o", "jsonpath={.status.podIP}"])?;
    client.ask(How::Udp, &at(&address, talk::PORT), 10)?.are_from(&BTreeSet::from(["server".to_owned()]))?;
    ensure!(packets("fromPod")? >= from + 10 && packets("toPod")? >= to + 10, "ten questions and answers are not counted");

    kubectl.run(&["delete", "pod", "client"])?;
    eventually("the deleted pod to leave the maps", || {
        let rows = look(cluster, "endpoints", "node2")?;
        ensure!(!rows.iter().any(|row| own.iter().any(|address| row["address"] == *address)), "{own:?} is still there");
        Ok(())
    })
}

fn e2e_inspection_counts_entries_and_drops(cluster: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let address = talk::serve(kubectl, "empty", "nobody", "")?;
    let client = Client::on_node(kubectl, "client", "node1")?;
    let drops = |reason: &str| -> Result<u64> {
        let rows = look(cluster, "maps", "node1")?;
        let row = rows.iter().find(|row| row["reason"] == reason);
        Ok(row.and_then(|row| row["drops"]["packets"].as_u64()).unwrap_or(0))
    };
    let (without_endpoints, without_port) = (drops("no-endpoints")?, drops("no-such-port")?);
    eventually("the Service to be known", || client.is_refused(How::Tcp, &at(&address, 80), "ConnectionRefused"))?;
    client.is_refused(How::Tcp, &at(&address, 81), "ConnectionRefused")?;
    ensure!(drops("no-endpoints")? > without_endpoints && drops("no-such-port")? > without_port, "refusals are not counted");

    let rows = look(cluster, "maps", "node1")?;
    let maps: BTreeSet<&str> = rows.iter().filter_map(|row| row["name"].as_str()).collect();
    let known = "SERVICES BACKENDS TABLES SOURCES RANGES NODE FLOWS TRANSLATED GENERATION PAIRS DEVICES FRAGMENTS CONNECTIONS SOCKETS DATAGRAMS AFFINITY PODS PEERS VERDICTS PORTS RULES UNCERTAIN RULE_COUNTS MONITOR LOST DROPS LEFT TRAFFIC";
    ensure!(maps == known.split(' ').collect(), "{maps:?}");
    for row in rows.iter().filter(|row| row["name"].is_string()) {
        let (entries, capacity) = (row["entries"].as_u64().context("no entries")?, row["capacity"].as_u64().context("no capacity")?);
        ensure!(entries <= capacity && capacity > 0, "{row}");
    }
    let table = cluster.orknet(&["maps", "--node", "node1"])?;
    ensure!(table.contains("SERVICES") && table.contains("no-endpoints") && table.contains("no-such-port"), "{table}");
    Ok(())
}

/// A daemon that stands still until this is dropped.
struct Paused<'a> {
    cluster: &'a Cluster,
    node: &'a str,
}

impl<'a> Paused<'a> {
    fn agent(cluster: &'a Cluster, node: &'a str) -> Result<Self> {
        let paused = Self { cluster, node };
        cluster.signal(node, "agent", Signal::SIGSTOP)?;
        Ok(paused)
    }

    /// Whether it stands still: state `T` (proc_pid_stat(5)).
    fn check(&self) -> Result<()> {
        let id = self.cluster.process(self.node, "agent")?;
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat"))?;
        let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
        ensure!(state == Some('T'), "the agent is in state {state:?}");
        Ok(())
    }
}

impl Drop for Paused<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.cluster.signal(self.node, "agent", Signal::SIGCONT) {
            eprintln!("the agent of {} stays stopped: {error:#}", self.node);
        }
    }
}

fn e2e_inspection_needs_no_agent(cluster: &Cluster, kubectl: &Kubectl) -> Result<()> {
    talk::pod(kubectl, "one", "nodeName: node2")?;
    let address = talk::serve(kubectl, "one", "one", "")?;
    talk::wait_ready(kubectl, "one")?;
    let backend = SocketAddr::new(kubectl.run(&["get", "pod", "one", "-o", "jsonpath={.status.podIP}"])?.parse()?, talk::PORT);
    let front = (SocketAddr::new(address.parse()?, 80), "TCP".to_owned());
    let expected = BTreeSet::from([backend]);
    let shown = || {
        let fronts = programmed(cluster, "node2")?;
        ensure!(fronts.get(&front) == Some(&expected), "{:?}", fronts.get(&front));
        Ok(())
    };
    eventually("the Service to be programmed", shown)?;
    // Other tests' pods on this node wait for the agent, so it is stopped for moments only.
    let paused = Paused::agent(cluster, "node2")?;
    eventually("the agent to stand still", || paused.check())?;
    shown()?;
    let endpoints = look(cluster, "endpoints", "node2")?;
    ensure!(endpoints.iter().any(|row| row["address"] == backend.ip().to_string()), "{endpoints:?}");
    ensure!(!look(cluster, "backends", "node2")?.is_empty() && !look(cluster, "maps", "node2")?.is_empty(), "nothing is shown");
    paused.check()
}

fn e2e_inspection_says_what_is_wrong_with_the_question(cluster: &Cluster, _: &Kubectl) -> Result<()> {
    let said = |arguments: &[&str]| match cluster.orknet(arguments) {
        Ok(output) => bail!("orknet {arguments:?} was expected to fail and said: {output}"),
        Err(error) => Ok(format!("{error:#}")),
    };
    let unknown = said(&["services", "--node", "node9"])?;
    ensure!(unknown.contains("has no node \"node9\"") && unknown.contains("node1, node2"), "{unknown}");
    let outside = said(&["maps", "--node", "../node1"])?;
    ensure!(outside.contains("has no node"), "{outside}");
    let empty = std::env::temp_dir();
    let run = |arguments: &[&str]| orknet_tests::cluster::run(orknet_tests::cluster::orknet().args(arguments));
    let nowhere = run(&["endpoints", "--name", "nosuch"]).unwrap_or_else(|error| format!("{error:#}"));
    ensure!(nowhere.contains("there is no local cluster \"nosuch\""), "{nowhere}");
    let unpinned = run(&["endpoints", "--pin-dir", &empty.to_string_lossy()]).unwrap_or_else(|error| format!("{error:#}"));
    ensure!(unpinned.contains("no maps of this version in"), "{unpinned}");
    Ok(())
}

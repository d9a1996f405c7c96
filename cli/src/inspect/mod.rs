//! `orknet services | backends | endpoints | maps`: what a node's kernel holds, read from the pinned maps; no agent is asked.

mod print;

use crate::cluster::layout::{Cluster, DEFAULT_NAME};
use anyhow::{Context, Result, bail};
use orknet_abi::{Count, TrafficKey, direction};
use orknet_dataplane::Reader;
use print::{
    Column::{Number, Text},
    Output, View,
};
use serde_json::json;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Which maps, and how to show them.
#[derive(clap::Args)]
pub struct Inspect {
    /// A node of a local cluster (default: its first, where there is a local cluster; else this host).
    #[arg(long)]
    node: Option<String>,
    /// The local cluster's name (default: local).
    #[arg(long)]
    name: Option<String>,
    /// The directory of an agent's pins, instead of a node.
    #[arg(long, conflicts_with_all = ["node", "name"])]
    pin_dir: Option<PathBuf>,
    #[arg(long, short, value_enum, default_value_t = Output::Table)]
    output: Output,
}

/// What to show.
#[derive(Clone, Copy)]
pub enum Subject {
    Services,
    Backends,
    Endpoints,
    Maps,
}

/// Prints it.
pub fn run(subject: Subject, options: &Inspect) -> Result<()> {
    let directory = directory(options)?;
    let reader = Reader::open(&directory)?;
    let view = match subject {
        Subject::Services => services(&reader)?,
        Subject::Backends => backends(&reader)?,
        Subject::Endpoints => endpoints(&reader)?,
        Subject::Maps => maps(&reader)?,
    };
    print::print(&view, options.output)
}

/// Where the maps are pinned that were asked for.
fn directory(options: &Inspect) -> Result<PathBuf> {
    if let Some(directory) = &options.pin_dir {
        return Ok(directory.clone());
    }
    let name = options.name.as_deref();
    let cluster = Cluster::new(name.unwrap_or(DEFAULT_NAME))?;
    let nodes = pinned_nodes(&cluster.bpf_dir())?;
    match (&options.node, nodes.first()) {
        (Some(node), Some(_)) if nodes.contains(node) => Ok(cluster.bpf_dir().join(node)),
        (Some(node), Some(_)) => bail!("cluster {:?} has no node {node:?}; its nodes are {}", cluster.name(), nodes.join(", ")),
        (None, Some(first)) => Ok(cluster.bpf_dir().join(first)),
        // Nothing was named: this host's own agent is meant, where there is no local cluster.
        (None, None) if name.is_none() => Ok(orknet_dataplane::Config::default().pin_dir),
        (_, None) => bail!("there is no local cluster {:?} on this host; remedy: orknet up --name {0}", cluster.name()),
    }
}

/// The nodes of a local cluster that have a directory for pins, in the order of their numbers.
fn pinned_nodes(directory: &Path) -> Result<Vec<String>> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", directory.display())),
    };
    // The kernel shows files of its own there (`maps.debug`).
    let directories = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let mut nodes: Vec<String> = directories.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    nodes.sort_by(|one, other| (one.len(), one).cmp(&(other.len(), other)));
    Ok(nodes)
}

fn services(reader: &Reader) -> Result<View> {
    let image = reader.image()?;
    let mut view = View::default();
    view.table([
        Text("ADDRESS"),
        Number("PORT"),
        Text("PROTOCOL"),
        Text("BACKENDS"),
        Number("LIST"),
        Number("AFFINITY (S)"),
        Text("FLAGS"),
    ]);
    let or = |is_shown: bool, text: String, other: &str| if is_shown { text } else { other.to_owned() };
    for row in image.service_rows() {
        let is_port = !row.protocol.is_empty();
        let backends = match row.backends.as_slice() {
            _ if !is_port => "-".to_owned(),
            [] => "none".to_owned(),
            few if few.len() <= 3 => few.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
            [first, rest @ ..] => format!("{first} and {} more", rest.len()),
        };
        view.line([
            row.address.to_string(),
            or(is_port, row.port.to_string(), "*"),
            or(is_port, row.protocol.clone(), "*"),
            backends,
            or(row.count > 0, row.list.to_string(), "-"),
            or(row.affinity_seconds > 0, row.affinity_seconds.to_string(), "-"),
            or(!row.flags.is_empty(), row.flags.join(","), "-"),
        ]);
        view.value(json!(row));
    }
    Ok(view)
}

fn backends(reader: &Reader) -> Result<View> {
    let image = reader.image()?;
    let mut fronts: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    for row in image.service_rows().iter().filter(|row| row.count > 0) {
        fronts.entry(row.list).or_default().push(format!("{}/{}", std::net::SocketAddr::new(row.address, row.port), row.protocol));
    }
    let mut view = View::default();
    view.table([Number("LIST"), Number("SLOT"), Text("BACKEND"), Text("SERVICES")]);
    for row in image.backend_rows() {
        let users = fronts.get(&row.list).map(Vec::as_slice).unwrap_or_default();
        view.line([row.list.to_string(), row.slot.to_string(), row.backend.to_string(), users.join(" ")]);
        view.value(json!({"list": row.list, "slot": row.slot, "backend": row.backend, "services": users}));
    }
    Ok(view)
}

fn endpoints(reader: &Reader) -> Result<View> {
    let traffic = reader.traffic()?;
    let count = |ifindex, direction| traffic.get(&TrafficKey { ifindex, direction }).copied().unwrap_or_default();
    let mut view = View::default();
    view.table([
        Text("ADDRESS"),
        Number("DEVICE (INDEX)"),
        Text("POD MAC"),
        Number("FROM POD (PACKETS)"),
        Number("(BYTES)"),
        Number("TO POD (PACKETS)"),
        Number("(BYTES)"),
    ]);
    for row in reader.image()?.pod_rows() {
        let (from, to) = (count(row.ifindex, direction::EGRESS), count(row.ifindex, direction::INGRESS));
        let numbers = [from.packets, from.bytes, to.packets, to.bytes].map(|number| number.to_string());
        let [from_packets, from_bytes, to_packets, to_bytes] = numbers;
        let cells = [row.address.to_string(), row.ifindex.to_string(), row.pod_mac.clone(), from_packets, from_bytes, to_packets, to_bytes];
        view.line(cells);
        view.value(json!({"address": row.address, "ifindex": row.ifindex, "podMac": row.pod_mac, "hostMac": row.host_mac,
            "fromPod": counted(from), "toPod": counted(to)}));
    }
    Ok(view)
}

fn maps(reader: &Reader) -> Result<View> {
    let mut view = View::default();
    view.table([Text("MAP"), Number("ENTRIES"), Number("CAPACITY"), Number("USED (%)"), Text("WHEN FULL")]);
    for map in reader.maps().context("cannot count the entries")? {
        let percent = f64::from(map.entries) * 100.0 / f64::from(map.capacity.max(1));
        let when_full = if map.forgets { "forgets the oldest" } else { "refuses what is new" };
        let cells = [map.name.to_owned(), map.entries.to_string(), map.capacity.to_string(), format!("{percent:.1}"), when_full.to_owned()];
        view.line(cells);
        view.value(json!({"name": map.name, "entries": map.entries, "capacity": map.capacity, "forgets": map.forgets}));
    }
    view.table([Text("DROP REASON"), Number("PACKETS AND CALLS"), Number("BYTES"), Text("MEANING")]);
    for (reason, count) in reader.drops()? {
        if count.packets > 0 {
            let cells = [reason.name().to_owned(), count.packets.to_string(), count.bytes.to_string(), reason.explain().trim().to_owned()];
            view.line(cells);
        }
        view.value(json!({"reason": reason.name(), "drops": counted(count)}));
    }
    Ok(view)
}

fn counted(count: Count) -> serde_json::Value {
    json!({"packets": count.packets, "bytes": count.bytes})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_listed_in_the_order_of_their_numbers() {
        let directory = tempfile::tempdir().unwrap();
        for node in ["node10", "node2", "node1"] {
            std::fs::create_dir(directory.path().join(node)).unwrap();
        }
        std::fs::write(directory.path().join("maps.debug"), "").unwrap();
        assert_eq!(pinned_nodes(directory.path()).unwrap(), ["node1", "node2", "node10"]);
        assert!(pinned_nodes(&directory.path().join("missing")).unwrap().is_empty());
    }
}

//! `orknet services | backends | endpoints | maps`: what a node's kernel holds, read from the pinned maps; no agent is asked.

mod print;

use crate::cluster::layout::{Cluster, DEFAULT_NAME};
use anyhow::{Context, Result};
use orknet_abi::{Count, TrafficKey, direction};
use orknet_dataplane::Reader;
use print::{Output, Rows};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Which maps, and how to show them.
#[derive(clap::Args)]
pub struct Inspect {
    /// A node of a local cluster (default: node1, where there is a local cluster; else this host).
    #[arg(long)]
    node: Option<String>,
    /// The local cluster's name.
    #[arg(long, default_value = DEFAULT_NAME)]
    name: String,
    /// The directory of an agent's pins, instead of a node.
    #[arg(long, conflicts_with = "node")]
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
    let rows = match subject {
        Subject::Services => services(&reader)?,
        Subject::Backends => backends(&reader)?,
        Subject::Endpoints => endpoints(&reader)?,
        Subject::Maps => maps(&reader)?,
    };
    print::print(&rows, options.output)
}

fn directory(options: &Inspect) -> Result<PathBuf> {
    if let Some(directory) = &options.pin_dir {
        return Ok(directory.clone());
    }
    let cluster = Cluster::new(&options.name)?;
    let local = cluster.bpf_dir();
    match &options.node {
        Some(node) => Ok(local.join(node)),
        None if local.join("node1").exists() => Ok(local.join("node1")),
        None => Ok(orknet_dataplane::Config::default().pin_dir),
    }
}

fn services(reader: &Reader) -> Result<Rows> {
    let image = reader.image()?;
    let mut rows = Rows::new(["ADDRESS", "PORT", "PROTOCOL", "BACKENDS", "LIST", "FLAGS"]);
    for row in image.service_rows() {
        let whole = row.protocol.is_empty();
        let port = if whole { "*".to_owned() } else { row.port.to_string() };
        let shown = match (whole, row.backends.len()) {
            (true, _) => "-".to_owned(),
            (false, 0) => "none".to_owned(),
            (false, count) if count <= 3 => row.backends.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
            (false, count) => format!("{} and {} more", row.backends[0], count - 1),
        };
        let protocol = if whole { "*".to_owned() } else { row.protocol.clone() };
        let list = if whole { "-".to_owned() } else { row.list.to_string() };
        rows.add([row.address.to_string(), port, protocol, shown, list, row.flags.join(",")], json!(row));
    }
    Ok(rows)
}

fn backends(reader: &Reader) -> Result<Rows> {
    let image = reader.image()?;
    let mut fronts: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    for row in image.service_rows().iter().filter(|row| row.count > 0) {
        fronts.entry(row.list).or_default().push(format!("{}/{}", std::net::SocketAddr::new(row.address, row.port), row.protocol));
    }
    let mut rows = Rows::new(["LIST", "SLOT", "BACKEND", "SERVICES"]);
    for row in image.backend_rows() {
        let users = fronts.get(&row.list).cloned().unwrap_or_default();
        let value = json!({"list": row.list, "slot": row.slot, "backend": row.backend, "services": users});
        rows.add([row.list.to_string(), row.slot.to_string(), row.backend.to_string(), users.join(" ")], value);
    }
    Ok(rows)
}

fn endpoints(reader: &Reader) -> Result<Rows> {
    let traffic = reader.traffic()?;
    let count = |ifindex, direction| traffic.get(&TrafficKey { ifindex, direction }).copied().unwrap_or_default();
    let mut rows = Rows::new(["ADDRESS", "DEVICE", "POD MAC", "FROM POD", "TO POD"]);
    for row in reader.image()?.pod_rows() {
        let (from, to) = (count(row.ifindex, direction::EGRESS), count(row.ifindex, direction::INGRESS));
        let value = json!({"address": row.address, "ifindex": row.ifindex, "podMac": row.pod_mac, "hostMac": row.host_mac,
            "fromPod": counted(from), "toPod": counted(to)});
        let packets = |count: Count| format!("{} packets", count.packets);
        rows.add([row.address.to_string(), row.ifindex.to_string(), row.pod_mac.clone(), packets(from), packets(to)], value);
    }
    Ok(rows)
}

fn maps(reader: &Reader) -> Result<Rows> {
    let mut rows = Rows::new(["MAP", "ENTRIES", "CAPACITY", "USED"]);
    for map in reader.maps().context("cannot count the entries")? {
        let percent = f64::from(map.entries) * 100.0 / f64::from(map.capacity.max(1));
        let value = json!({"name": map.name, "entries": map.entries, "capacity": map.capacity});
        rows.add([map.name.to_owned(), map.entries.to_string(), map.capacity.to_string(), format!("{percent:.1} %")], value);
    }
    for (reason, count) in reader.drops()?.into_iter().filter(|(_, count)| count.packets > 0) {
        rows.note(
            format!("dropped: {} packets, {} ({})", count.packets, reason.name(), reason.explain().trim()),
            json!({"reason": reason.name(), "drops": counted(count)}),
        );
    }
    Ok(rows)
}

fn counted(count: Count) -> serde_json::Value {
    json!({"packets": count.packets, "bytes": count.bytes})
}

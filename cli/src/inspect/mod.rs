//! `orknet services | backends | tables | sources | ranges | endpoints | flows | maps`: what a node's kernel holds, read from the
//! pinned maps; no agent is asked. Here is which maps are meant; [`balancing`] and [`traffic`] hold what they show.

mod balancing;
pub mod print;
mod traffic;

use crate::cluster::layout::{Cluster, DEFAULT_NAME};
use anyhow::{Context, Result, bail};
use orknet_dataplane::Reader;
use print::Output;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Which maps, and how to show them.
#[derive(clap::Args)]
pub struct Inspect {
    /// A node of a local cluster (default: its first, or all of them where several can be shown at once; without a local cluster, this host).
    #[arg(long)]
    node: Option<String>,
    /// The local cluster's name (default: local).
    #[arg(long)]
    pub name: Option<String>,
    /// The directory of an agent's pins, instead of a node.
    #[arg(long, conflicts_with_all = ["node", "name"])]
    pub pin_dir: Option<PathBuf>,
    #[arg(long, short, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

impl Inspect {
    /// Whether no node was chosen.
    pub fn is_about_all(&self) -> bool {
        self.node.is_none() && self.pin_dir.is_none()
    }
}

/// What to show.
#[derive(Clone, Copy)]
pub enum Subject {
    Services,
    Backends,
    Tables,
    Sources,
    Ranges,
    Endpoints,
    Flows,
    Maps,
}

/// Prints it.
pub fn run(subject: Subject, options: &Inspect) -> Result<()> {
    let directory = directory(options)?;
    let reader = Reader::open(&directory)?;
    let view = match subject {
        Subject::Services => balancing::services(&reader.image()?),
        Subject::Backends => balancing::backends(&reader.image()?),
        Subject::Tables => balancing::tables(&reader.image()?),
        Subject::Sources => balancing::sources(&reader.image()?),
        Subject::Ranges => balancing::ranges(&reader.image()?),
        Subject::Endpoints => traffic::endpoints(&reader)?,
        Subject::Flows => traffic::flows(&reader)?,
        Subject::Maps => traffic::maps(&reader)?,
    };
    print::print(&view, options.output)
}

/// A node that can be looked into.
pub struct Node {
    pub name: String,
    pub pin_dir: PathBuf,
}

/// Where the maps are pinned that were asked for.
fn directory(options: &Inspect) -> Result<PathBuf> {
    let first = nodes(options)?.into_iter().next().map(|node| node.pin_dir);
    first.context("there is no node")
}

/// The nodes that were asked for, in the order of their numbers: one, or all of a local cluster.
pub fn nodes(options: &Inspect) -> Result<Vec<Node>> {
    let this_host = |pin_dir| Ok(vec![Node { name: "this host".to_owned(), pin_dir }]);
    if let Some(directory) = &options.pin_dir {
        return this_host(directory.clone());
    }
    let name = options.name.as_deref();
    let cluster = Cluster::new(name.unwrap_or(DEFAULT_NAME))?;
    let nodes = pinned_nodes(&cluster.bpf_dir())?;
    let of = |node: &String| Node { name: node.clone(), pin_dir: cluster.bpf_dir().join(node) };
    match &options.node {
        Some(node) if nodes.contains(node) => Ok(vec![of(node)]),
        Some(node) if !nodes.is_empty() => bail!("cluster {:?} has no node {node:?}; its nodes are {}", cluster.name(), nodes.join(", ")),
        None if !nodes.is_empty() => Ok(nodes.iter().map(of).collect()),
        // Nothing was named: this host's own agent is meant, where there is no local cluster.
        None if name.is_none() => this_host(orknet_dataplane::Config::default().pin_dir),
        _ => bail!("there is no local cluster {:?} on this host; remedy: orknet up --name {0}", cluster.name()),
    }
}

/// The nodes of a local cluster that have a directory for pins, in the order of their numbers.
pub fn pinned_nodes(directory: &Path) -> Result<Vec<String>> {
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

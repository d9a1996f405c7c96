//! What was asked for, kept so that `up` again does the same and `status` can tell.

use super::files;
use super::layout::Cluster;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::fs;

/// The cluster as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub nodes: u8,
    pub store: StoreKind,
    /// API servers; of several each has a member of etcd beside it.
    #[serde(default = "one")]
    pub servers: u8,
    /// The API server's port on the host's loopback: kubeconfigs stay valid when the server is started again.
    pub api_port: u16,
    /// Settings of every node's agent, beside those that the cluster itself makes.
    #[serde(default)]
    pub agent: Map<String, Value>,
}

impl Record {
    /// Whether pods reach each other through an overlay.
    pub fn has_overlay(&self) -> bool {
        self.agent.get("routing").is_some_and(|routing| routing == "vxlan")
    }
}

/// The engine behind the API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum StoreKind {
    Embedded,
    Etcd,
}

/// How pods of different nodes reach each other: the agents' setting `routing`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum RoutingKind {
    Direct,
    Vxlan,
}

fn one() -> u8 {
    1
}

/// Reads the record; `None` when the cluster was never brought up.
pub fn read(cluster: &Cluster) -> Result<Option<Record>> {
    let path = cluster.record_path();
    match fs::read(&path) {
        Ok(bytes) => Ok(Some(
            serde_json::from_slice(&bytes)
                .with_context(|| format!("{} is damaged; remedy: orknet down --name {}", path.display(), cluster.name()))?,
        )),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// Writes the record, whole or not at all.
pub fn write(cluster: &Cluster, record: &Record) -> Result<()> {
    files::write(&cluster.record_path(), &serde_json::to_vec_pretty(record)?)
}

//! `orknet kubelet`: runs this node's pods.

use super::daemon;
use anyhow::{Context, Result};
use serde_json::json;
use std::net::IpAddr;
use std::path::PathBuf;

/// Runs this node's pods through containerd.
#[derive(clap::Args)]
pub struct Kubelet {
    /// Settings as YAML or JSON; the flags below win over it.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Credentials of the node.
    #[arg(long, default_value = "/etc/orknet/kubeconfig")]
    kubeconfig: PathBuf,
    /// Name of the Node; that of the credentials.
    #[arg(long)]
    node_name: Option<String>,
    /// The node's addresses, the primary one first.
    #[arg(long = "address")]
    addresses: Vec<IpAddr>,
    /// Directory for pods' volumes and logs.
    #[arg(long)]
    root_dir: Option<PathBuf>,
    /// The socket on which containerd speaks CRI.
    #[arg(long)]
    containerd_socket: Option<PathBuf>,
    /// Where pods' cgroups go, in every hierarchy.
    #[arg(long)]
    cgroup_parent: Option<String>,
}

/// Runs until a signal; pods go on.
pub fn run(options: Kubelet) -> Result<()> {
    let flags = daemon::flags([
        ("nodeName", options.node_name.map(Into::into)),
        ("addresses", (!options.addresses.is_empty()).then(|| json!(options.addresses))),
        ("rootDir", options.root_dir.map(|path| json!(path))),
        ("containerdSocket", options.containerd_socket.map(|path| json!(path))),
        ("cgroupParent", options.cgroup_parent.map(Into::into)),
    ]);
    let config: orknet_kubelet::Config = daemon::config(options.config.as_deref(), flags)?;
    daemon::run(|shutdown| async move {
        let client = daemon::client(&options.kubeconfig, "orknet-kubelet").await?;
        orknet_kubelet::run(config, client, shutdown).await.context("the kubelet ended")
    })
}

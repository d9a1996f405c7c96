//! `orknet agent`: keeps this node's kernel in step with the cluster's Services, pods and routes.

use super::daemon;
use anyhow::{Context, Result};
use serde_json::json;
use std::path::PathBuf;

/// Programs this node's kernel: Services, pods, routes.
#[derive(clap::Args)]
pub struct Agent {
    /// Settings as YAML or JSON; the flags below win over it.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Credentials of the node.
    #[arg(long, default_value = "/etc/orknet/kubeconfig")]
    kubeconfig: PathBuf,
    /// Name of the Node; that of the credentials.
    #[arg(long)]
    node_name: Option<String>,
    /// The socket on which the CNI plugin asks.
    #[arg(long)]
    socket: Option<PathBuf>,
    /// Where maps and links are pinned.
    #[arg(long)]
    pin_dir: Option<PathBuf>,
    /// The cgroup whose sockets are balanced.
    #[arg(long)]
    cgroup: Option<PathBuf>,
    /// How network policies are enforced: strict (open connections are judged, too), lenient (new ones only), off.
    #[arg(long, value_name = "MODE")]
    policy: Option<orknet_agent::config::Policy>,
    /// Removes what the agent made on this host (links, maps, routes), and ends. Kernel settings for routing stay as they are.
    #[arg(long)]
    cleanup: bool,
}

/// Runs until a signal; what is programmed stays in force.
pub fn run(options: Agent) -> Result<()> {
    let path = |path: PathBuf| json!(path);
    let flags = daemon::flags([
        ("nodeName", options.node_name.map(Into::into)),
        ("socket", options.socket.map(path)),
        ("dataplane", options.pin_dir.map(|directory| json!({"pinDir": directory}))),
        ("cgroup", options.cgroup.map(path)),
    ]);
    let mut config: orknet_agent::Config = daemon::config(options.config.as_deref(), flags)?;
    config.policy = options.policy.unwrap_or(config.policy);
    daemon::run(|shutdown| async move {
        if options.cleanup {
            return orknet_agent::cleanup(&config).await.context("cannot clean up");
        }
        let client = daemon::client(&options.kubeconfig, "orknet-agent").await?;
        orknet_agent::run(config, client, shutdown).await.context("the agent ended")
    })
}

//! `orknet kubelet`: runs this node's pods.

use super::daemon;
use anyhow::{Context, Result};
use orknet_kubelet::config::ServerTls;
use orknet_kubelet::{Credentials, credentials};
use serde_json::json;
use std::net::IpAddr;
use std::path::PathBuf;

/// How it calls itself.
const PART: &str = "orknet-kubelet";

/// Runs this node's pods through containerd.
#[derive(clap::Args)]
pub struct Kubelet {
    /// Settings as YAML or JSON; the flags below win over it.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Credentials of the node. The kubelet renews a certificate of the node in this file, and makes the file if it joins.
    #[arg(long, default_value = "/etc/orknet/kubeconfig")]
    kubeconfig: PathBuf,
    /// Credentials by which the node asks for its own when there are none, or when they have ended, such as a bootstrap token's.
    #[arg(long)]
    bootstrap_kubeconfig: Option<PathBuf>,
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
    let mut config: orknet_kubelet::Config = daemon::config(options.config.as_deref(), flags)?;
    let credentials = Credentials {
        kubeconfig: options.kubeconfig,
        bootstrap: options.bootstrap_kubeconfig,
        pki_dir: config.root_dir.join("pki"),
        node: config.node_name.clone(),
        user_agent: daemon::user_agent(PART)?,
    };
    daemon::run(|shutdown| async move {
        // Whoever stops a node that waits to be let in wants no error.
        let Some(joined) = shutdown.run_until_cancelled(credentials.join()).await else { return Ok(()) };
        joined.context("the node cannot join")?;
        if config.tls.is_none() && credentials.bootstrap.is_some() {
            // Who joins has nothing but the kubeconfig: callers come from its authority, and the server's certificate is asked for.
            let authority = credentials.pki_dir.join("ca.crt");
            credentials::extract_authority(&credentials.kubeconfig, &authority).context("the node's server cannot know its callers")?;
            config.tls = Some(ServerTls::asked_for(authority));
            config.server_tls_bootstrap = true;
        }
        let client = daemon::client(&credentials.kubeconfig, PART).await?;
        orknet_kubelet::run(config, client, credentials, shutdown).await.context("the kubelet ended")
    })
}

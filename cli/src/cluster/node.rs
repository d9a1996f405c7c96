//! A node of a local cluster: credentials, configuration files, and the start of its agent and kubelet.

use super::cgroups::Hierarchies;
use super::layout::{Cluster, Place};
use super::record::Record;
use super::{files, process, server};
use crate::commands::credentials::{Files, issue_node};
use crate::commands::daemon;
use anyhow::Result;
use serde_json::{Value, json};

const AGENT: &str = "agent";
const KUBELET: &str = "kubelet";

/// The daemons of a node.
pub fn daemons(record: &Record) -> Vec<&'static str> {
    let balancer = (record.servers > 1).then_some(server::BALANCER);
    balancer.into_iter().chain(["containerd", AGENT, KUBELET]).collect()
}

/// Writes what the node's programs read. Blocking.
pub fn prepare(cluster: &Cluster, record: &Record, node: &Place) -> Result<()> {
    let files = credentials(node);
    if !files.kubeconfig.exists() {
        let server = format!("https://{}", server::address_for_nodes(cluster, record));
        issue_node(&server::prepare(cluster)?, &node.name, &server, &node.addresses(), &files)?;
    }
    install_cni(node)?;
    write(node, "agent.json", &agent_settings(cluster, record, node)?)?;
    write(node, "kubelet.json", &kubelet_settings(node, &files))
}

/// Starts what does not run; whether the kubelet was started. Blocking for moments.
pub fn start(cluster: &Cluster, record: &Record, node: &Place) -> Result<bool> {
    if record.servers > 1 && process::running(node, server::BALANCER).is_none() {
        let mut command = server::balancer(cluster, record, node)?;
        command.arg("--listen").arg(server::address_for_nodes(cluster, record).to_string());
        process::start(node, server::BALANCER, command)?;
    }
    let fresh = process::running(node, KUBELET).is_none();
    for daemon in [AGENT, KUBELET] {
        let mut command = process::daemon(node, daemon, process::own_binary()?)?;
        command.arg(daemon).arg("--config").arg(node.state_dir().join(format!("{daemon}.json")));
        command.arg("--kubeconfig").arg(credentials(node).kubeconfig);
        process::start(node, daemon, command)?;
    }
    Ok(fresh)
}

/// Does the work of every node at the same time. Blocking, until the last has ended.
pub fn on_each<T: Send>(nodes: &[Place], work: impl Fn(&Place) -> Result<T> + Sync) -> Result<Vec<T>> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = nodes.iter().map(|node| scope.spawn(|| work(node))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    })
}

/// Fails with the log of the daemon that ended, if one did.
pub fn check(record: &Record, node: &Place) -> Result<()> {
    daemons(record).iter().try_for_each(|daemon| process::check(node, daemon))
}

fn credentials(node: &Place) -> Files {
    Files::in_directory(&node.state_dir().join("credentials"))
}

/// containerd calls plugins by their names: links to this executable.
fn install_cni(node: &Place) -> Result<()> {
    let cni = node.state_dir().join("cni");
    let (bin, conf) = (cni.join("bin"), cni.join("net.d"));
    for name in [orknet_cni::PLUGIN_NAME, orknet_cni::loopback::LOOPBACK_NAME] {
        files::link(&bin.join(name), &process::own_binary()?)?;
    }
    let list = json!({"cniVersion": "1.0.0", "name": "orknet", "plugins": [
        {"type": orknet_cni::PLUGIN_NAME, "capabilities": {"portMappings": true},
            "agentSocket": node.agent_socket(), "stateDir": cni.join("state")}]});
    // containerd reads it at every change.
    files::write(&conf.join("10-orknet.conflist"), &serde_json::to_vec_pretty(&list)?)
}

fn agent_settings(cluster: &Cluster, record: &Record, node: &Place) -> Result<Value> {
    // The servers speak to pods and know them by their own addresses.
    let servers = cluster.servers(record.servers);
    let servers = servers.iter().flat_map(Place::addresses).map(ipnet::IpNet::from);
    let mut settings = record.agent.clone();
    let mut no_masquerade: Vec<Value> = settings.get("noMasqueradeCidrs").and_then(Value::as_array).cloned().unwrap_or_default();
    no_masquerade.extend(servers.map(|prefix| json!(prefix)));
    let own = daemon::flags([
        ("nodeName", Some(json!(node.name))),
        ("socket", Some(json!(node.agent_socket()))),
        // Another one is a test's: of what no socket hook sees.
        ("cgroup", (!settings.contains_key("cgroup")).then_some(json!(Hierarchies::find()?.unified(&node.cgroup())))),
        ("stateDir", Some(json!(node.state_dir().join("cni/state")))),
        ("serviceCidrs", Some(json!(orknet_apiserver::Config::default().service_cidrs))),
        ("noMasqueradeCidrs", Some(json!(no_masquerade))),
        ("dataplane", Some(json!({"pinDir": node.bpf_dir()}))),
    ]);
    daemon::merge(&mut settings, own);
    Ok(Value::Object(settings))
}

fn kubelet_settings(node: &Place, files: &Files) -> Value {
    json!({
        "nodeName": node.name,
        "rootDir": node.state_dir().join("kubelet"),
        "containerdSocket": node.containerd_socket(),
        "cgroupParent": node.cgroup(),
        "addresses": node.addresses(),
        // The host's disk is its owner's business, and images of a local cluster cannot be pulled again.
        "evictionHard": {"nodefs.available": "256Mi", "nodefs.inodesFree": "0%"},
        "imageGcHighPercent": 100,
        // The files are what it begins with; it renews both certificates itself.
        "serverTLSBootstrap": true,
        "tls": {"certificate": files.serving_certificate, "key": files.serving_key, "clientCa": files.ca, "allowedClients": [orknet_auth::pki::KUBELET_CLIENT]},
    })
}

fn write(node: &Place, name: &str, settings: &Value) -> Result<()> {
    files::write(&node.state_dir().join(name), &serde_json::to_vec_pretty(settings)?)
}

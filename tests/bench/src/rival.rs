//! A node of another make on a local cluster's bridge, beside the cluster's own: a namespace that forwards by kube-proxy's rules, and a pod
//! behind it. Clients outside reach its pod over as many hops as they reach a cluster's.

use crate::proxy_rules::{self, Measured};
use anyhow::{Context, Result, bail};
use orknet_tests::{Cluster, Outside, cluster};
use std::io::Write;
use std::net::Ipv4Addr;
use std::process::{Child, Command, Stdio};

/// Its address on the bridge.
pub const NODE: Ipv4Addr = Ipv4Addr::new(10, 224, 201, 1);
/// Its pod's address.
pub const POD: Ipv4Addr = Ipv4Addr::new(10, 250, 1, 2);
/// A load balancer's address that leads to it.
pub const BALANCED: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 10);
const GATEWAY: &str = "10.250.1.1";

/// How the node finds a Service's endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rules {
    /// It does not: it only forwards to the pod's own address.
    None,
    Nftables,
    Iptables,
}

/// Removed when dropped.
pub struct Rival {
    prefix: String,
    server: Option<Child>,
}

impl Rival {
    /// Attaches it and starts netserver in its pod. `outside` is told the ways.
    pub fn attach(cluster: &Cluster, outside: &Outside, control_port: u16) -> Result<Self> {
        let mut rival = Self { prefix: format!("orknet-r{}", std::process::id()), server: None };
        let (node, pod, server) = (rival.netns("node"), rival.netns("pod"), format!("orknet-{}-server", cluster.name()));
        for netns in [&node, &pod] {
            ip(&["netns", "add", netns])?;
            ip(&["-n", netns, "link", "set", "lo", "up"])?;
        }
        ip(&["-n", &server, "link", "add", "rival", "type", "veth", "peer", "name", "eth0", "netns", &node])?;
        ip(&["-n", &server, "link", "set", "rival", "master", "bridge0", "up"])?;
        ip(&["-n", &node, "link", "add", "pod", "type", "veth", "peer", "name", "eth0", "netns", &pod])?;
        for (netns, device, address) in
            [(&node, "eth0", format!("{NODE}/16")), (&node, "pod", format!("{GATEWAY}/24")), (&pod, "eth0", format!("{POD}/24"))]
        {
            ip(&["-n", netns, "address", "add", &address, "dev", device])?;
            ip(&["-n", netns, "link", "set", device, "up"])?;
        }
        ip(&["-n", &pod, "route", "add", "default", "via", GATEWAY])?;
        cluster::run(&mut rival.command("node", &["sysctl", "-q", "-w", "net.ipv4.ip_forward=1"]))?;
        for to in [POD, BALANCED] {
            outside.run(&["ip", "route", "replace", &to.to_string(), "via", &NODE.to_string()])?;
        }
        let mut netserver = rival.command("pod", &["netserver", "-D", "-4", "-p", &control_port.to_string()]);
        rival.server = Some(netserver.stdin(Stdio::null()).stdout(Stdio::null()).spawn().context("cannot start netserver")?);
        Ok(rival)
    }

    /// Replaces its rules by those of so many Services.
    pub fn load(&self, rules: Rules, size: u32, ports: [u16; 2]) -> Result<()> {
        let measured = Measured { ports, external: BALANCED, endpoint: POD, node: NODE };
        self.feed(&["nft", "-f", "-"], "add table ip kube-proxy\ndelete table ip kube-proxy\n")?;
        self.feed(&["iptables-legacy-restore"], "*nat\nCOMMIT\n*filter\nCOMMIT\n")?;
        match rules {
            Rules::None => Ok(()),
            Rules::Nftables => self.feed(&["nft", "-f", "-"], &proxy_rules::nftables(size, &measured)?),
            Rules::Iptables => self.feed(&["iptables-legacy-restore"], &proxy_rules::iptables(size, &measured)?),
        }
    }

    fn feed(&self, command: &[&str], input: &str) -> Result<()> {
        let mut child = self.command("node", command).stdin(Stdio::piped()).spawn().with_context(|| format!("cannot run {command:?}"))?;
        child.stdin.take().context("no standard input")?.write_all(input.as_bytes())?;
        let status = child.wait()?;
        if !status.success() {
            bail!("{command:?}: {status}");
        }
        Ok(())
    }

    fn command(&self, role: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.netns(role)]).args(arguments);
        command
    }

    fn netns(&self, role: &str) -> String {
        format!("{}-{role}", self.prefix)
    }
}

impl Drop for Rival {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take() {
            let _ = server.kill();
            let _ = server.wait();
        }
        for role in ["pod", "node"] {
            let _ = ip(&["netns", "delete", &self.netns(role)]);
        }
    }
}

fn ip(arguments: &[&str]) -> Result<()> {
    cluster::run(Command::new("ip").args(arguments)).map(drop)
}

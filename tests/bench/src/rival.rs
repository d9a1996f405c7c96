//! A node of another make on a local cluster's bridge, beside the cluster's own: a namespace that forwards by kube-proxy's rules, and a pod
//! behind it. Clients outside reach its pod over as many hops as they reach a cluster's.

use crate::proxy_rules::{self, Measured};
use crate::roles::{Roles, ip};
use anyhow::Result;
use orknet_tests::{Cluster, Outside};
use std::net::Ipv4Addr;

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
    roles: Roles,
}

impl Rival {
    /// Attaches it and starts netserver in its pod. `outside` is told the ways.
    pub fn attach(cluster: &Cluster, outside: &Outside, control_port: u16) -> Result<Self> {
        let mut roles = Roles::new("r", ["node", "pod"])?;
        let (node, pod, server) = (roles.netns("node"), roles.netns("pod"), format!("orknet-{}-server", cluster.name()));
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
        roles.run("node", &["sysctl", "-q", "-w", "net.ipv4.ip_forward=1"])?;
        for to in [POD, BALANCED] {
            outside.run(&["ip", "route", "replace", &to.to_string(), "via", &NODE.to_string()])?;
        }
        roles.serve("pod", &["-p", &control_port.to_string()])?;
        Ok(Self { roles })
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
        self.roles.feed("node", command, input)
    }
}

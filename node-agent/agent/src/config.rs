//! What an operator can set about the agent.

use crate::overlay::Routing;
use ipnet::IpNet;
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Settings of the agent of one node.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// Name of our Node object.
    pub node_name: String,
    /// The cgroup v2 directory whose sockets get Services; the whole cgroup2 mount unless given.
    pub cgroup: Option<PathBuf>,
    /// Unix socket for the CNI plugin; made with mode 0600.
    pub socket: PathBuf,
    /// The CNI plugin's state folder; only read.
    pub state_dir: PathBuf,
    /// Where metrics and health are served; nowhere unless given.
    pub http_address: Option<SocketAddr>,
    /// Seconds between comparisons of the kernel with what it should hold; at least 1.
    pub resync_seconds: u64,
    /// MTU of pods in bytes; that of the device with the node's address unless given, less what `routing` adds to a packet.
    pub mtu: Option<u32>,
    /// How packets get to the pods of other nodes; the same on every node.
    pub routing: Routing,
    /// UDP port of the overlay, with `routing: vxlan`; the same on every node.
    pub vxlan_port: u16,
    /// Prefixes from which Services get their cluster addresses (the API server's service CIDRs). What is sent to an address in them
    /// that no Service has is dropped, at the socket ("operation not permitted") or where it leaves the pod, and counted as
    /// `no-such-service`. Services of another proxy (label `service.kubernetes.io/service-proxy-name`) are left alone. What no hook
    /// sees (raw sockets of the node, packets from outside) and what no hook translates (a ping) is answered "unreachable" by a route.
    /// Empty where addresses of these prefixes belong to anything else than Services: then such an address is nobody's business.
    pub service_cidrs: Vec<IpNet>,
    /// The data plane's own settings.
    pub dataplane: orknet_dataplane::Config,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            node_name: String::new(),
            cgroup: None,
            socket: "/run/orknet/agent.sock".into(),
            state_dir: "/var/lib/orknet/cni".into(),
            http_address: None,
            resync_seconds: 30,
            mtu: None,
            routing: Routing::Direct,
            vxlan_port: 8472,
            service_cidrs: Vec::new(),
            dataplane: orknet_dataplane::Config::default(),
        }
    }
}

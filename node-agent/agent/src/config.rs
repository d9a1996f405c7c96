//! What an operator can set about the agent.

use crate::overlay::Routing;
use ipnet::IpNet;
use orknet_compiler::maglev::is_table_size;
use serde::Deserialize;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

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
    /// Where balancers outside of the cluster are told whether this node takes new connections (`/healthz`, `/livez` of kube-proxy, which
    /// listens at port 10256); nowhere unless given. `[::]` stands for both families.
    pub proxy_health_address: Option<SocketAddr>,
    /// Seconds between comparisons of the kernel with what it should hold; at least 1.
    pub resync_seconds: u64,
    /// MTU of pods in bytes; that of the device with the node's address unless given, less what `routing` adds to a packet.
    pub mtu: Option<u32>,
    /// How packets get to the pods of other nodes; the same on every node.
    pub routing: Routing,
    /// UDP port of the overlay, with `routing: vxlan`; the same on every node.
    pub vxlan_port: u16,
    /// Prefixes from which Services get their cluster addresses (the API server's service CIDRs); those of ServiceCIDRs are known besides, but
    /// for any that has addresses of nodes or pods. What is sent to an address in them
    /// that no Service has is dropped, at the socket ("operation not permitted") or where it leaves the pod, and counted as
    /// `no-such-service`. Services of another proxy (label `service.kubernetes.io/service-proxy-name`) are left alone. What no hook
    /// sees (raw sockets of the node, packets from outside) and what no hook translates (a ping) is answered "unreachable" by a route.
    /// Empty where addresses of these prefixes belong to anything else than Services: then such an address is nobody's business.
    pub service_cidrs: Vec<IpNet>,
    /// Names of the devices that lead to the network; those that carry the node's InternalIPs unless given.
    pub devices: Vec<String>,
    /// Ports that source NAT uses, "first-last". Unless given, the widest range from 1024 on that is outside of the ports that the node
    /// itself connects from (`net.ipv4.ip_local_port_range`) and of the node ports.
    pub nat_ports: Option<PortRange>,
    /// From which node ports are given (the API server's range).
    pub node_port_range: PortRange,
    /// Whether what pods send out of the cluster gets the node's address.
    pub masquerade: bool,
    /// Prefixes outside of the cluster that see pods with their own addresses all the same.
    pub no_masquerade_cidrs: Vec<IpNet>,
    /// Whether backends of other nodes answer clients directly (direct server return) instead of by way of this node.
    pub direct_return: bool,
    /// Positions of a look-up table: a prime number, and the same on every node.
    pub maglev_table_size: u32,
    /// Whether processes of the node reach node ports at 127.0.0.1 and ::1, too.
    pub node_port_loopback: bool,
    /// Prefixes of the node's addresses at which node ports answer, whatever the type by which the Node lists them; its InternalIPs unless
    /// given. Host ports do not go by it.
    pub node_port_addresses: Vec<IpNet>,
    /// Dropped packets, and as many opened flows while a monitor wants to hear of flows, that programs tell of on each CPU in a second. The
    /// others are counted only.
    pub event_rate: u32,
    /// Whether, and how, this node's pods are held to network policies.
    pub policy: Policy,
    /// The data plane's own settings.
    pub dataplane: orknet_dataplane::Config,
}

/// How network policies are enforced.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub enum Policy {
    /// A change counts for connections that are open, too.
    #[default]
    Strict,
    /// What was let through once goes on: a change counts for new connections.
    Lenient,
    /// Not at all: for clusters where somebody else does it. Policies and pods are not even watched.
    Off,
}

impl Policy {
    /// Whether policies count.
    pub fn is_on(self) -> bool {
        self != Self::Off
    }
}

impl FromStr for Policy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "strict" => Ok(Self::Strict),
            "lenient" => Ok(Self::Lenient),
            "off" => Ok(Self::Off),
            other => Err(format!("{other:?} is neither strict nor lenient nor off")),
        }
    }
}

/// Ports from the first to the last, both included; `30000-32767` as text.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(try_from = "String")]
pub struct PortRange {
    pub first: u16,
    pub last: u16,
}

impl PortRange {
    /// Whether both have a port in common.
    pub fn overlaps(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

impl FromStr for PortRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let ports = text.split_once('-').and_then(|(first, last)| Some((first.trim().parse().ok()?, last.trim().parse().ok()?)));
        match ports {
            Some((first, last)) if 0 < first && first <= last => Ok(Self { first, last }),
            _ => Err(format!("{text:?} is no range of ports; write it as 1024-29999")),
        }
    }
}

impl TryFrom<String> for PortRange {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl Config {
    /// Whether the settings make sense together.
    pub fn check(&self) -> Result<(), &'static str> {
        if self.node_name.is_empty() {
            return Err("nodeName is empty");
        }
        if self.resync_seconds == 0 {
            return Err("resyncSeconds must be at least 1");
        }
        if !TABLE_SIZES.contains(&self.maglev_table_size) || !is_table_size(self.maglev_table_size) {
            return Err("maglevTableSize must be a prime number from 251 to 131071");
        }
        Ok(())
    }
}

/// Sizes of look-up tables that make sense: fewer positions than backends choose unevenly, more cost memory for nothing.
const TABLE_SIZES: std::ops::RangeInclusive<u32> = 251..=131_071;

impl Default for Config {
    fn default() -> Self {
        Self {
            node_name: String::new(),
            cgroup: None,
            socket: "/run/orknet/agent.sock".into(),
            state_dir: "/var/lib/orknet/cni".into(),
            http_address: None,
            proxy_health_address: None,
            resync_seconds: 30,
            mtu: None,
            routing: Routing::Direct,
            vxlan_port: 8472,
            service_cidrs: Vec::new(),
            devices: Vec::new(),
            nat_ports: None,
            node_port_range: PortRange { first: 30_000, last: 32_767 },
            masquerade: true,
            no_masquerade_cidrs: Vec::new(),
            direct_return: false,
            maglev_table_size: 16_381,
            node_port_loopback: false,
            node_port_addresses: Vec::new(),
            event_rate: 256,
            policy: Policy::Strict,
            dataplane: orknet_dataplane::Config::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_ports_are_read_as_they_are_written() {
        assert_eq!("1024-29999".parse(), Ok(PortRange { first: 1024, last: 29_999 }));
        assert_eq!(PortRange { first: 7, last: 7 }.to_string().parse(), Ok(PortRange { first: 7, last: 7 }));
        for text in ["", "-", "5", "0-5", "6-5", "1-65536", "a-b"] {
            assert!(text.parse::<PortRange>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_table_size_is_a_prime() {
        let config = |size| Config { node_name: "a".into(), maglev_table_size: size, ..Config::default() };
        for size in [251, 16_381, 65_537, 131_071] {
            assert_eq!(config(size).check(), Ok(()), "{size}");
        }
        for size in [0, 1, 2, 241, 16_384, 16_383, 131_101] {
            assert!(config(size).check().is_err(), "{size}");
        }
    }
}

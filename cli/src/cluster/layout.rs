//! Names, paths and addresses of a local cluster: all derived from its name, so that `down` finds everything without a record.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

/// The cluster that is meant when none is named.
pub const DEFAULT_NAME: &str = "local";
/// Nodes that the address plan has room for.
pub const MAX_NODES: u8 = 64;
/// How many servers a cluster may have: as many as members of etcd are of use.
pub const SERVERS: [u8; 3] = [1, 3, 5];
/// Numbers of the servers' places beside the first one begin after this: nodes have lower ones.
const SERVER_NUMBERS: u8 = 200;
/// The API server's port inside its namespace.
pub const API_PORT: u16 = 6443;
/// What lasts, of all clusters. Beside it is what daemons of a real host keep: a cluster may have any of their names.
pub const STATE_DIR: &str = "/var/lib/orknet/clusters";
/// What ends with the machine, of all clusters.
pub const RUN_DIR: &str = "/run/orknet/clusters";
/// The cgroup of all clusters, in every hierarchy.
pub const CGROUP: &str = "/orknet/clusters";
/// containerd's shims listen below this path whatever containerd's own settings say.
pub const SHIMS_DIR: &str = "/run/containerd";

/// One local cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    name: String,
}

/// A name that cannot be part of paths and interface names.
#[derive(Debug, thiserror::Error)]
#[error("a cluster's name has 1 to 12 lower-case letters, digits and '-', and begins with a letter: {0:?}")]
pub struct BadName(String);

impl Cluster {
    /// Checks the name.
    pub fn new(name: &str) -> Result<Self, BadName> {
        let plain = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        if plain && (1..=12).contains(&name.len()) && name.as_bytes()[0].is_ascii_lowercase() {
            Ok(Self { name: name.to_owned() })
        } else {
            Err(BadName(name.to_owned()))
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// What lasts: the store, keys, images, logs.
    pub fn state_dir(&self) -> PathBuf {
        PathBuf::from(STATE_DIR).join(&self.name)
    }

    /// What ends with the machine: sockets, pinned namespaces, the BPF file system.
    pub fn run_dir(&self) -> PathBuf {
        PathBuf::from(RUN_DIR).join(&self.name)
    }

    /// The record of what was asked for.
    pub fn record_path(&self) -> PathBuf {
        self.state_dir().join("cluster.json")
    }

    pub fn kubeconfig_path(&self) -> PathBuf {
        self.state_dir().join("kubeconfig")
    }

    pub fn pki_dir(&self) -> PathBuf {
        self.state_dir().join("server/pki")
    }

    /// Where the BPF file system of all nodes is mounted.
    pub fn bpf_dir(&self) -> PathBuf {
        self.run_dir().join("bpf")
    }

    /// The cluster's place below each cgroup hierarchy, with a leading slash.
    pub fn cgroup(&self) -> String {
        format!("{CGROUP}/{}", self.name)
    }

    /// The control plane's own place: a network namespace with the bridge, the server, and etcd where it is used.
    pub fn server(&self) -> Place {
        Place { cluster: self.clone(), name: "server".to_owned(), number: 0 }
    }

    /// The places of this many servers, the control plane's own first.
    pub fn servers(&self, count: u8) -> Vec<Place> {
        let others =
            (2..=count).map(|number| Place { cluster: self.clone(), name: format!("server{number}"), number: SERVER_NUMBERS + number });
        std::iter::once(self.server()).chain(others).collect()
    }

    /// The node of this number, from 1.
    pub fn node(&self, number: u8) -> Place {
        Place { cluster: self.clone(), name: format!("node{number}"), number }
    }
}

/// A member of the cluster: a network namespace, a mount namespace, a cgroup, and directories.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    cluster: Cluster,
    pub name: String,
    number: u8,
}

impl Place {
    /// Name of the network namespace, as `ip netns` shows it.
    pub fn netns(&self) -> String {
        format!("orknet-{}-{}", self.cluster.name, self.name)
    }

    pub fn state_dir(&self) -> PathBuf {
        self.cluster.state_dir().join(&self.name)
    }

    pub fn run_dir(&self) -> PathBuf {
        self.cluster.run_dir().join(&self.name)
    }

    pub fn log_path(&self, daemon: &str) -> PathBuf {
        self.cluster.state_dir().join("logs").join(format!("{}-{daemon}.log", self.name))
    }

    /// The file that a daemon of this place holds as long as it lives.
    pub fn identity_path(&self, daemon: &str) -> PathBuf {
        self.run_dir().join(format!("{daemon}.pid"))
    }

    /// The pin of its mount namespace.
    pub fn mount_ns_path(&self) -> PathBuf {
        self.cluster.run_dir().join("mounts").join(&self.name)
    }

    pub fn bpf_dir(&self) -> PathBuf {
        self.cluster.bpf_dir().join(&self.name)
    }

    /// Its place below each cgroup hierarchy: pods and daemons both live in it.
    pub fn cgroup(&self) -> String {
        format!("{}/{}", self.cluster.cgroup(), self.name)
    }

    /// Where its daemons run: a leaf, since pure cgroup2 allows processes only there.
    pub fn daemon_cgroup(&self) -> String {
        format!("{}/daemons", self.cgroup())
    }

    pub fn agent_socket(&self) -> PathBuf {
        self.run_dir().join("agent.sock")
    }

    pub fn containerd_socket(&self) -> PathBuf {
        self.run_dir().join("containerd.sock")
    }

    /// Its addresses on the cluster's bridge.
    pub fn addresses(&self) -> [IpAddr; 2] {
        let host = match self.number {
            0 => 1,
            number if number > SERVER_NUMBERS => number - SERVER_NUMBERS,
            number => 10 + number,
        };
        [Ipv4Addr::new(10, 224, 0, host).into(), Ipv6Addr::new(0xfd00, 0x10, 0x224, 0, 0, 0, 0, u16::from(host)).into()]
    }

    /// Name of the bridge's port for this node.
    pub fn bridge_port(&self) -> String {
        format!("port{}", self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_lead_elsewhere_are_refused() {
        for bad in ["", "..", "a/b", "Local", "1st", "a-name-that-is-too-long"] {
            assert!(Cluster::new(bad).is_err(), "{bad}");
        }
        assert!(Cluster::new(DEFAULT_NAME).is_ok());
    }

    #[test]
    fn every_place_has_its_own_names_and_addresses() {
        let cluster = Cluster::new("c").unwrap();
        let places: Vec<Place> = cluster.servers(5).into_iter().chain((1..=MAX_NODES).map(|number| cluster.node(number))).collect();
        let distinct = |key: fn(&Place) -> String| places.iter().map(key).collect::<std::collections::HashSet<_>>().len();
        assert_eq!(distinct(|place| place.netns()), places.len());
        assert_eq!(distinct(|place| format!("{:?}", place.addresses())), places.len());
        assert_eq!(distinct(|place| place.cgroup()), places.len());
    }
}

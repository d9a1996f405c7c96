//! The kubelet's configuration: plain values that flags or a file fill in. Leaves parsing of files and flags to the command line.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use k8s_openapi::api::core::v1::Taint;
use serde::Deserialize;

use crate::node::pressure::EvictionHard;

/// Everything one kubelet needs to know about its node. All fields have defaults except in practice `node_name` and `addresses`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Config {
    /// Name of the Node object, also the value of the label `kubernetes.io/hostname`.
    pub node_name: String,
    /// Directory for pods' volumes and logs. Made when it is missing.
    pub root_dir: PathBuf,
    /// containerd's socket (CRI v1).
    pub containerd_socket: PathBuf,
    /// CRI runtime handler for every pod; empty means containerd's default.
    pub runtime_handler: String,
    /// Mount point of the cgroup hierarchies: v1 controllers below it, or one v2 tree.
    pub cgroup_root: PathBuf,
    /// Path inside every hierarchy under which pods get their cgroup, as in `/orknet/c1/node1`.
    pub cgroup_parent: String,
    /// Addresses of the node, the primary one first. At most the first of each family becomes the pods' host address.
    pub addresses: Vec<IpAddr>,
    /// Where the HTTPS server listens.
    pub listen: SocketAddr,
    /// Files of the HTTPS server. Without them there is no server.
    pub tls: Option<ServerTls>,
    /// Ask for the server's certificate by a CertificateSigningRequest when there is none or it is due, and go on doing so.
    #[serde(rename = "serverTLSBootstrap")]
    pub server_tls_bootstrap: bool,
    /// Renew the client certificate in the kubeconfig, where it is this node's own.
    pub rotate_certificates: bool,
    /// Labels for the Node in addition to hostname, os and arch.
    pub labels: BTreeMap<String, String>,
    /// Taints the Node is registered with.
    pub taints: Vec<Taint>,
    /// Largest number of pods that the node takes.
    pub max_pods: u32,
    /// Kernel settings that pods may ask for beside the safe ones: names, or beginnings that end in `*`.
    pub allowed_unsafe_sysctls: Vec<String>,
    /// CPUs to report instead of those of the host, as a quantity.
    pub cpu_capacity: Option<String>,
    /// Memory to report instead of that of the host, as a quantity.
    pub memory_capacity: Option<String>,
    /// Name servers of pods with the policy ClusterFirst. Empty: they get the node's own.
    pub cluster_dns: Vec<IpAddr>,
    /// Domain of the cluster, as in `cluster.local`.
    pub cluster_domain: String,
    /// The node's own resolver file, the base of pods with the policy Default.
    pub resolv_conf: PathBuf,
    /// Largest number of processes in a pod; none when absent.
    pub pod_pids_limit: Option<i64>,
    /// A container's log is rotated when it is larger than this, in bytes.
    pub log_max_bytes: u64,
    /// Number of log files kept per container, the current one included.
    pub log_max_files: u32,
    /// How full the images' disk may be, in percent, before unused images go; 100 is never.
    pub image_gc_high_percent: u8,
    /// How full it may be afterwards.
    pub image_gc_low_percent: u8,
    /// What must be left of memory, disk and process ids; below it the node takes no further pods.
    pub eviction_hard: EvictionHard,
    /// Seconds until the node counts as lost when its Lease is not renewed. Renewed at a quarter of it.
    pub lease_duration_seconds: u32,
}

/// Files of the HTTPS server, PEM.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ServerTls {
    /// Certificate chain of the server to begin with. May be left out when one is asked for.
    #[serde(default)]
    pub certificate: Option<PathBuf>,
    /// Its private key.
    #[serde(default)]
    pub key: Option<PathBuf>,
    /// Certificates that sign clients.
    pub client_ca: PathBuf,
    /// Common names that may call: whoever it is can run commands in every pod of the node.
    #[serde(default = "api_server")]
    pub allowed_clients: Vec<String>,
}

impl ServerTls {
    /// Of a server whose certificate is asked for; its callers come from the CA in the file.
    pub fn asked_for(client_ca: PathBuf) -> Self {
        Self { certificate: None, key: None, client_ca, allowed_clients: api_server() }
    }
}

/// The name that `orknet server` calls itself when it calls a kubelet.
fn api_server() -> Vec<String> {
    vec!["system:kube-apiserver".to_owned()]
}

impl Default for Config {
    fn default() -> Self {
        Self {
            node_name: "node".to_owned(),
            root_dir: "/var/lib/orknet/kubelet".into(),
            containerd_socket: "/run/containerd/containerd.sock".into(),
            runtime_handler: String::new(),
            cgroup_root: "/sys/fs/cgroup".into(),
            cgroup_parent: "/orknet".to_owned(),
            addresses: Vec::new(),
            listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 10250)),
            tls: None,
            server_tls_bootstrap: false,
            rotate_certificates: true,
            labels: BTreeMap::new(),
            taints: Vec::new(),
            max_pods: 110,
            allowed_unsafe_sysctls: Vec::new(),
            cpu_capacity: None,
            memory_capacity: None,
            cluster_dns: Vec::new(),
            cluster_domain: "cluster.local".to_owned(),
            resolv_conf: "/etc/resolv.conf".into(),
            pod_pids_limit: None,
            log_max_bytes: 10 << 20,
            log_max_files: 5,
            image_gc_high_percent: 85,
            image_gc_low_percent: 80,
            eviction_hard: EvictionHard::default(),
            lease_duration_seconds: 40,
        }
    }
}

impl Config {
    /// The pods' host addresses: the first address of each family, in the order of `addresses`.
    pub fn host_ips(&self) -> Vec<IpAddr> {
        let mut ips: Vec<IpAddr> = Vec::new();
        for address in &self.addresses {
            if !ips.iter().any(|ip| ip.is_ipv4() == address.is_ipv4()) {
                ips.push(*address);
            }
        }
        ips
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_addresses_are_the_first_of_each_family() {
        let config = Config {
            addresses: ["192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2"].iter().map(|a| a.parse().unwrap()).collect(),
            ..Config::default()
        };
        assert_eq!(config.host_ips(), vec!["192.0.2.1".parse::<IpAddr>().unwrap(), "2001:db8::1".parse().unwrap()]);
    }

    #[test]
    fn an_unknown_field_is_refused() {
        assert!(serde_json::from_str::<Config>(r#"{"nodeName": "a", "nodeNam": "b"}"#).is_err());
    }
}

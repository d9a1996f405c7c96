//! The controllers' configuration.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use orknet_auth::kubeconfig::cluster_info;
use orknet_auth::tokens::TokenIssuer;
use serde::Deserialize;

use crate::certificates::Signing;

/// Plain settings of all controllers; a file or flags may fill them.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Config {
    /// The certificate authority of the API server, PEM; published as `kube-root-ca.crt` in every namespace. Empty: not published.
    pub root_ca_pem: String,
    /// By whom approved certificate requests are signed. Absent: by nobody here.
    #[serde(skip)]
    pub signing: Option<Signing>,
    /// By which the tokens of Secrets are signed. Absent: such Secrets are left as they are.
    #[serde(skip)]
    pub token_issuer: Option<Arc<TokenIssuer>>,
    /// Whether a node's request for a serving certificate is approved by itself if its names and addresses are the node's own.
    pub approve_kubelet_serving: bool,
    /// Names and addresses in the API server's certificate: no node gets one for them by itself.
    #[serde(skip)]
    pub server_names: Vec<String>,
    /// The API server's URL as nodes see it; published with the authority's certificate as `kube-public/cluster-info`. Empty: not published.
    pub api_server: String,
    /// Ranges from which each node gets a pod range: at most one per family. Empty: nodes get none.
    pub pod_cidrs: Vec<IpNet>,
    /// Prefix length of a node's IPv4 pod range.
    pub node_mask_v4: u8,
    /// Prefix length of a node's IPv6 pod range.
    pub node_mask_v6: u8,
    /// Seconds without a sign of life after which a node's conditions become Unknown.
    pub node_monitor_grace_seconds: u32,
    /// Seconds between two looks at a HorizontalPodAutoscaler.
    pub autoscaler_sync_seconds: u32,
    /// How many ended pods are kept before the oldest are deleted. 0: all are kept.
    pub terminated_pod_limit: usize,
}

impl Default for Config {
    fn default() -> Self {
        let v4 = IpNet::new_assert(IpAddr::from([10, 244, 0, 0]), 16);
        let v6 = IpNet::new_assert(IpAddr::from([0xfd00, 0x10, 0x244, 0, 0, 0, 0, 0]), 56);
        Self {
            root_ca_pem: String::new(),
            signing: None,
            token_issuer: None,
            approve_kubelet_serving: true,
            server_names: Vec::new(),
            api_server: String::new(),
            pod_cidrs: vec![v4, v6],
            node_mask_v4: 24,
            node_mask_v6: 64,
            node_monitor_grace_seconds: 50,
            autoscaler_sync_seconds: 15,
            terminated_pod_limit: 12_500,
        }
    }
}

impl Config {
    /// The node prefix length that goes with a range.
    pub fn node_mask(&self, range: &IpNet) -> u8 {
        if range.addr().is_ipv4() { self.node_mask_v4 } else { self.node_mask_v6 }
    }

    /// What clients know API servers by: what its certificate is for, and where nodes find it.
    pub(crate) fn all_server_names(&self) -> Vec<String> {
        let authority = self.api_server.split_once("://").map_or("", |(_, rest)| rest.split(['/', '?', '#']).next().unwrap_or_default());
        let host = match authority.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or_default(),
            None => authority.split(':').next().unwrap_or_default(),
        };
        let host = Some(host.to_owned()).filter(|host| !host.is_empty());
        self.server_names.iter().cloned().chain(host).collect()
    }

    /// What who joins must know of the cluster: a kubeconfig without credentials.
    pub(crate) fn cluster_info(&self) -> Option<String> {
        let is_known = !self.root_ca_pem.is_empty() && !self.api_server.is_empty();
        is_known.then(|| cluster_info(&self.api_server, &self.root_ca_pem))
    }

    pub(crate) fn check(&self) -> Result<(), String> {
        for range in &self.pod_cidrs {
            let mask = self.node_mask(range);
            if mask < range.prefix_len() || mask > range.max_prefix_len() || mask - range.prefix_len() > 16 {
                return Err(format!("pod range {range} can't be cut into /{mask} node ranges"));
            }
        }
        match self.pod_cidrs.as_slice() {
            [first, second] if first.addr().is_ipv4() == second.addr().is_ipv4() => Err("two pod ranges of one family".into()),
            [_, _, _, ..] => Err("more than two pod ranges".into()),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_known_by_their_certificate_and_by_their_url() {
        for (url, host) in [
            ("https://api.example.com:6443", Some("api.example.com")),
            ("https://192.0.2.1/", Some("192.0.2.1")),
            ("https://[2001:db8::1]:6443", Some("2001:db8::1")),
            ("", None),
        ] {
            let config = Config { api_server: url.into(), server_names: vec!["a".into()], ..Config::default() };
            let expected: Vec<&str> = ["a"].into_iter().chain(host).collect();
            assert_eq!(config.all_server_names(), expected, "{url}");
        }
    }

    #[test]
    fn impossible_ranges_are_refused() {
        assert_eq!(Config::default().check(), Ok(()));
        assert!(Config { node_mask_v4: 8, ..Config::default() }.check().is_err());
        assert!(Config { node_mask_v4: 33, ..Config::default() }.check().is_err());
        let twice = Config::default().pod_cidrs[0];
        assert!(Config { pod_cidrs: vec![twice, twice], ..Config::default() }.check().is_err());
    }
}

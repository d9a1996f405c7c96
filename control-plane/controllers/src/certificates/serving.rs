//! Whether a kubelet's request for a serving certificate is approved without anybody's doing. Kubernetes leaves it to people: every pod trusts the
//! authority that signs, so who gets a certificate for an address that is not his can pass for whoever is there. Here it is approved if its names
//! and addresses are those of the Node that asks, as the API server knows it, and can be nobody else's as far as the cluster knows.
//!
//! What that leaves open: a node writes its own addresses, so it can get a certificate for an address of which the cluster knows nothing. Pure.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use k8s_openapi::api::core::v1::{Endpoints, Node, Service};
use orknet_resources::kinds::certificate_signing_request::request::Request;

pub(super) const MESSAGE: &str = "Auto approving kubelet serving certificate: its names and addresses are those of its node.";

/// What the cluster knows of addresses.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Of the node that asks: nothing if there is no such Node.
    own: BTreeSet<IpAddr>,
    /// Of other nodes, Services, API servers.
    taken: BTreeSet<IpAddr>,
    /// Of pods and Services.
    ranges: Vec<IpNet>,
    /// `name` and `name.namespace` of Services.
    services: BTreeSet<String>,
    /// Names by which API servers, load balancers of Services and what `ExternalName` Services lead to are known.
    elsewhere: BTreeSet<String>,
}

impl Known {
    /// `servers`: the addresses of `default/kubernetes`. `ranges`: those of which nodes get their pods', and those of Services.
    pub(super) fn new(node: &str, nodes: &[Node], services: &[Service], servers: Option<&Endpoints>, ranges: Vec<IpNet>) -> Self {
        let mut known = Self { ranges, ..Self::default() };
        for found in nodes {
            let listed = found.status.iter().flat_map(|status| status.addresses.iter().flatten());
            let addresses = listed.filter_map(|address| address.address.parse::<IpAddr>().ok());
            if found.metadata.name.as_deref() == Some(node) {
                known.own.extend(addresses);
            } else {
                known.taken.extend(addresses);
            }
            let spec = found.spec.iter();
            known.ranges.extend(spec.flat_map(|spec| spec.pod_cidrs.iter().flatten()).filter_map(|range| range.parse::<IpNet>().ok()));
        }
        for service in services {
            let meta = &service.metadata;
            if let Some((name, namespace)) = meta.name.as_deref().zip(meta.namespace.as_deref()) {
                known.services.extend([name.to_owned(), format!("{name}.{namespace}")]);
            }
            let spec = service.spec.iter();
            let own = spec.flat_map(|spec| spec.cluster_ips.iter().flatten().chain(spec.external_ips.iter().flatten()));
            let balancers = service.status.iter().filter_map(|status| status.load_balancer.as_ref());
            let outside: Vec<_> = balancers.flat_map(|status| status.ingress.iter().flatten()).collect();
            let ips = own.chain(outside.iter().filter_map(|ingress| ingress.ip.as_ref()));
            known.taken.extend(ips.filter_map(|text| text.parse::<IpAddr>().ok()));
            let external = service.spec.iter().filter_map(|spec| spec.external_name.as_ref());
            let names = external.chain(outside.iter().filter_map(|ingress| ingress.hostname.as_ref()));
            known.elsewhere.extend(names.map(|name| name.trim_end_matches('.').to_lowercase()));
        }
        let subsets = servers.iter().flat_map(|endpoints| endpoints.subsets.iter().flatten());
        let listed = subsets.flat_map(|subset| subset.addresses.iter().flatten().chain(subset.not_ready_addresses.iter().flatten()));
        known.taken.extend(listed.filter_map(|address| address.ip.parse::<IpAddr>().ok()));
        known
    }

    /// The same, and what clients know an API server by as well: names and addresses.
    pub(super) fn with_server_names<'a>(mut self, names: impl IntoIterator<Item = &'a str>) -> Self {
        for name in names {
            match name.parse::<IpAddr>() {
                Ok(ip) => self.taken.insert(ip),
                Err(_) => self.elsewhere.insert(name.to_lowercase()),
            };
        }
        self
    }

    /// Why the request of this node is left to people; `None`: it need not be. That its form is right has been seen to.
    pub(super) fn objection(&self, node: &str, asked: &Request) -> Option<String> {
        if let Some(name) = asked.dns.iter().find(|name| *name != node) {
            return Some(format!("{name:?} is not the name of the node"));
        }
        if !asked.dns.is_empty() && self.is_services(node) {
            return Some(format!("{node:?} can be the name of something else in the cluster"));
        }
        // A name that reads as an address is one to some who check certificates.
        let named = node.parse().ok().filter(|_| !asked.dns.is_empty());
        asked.ips.iter().chain(named.as_ref()).find_map(|ip| self.objection_to(ip))
    }

    fn objection_to(&self, ip: &IpAddr) -> Option<String> {
        // An address in the guise of the other family would not be found among the others.
        let plain = ip.to_canonical();
        let is_shared = plain.is_loopback() || plain.is_unspecified() || plain.is_multicast() || plain != *ip;
        if is_shared {
            Some(format!("{ip} is no address of one node"))
        } else if !self.own.contains(ip) {
            Some(format!("{ip} is not an address of the node"))
        } else if self.taken.contains(ip) {
            Some(format!("{ip} is an address of another node, a Service or an API server as well"))
        } else if self.ranges.iter().any(|range| range.contains(ip)) {
            Some(format!("{ip} is in a range of pods or Services"))
        } else {
            None
        }
    }

    /// Whether pods could mean a Service, a pod or the API server by this name.
    fn is_services(&self, name: &str) -> bool {
        let labels: Vec<&str> = name.split('.').collect();
        let first_two = labels.iter().take(2).copied().collect::<Vec<_>>().join(".");
        ["localhost", "kubernetes"].contains(&labels.first().copied().unwrap_or_default())
            || labels.iter().any(|label| ["svc", "pod"].contains(label))
            || self.services.contains(&first_two)
            || self.services.contains(name)
            || self.elsewhere.contains(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read<T: serde::de::DeserializeOwned>(value: Value) -> T {
        serde_json::from_value(value).unwrap()
    }

    fn node(name: &str, addresses: &[&str]) -> Node {
        let addresses: Vec<Value> = addresses.iter().map(|address| json!({"type": "InternalIP", "address": address})).collect();
        read(json!({"metadata": {"name": name}, "spec": {"podCIDRs": ["10.9.0.0/24"]}, "status": {"addresses": addresses}}))
    }

    fn asked(dns: &[&str], ips: &[&str]) -> Request {
        Request {
            dns: dns.iter().map(|name| (*name).to_owned()).collect(),
            ips: ips.iter().map(|ip| ip.parse().unwrap()).collect(),
            ..Request::default()
        }
    }

    #[test]
    fn only_what_is_the_nodes_own_and_nobody_elses_is_approved() {
        let all = [
            "192.0.2.1",
            "2001:db8::1",
            "192.0.2.9",
            "10.96.0.1",
            "203.0.113.5",
            "203.0.113.6",
            "192.0.2.7",
            "10.9.0.4",
            "10.244.1.1",
            "10.96.0.200",
            "192.0.2.8",
            "n",
        ];
        let odd = ["127.0.0.1", "::1", "0.0.0.0", "224.0.0.1", "::ffff:192.0.2.1"];
        let nodes = [node("n", &[&all[..], &odd[..]].concat()), node("m", &["192.0.2.9"])];
        let services: [Service; 1] = [read(json!({"metadata": {"name": "web", "namespace": "default"},
            "spec": {"clusterIPs": ["10.96.0.1"], "externalIPs": ["203.0.113.5"]},
            "status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.6"}, {"hostname": "lb.example.com"}]}}}))];
        let servers: Endpoints = read(json!({"metadata": {}, "subsets": [{"addresses": [{"ip": "192.0.2.7"}]}]}));
        let ranges = || vec!["10.244.0.0/16".parse().unwrap(), "10.96.0.0/24".parse().unwrap()];
        let names = ["api.example.com", "192.0.2.8"];
        let known = |node: &str| Known::new(node, &nodes, &services, Some(&servers), ranges()).with_server_names(names);
        let objection = |node: &str, dns: &[&str], ips: &[&str]| known(node).objection(node, &asked(dns, ips));
        assert_eq!(objection("n", &["n"], &["192.0.2.1", "2001:db8::1"]), None);
        assert_eq!(objection("n", &[], &["192.0.2.1"]), None);
        for &ip in &all[2..11] {
            assert!(objection("n", &["n"], &["192.0.2.1", ip]).is_some(), "{ip} is somebody else's");
        }
        for ip in odd {
            assert!(objection("n", &["n"], &[ip]).is_some(), "{ip} is nobody's");
        }
        assert!(objection("n", &["n"], &["192.0.2.2"]).is_some(), "not of the node");
        assert!(objection("absent", &["absent"], &["192.0.2.1"]).is_some(), "there is no such Node");
        for dns in [&["m"][..], &["n", "m"], &["*"], &["N"], &["kubernetes"], &["kubernetes.default.svc"]] {
            assert!(objection("n", dns, &[]).is_some(), "{dns:?}");
        }
        for name in [
            "kubernetes",
            "kubernetes.default",
            "localhost",
            "web.default",
            "web",
            "api.example.com",
            "lb.example.com",
            "192.0.2.1",
            "10.96.0.1",
            "a.b.svc",
            "a.b.svc.cluster.local",
            "1-2-3-4.b.pod.cluster.local",
        ] {
            assert!(objection(name, &[name], &[]).is_some(), "{name}");
        }
        assert_eq!(objection("node1.example.com", &["node1.example.com"], &[]), None);
    }
}

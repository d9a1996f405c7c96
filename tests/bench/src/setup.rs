//! What setting up a connection through a ClusterIP costs, where there is but one Service: Orknet's hooks at the socket beside kube-proxy's
//! rules on a node.

use crate::arena::{self, Arena, from_pod};
use crate::contest::METHOD;
use crate::places::Place;
use crate::proxy_rules;
use crate::report::Section;
use crate::rival::{CLUSTER_IP, Endpoint};
use anyhow::{Context, Result};
use std::net::IpAddr;

const TESTS: [&str; 2] = ["TCP_CRR", "TCP_RR"];

/// Measures with the server on the client's node, and with it on another one.
pub fn measure() -> Result<Section> {
    Ok(Section {
        title: "Connections through a ClusterIP, beside rule sets",
        command: "cargo xtask bench services",
        method: format!(
            "{METHOD} From a pod to a ClusterIP; the rule sets are those that kube-proxy 1.33 writes ({}) for one Service, in a node of another make on the cluster's bridge, \
             and its pods are behind veth pairs as the cluster's are. Without rules: to the pod's own address.",
            proxy_rules::LEFT_OUT
        ),
        table: rows()?,
    })
}

fn rows() -> Result<Vec<Vec<String>>> {
    let mut arena = Arena::new("bc", 2)?;
    let kubectl = arena.kubectl();
    let client = Place::pod(&kubectl, "client", "node1")?;
    let mut rows = vec![arena::header(&["server", "test"])];
    for (placement, name, node, endpoint) in
        [("same node", "near", "node1", Endpoint::Near), ("another node", "far", "node2", Endpoint::Far)]
    {
        arena.serve(name, node, "")?;
        let service: IpAddr = kubectl.run(&["get", "service", name, "-o", "jsonpath={.spec.clusterIP}"])?.parse()?;
        let rivals = arena.rivals(1, endpoint)?;
        let direct = if endpoint == Endpoint::Near { rivals[0].pod() } else { rivals[0].far_pod() };
        let clients = rivals.each_ref().map(crate::rival::Rival::client);
        let [plain, nftables, iptables] = &clients;
        let ways = [
            from_pod(plain, direct.into()),
            from_pod(nftables, CLUSTER_IP.into()),
            from_pod(iptables, CLUSTER_IP.into()),
            from_pod(&client, service),
        ];
        for test in TESTS {
            let outcome = arena::contest(test, &ways).with_context(|| placement.to_owned())?;
            rows.push(arena::row(&[placement, test], test, &outcome));
        }
    }
    Ok(rows)
}

//! Through Services: what counts is the pod and its port that are reached, whichever way led there.

use crate::scene::{NODES, client, expect_all, expect_both, policy, server, without};
use anyhow::{Context, Result};
use orknet_tests::outside::node_addresses;
use orknet_tests::talk::{self, How, at};
use orknet_tests::{Cluster, Kubectl, programmed, tests};

tests![
    e2e_policy_counts_for_the_pod_and_its_port_that_a_service_leads_to,
    e2e_policy_lets_a_pod_reach_itself_through_its_service,
    e2e_policy_of_the_cluster_counts_for_a_pod_that_reaches_itself_through_its_service,
];

const DUAL: &str = "type: NodePort, ipFamilyPolicy: RequireDualStack";

/// `ADDRESS:PORT` of the Service's cluster addresses, and of its node ports with their node.
fn fronts(kubectl: &Kubectl, service: &str) -> Result<Vec<(String, Option<&'static str>)>> {
    let spec = kubectl.json(&["get", "service", service])?["spec"].take();
    let addresses: Vec<String> = serde_json::from_value(spec["clusterIPs"].clone())?;
    let node_port = spec["ports"][0]["nodePort"].as_u64().context("the Service has no node port")?.try_into()?;
    let mut fronts: Vec<_> = addresses.iter().map(|address| (at(address, 80), None)).collect();
    for node in NODES {
        fronts.extend(node_addresses(node)?.map(|address| (at(&address.to_string(), node_port), Some(node))));
    }
    Ok(fronts)
}

fn e2e_policy_counts_for_the_pod_and_its_port_that_a_service_leads_to(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    server(kubectl, "web", NODES[0])?;
    talk::serve(kubectl, "web", "web", DUAL)?;
    let mut clients = Vec::new();
    for node in NODES {
        for role in ["friend", "stranger"] {
            let name = format!("{role}-{node}");
            clients.push((name.clone(), role == "friend", node, client(kubectl, &name, node, role)?));
        }
    }
    let friends_at = |port: u16| {
        format!(
            "{{podSelector: {{matchLabels: {{app: web}}}}, ingress: [{{from: [{{podSelector: {{matchLabels: {{role: friend}}}}}}], ports: [{{port: {port}}}, {{port: {port}, protocol: UDP}}]}}]}}"
        )
    };
    let fronts = fronts(kubectl, "web")?;
    policy(kubectl, "friends", &friends_at(talk::PORT))?;
    for (name, is_friend, from, client) in &clients {
        let mut asked = Vec::new();
        for (front, node) in &fronts {
            // A node that leads to a pod elsewhere gives the client its own address.
            let is_seen = node.is_none_or(|node| node == *from || node == NODES[0]);
            asked.extend([How::Tcp, How::Udp, How::UdpConnected].map(|how| (how, front.clone(), *is_friend && is_seen)));
        }
        expect_all(client, &asked).with_context(|| name.clone())?;
    }
    // The Service's own port is nobody's.
    policy(kubectl, "friends", &friends_at(80))?;
    for (name, _, _, client) in &clients {
        expect_both(client, name, &fronts[0].0, false)?;
    }
    without(kubectl, "friends")?;
    // The same by what clients may ask for.
    let out = format!(
        "{{podSelector: {{matchLabels: {{role: stranger}}}}, policyTypes: [Egress], egress: [{{to: [{{podSelector: {{matchLabels: {{app: web}}}}}}], ports: [{{port: {}}}]}}]}}",
        talk::PORT
    );
    policy(kubectl, "out", &out)?;
    for (name, is_friend, from, client) in &clients {
        // Another node's port is that node's address to whom it goes out.
        let mut asked = Vec::new();
        for (front, _) in fronts.iter().filter(|(_, node)| node.is_none_or(|node| node == *from)) {
            asked.extend([(How::Tcp, front.clone(), true), (How::Udp, front.clone(), *is_friend)]);
        }
        expect_all(client, &asked).with_context(|| name.clone())?;
    }
    Ok(())
}

fn e2e_policy_lets_a_pod_reach_itself_through_its_service(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    server(kubectl, "itself", NODES[0])?;
    talk::serve(kubectl, "itself", "itself", DUAL)?;
    policy(kubectl, "deny", "{podSelector: {}, policyTypes: [Ingress, Egress]}")?;
    let client = talk::Client::of(kubectl, "itself");
    for (front, _) in &fronts(kubectl, "itself")?[..2] {
        expect_both(&client, "itself", front, true)?;
    }
    for address in crate::scene::addresses(kubectl, "itself")? {
        expect_both(&client, "itself, by its address", &at(&address, talk::PORT), true)?;
    }
    Ok(())
}

fn e2e_policy_of_the_cluster_counts_for_a_pod_that_reaches_itself_through_its_service(cluster: &Cluster, kubectl: &Kubectl) -> Result<()> {
    server(kubectl, "itself", NODES[1])?;
    talk::serve(kubectl, "itself", "itself", DUAL)?;
    let client = talk::Client::of(kubectl, "itself");
    let namespace = kubectl.namespace();
    programmed::apply(
        &cluster.kubectl(),
        &format!(
            "apiVersion: policy.networking.k8s.io/v1alpha2\nkind: ClusterNetworkPolicy\nmetadata: {{name: not-itself}}\nspec: {{tier: Admin, priority: 5, subject: {{namespaces: {{matchLabels: {{kubernetes.io/metadata.name: {namespace}}}}}}}, ingress: [{{action: Deny, from: [{{namespaces: {{}}}}]}}]}}\n"
        ),
    )?;
    let refused = fronts(kubectl, "itself")?[..2].iter().try_for_each(|(front, _)| expect_both(&client, "itself", front, false));
    let by_address = crate::scene::addresses(kubectl, "itself")?;
    let reached = by_address.iter().try_for_each(|address| expect_both(&client, "by its address", &at(address, talk::PORT), true));
    cluster.kubectl().run(&["delete", "clusternetworkpolicy", "not-itself"])?;
    programmed::settle(kubectl)?;
    refused.and(reached)
}

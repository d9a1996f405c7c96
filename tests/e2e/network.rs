//! Do pods, nodes and the control plane reach each other by address?

use anyhow::{Context, Result, bail, ensure};
use orknet_tests::talk::{self, Client, How, at};
use orknet_tests::{Cluster, Kubectl, eventually, tests};
use std::collections::BTreeSet;
use std::process::Command;

tests![
    e2e_pods_reach_each_other_by_address,
    e2e_a_pod_reaches_itself_through_its_own_service,
    e2e_a_node_reaches_pods_and_services,
    e2e_pods_reach_the_api_server,
    e2e_a_cluster_address_that_is_nobodys_leads_nowhere,
    e2e_pods_on_the_nodes_network_use_services_and_serve_them,
];

/// A pod's addresses: IPv4 first.
fn addresses(kubectl: &Kubectl, pod: &str) -> Result<Vec<String>> {
    let status = kubectl.json(&["get", "pod", pod])?["status"]["podIPs"].clone();
    let found = status.as_array().context("the pod has no addresses")?.iter().filter_map(|item| item["ip"].as_str().map(str::to_owned));
    let mut found: Vec<String> = found.collect();
    found.sort_by_key(|address| address.contains(':'));
    ensure!(found.len() == 2, "{pod} has {found:?}, expected one address of each family");
    Ok(found)
}

fn e2e_pods_reach_each_other_by_address(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let pods = ["a1", "b1", "c2"];
    for (pod, node) in pods.iter().zip(["node1", "node1", "node2"]) {
        talk::pod(kubectl, pod, &format!("nodeName: {node}"))?;
    }
    pods.iter().try_for_each(|pod| talk::wait_ready(kubectl, pod))?;
    for from in pods {
        let client = Client::of(kubectl, from);
        let own = addresses(kubectl, from)?;
        for to in pods {
            for (address, own) in addresses(kubectl, to)?.iter().zip(&own) {
                for how in [How::Tcp, How::Udp, How::UdpConnected] {
                    let attempt = client.attempt(how, &at(address, talk::PORT))?;
                    let answer = attempt.answer().with_context(|| format!("{from} to {to} at {address} over {how:?}"))?;
                    // No translation on the way: the server sees the pod itself.
                    ensure!(answer == (to, own.as_str()), "{from} ({own}) to {to}: {answer:?}");
                }
                client.run(&["ping", "-c", "1", "-W", "2", address]).with_context(|| format!("{from} pings {to}"))?;
            }
        }
    }
    Ok(())
}

fn e2e_a_pod_reaches_itself_through_its_own_service(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    talk::pod(kubectl, "mirror", "")?;
    talk::serve(kubectl, "mirror", "mirror", "ipFamilyPolicy: RequireDualStack")?;
    talk::wait_ready(kubectl, "mirror")?;
    let service = kubectl.json(&["get", "service", "mirror"])?;
    let clusters: Vec<String> = serde_json::from_value(service["spec"]["clusterIPs"].clone())?;
    let client = Client::of(kubectl, "mirror");
    let own = addresses(kubectl, "mirror")?;
    ensure!(clusters.len() == 2, "{clusters:?}");
    for cluster in &clusters {
        let own = own.iter().find(|own| own.contains(':') == cluster.contains(':')).context("no address of the family")?;
        for how in [How::Tcp, How::Udp, How::UdpConnected] {
            // The source is the pod's own address, as if it had connected to itself.
            eventually("the pod to reach itself", || {
                let attempt = client.attempt(how, &at(cluster, 80))?;
                ensure!(attempt.answer()? == ("mirror", own.as_str()), "{how:?} by {cluster}: {attempt:?}");
                Ok(())
            })?;
        }
    }
    Ok(())
}

fn e2e_a_node_reaches_pods_and_services(cluster: &Cluster, kubectl: &Kubectl) -> Result<()> {
    for (pod, node) in [("one", "node1"), ("two", "node2")] {
        talk::pod(kubectl, pod, &format!("nodeName: {node}"))?;
        kubectl.run(&["label", "pod", pod, "app=both", "--overwrite"])?;
        talk::wait_ready(kubectl, pod)?;
    }
    let service = at(&talk::serve(kubectl, "both", "both", "")?, 80);
    let ask = |node: &str, how: &str, address: &str| -> Result<talk::Answers> {
        let text = cluster.inside(node, &[env!("CARGO_BIN_EXE_nettool"), how, address, "20"])?;
        talk::Answers::parse(&text)
    };
    let both = BTreeSet::from(["one".to_owned(), "two".to_owned()]);
    for node in ["node1", "node2"] {
        for how in ["ask-tcp", "ask-udp", "ask-udp-connected"] {
            eventually("the Service to be known", || ask(node, how, &service)?.are_from(&both))
                .with_context(|| format!("{how} on {node}"))?;
            for pod in &both {
                for address in addresses(kubectl, pod)? {
                    ask(node, how, &at(&address, talk::PORT))?.are_from(&BTreeSet::from([pod.clone()]))?;
                }
            }
        }
    }
    Ok(())
}

/// The real kubectl in a pod: it finds the API server through the `kubernetes` Service, checks its certificate, and shows the token.
fn e2e_pods_reach_the_api_server(cluster: &Cluster, kubectl: &Kubectl) -> Result<()> {
    const IMAGE: &str = "registry.orknet.local/kubectl:1";
    let program = orknet_tests::cluster::run(Command::new("sh").args(["-c", "readlink -f $(command -v kubectl)"]))?;
    let program = program.trim();
    cluster.orknet(&["add-image", IMAGE, program])?;
    kubectl.run(&["run", "client", "--image", IMAGE, "--restart=Never", "--grace-period=1", "--", "sleep", "3600"])?;
    talk::wait_ready(kubectl, "client")?;
    let client = Client::of(kubectl, "client");
    let name = program.rsplit('/').next().context("kubectl has no name")?;
    let inside = |arguments: &[&str]| client.run(&[&[name], arguments].concat());
    let environment = client.run(&["env"])?;
    ensure!(environment.lines().any(|line| line == "KUBERNETES_SERVICE_HOST=10.96.0.1"), "{environment}");
    let version = inside(&["version"])?;
    ensure!(version.contains("Server Version: v1.33"), "{version}");
    let user = inside(&["auth", "whoami", "-o", "jsonpath={.status.userInfo.username}"])?;
    ensure!(user == format!("system:serviceaccount:{}:default", kubectl.namespace()), "{user}");
    let Err(refused) = inside(&["get", "secrets", "-A"]) else { bail!("a pod's default account reads all Secrets") };
    ensure!(format!("{refused:#}").contains("Forbidden"), "{refused:#}");
    Ok(())
}

/// Kubernetes asks for a drop; at a socket that is an error at once, and nothing is sent. What no socket hook sees is dropped on its
/// way out of the pod.
fn e2e_a_cluster_address_that_is_nobodys_leads_nowhere(cluster: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let client = Client::on_node(kubectl, "client", "node1")?;
    let drops = || -> Result<(u64, u64)> {
        let rows: Vec<serde_json::Value> = serde_json::from_str(&cluster.orknet(&["maps", "--node", "node1", "-o", "json"])?)?;
        let row = rows.iter().find(|row| row["reason"] == "no-such-service").context("the reason is not shown")?;
        Ok((row["drops"]["packets"].as_u64().unwrap_or(0), row["drops"]["bytes"].as_u64().unwrap_or(0)))
    };
    let (calls, bytes) = drops()?;
    for address in ["10.96.255.254", "fd00:10:96::fffe"] {
        for how in [How::Tcp, How::Udp, How::UdpConnected] {
            client.is_refused(how, &at(address, 80), "PermissionDenied")?;
        }
    }
    ensure!(drops()?.0 >= calls + 6, "six refused calls are not counted: {calls}, {:?}", drops()?);
    let ping = client.run(&["ping", "-c", "1", "-W", "1", "10.96.255.254"]);
    ensure!(ping.is_err() && drops()?.1 > bytes, "the dropped ping is not counted: {:?}", drops()?);
    Ok(())
}

/// Pods on the node's own network are clients of Services and endpoints of them like any other.
fn e2e_pods_on_the_nodes_network_use_services_and_serve_them(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    talk::pod(kubectl, "host", "nodeName: node1, hostNetwork: true")?;
    talk::pod(kubectl, "plain", "nodeName: node2")?;
    ["host", "plain"].iter().try_for_each(|pod| talk::wait_ready(kubectl, pod))?;
    let host = Client::of(kubectl, "host");
    let of_node = host.run(&["cat", "/proc/sys/kernel/hostname"])?.trim().to_owned();
    let to_host = at(&talk::serve(kubectl, "host", "host", "")?, 80);
    let to_plain = at(&talk::serve(kubectl, "plain", "plain", "")?, 80);
    let near = Client::on_node(kubectl, "near", "node1")?;
    for (client, service, server) in [
        (&near, &to_host, of_node.as_str()),
        (&Client::of(kubectl, "plain"), &to_host, &of_node),
        (&host, &to_host, &of_node),
        (&host, &to_plain, "plain"),
    ] {
        for how in [How::Tcp, How::Udp, How::UdpConnected] {
            let server = BTreeSet::from([server.to_owned()]);
            eventually("the Service to answer", || client.ask(how, service, 3)?.are_from(&server))?;
        }
    }
    Ok(())
}

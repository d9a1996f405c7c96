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
            eventually("the pod to reach itself", 10, || {
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
            eventually("the Service to be known", 10, || ask(node, how, &service)?.are_from(&both))
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

fn e2e_a_cluster_address_that_is_nobodys_leads_nowhere(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let client = Client::start(kubectl, "client")?;
    for address in ["10.96.255.254", "fd00:10:96::ff:fffe"] {
        // Answered by the node, where the packet would have left it without a Service to take it. The kernel may pass over an answer
        // that comes while connect(2) is still at work; that to the second attempt, a second later, it heeds.
        let attempt = client.attempt(How::Tcp, &at(address, 80))?;
        let talk::Outcome::Error(kind) = &attempt.outcome else { bail!("{address}: {attempt:?}") };
        ensure!(kind.ends_with("Unreachable"), "{address}: {attempt:?}");
        // Linux keeps "host unreachable" from UDP sockets, because it may pass: they wait.
        ensure!(client.attempt(How::Udp, &at(address, 80))?.answer().is_err(), "somebody answers at {address}");
    }
    Ok(())
}

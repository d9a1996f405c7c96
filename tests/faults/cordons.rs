//! Do NoSchedule taints, cordons and drains keep pods away from a node, and say so? In a cluster of its own: a node is every pod's affair.

use anyhow::{Context, Result, ensure};
use orknet_tests::pods::{self, condition, shell, with};
use orknet_tests::{Cluster, Kubectl, eventually, faults, talk};
use serde_json::{Value, json};

faults![root_cordons_taints_and_drains_keep_pods_away];

fn root_cordons_taints_and_drains_keep_pods_away() -> Result<()> {
    let cluster = Cluster::up("tc", &["--nodes", "2", "--bare"])?;
    let kubectl = cluster.kubectl();
    tainted(&kubectl).and_then(|()| cordoned(&kubectl)).and_then(|()| drained(&kubectl)).map_err(|error| cluster.explain(error))
}

/// A pod that only node1 can take.
fn on_node1(more: Value) -> Value {
    let sleeper = shell("main", "exec sleep 3600");
    with(json!({"nodeSelector": {"kubernetes.io/hostname": "node1"}, "containers": [sleeper]}), more)
}

/// Waits until the pod is found to have no place; the message.
fn unschedulable(kubectl: &Kubectl, name: &str) -> Result<String> {
    let pod = pods::when(kubectl, name, "the verdict", |pod| condition(pod, "PodScheduled")["reason"] == "Unschedulable")?;
    condition(&pod, "PodScheduled")["message"].as_str().map(str::to_owned).context("there is no message")
}

fn tainted(kubectl: &Kubectl) -> Result<()> {
    pods::start(kubectl, "resident", on_node1(json!({})))?;
    kubectl.run(&["taint", "node", "node1", "only=us:NoSchedule"])?;
    pods::create(kubectl, "stranger", on_node1(json!({})))?;
    let message = unschedulable(kubectl, "stranger")?;
    ensure!(message.contains("1 node(s) had untolerated taint {only: us}"), "{message}");
    ensure!(message.contains("1 node(s) didn't match Pod's node affinity/selector"), "{message}");
    let tolerations = json!({"tolerations": [{"key": "only", "operator": "Equal", "value": "us", "effect": "NoSchedule"}]});
    pods::start(kubectl, "tolerant", on_node1(tolerations))?;
    ensure!(condition(&kubectl.json(&["get", "pod", "resident"])?, "Ready")["status"] == "True", "who is there stays");
    kubectl.run(&["taint", "node", "node1", "only-"])?;
    pods::ready(kubectl, "stranger")
}

fn cordoned(kubectl: &Kubectl) -> Result<()> {
    kubectl.run(&["cordon", "node1"])?;
    ensure!(kubectl.run(&["get", "node", "node1", "--no-headers"])?.contains("Ready,SchedulingDisabled"));
    pods::create(kubectl, "later", on_node1(json!({})))?;
    let message = unschedulable(kubectl, "later")?;
    ensure!(message.contains("1 node(s) were unschedulable"), "{message}");
    kubectl.run(&["uncordon", "node1"])?;
    pods::ready(kubectl, "later")
}

fn drained(kubectl: &Kubectl) -> Result<()> {
    kubectl.run(&[
        "create",
        "deployment",
        "web",
        "--image",
        pods::BUSYBOX,
        "--replicas=4",
        "--",
        "sh",
        "-c",
        "trap 'exit 0' TERM; sleep 3600 & wait",
    ])?;
    kubectl.run(&["rollout", "status", "deployment", "web", "--timeout=180s"])?;
    let refused = kubectl.fails(&["drain", "node1"], None)?;
    ensure!(refused.contains("cannot delete Pods that declare no controller"), "{refused}");
    kubectl.run(&["drain", "node1", "--force", "--timeout=180s"])?;
    eventually("all replicas to be on the other node", || {
        let nodes = kubectl.run(&["get", "pods", "-l", "app=web", "-o", "jsonpath={.items[*].spec.nodeName}"])?;
        ensure!(nodes == "node2 node2 node2 node2", "{nodes}");
        Ok(())
    })?;
    kubectl.run(&["rollout", "status", "deployment", "web", "--timeout=180s"])?;
    ensure!(talk::live_pods(kubectl, "web")?.len() == 4);
    let left = kubectl.run(&["get", "pods", "--field-selector", "spec.nodeName=node1", "-o", "name"])?;
    ensure!(left.is_empty(), "{left}");
    Ok(())
}

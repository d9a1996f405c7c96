//! Who leaves a node that gets a taint, of somebody or because it is not heard of, and who stays or comes back? In a cluster of its own: a
//! taint is every pod's affair.

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use orknet_tests::pods::{self, shell};
use orknet_tests::{Cluster, Kubectl, eventually, faults};
use serde_json::{Value, json};
use std::collections::BTreeSet;

faults![root_a_no_execute_taint_moves_what_does_not_tolerate_it, root_pods_leave_a_node_that_is_lost_and_it_is_taken_back];

const TAINT: &str = "example.com/repair";

fn root_a_no_execute_taint_moves_what_does_not_tolerate_it() -> Result<()> {
    let cluster = Cluster::up("tt", &["--nodes", "2", "--bare"])?;
    judge(&cluster.kubectl()).map_err(|error| cluster.explain(error))
}

fn judge(kubectl: &Kubectl) -> Result<()> {
    let tolerates = |more: Value| {
        let mut toleration = json!({"key": TAINT, "operator": "Exists", "effect": "NoExecute"});
        toleration.as_object_mut().into_iter().for_each(|fields| fields.extend(more.as_object().cloned().unwrap_or_default()));
        json!([toleration])
    };
    let both: &[&str] = &["node1", "node2"];
    kubectl.apply(&workload("DaemonSet", "daemon", json!([]), None))?;
    kubectl.apply(&workload("DaemonSet", "hardy", tolerates(json!({})), None))?;
    kubectl.apply(&workload("Deployment", "web", json!([]), Some(2)))?;
    for (name, nodes) in [("daemon", both), ("hardy", both), ("web", both)] {
        stand_on(kubectl, name, nodes)?;
    }
    pods::start(
        kubectl,
        "patient",
        json!({"nodeName": "node1", "tolerations": tolerates(json!({"tolerationSeconds": 4})), "containers": [sleeper()]}),
    )?;
    // Every pod waits a while for a node that is not heard of, unless it says otherwise itself.
    let web = kubectl.json(&["get", "pods", "-l", "app=web"])?;
    let waits = |key: &str| {
        let tolerations = web["items"][0]["spec"]["tolerations"].as_array().into_iter().flatten();
        tolerations.filter(|toleration| toleration["key"] == key).any(|toleration| toleration["tolerationSeconds"] == 300)
    };
    ensure!(waits("node.kubernetes.io/not-ready") && waits("node.kubernetes.io/unreachable"), "{}", web["items"][0]["spec"]);

    kubectl.run(&["taint", "node", "node1", &format!("{TAINT}=now:NoExecute")])?;
    stand_on(kubectl, "daemon", &["node2"])?;
    stand_on(kubectl, "web", &["node2"])?;
    kubectl.run(&["wait", "pod/patient", "--for=delete", "--timeout=180s"])?;
    ensure!(pods::event(kubectl, "patient", "TaintManagerEviction")?.contains("patient"));
    stand_on(kubectl, "hardy", both)?;

    kubectl.run(&["taint", "node", "node1", &format!("{TAINT}-")])?;
    stand_on(kubectl, "daemon", both)
}

fn root_pods_leave_a_node_that_is_lost_and_it_is_taken_back() -> Result<()> {
    let cluster = Cluster::up("tl", &["--nodes", "2", "--bare"])?;
    lose(&cluster).map_err(|error| cluster.explain(error))
}

fn lose(cluster: &Cluster) -> Result<()> {
    let kubectl = &cluster.kubectl();
    let wait = |key: &str| json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 1});
    let tolerations = json!([wait("node.kubernetes.io/not-ready"), wait("node.kubernetes.io/unreachable")]);
    kubectl.apply(&workload("Deployment", "web", tolerations, Some(2)))?;
    stand_on(kubectl, "web", &["node1", "node2"])?;
    cluster.signal("node2", "kubelet", Signal::SIGKILL)?;
    node2_is(kubectl, "Unknown", &["node.kubernetes.io/unreachable:NoExecute", "node.kubernetes.io/unreachable:NoSchedule"])?;
    let gone = kubectl.json(&["get", "node", "node2"])?;
    let ready = pods::condition(&gone, "Ready");
    ensure!(ready["reason"] == "NodeStatusUnknown", "{ready}");
    eventually("both pods to be ready on node1, beside the one that nobody has seen end", || {
        let pods = kubectl.json(&["get", "pods", "-l", "app=web"])?;
        let pods = pods["items"].as_array().context("a list")?;
        let ready = pods.iter().filter(|pod| pods::condition(pod, "Ready")["status"] == "True" && pod["spec"]["nodeName"] == "node1");
        ensure!(pods.len() == 3 && ready.count() == 2, "{pods:?}");
        Ok(())
    })?;

    cluster.up_again(&["--bare"])?;
    node2_is(kubectl, "True", &[])?;
    eventually("the pod that left to be gone", || {
        let pods = kubectl.json(&["get", "pods", "-l", "app=web"])?;
        ensure!(pods["items"].as_array().is_some_and(|pods| pods.len() == 2), "{pods}");
        Ok(())
    })?;
    stand_on(kubectl, "web", &["node1"])
}

/// Waits until node2 is ready or not as given, with exactly these taints.
fn node2_is(kubectl: &Kubectl, ready: &str, taints: &[&str]) -> Result<()> {
    eventually(&format!("node2 to be ready: {ready}, with {taints:?}"), || {
        let node = kubectl.json(&["get", "node", "node2"])?;
        let text =
            |taint: &Value| format!("{}:{}", taint["key"].as_str().unwrap_or_default(), taint["effect"].as_str().unwrap_or_default());
        let found: BTreeSet<String> = node["spec"]["taints"].as_array().into_iter().flatten().map(text).collect();
        let status = &pods::condition(&node, "Ready")["status"];
        ensure!(status == ready && found.iter().eq(taints), "ready: {status}, with {found:?}");
        Ok(())
    })
}

fn sleeper() -> Value {
    shell("main", "trap 'exit 0' TERM; sleep 3600 & wait")
}

fn workload(kind: &str, name: &str, tolerations: Value, replicas: Option<u32>) -> String {
    let pod = json!({"terminationGracePeriodSeconds": 1, "tolerations": tolerations, "containers": [sleeper()]});
    let template = json!({"metadata": {"labels": {"app": name}}, "spec": pod});
    let mut spec = json!({"selector": {"matchLabels": {"app": name}}, "template": template});
    if let Some(replicas) = replicas {
        spec["replicas"] = replicas.into();
    }
    json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}).to_string()
}

/// Waits until the running pods of a workload are on exactly these nodes.
fn stand_on(kubectl: &Kubectl, name: &str, nodes: &[&str]) -> Result<()> {
    eventually(&format!("{name} to be on {nodes:?}"), || {
        let pods = kubectl.json(&["get", "pods", "-l", &format!("app={name}")])?;
        let pods = pods["items"].as_array().context("a list")?;
        let ready = |pod: &&Value| pods::condition(pod, "Ready")["status"] == "True" && pod["metadata"]["deletionTimestamp"].is_null();
        let found: BTreeSet<&str> = pods.iter().filter(ready).filter_map(|pod| pod["spec"]["nodeName"].as_str()).collect();
        ensure!(found.iter().eq(nodes), "it is on {found:?}");
        Ok(())
    })
}

//! Who leaves a node that gets a taint, and who stays or comes back? In a cluster of its own: a taint is every pod's affair.

use anyhow::{Context, Result, ensure};
use orknet_tests::pods::{self, shell};
use orknet_tests::{Cluster, Kubectl, eventually, faults};
use serde_json::{Value, json};
use std::collections::BTreeSet;

faults![root_a_no_execute_taint_moves_what_does_not_tolerate_it];

const TAINT: &str = "example.com/repair";

fn root_a_no_execute_taint_moves_what_does_not_tolerate_it() -> Result<()> {
    let cluster = Cluster::up("tt", &["--nodes", "2", "--bare"])?;
    judge(&cluster.kubectl()).with_context(|| cluster.logs())
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

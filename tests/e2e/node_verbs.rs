//! Do taints, cordons and drains do what they say? On a server of its own, with nodes that are objects only: nothing else must feel it.

use anyhow::{Result, ensure};
use orknet_tests::server::Server;
use orknet_tests::{Cluster, Kubectl, eventually, tests};
use serde_json::{Value, json};

tests![e2e_taints_and_cordons_are_set_and_removed, e2e_a_drain_evicts_what_it_may];

/// A server with a node and, on it, the pods that `pods` names with what they are owned by.
fn with_node(directory: &std::path::Path, pods: &[(&str, Value)]) -> Result<(Server, Kubectl)> {
    let server = Server::start(directory)?;
    let kubectl = server.kubectl().in_namespace("default");
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "ghost"}});
    kubectl.run_with(&["create", "-f", "-"], &node.to_string())?;
    eventually("the default service account", || kubectl.run(&["get", "serviceaccount", "default"]))?;
    for (name, owner) in pods {
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}, "ownerReferences": owner},
            "spec": {"nodeName": "ghost", "terminationGracePeriodSeconds": 0, "containers": [{"name": "c", "image": "i"}]}});
        kubectl.run_with(&["create", "-f", "-"], &pod.to_string())?;
        // There is no kubelet to say so.
        let status = json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
        kubectl.run(&["patch", "pod", name, "--subresource=status", "-p", &status.to_string()])?;
    }
    Ok((server, kubectl))
}

fn e2e_taints_and_cordons_are_set_and_removed(_: &Cluster, _: &Kubectl) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let (_server, kubectl) = with_node(directory.path(), &[])?;
    let taints = || -> Result<Vec<String>> {
        let node = kubectl.json(&["get", "node", "ghost"])?;
        let taints = node["spec"]["taints"].as_array().cloned().unwrap_or_default();
        let of_user = taints.iter().filter(|taint| !taint["key"].as_str().unwrap_or_default().starts_with("node.kubernetes.io/"));
        Ok(of_user.map(|taint| format!("{}={}:{}", taint["key"], taint["value"], taint["effect"]).replace('"', "")).collect())
    };
    ensure!(kubectl.run(&["taint", "node", "ghost", "k=v:NoSchedule", "l:NoExecute"])? == "node/ghost tainted\n");
    ensure!(taints()? == ["k=v:NoSchedule", "l=null:NoExecute"] || taints()? == ["l=null:NoExecute", "k=v:NoSchedule"], "{:?}", taints()?);
    let said = kubectl.fails(&["taint", "node", "ghost", "k=w:NoSchedule"], None)?;
    ensure!(said.contains("already has k taint(s) with same effect(s) and --overwrite is false"), "{said}");
    kubectl.run(&["taint", "--overwrite", "node", "ghost", "k=w:NoSchedule"])?;
    ensure!(kubectl.run(&["taint", "node", "ghost", "k:NoSchedule-", "l-"])? == "node/ghost untainted\n");
    ensure!(taints()?.is_empty(), "{:?}", taints()?);
    let said = kubectl.fails(&["taint", "node", "ghost", "k=v:Never"], None)?;
    ensure!(said.contains("invalid taint effect: Never"), "{said}");
    ensure!(kubectl.run(&["cordon", "ghost"])? == "node/ghost cordoned\n");
    ensure!(kubectl.run(&["cordon", "ghost"])? == "node/ghost already cordoned\n");
    let shown = kubectl.run(&["get", "node", "ghost", "--no-headers"])?;
    ensure!(shown.contains("SchedulingDisabled"), "{shown}");
    ensure!(kubectl.run(&["describe", "node", "ghost"])?.contains("Unschedulable:      true"));
    ensure!(kubectl.run(&["uncordon", "ghost"])? == "node/ghost uncordoned\n");
    ensure!(!kubectl.run(&["get", "node", "ghost", "--no-headers"])?.contains("SchedulingDisabled"));
    Ok(())
}

fn e2e_a_drain_evicts_what_it_may(_: &Cluster, _: &Kubectl) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let (_server, kubectl) = with_node(directory.path(), &[("alone", json!([])), ("guarded", json!([]))])?;
    let said = kubectl.fails(&["drain", "ghost"], None)?;
    ensure!(
        said.contains("cannot delete Pods that declare no controller (use --force to override): default/alone, default/guarded"),
        "{said}"
    );
    let budget = json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "b"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "guarded"}}}});
    kubectl.run_with(&["create", "-f", "-"], &budget.to_string())?;
    let said = kubectl.fails(&["drain", "ghost", "--force", "--timeout=10s"], None)?;
    ensure!(said.contains("Cannot evict pod as it would violate the pod's disruption budget."), "{said}");
    ensure!(kubectl.run(&["get", "pods", "-o", "name"])? == "pod/guarded\n", "what no budget guards is evicted");
    kubectl.run(&["delete", "pdb", "b"])?;
    let said = kubectl.run(&["drain", "ghost", "--force", "--timeout=180s"])?;
    ensure!(said.contains("pod/guarded evicted\nnode/ghost drained\n"), "{said}");
    ensure!(kubectl.run(&["get", "pods", "-o", "name"])?.is_empty());
    Ok(())
}

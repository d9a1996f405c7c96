//! Does a pod land where it may, and is it told why when there is no such place?

use anyhow::{Context, Result, ensure};
use orknet_tests::pods::{self, condition, shell, with};
use orknet_tests::{Cluster, Kubectl, tests};
use serde_json::{Value, json};
use std::collections::BTreeSet;

tests![
    e2e_selectors_and_affinity_choose_the_node,
    e2e_pods_attract_and_repel_each_other,
    e2e_what_does_not_fit_says_why_and_fits_later,
    e2e_a_host_port_is_given_once_per_node,
    e2e_a_named_node_needs_no_scheduler,
];

fn sleeper() -> Value {
    shell("main", "exec sleep 3600")
}

fn node_of(kubectl: &Kubectl, name: &str) -> Result<String> {
    kubectl.run(&["get", "pod", name, "-o", "jsonpath={.spec.nodeName}"])
}

/// Waits until the pod is found to have no place; the message.
fn unschedulable(kubectl: &Kubectl, name: &str) -> Result<String> {
    let pod = pods::when(kubectl, name, "the verdict", |pod| condition(pod, "PodScheduled")["reason"] == "Unschedulable")?;
    ensure!(pod["status"]["phase"] == "Pending", "{}", pod["status"]);
    let message = condition(&pod, "PodScheduled")["message"].as_str().context("there is no message")?.to_owned();
    ensure!(pods::event(kubectl, name, "FailedScheduling")? == message, "the event says the same as the condition");
    Ok(message)
}

fn e2e_selectors_and_affinity_choose_the_node(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    kubectl.run(&["label", "node", "node2", "e2e-choice=second"])?;
    pods::create(kubectl, "selected", json!({"nodeSelector": {"e2e-choice": "second"}, "containers": [sleeper()]}))?;
    let term = |operator: &str| json!({"matchExpressions": [{"key": "e2e-choice", "operator": operator}]});
    let required = |operator: &str| json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term(operator)]}}}, "containers": [sleeper()]});
    pods::create(kubectl, "required", required("Exists"))?;
    pods::create(kubectl, "excluded", required("DoesNotExist"))?;
    let preferred = json!({"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "preference": term("Exists")}]}}, "containers": [sleeper()]});
    pods::create(kubectl, "preferred", preferred)?;
    for (name, node) in [("selected", "node2"), ("required", "node2"), ("excluded", "node1"), ("preferred", "node2")] {
        pods::ready(kubectl, name)?;
        ensure!(node_of(kubectl, name)? == node, "{name} is on {}", node_of(kubectl, name)?);
    }
    pods::create(kubectl, "nowhere", json!({"nodeSelector": {"e2e-choice": "third"}, "containers": [sleeper()]}))?;
    let message = unschedulable(kubectl, "nowhere")?;
    ensure!(message.starts_with("0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector."), "{message}");
    // The label makes the place.
    kubectl.run(&["label", "node", "node1", "e2e-choice=third"])?;
    pods::ready(kubectl, "nowhere")?;
    kubectl.run(&["label", "node", "node1", "node2", "e2e-choice-"])?;
    Ok(())
}

fn e2e_pods_attract_and_repel_each_other(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let rule = |kind: &str, app: &str| json!({kind: {"requiredDuringSchedulingIgnoredDuringExecution": [{"labelSelector": {"matchLabels": {"app": app}}, "topologyKey": "kubernetes.io/hostname"}]}});
    pods::start(kubectl, "anchor", json!({"containers": [sleeper()]}))?;
    pods::start(kubectl, "friend", json!({"affinity": rule("podAffinity", "anchor"), "containers": [sleeper()]}))?;
    pods::start(kubectl, "foe", json!({"affinity": rule("podAntiAffinity", "anchor"), "containers": [sleeper()]}))?;
    ensure!(node_of(kubectl, "friend")? == node_of(kubectl, "anchor")?);
    ensure!(node_of(kubectl, "foe")? != node_of(kubectl, "anchor")?);
    // Spread over both nodes.
    let constraint = json!([{"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {"matchLabels": {"spread": "yes"}}}]);
    let mut nodes = BTreeSet::new();
    for name in ["spread-1", "spread-2"] {
        let mut pod = pods::pod(name, json!({"topologySpreadConstraints": constraint, "containers": [sleeper()]}));
        pod["metadata"]["labels"]["spread"] = json!("yes");
        kubectl.apply(&pod.to_string())?;
        pods::ready(kubectl, name)?;
        nodes.insert(node_of(kubectl, name)?);
    }
    ensure!(nodes.len() == 2, "{nodes:?}");
    Ok(())
}

fn e2e_what_does_not_fit_says_why_and_fits_later(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let asks = |resources: Value| json!({"containers": [with(sleeper(), json!({"resources": {"requests": resources}}))]});
    pods::create(kubectl, "huge", asks(json!({"cpu": "4000", "memory": "1000Ti"})))?;
    let message = unschedulable(kubectl, "huge")?;
    ensure!(message.starts_with("0/2 nodes are available: 2 Insufficient cpu, 2 Insufficient memory."), "{message}");
    // Devices are asked for by limits.
    let device = json!({"resources": {"limits": {"example.com/device": "1"}}});
    pods::create(kubectl, "exotic", json!({"containers": [with(sleeper(), device)]}))?;
    let message = unschedulable(kubectl, "exotic")?;
    ensure!(message.starts_with("0/2 nodes are available: 2 Insufficient example.com/device."), "{message}");
    // The node's own word about a device makes room.
    let patch = json!({"status": {"capacity": {"example.com/device": "1"}, "allocatable": {"example.com/device": "1"}}}).to_string();
    kubectl.run(&["patch", "node", "node1", "--subresource=status", "-p", &patch])?;
    pods::ready(kubectl, "exotic")?;
    ensure!(node_of(kubectl, "exotic")? == "node1");
    let back = json!({"status": {"capacity": {"example.com/device": null}, "allocatable": {"example.com/device": null}}}).to_string();
    kubectl.run(&["patch", "node", "node1", "--subresource=status", "-p", &back]).map(drop)
}

fn e2e_a_host_port_is_given_once_per_node(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let on_port = || json!({"containers": [with(sleeper(), json!({"ports": [{"containerPort": 8080, "hostPort": 18080}]}))]});
    for name in ["one", "two"] {
        pods::create(kubectl, name, on_port())?;
        pods::ready(kubectl, name)?;
    }
    ensure!(node_of(kubectl, "one")? != node_of(kubectl, "two")?);
    pods::create(kubectl, "three", on_port())?;
    let message = unschedulable(kubectl, "three")?;
    ensure!(message.starts_with("0/2 nodes are available: 2 node(s) didn't have free ports for the requested pod ports."), "{message}");
    kubectl.run(&["delete", "pod", "one"])?;
    pods::ready(kubectl, "three")
}

fn e2e_a_named_node_needs_no_scheduler(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    pods::start(kubectl, "named", json!({"nodeName": "node2", "schedulerName": "nobody", "containers": [sleeper()]}))?;
    ensure!(node_of(kubectl, "named")? == "node2");
    pods::create(kubectl, "ignored", json!({"schedulerName": "nobody", "containers": [sleeper()]}))?;
    pods::create(kubectl, "gated", json!({"schedulingGates": [{"name": "example.com/wait"}], "containers": [sleeper()]}))?;
    pods::when(kubectl, "gated", "the gate", |pod| condition(pod, "PodScheduled")["reason"] == "SchedulingGated")?;
    ensure!(pods::row(kubectl, "gated")?.contains("SchedulingGated"));
    kubectl.run(&["patch", "pod", "gated", "--type=json", "-p", r#"[{"op":"remove","path":"/spec/schedulingGates"}]"#])?;
    pods::ready(kubectl, "gated")?;
    ensure!(node_of(kubectl, "ignored")?.is_empty(), "another scheduler's pod is left alone");
    Ok(())
}

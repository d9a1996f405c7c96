//! Decides whether a pod fits a node beside the pods that are there: what a kubelet checks for itself of what the scheduler checks
//! (operating system, amounts, node selector and affinity, host ports, NoExecute taints). Pure; the first reason counts.

use k8s_openapi::api::core::v1::{ContainerPort, Node, Pod};
use orknet_reconciler::node_match;

use super::requests::{Amounts, requests};
use crate::status::reason::Waiting;

/// Why the pod cannot run on the node beside `others`, as Kubernetes words it; none when it can.
pub fn refusal(pod: &Pod, node: &Node, allocatable: &Amounts, others: &[&Pod]) -> Option<Waiting> {
    let spec = pod.spec.as_ref()?;
    let labelled = pod.metadata.labels.as_ref().and_then(|labels| labels.get("kubernetes.io/os"));
    if labelled.is_some_and(|os| os != "linux") {
        let message = "Failed to admit pod as the `kubernetes.io/os` label doesn't match node label";
        return Some(Waiting::new("PodOSSelectorNodeLabelDoesNotMatch", message));
    }
    if spec.os.as_ref().is_some_and(|os| os.name != "linux") {
        return Some(Waiting::new("PodOSNotSupported", "Failed to admit pod as the OS field doesn't match node OS"));
    }
    if let Some(lacking) = lacking(pod, allocatable, others) {
        return Some(lacking);
    }
    if !node_match::selects_node(spec, node) {
        return Some(predicate("NodeAffinity", "node(s) didn't match Pod's node affinity/selector"));
    }
    if others.iter().any(|other| ports_conflict(pod, other)) {
        return Some(predicate("NodePorts", "node(s) didn't have free ports for the requested pod ports"));
    }
    let taint = node_match::untolerated_taint(node_match::taints(node), node_match::tolerations(pod), &["NoExecute"]);
    taint.map(|_| predicate("TaintToleration", "node(s) had taints that the pod didn't tolerate"))
}

fn predicate(name: &str, why: &str) -> Waiting {
    Waiting::new(name, format!("Predicate {name} failed: {why}"))
}

fn lacking(pod: &Pod, allocatable: &Amounts, others: &[&Pod]) -> Option<Waiting> {
    let there = |name: &str| allocatable.get(name).copied().unwrap_or(0);
    let used = i64::try_from(others.len()).unwrap_or(i64::MAX);
    if used >= there("pods") {
        return Some(out_of("pods", 1, used, there("pods")));
    }
    let wanted = requests(pod);
    let taken: Vec<Amounts> = others.iter().map(|other| requests(other)).collect();
    let check = |name: &str| {
        let asked = wanted.get(name).copied().filter(|asked| *asked > 0)?;
        let used = taken.iter().filter_map(|taken| taken.get(name)).fold(0i64, |sum, amount| sum.saturating_add(*amount));
        (asked > there(name).saturating_sub(used)).then(|| out_of(name, asked, used, there(name)))
    };
    // A resource that nobody advertises on the node is somebody's of the cluster as a whole.
    let others = wanted.keys().filter(|name| !FIRST.contains(&name.as_str()) && (!is_extended(name) || allocatable.contains_key(*name)));
    FIRST.into_iter().chain(others.map(String::as_str)).find_map(check)
}

/// Checked before all others.
const FIRST: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];

fn is_extended(name: &str) -> bool {
    name.contains('/') && !name.contains("kubernetes.io/") && !name.starts_with("requests.")
}

fn out_of(name: &str, asked: i64, used: i64, capacity: i64) -> Waiting {
    let message = format!("Node didn't have enough resource: {name}, requested: {asked}, used: {used}, capacity: {capacity}");
    Waiting::new(&format!("OutOf{name}"), message)
}

fn ports_conflict(a: &Pod, b: &Pod) -> bool {
    host_ports(a).any(|a| host_ports(b).any(|b| same_port(a, b)))
}

/// Ports on the node, of main containers and sidecars.
fn host_ports(pod: &Pod) -> impl Iterator<Item = &ContainerPort> {
    let spec = pod.spec.iter();
    let sidecars = spec.clone().flat_map(|spec| spec.init_containers.iter().flatten());
    let sidecars = sidecars.filter(|container| container.restart_policy.as_deref() == Some("Always"));
    let containers = spec.flat_map(|spec| &spec.containers).chain(sidecars);
    containers.flat_map(|container| container.ports.iter().flatten()).filter(|port| port.host_port.is_some_and(|number| number > 0))
}

fn same_port(a: &ContainerPort, b: &ContainerPort) -> bool {
    let address = |port: &ContainerPort| port.host_ip.clone().filter(|ip| !ip.is_empty() && ip != "0.0.0.0");
    let protocol = |port: &ContainerPort| port.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
    // No address is every address.
    let meet = address(a).is_none() || address(b).is_none() || address(a) == address(b);
    a.host_port == b.host_port && protocol(a) == protocol(b) && meet
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod(spec: Value) -> Pod {
        let mut all = json!({"containers": [{"name": "c"}]});
        all.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        serde_json::from_value(json!({"spec": all})).unwrap()
    }

    fn asking(resources: Value) -> Pod {
        pod(json!({"containers": [{"name": "c", "resources": {"requests": resources}}]}))
    }

    fn port(port: Value) -> Pod {
        pod(json!({"containers": [{"name": "c", "ports": [port]}]}))
    }

    fn amounts() -> Amounts {
        [("cpu", 2000), ("memory", 1000), ("ephemeral-storage", 1000), ("pods", 3), ("a.b/c", 1)].map(|(n, a)| (n.to_owned(), a)).into()
    }

    fn told(pod: &Pod, node: Value, others: &[&Pod]) -> Option<(String, String)> {
        refusal(pod, &serde_json::from_value(node).unwrap(), &amounts(), others).map(|why| (why.reason, why.message))
    }

    fn reason(pod: &Pod, others: &[&Pod]) -> Option<String> {
        told(pod, json!({}), others).map(|(reason, _)| reason)
    }

    #[test]
    fn amounts_that_are_not_left_are_named_with_the_figures() {
        let one = asking(json!({"cpu": "1"}));
        assert_eq!(reason(&one, &[&one]), None, "it fits exactly");
        let message = "Node didn't have enough resource: cpu, requested: 1000, used: 1500, capacity: 2000";
        assert_eq!(told(&one, json!({}), &[&asking(json!({"cpu": "1500m"}))]), Some(("OutOfcpu".into(), message.into())));
        let none = pod(json!({}));
        let message = "Node didn't have enough resource: pods, requested: 1, used: 3, capacity: 3";
        assert_eq!(told(&none, json!({}), &[&none, &none, &none]), Some(("OutOfpods".into(), message.into())));
        assert_eq!(reason(&asking(json!({"memory": "1001"})), &[]).as_deref(), Some("OutOfmemory"));
        assert_eq!(reason(&asking(json!({"ephemeral-storage": "1001"})), &[]).as_deref(), Some("OutOfephemeral-storage"));
        assert_eq!(reason(&asking(json!({"hugepages-2Mi": "2Mi"})), &[]).as_deref(), Some("OutOfhugepages-2Mi"));
        assert_eq!(reason(&none, &[&asking(json!({"cpu": "9"}))]), None, "who asks for nothing needs nothing to be left");
    }

    #[test]
    fn extended_resources_count_where_the_node_has_them() {
        assert_eq!(reason(&asking(json!({"a.b/c": "2"})), &[]).as_deref(), Some("OutOfa.b/c"));
        assert_eq!(reason(&asking(json!({"else.where/c": "2"})), &[]), None);
    }

    #[test]
    fn the_node_must_be_one_that_the_pod_selects() {
        let picky = pod(json!({"nodeSelector": {"disk": "ssd"}}));
        assert_eq!(told(&picky, json!({"metadata": {"labels": {"disk": "ssd"}}}), &[]), None);
        let message = "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector";
        assert_eq!(told(&picky, json!({}), &[]), Some(("NodeAffinity".into(), message.into())));
        // What is lacking is told first.
        let both = pod(json!({"nodeSelector": {"a": "b"}, "overhead": {"cpu": "9"}}));
        assert_eq!(reason(&both, &[]).as_deref(), Some("OutOfcpu"));
    }

    #[test]
    fn a_host_port_has_one_owner_per_protocol_and_address() {
        let at = |more: Value| {
            let mut all = json!({"containerPort": 80, "hostPort": 8080});
            all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            port(all)
        };
        let any = at(json!({}));
        let message = "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports";
        assert_eq!(told(&any, json!({}), &[&any]), Some(("NodePorts".into(), message.into())));
        assert_eq!(reason(&any, &[&at(json!({"protocol": "UDP"}))]), None);
        assert_eq!(reason(&any, &[&at(json!({"hostIP": "192.0.2.1"}))]).as_deref(), Some("NodePorts"));
        assert_eq!(reason(&at(json!({"hostIP": "192.0.2.2"})), &[&at(json!({"hostIP": "192.0.2.1"}))]), None);
        assert_eq!(reason(&port(json!({"containerPort": 8080})), &[&any]), None);
        let init = |policy: Value| {
            pod(json!({"initContainers": [{"name": "i", "restartPolicy": policy, "ports": [{"containerPort": 80, "hostPort": 8080}]}]}))
        };
        assert_eq!(reason(&any, &[&init(json!("Always"))]).as_deref(), Some("NodePorts"));
        assert_eq!(reason(&any, &[&init(Value::Null)]), None);
    }

    #[test]
    fn only_taints_that_evict_refuse() {
        let tainted = |effect: &str| json!({"spec": {"taints": [{"key": "k", "effect": effect}]}});
        let message = "Predicate TaintToleration failed: node(s) had taints that the pod didn't tolerate";
        assert_eq!(told(&pod(json!({})), tainted("NoExecute"), &[]), Some(("TaintToleration".into(), message.into())));
        assert_eq!(told(&pod(json!({})), tainted("NoSchedule"), &[]), None);
        assert_eq!(told(&pod(json!({"tolerations": [{"operator": "Exists"}]})), tainted("NoExecute"), &[]), None);
    }

    #[test]
    fn a_pod_of_another_system_is_refused() {
        assert_eq!(reason(&pod(json!({"os": {"name": "windows"}})), &[]).as_deref(), Some("PodOSNotSupported"));
        assert_eq!(reason(&pod(json!({"os": {"name": "linux"}})), &[]), None);
        let mut labelled = pod(json!({}));
        labelled.metadata.labels = Some([("kubernetes.io/os".to_owned(), "windows".to_owned())].into());
        assert_eq!(reason(&labelled, &[]).as_deref(), Some("PodOSSelectorNodeLabelDoesNotMatch"));
    }
}

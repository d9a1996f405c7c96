//! Plans of the node lifecycle controller.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Taint};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::plan::{Observed, Plan, plan};

const GRACE: Duration = Duration::from_secs(50);

fn node(conditions: &[(&str, &str)], spec: Value) -> Node {
    let conditions: Vec<_> = conditions
        .iter()
        .map(|(type_, status)| json!({"type": type_, "status": status, "lastTransitionTime": "2020-01-01T00:00:00Z"}))
        .collect();
    serde_json::from_value(json!({"metadata": {"name": "n"}, "spec": spec, "status": {"conditions": conditions}})).unwrap()
}

fn planned(node: &Node, silent: u64, any_ready: bool) -> Plan {
    plan(&Observed { node, silent: Duration::from_secs(silent), grace: GRACE, any_ready, now: Timestamp::UNIX_EPOCH })
}

fn texts(taints: Option<&Vec<Taint>>) -> Vec<String> {
    taints.into_iter().flatten().map(|taint| format!("{}:{}", taint.key.trim_start_matches("node.kubernetes.io/"), taint.effect)).collect()
}

#[test]
fn a_healthy_node_is_left_alone_until_its_grace_ends() {
    let plan = planned(&node(&[("Ready", "True")], json!({})), 20, true);
    assert_eq!(plan, Plan { recheck: Some(Duration::from_secs(30)), ..Plan::default() });
}

#[test]
fn a_silent_node_becomes_unknown_and_unreachable() {
    let plan = planned(&node(&[("Ready", "True"), ("DiskPressure", "False"), ("NetworkUnavailable", "False")], json!({})), 50, true);
    let conditions = plan.conditions.as_ref().unwrap();
    let statuses: Vec<_> = conditions.iter().map(|condition| (condition.type_.as_str(), condition.status.as_str())).collect();
    let wanted = [
        ("Ready", "Unknown"),
        ("DiskPressure", "Unknown"),
        ("NetworkUnavailable", "False"),
        ("MemoryPressure", "Unknown"),
        ("PIDPressure", "Unknown"),
    ];
    assert_eq!(statuses, wanted);
    assert_eq!(conditions[0].message.as_deref(), Some("Kubelet stopped posting node status."));
    assert_eq!(texts(plan.taints.as_ref()), ["unreachable:NoSchedule", "unreachable:NoExecute"]);
    assert!(plan.lost && plan.became_unready && plan.recheck.is_none());
    assert!(!planned(&node(&[("Ready", "False")], json!({})), 50, true).became_unready);
}

#[test]
fn a_second_pass_changes_nothing() {
    let mut node = node(&[("Ready", "True")], json!({}));
    let first = planned(&node, 60, true);
    node.status.as_mut().unwrap().conditions = first.conditions;
    node.spec.as_mut().unwrap().taints = first.taints;
    assert_eq!(planned(&node, 60, true), Plan { lost: true, ..Plan::default() });
}

#[test]
fn taints_follow_conditions_and_spare_those_of_others() {
    let own = json!({"taints": [{"key": "dedicated", "value": "x", "effect": "NoSchedule"},
        {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute", "timeAdded": "2020-01-01T00:00:00Z"}]});
    let recovered = planned(&node(&[("Ready", "True")], own.clone()), 0, true);
    assert_eq!(texts(recovered.taints.as_ref()), ["dedicated:NoSchedule"]);
    let pressed = planned(&node(&[("Ready", "True"), ("MemoryPressure", "True")], json!({"unschedulable": true})), 0, true);
    assert_eq!(texts(pressed.taints.as_ref()), ["memory-pressure:NoSchedule", "unschedulable:NoSchedule"]);
    let failing = planned(&node(&[("Ready", "False")], json!({})), 0, true);
    assert_eq!(texts(failing.taints.as_ref()), ["not-ready:NoSchedule", "not-ready:NoExecute"]);
    assert!(!failing.lost);
}

#[test]
fn nobody_is_driven_away_when_no_node_is_ready() {
    let plan = planned(&node(&[("Ready", "Unknown")], json!({})), 60, false);
    assert_eq!(texts(plan.taints.as_ref()), ["unreachable:NoSchedule"]);
}

#[test]
fn a_node_that_has_never_reported_takes_no_pods() {
    let plan = planned(&node(&[], json!({})), 0, true);
    assert_eq!(texts(plan.taints.as_ref()), ["not-ready:NoSchedule"]);
}

//! Plans of the node lifecycle controller.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Taint};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::plan::{Observed, Plan, plan};
use super::taints::{Eviction, waits_for_eviction};

const GRACE: Duration = Duration::from_secs(50);

fn node(conditions: &[(&str, &str)], spec: Value) -> Node {
    let conditions: Vec<_> = conditions
        .iter()
        .map(|(type_, status)| json!({"type": type_, "status": status, "lastTransitionTime": "2020-01-01T00:00:00Z"}))
        .collect();
    serde_json::from_value(json!({"metadata": {"name": "n"}, "spec": spec, "status": {"conditions": conditions}})).unwrap()
}

fn planned(node: &Node, silent: u64, eviction: Eviction) -> Plan {
    plan(&Observed { node, silent: Duration::from_secs(silent), grace: GRACE, eviction, now: Timestamp::UNIX_EPOCH })
}

fn texts(taints: Option<&Vec<Taint>>) -> Vec<String> {
    taints.into_iter().flatten().map(|taint| format!("{}:{}", taint.key.trim_start_matches("node.kubernetes.io/"), taint.effect)).collect()
}

#[test]
fn a_healthy_node_is_left_alone_until_its_grace_ends() {
    let plan = planned(&node(&[("Ready", "True")], json!({})), 20, Eviction::Due);
    assert_eq!(plan, Plan { recheck: Some(Duration::from_secs(30)), ..Plan::default() });
}

#[test]
fn a_silent_node_becomes_unknown_and_unreachable() {
    let plan =
        planned(&node(&[("Ready", "True"), ("DiskPressure", "False"), ("NetworkUnavailable", "False")], json!({})), 50, Eviction::Due);
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
    assert!(!planned(&node(&[("Ready", "False")], json!({})), 50, Eviction::Due).became_unready);
}

#[test]
fn a_second_pass_changes_nothing() {
    let mut node = node(&[("Ready", "True")], json!({}));
    let first = planned(&node, 60, Eviction::Due);
    node.status.as_mut().unwrap().conditions = first.conditions;
    node.spec.as_mut().unwrap().taints = first.taints;
    assert_eq!(planned(&node, 60, Eviction::Due), Plan { lost: true, ..Plan::default() });
}

#[test]
fn taints_follow_conditions_and_spare_those_of_others() {
    let own = json!({"taints": [{"key": "dedicated", "value": "x", "effect": "NoSchedule"},
        {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute", "timeAdded": "2020-01-01T00:00:00Z"}]});
    let recovered = planned(&node(&[("Ready", "True")], own.clone()), 0, Eviction::Due);
    assert_eq!(texts(recovered.taints.as_ref()), ["dedicated:NoSchedule"]);
    let pressed = planned(&node(&[("Ready", "True"), ("MemoryPressure", "True")], json!({"unschedulable": true})), 0, Eviction::Due);
    assert_eq!(texts(pressed.taints.as_ref()), ["memory-pressure:NoSchedule", "unschedulable:NoSchedule"]);
    let failing = planned(&node(&[("Ready", "False")], json!({})), 0, Eviction::Due);
    assert_eq!(texts(failing.taints.as_ref()), ["not-ready:NoSchedule", "not-ready:NoExecute"]);
    assert!(!failing.lost);
}

#[test]
fn nobody_is_driven_away_when_no_node_is_ready() {
    let plan = planned(&node(&[("Ready", "Unknown")], json!({})), 60, Eviction::Revoked);
    assert_eq!(texts(plan.taints.as_ref()), ["unreachable:NoSchedule"]);
}

#[test]
fn a_node_that_has_never_reported_takes_no_pods() {
    let plan = planned(&node(&[], json!({})), 0, Eviction::Due);
    assert_eq!(texts(plan.taints.as_ref()), ["not-ready:NoSchedule"]);
}

#[test]
fn a_node_waits_for_its_turn_and_keeps_it() {
    let lost = |spec: Value| node(&[("Ready", "Unknown")], spec);
    let first = planned(&lost(json!({})), 60, Eviction::Held);
    assert_eq!(texts(first.taints.as_ref()), ["unreachable:NoSchedule"]);
    assert!(waits_for_eviction(&lost(json!({}))));
    // What had begun goes on under the name of the node's present state.
    let begun = json!({"taints": [{"key": "node.kubernetes.io/not-ready", "effect": "NoExecute"}]});
    assert_eq!(
        texts(planned(&lost(begun.clone()), 60, Eviction::Held).taints.as_ref()),
        ["unreachable:NoSchedule", "unreachable:NoExecute"]
    );
    assert!(!waits_for_eviction(&lost(begun.clone())));
    assert!(!waits_for_eviction(&node(&[("Ready", "True")], json!({}))) && !waits_for_eviction(&node(&[], json!({}))));
    // Back again, it is free of them at once.
    assert_eq!(texts(planned(&node(&[("Ready", "True")], begun), 0, Eviction::Held).taints.as_ref()), Vec::<String>::new());
}

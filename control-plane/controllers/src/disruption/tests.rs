//! What a budget allows.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus};
use k8s_openapi::jiff::Timestamp;
use orknet_reconciler::Selecting;
use serde_json::{Value, json};

use super::plan::{Observed, Plan, plan};

fn pod(name: &str, ready: bool, going: bool) -> Arc<Pod> {
    let stamp = going.then_some("2026-01-01T00:00:00Z");
    let pod = json!({"metadata": {"name": name, "namespace": "default", "labels": {"app": "a"}, "deletionTimestamp": stamp}, "spec": {"containers": []},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}]}});
    Arc::new(serde_json::from_value(pod).unwrap())
}

fn budget(spec: Value, status: Value) -> PodDisruptionBudget {
    let mut budget = json!({"metadata": {"name": "b", "namespace": "default", "generation": 3},
        "spec": {"selector": {"matchLabels": {"app": "a"}}}, "status": status});
    budget["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    serde_json::from_value(budget).unwrap()
}

fn now() -> Timestamp {
    "2026-01-01T12:00:00Z".parse().unwrap()
}

fn planned(budget: &PodDisruptionBudget, pods: &[Arc<Pod>], scale: i32) -> Plan {
    plan(&Observed { budget, pods, scale, now: now() })
}

fn numbers(status: &PodDisruptionBudgetStatus) -> [i32; 4] {
    [status.expected_pods, status.desired_healthy, status.current_healthy, status.disruptions_allowed]
}

#[test]
fn numbers_and_percentages_round_so_that_enough_pods_stay() {
    let pods: Vec<_> = (0..5).map(|index| pod(&format!("p{index}"), index < 4, false)).collect();
    for (spec, scale, expected) in [
        (json!({"minAvailable": 3}), 5, [5, 3, 4, 1]),
        (json!({"minAvailable": 9}), 5, [5, 9, 4, 0]),
        (json!({"minAvailable": "50%"}), 5, [5, 3, 4, 1]),
        (json!({"maxUnavailable": 2}), 5, [5, 3, 4, 1]),
        (json!({"maxUnavailable": "30%"}), 5, [5, 3, 4, 1]),
        (json!({"maxUnavailable": 7}), 5, [5, 0, 4, 4]),
        (json!({"maxUnavailable": 1}), 0, [0, 0, 4, 0]),
    ] {
        let plan = planned(&budget(spec.clone(), json!(null)), &pods, scale);
        assert_eq!(numbers(&plan.status), expected, "{spec}");
        assert_eq!(plan.status.observed_generation, Some(3));
        let condition = &plan.status.conditions.as_ref().unwrap()[0];
        assert_eq!((condition.type_.as_str(), condition.status == "True"), ("DisruptionAllowed", expected[3] > 0));
    }
}

#[test]
fn pods_that_go_or_are_about_to_are_not_healthy() {
    let status = json!({"currentHealthy": 3, "desiredHealthy": 1, "disruptionsAllowed": 0, "expectedPods": 3, "disruptedPods": {
        "b": "2026-01-01T11:59:30Z", "c": "2026-01-01T11:00:00Z", "gone": "2026-01-01T11:59:30Z"}});
    let pods = [pod("a", true, true), pod("b", true, false), pod("c", true, false)];
    let plan = planned(&budget(json!({"minAvailable": 1}), status), &pods, 3);
    // `c` was to be evicted an hour ago and is still there: that eviction failed.
    assert_eq!(numbers(&plan.status), [3, 1, 1, 0]);
    assert_eq!(plan.status.disrupted_pods.as_ref().unwrap().keys().collect::<Vec<_>>(), ["b"]);
    assert_eq!(plan.recheck.unwrap().as_secs(), 91);
}

#[test]
fn a_status_that_is_right_stays_as_it_is() {
    let pods = [pod("a", true, false), pod("b", true, false)];
    let mut budget = budget(json!({"minAvailable": 1}), json!(null));
    budget.status = Some(planned(&budget, &pods, 2).status);
    let again = plan(&Observed { budget: &budget, pods: &pods, scale: 2, now: now() + k8s_openapi::jiff::SignedDuration::from_secs(60) });
    assert_eq!(budget.status, Some(again.status));
}

#[test]
fn an_empty_selector_covers_all_and_none_covers_nothing() {
    let (mut empty, mut none) = (budget(json!({}), json!(null)), budget(json!({}), json!(null)));
    empty.spec.as_mut().unwrap().selector = Some(Default::default());
    none.spec.as_mut().unwrap().selector = None;
    let labels = pod("a", true, false).metadata.labels.clone();
    assert!(empty.selects(labels.as_ref()) && !none.selects(labels.as_ref()));
}

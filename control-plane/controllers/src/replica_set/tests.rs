//! Plans of the ReplicaSet controller from observed states.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::{Pod, ReplicationController};
use k8s_openapi::jiff::{Timestamp, ToSpan};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::plan::{Observed, Plan, plan, status};
use super::replicated::Replicated;

fn now() -> Timestamp {
    Timestamp::UNIX_EPOCH + 100_000.seconds()
}

fn replica_set(replicas: i32) -> ReplicaSet {
    serde_json::from_value(json!({
        "metadata": {"name": "web", "namespace": "default", "uid": "rs", "generation": 3},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": {"metadata": {"labels": {"app": "web"}}}},
    }))
    .unwrap()
}

fn pod(name: &str, changes: Value) -> Arc<Pod> {
    let mut value = json!({
        "metadata": {"name": name, "namespace": "default", "uid": name, "labels": {"app": "web"},
            "creationTimestamp": "1970-01-01T00:00:00Z",
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "rs", "controller": true}]},
        "spec": {"nodeName": "node", "containers": []},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "1970-01-01T00:00:00Z"}]},
    });
    merge(&mut value, changes);
    Arc::new(serde_json::from_value(value).unwrap())
}

fn merge(into: &mut Value, changes: Value) {
    match (into, changes) {
        (Value::Object(into), Value::Object(changes)) => {
            changes.into_iter().for_each(|(key, value)| merge(into.entry(key).or_insert(Value::Null), value));
        }
        (into, changes) => *into = changes,
    }
}

fn planned(replica_set: &ReplicaSet, pods: Vec<Arc<Pod>>) -> Plan {
    plan(&Observed { replica_set, pods, related: HashSet::from(["rs".to_string()]), now: now() })
}

fn deleted(plan: &Plan) -> Vec<&str> {
    plan.delete.iter().filter_map(|pod| pod.metadata.name.as_deref()).collect()
}

#[test]
fn missing_pods_are_created_in_bounded_bursts() {
    assert_eq!(planned(&replica_set(3), vec![pod("a", json!({}))]).create, 2);
    assert_eq!(planned(&replica_set(2000), vec![]).create, 500);
}

#[test]
fn ended_and_terminating_pods_are_replaced() {
    let pods = vec![
        pod("failed", json!({"status": {"phase": "Failed"}})),
        pod("going", json!({"metadata": {"deletionTimestamp": "1970-01-01T00:00:00Z"}})),
        pod("good", json!({})),
    ];
    let plan = planned(&replica_set(2), pods);
    assert_eq!((plan.create, plan.delete.len(), plan.owned.len()), (1, 0, 1));
}

#[test]
fn an_orphan_counts_before_it_is_adopted() {
    let plan = planned(&replica_set(1), vec![pod("orphan", json!({"metadata": {"ownerReferences": []}}))]);
    assert_eq!((plan.create, plan.adopt.len()), (0, 1));
}

#[test]
fn a_relabelled_pod_is_released_and_replaced() {
    let plan = planned(&replica_set(1), vec![pod("lost", json!({"metadata": {"labels": {"app": "debug"}}}))]);
    assert_eq!((plan.create, plan.release.len()), (1, 1));
}

#[test]
fn a_replica_set_in_deletion_makes_and_removes_nothing() {
    let mut set = replica_set(3);
    set.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now()));
    let plan = planned(&set, vec![pod("a", json!({}))]);
    assert_eq!((plan.create, plan.delete.len()), (0, 0));
}

#[test]
fn victims_are_chosen_in_the_documented_order() {
    let pods = vec![
        pod("crowded", json!({"spec": {"nodeName": "crowd"}})),
        pod("crowded-too", json!({"spec": {"nodeName": "crowd"}})),
        pod("cheap", json!({"metadata": {"annotations": {"controller.kubernetes.io/pod-deletion-cost": "-5"}}})),
        pod("unready", json!({"status": {"conditions": [{"type": "Ready", "status": "False"}]}})),
        pod("pending", json!({"status": {"phase": "Pending", "conditions": []}})),
        pod("unassigned", json!({"spec": {"nodeName": null}, "status": {"phase": "Pending", "conditions": []}})),
        pod("plain", json!({"spec": {"nodeName": "lonely"}})),
    ];
    assert_eq!(deleted(&planned(&replica_set(2), pods)), ["unassigned", "pending", "unready", "cheap", "crowded"]);
}

#[test]
fn availability_waits_for_min_ready_seconds_and_asks_to_be_woken() {
    let mut set = replica_set(1);
    set.spec.as_mut().unwrap().min_ready_seconds = Some(30);
    let ready_at = (now() - 10.seconds()).to_string();
    let pods = vec![pod("a", json!({"status": {"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": ready_at}]}}))];
    let plan = planned(&set, pods);
    assert_eq!(plan.recheck, Some(Duration::from_secs(20)));
    let status = status(&set, &plan.owned, None, now());
    assert_eq!((status.replicas, status.ready_replicas, status.available_replicas), (1, Some(1), None));
    assert_eq!((status.observed_generation, status.fully_labeled_replicas), (Some(3), Some(1)));
}

#[test]
fn a_failed_create_is_a_condition_until_it_succeeds() {
    let mut set = replica_set(1);
    let failed = status(&set, &[], Some(("FailedCreate", "quota".into())), now());
    let condition = &failed.conditions.as_ref().unwrap()[0];
    assert_eq!((condition.type_.as_str(), condition.reason.as_deref()), ("ReplicaFailure", Some("FailedCreate")));
    set.status = Some(failed);
    assert_eq!(status(&set, &[], None, now()).conditions, None);
}

#[test]
fn a_replication_controller_is_served_like_a_replica_set() {
    let controller: ReplicationController = serde_json::from_value(json!({
        "metadata": {"name": "web", "namespace": "default", "uid": "rs", "generation": 3},
        "spec": {"replicas": 2, "selector": {"app": "web"}, "template": {"metadata": {"labels": {"app": "web"}}}},
        "status": {"replicas": 0, "conditions": [{"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "quota"}]},
    }))
    .unwrap();
    let view = controller.view();
    let pods = vec![pod("a", json!({})), pod("stranger", json!({"metadata": {"labels": {"app": "other"}, "ownerReferences": []}}))];
    let plan = plan(&Observed { replica_set: &view, pods, related: HashSet::new(), now: now() });
    assert_eq!((plan.create, plan.adopt.len(), plan.owned.len()), (1, 0, 1));
    let failure = Some(("FailedCreate", "again".to_string()));
    let status = ReplicationController::status_of(status(&view, &plan.owned, failure, now()));
    assert_eq!((status.replicas, status.ready_replicas, status.observed_generation), (1, Some(1), Some(3)));
    assert_eq!(status.conditions.unwrap()[0].message.as_deref(), Some("quota"), "the first failure of a row stays");
}

proptest! {
    #[test]
    fn one_pass_reaches_the_wanted_number_and_never_overshoots(wanted in 0..40i32, have in 0..60usize) {
        let pods: Vec<_> = (0..have).map(|index| pod(&format!("pod-{index}"), json!({}))).collect();
        let plan = planned(&replica_set(wanted), pods);
        prop_assert!(plan.create == 0 || plan.delete.is_empty());
        prop_assert_eq!(have + plan.create - plan.delete.len(), wanted as usize);
    }
}

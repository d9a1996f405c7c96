//! When pods leave tainted nodes.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::jiff::{Timestamp, ToSpan};
use orknet_reconciler::ObjectKey;
use serde_json::{Value, json};

use super::first_seen::FirstSeen;
use super::plan::{Verdict, judge};

fn node(taints: Value) -> Node {
    serde_json::from_value(json!({"metadata": {"name": "n"}, "spec": {"taints": taints}})).unwrap()
}

fn pod(tolerations: Value) -> Pod {
    serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": {"nodeName": "n", "containers": [], "tolerations": tolerations}}))
        .unwrap()
}

fn judged(pod: &Pod, taints: Value, second: i64) -> Verdict {
    let now = Timestamp::UNIX_EPOCH + second.seconds();
    judge(pod, &node(taints), now, now)
}

fn unreachable() -> Value {
    json!([{"key": "node.kubernetes.io/unreachable", "effect": "NoExecute", "timeAdded": "1970-01-01T00:00:00Z"}])
}

#[test]
fn only_no_execute_drives_away() {
    assert_eq!(judged(&pod(json!([])), json!([{"key": "a", "effect": "NoSchedule"}]), 0), Verdict::Stays);
    assert_eq!(judged(&pod(json!([])), unreachable(), 0), Verdict::Leaves);
}

#[test]
fn toleration_seconds_count_from_the_taint() {
    let key = "node.kubernetes.io/unreachable";
    let mut limited = pod(json!([{"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}]));
    limited.status = serde_json::from_value(json!({"startTime": "1970-01-01T00:00:00Z"})).unwrap();
    assert_eq!(judged(&limited, unreachable(), 100), Verdict::LeavesIn(Duration::from_secs(200)));
    assert_eq!(judged(&limited, unreachable(), 300), Verdict::Leaves);
    assert_eq!(judged(&pod(json!([{"operator": "Exists"}])), unreachable(), 9999), Verdict::Stays);
}

#[test]
fn where_pod_or_taint_tells_no_time_the_first_sight_counts() {
    let (seen, key) = (FirstSeen::default(), ObjectKey::new("d", "p"));
    let limited = pod(json!([{"key": "a", "operator": "Exists", "tolerationSeconds": 4}]));
    let tainted = node(json!([{"key": "a", "effect": "NoExecute"}]));
    let judged = |uid: &str, second: i64| {
        let now = Timestamp::UNIX_EPOCH + second.seconds();
        judge(&limited, &tainted, seen.since(&key, Some(uid), now), now)
    };
    assert_eq!(judged("u", 10), Verdict::LeavesIn(Duration::from_secs(4)));
    assert_eq!(judged("u", 13), Verdict::LeavesIn(Duration::from_secs(1)));
    assert_eq!(judged("u", 14), Verdict::Leaves);
    assert_eq!(judged("another", 15), Verdict::LeavesIn(Duration::from_secs(4)));
    seen.forget(&key);
    assert_eq!(judged("another", 17), Verdict::LeavesIn(Duration::from_secs(4)));
}

#[test]
fn a_pod_that_came_after_the_taint_has_its_time_too() {
    let key = "node.kubernetes.io/unreachable";
    let mut late = pod(json!([{"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}]));
    late.status = serde_json::from_value(json!({"startTime": "1970-01-01T00:01:00Z"})).unwrap();
    assert_eq!(judged(&late, unreachable(), 100), Verdict::LeavesIn(Duration::from_secs(260)));
}

#[test]
fn every_taint_must_be_tolerated() {
    let taints = json!([{"key": "a", "effect": "NoExecute"}, {"key": "b", "effect": "NoExecute"}]);
    assert_eq!(judged(&pod(json!([{"key": "a", "operator": "Exists"}])), taints, 0), Verdict::Leaves);
}

#[test]
fn a_pod_that_is_going_anyway_is_left_alone() {
    let mut going = pod(json!([]));
    going.metadata.deletion_timestamp = serde_json::from_value(json!("2020-01-01T00:00:00Z")).unwrap();
    assert_eq!(judged(&going, unreachable(), 0), Verdict::Stays);
}

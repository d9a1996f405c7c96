//! When pods leave tainted nodes.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};

use super::plan::{Verdict, judge};

fn node(taints: Value) -> Node {
    serde_json::from_value(json!({"metadata": {"name": "n"}, "spec": {"taints": taints}})).unwrap()
}

fn pod(tolerations: Value) -> Pod {
    serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": {"nodeName": "n", "containers": [], "tolerations": tolerations}}))
        .unwrap()
}

fn judged(pod: &Pod, taints: Value, second: i64) -> Verdict {
    judge(pod, &node(taints), Timestamp::UNIX_EPOCH + second.seconds())
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
    let limited = pod(json!([{"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}]));
    assert_eq!(judged(&limited, unreachable(), 100), Verdict::LeavesIn(Duration::from_secs(200)));
    assert_eq!(judged(&limited, unreachable(), 300), Verdict::Leaves);
    assert_eq!(judged(&pod(json!([{"operator": "Exists"}])), unreachable(), 9999), Verdict::Stays);
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

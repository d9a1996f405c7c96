//! Which pods are garbage.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

use super::plan::{Garbage, judge, surplus};

fn pod(name: &str, node: Option<&str>, phase: &str, going: bool) -> Pod {
    let stamp = going.then_some("2020-01-01T00:00:00Z");
    let pod = json!({"metadata": {"name": name, "deletionTimestamp": stamp, "creationTimestamp": format!("2020-01-01T00:00:0{}Z", name.len())},
        "spec": {"nodeName": node, "containers": []}, "status": {"phase": phase}});
    serde_json::from_value(pod).unwrap()
}

#[test]
fn pods_without_anybody_to_end_them_are_garbage() {
    for (pod, node_exists, garbage) in [
        (pod("p", Some("n"), "Running", false), true, None),
        (pod("p", Some("n"), "Running", false), false, Some(Garbage::Stranded { ended: false })),
        (pod("p", Some("n"), "Succeeded", false), false, Some(Garbage::Stranded { ended: true })),
        (pod("p", None, "Pending", true), false, Some(Garbage::NeverPlaced)),
        (pod("p", None, "Pending", false), false, None),
        (pod("p", Some("n"), "Running", true), true, None),
    ] {
        assert_eq!(judge(&pod, node_exists), garbage, "{pod:?}");
    }
}

#[test]
fn the_oldest_ended_pods_beyond_the_limit_go() {
    let pods = || {
        vec![
            pod("aaa", None, "Succeeded", false),
            pod("a", None, "Failed", false),
            pod("aa", None, "Succeeded", false),
            pod("r", None, "Running", false),
        ]
    };
    let names = |limit| -> Vec<_> {
        let pods = pods().into_iter().map(Arc::new).collect();
        surplus(pods, limit).iter().filter_map(|pod| pod.metadata.name.clone()).collect()
    };
    assert_eq!(names(1), ["a", "aa"]);
    assert!(names(3).is_empty() && names(0).is_empty());
}

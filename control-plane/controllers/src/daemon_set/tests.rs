//! Plans of the DaemonSet controller from observed states, and their convergence.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use k8s_openapi::jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::placement::{Fit, fit, node_of, pod_for};
use super::plan::{Observed, Plan, plan, status};

fn daemon_set(strategy: Value) -> DaemonSet {
    serde_json::from_value(json!({
        "metadata": {"name": "agent", "namespace": "d", "uid": "u", "generation": 2},
        "spec": {"selector": {"matchLabels": {"app": "a"}}, "updateStrategy": strategy,
            "template": {"metadata": {"labels": {"app": "a"}}, "spec": {"nodeSelector": {"role": "worker"}, "containers": []}}},
    }))
    .unwrap()
}

fn rolling(max_unavailable: Value, max_surge: Value) -> Value {
    json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": max_unavailable, "maxSurge": max_surge}})
}

fn node(name: &str, role: &str, taints: Value) -> Arc<Node> {
    Arc::new(serde_json::from_value(json!({"metadata": {"name": name, "labels": {"role": role}}, "spec": {"taints": taints}})).unwrap())
}

fn workers(count: usize) -> Vec<Arc<Node>> {
    (0..count).map(|index| node(&format!("n{index}"), "worker", json!([]))).collect()
}

fn pod(name: &str, node: &str, hash: &str, ready: bool) -> Arc<Pod> {
    let ready = if ready { "True" } else { "False" };
    let pod = json!({
        "metadata": {"name": name, "namespace": "d", "uid": name, "labels": {"app": "a", "controller-revision-hash": hash}},
        "spec": {"nodeName": node, "containers": []},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": ready, "lastTransitionTime": "1970-01-01T00:00:00Z"}]},
    });
    Arc::new(serde_json::from_value(pod).unwrap())
}

fn observed<'a>(set: &'a DaemonSet, nodes: Vec<Arc<Node>>, pods: Vec<Arc<Pod>>) -> Observed<'a> {
    Observed { set, spec: set.spec.as_ref().unwrap(), nodes, pods, hash: "new", now: Timestamp::UNIX_EPOCH }
}

fn names(pods: &[Arc<Pod>]) -> Vec<&str> {
    pods.iter().filter_map(|pod| pod.metadata.name.as_deref()).collect()
}

#[test]
fn a_taint_keeps_new_pods_away_and_only_no_execute_ends_old_ones() {
    let set = daemon_set(rolling(json!(1), json!(0)));
    let spec = set.spec.as_ref().unwrap().template.spec.as_ref().unwrap();
    let taint = |key: &str, effect: &str| json!([{"key": key, "effect": effect}]);
    for (role, taints, wanted) in [
        ("worker", json!([]), Fit::Wanted),
        ("other", json!([]), Fit::Unwanted),
        ("worker", taint("mine", "NoSchedule"), Fit::Kept),
        ("worker", taint("mine", "NoExecute"), Fit::Unwanted),
        ("worker", taint("mine", "PreferNoSchedule"), Fit::Wanted),
        ("worker", taint("node.kubernetes.io/unreachable", "NoExecute"), Fit::Wanted),
        ("worker", taint("node.kubernetes.io/unschedulable", "NoSchedule"), Fit::Wanted),
        ("worker", taint("node.kubernetes.io/network-unavailable", "NoSchedule"), Fit::Kept),
    ] {
        assert_eq!(fit(spec, &node("n", role, taints.clone())), wanted, "{role} {taints}");
    }
}

#[test]
fn each_wanted_node_without_a_pod_gets_one_made_for_it_alone() {
    let set = daemon_set(rolling(json!(1), json!(0)));
    let mut nodes = workers(2);
    nodes.push(node("other", "control", json!([])));
    let plan = plan(&observed(&set, nodes, vec![pod("a", "n0", "new", true)]));
    assert_eq!((plan.create.as_slice(), plan.delete.len()), (["n1".to_string()].as_slice(), 0));
    let made = pod_for("d", set.spec.as_ref().unwrap(), OwnerReference::default(), "n1", "new");
    assert_eq!(node_of(&made), Some("n1"));
    assert_eq!(made.metadata.labels.as_ref().unwrap()["controller-revision-hash"], "new");
    let keys: Vec<_> =
        made.spec.as_ref().unwrap().tolerations.iter().flatten().filter_map(|toleration| toleration.key.as_deref()).collect();
    assert!(keys.contains(&"node.kubernetes.io/not-ready") && !keys.contains(&"node.kubernetes.io/network-unavailable"));
}

#[test]
fn pods_on_the_wrong_node_and_twins_go_and_failed_ones_are_named() {
    let set = daemon_set(rolling(json!(1), json!(0)));
    let mut failed = Pod::clone(&pod("failed", "n1", "new", false));
    failed.status.as_mut().unwrap().phase = Some("Failed".into());
    let mut nodes = workers(2);
    nodes.push(node("other", "control", json!([])));
    let pods = vec![pod("a", "n0", "new", true), pod("b", "n0", "new", true), pod("stray", "other", "new", true), Arc::new(failed)];
    let plan = plan(&observed(&set, nodes, pods));
    assert_eq!((names(&plan.delete), plan.create.len()), (vec!["b", "stray"], 0));
    assert_eq!(plan.failed.iter().map(|(node, _)| node.as_str()).collect::<Vec<_>>(), ["n1"]);
}

#[test]
fn an_update_stays_within_what_may_be_unavailable() {
    let old = |ready: bool| (0..4).map(|index| pod(&format!("p{index}"), &format!("n{index}"), "old", ready)).collect::<Vec<_>>();
    let deleted = |strategy: Value, pods: Vec<Arc<Pod>>| plan(&observed(&daemon_set(strategy), workers(4), pods)).delete.len();
    assert_eq!(deleted(rolling(json!(1), json!(0)), old(true)), 1);
    assert_eq!(deleted(rolling(json!("50%"), json!(0)), old(true)), 2);
    assert_eq!(deleted(json!({"type": "OnDelete"}), old(true)), 0);
    // Those that serve nobody go at once; a new one that is not ready uses up the allowance.
    assert_eq!(deleted(rolling(json!(1), json!(0)), old(false)), 4);
    let mut pods = old(true);
    pods[0] = pod("p0", "n0", "new", false);
    assert_eq!(deleted(rolling(json!(1), json!(0)), pods), 0);
}

#[test]
fn with_surge_the_new_pod_comes_before_the_old_one_goes() {
    let set = daemon_set(rolling(json!(0), json!(1)));
    let mut pods = vec![pod("a", "n0", "old", true), pod("b", "n1", "old", true)];
    let first = plan(&observed(&set, workers(2), pods.clone()));
    assert_eq!((first.create.len(), first.delete.len()), (1, 0));
    pods.push(pod("c", "n0", "new", false));
    let waiting = plan(&observed(&set, workers(2), pods.clone()));
    assert_eq!((waiting.create.len(), waiting.delete.len()), (0, 0));
    pods[2] = pod("c", "n0", "new", true);
    let ready = plan(&observed(&set, workers(2), pods));
    assert_eq!((ready.create.as_slice(), names(&ready.delete)), (["n1".to_string()].as_slice(), vec!["a"]));
}

#[test]
fn the_status_counts_nodes() {
    let set = daemon_set(rolling(json!(1), json!(0)));
    let mut nodes = workers(3);
    nodes.push(node("other", "control", json!([])));
    let pods = vec![pod("a", "n0", "new", true), pod("b", "n1", "old", false), pod("stray", "other", "new", true)];
    let status = status(&observed(&set, nodes, pods));
    let counts = (status.desired_number_scheduled, status.current_number_scheduled, status.number_misscheduled, status.number_ready);
    assert_eq!(counts, (3, 2, 1, 1));
    assert_eq!((status.number_available, status.number_unavailable, status.updated_number_scheduled), (Some(1), Some(2), Some(1)));
    assert_eq!(status.observed_generation, Some(2));
}

/// The cluster after a plan is carried out: the deleted are gone, the created run.
fn carried_out(pods: Vec<Arc<Pod>>, plan: &Plan, pass: usize) -> Vec<Arc<Pod>> {
    let gone = |pod: &Arc<Pod>| plan.delete.iter().any(|other| other.metadata.uid == pod.metadata.uid);
    let mut pods: Vec<_> = pods.into_iter().filter(|pod| !gone(pod)).collect();
    pods.extend(plan.create.iter().map(|node| pod(&format!("{node}-{pass}"), node, "new", true)));
    pods
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_state_converges_to_one_new_pod_per_wanted_node(
        roles in proptest::collection::vec(prop::bool::ANY, 1..8),
        stands in proptest::collection::vec((0..8usize, prop::bool::ANY, prop::bool::ANY), 0..16),
        surge in prop::bool::ANY,
    ) {
        let set = daemon_set(if surge { rolling(json!(0), json!(1)) } else { rolling(json!(1), json!(0)) });
        let role = |wanted: bool| if wanted { "worker" } else { "other" };
        let nodes: Vec<_> = roles.iter().enumerate().map(|(index, wanted)| node(&format!("n{index}"), role(*wanted), json!([]))).collect();
        let mut pods: Vec<_> = stands
            .iter()
            .enumerate()
            .filter(|(_, (node, ..))| *node < roles.len())
            .map(|(index, (node, new, ready))| pod(&format!("p{index}"), &format!("n{node}"), if *new { "new" } else { "old" }, *ready || *new))
            .collect();
        for pass in 0..40 {
            let plan = plan(&observed(&set, nodes.clone(), pods.clone()));
            let mut uids: Vec<_> = plan.delete.iter().map(|pod| pod.metadata.uid.clone()).collect();
            uids.sort();
            uids.dedup();
            prop_assert_eq!(uids.len(), plan.delete.len(), "no pod is deleted twice");
            pods = carried_out(pods, &plan, pass);
        }
        let mut places: Vec<_> = pods.iter().filter_map(|pod| node_of(pod)).map(str::to_owned).collect();
        places.sort();
        let wanted: Vec<_> = (0..roles.len()).filter(|index| roles[*index]).map(|index| format!("n{index}")).collect();
        prop_assert_eq!(places, wanted);
        prop_assert!(pods.iter().all(|pod| pod.metadata.labels.as_ref().unwrap()["controller-revision-hash"] == "new"));
    }
}

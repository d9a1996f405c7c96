//! Plans of the StatefulSet controller from observed states, and their convergence.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::identity::{ordinal_of, pod_for};
use super::plan::{Observed, Plan, Template, plan, status};

fn stateful_set(replicas: i32, change: Value) -> StatefulSet {
    let mut value = json!({
        "metadata": {"name": "db", "namespace": "d", "uid": "u", "generation": 1},
        "spec": {"replicas": replicas, "serviceName": "db", "selector": {"matchLabels": {"app": "a"}},
            "podManagementPolicy": "OrderedReady", "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
            "template": {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": []}}},
    });
    value["spec"].as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    serde_json::from_value(value).unwrap()
}

fn partition(from: i32) -> Value {
    json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": from}}})
}

fn pod(ordinal: i32, revision: &str, ready: bool) -> Arc<Pod> {
    let name = format!("db-{ordinal}");
    let pod = json!({
        "metadata": {"name": name, "uid": format!("{name}-{revision}"), "labels": {"app": "a", "controller-revision-hash": revision}},
        "spec": {"containers": []},
        "status": {"phase": if ready { "Running" } else { "Pending" }, "conditions":
            [{"type": "Ready", "status": if ready { "True" } else { "False" }, "lastTransitionTime": "1970-01-01T00:00:00Z"}]},
    });
    Arc::new(serde_json::from_value(pod).unwrap())
}

fn observed<'a>(set: &'a StatefulSet, pods: &[Arc<Pod>]) -> Observed<'a> {
    let spec = set.spec.as_ref().unwrap();
    Observed { set, spec, pods: pods.to_vec(), current: "old", update: "new", now: Timestamp::UNIX_EPOCH }
}

fn created(plan: &Plan) -> Vec<i32> {
    plan.create.iter().map(|(ordinal, _)| *ordinal).collect()
}

fn deleted(plan: &Plan) -> Vec<i32> {
    plan.delete.iter().filter_map(|pod| ordinal_of("db", pod)).collect()
}

#[test]
fn each_pod_waits_for_the_one_before() {
    let set = stateful_set(3, json!({}));
    assert_eq!(created(&plan(&observed(&set, &[]))), [0]);
    assert_eq!(created(&plan(&observed(&set, &[pod(0, "new", false)]))), Vec::<i32>::new());
    assert_eq!(created(&plan(&observed(&set, &[pod(0, "new", true)]))), [1]);
    let parallel = stateful_set(3, json!({"podManagementPolicy": "Parallel", "ordinals": {"start": 5}}));
    assert_eq!(created(&plan(&observed(&parallel, &[]))), [5, 6, 7]);
}

#[test]
fn pods_too_many_go_from_the_top_one_by_one() {
    let set = stateful_set(1, json!({}));
    let pods: Vec<_> = (0..4).map(|ordinal| pod(ordinal, "new", true)).collect();
    assert_eq!(deleted(&plan(&observed(&set, &pods))), [3]);
    let mut leaving = pods.clone();
    Arc::make_mut(&mut leaving[3]).metadata.deletion_timestamp =
        Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(Timestamp::UNIX_EPOCH));
    assert_eq!(deleted(&plan(&observed(&set, &leaving))), Vec::<i32>::new());
    let parallel = stateful_set(1, json!({"podManagementPolicy": "Parallel"}));
    assert_eq!(deleted(&plan(&observed(&parallel, &pods))), [3, 2, 1]);
    // A pod that never gets healthy does not keep its own removal waiting.
    let pods = vec![pod(0, "new", true), pod(1, "new", false)];
    assert_eq!(deleted(&plan(&observed(&set, &pods))), [1]);
}

#[test]
fn an_update_goes_from_the_top_down_to_the_partition() {
    let old: Vec<_> = (0..3).map(|ordinal| pod(ordinal, "old", true)).collect();
    assert_eq!(deleted(&plan(&observed(&stateful_set(3, json!({})), &old))), [2]);
    let mut pods = old.clone();
    pods[2] = pod(2, "new", false);
    assert_eq!(deleted(&plan(&observed(&stateful_set(3, json!({})), &pods))), Vec::<i32>::new());
    pods[2] = pod(2, "new", true);
    assert_eq!(deleted(&plan(&observed(&stateful_set(3, json!({})), &pods))), [1]);
    assert_eq!(deleted(&plan(&observed(&stateful_set(3, partition(2)), &pods))), Vec::<i32>::new());
    assert_eq!(deleted(&plan(&observed(&stateful_set(3, json!({"updateStrategy": {"type": "OnDelete"}})), &old))), Vec::<i32>::new());
}

#[test]
fn below_the_partition_a_lost_pod_comes_back_as_it_was() {
    let set = stateful_set(3, partition(2));
    assert_eq!(plan(&observed(&set, &[])).create, [(0, Template::Current)]);
    let two: Vec<_> = (0..2).map(|ordinal| pod(ordinal, "old", true)).collect();
    assert_eq!(plan(&observed(&set, &two)).create, [(2, Template::Update)]);
}

#[test]
fn a_pod_that_ended_is_replaced_under_its_name() {
    let set = stateful_set(2, json!({}));
    let mut ended = Pod::clone(&pod(0, "new", false));
    ended.status.as_mut().unwrap().phase = Some("Failed".into());
    let plan = plan(&observed(&set, &[Arc::new(ended), pod(1, "new", true)]));
    assert_eq!((deleted(&plan), created(&plan)), (vec![0], vec![]));
}

#[test]
fn the_name_is_host_name_and_label() {
    let set = stateful_set(1, json!({}));
    let made = pod_for(&set, 4, &set.spec.as_ref().unwrap().template, "db-x");
    let (meta, spec) = (&made.metadata, made.spec.as_ref().unwrap());
    assert_eq!((meta.name.as_deref(), meta.generate_name.as_deref()), (Some("db-4"), None));
    assert_eq!((spec.hostname.as_deref(), spec.subdomain.as_deref()), (Some("db-4"), Some("db")));
    let labels = meta.labels.as_ref().unwrap();
    assert_eq!((labels["statefulset.kubernetes.io/pod-name"].as_str(), labels["apps.kubernetes.io/pod-index"].as_str()), ("db-4", "4"));
    for (name, ordinal) in [("db-0", Some(0)), ("db-10", Some(10)), ("db-01", None), ("db--1", None), ("db-x", None), ("web-0", None)] {
        let pod = Pod {
            metadata: k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta { name: Some(name.into()), ..Default::default() },
            ..Pod::default()
        };
        assert_eq!(ordinal_of("db", &pod), ordinal, "{name}");
    }
}

#[test]
fn the_update_becomes_current_when_every_pod_has_it() {
    let set = stateful_set(2, json!({}));
    let half = status(&observed(&set, &[pod(0, "old", true), pod(1, "new", true)]));
    assert_eq!((half.current_revision.as_deref(), half.current_replicas, half.updated_replicas), (Some("old"), Some(1), Some(1)));
    let whole = status(&observed(&set, &[pod(0, "new", true), pod(1, "new", true)]));
    assert_eq!((whole.current_revision.as_deref(), whole.current_replicas, whole.ready_replicas), (Some("new"), Some(2), Some(2)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_state_converges_to_new_pods_in_the_wanted_range(
        replicas in 0..6i32,
        start in 0..3i32,
        stands in proptest::collection::btree_map(0..9i32, prop::bool::ANY, 0..9),
        parallel in prop::bool::ANY,
    ) {
        let policy = if parallel { "Parallel" } else { "OrderedReady" };
        let set = stateful_set(replicas, json!({"podManagementPolicy": policy, "ordinals": {"start": start}}));
        let mut pods: Vec<_> = stands.iter().map(|(ordinal, new)| pod(*ordinal, if *new { "new" } else { "old" }, true)).collect();
        for _ in 0..40 {
            let plan = plan(&observed(&set, &pods));
            prop_assert!(parallel || plan.create.len() + plan.delete.len() <= 1, "one step at a time");
            pods.retain(|pod| plan.delete.iter().all(|gone| gone.metadata.uid != pod.metadata.uid));
            pods.extend(plan.create.iter().map(|(ordinal, _)| pod(*ordinal, "new", true)));
        }
        let mut ordinals: Vec<_> = pods.iter().filter_map(|pod| ordinal_of("db", pod)).collect();
        ordinals.sort_unstable();
        prop_assert_eq!(ordinals, (start..start + replicas).collect::<Vec<_>>());
        prop_assert!(pods.iter().all(|pod| super::identity::revision_of(pod) == "new"));
    }
}

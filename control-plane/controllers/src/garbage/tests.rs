//! Plans of the garbage collector.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{ApiResource, PropagationPolicy};
use kube::core::discovery::Scope;
use serde_json::{Value, json};

use super::plan::{Action, OwnerState, known_state, plan_deletion, plan_dependent};
use crate::cluster_objects::{Graph, Kind, Node};

fn node(kind: &str, scope: Scope, meta: Value) -> Node {
    let resource = ApiResource {
        group: String::new(),
        version: "v1".into(),
        api_version: "v1".into(),
        kind: kind.into(),
        plural: format!("{}s", kind.to_lowercase()),
    };
    let meta: ObjectMeta = serde_json::from_value(meta).unwrap();
    Node::new(&Arc::new(Kind::new(resource, scope, Vec::new())), &meta).unwrap()
}

fn pod(name: &str, owners: &[(&str, bool)], changes: Value) -> Node {
    let references: Vec<_> = owners
        .iter()
        .map(|(uid, blocks)| json!({"apiVersion": "v1", "kind": "Pod", "name": uid, "uid": uid, "blockOwnerDeletion": blocks}))
        .collect();
    let mut meta = json!({"name": name, "uid": name, "namespace": "default", "ownerReferences": references});
    meta.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    node("Pod", Scope::Namespaced, meta)
}

fn deleting(finalizer: &str) -> Value {
    json!({"deletionTimestamp": "2020-01-01T00:00:00Z", "finalizers": [finalizer]})
}

fn uids(names: &[&str]) -> Vec<Arc<str>> {
    names.iter().map(|name| (*name).into()).collect()
}

#[test]
fn an_object_goes_only_when_all_owners_are_gone() {
    use OwnerState::{Absent, Solid, Unknown, Waiting};
    let two = pod("p", &[("a", true), ("b", true)], json!({}));
    for (states, action) in [
        ([Solid, Solid], Action::Nothing),
        ([Solid, Absent], Action::DropOwners(uids(&["b"]))),
        ([Waiting, Solid], Action::DropOwners(uids(&["a"]))),
        ([Absent, Absent], Action::Delete(PropagationPolicy::Background)),
        ([Waiting, Absent], Action::Delete(PropagationPolicy::Background)),
        ([Unknown, Absent], Action::Nothing),
        ([Solid, Unknown], Action::Nothing),
    ] {
        assert_eq!(plan_dependent(&two, &states, &[]), action, "{states:?}");
    }
    let below = pod("below", &[("p", true)], json!({}));
    assert_eq!(plan_dependent(&two, &[Waiting, Absent], &[below]), Action::Delete(PropagationPolicy::Foreground));
    assert_eq!(plan_dependent(&pod("p", &[], json!({})), &[], &[]), Action::Nothing);
}

#[test]
fn an_object_in_deletion_is_left_alone() {
    let going = pod("p", &[("a", true)], json!({"deletionTimestamp": "2020-01-01T00:00:00Z"}));
    assert_eq!(plan_dependent(&going, &[OwnerState::Absent], &[]), Action::Nothing);
    assert_eq!(plan_deletion(&going, &[pod("d", &[("p", true)], json!({}))]), Action::Nothing);
}

#[test]
fn a_foreground_deletion_waits_for_blocking_dependents_only() {
    let owner = pod("o", &[], deleting("foregroundDeletion"));
    let blocking = pod("blocking", &[("o", true)], json!({}));
    let free = pod("free", &[("o", false)], json!({}));
    assert_eq!(plan_deletion(&owner, &[blocking, free.clone()]), Action::Nothing);
    assert_eq!(plan_deletion(&owner, &[free]), Action::RemoveFinalizer("foregroundDeletion"));
}

#[test]
fn owners_in_a_circle_do_not_wait_for_each_other_for_ever() {
    let mut changes = deleting("foregroundDeletion");
    changes["ownerReferences"] = json!([{"apiVersion": "v1", "kind": "Pod", "name": "b", "uid": "b", "blockOwnerDeletion": true}]);
    let (a, b) = (pod("a", &[], changes), pod("b", &[("a", true)], json!({})));
    assert_eq!(plan_deletion(&a, std::slice::from_ref(&b)), Action::Nothing);
    assert_eq!(plan_dependent(&b, &[OwnerState::Waiting], std::slice::from_ref(&a)), Action::BreakCircle);
    let freed = pod("b", &[("a", false)], deleting("foregroundDeletion"));
    assert_eq!(plan_deletion(&a, &[freed]), Action::RemoveFinalizer("foregroundDeletion"));
}

#[test]
fn an_orphaning_deletion_frees_dependents_before_it_ends() {
    let owner = pod("o", &[], deleting("orphan"));
    assert_eq!(plan_deletion(&owner, &[pod("d", &[("o", true)], json!({}))]), Action::Orphan(uids(&["d"])));
    assert_eq!(plan_deletion(&owner, &[]), Action::RemoveFinalizer("orphan"));
}

#[test]
fn an_owner_in_another_namespace_is_no_owner() {
    let mut graph = Graph::default();
    graph.upsert(pod("near", &[], json!({})));
    graph.upsert(pod("far", &[], json!({"namespace": "other"})));
    graph.upsert(pod("going", &[], deleting("foregroundDeletion")));
    graph.upsert(node("Node", Scope::Cluster, json!({"name": "n", "uid": "cluster"})));
    let dependent = pod("d", &[("near", true), ("far", true), ("going", true), ("cluster", true), ("unknown", true)], json!({}));
    let states: Vec<_> = dependent.owners.iter().map(|owner| known_state(&graph, &dependent, owner)).collect();
    use OwnerState::{Absent, Solid, Waiting};
    assert_eq!(states, [Some(Solid), Some(Absent), Some(Waiting), Some(Solid), None]);
    let owners = json!([{"apiVersion": "v1", "kind": "Pod", "name": "far", "uid": "far"}]);
    let wide = node("Node", Scope::Cluster, json!({"name": "w", "uid": "w", "ownerReferences": owners}));
    assert_eq!(known_state(&graph, &wide, &wide.owners[0]), Some(Solid), "such a reference leads nowhere and is left alone");
}

#[test]
fn the_graph_follows_changes_of_ownership() {
    let mut graph = Graph::default();
    let names = |graph: &Graph, uid: &str| graph.dependents(&uid.into()).map(|node| node.uid.to_string()).collect::<Vec<_>>();
    graph.upsert(pod("d", &[("a", true)], json!({})));
    assert_eq!(names(&graph, "a"), ["d"]);
    graph.upsert(pod("d", &[("b", true)], json!({})));
    assert!(names(&graph, "a").is_empty());
    assert_eq!(names(&graph, "b"), ["d"]);
    graph.remove(&"d".into());
    assert!(names(&graph, "b").is_empty());
}

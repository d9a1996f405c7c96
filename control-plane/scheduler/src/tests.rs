//! Decisions: each filter and score on a small cluster, and properties of whole runs.

use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::budgets::Budgets;
use crate::cache::Cache;
use crate::decide::{Decision, decide};
use crate::pod_info::PodInfo;
use crate::preemption::{self, Verdict};
use crate::test_objects::{asking, node, pod};
use crate::{fit_error, requests};

fn cluster(nodes: Vec<Arc<Node>>, placed: Vec<(Arc<Pod>, &str)>) -> Cache {
    let mut cache = Cache::default();
    nodes.into_iter().for_each(|node| cache.set_node(node));
    placed.into_iter().for_each(|(pod, node)| drop(cache.place(pod, node)));
    cache
}

/// The chosen node, or the message.
fn outcome(cache: &Cache, pod: Arc<Pod>) -> String {
    let info = PodInfo::new(pod);
    let snapshot = cache.snapshot_for(&info);
    match decide(&snapshot, &info, 0) {
        Decision::Node(node) => node,
        Decision::Unschedulable(refused) => {
            let message = fit_error::message(snapshot.nodes.len(), &refused, &Verdict::NoVictims);
            message.split(" preemption:").next().unwrap_or_default().to_string()
        }
    }
}

fn spec(spec: Value) -> Value {
    json!({ "spec": spec })
}

#[test]
fn each_filter_refuses_in_known_words() {
    let usual = || pod("p", json!({}));
    let blocking = |changes: Value| vec![(pod("other", changes), "a")];
    let port = json!({"containers": [{"name": "c", "ports": [{"containerPort": 80, "hostPort": 80}]}]});
    let selector = json!({"labelSelector": {"matchLabels": {"app": "web"}}, "topologyKey": "kubernetes.io/hostname"});
    let anti = json!({"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [selector]}}});
    let toward = json!({"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
        {"labelSelector": {"matchLabels": {"app": "nobody"}}, "topologyKey": "kubernetes.io/hostname"}]}}});
    let spread = json!({"topologySpreadConstraints": [
        {"maxSkew": 1, "topologyKey": "rack", "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {"matchLabels": {"app": "web"}}}]});
    let taint = json!([{"key": "dedicated", "value": "gpu", "effect": "NoSchedule"}]);
    for (node_changes, placed, pod, reason) in [
        (spec(json!({"unschedulable": true})), vec![], usual(), "node(s) were unschedulable"),
        (json!({}), vec![], pod("p", spec(json!({"nodeName": "other"}))), "node(s) didn't match the requested node name"),
        (spec(json!({"taints": taint})), vec![], usual(), "node(s) had untolerated taint {dedicated: gpu}"),
        (json!({}), vec![], pod("p", spec(json!({"nodeSelector": {"disk": "ssd"}}))), "node(s) didn't match Pod's node affinity/selector"),
        (json!({}), blocking(spec(port.clone())), pod("p", spec(port)), "node(s) didn't have free ports for the requested pod ports"),
        (json!({}), blocking(asking("1950m")), usual(), "Insufficient cpu"),
        (json!({"status": {"allocatable": {"pods": "0"}}}), vec![], usual(), "Too many pods"),
        (json!({}), vec![], pod("p", spec(spread)), "node(s) didn't match pod topology spread constraints (missing required label)"),
        (json!({}), blocking(json!({})), pod("p", spec(anti.clone())), "node(s) didn't match pod anti-affinity rules"),
        (json!({}), blocking(spec(anti)), usual(), "node(s) didn't satisfy existing pods anti-affinity rules"),
        (json!({}), vec![], pod("p", spec(toward)), "node(s) didn't match pod affinity rules"),
    ] {
        let cache = cluster(vec![node("a", node_changes)], placed);
        assert_eq!(outcome(&cache, pod), format!("0/1 nodes are available: 1 {reason}."));
    }
}

#[test]
fn a_toleration_lets_a_pod_onto_tainted_and_cordoned_nodes() {
    let taints = json!([{"key": "dedicated", "value": "gpu", "effect": "NoSchedule"}]);
    let cache = cluster(vec![node("a", spec(json!({"taints": taints, "unschedulable": true})))], vec![]);
    assert_eq!(outcome(&cache, pod("p", spec(json!({"tolerations": [{"operator": "Exists"}]})))), "a");
}

#[test]
fn reasons_are_counted_over_nodes_and_sorted() {
    let nodes = vec![node("a", spec(json!({"unschedulable": true}))), node("b", json!({})), node("c", json!({}))];
    let cache = cluster(nodes, vec![]);
    let message = outcome(&cache, pod("p", asking("3")));
    assert_eq!(message, "0/3 nodes are available: 1 node(s) were unschedulable, 2 Insufficient cpu.");
    assert_eq!(outcome(&Cache::default(), pod("p", json!({}))), "no nodes available to schedule pods");
}

#[test]
fn the_preemption_sentence_tells_hopeless_nodes_from_full_ones() {
    let cache = cluster(vec![node("a", json!({})), node("b", json!({}))], vec![(pod("full", asking("1950m")), "b")]);
    let info = PodInfo::new(pod("p", json!({"spec": {"nodeSelector": {"kubernetes.io/hostname": "b"}}})));
    let snapshot = cache.snapshot_for(&info);
    let Decision::Unschedulable(refused) = decide(&snapshot, &info, 0) else { panic!("nothing fits") };
    assert_eq!(
        fit_error::message(2, &refused, &Verdict::NoVictims),
        "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) didn't match Pod's node affinity/selector. \
         preemption: 0/2 nodes are available: 1 No preemption victims found for incoming pod, 1 Preemption is not helpful for scheduling."
    );
}

#[test]
fn the_emptier_node_is_preferred_and_replicas_spread() {
    let nodes = || vec![node("a", json!({})), node("b", json!({}))];
    let cache = cluster(nodes(), vec![(pod("other", asking("1")), "a")]);
    assert_eq!(outcome(&cache, pod("p", json!({}))), "b");
    let owned = |name: &str| {
        pod(
            name,
            json!({"metadata": {"ownerReferences": [
            {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "rs", "uid": "rs", "controller": true}]}}),
        )
    };
    let mut cache = cluster(nodes(), vec![]);
    let mut counts: HashMap<String, usize> = HashMap::new();
    for index in 0..6 {
        let replica = owned(&format!("r{index}"));
        let node = outcome(&cache, replica.clone());
        cache.place(replica, &node);
        *counts.entry(node).or_default() += 1;
    }
    assert_eq!(counts, HashMap::from([("a".to_string(), 3), ("b".to_string(), 3)]));
}

#[test]
fn preferred_affinity_soft_taints_and_images_steer() {
    let preferred = json!({"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
        {"weight": 10, "preference": {"matchExpressions": [{"key": "disk", "operator": "In", "values": ["ssd"]}]}}]}}});
    let ssd = || node("b", json!({"metadata": {"labels": {"disk": "ssd"}}}));
    let cache = cluster(vec![node("a", json!({})), ssd(), node("c", json!({}))], vec![]);
    assert_eq!(outcome(&cache, pod("p", spec(preferred))), "b");
    let soft = spec(json!({"taints": [{"key": "old", "effect": "PreferNoSchedule"}]}));
    let cache = cluster(vec![node("a", soft.clone()), node("b", json!({})), node("c", soft)], vec![]);
    assert_eq!(outcome(&cache, pod("p", json!({}))), "b");
    let image = json!({"status": {"images": [{"names": ["i:latest"], "sizeBytes": 900_000_000}]}});
    let cache = cluster(vec![node("a", json!({})), node("b", image)], vec![]);
    assert_eq!(outcome(&cache, pod("p", json!({}))), "b");
}

#[test]
fn hard_spread_keeps_the_skew() {
    let spread = json!({"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {"matchLabels": {"app": "web"}}}]});
    let cache = cluster(vec![node("a", json!({})), node("b", json!({}))], vec![(pod("x", json!({})), "a")]);
    assert_eq!(outcome(&cache, pod("p", spec(spread.clone()))), "b");
    let mut other = asking("2");
    other["metadata"]["labels"]["app"] = json!("other");
    let full = cluster(vec![node("a", json!({})), node("b", json!({}))], vec![(pod("x", json!({})), "a"), (pod("y", other), "b")]);
    let message = outcome(&full, pod("p", spec(spread)));
    assert!(message.contains("Insufficient cpu"), "{message}");
}

#[test]
fn the_first_pod_of_a_group_with_affinity_to_itself_may_go_anywhere() {
    let together = json!({"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
        {"labelSelector": {"matchLabels": {"app": "web"}}, "topologyKey": "kubernetes.io/hostname"}]}}});
    let mut cache = cluster(vec![node("a", json!({})), node("b", json!({}))], vec![]);
    let first = pod("one", spec(together.clone()));
    let home = outcome(&cache, first.clone());
    cache.place(first, &home);
    for index in 0..5 {
        let next = pod(&format!("next-{index}"), spec(together.clone()));
        assert_eq!(outcome(&cache, next.clone()), home);
        cache.place(next, &home);
    }
}

#[test]
fn namespace_selectors_reach_other_namespaces() {
    let term = json!({"labelSelector": {"matchLabels": {"app": "web"}}, "topologyKey": "kubernetes.io/hostname",
        "namespaceSelector": {"matchLabels": {"team": "net"}}});
    let away = json!({"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}});
    let theirs = pod("theirs", json!({"metadata": {"namespace": "other"}}));
    let mut cache = cluster(vec![node("a", json!({})), node("b", json!({}))], vec![(theirs, "a")]);
    cache.set_namespace("other", Some(&[("team".to_string(), "net".to_string())].into()));
    assert_eq!(outcome(&cache, pod("p", spec(away))), "b");
}

#[test]
fn preemption_takes_the_least_important_and_no_more_than_needed() {
    let victim = |name: &str, priority: i32, cpu: &str| {
        let mut changes = asking(cpu);
        changes["spec"]["priority"] = json!(priority);
        pod(name, changes)
    };
    let placed = vec![(victim("big", 5, "1500m"), "a"), (victim("low", 1, "1"), "b"), (victim("lower", 0, "900m"), "b")];
    let cache = cluster(vec![node("a", json!({})), node("b", json!({}))], placed);
    let info = PodInfo::new(victim("urgent", 100, "1"));
    let snapshot = cache.snapshot_for(&info);
    let Decision::Unschedulable(refused) = decide(&snapshot, &info, 0) else { panic!("nothing fits") };
    let Verdict::Displace(preemption) = preemption::plan(&snapshot, &info, &refused, None, &Budgets::default()) else {
        panic!("there are victims")
    };
    let names: Vec<_> = preemption.victims.iter().map(|victim| victim.uid()).collect();
    assert_eq!((preemption.node.as_str(), names), ("b", vec!["lower"]));
    let equal = PodInfo::new(victim("equal", 0, "1"));
    assert!(matches!(preemption::plan(&snapshot, &equal, &refused, None, &Budgets::default()), Verdict::NoVictims));
}

#[test]
fn preemption_keeps_to_budgets_where_it_can() {
    let pod_of = |app: &str, name: &str, priority: i32, cpu: &str| {
        let mut changes = asking(cpu);
        changes["spec"]["priority"] = json!(priority);
        changes["metadata"] = json!({"labels": {"app": app}});
        pod(name, changes)
    };
    let budget = json!({"metadata": {"name": "db", "namespace": "default"}, "spec": {"selector": {"matchLabels": {"app": "db"}}},
        "status": {"disruptionsAllowed": 0, "currentHealthy": 1, "desiredHealthy": 1, "expectedPods": 1}});
    let budgets = Budgets::new(vec![Arc::new(serde_json::from_value(budget).unwrap())]);
    let victims = |placed: Vec<(Arc<Pod>, &str)>| {
        let cache = cluster(vec![node("a", json!({})), node("b", json!({}))], placed);
        let info = PodInfo::new(pod_of("x", "urgent", 100, "1"));
        let snapshot = cache.snapshot_for(&info);
        let Decision::Unschedulable(refused) = decide(&snapshot, &info, 0) else { panic!("nothing fits") };
        let Verdict::Displace(preemption) = preemption::plan(&snapshot, &info, &refused, None, &budgets) else {
            panic!("there are victims")
        };
        preemption.victims.iter().map(|victim| victim.uid().to_owned()).collect::<Vec<_>>()
    };
    // Another node, though its pod is more important.
    assert_eq!(victims(vec![(pod_of("db", "db", 0, "1500m"), "a"), (pod_of("web", "web", 9, "1500m"), "b")]), ["web"]);
    // Another pod of the same node, though it is more important.
    let full = || (pod_of("web", "full", 100, "2"), "b");
    assert_eq!(victims(vec![(pod_of("db", "db", 0, "1"), "a"), (pod_of("web", "web", 9, "1"), "a"), full()]), ["web"]);
    // There is no other way.
    assert_eq!(victims(vec![(pod_of("db", "db", 0, "1500m"), "a"), full()]), ["db"]);
}

#[test]
fn while_victims_are_leaving_no_others_are_displaced() {
    let mut leaving = asking("1500m");
    leaving["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    let placed = vec![(pod("leaving", leaving), "a"), (pod("other", asking("1500m")), "b")];
    let cache = cluster(vec![node("a", json!({})), node("b", json!({}))], placed);
    let mut urgent = asking("1");
    urgent["spec"]["priority"] = json!(100);
    let info = PodInfo::new(pod("urgent", urgent.clone()));
    let snapshot = cache.snapshot_for(&info);
    let Decision::Unschedulable(refused) = decide(&snapshot, &info, 0) else { panic!("nothing fits") };
    let verdict = preemption::plan(&snapshot, &info, &refused, Some("a"), &Budgets::default());
    let message = fit_error::message(2, &refused, &verdict);
    assert!(message.ends_with("preemption: not eligible due to a terminating pod on the nominated node."), "{message}");
    assert!(matches!(preemption::plan(&snapshot, &info, &refused, Some("b"), &Budgets::default()), Verdict::Displace(_)));
    urgent["spec"]["preemptionPolicy"] = json!("Never");
    let verdict = preemption::plan(&snapshot, &PodInfo::new(pod("urgent", urgent)), &refused, None, &Budgets::default());
    assert!(fit_error::message(2, &refused, &verdict).ends_with("preemption: not eligible due to preemptionPolicy=Never."));
}

#[test]
fn preferred_pod_affinity_draws_near_and_anti_affinity_pushes_away() {
    let term = json!([{"weight": 50, "podAffinityTerm": {"labelSelector": {"matchLabels": {"app": "web"}},
        "topologyKey": "kubernetes.io/hostname"}}]);
    let of = |kind: &str| spec(json!({"affinity": {kind: {"preferredDuringSchedulingIgnoredDuringExecution": term}}}));
    let nodes = || vec![node("a", json!({})), node("b", json!({})), node("c", json!({}))];
    let cache = cluster(nodes(), vec![(pod("x", json!({})), "b")]);
    assert_eq!(outcome(&cache, pod("p", of("podAffinity"))), "b");
    let cache = cluster(nodes(), vec![(pod("x", json!({})), "a"), (pod("y", json!({})), "c")]);
    assert_eq!(outcome(&cache, pod("p", of("podAntiAffinity"))), "b");
    // What is there has wishes too.
    let cache = cluster(nodes(), vec![(pod("x", of("podAffinity")), "c")]);
    assert_eq!(outcome(&cache, pod("p", json!({}))), "c");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_node_is_ever_overfilled_and_no_room_is_overlooked(sizes in proptest::collection::vec(1..12i64, 1..60), nodes in 1..6usize) {
        let mut cache = cluster((0..nodes).map(|index| node(&format!("n{index}"), json!({}))).collect(), vec![]);
        for (index, size) in sizes.iter().enumerate() {
            let pod = pod(&format!("p{index}"), asking(&format!("{}m", size * 100)));
            let info = PodInfo::new(pod.clone());
            let snapshot = cache.snapshot_for(&info);
            let free: Vec<i64> = snapshot.nodes.iter().map(|node| 2000 - requests::get(&node.requested, "cpu")).collect();
            match decide(&snapshot, &info, index as u64) {
                Decision::Node(node) => drop(cache.place(pod, &node)),
                Decision::Unschedulable(refused) => {
                    prop_assert_eq!(refused.len(), nodes);
                    prop_assert!(free.iter().all(|free| *free < size * 100));
                }
            }
            for node in &cache.snapshot_for(&info).nodes {
                prop_assert!(requests::get(&node.requested, "cpu") <= 2000);
            }
        }
    }
}

//! Allocation of pod ranges.

use std::sync::Arc;

use ipnet::IpNet;
use k8s_openapi::api::core::v1::Node;
use proptest::prelude::*;
use serde_json::json;

use super::plan::{Promises, allocate, needs_range};
use crate::Config;

fn node(ranges: &[String]) -> Node {
    serde_json::from_value(json!({"metadata": {"name": "n"}, "spec": {"podCIDR": ranges.first(), "podCIDRs": ranges}})).unwrap()
}

fn none() -> std::iter::Empty<IpNet> {
    std::iter::empty()
}

fn texts(ranges: Option<Vec<IpNet>>) -> Vec<String> {
    ranges.unwrap_or_default().iter().map(IpNet::to_string).collect()
}

#[test]
fn the_first_node_gets_the_first_range_of_each_family() {
    assert_eq!(texts(allocate(&Config::default(), [].iter(), none())), ["10.244.0.0/24", "fd00:10:244::/64"]);
}

#[test]
fn a_hole_is_filled_and_foreign_sizes_are_respected() {
    let nodes = [
        node(&["10.244.0.0/24".into(), "fd00:10:244::/64".into()]),
        node(&["10.244.2.0/24".into(), "fd00:10:244:1::/64".into()]),
        node(&["10.244.1.128/25".into()]),
        node(&["10.244.4.0/22".into(), "192.168.0.0/24".into(), "nonsense".into()]),
    ];
    assert_eq!(texts(allocate(&Config::default(), nodes.iter(), none())), ["10.244.3.0/24", "fd00:10:244:2::/64"]);
}

#[test]
fn a_node_with_a_range_keeps_it() {
    assert!(!needs_range(&node(&["10.244.0.0/24".into()])));
    assert!(needs_range(&Node::default()));
}

#[test]
fn a_family_that_is_used_up_gives_nothing() {
    let config = Config { pod_cidrs: vec!["10.0.0.0/23".parse().unwrap()], ..Config::default() };
    let nodes = [node(&["10.0.0.0/24".into()]), node(&["10.0.1.0/24".into()])];
    assert_eq!(allocate(&config, nodes.iter(), none()), None);
    assert_eq!(texts(allocate(&config, nodes[..1].iter(), none())), ["10.0.1.0/24"]);
}

#[test]
fn a_range_whose_write_may_have_been_carried_out_is_nobody_elses() {
    let waiting = |uid: &str| -> Arc<Node> { Arc::new(serde_json::from_value(json!({"metadata": {"name": uid, "uid": uid}})).unwrap()) };
    let config = Config::default();
    let mut promises = Promises::default();
    let nodes = vec![waiting("a"), waiting("b")];
    let first = promises.ranges_for(&config, &nodes[0], &nodes);
    let second = promises.ranges_for(&config, &nodes[1], &nodes);
    assert_eq!(texts(second.clone()), ["10.244.1.0/24", "fd00:10:244:1::/64"]);
    assert_eq!(promises.ranges_for(&config, &nodes[0], &nodes), first, "another attempt asks for the same");
    // The first node has gone without ever showing a range: what it was promised is free.
    assert_eq!(promises.ranges_for(&config, &waiting("c"), &nodes[1..]), first);
    assert_eq!(promises.ranges_for(&config, &nodes[1], &nodes[1..]), second);
}

proptest! {
    #[test]
    fn no_range_is_given_twice_whatever_nodes_go_and_come(leaves in proptest::collection::vec(any::<proptest::sample::Index>(), 0..60)) {
        let config = Config::default();
        let mut nodes: Vec<Node> = Vec::new();
        for leave in leaves {
            for _ in 0..2 {
                let ranges = texts(allocate(&config, nodes.iter(), none()));
                prop_assert!(nodes.iter().all(|node| node.spec.as_ref().unwrap().pod_cidrs.as_ref().unwrap().iter().all(|used| !ranges.contains(used))));
                nodes.push(node(&ranges));
            }
            nodes.remove(leave.index(nodes.len()));
        }
    }
}

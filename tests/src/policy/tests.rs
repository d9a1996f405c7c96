//! The model itself, line by line of what policies mean: answers here are written by hand. More of them stand beside the sets of policies.

use super::sets::{cluster_policy, network_policy};
use super::{Answer, Direction, Kind, Protocol, Question, RuleName, Said, Scene, Spread, World};
use serde_json::{Value, json};
use std::collections::BTreeSet;

fn world(policies: &[Value]) -> World {
    World::of(Scene::new(Spread::TwoNodes).objects().iter().chain(policies))
}

fn ask(client: &str, server: &str) -> Question {
    let scene = Scene::new(Spread::TwoNodes);
    Question::new(scene.end(client).addresses[0], scene.end(server).addresses[0], Protocol::Tcp, 80)
}

fn through_service(pod: &str) -> Question {
    Question { through_service: true, ..ask(pod, pod) }
}

fn rule(kind: Kind, namespace: &str, name: &str, direction: Direction, index: usize) -> RuleName {
    RuleName { kind, namespace: namespace.into(), name: name.into(), direction, index }
}

#[test]
fn a_pod_that_no_policy_selects_allows_all_and_nobody_elses_pods_are_asked() {
    let world = world(&[network_policy("y", "deny", json!({"podSelector": {}}))]);
    assert_eq!(world.answer(&ask("x/a", "x/b")), Answer { egress: Said::Nothing, ingress: Said::Nothing });
    assert_eq!(world.answer(&ask("outside", "x/b")), Answer { egress: Said::Unasked, ingress: Said::Nothing });
    assert_eq!(world.answer(&ask("x/a", "outside")), Answer { egress: Said::Nothing, ingress: Said::Unasked });
}

#[test]
fn isolation_is_told_from_a_rule_and_every_rule_that_allows_is_named() {
    let policies = [
        network_policy(
            "y",
            "one",
            json!({"podSelector": {}, "ingress": [{"ports": [{"port": 81}]}, {"from": [{"namespaceSelector": {}}]}]}),
        ),
        network_policy("y", "two", json!({"podSelector": {}, "ingress": [{}]})),
    ];
    let by = [rule(Kind::NetworkPolicy, "y", "one", Direction::Ingress, 1), rule(Kind::NetworkPolicy, "y", "two", Direction::Ingress, 0)];
    assert_eq!(world(&policies).answer(&ask("x/a", "y/a")).ingress, Said::AllowedBy(BTreeSet::from(by)));
    assert_eq!(world(&policies[..1]).answer(&ask("outside", "y/a")).ingress, Said::Isolated);
}

#[test]
fn the_clients_rules_are_asked_as_well_as_the_servers() {
    let world = world(&[
        network_policy("x", "out", json!({"podSelector": {}, "policyTypes": ["Egress"], "egress": [{"to": [{"podSelector": {}}]}]})),
        network_policy("y", "in", json!({"podSelector": {}, "ingress": [{}]})),
    ]);
    let answer = world.answer(&ask("x/a", "y/a"));
    assert_eq!((answer.egress.clone(), answer.ingress.allows(), answer.allowed()), (Said::Isolated, true, false));
}

#[test]
fn the_own_node_always_passes_and_another_does_not() {
    let world = world(&[network_policy("x", "deny", json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}))]);
    // x/a is on node1, x/b on node2.
    assert_eq!(world.answer(&ask("node1", "x/a")).ingress, Said::Unasked);
    assert_eq!(world.answer(&ask("x/a", "node1")).egress, Said::Unasked);
    assert_eq!(world.answer(&ask("node2", "x/a")).ingress, Said::Isolated);
    assert_eq!(world.answer(&ask("x/a", "node2")).egress, Said::Isolated);
    assert!(world.answer(&ask("node2", "x/b")).allowed());
}

#[test]
fn a_pod_reaches_itself_by_its_own_address_whatever_anybody_says() {
    let world = world(&[
        network_policy("x", "deny", json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"]})),
        cluster_policy(
            "deny",
            json!({"tier": "Admin", "priority": 0, "subject": {"namespaces": {}}, "ingress": [{"action": "Deny", "from": [{"namespaces": {}}]}]}),
        ),
    ]);
    assert!(world.answer(&ask("x/a", "x/a")).allowed());
    let by = rule(Kind::ClusterNetworkPolicy, "", "deny", Direction::Ingress, 0);
    assert_eq!(world.answer(&through_service("x/a")), Answer { egress: Said::AllowedBy(BTreeSet::new()), ingress: Said::DeniedBy(by) });
}

#[test]
fn through_a_service_a_pod_that_policies_isolate_reaches_itself() {
    let deny = network_policy("x", "deny", json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}));
    let base = cluster_policy(
        "base",
        json!({"tier": "Baseline", "priority": 0, "subject": {"namespaces": {}}, "ingress": [{"action": "Deny", "from": [{"namespaces": {}}]}]}),
    );
    assert!(world(&[deny.clone(), base.clone()]).answer(&through_service("x/a")).allowed());
    assert!(!world(&[base]).answer(&through_service("x/a")).allowed());
    assert!(world(&[deny]).answer(&through_service("x/a")).allowed());
}

#[test]
fn pods_on_the_hosts_network_and_pods_that_are_over_are_no_peers() {
    let from_x = json!({"podSelector": {}, "ingress": [{"from": [{"namespaceSelector": {"matchLabels": {"ns": "x"}}}]}]});
    let from_c = json!({"podSelector": {}, "ingress": [{"from": [{"podSelector": {"matchLabels": {"pod": "c"}}}]}]});
    assert!(!world(&[network_policy("y", "in", from_x)]).answer(&ask("node2", "y/b")).allowed());
    // The address of x/b was z/over's, which has z/c's labels.
    assert!(!world(&[network_policy("z", "in", from_c)]).answer(&ask("x/b", "z/a")).allowed());
}

#[test]
fn the_administrators_rules_are_named_whether_they_accept_or_deny() {
    let spec = |action: &str| {
        json!({"tier": "Admin", "priority": 0, "subject": {"namespaces": {}}, "egress": [
            {"action": "Pass", "to": [{"namespaces": {"matchLabels": {"ns": "z"}}}]}, {"action": action, "to": [{"namespaces": {}}]}]})
    };
    let by = rule(Kind::ClusterNetworkPolicy, "", "all", Direction::Egress, 1);
    let deny = network_policy("x", "deny", json!({"podSelector": {}, "policyTypes": ["Egress"]}));
    let of = |action| world(&[cluster_policy("all", spec(action)), deny.clone()]);
    assert_eq!(of("Accept").answer(&ask("x/a", "y/a")).egress, Said::AllowedBy(BTreeSet::from([by.clone()])));
    assert_eq!(of("Deny").answer(&ask("x/a", "y/a")).egress, Said::DeniedBy(by));
    assert_eq!(of("Deny").answer(&ask("x/a", "z/a")).egress, Said::Isolated);
}

#[test]
fn addresses_are_in_blocks_by_their_bits() {
    let is_in = |cidr: &str, address: &str| super::blocks::contains(cidr, address.parse().unwrap());
    assert!(is_in("10.0.0.0/8", "10.255.0.1") && !is_in("10.0.0.0/8", "11.0.0.0"));
    assert!(is_in("0.0.0.0/0", "1.2.3.4") && !is_in("0.0.0.0/0", "::1") && is_in("::/0", "::1"));
    assert!(is_in("10.244.0.33/28", "10.244.0.47") && !is_in("10.244.0.33/28", "10.244.0.48"));
    assert!(is_in("fd00::/127", "fd00::1") && !is_in("fd00::/127", "fd00::2"));
    assert!(!is_in("10.0.0.0/33", "10.0.0.0") && !is_in("10.0.0.0", "10.0.0.0") && !is_in("here/8", "10.0.0.0"));
}

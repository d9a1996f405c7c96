//! Sets of policies made up at random, to be shrunk where one is answered wrongly: everything that the API takes and that the
//! [scene](super::Scene) has somebody for. Policies of one tier differ in priority, so that there is one right answer.

use super::scene::{NAMESPACES, OUTSIDE, Scene, Spread};
use super::sets::{cluster_policy, network_policy};
use proptest::collection::vec;
use proptest::option::{of, weighted};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Map, Value, json};
use std::net::IpAddr;

/// Up to five NetworkPolicies and up to four ClusterNetworkPolicies.
pub fn any_set() -> impl Strategy<Value = Vec<Value>> {
    (vec(any_network_policy(), 0..6), vec(any_cluster_policy(), 0..5)).prop_map(|(policies, cluster)| {
        let policies =
            policies.into_iter().enumerate().map(|(number, (namespace, spec))| network_policy(namespace, &format!("p{number}"), spec));
        let cluster = cluster.into_iter().enumerate().map(|(number, mut spec)| {
            // 0 to 1000, and no two alike.
            let priority = spec["priority"].as_u64().unwrap_or(0) * 10 + number as u64;
            spec["priority"] = json!(priority);
            cluster_policy(&format!("c{number}"), spec)
        });
        policies.chain(cluster).collect()
    })
}

/// A namespace of the scene, and `spec`.
fn any_network_policy() -> impl Strategy<Value = (&'static str, Value)> {
    let types = select(vec![None, Some(json!(["Ingress"])), Some(json!(["Egress"])), Some(json!(["Ingress", "Egress"]))]);
    let rules = |field| weighted(0.7, vec(rule(field), 0..4));
    (select(NAMESPACES.to_vec()), pod_selector(), types, rules("from"), rules("to")).prop_map(
        |(namespace, pods, types, ingress, egress)| {
            let fields = [
                ("podSelector", Some(pods)),
                ("policyTypes", types),
                ("ingress", ingress.map(Value::from)),
                ("egress", egress.map(Value::from)),
            ];
            (namespace, object(fields))
        },
    )
}

/// `spec`, with a priority from 0 to 99.
fn any_cluster_policy() -> impl Strategy<Value = Value> {
    let subject = prop_oneof![
        namespace_selector().prop_map(|namespaces| json!({"namespaces": namespaces})),
        namespaced_pod().prop_map(|pods| json!({"pods": pods}))
    ];
    let tier = prop_oneof![3 => Just("Admin"), 2 => Just("Baseline")];
    (tier, 0..99_u32, subject, vec(cluster_rule("from"), 0..4), vec(cluster_rule("to"), 0..4)).prop_map(
        |(tier, priority, subject, ingress, egress)| {
            json!({"tier": tier, "priority": priority, "subject": subject, "ingress": ingress, "egress": egress})
        },
    )
}

fn object<'a>(fields: impl IntoIterator<Item = (&'a str, Option<Value>)>) -> Value {
    let there = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(there.collect::<Map<_, _>>())
}

/// A rule of a NetworkPolicy.
fn rule(field: &'static str) -> impl Strategy<Value = Value> {
    (weighted(0.8, vec(peer(), 0..3)), weighted(0.5, vec(port(), 0..4)))
        .prop_map(move |(peers, ports)| object([(field, peers.map(Value::from)), ("ports", ports.map(Value::from))]))
}

fn peer() -> impl Strategy<Value = Value> {
    prop_oneof![
        2 => pod_selector().prop_map(|pods| json!({"podSelector": pods})),
        2 => namespace_selector().prop_map(|namespaces| json!({"namespaceSelector": namespaces})),
        2 => (namespace_selector(), pod_selector()).prop_map(|(namespaces, pods)| json!({"namespaceSelector": namespaces, "podSelector": pods})),
        3 => ip_block().prop_map(|block| json!({"ipBlock": block})),
    ]
}

fn port() -> impl Strategy<Value = Value> {
    let protocol = || select(vec![None, Some("TCP"), Some("UDP"), Some("SCTP")]);
    let number = || prop_oneof![4 => 79..83_u16, 1 => 1..=u16::MAX];
    prop_oneof![
        1 => protocol().prop_map(|protocol| object([("protocol", protocol.map(Value::from))])),
        3 => (protocol(), number()).prop_map(|(protocol, number)| object([("protocol", protocol.map(Value::from)), ("port", Some(json!(number)))])),
        2 => (protocol(), number(), number()).prop_map(|(protocol, one, other)| {
            let (first, last) = (one.min(other), one.max(other));
            object([("protocol", protocol.map(Value::from)), ("port", Some(json!(first))), ("endPort", Some(json!(last)))])
        }),
        3 => (protocol(), port_name()).prop_map(|(protocol, name)| object([("protocol", protocol.map(Value::from)), ("port", Some(json!(name)))])),
    ]
}

fn port_name() -> impl Strategy<Value = &'static str> {
    select(vec!["web", "alt", "dns", "serve", "nobody"])
}

/// A block with an address of the scene in it, with exceptions that are in it and have one too.
fn ip_block() -> impl Strategy<Value = Value> {
    (any::<Index>(), 0..=8_u8, vec((any::<Index>(), 1..=8_u8), 0..4)).prop_map(|(address, length, except)| {
        let all = addresses();
        let address = *address.get(&all);
        let bits = bits(address, length);
        let cidr = format!("{address}/{bits}");
        let inside: Vec<IpAddr> = all.into_iter().filter(|other| super::blocks::contains(&cidr, *other)).collect();
        let width = if address.is_ipv4() { 32 } else { 128 };
        let except = except.into_iter().filter(|_| bits < width).map(|(index, more)| {
            let address = *index.get(&inside);
            format!("{}/{}", address, bits + (width - bits).min(more))
        });
        json!({"cidr": cidr, "except": except.collect::<Vec<_>>()})
    })
}

/// Those that anybody of the scene has, wherever pods are.
fn addresses() -> Vec<IpAddr> {
    let scenes = [Scene::new(Spread::OneNode), Scene::new(Spread::TwoNodes)];
    let mut all: Vec<IpAddr> = scenes.iter().flat_map(|scene| &scene.ends).flat_map(|end| end.addresses).collect();
    all.sort_unstable();
    all.dedup();
    debug_assert!(OUTSIDE.iter().all(|text| all.iter().any(|address| address.to_string() == *text)));
    all
}

/// Of few lengths, from everything to one address.
fn bits(address: IpAddr, length: u8) -> u8 {
    const V4: [u8; 9] = [0, 1, 8, 16, 24, 26, 28, 30, 32];
    const V6: [u8; 9] = [0, 8, 48, 64, 112, 120, 124, 127, 128];
    let lengths = if address.is_ipv4() { V4 } else { V6 };
    lengths[usize::from(length) % lengths.len()]
}

fn pod_selector() -> impl Strategy<Value = Value> {
    selector(&[("pod", &["a", "b", "c", "d"]), ("app", &["web", "db"]), ("extra", &["yes", "no"])])
}

fn namespace_selector() -> impl Strategy<Value = Value> {
    selector(&[
        ("ns", &["x", "y", "z", "w"]),
        ("team", &["red", "blue"]),
        ("only-z", &["yes"]),
        ("kubernetes.io/metadata.name", &["x", "z"]),
    ])
}

fn namespaced_pod() -> impl Strategy<Value = Value> {
    (namespace_selector(), pod_selector()).prop_map(|(namespaces, pods)| json!({"namespaceSelector": namespaces, "podSelector": pods}))
}

type Labels = &'static [(&'static str, &'static [&'static str])];

fn selector(labels: Labels) -> impl Strategy<Value = Value> {
    let label = move || select(labels).prop_flat_map(|(key, values)| (Just(key), select(values)));
    let expression = select(labels).prop_flat_map(|(key, values)| {
        let listed = proptest::sample::subsequence(values, 1..=values.len());
        (select(vec!["In", "NotIn", "Exists", "DoesNotExist"]), listed).prop_map(move |(operator, values)| {
            let takes_values = operator.ends_with("In");
            object([("key", Some(json!(key))), ("operator", Some(json!(operator))), ("values", takes_values.then(|| json!(values)))])
        })
    });
    prop_oneof![
        1 => Just(json!({})),
        3 => label().prop_map(|(key, value)| json!({"matchLabels": {key: value}})),
        2 => (of(label()), vec(expression, 1..3)).prop_map(|(label, expressions)| {
            let labels = label.map(|(key, value)| json!({key: value}));
            object([("matchLabels", labels), ("matchExpressions", Some(json!(expressions)))])
        }),
    ]
}

/// A rule of a ClusterNetworkPolicy.
fn cluster_rule(field: &'static str) -> impl Strategy<Value = Value> {
    let among_pods = prop_oneof![
        namespace_selector().prop_map(|namespaces| json!({"namespaces": namespaces})),
        namespaced_pod().prop_map(|pods| json!({"pods": pods})),
    ];
    let role = select(vec![json!({}), json!({"matchLabels": {"role": "edge"}}), json!({"matchLabels": {"role": "worker"}})]);
    let elsewhere = prop_oneof![
        1 => role.prop_map(|nodes| json!({"nodes": nodes})),
        2 => vec(ip_block(), 1..3).prop_map(|blocks| {
            let mut networks: Vec<Value> = blocks.into_iter().map(|block| block["cidr"].clone()).collect();
            networks.dedup();
            json!({"networks": networks})
        }),
    ];
    let action = select(vec!["Accept", "Deny", "Deny", "Pass"]);
    (action, vec(among_pods, 1..3), of(elsewhere), weighted(0.5, vec(cluster_protocol(), 1..3))).prop_map(
        move |(action, mut peers, elsewhere, protocols)| {
            // Only rules for what goes out know others than pods, and these have no named ports.
            let is_named = protocols.iter().flatten().any(|protocol| protocol.get("destinationNamedPort").is_some());
            peers.extend(elsewhere.filter(|_| field == "to" && !is_named));
            object([("action", Some(json!(action))), (field, Some(json!(peers))), ("protocols", protocols.map(Value::from))])
        },
    )
}

fn cluster_protocol() -> impl Strategy<Value = Value> {
    let port = prop_oneof![
        3 => (79..83_u16).prop_map(|number| json!({"destinationPort": {"number": number}})),
        2 => (1..81_u16, 1..20_u16).prop_map(|(start, more)| json!({"destinationPort": {"range": {"start": start, "end": start + more}}})),
        1 => Just(json!({"destinationPort": {"range": {"start": 1, "end": u16::MAX}}})),
    ];
    prop_oneof![
        4 => (select(vec!["tcp", "udp", "sctp"]), port).prop_map(|(protocol, port)| json!({protocol: port})),
        1 => port_name().prop_map(|name| json!({"destinationNamedPort": name})),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::World;
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;

    #[test]
    fn sets_allow_some_and_refuse_some() {
        let scene = Scene::new(Spread::OneNode);
        let (mut runner, mut mixed) = (TestRunner::deterministic(), 0);
        for _ in 0..100 {
            let set = any_set().new_tree(&mut runner).unwrap().current();
            let world = World::of(scene.objects().iter().chain(&set));
            let questions = scene.questions();
            let allowed = questions.iter().filter(|(_, _, asked)| world.answer(asked).allowed()).count();
            mixed += usize::from(allowed > questions.len() / 10 && allowed < questions.len() * 9 / 10);
        }
        assert!(mixed > 40, "{mixed}");
    }
}

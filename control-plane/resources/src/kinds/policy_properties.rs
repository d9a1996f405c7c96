//! NetworkPolicies and ClusterNetworkPolicies made up at random: what is right is taken and stays as it is; with any one field broken, the complaint
//! names that field. The rules are told again here, by field name, apart from the code that checks them.

use super::cluster_network_policy::ClusterNetworkPolicyKind;
use super::network_policy::NetworkPolicy;
use crate::contract::Resource;
use crate::typed::Typed;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

const POLICY: &dyn Resource = &Typed::<NetworkPolicy>::NEW;
const CLUSTER: &dyn Resource = &Typed::<ClusterNetworkPolicyKind>::NEW;

/// Which kind a rule of the table is about.
#[derive(Clone, Copy, PartialEq)]
enum Of {
    Policy,
    Cluster,
    Both,
}

/// What is done to a value to break it.
enum Break {
    /// Something else in its place.
    With(Value),
    /// Nothing in its place.
    Away,
    /// The list that it is, so often that there are 26.
    Many,
    /// A member more, or another; the complaint is about the value itself.
    Member(&'static str, Value),
}

/// What breaks which value of which kind. A value is named by the field that it is in, an item of a list by that and `[]`. Of a rule that is not
/// about values of every form, the last part says which.
type Rule = (Of, &'static str, Break, fn(&Value) -> bool);

fn rules() -> Vec<Rule> {
    let any: fn(&Value) -> bool = |_| true;
    let has_items: fn(&Value) -> bool = |list| list.as_array().is_some_and(|items| !items.is_empty());
    let bad = |value: Value| Break::With(value);
    vec![
        (Of::Policy, "protocol", bad(json!("ICMP")), any),
        (Of::Policy, "protocol", bad(json!("")), any),
        (Of::Policy, "port", bad(json!(0)), Value::is_number),
        (Of::Policy, "port", bad(json!(65536)), Value::is_number),
        (Of::Policy, "port", bad(json!("Http")), Value::is_string),
        (Of::Policy, "port", bad(json!("")), Value::is_string),
        (Of::Policy, "endPort", bad(json!(65536)), any),
        (Of::Policy, "endPort", bad(json!(0)), any),
        (Of::Policy, "cidr", bad(json!("10.0.0.0")), any),
        (Of::Policy, "cidr", bad(json!("10.0.0.0/33")), any),
        (Of::Policy, "cidr", bad(json!("")), any),
        (Of::Policy, "except[]", bad(json!("0.0.0.0/0")), any),
        (Of::Policy, "except[]", bad(json!("192.0.2.0/24")), any),
        (Of::Policy, "except[]", bad(json!("::/0")), any),
        (Of::Policy, "except[]", bad(json!("x")), any),
        (Of::Policy, "from[]", Break::Member("ipBlock", json!({"cidr": "10.0.0.0/8"})), |peer| peer.get("ipBlock").is_none()),
        (Of::Policy, "to[]", Break::Member("podSelector", json!({})), |peer| peer.get("ipBlock").is_some()),
        (Of::Policy, "policyTypes[]", bad(json!("Both")), any),
        (Of::Policy, "policyTypes", bad(json!(["Ingress", "Egress", "Ingress"])), any),
        (Of::Both, "from[]", bad(json!({})), any),
        (Of::Both, "to[]", bad(json!({})), any),
        (Of::Both, "operator", bad(json!("Like")), any),
        (Of::Both, "operator", bad(json!("")), any),
        (Of::Both, "key", bad(json!("-a")), any),
        (Of::Both, "matchLabels", Break::Member("a b", json!("c")), any),
        (Of::Both, "matchLabels", Break::Member("a", json!("b c")), any),
        (Of::Cluster, "tier", bad(json!("NetworkPolicy")), any),
        (Of::Cluster, "tier", Break::Away, any),
        (Of::Cluster, "priority", bad(json!(1001)), any),
        (Of::Cluster, "priority", bad(json!(-1)), any),
        (Of::Cluster, "priority", Break::Away, any),
        (Of::Cluster, "subject", bad(json!({})), any),
        (Of::Cluster, "subject", Break::Away, any),
        (Of::Cluster, "subject", Break::Member("pods", json!({"podSelector": {}})), |subject| subject.get("pods").is_none()),
        (Of::Cluster, "podSelector", Break::Away, any),
        (Of::Cluster, "ingress", Break::Many, has_items),
        (Of::Cluster, "egress", Break::Many, has_items),
        (Of::Cluster, "name", bad(json!("n".repeat(101))), any),
        (Of::Cluster, "action", bad(json!("Allow")), any),
        (Of::Cluster, "action", Break::Away, any),
        (Of::Cluster, "from", bad(json!([])), any),
        (Of::Cluster, "from", Break::Away, any),
        (Of::Cluster, "from", Break::Many, has_items),
        (Of::Cluster, "to", bad(json!([])), any),
        (Of::Cluster, "to", Break::Away, any),
        (Of::Cluster, "to", Break::Many, has_items),
        (Of::Cluster, "from[]", Break::Member("namespaces", json!({})), |peer| peer.get("namespaces").is_none()),
        (Of::Cluster, "to[]", Break::Member("nodes", json!({})), |peer| peer.get("nodes").is_none()),
        (Of::Cluster, "networks", bad(json!([])), any),
        (Of::Cluster, "networks[]", bad(json!("10.0.0.0/33")), any),
        (Of::Cluster, "networks[]", bad(json!("::ffff:10.0.0.0/104")), any),
        (Of::Cluster, "domainNames", bad(json!([])), any),
        (Of::Cluster, "domainNames[]", bad(json!("localhost")), any),
        (Of::Cluster, "domainNames[]", bad(json!("a.*.io")), any),
        (Of::Cluster, "protocols", bad(json!([])), any),
        (Of::Cluster, "protocols", Break::Many, has_items),
        (Of::Cluster, "protocols[]", bad(json!({})), any),
        (Of::Cluster, "protocols[]", Break::Member("sctp", json!({"destinationPort": {"number": 1}})), |own| own.get("sctp").is_none()),
        (Of::Cluster, "destinationNamedPort", bad(json!("Http")), any),
        (Of::Cluster, "tcp", bad(json!({})), any),
        (Of::Cluster, "udp", bad(json!({})), any),
        (Of::Cluster, "sctp", bad(json!({})), any),
        (Of::Cluster, "destinationPort", bad(json!({})), any),
        (Of::Cluster, "destinationPort", bad(json!({"number": 1, "range": {"start": 1, "end": 2}})), any),
        (Of::Cluster, "number", bad(json!(0)), any),
        (Of::Cluster, "number", bad(json!(65536)), any),
        (Of::Cluster, "range", bad(json!({"start": 5, "end": 5})), any),
        (Of::Cluster, "start", bad(json!(0)), any),
        (Of::Cluster, "start", Break::Away, any),
        (Of::Cluster, "end", bad(json!(65536)), any),
        (Of::Cluster, "end", Break::Away, any),
    ]
}

/// A value in an object.
#[derive(Clone)]
struct Place {
    /// As a JSON pointer.
    pointer: String,
    /// As complaints name it.
    path: String,
    /// As the rules name it.
    name: String,
}

/// Every value of a spec, itself left out.
fn places(value: &Value, at: &Place, found: &mut Vec<Place>) {
    let inner = match value {
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| {
                let place = Place { pointer: format!("{}/{key}", at.pointer), path: format!("{}.{key}", at.path), name: key.clone() };
                (place, value)
            })
            .collect::<Vec<_>>(),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .map(|(i, value)| {
                let place =
                    Place { pointer: format!("{}/{i}", at.pointer), path: format!("{}[{i}]", at.path), name: format!("{}[]", at.name) };
                (place, value)
            })
            .collect(),
        _ => return,
    };
    for (place, value) in inner {
        // Keys of labels are no fields.
        if at.name != "matchLabels" {
            places(value, &place, found);
            found.push(place);
        }
    }
}

fn broken(object: &Value, place: &Place, how: &Break) -> Value {
    let mut object = object.clone();
    match how {
        Break::Away => {
            let (parent, last) = place.pointer.rsplit_once('/').unwrap();
            object.pointer_mut(parent).and_then(Value::as_object_mut).unwrap().remove(last);
        }
        Break::With(value) => *object.pointer_mut(&place.pointer).unwrap() = value.clone(),
        Break::Member(name, value) => object.pointer_mut(&place.pointer).unwrap()[*name] = value.clone(),
        Break::Many => {
            let list = object.pointer_mut(&place.pointer).and_then(Value::as_array_mut).unwrap();
            let items: Vec<Value> = list.iter().cycle().take(26).cloned().collect();
            *list = items;
        }
    }
    object
}

/// Breaks the spec in every way that there is a rule for; the numbers of the rules that found something to break.
fn break_everything(kind: &dyn Resource, of: Of, object: &Value) -> Result<BTreeSet<usize>, TestCaseError> {
    let mut found = Vec::new();
    places(&object["spec"], &Place { pointer: "/spec".into(), path: "spec".into(), name: "spec".into() }, &mut found);
    let mut used = BTreeSet::new();
    for (number, (rule_of, name, how, applies)) in rules().iter().enumerate() {
        for place in found.iter().filter(|place| place.name == *name && (*rule_of == of || *rule_of == Of::Both)) {
            // Away with the pods of a NetworkPolicy's peer: that is another rule.
            if !applies(object.pointer(&place.pointer).unwrap()) || (*name == "podSelector" && !place.path.contains(".pods.")) {
                continue;
            }
            let body = broken(object, place, how);
            let decoded = kind.decode(body).map_err(|e| TestCaseError::fail(format!("{}: {e}", place.path)))?;
            let fields: Vec<String> = kind.validate_create(&decoded.object).into_iter().map(|e| e.field).collect();
            prop_assert!(fields.contains(&place.path), "{} is broken (rule {number}), the complaints are about {fields:?}", place.path);
            used.insert(number);
        }
    }
    Ok(used)
}

/// What is right has no complaint, and reads as what it is.
fn is_right(kind: &dyn Resource, object: &Value) -> Result<(), TestCaseError> {
    let read = kind.decode(object.clone()).unwrap();
    prop_assert_eq!(&read.unknown, &Vec::<String>::new());
    prop_assert_eq!(kind.validate_create(&read.object), vec![]);
    prop_assert_eq!(kind.validate_update(&read.object, &read.object, None), vec![]);
    prop_assert!(is_within(object, &read.object), "{} became {}", object, read.object);
    let again = kind.decode(read.object.clone()).unwrap();
    prop_assert_eq!(&again.object, &read.object);
    prop_assert_eq!(kind.cells(&read.object, 0).len(), kind.columns().len());
    Ok(())
}

/// Whether `whole` has everything that `part` has; it may have more fields.
fn is_within(part: &Value, whole: &Value) -> bool {
    match (part, whole) {
        (Value::Object(part), Value::Object(whole)) => {
            part.iter().all(|(key, value)| whole.get(key).is_some_and(|other| is_within(value, other)))
        }
        (Value::Array(part), Value::Array(whole)) => part.len() == whole.len() && part.iter().zip(whole).all(|(a, b)| is_within(a, b)),
        (part, whole) => part == whole,
    }
}

fn object_of(fields: Vec<(&'static str, Option<Value>)>) -> Value {
    Value::Object(fields.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect::<Map<_, _>>())
}

fn some(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Option<Value>> {
    prop::option::of(value)
}

fn list(item: impl Strategy<Value = Value>, size: std::ops::Range<usize>) -> impl Strategy<Value = Value> {
    prop::collection::vec(item, size).prop_map(Value::from)
}

fn of(choices: &'static [&'static str]) -> impl Strategy<Value = Value> {
    prop::sample::select(choices).prop_map(Value::from)
}

fn selector() -> impl Strategy<Value = Value> {
    let label = (prop::sample::select(vec!["app", "example.com/tier"]), of(&["", "web", "A_1.x"]));
    let labels =
        prop::collection::vec(label, 0..3).prop_map(|all| Value::Object(all.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()));
    let expression = prop_oneof![
        (of(&["In", "NotIn"]), list(of(&["a", ""]), 1..3))
            .prop_map(|(operator, values)| json!({"key": "k", "operator": operator, "values": values})),
        of(&["Exists", "DoesNotExist"]).prop_map(|operator| json!({"key": "a.b/k", "operator": operator})),
    ];
    (some(labels), some(list(expression, 1..3)))
        .prop_map(|(labels, expressions)| object_of(vec![("matchLabels", labels), ("matchExpressions", expressions)]))
}

fn policy() -> impl Strategy<Value = Value> {
    let block = prop_oneof![
        some(list(of(&["10.1.0.0/16", "10.0.0.1/32", "10.128.0.0/9"]), 1..3)).prop_map(|except| ("10.0.0.0/8", except)),
        some(list(of(&["fd00:1::/32"]), 1..2)).prop_map(|except| ("fd00::/16", except)),
    ];
    let peer = prop_oneof![
        block.prop_map(|(cidr, except)| json!({"ipBlock": object_of(vec![("cidr", Some(cidr.into())), ("except", except)])})),
        (selector(), some(selector()))
            .prop_map(|(pods, namespaces)| object_of(vec![("podSelector", Some(pods)), ("namespaceSelector", namespaces)])),
        selector().prop_map(|namespaces| json!({"namespaceSelector": namespaces})),
    ]
    .boxed();
    let protocol = || some(of(&["TCP", "UDP", "SCTP"]));
    let port = prop_oneof![
        protocol().prop_map(|protocol| object_of(vec![("protocol", protocol)])),
        (protocol(), of(&["http", "a-1"])).prop_map(|(protocol, port)| object_of(vec![("protocol", protocol), ("port", Some(port))])),
        (protocol(), 1..60000_i32, prop::option::of(0..5535_i32)).prop_map(|(protocol, port, more)| {
            object_of(vec![("protocol", protocol), ("port", Some(port.into())), ("endPort", more.map(|more| (port + more).into()))])
        }),
    ]
    .boxed();
    let rule = move |peers: &'static str| {
        (some(list(port.clone(), 0..3)), some(list(peer.clone(), 0..3)))
            .prop_map(move |(ports, list)| object_of(vec![("ports", ports), (peers, list)]))
    };
    let types = prop_oneof![
        Just(json!(["Ingress"])),
        Just(json!(["Egress"])),
        Just(json!(["Ingress", "Egress"])),
        Just(json!(["Egress", "Ingress"]))
    ];
    (selector(), some(types), some(list(rule("from"), 0..3)), some(list(rule("to"), 0..3))).prop_map(|(pods, types, ingress, egress)| {
        let spec = object_of(vec![("podSelector", Some(pods)), ("policyTypes", types), ("ingress", ingress), ("egress", egress)]);
        json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "p", "namespace": "d"}, "spec": spec})
    })
}

fn cluster_policy() -> impl Strategy<Value = Value> {
    let pods = || {
        (some(selector()), selector())
            .prop_map(|(namespaces, pods)| json!({"pods": object_of(vec![("namespaceSelector", namespaces), ("podSelector", Some(pods))])}))
    };
    let namespaces = || selector().prop_map(|namespaces| json!({"namespaces": namespaces}));
    let pods_or_all = move || prop_oneof![pods(), namespaces()].boxed();
    let networks = prop::sample::subsequence(vec!["10.0.0.0/8", "10.1.2.3/8", "fd00::/8", "0.0.0.0/0", "::/0"], 1..5);
    let outside =
        prop_oneof![selector().prop_map(|nodes| json!({"nodes": nodes})), networks.prop_map(|networks| json!({"networks": networks})),]
            .boxed();
    let names =
        prop::sample::subsequence(vec!["a.io", "*.b.io", "A-b_c.d.e."], 1..3).prop_map(|names| json!({"domainNames": names})).boxed();
    let port = || {
        prop_oneof![
            (1..=65535_i32).prop_map(|number| json!({"destinationPort": {"number": number}})),
            (1..60000_i32, 1..5535_i32)
                .prop_map(|(start, more)| json!({"destinationPort": {"range": {"start": start, "end": start + more}}})),
        ]
    };
    let numbered = (prop::sample::select(vec!["tcp", "udp", "sctp"]), port()).prop_map(|(protocol, port)| json!({protocol: port})).boxed();
    let named = of(&["http", "a-1"]).prop_map(|name| json!({"destinationNamedPort": name}));
    let any_protocol = prop_oneof![numbered.clone(), named].boxed();
    let action = || of(&["Accept", "Deny", "Pass"]);
    let rule = |name, action, peers: &'static str, list, protocols| {
        object_of(vec![("name", name), ("action", Some(action)), (peers, Some(list)), ("protocols", protocols)])
    };
    let name = || some(of(&["", "a rule", "é"]));
    let ingress = (name(), action(), list(pods_or_all(), 1..3), some(list(any_protocol.clone(), 1..3)))
        .prop_map(move |(name, action, peers, protocols)| rule(name, action, "from", peers, protocols));
    let egress = prop_oneof![
        (name(), action(), list(pods_or_all(), 1..3), some(list(any_protocol, 1..3))),
        (name(), action(), list(prop_oneof![outside, pods_or_all()], 1..3), some(list(numbered.clone(), 1..3))),
        (name(), Just(json!("Accept")), list(names, 1..2), some(list(numbered, 1..3))),
    ]
    .prop_map(move |(name, action, peers, protocols)| rule(name, action, "to", peers, protocols));
    (of(&["Admin", "Baseline"]), 0..=1000_i32, pods_or_all(), some(list(ingress, 0..3)), some(list(egress, 0..3))).prop_map(
        |(tier, priority, subject, ingress, egress)| {
            let spec = object_of(vec![
                ("tier", Some(tier)),
                ("priority", Some(priority.into())),
                ("subject", Some(subject)),
                ("ingress", ingress),
                ("egress", egress),
            ]);
            json!({"apiVersion": "policy.networking.k8s.io/v1alpha2", "kind": "ClusterNetworkPolicy", "metadata": {"name": "p"}, "spec": spec})
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn right_policies_are_taken_and_stay_as_they_are(policy in policy(), cluster in cluster_policy()) {
        is_right(POLICY, &policy)?;
        is_right(CLUSTER, &cluster)?;
    }

    #[test]
    fn a_broken_field_is_named(policy in policy(), cluster in cluster_policy()) {
        break_everything(POLICY, Of::Policy, &policy)?;
        break_everything(CLUSTER, Of::Cluster, &cluster)?;
    }

    /// Fields of a later version are told, not stored, and make no peer.
    #[test]
    fn unknown_fields_are_told(cluster in cluster_policy(), number in any::<prop::sample::Index>()) {
        let mut found = Vec::new();
        places(&cluster["spec"], &Place { pointer: "/spec".into(), path: "spec".into(), name: "spec".into() }, &mut found);
        let objects: Vec<&Place> = found.iter().filter(|place| cluster.pointer(&place.pointer).is_some_and(Value::is_object) && place.name != "matchLabels").collect();
        let place = number.get(&objects);
        let body = broken(&cluster, place, &Break::Member("ofTomorrow", json!({"x": [1]})));
        let read = CLUSTER.decode(body).unwrap();
        prop_assert_eq!(read.unknown, vec![format!("{}.ofTomorrow", place.path)]);
        prop_assert!(!read.object.to_string().contains("ofTomorrow"));
    }
}

#[test]
fn every_rule_finds_something_to_break() {
    let mut runner = TestRunner::deterministic();
    let mut used = BTreeSet::new();
    for _ in 0..200 {
        let policy = policy().new_tree(&mut runner).unwrap().current();
        let cluster = cluster_policy().new_tree(&mut runner).unwrap().current();
        used.extend(break_everything(POLICY, Of::Policy, &policy).unwrap());
        used.extend(break_everything(CLUSTER, Of::Cluster, &cluster).unwrap());
    }
    let unused: Vec<&str> = rules().iter().enumerate().filter(|(number, _)| !used.contains(number)).map(|(_, rule)| rule.1).collect();
    assert_eq!(unused, [""; 0]);
}

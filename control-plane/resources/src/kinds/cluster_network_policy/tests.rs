//! One object that is right, and for each rule the smallest change that breaks it.

use super::ClusterNetworkPolicyKind;
use crate::contract::Resource;
use crate::typed::Typed;
use serde_json::{Value, json};

const KIND: Typed<ClusterNetworkPolicyKind> = Typed::NEW;

fn right() -> Value {
    json!({
        "metadata": {"name": "a"},
        "spec": {
            "tier": "Admin",
            "priority": 10,
            "subject": {"pods": {"namespaceSelector": {"matchLabels": {"a": "b"}}, "podSelector": {}}},
            "ingress": [
                {"name": "probes", "action": "Accept", "from": [{"namespaces": {}}, {"pods": {"podSelector": {"matchLabels": {"a": "b"}}}}],
                 "protocols": [{"tcp": {"destinationPort": {"number": 80}}}, {"destinationNamedPort": "http"}]},
                {"action": "Deny", "from": [{"namespaces": {}}]},
            ],
            "egress": [
                {"action": "Pass", "to": [{"nodes": {}}, {"networks": ["10.0.0.0/8", "fd00::1/8"]}],
                 "protocols": [{"udp": {"destinationPort": {"range": {"start": 1, "end": 65535}}}}, {"sctp": {"destinationPort": {"number": 1}}}]},
                {"action": "Accept", "to": [{"domainNames": ["a.io", "*.b.io."]}]},
            ],
        },
    })
}

/// What is wrong with the right object after `value` was put at `pointer`; `null` takes away what is there.
fn complaints(pointer: &str, value: Value) -> Vec<String> {
    let mut object = right();
    let (parent, last) = pointer.rsplit_once('/').unwrap();
    match object.pointer_mut(parent).unwrap() {
        Value::Object(map) if value.is_null() => drop(map.remove(last)),
        Value::Object(map) => drop(map.insert(last.to_owned(), value)),
        Value::Array(list) => list[last.parse::<usize>().unwrap()] = value,
        other => panic!("{pointer} is in {other}"),
    }
    let decoded = KIND.decode(object).unwrap();
    assert!(decoded.unknown.is_empty(), "{:?}", decoded.unknown);
    KIND.validate_create(&decoded.object).iter().map(ToString::to_string).collect()
}

#[test]
fn the_right_object_is_right_and_stays_as_it_is() {
    let decoded = KIND.decode(right()).unwrap();
    assert!(decoded.unknown.is_empty());
    assert_eq!(KIND.validate_create(&decoded.object), []);
    assert_eq!(decoded.object["spec"], right()["spec"]);
    assert_eq!(decoded.object["apiVersion"], "policy.networking.k8s.io/v1alpha2");
    assert_eq!(KIND.cells(&decoded.object, 0)[..3], [json!("a"), json!("Admin"), json!("10")]);
}

#[test]
fn every_rule_names_the_field_that_breaks_it() {
    let rule = right()["spec"]["ingress"][1].clone();
    let peer = json!({"namespaces": {}});
    let protocol = json!({"tcp": {"destinationPort": {"number": 80}}});
    let cases: &[(&str, Value, &str)] = &[
        ("/spec", Value::Null, "spec: Required value"),
        ("/spec/tier", Value::Null, "spec.tier: Required value"),
        ("/spec/tier", json!("Other"), r#"spec.tier: Unsupported value: "Other": supported values: "Admin", "Baseline""#),
        ("/spec/tier", json!(""), "spec.tier: Unsupported value"),
        ("/spec/priority", Value::Null, "spec.priority: Required value"),
        ("/spec/priority", json!(-1), "spec.priority: Invalid value: -1: spec.priority in body should be greater than or equal to 0"),
        ("/spec/priority", json!(1001), "spec.priority: Invalid value: 1001: spec.priority in body should be less than or equal to 1000"),
        ("/spec/subject", Value::Null, "spec.subject: Required value"),
        ("/spec/subject", json!({}), "spec.subject: Invalid value"),
        ("/spec/subject", json!({"namespaces": {}, "pods": {"podSelector": {}}}), "spec.subject: Too many: 2: must have at most 1 items"),
        ("/spec/subject/pods/podSelector", Value::Null, "spec.subject.pods.podSelector: Required value"),
        (
            "/spec/subject/pods/namespaceSelector/matchExpressions",
            json!([{"key": "a", "operator": "Like"}]),
            "spec.subject.pods.namespaceSelector.matchExpressions[0].operator: Invalid value",
        ),
        ("/spec/ingress", json!(vec![rule; 26]), "spec.ingress: Too many: 26: must have at most 25 items"),
        ("/spec/ingress/0/name", json!("é".repeat(101)), "spec.ingress[0].name: Too long"),
        ("/spec/ingress/0/action", Value::Null, "spec.ingress[0].action: Required value"),
        ("/spec/ingress/0/action", json!("Allow"), "spec.ingress[0].action: Unsupported value"),
        ("/spec/ingress/0/from", Value::Null, "spec.ingress[0].from: Required value"),
        (
            "/spec/ingress/0/from",
            json!([]),
            "spec.ingress[0].from: Invalid value: 0: spec.ingress[0].from in body should have at least 1 items",
        ),
        ("/spec/ingress/0/from", json!(vec![peer; 26]), "spec.ingress[0].from: Too many: 26"),
        ("/spec/ingress/0/from/1", json!({}), "spec.ingress[0].from[1]: Invalid value"),
        ("/spec/ingress/0/from/0/pods", json!({"podSelector": {}}), "spec.ingress[0].from[0]: Too many: 2"),
        ("/spec/ingress/0/from/1/pods/podSelector", Value::Null, "spec.ingress[0].from[1].pods.podSelector: Required value"),
        ("/spec/ingress/0/protocols", json!([]), "spec.ingress[0].protocols: Invalid value: 0"),
        ("/spec/ingress/0/protocols", json!(vec![protocol; 26]), "spec.ingress[0].protocols: Too many: 26"),
        ("/spec/ingress/0/protocols/0", json!({}), "spec.ingress[0].protocols[0]: Invalid value"),
        ("/spec/ingress/0/protocols/0/tcp", json!({}), "spec.ingress[0].protocols[0].tcp: Invalid value"),
        ("/spec/ingress/0/protocols/0/destinationNamedPort", json!("a"), "spec.ingress[0].protocols[0]: Too many: 2"),
        (
            "/spec/ingress/0/protocols/1/destinationNamedPort",
            json!("80"),
            "spec.ingress[0].protocols[1].destinationNamedPort: Invalid value",
        ),
        ("/spec/ingress/0/protocols/0/tcp/destinationPort", json!({}), "spec.ingress[0].protocols[0].tcp.destinationPort: Invalid value"),
        (
            "/spec/ingress/0/protocols/0/tcp/destinationPort/number",
            json!(0),
            "spec.ingress[0].protocols[0].tcp.destinationPort.number: Invalid",
        ),
        (
            "/spec/ingress/0/protocols/0/tcp/destinationPort/number",
            json!(65536),
            "spec.ingress[0].protocols[0].tcp.destinationPort.number: Invalid",
        ),
        (
            "/spec/ingress/0/protocols/0/tcp/destinationPort/range",
            json!({"start": 1, "end": 2}),
            "spec.ingress[0].protocols[0].tcp.destinationPort: Too many: 2",
        ),
        (
            "/spec/egress/0/protocols/0/udp/destinationPort/range/start",
            Value::Null,
            "spec.egress[0].protocols[0].udp.destinationPort.range.start: Required value",
        ),
        (
            "/spec/egress/0/protocols/0/udp/destinationPort/range/start",
            json!(65535),
            r#"spec.egress[0].protocols[0].udp.destinationPort.range: Invalid value"#,
        ),
        ("/spec/egress/0/to", Value::Null, "spec.egress[0].to: Required value"),
        ("/spec/egress/0/to/0", json!({}), "spec.egress[0].to[0]: Invalid value"),
        ("/spec/egress/0/to/0/networks", json!(["10.0.0.0/8"]), "spec.egress[0].to[0]: Too many: 2"),
        ("/spec/egress/0/to/1/networks", json!([]), "spec.egress[0].to[1].networks: Invalid value: 0"),
        ("/spec/egress/0/to/1/networks/1", json!("10.0.0.0/8"), r#"spec.egress[0].to[1].networks[1]: Duplicate value: "10.0.0.0/8""#),
        ("/spec/egress/0/to/1/networks/1", json!("10.0.0.0"), "spec.egress[0].to[1].networks[1]: Invalid value"),
        ("/spec/egress/0/to/1/networks/1", json!("10.0.0.0/08"), "spec.egress[0].to[1].networks[1]: Invalid value"),
        ("/spec/egress/0/to/1/networks/1", json!("10.0.0.01/8"), "spec.egress[0].to[1].networks[1]: Invalid value"),
        ("/spec/egress/0/to/1/networks/1", json!("::ffff:10.0.0.0/104"), "spec.egress[0].to[1].networks[1]: Invalid value"),
        ("/spec/egress/0/to/1/networks/1", json!("fd00::%eth0/8"), "spec.egress[0].to[1].networks[1]: Invalid value"),
        ("/spec/egress/0/to/1/networks/1", json!("1".repeat(44)), "spec.egress[0].to[1].networks[1]: Too long"),
        ("/spec/egress/1/action", json!("Deny"), "spec.egress[1].to[0].domainNames: Forbidden"),
        ("/spec/egress/1/to/0/domainNames/0", json!("io"), "spec.egress[1].to[0].domainNames[0]: Invalid value"),
        ("/spec/egress/1/to/0/domainNames/0", json!("*.io"), "spec.egress[1].to[0].domainNames[0]: Invalid value"),
        ("/spec/egress/1/to/0/domainNames/0", json!("a.*.io"), "spec.egress[1].to[0].domainNames[0]: Invalid value"),
        ("/spec/egress/1/to/0/domainNames/0", json!("a-.io"), "spec.egress[1].to[0].domainNames[0]: Invalid value"),
        ("/spec/egress/1/to/0/domainNames/0", json!("a..io"), "spec.egress[1].to[0].domainNames[0]: Invalid value"),
        ("/spec/egress/1/to/0/domainNames/0", json!("*.b.io."), "spec.egress[1].to[0].domainNames[1]: Duplicate value"),
        (
            "/spec/egress/0/protocols/1",
            json!({"destinationNamedPort": "http"}),
            "spec.egress[0].protocols[1].destinationNamedPort: Forbidden: networks/nodes/domainNames peer cannot be set with namedPorts",
        ),
        ("/metadata/name", json!("A"), "metadata.name: Invalid value"),
    ];
    for (pointer, value, expected) in cases {
        let found = complaints(pointer, value.clone());
        assert!(found.len() == 1 && found[0].starts_with(expected), "{pointer} {value}: {found:?}, not {expected}");
    }
}

#[test]
fn named_ports_go_with_pods() {
    assert_eq!(
        complaints("/spec/egress/1", json!({"action": "Deny", "to": [{"namespaces": {}}], "protocols": [{"destinationNamedPort": "a"}]})),
        [""; 0]
    );
    assert_eq!(complaints("/spec/egress/1/to/0/domainNames/0", json!("A_b.c-d.e")), [""; 0]);
    assert_eq!(complaints("/spec/ingress", json!([])), [""; 0]);
    assert_eq!(complaints("/spec/ingress/0/name", json!("é".repeat(100))), [""; 0]);
}

#[test]
fn a_status_is_held_to_its_own_rules() {
    let condition = |status: &str| {
        let mut object = right();
        object["status"] = json!({"conditions": [{"type": "Programmed", "status": status, "reason": "R", "lastTransitionTime": "2026-01-02T03:04:05Z", "message": ""}]});
        KIND.decode(object).unwrap().object
    };
    assert_eq!(KIND.validate_update(&condition("True"), &condition("False"), Some("status")), []);
    let found = KIND.validate_update(&condition("Yes"), &condition("False"), Some("status"));
    assert_eq!(found.iter().map(|e| e.field.as_str()).collect::<Vec<_>>(), ["status.conditions[0].status"]);
}

//! NetworkPolicies as the store has them: fields that this version does not know may be the ones that close something, so the part that has
//! one allows nothing.

use crate::facts::{PolicyFacts, Uid};
use crate::names::Names;
use k8s_openapi::api::networking::v1::{NetworkPolicy, NetworkPolicySpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;
use serde_json::{Value, json};

const SPEC: &[&str] = &["podSelector", "ingress", "egress", "policyTypes"];
const PEER: &[&str] = &["podSelector", "namespaceSelector", "ipBlock"];
const BLOCK: &[&str] = &["cidr", "except"];
const PORT: &[&str] = &["protocol", "port", "endPort"];
const SELECTOR: &[&str] = &["matchLabels", "matchExpressions"];
const EXPRESSION: &[&str] = &["key", "operator", "values"];

impl PolicyFacts {
    /// Of a NetworkPolicy whose spec is what the API has: a part that is not understood allows nothing; what cannot be read at all isolates all
    /// pods of its namespace.
    pub fn read(metadata: &ObjectMeta, spec: &Value, names: &mut Names) -> Self {
        let uid = Uid::of(metadata.uid.as_deref().unwrap_or_default());
        let mut strange = Vec::new();
        let mut known = if spec.is_null() { json!({}) } else { spec.clone() };
        close_unknown(&mut known, &mut strange);
        let spec = match NetworkPolicySpec::deserialize(known) {
            Ok(spec) => spec,
            Err(error) => return Self::closed(uid, &format!("it cannot be read ({error}); all pods of the namespace are isolated")),
        };
        let facts = Self::of(&NetworkPolicy { metadata: metadata.clone(), spec: Some(spec) }, names);
        let told = strange.into_iter().chain(facts.trouble.as_deref().map(str::to_owned)).collect::<Vec<_>>().join("; ");
        Self { trouble: (!told.is_empty()).then(|| told.into()), ..facts }
    }
}

/// Puts something that allows nothing in the place of each part that has an unknown field.
fn close_unknown(spec: &mut Value, strange: &mut Vec<String>) {
    if selector_stranger(&spec["podSelector"]).is_some() {
        // Read as a selector with an operator that nobody knows.
        spec["podSelector"] = json!({ "matchExpressions": [{ "key": "", "operator": "" }] });
    }
    if let Some(field) = stranger(spec, SPEC) {
        strange.push(format!("spec.{field} is not known; the pods are isolated"));
        spec["policyTypes"] = json!(["Ingress", "Egress"]);
        (spec["ingress"], spec["egress"]) = (Value::Null, Value::Null);
        spec.as_object_mut().into_iter().for_each(|fields| fields.retain(|name, _| SPEC.contains(&name.as_str())));
    }
    for (direction, side) in [("ingress", "from"), ("egress", "to")] {
        let rules = spec.get_mut(direction).and_then(Value::as_array_mut).into_iter().flatten();
        for (place, rule) in rules.enumerate() {
            if let Some(field) = stranger(rule, &[side, "ports"]) {
                strange.push(format!("spec.{direction}[{place}].{field} is not known; the rule allows nothing"));
                // A peer without a selector is none.
                *rule = json!({ (side): [{}] });
                continue;
            }
            close_each(rule, side, json!({}), peer_stranger);
            close_each(rule, "ports", json!({ "protocol": "" }), |port| stranger(port, PORT));
        }
    }
}

/// Puts `nothing` in the place of each member of a list that has an unknown field. It is told of when it is read.
fn close_each(rule: &mut Value, list: &str, nothing: Value, stranger: impl Fn(&Value) -> Option<String>) {
    for member in rule.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
        if stranger(member).is_some() {
            *member = nothing.clone();
        }
    }
}

fn peer_stranger(peer: &Value) -> Option<String> {
    stranger(peer, PEER)
        .or_else(|| selector_stranger(&peer["podSelector"]))
        .or_else(|| selector_stranger(&peer["namespaceSelector"]))
        .or_else(|| stranger(&peer["ipBlock"], BLOCK))
}

fn selector_stranger(selector: &Value) -> Option<String> {
    let expressions = selector["matchExpressions"].as_array().into_iter().flatten();
    stranger(selector, SELECTOR).or_else(|| expressions.into_iter().find_map(|expression| stranger(expression, EXPRESSION)))
}

/// A field of an object that is none of these.
fn stranger(object: &Value, known: &[&str]) -> Option<String> {
    object.as_object()?.keys().find(|field| !known.contains(&field.as_str())).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{PeerFacts, PortFacts, RuleFacts};

    fn read(spec: Value) -> PolicyFacts {
        PolicyFacts::read(&ObjectMeta::default(), &spec, &mut Names::default())
    }

    fn allows_nothing(rule: &RuleFacts) -> bool {
        rule.peers.as_ref().is_some_and(|peers| peers.is_empty()) || rule.ports.as_ref().is_some_and(|ports| ports.is_empty())
    }

    #[test]
    fn what_is_known_is_read_as_it_is() {
        let spec = json!({
            "podSelector": { "matchLabels": { "a": "b" }, "matchExpressions": [{ "key": "c", "operator": "In", "values": ["d"] }] },
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{
                "from": [
                    { "ipBlock": { "cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"] } },
                    { "namespaceSelector": {}, "podSelector": {} },
                ],
                "ports": [{ "protocol": "TCP", "port": 80, "endPort": 90 }],
            }],
            "egress": [{ "to": [{ "podSelector": {} }] }],
        });
        let typed: NetworkPolicySpec = serde_json::from_value(spec.clone()).unwrap();
        let expected = PolicyFacts::of(&NetworkPolicy { spec: Some(typed), ..NetworkPolicy::default() }, &mut Names::default());
        assert_eq!(read(spec), expected);
        assert_eq!(expected.trouble, None);
    }

    #[test]
    fn a_part_with_a_field_that_nobody_knows_allows_nothing() {
        for (rule, what) in [
            (json!({ "sources": [{ "podSelector": {} }] }), "sources"),
            (json!({ "from": [{ "podSelector": {} }], "when": "always" }), "when"),
            (json!({ "ports": [{ "protocol": "TCP", "portSet": "web" }] }), "ports[0]"),
            (json!({ "from": [{ "podSelector": {}, "serviceAccounts": ["admin"] }] }), "from[0]"),
            (json!({ "from": [{ "podSelector": { "matchFields": [] } }] }), "from[0]"),
            (
                json!({ "from": [{ "namespaceSelector": { "matchExpressions": [{ "key": "a", "operator": "Exists", "scope": 1 }] } }] }),
                "from[0]",
            ),
            (json!({ "from": [{ "ipBlock": { "cidr": "10.0.0.0/8", "only": ["10.1.0.0/16"] } }] }), "from[0]"),
        ] {
            let facts = read(json!({ "podSelector": {}, "ingress": [rule] }));
            let rules = facts.ingress.as_deref().unwrap();
            assert!(rules.iter().all(allows_nothing), "{rule}: {rules:?}");
            assert!(facts.trouble.as_deref().is_some_and(|told| told.contains(what)), "{rule}: {:?}", facts.trouble);
        }
        // What stands beside it holds.
        let facts = read(json!({ "podSelector": {}, "ingress": [{ "from": [{ "podSelector": {}, "new": 1 }, { "podSelector": {} }] }] }));
        assert!(matches!(&*facts.ingress.unwrap()[0].peers.clone().unwrap(), [PeerFacts::OwnPods(_)]));
        let facts = read(json!({ "podSelector": {}, "ingress": [{ "ports": [{ "new": 1 }, { "port": 80 }] }] }));
        assert!(matches!(&*facts.ingress.unwrap()[0].ports.clone().unwrap(), [PortFacts::Range { first: 80, .. }]));
    }

    #[test]
    fn a_policy_with_a_field_that_nobody_knows_closes_both_directions() {
        let facts = read(json!({ "podSelector": {}, "ingress": [{}], "defaults": "deny" }));
        assert_eq!((facts.ingress.as_deref(), facts.egress.as_deref()), (Some(&[][..]), Some(&[][..])));
        assert!(facts.trouble.unwrap().contains("spec.defaults"));
        for spec in [json!({ "podSelector": { "matchFields": [] }, "ingress": [{}] }), json!({ "podSelector": 7 }), json!("none")] {
            let facts = read(spec.clone());
            assert_eq!((facts.ingress.as_deref(), facts.egress.as_deref()), (Some(&[][..]), Some(&[][..])), "{spec}");
            assert!(facts.trouble.is_some(), "{spec}");
        }
    }
}

//! NetworkPolicy: what traffic pods may have. Enforcing is the data plane's.
//!
//! Before: `{"spec": {"podSelector": {}, "egress": [{}]}}`. After: `policyTypes: [Ingress, Egress]`.

use crate::contract::{Column, Descriptor};
use crate::field::{Errors, Path};
use crate::table::{self, text};
use crate::typed::{Kind, namespaced, or_empty};
use crate::{names, selector};
use k8s_openapi::api::networking::v1;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::Value;

pub struct NetworkPolicy;

impl Kind for NetworkPolicy {
    type Object = v1::NetworkPolicy;

    const DESCRIPTOR: Descriptor = Descriptor {
        short_names: &["netpol"],
        has_generation: true,
        ..namespaced::<v1::NetworkPolicy>("networkpolicies", "networkpolicy")
    };
    const COLUMNS: &'static [Column] = &[table::NAME, text("Pod-Selector", "Pods that the policy is for"), table::AGE];

    fn default(object: &mut v1::NetworkPolicy) {
        let Some(spec) = &mut object.spec else { return };
        spec.pod_selector.get_or_insert_default();
        if spec.policy_types.as_ref().is_none_or(Vec::is_empty) {
            let egress = spec.egress.as_ref().is_some_and(|rules| !rules.is_empty());
            let types = if egress { &["Ingress", "Egress"][..] } else { &["Ingress"] };
            spec.policy_types = Some(types.iter().map(|t| (*t).to_owned()).collect());
        }
        let ingress = spec.ingress.iter_mut().flatten().flat_map(|r| r.ports.iter_mut().flatten());
        let egress = spec.egress.iter_mut().flatten().flat_map(|r| r.ports.iter_mut().flatten());
        for port in ingress.chain(egress) {
            port.protocol.get_or_insert_with(|| "TCP".to_owned());
        }
    }

    fn validate(object: &v1::NetworkPolicy, errors: &mut Errors) {
        let at = Path::Root.field("spec");
        let spec = or_empty(&object.spec);
        if let Some(chosen) = &spec.pod_selector {
            selector::validate(chosen, &at.field("podSelector"), errors);
        }
        let list = at.field("ingress");
        for (i, rule) in spec.ingress.iter().flatten().enumerate() {
            let at = list.index(i);
            ports(rule.ports.as_deref().unwrap_or_default(), &at.field("ports"), errors);
            peers(rule.from.as_deref().unwrap_or_default(), &at.field("from"), errors);
        }
        let list = at.field("egress");
        for (i, rule) in spec.egress.iter().flatten().enumerate() {
            let at = list.index(i);
            ports(rule.ports.as_deref().unwrap_or_default(), &at.field("ports"), errors);
            peers(rule.to.as_deref().unwrap_or_default(), &at.field("to"), errors);
        }
        let list = at.field("policyTypes");
        let types = spec.policy_types.as_deref().unwrap_or_default();
        if types.len() > 2 {
            errors.invalid(&list, serde_json::json!(types), "may not specify more than two policyTypes");
            return;
        }
        for (i, name) in types.iter().enumerate() {
            errors.one_of_if_set(&list.index(i), Some(name), &["Egress", "Ingress"]);
        }
    }

    fn warnings(object: &v1::NetworkPolicy) -> Vec<String> {
        let spec = or_empty(&object.spec);
        let ingress = spec.ingress.iter().flatten().map(|rule| rule.from.as_deref());
        let egress = spec.egress.iter().flatten().map(|rule| rule.to.as_deref());
        let mut found = Vec::new();
        for (i, peers) in ingress.enumerate() {
            odd_ranges(peers, &format!("spec.ingress[{i}].from"), &mut found);
        }
        for (i, peers) in egress.enumerate() {
            odd_ranges(peers, &format!("spec.egress[{i}].to"), &mut found);
        }
        found
    }

    fn cells(object: &v1::NetworkPolicy, now: i64) -> Vec<Value> {
        let chosen = object.spec.as_ref().and_then(|s| s.pod_selector.as_ref());
        vec![table::name(&object.metadata), selector::shown(chosen).into(), table::age(&object.metadata, now)]
    }
}

fn ports(list: &[v1::NetworkPolicyPort], at: &Path<'_>, errors: &mut Errors) {
    for (i, port) in list.iter().enumerate() {
        let at = at.index(i);
        errors.one_of_if_set(&at.field("protocol"), port.protocol.as_deref(), &["SCTP", "TCP", "UDP"]);
        match &port.port {
            Some(IntOrString::Int(number)) => {
                if let Some(detail) = names::port_number(*number) {
                    errors.invalid(&at.field("port"), *number, detail);
                }
                if let Some(end) = port.end_port {
                    if end < *number {
                        // The API shows the port here, not its end.
                        errors.invalid(&at.field("endPort"), *number, "must be greater than or equal to `port`");
                    }
                    if let Some(detail) = names::port_number(end) {
                        errors.invalid(&at.field("endPort"), end, detail);
                    }
                }
            }
            Some(IntOrString::String(name)) => {
                if let Some(end) = port.end_port {
                    errors.invalid(&at.field("endPort"), end, "may not be specified when `port` is non-numeric");
                }
                errors.format(&at.field("port"), name, names::port_name(name));
            }
            None => {
                if let Some(end) = port.end_port {
                    errors.invalid(&at.field("endPort"), end, "may not be specified when `port` is not specified");
                }
            }
        }
    }
}

fn peers(list: &[v1::NetworkPolicyPeer], at: &Path<'_>, errors: &mut Errors) {
    for (i, peer) in list.iter().enumerate() {
        let at = at.index(i);
        let by_label = peer.pod_selector.is_some() || peer.namespace_selector.is_some();
        if let Some(chosen) = &peer.pod_selector {
            selector::validate(chosen, &at.field("podSelector"), errors);
        }
        if let Some(chosen) = &peer.namespace_selector {
            selector::validate(chosen, &at.field("namespaceSelector"), errors);
        }
        if let Some(block) = &peer.ip_block {
            self::block(block, &at.field("ipBlock"), errors);
        }
        match (by_label, peer.ip_block.is_some()) {
            (false, false) => errors.required(&at, "must specify a peer"),
            (true, true) => errors.forbidden(&at, "may not specify both ipBlock and another peer"),
            _ => {}
        }
    }
}

fn odd_ranges(peers: Option<&[v1::NetworkPolicyPeer]>, at: &str, found: &mut Vec<String>) {
    for (i, block) in peers.into_iter().flatten().enumerate().filter_map(|(i, peer)| Some((i, peer.ip_block.as_ref()?))) {
        found.extend(names::cidr_warnings(&format!("{at}[{i}].ipBlock.cidr"), &block.cidr));
        for (j, except) in block.except.iter().flatten().enumerate() {
            found.extend(names::cidr_warnings(&format!("{at}[{i}].ipBlock.except[{j}]"), except));
        }
    }
}

fn block(block: &v1::IPBlock, at: &Path<'_>, errors: &mut Errors) {
    if block.cidr.is_empty() {
        errors.required(&at.field("cidr"), "");
        return;
    }
    let network = match names::cidr(&block.cidr) {
        Ok(network) => network,
        Err(detail) => {
            errors.invalid(&at.field("cidr"), block.cidr.as_str(), detail);
            return;
        }
    };
    let list = at.field("except");
    for (i, text) in block.except.iter().flatten().enumerate() {
        match names::cidr(text) {
            Err(detail) => errors.invalid(&list.index(i), text.as_str(), detail),
            Ok(except) if !network.contains(&except) || network.prefix_len() >= except.prefix_len() => {
                errors.invalid(&list.index(i), text.as_str(), format!("must be a strict subset of `cidr`: {}", block.cidr));
            }
            Ok(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Resource;
    use crate::typed::Typed;
    use serde_json::json;

    const KIND: Typed<NetworkPolicy> = Typed::NEW;

    fn policy(spec: Value) -> Value {
        KIND.decode(json!({"metadata": {"name": "a", "namespace": "d"}, "spec": spec})).unwrap().object
    }

    #[test]
    fn types_follow_from_the_rules() {
        for (spec, types) in [
            (json!({}), json!(["Ingress"])),
            (json!({"egress": []}), json!(["Ingress"])),
            (json!({"egress": [{}]}), json!(["Ingress", "Egress"])),
            (json!({"policyTypes": ["Egress"]}), json!(["Egress"])),
        ] {
            assert_eq!(policy(spec)["spec"]["policyTypes"], types);
        }
        assert_eq!(policy(json!({"ingress": [{"ports": [{"port": 80}]}]}))["spec"]["ingress"][0]["ports"][0]["protocol"], "TCP");
    }

    #[test]
    fn peers_and_ports_are_checked() {
        for (spec, expected) in [
            (
                json!({"ingress": [{"from": [{"podSelector": {}, "namespaceSelector": {}}], "ports": [{"port": 80, "endPort": 90}, {"port": "http"}]}]}),
                None,
            ),
            (json!({"egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}]}]}), None),
            (json!({"ingress": [{"from": [{}]}]}), Some("spec.ingress[0].from[0]: Required value: must specify a peer")),
            (
                json!({"ingress": [{"from": [{"podSelector": {}, "ipBlock": {"cidr": "10.0.0.0/8"}}]}]}),
                Some("spec.ingress[0].from[0]: Forbidden: may not specify both ipBlock and another peer"),
            ),
            (
                json!({"egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.0"}}]}]}),
                Some("spec.egress[0].to[0].ipBlock.cidr: Invalid value: \"10.0.0.0\": must be a valid CIDR value"),
            ),
            (
                json!({"egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.0.0.0/8"]}}]}]}),
                Some(
                    "spec.egress[0].to[0].ipBlock.except[0]: Invalid value: \"10.0.0.0/8\": must be a strict subset of `cidr`: 10.0.0.0/8",
                ),
            ),
            (
                json!({"ingress": [{"ports": [{"port": 80, "endPort": 79}]}]}),
                Some("spec.ingress[0].ports[0].endPort: Invalid value: 80: must be greater than or equal to `port`"),
            ),
            (
                json!({"ingress": [{"ports": [{"port": "http", "endPort": 79}]}]}),
                Some("spec.ingress[0].ports[0].endPort: Invalid value: 79: may not be specified when `port` is non-numeric"),
            ),
            (
                json!({"policyTypes": ["Both"]}),
                Some("spec.policyTypes[0]: Unsupported value: \"Both\": supported values: \"Egress\", \"Ingress\""),
            ),
        ] {
            let found: Vec<String> = KIND.validate_create(&policy(spec)).iter().map(ToString::to_string).collect();
            assert_eq!(found.len(), usize::from(expected.is_some()), "{found:?}");
            assert!(expected.is_none_or(|e| found[0].starts_with(e)), "{found:?}");
        }
    }

    #[test]
    fn ranges_that_are_read_in_two_ways_are_warned_of() {
        let spec = json!({"ingress": [{}, {"from": [{"podSelector": {}}, {"ipBlock": {"cidr": "10.0.0.1/8", "except": ["10.1.0.0/16", "10.02.0.0/16"]}}]}],
            "egress": [{"to": [{"ipBlock": {"cidr": "::ffff:10.0.0.0/104"}}]}]});
        let places: Vec<String> = KIND.warnings(&policy(spec)).iter().map(|text| text.split(": ").next().unwrap().to_owned()).collect();
        assert_eq!(
            places,
            ["spec.ingress[1].from[1].ipBlock.cidr", "spec.ingress[1].from[1].ipBlock.except[1]", "spec.egress[0].to[0].ipBlock.cidr"]
        );
    }

    #[test]
    fn the_table_shows_the_pods() {
        assert_eq!(KIND.cells(&policy(json!({"podSelector": {"matchLabels": {"a": "b"}}})), 0)[1], "a=b");
        assert_eq!(KIND.cells(&policy(json!({})), 0)[1], "<none>");
    }
}

//! The rules of the Network Policy API's custom resource: its schema's limits and its CEL rules, each on the path of the field that breaks it.
//! Selectors are held to NetworkPolicy's rules too: the custom resource would take a selector that nobody can evaluate.

use super::types::{
    ClusterNetworkPolicySpec, EgressPeer, EgressRule, IngressRule, NamespacedPod, Port, PortRange, Ports, Protocol, Subject,
};
use crate::field::{Errors, Path};
use crate::{names, selector};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde::Serialize;
use serde_json::Value;
use std::collections::HashSet;
use std::ops::RangeInclusive;

const MAX_RULES: usize = 25;
const MAX_ITEMS: usize = 25;
const MAX_NAME: usize = 100;
const MAX_CIDR: usize = 43;
const PRIORITIES: RangeInclusive<i32> = 0..=1000;
const PORTS: RangeInclusive<i32> = 1..=65535;
const DOMAIN_NAME: &str = r"^(\*\.)?([a-zA-Z0-9]([-a-zA-Z0-9_]*[a-zA-Z0-9])?\.)+[a-zA-Z0-9]([-a-zA-Z0-9_]*[a-zA-Z0-9])?\.?$";

pub(super) fn spec(spec: &ClusterNetworkPolicySpec, at: &Path<'_>, errors: &mut Errors) {
    choice(spec.tier.as_deref(), &["Admin", "Baseline"], &at.field("tier"), errors);
    match spec.priority {
        Some(priority) => between(priority, PRIORITIES, &at.field("priority"), errors),
        None => errors.required(&at.field("priority"), ""),
    }
    match &spec.subject {
        Some(chosen) => subject(chosen, &at.field("subject"), errors),
        None => errors.required(&at.field("subject"), ""),
    }
    let list = at.field("ingress");
    let rules = spec.ingress.as_deref().unwrap_or_default();
    at_most(rules.len(), MAX_RULES, &list, errors);
    rules.iter().enumerate().for_each(|(i, rule)| ingress(rule, &list.index(i), errors));
    let list = at.field("egress");
    let rules = spec.egress.as_deref().unwrap_or_default();
    at_most(rules.len(), MAX_RULES, &list, errors);
    rules.iter().enumerate().for_each(|(i, rule)| egress(rule, &list.index(i), errors));
}

fn subject(subject: &Subject, at: &Path<'_>, errors: &mut Errors) {
    exactly_one(&[subject.namespaces.is_some(), subject.pods.is_some()], subject, at, errors);
    labels(subject.namespaces.as_ref(), &at.field("namespaces"), errors);
    pods(subject.pods.as_ref(), &at.field("pods"), errors);
}

fn ingress(rule: &IngressRule, at: &Path<'_>, errors: &mut Errors) {
    named(rule.name.as_deref(), rule.action.as_deref(), at, errors);
    let list = at.field("from");
    if let Some(peers) = required_items(rule.from.as_deref(), &list, errors) {
        for (i, peer) in peers.iter().enumerate() {
            let at = list.index(i);
            exactly_one(&[peer.namespaces.is_some(), peer.pods.is_some()], peer, &at, errors);
            labels(peer.namespaces.as_ref(), &at.field("namespaces"), errors);
            pods(peer.pods.as_ref(), &at.field("pods"), errors);
        }
    }
    protocols(rule.protocols.as_deref(), &at.field("protocols"), errors);
}

fn egress(rule: &EgressRule, at: &Path<'_>, errors: &mut Errors) {
    named(rule.name.as_deref(), rule.action.as_deref(), at, errors);
    let list = at.field("to");
    let peers = required_items(rule.to.as_deref(), &list, errors).unwrap_or_default();
    for (i, peer) in peers.iter().enumerate() {
        let at = list.index(i);
        self::peer(peer, &at, errors);
        if peer.domain_names.is_some() && rule.action.as_deref().is_some_and(|action| action != "Accept") {
            errors.forbidden(&at.field("domainNames"), "domainNames may only be set in rules with action Accept");
        }
    }
    let list = at.field("protocols");
    protocols(rule.protocols.as_deref(), &list, errors);
    if peers.iter().any(|peer| peer.networks.is_some() || peer.nodes.is_some() || peer.domain_names.is_some()) {
        for (i, protocol) in rule.protocols.iter().flatten().enumerate() {
            if protocol.destination_named_port.is_some() {
                let why = "networks/nodes/domainNames peer cannot be set with namedPorts since there are no namedPorts for networks/nodes/domainNames";
                errors.forbidden(&list.index(i).field("destinationNamedPort"), why);
            }
        }
    }
}

fn named(name: Option<&str>, action: Option<&str>, at: &Path<'_>, errors: &mut Errors) {
    if name.is_some_and(|name| name.chars().count() > MAX_NAME) {
        errors.too_long(&at.field("name"), MAX_NAME);
    }
    choice(action, &["Accept", "Deny", "Pass"], &at.field("action"), errors);
}

fn peer(peer: &EgressPeer, at: &Path<'_>, errors: &mut Errors) {
    let set = [peer.namespaces.is_some(), peer.pods.is_some(), peer.nodes.is_some(), peer.networks.is_some(), peer.domain_names.is_some()];
    exactly_one(&set, peer, at, errors);
    labels(peer.namespaces.as_ref(), &at.field("namespaces"), errors);
    pods(peer.pods.as_ref(), &at.field("pods"), errors);
    labels(peer.nodes.as_ref(), &at.field("nodes"), errors);
    set_of(peer.networks.as_deref(), &at.field("networks"), errors, |text, at, errors| {
        if text.chars().count() > MAX_CIDR {
            errors.too_long(at, MAX_CIDR);
        } else if let Err(detail) = names::canonical_cidr(text) {
            errors.invalid(at, text, detail);
        }
    });
    set_of(peer.domain_names.as_deref(), &at.field("domainNames"), errors, |text, at, errors| {
        if !is_domain_name(text) {
            errors.invalid(at, text, format!("{at} in body should match '{DOMAIN_NAME}'"));
        }
    });
}

/// A list that is a set of texts: 1 to 25, no one twice, each right by itself.
fn set_of(list: Option<&[String]>, at: &Path<'_>, errors: &mut Errors, check: impl Fn(&str, &Path<'_>, &mut Errors)) {
    let Some(list) = list else { return };
    items(list.len(), at, errors);
    let mut seen = HashSet::new();
    for (i, text) in list.iter().enumerate() {
        let at = at.index(i);
        check(text, &at, errors);
        if !seen.insert(text) {
            errors.duplicate(&at, text.as_str());
        }
    }
}

fn pods(chosen: Option<&NamespacedPod>, at: &Path<'_>, errors: &mut Errors) {
    let Some(chosen) = chosen else { return };
    labels(chosen.namespace_selector.as_ref(), &at.field("namespaceSelector"), errors);
    labels(chosen.pod_selector.as_ref(), &at.field("podSelector"), errors);
    if chosen.pod_selector.is_none() {
        errors.required(&at.field("podSelector"), "");
    }
}

fn labels(chosen: Option<&LabelSelector>, at: &Path<'_>, errors: &mut Errors) {
    if let Some(chosen) = chosen {
        selector::validate(chosen, at, errors);
    }
}

fn protocols(list: Option<&[Protocol]>, at: &Path<'_>, errors: &mut Errors) {
    let Some(list) = list else { return };
    items(list.len(), at, errors);
    for (i, protocol) in list.iter().enumerate() {
        let at = at.index(i);
        let Protocol { tcp, udp, sctp, destination_named_port } = protocol;
        exactly_one(&[tcp.is_some(), udp.is_some(), sctp.is_some(), destination_named_port.is_some()], protocol, &at, errors);
        for (name, ports) in [("tcp", tcp), ("udp", udp), ("sctp", sctp)] {
            if let Some(ports) = ports {
                self::ports(ports, &at.field(name), errors);
            }
        }
        if let Some(name) = destination_named_port {
            errors.format(&at.field("destinationNamedPort"), name, names::port_name(name));
        }
    }
}

fn ports(ports: &Ports, at: &Path<'_>, errors: &mut Errors) {
    let Some(port) = &ports.destination_port else {
        too_few_fields(ports, at, errors);
        return;
    };
    let at = at.field("destinationPort");
    let Port { number, range } = port;
    exactly_one(&[number.is_some(), range.is_some()], port, &at, errors);
    if let Some(number) = number {
        between(*number, PORTS, &at.field("number"), errors);
    }
    if let Some(range) = range {
        self::range(range, &at.field("range"), errors);
    }
}

fn range(range: &PortRange, at: &Path<'_>, errors: &mut Errors) {
    for (name, port) in [("start", range.start), ("end", range.end)] {
        match port {
            Some(port) => between(port, PORTS, &at.field(name), errors),
            None => errors.required(&at.field(name), ""),
        }
    }
    if let (Some(start), Some(end)) = (range.start, range.end)
        && start >= end
    {
        errors.invalid(at, shown(range), "Start port must be less than End port");
    }
}

/// A text that must be there and be one of some; an empty one is one of none (CRD schemas know no other emptiness than absence).
fn choice(value: Option<&str>, supported: &[&str], at: &Path<'_>, errors: &mut Errors) {
    match value {
        Some(value) if supported.contains(&value) => {}
        Some(value) => errors.not_supported(at, value, supported),
        None => errors.required(at, ""),
    }
}

fn between(value: i32, range: RangeInclusive<i32>, at: &Path<'_>, errors: &mut Errors) {
    if value < *range.start() {
        errors.invalid(at, value, format!("{at} in body should be greater than or equal to {}", range.start()));
    }
    if value > *range.end() {
        errors.invalid(at, value, format!("{at} in body should be less than or equal to {}", range.end()));
    }
}

fn required_items<'l, T>(list: Option<&'l [T]>, at: &Path<'_>, errors: &mut Errors) -> Option<&'l [T]> {
    match list {
        Some(list) => items(list.len(), at, errors),
        None => errors.required(at, ""),
    }
    list
}

fn items(count: usize, at: &Path<'_>, errors: &mut Errors) {
    if count == 0 {
        errors.invalid(at, 0, format!("{at} in body should have at least 1 items"));
    }
    at_most(count, MAX_ITEMS, at, errors);
}

fn at_most(count: usize, max: usize, at: &Path<'_>, errors: &mut Errors) {
    if count > max {
        errors.too_many(at, count, max);
    }
}

fn exactly_one(set: &[bool], value: &impl Serialize, at: &Path<'_>, errors: &mut Errors) {
    match set.iter().filter(|set| **set).count() {
        0 => too_few_fields(value, at, errors),
        1 => {}
        count => errors.too_many(at, count, 1),
    }
}

fn too_few_fields(value: &impl Serialize, at: &Path<'_>, errors: &mut Errors) {
    errors.invalid(at, shown(value), format!("{at} in body should have at least 1 properties"));
}

fn shown(value: &impl Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

/// [`DOMAIN_NAME`], scanned: at least two labels, `*.` before them, a dot after them.
fn is_domain_name(text: &str) -> bool {
    let text = text.strip_prefix("*.").unwrap_or(text);
    let text = text.strip_suffix('.').unwrap_or(text);
    let is_label = |label: &str| {
        let ends = |c: Option<u8>| c.is_some_and(|c| c.is_ascii_alphanumeric());
        ends(label.bytes().next())
            && ends(label.bytes().next_back())
            && label.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_'))
    };
    text.contains('.') && text.split('.').all(is_label)
}

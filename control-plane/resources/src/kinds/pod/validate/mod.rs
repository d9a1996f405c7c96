//! The rules for a pod's spec, also inside of templates. Each part has its file; changes of an existing pod are `update`'s.

mod container;
mod env;
pub mod ephemeral;
mod handler;
mod placement;
pub mod resources;
mod security;
mod storage;
mod volume;

use crate::field::{Errors, Path};
use crate::names;
use k8s_openapi::api::core::v1::{PodCondition, PodSpec};
use std::collections::HashSet;

pub use container::no_climbing;
pub use placement::{node_selector, node_selector_term, tolerations};
pub use volume::{host_path, nfs};

const MAX_SECONDS: i64 = i32::MAX as i64;
pub const RESTART_POLICIES: &[&str] = &["Always", "OnFailure", "Never"];

/// Names that containers may refer to.
pub struct Scope<'a> {
    volumes: HashSet<&'a str>,
    claims: HashSet<&'a str>,
    host_network: bool,
    grace_seconds: i64,
}

/// All rules for a spec.
pub fn spec(spec: &PodSpec, at: &Path<'_>, errors: &mut Errors) {
    volume::volumes(spec.volumes.as_deref().unwrap_or_default(), &at.field("volumes"), errors);
    let scope = Scope {
        volumes: spec.volumes.iter().flatten().map(|v| v.name.as_str()).collect(),
        claims: spec.resource_claims.iter().flatten().map(|c| c.name.as_str()).collect(),
        host_network: spec.host_network == Some(true),
        grace_seconds: spec.termination_grace_period_seconds.unwrap_or(30),
    };
    container::containers(spec, &scope, at, errors);
    ephemeral::containers(spec, &scope, at, errors);
    errors.one_of(&at.field("restartPolicy"), spec.restart_policy.as_deref(), RESTART_POLICIES);
    dns(spec, at, errors);
    lifetime(spec, at, errors);
    identity(spec, at, errors);
    security::pod(spec, at, errors);
    placement::all(spec, at, errors);
}

/// Conditions of a pod's status: qualified types, one of each.
pub fn conditions(list: &[PodCondition], at: &Path<'_>, errors: &mut Errors) {
    const SYSTEM: &[&str] = &[
        "PodScheduled",
        "Ready",
        "Initialized",
        "ContainersReady",
        "DisruptionTarget",
        "PodReadyToStartContainers",
        "PodResizePending",
        "PodResizeInProgress",
    ];
    for (i, condition) in list.iter().enumerate() {
        if !SYSTEM.contains(&condition.type_.as_str()) {
            errors.format(&at.index(i).field("type"), &condition.type_, names::qualified_name(&condition.type_));
        }
    }
}

fn dns(spec: &PodSpec, at: &Path<'_>, errors: &mut Errors) {
    let policies = &["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"];
    errors.one_of(&at.field("dnsPolicy"), spec.dns_policy.as_deref(), policies);
    let at_config = at.field("dnsConfig");
    let servers = spec.dns_config.as_ref().and_then(|c| c.nameservers.as_deref()).unwrap_or_default();
    if spec.dns_policy.as_deref() == Some("None") && servers.is_empty() {
        let detail = "must provide at least one DNS nameserver when `dnsPolicy` is None";
        match &spec.dns_config {
            None => errors.required(&at_config, "must provide `dnsConfig` when `dnsPolicy` is None"),
            Some(_) => errors.required(&at_config.field("nameservers"), detail),
        }
    }
    let Some(config) = &spec.dns_config else { return };
    let at_servers = at_config.field("nameservers");
    if servers.len() > 3 {
        errors.invalid(&at_servers, serde_json::json!(servers), "must not have more than 3 nameservers");
    }
    for (i, server) in servers.iter().enumerate() {
        if let Err(detail) = names::ip(server) {
            errors.invalid(&at_servers.index(i), server.as_str(), detail);
        }
    }
    let searches = config.searches.as_deref().unwrap_or_default();
    let at_searches = at_config.field("searches");
    if searches.len() > 32 {
        errors.invalid(&at_searches, serde_json::json!(searches), "must not have more than 32 search paths");
    }
    for (i, search) in searches.iter().enumerate() {
        // A lone dot and underscores (SRV records) are usual in search paths.
        let plain = search.strip_suffix('.').unwrap_or(search).replace('_', "-");
        if search != "." && plain.split('.').any(|l| !names::label(l.trim_matches('-')).is_empty()) {
            errors.format(&at_searches.index(i), search, names::subdomain(search));
        }
    }
    let at_options = at_config.field("options");
    for (i, option) in config.options.iter().flatten().enumerate() {
        if option.name.as_deref().unwrap_or_default().is_empty() {
            errors.required(&at_options.index(i), "must not be empty");
        }
    }
}

fn lifetime(spec: &PodSpec, at: &Path<'_>, errors: &mut Errors) {
    if let Some(seconds) = spec.active_deadline_seconds
        && !(1..=MAX_SECONDS).contains(&seconds)
    {
        errors.invalid(&at.field("activeDeadlineSeconds"), seconds, format!("must be between 1 and {MAX_SECONDS}, inclusive"));
    }
    errors.non_negative(&at.field("terminationGracePeriodSeconds"), spec.termination_grace_period_seconds.unwrap_or_default());
}

fn identity(spec: &PodSpec, at: &Path<'_>, errors: &mut Errors) {
    type Check = fn(&str) -> Vec<String>;
    let checks: [(&str, Option<&str>, Check); 6] = [
        ("serviceAccountName", spec.service_account_name.as_deref(), names::subdomain),
        ("nodeName", spec.node_name.as_deref(), names::subdomain),
        ("hostname", spec.hostname.as_deref(), names::label),
        ("subdomain", spec.subdomain.as_deref(), names::label),
        ("priorityClassName", spec.priority_class_name.as_deref(), names::subdomain),
        ("runtimeClassName", spec.runtime_class_name.as_deref(), names::subdomain),
    ];
    for (name, value, check) in checks {
        if let Some(value) = value.filter(|v| !v.is_empty()) {
            errors.format(&at.field(name), value, check(value));
        }
    }
    let secrets = at.field("imagePullSecrets");
    for (i, secret) in spec.image_pull_secrets.iter().flatten().enumerate() {
        if secret.name.is_empty() {
            errors.required(&secrets.index(i).field("name"), "");
        }
    }
    let aliases = at.field("hostAliases");
    for (i, alias) in spec.host_aliases.iter().flatten().enumerate() {
        let at = aliases.index(i);
        if let Err(detail) = names::ip(&alias.ip) {
            errors.invalid(&at.field("ip"), alias.ip.as_str(), detail);
        }
        for name in alias.hostnames.iter().flatten() {
            errors.format(&at.field("hostnames"), name, names::subdomain(name));
        }
    }
    let gates = at.field("readinessGates");
    for (i, gate) in spec.readiness_gates.iter().flatten().enumerate() {
        errors.format(&gates.index(i).field("conditionType"), &gate.condition_type, names::qualified_name(&gate.condition_type));
    }
    errors.one_of_if_set(&at.field("preemptionPolicy"), spec.preemption_policy.as_deref(), &["Never", "PreemptLowerPriority"]);
}

#[cfg(test)]
mod tests {
    use super::super::Pod;
    use crate::contract::Resource;
    use crate::typed::Typed;
    use serde_json::{Value, json};

    /// Complaints about a pod with `spec` over a right one.
    pub fn complaints(spec: Value) -> Vec<String> {
        let mut body = json!({"metadata": {"name": "p", "namespace": "d"}, "spec": {"containers": [{"name": "a", "image": "x:1"}]}});
        for (key, value) in spec.as_object().unwrap() {
            body["spec"][key] = value.clone();
        }
        let object = Typed::<Pod>::NEW.decode(body).unwrap().object;
        Typed::<Pod>::NEW.validate_create(&object).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn parts_of_the_spec_have_their_rules() {
        for (spec, expected) in [
            (json!({}), None),
            (
                json!({"restartPolicy": "Sometimes"}),
                Some("spec.restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"OnFailure\", \"Never\""),
            ),
            (json!({"dnsPolicy": "None"}), Some("spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None")),
            (json!({"dnsConfig": {"searches": ["svc.cluster.local", "_a.b."], "nameservers": ["10.0.0.1"]}}), None),
            (
                json!({"dnsConfig": {"nameservers": ["x"]}}),
                Some("spec.dnsConfig.nameservers[0]: Invalid value: \"x\": must be a valid IP address"),
            ),
            (
                json!({"activeDeadlineSeconds": 0}),
                Some("spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive"),
            ),
            (
                json!({"terminationGracePeriodSeconds": -1}),
                Some("spec.terminationGracePeriodSeconds: Invalid value: -1: must be greater than or equal to 0"),
            ),
            (json!({"hostname": "A"}), Some("spec.hostname: Invalid value: \"A\": a lowercase RFC 1123 label")),
            (
                json!({"nodeName": "a", "schedulingGates": [{"name": "x/y"}]}),
                Some("spec.nodeName: Forbidden: cannot be set until all schedulingGates have been cleared"),
            ),
            (json!({"imagePullSecrets": [{}]}), Some("spec.imagePullSecrets[0].name: Required value")),
            (json!({"nodeSelector": {"a b": "c"}}), Some("spec.nodeSelector: Invalid value: \"a b\": name part must consist of")),
            (
                json!({"hostAliases": [{"ip": "1", "hostnames": ["a"]}]}),
                Some("spec.hostAliases[0].ip: Invalid value: \"1\": must be a valid IP address"),
            ),
            (json!({"containers": []}), Some("spec.containers: Required value")),
        ] {
            let found = complaints(spec.clone());
            assert_eq!(found.len(), usize::from(expected.is_some()), "{spec}: {found:?}");
            assert!(expected.is_none_or(|e| found[0].starts_with(e)), "{found:?}");
        }
    }
}

//! The rules for where a pod may run: node selectors, affinity, tolerations, spreading, gates.

use crate::field::{Errors, Path};
use crate::{meta, names, selector};
use k8s_openapi::api::core::v1::{
    NodeAffinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, PodAffinityTerm, PodSpec, Toleration, TopologySpreadConstraint,
    WeightedPodAffinityTerm,
};
use std::collections::HashSet;

const EFFECTS: &[&str] = &["NoSchedule", "PreferNoSchedule", "NoExecute"];

pub fn all(spec: &PodSpec, at: &Path<'_>, errors: &mut Errors) {
    if let Some(labels) = &spec.node_selector {
        meta::labels(labels, &at.field("nodeSelector"), errors);
    }
    tolerations(spec.tolerations.as_deref().unwrap_or_default(), &at.field("tolerations"), errors);
    affinity(spec, &at.field("affinity"), errors);
    spreading(spec.topology_spread_constraints.as_deref().unwrap_or_default(), &at.field("topologySpreadConstraints"), errors);
    let gates = at.field("schedulingGates");
    let list = spec.scheduling_gates.as_deref().unwrap_or_default();
    let mut seen = HashSet::new();
    for (i, gate) in list.iter().enumerate() {
        errors.format(&gates.index(i), &gate.name, names::qualified_name(&gate.name));
        if !seen.insert(&gate.name) {
            errors.duplicate(&gates.index(i), gate.name.as_str());
        }
    }
    if !list.is_empty() && spec.node_name.as_ref().is_some_and(|n| !n.is_empty()) {
        errors.forbidden(&at.field("nodeName"), "cannot be set until all schedulingGates have been cleared");
    }
}

/// Tolerations of taints.
pub fn tolerations(list: &[Toleration], at: &Path<'_>, errors: &mut Errors) {
    for (i, toleration) in list.iter().enumerate() {
        let at = at.index(i);
        let text = |t: &Option<String>| t.clone().unwrap_or_default();
        let (key, operator, value, effect) =
            (text(&toleration.key), text(&toleration.operator), text(&toleration.value), text(&toleration.effect));
        if !key.is_empty() {
            errors.format(&at.field("key"), &key, names::qualified_name(&key));
        } else if operator != "Exists" {
            let detail = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            errors.invalid(&at.field("operator"), operator.as_str(), detail);
        }
        if toleration.toleration_seconds.is_some() && effect != "NoExecute" {
            errors.invalid(&at.field("effect"), effect.as_str(), "effect must be 'NoExecute' when `tolerationSeconds` is set");
        }
        match operator.as_str() {
            "" | "Equal" => errors.format(&at.field("operator"), &value, names::label_value(&value)),
            "Exists" if !value.is_empty() => {
                let shown = serde_json::to_value(toleration).unwrap_or_default();
                errors.invalid(&at.field("operator"), shown, "value must be empty when `operator` is 'Exists'");
            }
            "Exists" => {}
            other => errors.not_supported(&at.field("operator"), other, &["Equal", "Exists"]),
        }
        errors.one_of_if_set(&at.field("effect"), Some(effect.as_str()).filter(|e| !e.is_empty()), EFFECTS);
    }
}

/// Alternatives of which one must hold.
pub fn node_selector(selector: &NodeSelector, at: &Path<'_>, errors: &mut Errors) {
    let at = at.field("nodeSelectorTerms");
    if selector.node_selector_terms.is_empty() {
        errors.required(&at, "must have at least one node selector term");
    }
    for (i, term) in selector.node_selector_terms.iter().enumerate() {
        node_selector_term(term, &at.index(i), errors);
    }
}

/// One alternative of a node selector.
pub fn node_selector_term(term: &NodeSelectorTerm, at: &Path<'_>, errors: &mut Errors) {
    let expressions = at.field("matchExpressions");
    for (i, requirement) in term.match_expressions.iter().flatten().enumerate() {
        let at = expressions.index(i);
        node_requirement(requirement, &at, errors);
        errors.format(&at.field("key"), &requirement.key, names::qualified_name(&requirement.key));
    }
    let fields = at.field("matchFields");
    for (i, requirement) in term.match_fields.iter().flatten().enumerate() {
        let at = fields.index(i);
        if !matches!(requirement.operator.as_str(), "In" | "NotIn") {
            errors.invalid(&at.field("operator"), requirement.operator.as_str(), "not a valid selector operator");
        } else if requirement.values.as_ref().is_none_or(|v| v.len() != 1) {
            errors.required(&at.field("values"), "must be only one value when `operator` is 'In' or 'NotIn' for node field selector");
        }
        if requirement.key != "metadata.name" {
            errors.invalid(&at.field("key"), requirement.key.as_str(), "not a valid field selector key");
        }
    }
}

fn node_requirement(requirement: &NodeSelectorRequirement, at: &Path<'_>, errors: &mut Errors) {
    let count = requirement.values.as_ref().map_or(0, Vec::len);
    let values = at.field("values");
    match requirement.operator.as_str() {
        "In" | "NotIn" if count == 0 => errors.required(&values, "must be specified when `operator` is 'In' or 'NotIn'"),
        "Exists" | "DoesNotExist" if count > 0 => {
            errors.forbidden(&values, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
        }
        "Gt" | "Lt" if count != 1 => errors.required(&values, "must be specified single value when `operator` is 'Lt' or 'Gt'"),
        "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
        other => errors.invalid(&at.field("operator"), other, "not a valid selector operator"),
    }
}

fn affinity(spec: &PodSpec, at: &Path<'_>, errors: &mut Errors) {
    let Some(affinity) = &spec.affinity else { return };
    if let Some(node) = &affinity.node_affinity {
        node_affinity(node, &at.field("nodeAffinity"), errors);
    }
    if let Some(pods) = &affinity.pod_affinity {
        let at = at.field("podAffinity");
        let required = pods.required_during_scheduling_ignored_during_execution.as_deref();
        let preferred = pods.preferred_during_scheduling_ignored_during_execution.as_deref();
        pod_terms(required.unwrap_or_default(), preferred.unwrap_or_default(), &at, errors);
    }
    if let Some(pods) = &affinity.pod_anti_affinity {
        let at = at.field("podAntiAffinity");
        let required = pods.required_during_scheduling_ignored_during_execution.as_deref();
        let preferred = pods.preferred_during_scheduling_ignored_during_execution.as_deref();
        pod_terms(required.unwrap_or_default(), preferred.unwrap_or_default(), &at, errors);
    }
}

fn node_affinity(node: &NodeAffinity, at: &Path<'_>, errors: &mut Errors) {
    if let Some(required) = &node.required_during_scheduling_ignored_during_execution {
        node_selector(required, &at.field("requiredDuringSchedulingIgnoredDuringExecution"), errors);
    }
    let at = at.field("preferredDuringSchedulingIgnoredDuringExecution");
    for (i, term) in node.preferred_during_scheduling_ignored_during_execution.iter().flatten().enumerate() {
        let at = at.index(i);
        weight(term.weight, &at, errors);
        node_selector_term(&term.preference, &at.field("preference"), errors);
    }
}

fn pod_terms(required: &[PodAffinityTerm], preferred: &[WeightedPodAffinityTerm], at: &Path<'_>, errors: &mut Errors) {
    let list = at.field("requiredDuringSchedulingIgnoredDuringExecution");
    for (i, term) in required.iter().enumerate() {
        pod_term(term, &list.index(i), errors);
    }
    let list = at.field("preferredDuringSchedulingIgnoredDuringExecution");
    for (i, term) in preferred.iter().enumerate() {
        let at = list.index(i);
        weight(term.weight, &at, errors);
        pod_term(&term.pod_affinity_term, &at.field("podAffinityTerm"), errors);
    }
}

fn pod_term(term: &PodAffinityTerm, at: &Path<'_>, errors: &mut Errors) {
    if let Some(chosen) = &term.label_selector {
        selector::validate(chosen, &at.field("labelSelector"), errors);
    }
    if let Some(chosen) = &term.namespace_selector {
        selector::validate(chosen, &at.field("namespaceSelector"), errors);
    }
    for name in term.namespaces.iter().flatten() {
        errors.format(&at.field("namespace"), name, names::label(name));
    }
    if term.topology_key.is_empty() {
        errors.required(&at.field("topologyKey"), "can not be empty");
    } else {
        errors.format(&at.field("topologyKey"), &term.topology_key, names::qualified_name(&term.topology_key));
    }
}

fn weight(weight: i32, at: &Path<'_>, errors: &mut Errors) {
    if !(1..=100).contains(&weight) {
        errors.invalid(&at.field("weight"), weight, "must be in the range 1-100");
    }
}

fn spreading(list: &[TopologySpreadConstraint], at: &Path<'_>, errors: &mut Errors) {
    let mut seen = HashSet::new();
    for (i, constraint) in list.iter().enumerate() {
        let at = at.index(i);
        if constraint.max_skew <= 0 {
            errors.invalid(&at.field("maxSkew"), constraint.max_skew, "must be greater than 0");
        }
        if constraint.topology_key.is_empty() {
            errors.required(&at.field("topologyKey"), "can not be empty");
        } else {
            errors.format(&at.field("topologyKey"), &constraint.topology_key, names::qualified_name(&constraint.topology_key));
        }
        let actions = &["DoNotSchedule", "ScheduleAnyway"];
        errors.one_of(&at.field("whenUnsatisfiable"), Some(&constraint.when_unsatisfiable), actions);
        if let Some(domains) = constraint.min_domains {
            if domains <= 0 {
                errors.invalid(&at.field("minDomains"), domains, "must be greater than 0");
            }
            if constraint.when_unsatisfiable != "DoNotSchedule" {
                let detail = format!("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {:?}", constraint.when_unsatisfiable);
                errors.invalid(&at.field("minDomains"), domains, detail);
            }
        }
        for (name, policy) in
            [("nodeAffinityPolicy", &constraint.node_affinity_policy), ("nodeTaintsPolicy", &constraint.node_taints_policy)]
        {
            errors.one_of_if_set(&at.field(name), policy.as_deref(), &["Honor", "Ignore"]);
        }
        if let Some(chosen) = &constraint.label_selector {
            selector::validate(chosen, &at.field("labelSelector"), errors);
        }
        if !seen.insert((&constraint.topology_key, &constraint.when_unsatisfiable)) {
            let shown = format!("{{{}, {}}}", constraint.topology_key, constraint.when_unsatisfiable);
            errors.duplicate(&at.field("{topologyKey, whenUnsatisfiable}"), shown);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::complaints;
    use serde_json::{Value, json};

    fn check(field: &str, value: Value, expected: Option<&str>) {
        let found = complaints(json!({field: value}));
        assert_eq!(found.len(), usize::from(expected.is_some()), "{value}: {found:?}");
        assert!(expected.is_none_or(|e| found[0].starts_with(&format!("spec.{field}{e}"))), "{found:?}");
    }

    #[test]
    fn long_lists_take_time_by_their_length() {
        // Comparing each item with each would be billions of comparisons.
        let started = std::time::Instant::now();
        let gates = (0..100_000).chain([7]).map(|at| json!({"name": format!("a/{at}")})).collect::<Vec<_>>();
        check("schedulingGates", gates.into(), Some("[100000]: Duplicate value: \"a/7\""));
        assert!(started.elapsed() < std::time::Duration::from_secs(20), "{:?}", started.elapsed());
    }

    #[test]
    fn tolerations_match_something() {
        for (value, expected) in [
            (json!([{"operator": "Exists"}, {"key": "a", "value": "b", "effect": "NoSchedule"}]), None),
            (json!([{"value": "b"}]), Some("[0].operator: Invalid value: \"\": operator must be Exists when `key` is empty")),
            (json!([{"key": "a", "tolerationSeconds": 1}]), Some("[0].effect: Invalid value: \"\": effect must be 'NoExecute'")),
            (json!([{"key": "a", "operator": "Exists", "value": "b"}]), Some("[0].operator: Invalid value")),
            (
                json!([{"key": "a", "operator": "Like"}]),
                Some("[0].operator: Unsupported value: \"Like\": supported values: \"Equal\", \"Exists\""),
            ),
            (json!([{"key": "a", "effect": "Never"}]), Some("[0].effect: Unsupported value: \"Never\"")),
        ] {
            check("tolerations", value, expected);
        }
    }

    #[test]
    fn affinity_terms_are_complete() {
        let required = "requiredDuringSchedulingIgnoredDuringExecution";
        for (value, expected) in [
            (
                json!({"nodeAffinity": {required: {"nodeSelectorTerms": [{"matchExpressions": [{"key": "a", "operator": "Gt", "values": ["1"]}]}]}}}),
                None,
            ),
            (
                json!({"nodeAffinity": {required: {"nodeSelectorTerms": []}}}),
                Some(
                    ".nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms: Required value: must have at least one node selector term",
                ),
            ),
            (
                json!({"nodeAffinity": {required: {"nodeSelectorTerms": [{"matchExpressions": [{"key": "a", "operator": "In"}]}]}}}),
                Some(
                    ".nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].values: Required",
                ),
            ),
            (
                json!({"podAntiAffinity": {required: [{"labelSelector": {}}]}}),
                Some(".podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey: Required value: can not be empty"),
            ),
            (
                json!({"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 0, "podAffinityTerm": {"topologyKey": "a"}}]}}),
                Some(
                    ".podAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight: Invalid value: 0: must be in the range 1-100",
                ),
            ),
        ] {
            check("affinity", value, expected);
        }
    }

    #[test]
    fn spreading_has_a_positive_skew() {
        let one = |skew, when| json!({"maxSkew": skew, "topologyKey": "zone", "whenUnsatisfiable": when});
        check("topologySpreadConstraints", json!([one(1, "ScheduleAnyway"), one(1, "DoNotSchedule")]), None);
        check("topologySpreadConstraints", json!([one(0, "DoNotSchedule")]), Some("[0].maxSkew: Invalid value: 0: must be greater than 0"));
        check("topologySpreadConstraints", json!([one(1, "X")]), Some("[0].whenUnsatisfiable: Unsupported value: \"X\""));
        let twice = json!([one(1, "DoNotSchedule"), one(2, "DoNotSchedule")]);
        check("topologySpreadConstraints", twice, Some("[1].{topologyKey, whenUnsatisfiable}: Duplicate value"));
    }
}

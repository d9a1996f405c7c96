//! Pure: which kinds a policy is checked for, and the status that says what was found.

use std::collections::BTreeSet;

use k8s_openapi::api::admissionregistration::v1::{
    ExpressionWarning, ParamKind, TypeChecking, ValidatingAdmissionPolicy, ValidatingAdmissionPolicyStatus,
};
use orknet_resources::type_checking::GroupVersionKind;
use serde_json::Value;

/// A rule's kinds that are looked at.
const MOST_KINDS: usize = 10;

/// A resource that a rule names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub group: String,
    pub version: String,
    pub resource: String,
}

/// Whether what the status says is of an older generation.
pub(super) fn is_to_be_checked(policy: &ValidatingAdmissionPolicy) -> bool {
    let observed = policy.status.as_ref().and_then(|status| status.observed_generation).unwrap_or_default();
    policy.metadata.generation.unwrap_or_default() > observed
}

/// The resources that each of the policy's rules names, in order. A rule with a group or version `*` names none, nor do resources with `*`, and
/// subresources.
pub(super) fn named(policy: &ValidatingAdmissionPolicy) -> Vec<Vec<Named>> {
    let constraints = policy.spec.as_ref().and_then(|spec| spec.match_constraints.as_ref());
    let rules = constraints.and_then(|constraints| constraints.resource_rules.as_deref()).unwrap_or_default();
    let mut found = Vec::new();
    for rule in rules {
        let sorted = |list: &Option<Vec<String>>| list.iter().flatten().cloned().collect::<BTreeSet<String>>();
        let (groups, versions, mut resources) = (sorted(&rule.api_groups), sorted(&rule.api_versions), sorted(&rule.resources));
        resources.retain(|resource| !resource.contains(['*', '/']));
        if groups.iter().chain(&versions).any(|part| part.contains('*')) {
            continue;
        }
        let mut named = Vec::new();
        for group in &groups {
            for version in &versions {
                named.extend(resources.iter().map(|resource| Named {
                    group: group.clone(),
                    version: version.clone(),
                    resource: resource.clone(),
                }));
            }
        }
        found.push(named);
    }
    found
}

/// The kinds of named resources, sorted. `kind_of`: the kind of one that is served. The first rule of which [`MOST_KINDS`] are served ends it, as upstream.
pub(super) fn kinds(rules: &[Vec<Named>], kind_of: impl Fn(&Named) -> Option<String>) -> Vec<GroupVersionKind> {
    let mut found = BTreeSet::new();
    for rule in rules {
        let served = rule.iter().filter_map(|named| {
            let (group, version) = (named.group.clone(), named.version.clone());
            kind_of(named).map(|kind| GroupVersionKind { group, version, kind })
        });
        let mut count = 0;
        for kind in served.take(MOST_KINDS) {
            found.insert(kind);
            count += 1;
        }
        if count == MOST_KINDS {
            break;
        }
    }
    found.into_iter().collect()
}

/// The kind of the policy's parameters.
pub(super) fn parameters(kind: &ParamKind) -> GroupVersionKind {
    let api_version = kind.api_version.as_deref().unwrap_or_default();
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    GroupVersionKind { group: group.to_owned(), version: version.to_owned(), kind: kind.kind.clone().unwrap_or_default() }
}

/// Where a group's version is described, below `/openapi/v3`, and where its resources are listed. `None`: nothing can have such names, which nobody has
/// checked; what they would make of a path may be anything, a watch as well.
pub(super) fn root(group: &str, version: &str) -> Option<String> {
    let is_name = |name: &str| !name.starts_with('.') && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.'));
    if version.is_empty() || !is_name(group) || !is_name(version) {
        return None;
    }
    Some(if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") })
}

/// The kind of a resource, by the list of its group's version (`APIResourceList`).
pub(super) fn kind_in(list: &Value, resource: &str) -> Option<String> {
    let resources = list.get("resources")?.as_array()?;
    resources.iter().find(|one| one["name"] == resource)?.get("kind")?.as_str().map(str::to_owned)
}

/// The status that tells what was found. Conditions are nobody's here.
pub(super) fn status(policy: &ValidatingAdmissionPolicy, warnings: Vec<ExpressionWarning>) -> ValidatingAdmissionPolicyStatus {
    ValidatingAdmissionPolicyStatus {
        conditions: policy.status.as_ref().and_then(|status| status.conditions.clone()),
        observed_generation: policy.metadata.generation,
        type_checking: Some(TypeChecking { expression_warnings: Some(warnings).filter(|warnings| !warnings.is_empty()) }),
    }
}

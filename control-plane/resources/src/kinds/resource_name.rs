//! Names of resources that are counted: which are Kubernetes' own, which a container, a quota or a limit may name, which come in whole pieces
//! (`pkg/apis/core/helper` of Kubernetes 1.33). Amounts are the kinds' business.

use crate::field::{Errors, Path};
use crate::names;
use crate::quantity::Quantity;
use k8s_openapi::apimachinery::pkg::api::resource;

/// What a container has.
const COMPUTE: &[&str] = &["cpu", "memory", "ephemeral-storage"];
/// What a quota bounds besides: sums of requests and limits.
const SUMS: &[&str] = &[
    "requests.cpu",
    "requests.memory",
    "requests.storage",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
];
/// What a quota counts.
const COUNTS: &[&str] = &[
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "services.nodeports",
    "services.loadbalancers",
];

/// Of Kubernetes itself: without a prefix, or with one of `kubernetes.io/`.
pub fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

/// Somebody else's resource, counted in pieces.
pub fn is_extended(name: &str) -> bool {
    !is_native(name) && !name.starts_with("requests.") && names::qualified_name(&format!("requests.{name}")).is_empty()
}

/// Whether requests may be lower than limits.
pub fn is_overcommitted(name: &str) -> bool {
    is_native(name) && !name.starts_with("hugepages-")
}

/// Known to the counting of quotas.
pub fn is_quota(name: &str) -> bool {
    [COMPUTE, SUMS, COUNTS].iter().any(|list| list.contains(&name)) || is_huge_pages(name)
}

fn is_standard(name: &str) -> bool {
    is_quota(name) || name == "storage"
}

fn is_huge_pages(name: &str) -> bool {
    name.starts_with("hugepages-") || name.starts_with("requests.hugepages-")
}

/// Comes in whole pieces.
fn is_whole(name: &str) -> bool {
    COUNTS.contains(&name) || is_extended(name)
}

/// A resource that is known, or has a qualified name.
pub fn any(name: &str, at: &Path<'_>, errors: &mut Errors) {
    let found = names::qualified_name(name);
    let qualified = found.is_empty();
    errors.format(at, name, found);
    if qualified && !name.contains('/') && !is_standard(name) {
        errors.invalid(at, name, "must be a standard resource type or fully qualified");
    }
}

/// A resource that a quota bounds.
pub fn of_quota(name: &str, at: &Path<'_>, errors: &mut Errors) {
    any(name, at, errors);
    if !name.contains('/') && !is_quota(name) {
        errors.invalid(at, name, "must be a standard resource for quota");
    }
}

/// A resource that a container may ask for.
pub fn of_container(name: &str, at: &Path<'_>, errors: &mut Errors) {
    any(name, at, errors);
    if !name.contains('/') {
        if !COMPUTE.contains(&name) && !name.starts_with("hugepages-") {
            errors.invalid(at, name, "must be a standard resource for containers");
        }
    } else if !is_native(name) && !is_extended(name) {
        errors.invalid(at, name, "doesn't follow extended resource name standard");
    }
}

/// An amount that is not negative, and whole where pieces are counted.
pub fn amount(name: &str, amount: &resource::Quantity, at: &Path<'_>, errors: &mut Errors) {
    let Ok(parsed) = Quantity::parse(&amount.0) else { return };
    if parsed.is_negative() {
        errors.invalid(at, amount.0.as_str(), "must be greater than or equal to 0");
    }
    if is_whole(name) && !parsed.is_whole() {
        errors.invalid(at, amount.0.as_str(), "must be an integer");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart() {
        let complaints = |check: fn(&str, &Path<'_>, &mut Errors), name: &str| {
            let mut errors = Errors::default();
            check(name, &Path::Root.field("x"), &mut errors);
            errors.into_list().into_iter().map(|e| e.detail).collect::<Vec<_>>()
        };
        let (standard, quota, container) = (
            "must be a standard resource type or fully qualified",
            "must be a standard resource for quota",
            "must be a standard resource for containers",
        );
        for (name, of_any, of_quota_, of_container_) in [
            ("cpu", vec![], vec![], vec![]),
            ("hugepages-2Mi", vec![], vec![], vec![]),
            ("storage", vec![], vec![quota], vec![container]),
            ("pods", vec![], vec![], vec![container]),
            ("gpu", vec![standard], vec![standard, quota], vec![standard, container]),
            ("example.com/gpu", vec![], vec![], vec![]),
            ("count/jobs.batch", vec![], vec![], vec![]),
            ("requests.example.com/gpu", vec![], vec![], vec!["doesn't follow extended resource name standard"]),
        ] {
            assert_eq!(complaints(any, name), of_any, "{name}");
            assert_eq!(complaints(of_quota, name), of_quota_, "{name}");
            assert_eq!(complaints(of_container, name), of_container_, "{name}");
        }
    }
}

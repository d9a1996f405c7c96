//! The rules for requests and limits.

use crate::field::{Errors, Path};
use crate::names;
use crate::quantity::Quantity;
use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::apimachinery::pkg::api::resource;
use std::collections::{BTreeMap, HashSet};

type Amounts = BTreeMap<String, resource::Quantity>;

const PLAIN: &[&str] = &["cpu", "memory", "ephemeral-storage"];

/// Requests and limits of a container: known resources, requests within limits.
pub fn container(required: &ResourceRequirements, claims: &HashSet<&str>, at: &Path<'_>, errors: &mut Errors) {
    let (limits, requests) = (at.field("limits"), at.field("requests"));
    for (list, at) in [(&required.limits, &limits), (&required.requests, &requests)] {
        for (name, amount) in list.iter().flatten() {
            resource_name(name, &at.key(name), errors);
            self::amount(name, amount, &at.key(name), errors);
        }
    }
    for (name, request) in required.requests.iter().flatten() {
        let limit = required.limits.as_ref().and_then(|l| l.get(name));
        within_limit(name, request, limit, &requests, errors);
    }
    let at = at.field("claims");
    for (i, claim) in required.claims.iter().flatten().enumerate() {
        if claim.name.is_empty() {
            errors.required(&at.index(i).field("name"), "");
        } else if !claims.contains(claim.name.as_str()) {
            errors.not_found(&at.index(i), claim.name.as_str());
        }
    }
}

/// A list of amounts that are not negative, by qualified names (quotas, volumes).
pub fn amounts(list: Option<&Amounts>, at: &Path<'_>, errors: &mut Errors) {
    for (name, amount) in list.into_iter().flatten() {
        errors.format(&at.key(name), name, names::qualified_name(name));
        self::amount(name, amount, &at.key(name), errors);
    }
}

fn resource_name(name: &str, at: &Path<'_>, errors: &mut Errors) {
    let found = names::qualified_name(name);
    let qualified = found.is_empty();
    errors.format(at, name, found);
    if qualified && !name.contains('/') && !PLAIN.contains(&name) && !name.starts_with("hugepages-") {
        errors.invalid(at, name, "must be a standard resource type or fully qualified");
        errors.invalid(at, name, "must be a standard resource for containers");
    }
}

fn amount(name: &str, amount: &resource::Quantity, at: &Path<'_>, errors: &mut Errors) {
    let Ok(parsed) = Quantity::parse(&amount.0) else { return };
    if parsed.is_negative() {
        errors.invalid(at, amount.0.as_str(), "must be greater than or equal to 0");
    }
    if is_extended(name) && !parsed.is_whole() {
        errors.invalid(at, amount.0.as_str(), "must be an integer");
    }
}

fn within_limit(name: &str, request: &resource::Quantity, limit: Option<&resource::Quantity>, at: &Path<'_>, errors: &mut Errors) {
    let Some(limit) = limit else {
        // What is counted in pieces is never overcommitted.
        if is_extended(name) {
            errors.required(&at.key(name), "Limit must be set for non overcommitable resources");
        }
        return;
    };
    let (Ok(wanted), Ok(most)) = (Quantity::parse(&request.0), Quantity::parse(&limit.0)) else { return };
    if is_extended(name) && wanted != most {
        errors.invalid(at, request.0.as_str(), format!("must be equal to {name} limit of {}", limit.0));
    } else if wanted > most {
        errors.invalid(at, request.0.as_str(), format!("must be less than or equal to {name} limit of {}", limit.0));
    }
}

fn is_extended(name: &str) -> bool {
    name.contains('/') && !name.contains("kubernetes.io/") || name.starts_with("hugepages-")
}

#[cfg(test)]
mod tests {
    use super::super::tests::complaints;
    use serde_json::json;

    #[test]
    fn requests_stay_within_limits() {
        let at = "spec.containers[0].resources";
        for (resources, expected) in [
            (json!({"requests": {"cpu": "1"}, "limits": {"cpu": "1000m", "example.com/gpu": 1}}), None),
            (
                json!({"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}),
                Some(format!("{at}.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1")),
            ),
            (
                json!({"requests": {"memory": "-1"}}),
                Some(format!("{at}.requests[memory]: Invalid value: \"-1\": must be greater than or equal to 0")),
            ),
            (
                json!({"requests": {"example.com/gpu": 1}}),
                Some(format!("{at}.requests[example.com/gpu]: Required value: Limit must be set")),
            ),
            (
                json!({"limits": {"example.com/gpu": "500m"}}),
                Some(format!("{at}.limits[example.com/gpu]: Invalid value: \"500m\": must be an integer")),
            ),
        ] {
            let found = complaints(json!({"containers": [{"name": "a", "image": "x", "resources": resources}]}));
            assert!(expected.is_some() || found.is_empty(), "{found:?}");
            assert!(expected.is_none_or(|e| found.first().is_some_and(|f| f.starts_with(&e))), "{found:?}");
        }
        let found = complaints(json!({"containers": [{"name": "a", "image": "x", "resources": {"limits": {"gpu": 1}}}]}));
        assert_eq!(found[0], format!("{at}.limits[gpu]: Invalid value: \"gpu\": must be a standard resource type or fully qualified"));
    }
}

//! ResourceQuota: how much a namespace may have. Counting is the server's admission.

use crate::contract::{Column, Descriptor, Subresource};
use crate::field::{Errors, Path};
use crate::kinds::resource_name;
use crate::table::{self, text};
use crate::typed::{Kind, namespaced, or_empty};
use k8s_openapi::api::core::v1;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

pub struct ResourceQuota;

const SCOPES: &[&str] = &["BestEffort", "CrossNamespacePodAffinity", "NotBestEffort", "NotTerminating", "PriorityClass", "Terminating"];
/// What pods have that quotas bound.
const OF_PODS: &[&str] = &["pods", "cpu", "memory", "limits.cpu", "limits.memory", "requests.cpu", "requests.memory"];
const OUT_OF_SCOPE: &str = "unsupported scope applied to resource";
const EXISTS_ONLY: &str = "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity";

impl Kind for ResourceQuota {
    type Object = v1::ResourceQuota;

    const DESCRIPTOR: Descriptor = Descriptor {
        short_names: &["quota"],
        subresources: &["status"],
        ..namespaced::<v1::ResourceQuota>("resourcequotas", "resourcequota")
    };
    const COLUMNS: &'static [Column] = &[
        table::NAME,
        text("Request", "Used and hard amounts of what is requested or counted"),
        text("Limit", "Used and hard amounts of limits"),
        table::AGE,
    ];

    fn validate(object: &v1::ResourceQuota, errors: &mut Errors) {
        let at = Path::Root.field("spec");
        let spec = or_empty(&object.spec);
        amounts(spec.hard.as_ref(), &at.field("hard"), errors);
        let scopes: Vec<&str> = spec.scopes.iter().flatten().map(String::as_str).collect();
        let (at_scopes, shown) = (at.field("scopes"), Value::from(scopes.clone()));
        for scope in &scopes {
            if !SCOPES.contains(scope) {
                errors.invalid(&at_scopes, shown.clone(), "unsupported scope");
            }
            for _ in out_of_scope(&spec, scope) {
                errors.invalid(&at_scopes, shown.clone(), OUT_OF_SCOPE);
            }
        }
        conflicts(&scopes, &at_scopes, &shown, errors);
        let Some(selector) = &spec.scope_selector else { return };
        let at = at.field("scopeSelector");
        let at = at.field("matchExpressions");
        let list = selector.match_expressions.as_deref().unwrap_or_default();
        for expression in list {
            let scope = expression.scope_name.as_str();
            if !SCOPES.contains(&scope) {
                errors.invalid(&at.field("scopeName"), scope, "unsupported scope");
            }
            for _ in out_of_scope(&spec, scope) {
                errors.invalid(&at, serde_json::to_value(selector).unwrap_or_default(), OUT_OF_SCOPE);
            }
            let values = expression.values.as_deref().unwrap_or_default();
            let operator = expression.operator.as_str();
            if scope != "PriorityClass" && SCOPES.contains(&scope) && operator != "Exists" {
                errors.invalid(&at.field("operator"), operator, EXISTS_ONLY);
            }
            match operator {
                "In" | "NotIn" if values.is_empty() => {
                    errors.required(&at.field("values"), "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector")
                }
                "Exists" | "DoesNotExist" if !values.is_empty() => {
                    errors.invalid(
                        &at.field("values"),
                        Value::from(values),
                        "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector",
                    );
                }
                "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
                other => errors.invalid(&at.field("operator"), other, "not a valid selector operator"),
            }
        }
        let named: Vec<&str> = list.iter().map(|expression| expression.scope_name.as_str()).collect();
        conflicts(&named, &at, &shown, errors);
    }

    fn validate_update(new: &v1::ResourceQuota, old: &v1::ResourceQuota, subresource: Subresource<'_>, errors: &mut Errors) {
        if subresource == Some("status") {
            let (at, status) = (Path::Root.field("status"), or_empty(&new.status));
            amounts(status.hard.as_ref(), &at.field("hard"), errors);
            amounts(status.used.as_ref(), &at.field("used"), errors);
            return;
        }
        Self::validate(new, errors);
        let scopes = |quota: &v1::ResourceQuota| -> Option<Vec<String>> { quota.spec.as_ref()?.scopes.clone() };
        let set = |scopes: Option<Vec<String>>| scopes.into_iter().flatten().collect::<BTreeSet<_>>();
        if set(scopes(new)) != set(scopes(old)) {
            let at = Path::Root.field("spec");
            errors.invalid(&at.field("scopes"), Value::from(scopes(new).unwrap_or_default()), "field is immutable");
        }
    }

    fn cells(object: &v1::ResourceQuota, now: i64) -> Vec<Value> {
        let status = object.status.clone().unwrap_or_default();
        let (hard, used) = (status.hard.unwrap_or_default(), status.used.unwrap_or_default());
        let (mut requests, mut limits) = (Vec::new(), Vec::new());
        for (name, amount) in &hard {
            let used = used.get(name).map_or("0", |q| q.0.as_str());
            let list = if name.starts_with("limits") { &mut limits } else { &mut requests };
            list.push(format!("{name}: {used}/{}", amount.0));
        }
        vec![table::name(&object.metadata), requests.join(", ").into(), limits.join(", ").into(), table::age(&object.metadata, now)]
    }
}

/// Amounts of what a quota can bound.
fn amounts(list: Option<&BTreeMap<String, Quantity>>, at: &Path<'_>, errors: &mut Errors) {
    for (name, amount) in list.into_iter().flatten() {
        resource_name::of_quota(name, &at.key(name), errors);
        resource_name::amount(name, amount, &at.key(name), errors);
    }
}

/// What is bounded though things of the scope do not have it: scopes are of pods, and what asks for nothing can only be counted.
fn out_of_scope<'a>(spec: &'a v1::ResourceQuotaSpec, scope: &str) -> impl Iterator<Item = &'a String> {
    let fitting: &[&str] = if scope == "BestEffort" { &["pods"] } else { OF_PODS };
    let known = SCOPES.contains(&scope);
    let bounded = spec.hard.iter().flat_map(|hard| hard.keys());
    bounded.filter(move |name| known && resource_name::is_quota(name) && !fitting.contains(&name.as_str()))
}

/// A pod cannot be in both.
fn conflicts(scopes: &[&str], at: &Path<'_>, shown: &Value, errors: &mut Errors) {
    for (one, other) in [("BestEffort", "NotBestEffort"), ("Terminating", "NotTerminating")] {
        if scopes.contains(&one) && scopes.contains(&other) {
            errors.invalid(at, shown.clone(), "conflicting scopes");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Resource;
    use crate::typed::Typed;
    use serde_json::json;

    const KIND: Typed<ResourceQuota> = Typed::NEW;

    fn quota(spec: &Value) -> Value {
        KIND.decode(json!({"metadata": {"name": "a", "namespace": "d"}, "spec": spec})).unwrap().object
    }

    fn texts(found: &[crate::contract::FieldError]) -> Vec<String> {
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_table_shows_used_of_hard() {
        let object = json!({"metadata": {"name": "a", "namespace": "d"},
            "status": {"hard": {"pods": "10", "limits.cpu": "2"}, "used": {"pods": "3"}}});
        assert_eq!(KIND.cells(&object, 0)[1..3], ["pods: 3/10", "limits.cpu: 0/2"]);
    }

    #[test]
    fn what_is_bounded_fits_the_scopes() {
        let selector = |expression: Value| json!({"hard": {"pods": "1"}, "scopeSelector": {"matchExpressions": [expression]}});
        let at = "spec.scopeSelector.matchExpressions";
        for (spec, expected) in [
            (json!({"hard": {"cpu": "1", "pods": "2", "count/jobs.batch": "3", "requests.example.com/gpu": "1", "services": "0"}}), vec![]),
            (json!({"hard": {"pods": "1"}, "scopes": ["BestEffort"]}), vec![]),
            (json!({"hard": {"pods": "1", "limits.cpu": "1"}, "scopes": ["NotBestEffort", "Terminating"]}), vec![]),
            (
                json!({"hard": {"limits.cpu": "-1"}}),
                vec!["spec.hard[limits.cpu]: Invalid value: \"-1\": must be greater than or equal to 0".to_owned()],
            ),
            (json!({"hard": {"pods": "1500m"}}), vec!["spec.hard[pods]: Invalid value: \"1500m\": must be an integer".to_owned()]),
            (
                json!({"hard": {"gpu": "1"}}),
                vec![
                    "spec.hard[gpu]: Invalid value: \"gpu\": must be a standard resource type or fully qualified".to_owned(),
                    "spec.hard[gpu]: Invalid value: \"gpu\": must be a standard resource for quota".to_owned(),
                ],
            ),
            (json!({"scopes": ["X"]}), vec!["spec.scopes: Invalid value: []string{\"X\"}: unsupported scope".to_owned()]),
            (
                json!({"hard": {"cpu": "1"}, "scopes": ["BestEffort"]}),
                vec!["spec.scopes: Invalid value: []string{\"BestEffort\"}: unsupported scope applied to resource".to_owned()],
            ),
            (
                json!({"hard": {"services": "1"}, "scopes": ["Terminating"]}),
                vec!["spec.scopes: Invalid value: []string{\"Terminating\"}: unsupported scope applied to resource".to_owned()],
            ),
            (
                json!({"hard": {"pods": "1"}, "scopes": ["Terminating", "NotTerminating"]}),
                vec!["spec.scopes: Invalid value: []string{\"Terminating\", \"NotTerminating\"}: conflicting scopes".to_owned()],
            ),
            (selector(json!({"scopeName": "PriorityClass", "operator": "In", "values": ["a"]})), vec![]),
            (selector(json!({"scopeName": "BestEffort", "operator": "Exists"})), vec![]),
            (
                selector(json!({"scopeName": "Night", "operator": "Exists"})),
                vec![format!("{at}.scopeName: Invalid value: \"Night\": unsupported scope")],
            ),
            (
                selector(json!({"scopeName": "BestEffort", "operator": "DoesNotExist"})),
                vec![format!("{at}.operator: Invalid value: \"DoesNotExist\": {EXISTS_ONLY}")],
            ),
            (
                selector(json!({"scopeName": "PriorityClass", "operator": "In"})),
                vec![format!(
                    "{at}.values: Required value: must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"
                )],
            ),
            (
                selector(json!({"scopeName": "PriorityClass", "operator": "Exists", "values": ["a"]})),
                vec![format!(
                    "{at}.values: Invalid value: []string{{\"a\"}}: must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector"
                )],
            ),
            (
                selector(json!({"scopeName": "PriorityClass", "operator": "Is"})),
                vec![format!("{at}.operator: Invalid value: \"Is\": not a valid selector operator")],
            ),
        ] {
            assert_eq!(texts(&KIND.validate_create(&quota(&spec))), expected, "{spec}");
        }
        let found = texts(&KIND.validate_create(&quota(&json!({"hard": {"cpu": "1"},
            "scopeSelector": {"matchExpressions": [{"scopeName": "BestEffort", "operator": "Exists"}]}}))));
        assert!(found.len() == 1 && found[0].starts_with(at) && found[0].ends_with("unsupported scope applied to resource"), "{found:?}");
    }

    #[test]
    fn scopes_stay_and_the_status_is_of_amounts() {
        let old = quota(&json!({"hard": {"pods": "1"}, "scopes": ["BestEffort", "Terminating"]}));
        let change = |spec: Value| texts(&KIND.validate_update(&quota(&spec), &old, None));
        assert_eq!(change(json!({"hard": {"pods": "2"}, "scopes": ["Terminating", "BestEffort"]})), Vec::<String>::new());
        assert_eq!(
            change(json!({"hard": {"pods": "1"}, "scopes": ["BestEffort"]})),
            ["spec.scopes: Invalid value: []string{\"BestEffort\"}: field is immutable"]
        );
        let mut new = old.clone();
        new["status"] = json!({"hard": {"pods": "1"}, "used": {"pods": "500m", "gpu": "-1"}});
        assert_eq!(
            texts(&KIND.validate_update(&new, &old, Some("status"))),
            [
                "status.used[gpu]: Invalid value: \"gpu\": must be a standard resource type or fully qualified",
                "status.used[gpu]: Invalid value: \"gpu\": must be a standard resource for quota",
                "status.used[gpu]: Invalid value: \"-1\": must be greater than or equal to 0",
                "status.used[pods]: Invalid value: \"500m\": must be an integer",
            ]
        );
    }
}

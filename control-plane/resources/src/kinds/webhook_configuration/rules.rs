//! Rules of what is asked about: operations on resources. Shared by webhooks and admission policies.

use crate::field::{Errors, Path};
use k8s_openapi::api::admissionregistration::v1::RuleWithOperations;
use serde_json::Value;
use std::collections::BTreeSet;

const OPERATIONS: &[&str] = &["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
const SCOPES: &[&str] = &["*", "Cluster", "Namespaced"];

/// Fills in the scope.
pub fn default(rule: &mut RuleWithOperations) {
    rule.scope.get_or_insert_with(|| "*".to_owned());
}

/// The rules for a rule.
pub fn validate(rule: &RuleWithOperations, at: &Path<'_>, errors: &mut Errors) {
    let list = |list: &Option<Vec<String>>| list.clone().unwrap_or_default();
    let (operations, groups, versions) = (list(&rule.operations), list(&rule.api_groups), list(&rule.api_versions));
    let has_more = |list: &[String]| list.len() > 1 && list.iter().any(|item| item == "*");
    if operations.is_empty() {
        errors.required(&at.field("operations"), "");
    }
    if has_more(&operations) {
        // Go's name of the type, as the message has it.
        let shown: Vec<String> = operations.iter().map(|operation| Value::from(operation.as_str()).to_string()).collect();
        let shown = format!("[]admissionregistration.OperationType{{{}}}", shown.join(", "));
        errors.invalid_as_is(&at.field("operations"), format!("{shown}: if '*' is present, must not specify other operations"));
    }
    for (i, operation) in operations.iter().enumerate() {
        errors.one_of_if_set(&at.field("operations").index(i), Some(operation), OPERATIONS);
    }
    for (name, what, items) in [("apiGroups", "API groups", &groups), ("apiVersions", "API versions", &versions)] {
        if items.is_empty() {
            errors.required(&at.field(name), "");
        }
        if has_more(items) {
            errors.invalid(&at.field(name), items.clone(), format!("if '*' is present, must not specify other {what}"));
        }
    }
    for (i, _) in versions.iter().enumerate().filter(|(_, version)| version.is_empty()) {
        errors.required(&at.field("apiVersions").index(i), "");
    }
    resources(rule.resources.as_deref().unwrap_or_default(), &at.field("resources"), errors);
    errors.one_of_if_set(&at.field("scope"), rule.scope.as_deref(), SCOPES);
}

/// `pods`, `pods/status`, `*/scale`, `pods/*`, `*`, `*/*`: what another one covers may not be said besides.
fn resources(list: &[String], at: &Path<'_>, errors: &mut Errors) {
    if list.is_empty() {
        errors.required(at, "");
    }
    let (mut with_all_subresources, mut with_all_resources) = (BTreeSet::new(), BTreeSet::new());
    // As kube-apiserver has it: the last entry without a subresource says whether there is one besides `*`.
    let mut has_plain = false;
    for (i, entry) in list.iter().enumerate() {
        let at = at.index(i);
        if entry.is_empty() {
            errors.required(&at, "");
            continue;
        }
        let Some((resource, subresource)) = entry.split_once('/') else {
            has_plain = entry != "*";
            continue;
        };
        if with_all_subresources.contains(resource) {
            errors.invalid(&at, entry.as_str(), format!("if '{resource}/*' is present, must not specify {entry}"));
        }
        if with_all_resources.contains(subresource) {
            errors.invalid(&at, entry.as_str(), format!("if '*/{subresource}' is present, must not specify {entry}"));
        }
        if subresource == "*" {
            with_all_subresources.insert(resource);
        }
        if resource == "*" {
            with_all_resources.insert(subresource);
        }
    }
    let has = |wanted: &str| list.iter().any(|entry| entry == wanted);
    if list.len() > 1 && has("*/*") {
        errors.invalid(at, list.to_vec(), "if '*/*' is present, must not specify other resources");
    }
    if has("*") && has_plain {
        errors.invalid(at, list.to_vec(), "if '*' is present, must not specify other resources without subresources");
    }
}

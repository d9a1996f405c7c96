//! Which requests a policy or a binding is about.

use crate::field::{Errors, Path};
use crate::kinds::webhook_configuration::rules;
use crate::{names, selector};
use k8s_openapi::api::admissionregistration::v1::{MatchResources, NamedRuleWithOperations, RuleWithOperations};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

pub fn default(resources: &mut MatchResources) {
    resources.match_policy.get_or_insert_with(|| "Equivalent".to_owned());
    resources.namespace_selector.get_or_insert_with(LabelSelector::default);
    resources.object_selector.get_or_insert_with(LabelSelector::default);
    for rule in [&mut resources.resource_rules, &mut resources.exclude_resource_rules].into_iter().flatten().flatten() {
        rule.scope.get_or_insert_with(|| "*".to_owned());
    }
}

pub fn validate(resources: &MatchResources, at: &Path<'_>, errors: &mut Errors) {
    match resources.match_policy.as_deref() {
        None => errors.required(&at.field("matchPolicy"), ""),
        policy => errors.one_of_if_set(&at.field("matchPolicy"), policy, &["Equivalent", "Exact"]),
    }
    for (name, selected) in [("namespaceSelector", &resources.namespace_selector), ("objectSelector", &resources.object_selector)] {
        match selected {
            None => errors.required(&at.field(name), ""),
            Some(selected) => selector::validate(selected, &at.field(name), errors),
        }
    }
    for (name, list) in [("resourceRules", &resources.resource_rules), ("excludeResourceRules", &resources.exclude_resource_rules)] {
        for (i, rule) in list.iter().flatten().enumerate() {
            named_rule(rule, &at.field(name).index(i), errors);
        }
    }
}

fn named_rule(rule: &NamedRuleWithOperations, at: &Path<'_>, errors: &mut Errors) {
    let objects = rule.resource_names.as_deref().unwrap_or_default();
    for (i, name) in objects.iter().enumerate() {
        let at = at.field("resourceNames");
        errors.format(&at.index(i), name, names::path_segment(name, false));
        if objects[..i].contains(name) {
            errors.duplicate(&at.index(i), name.as_str());
        }
    }
    let rule = rule.clone();
    let rule = RuleWithOperations {
        api_groups: rule.api_groups,
        api_versions: rule.api_versions,
        operations: rule.operations,
        resources: rule.resources,
        scope: rule.scope,
    };
    rules::validate(&rule, at, errors);
}

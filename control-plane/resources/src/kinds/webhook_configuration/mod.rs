//! MutatingWebhookConfiguration and ValidatingWebhookConfiguration: which webhooks are asked about which requests, and how.

mod client_config;
pub mod conditions;
pub mod rules;
#[cfg(test)]
mod tests;

use crate::contract::{Column, Descriptor, Subresource};
use crate::expressions;
use crate::field::{Errors, Path};
use crate::table::{self, number};
use crate::typed::{Kind, cluster};
use crate::{names, selector};
use k8s_openapi::api::admissionregistration::v1;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde_json::Value;
use std::collections::BTreeSet;

pub struct MutatingWebhookConfiguration;
pub struct ValidatingWebhookConfiguration;

/// Versions of AdmissionReview that the server speaks, in the order in which it says so.
pub const REVIEW_VERSIONS: [&str; 2] = ["v1", "v1beta1"];
/// How long a webhook may take unless it says otherwise, and at most.
const DEFAULT_SECONDS: i32 = 10;
const MAX_SECONDS: i32 = 30;
/// What a new webhook may do besides answering; older ones may say `Some` and `Unknown`.
const NO_SIDE_EFFECTS: &[&str] = &["None", "NoneOnDryRun"];
const SIDE_EFFECTS: &[&str] = &["None", "NoneOnDryRun", "Some", "Unknown"];

const COLUMNS: &[Column] =
    &[table::NAME, number("Webhooks", "Webhooks indicates the number of webhooks registered in this configuration"), table::AGE];

impl Kind for MutatingWebhookConfiguration {
    type Object = v1::MutatingWebhookConfiguration;

    const DESCRIPTOR: Descriptor = Descriptor {
        categories: &["api-extensions"],
        has_generation: true,
        ..cluster::<v1::MutatingWebhookConfiguration>("mutatingwebhookconfigurations", "mutatingwebhookconfiguration")
    };
    const REPLACES_KNOWN_VERSIONS_ONLY: bool = true;
    const COLUMNS: &'static [Column] = COLUMNS;

    fn default(object: &mut v1::MutatingWebhookConfiguration) {
        for hook in object.webhooks.iter_mut().flatten() {
            default(hook);
            hook.reinvocation_policy.get_or_insert_with(|| "Never".to_owned());
        }
    }

    fn validate(object: &v1::MutatingWebhookConfiguration, errors: &mut Errors) {
        validate(object.webhooks.as_deref().unwrap_or_default(), Leniency::default(), errors);
    }

    fn validate_update(
        new: &v1::MutatingWebhookConfiguration,
        old: &v1::MutatingWebhookConfiguration,
        _: Subresource<'_>,
        errors: &mut Errors,
    ) {
        let (new, old) = (new.webhooks.as_deref().unwrap_or_default(), old.webhooks.as_deref().unwrap_or_default());
        validate(new, Leniency::of(new, old), errors);
    }

    fn cells(object: &v1::MutatingWebhookConfiguration, now: i64) -> Vec<Value> {
        let count = object.webhooks.as_ref().map_or(0, Vec::len);
        vec![table::name(&object.metadata), count.into(), table::age(&object.metadata, now)]
    }
}

impl Kind for ValidatingWebhookConfiguration {
    type Object = v1::ValidatingWebhookConfiguration;

    const DESCRIPTOR: Descriptor = Descriptor {
        categories: &["api-extensions"],
        has_generation: true,
        ..cluster::<v1::ValidatingWebhookConfiguration>("validatingwebhookconfigurations", "validatingwebhookconfiguration")
    };
    const REPLACES_KNOWN_VERSIONS_ONLY: bool = true;
    const COLUMNS: &'static [Column] = COLUMNS;

    fn default(object: &mut v1::ValidatingWebhookConfiguration) {
        for hook in object.webhooks.iter_mut().flatten() {
            let mut full = full(hook);
            default(&mut full);
            *hook = v1::ValidatingWebhook {
                admission_review_versions: full.admission_review_versions,
                client_config: full.client_config,
                failure_policy: full.failure_policy,
                match_conditions: full.match_conditions,
                match_policy: full.match_policy,
                name: full.name,
                namespace_selector: full.namespace_selector,
                object_selector: full.object_selector,
                rules: full.rules,
                side_effects: full.side_effects,
                timeout_seconds: full.timeout_seconds,
            };
        }
    }

    fn validate(object: &v1::ValidatingWebhookConfiguration, errors: &mut Errors) {
        validate(&all_full(object), Leniency::default(), errors);
    }

    fn validate_update(
        new: &v1::ValidatingWebhookConfiguration,
        old: &v1::ValidatingWebhookConfiguration,
        _: Subresource<'_>,
        errors: &mut Errors,
    ) {
        let (new, old) = (all_full(new), all_full(old));
        validate(&new, Leniency::of(&new, &old), errors);
    }

    fn cells(object: &v1::ValidatingWebhookConfiguration, now: i64) -> Vec<Value> {
        let count = object.webhooks.as_ref().map_or(0, Vec::len);
        vec![table::name(&object.metadata), count.into(), table::age(&object.metadata, now)]
    }
}

/// A validating webhook as a mutating one, which has all its fields and the policy of reinvocation.
fn full(hook: &v1::ValidatingWebhook) -> v1::MutatingWebhook {
    let hook = hook.clone();
    v1::MutatingWebhook {
        admission_review_versions: hook.admission_review_versions,
        client_config: hook.client_config,
        failure_policy: hook.failure_policy,
        match_conditions: hook.match_conditions,
        match_policy: hook.match_policy,
        name: hook.name,
        namespace_selector: hook.namespace_selector,
        object_selector: hook.object_selector,
        reinvocation_policy: None,
        rules: hook.rules,
        side_effects: hook.side_effects,
        timeout_seconds: hook.timeout_seconds,
    }
}

fn all_full(object: &v1::ValidatingWebhookConfiguration) -> Vec<v1::MutatingWebhook> {
    object.webhooks.iter().flatten().map(full).collect()
}

fn default(hook: &mut v1::MutatingWebhook) {
    hook.failure_policy.get_or_insert_with(|| "Fail".to_owned());
    hook.match_policy.get_or_insert_with(|| "Equivalent".to_owned());
    hook.namespace_selector.get_or_insert_with(LabelSelector::default);
    hook.object_selector.get_or_insert_with(LabelSelector::default);
    hook.timeout_seconds.get_or_insert(DEFAULT_SECONDS);
    hook.rules.iter_mut().flatten().for_each(rules::default);
    if let Some(service) = &mut hook.client_config.service {
        service.port.get_or_insert(client_config::DEFAULT_PORT);
    }
}

/// Rules that an update need not keep because the stored object broke them already, or says the same as before.
#[derive(Clone, Copy, Default)]
struct Leniency {
    same_conditions: bool,
    had_side_effects: bool,
    had_unknown_versions: bool,
    had_same_names: bool,
    had_bad_values: bool,
}

impl Leniency {
    fn of(new: &[v1::MutatingWebhook], old: &[v1::MutatingWebhook]) -> Self {
        let mut names = BTreeSet::new();
        let has_bad_values = |selector: &Option<LabelSelector>| {
            let values = selector.iter().flat_map(|selector| selector.match_expressions.iter().flatten()).filter_map(|e| e.values.as_ref());
            values.flatten().any(|value| !names::label_value(value).is_empty())
        };
        Self {
            same_conditions: new.len() == old.len() && new.iter().zip(old).all(|(new, old)| new.match_conditions == old.match_conditions),
            had_side_effects: old.iter().any(|hook| !NO_SIDE_EFFECTS.contains(&hook.side_effects.as_str())),
            had_unknown_versions: old.iter().any(|hook| {
                let versions = &hook.admission_review_versions;
                !versions.is_empty() && !versions.iter().any(|version| REVIEW_VERSIONS.contains(&version.as_str()))
            }),
            had_same_names: !old.iter().all(|hook| names.insert(hook.name.as_str())),
            had_bad_values: old.iter().any(|hook| has_bad_values(&hook.namespace_selector) || has_bad_values(&hook.object_selector)),
        }
    }
}

fn validate(hooks: &[v1::MutatingWebhook], leniency: Leniency, errors: &mut Errors) {
    let at = Path::Root.field("webhooks");
    for (i, hook) in hooks.iter().enumerate() {
        let at = at.index(i);
        webhook(hook, leniency, &at, errors);
        review_versions(&hook.admission_review_versions, leniency, &at.field("admissionReviewVersions"), errors);
        if !leniency.had_same_names && !hook.name.is_empty() && hooks[..i].iter().any(|before| before.name == hook.name) {
            errors.duplicate(&at.field("name"), hook.name.as_str());
        }
    }
}

fn webhook(hook: &v1::MutatingWebhook, leniency: Leniency, at: &Path<'_>, errors: &mut Errors) {
    fully_qualified(&hook.name, &at.field("name"), errors);
    for (i, rule) in hook.rules.iter().flatten().enumerate() {
        rules::validate(rule, &at.field("rules").index(i), errors);
    }
    errors.one_of_if_set(&at.field("failurePolicy"), hook.failure_policy.as_deref(), &["Fail", "Ignore"]);
    errors.one_of_if_set(&at.field("matchPolicy"), hook.match_policy.as_deref(), &["Equivalent", "Exact"]);
    let allowed = if leniency.had_side_effects { SIDE_EFFECTS } else { NO_SIDE_EFFECTS };
    match hook.side_effects.as_str() {
        "" => errors.required(&at.field("sideEffects"), format!("must specify one of {}", allowed.join(", "))),
        other => errors.one_of_if_set(&at.field("sideEffects"), Some(other), allowed),
    }
    if let Some(seconds) = hook.timeout_seconds.filter(|seconds| !(1..=MAX_SECONDS).contains(seconds)) {
        errors.invalid(&at.field("timeoutSeconds"), seconds, format!("the timeout value must be between 1 and {MAX_SECONDS} seconds"));
    }
    for (name, selected) in [("namespaceSelector", &hook.namespace_selector), ("objectSelector", &hook.object_selector)] {
        let Some(selected) = selected else { continue };
        let mut found = Errors::default();
        selector::validate(selected, &at.field(name), &mut found);
        let excused = |field: &str| leniency.had_bad_values && field.contains(".values[");
        found.into_list().into_iter().filter(|error| !excused(&error.field)).for_each(|error| errors.push(error));
    }
    errors.one_of_if_set(&at.field("reinvocationPolicy"), hook.reinvocation_policy.as_deref(), &["IfNeeded", "Never"]);
    client_config::validate(&hook.client_config, &at.field("clientConfig"), errors);
    if !leniency.same_conditions {
        let list = hook.match_conditions.as_deref().unwrap_or_default();
        conditions::validate(&expressions::environment(), list, &at.field("matchConditions"), errors);
    }
}

/// A domain of three parts or more.
fn fully_qualified(name: &str, at: &Path<'_>, errors: &mut Errors) {
    let found = names::subdomain(name);
    if name.is_empty() {
        errors.required(at, "");
    } else if !found.is_empty() {
        errors.invalid(at, name, found.join(","));
    } else if name.split('.').count() < 3 {
        errors.invalid(at, name, "should be a domain with at least three segments separated by dots");
    }
}

fn review_versions(versions: &[String], leniency: Leniency, at: &Path<'_>, errors: &mut Errors) {
    let accepted = REVIEW_VERSIONS.join(", ");
    if versions.is_empty() {
        errors.required(at, format!("must specify one of {accepted}"));
        return;
    }
    for (i, version) in versions.iter().enumerate() {
        let at = at.index(i);
        if versions[..i].contains(version) {
            errors.invalid(&at, version.as_str(), "duplicate version");
        } else {
            errors.format(&at, version, names::label_1035(version));
        }
    }
    if !leniency.had_unknown_versions && !versions.iter().any(|version| REVIEW_VERSIONS.contains(&version.as_str())) {
        errors.invalid(at, versions.to_vec(), format!("must include at least one of {accepted}"));
    }
}

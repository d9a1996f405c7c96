//! What a Job does about pods that fail (`podFailurePolicy`) and when it has enough of them (`successPolicy`).

use super::indexes;
use crate::field::{Errors, Path};
use crate::names;
use k8s_openapi::api::batch::v1;
use serde_json::Value;
use std::collections::HashSet;

const MAX_RULES: usize = 20;
const MAX_EXIT_CODES: usize = 255;
const MAX_INDEXES_BYTES: usize = 64 * 1024;
const ACTIONS: &[&str] = &["Count", "FailIndex", "FailJob", "Ignore"];
const OPERATORS: &[&str] = &["In", "NotIn"];
const STATUSES: &[&str] = &["False", "True", "Unknown"];

/// What is not said: a condition counts when it is true.
pub fn default(spec: &mut v1::JobSpec) {
    let rules = spec.pod_failure_policy.iter_mut().flat_map(|policy| policy.rules.iter_mut());
    for pattern in rules.flat_map(|rule| rule.on_pod_conditions.iter_mut().flatten()).filter(|pattern| pattern.status.is_empty()) {
        pattern.status = "True".to_owned();
    }
}

/// The rules for `podFailurePolicy`.
pub fn on_failure(spec: &v1::JobSpec, policy: &v1::PodFailurePolicy, at: &Path<'_>, errors: &mut Errors) {
    let at = at.field("rules");
    if policy.rules.len() > MAX_RULES {
        errors.too_many(&at, policy.rules.len(), MAX_RULES);
    }
    for (i, rule) in policy.rules.iter().enumerate() {
        let at = at.index(i);
        match &*rule.action {
            "FailIndex" if spec.backoff_limit_per_index.is_none() => {
                errors.invalid(&at.field("action"), "FailIndex", "requires the backoffLimitPerIndex to be set");
            }
            action => choice(action, ACTIONS, &at.field("action"), errors),
        }
        let conditions = rule.on_pod_conditions.as_deref().unwrap_or_default();
        if let Some(codes) = &rule.on_exit_codes {
            exit_codes(spec, codes, &at.field("onExitCodes"), errors);
        }
        pod_conditions(conditions, &at.field("onPodConditions"), errors);
        match (&rule.on_exit_codes, conditions) {
            (Some(_), [_, ..]) => errors.invalid_as_is(&at, "specifying both OnExitCodes and OnPodConditions is not supported"),
            (None, []) => errors.invalid_as_is(&at, "specifying one of OnExitCodes and OnPodConditions is required"),
            _ => {}
        }
    }
}

fn pod_conditions(list: &[v1::PodFailurePolicyOnPodConditionsPattern], at: &Path<'_>, errors: &mut Errors) {
    if list.len() > MAX_RULES {
        errors.too_many(at, list.len(), MAX_RULES);
    }
    for (i, pattern) in list.iter().enumerate() {
        let at = at.index(i);
        errors.format(&at.field("type"), &pattern.type_, names::qualified_name(&pattern.type_));
        choice(&pattern.status, STATUSES, &at.field("status"), errors);
    }
}

fn exit_codes(spec: &v1::JobSpec, codes: &v1::PodFailurePolicyOnExitCodesRequirement, at: &Path<'_>, errors: &mut Errors) {
    choice(&codes.operator, OPERATORS, &at.field("operator"), errors);
    let pod = spec.template.spec.as_ref();
    let has = |name: &str| pod.is_some_and(|p| p.containers.iter().chain(p.init_containers.iter().flatten()).any(|c| c.name == name));
    if let Some(name) = codes.container_name.as_deref().filter(|name| !has(name)) {
        let detail = "must be one of the container or initContainer names in the pod template";
        errors.invalid(&at.field("containerName"), name, detail);
    }
    let at = at.field("values");
    if codes.values.is_empty() {
        errors.invalid(&at, Value::from(&*codes.values), "at least one value is required");
    } else if codes.values.len() > MAX_EXIT_CODES {
        errors.too_many(&at, codes.values.len(), MAX_EXIT_CODES);
    }
    let mut seen = HashSet::new();
    for (i, code) in codes.values.iter().enumerate() {
        if codes.operator == "In" && *code == 0 {
            errors.invalid(&at.index(i), 0, "must not be 0 for the In operator");
        }
        if !seen.insert(code) {
            errors.duplicate(&at.index(i), *code);
        }
    }
    if !codes.values.is_sorted() {
        errors.invalid(&at, Value::from(&*codes.values), "must be ordered");
    }
}

/// The rules for `successPolicy`, which only indexed Jobs have.
pub fn on_success(spec: &v1::JobSpec, policy: &v1::SuccessPolicy, at: &Path<'_>, errors: &mut Errors) {
    if spec.completion_mode.as_deref() != Some("Indexed") {
        errors.invalid(at, serde_json::to_value(policy).unwrap_or_default(), "requires indexed completion mode");
        return;
    }
    let at = at.field("rules");
    if policy.rules.is_empty() {
        errors.required(&at, "at least one rules must be specified when the successPolicy is specified");
    }
    if policy.rules.len() > MAX_RULES {
        errors.too_many(&at, policy.rules.len(), MAX_RULES);
    }
    // Without completions that is complained about, and nothing can be compared.
    let Some(completions) = spec.completions else { return };
    for (i, rule) in policy.rules.iter().enumerate() {
        enough(rule, completions, &at.index(i), errors);
    }
}

fn enough(rule: &v1::SuccessPolicyRule, completions: i32, at: &Path<'_>, errors: &mut Errors) {
    if rule.succeeded_count.is_none() && rule.succeeded_indexes.is_none() {
        errors.required(at, "at least one of succeededCount or succeededIndexes must be specified");
    }
    let mut named = 0;
    if let Some(list) = rule.succeeded_indexes.as_deref() {
        let at = at.field("succeededIndexes");
        if list.len() > MAX_INDEXES_BYTES {
            errors.too_long(&at, MAX_INDEXES_BYTES);
        }
        match indexes::count(list, completions) {
            Ok(count) => named = count,
            Err(what) => errors.invalid(&at, list, format!("error parsing succeededIndexes: {what}")),
        }
    }
    let Some(count) = rule.succeeded_count else { return };
    let at = at.field("succeededCount");
    errors.non_negative(&at, count);
    if count > completions {
        errors.invalid(&at, count, format!("must be less than or equal to {completions} (the number of specified completions)"));
    }
    if rule.succeeded_indexes.is_some() && count > named {
        let detail = format!("must be less than or equal to {named} (the number of indexes in the specified succeededIndexes field)");
        errors.invalid(&at, count, detail);
    }
}

/// One of a few words; when none is said, the complaint names them.
fn choice(word: &str, words: &[&str], at: &Path<'_>, errors: &mut Errors) {
    if word.is_empty() {
        let quoted: Vec<String> = words.iter().map(|w| format!("{w:?}")).collect();
        errors.required(at, format!("valid values: [{}]", quoted.join(" ")));
    } else if !words.contains(&word) {
        errors.not_supported(at, word, words);
    }
}

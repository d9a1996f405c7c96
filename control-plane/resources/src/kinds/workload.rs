//! What the kinds that make pods share: counts and percentages, selector and template, container columns. Their own rules stay with them.

use super::pod;
use crate::contract::Column;
use crate::field::{Errors, Path};
use crate::table::{self, number, wide};
use crate::{json, meta, names, selector};
use k8s_openapi::api::core::v1::{PodSpec, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::Value;

/// The columns of kinds that keep a number of equal pods and do nothing more.
pub const REPLICA_COLUMNS: &[Column] = &[
    table::NAME,
    number("Desired", "Pods wanted"),
    number("Current", "Pods that exist"),
    number("Ready", "Pods that are ready"),
    table::AGE,
    wide("Containers", "Names of each container in the template."),
    wide("Images", "Images referenced by each container in the template."),
    wide("Selector", "Labels that select the pods"),
];

/// The cells that go with [`REPLICA_COLUMNS`]; `counts` are the pods wanted, present and ready.
pub fn replica_cells(meta: &ObjectMeta, counts: [i32; 3], template: Option<&PodTemplateSpec>, selector: String, now: i64) -> Vec<Value> {
    let [wanted, present, ready] = counts;
    let [containers, images] = containers_and_images(template.and_then(|t| t.spec.as_ref()));
    let age = table::age(meta, now);
    vec![table::name(meta), wanted.into(), present.into(), ready.into(), age, containers, images, selector.into()]
}

/// The field by which those kinds can be selected.
pub fn replica_fields(object: &Value) -> Vec<(&'static str, String)> {
    vec![("status.replicas", json::text_or(object, &["status", "replicas"], "0"))]
}

/// Counts that must not be negative, by the names of their fields; an absent one is nothing.
pub fn counts(at: &Path<'_>, counts: &[(&str, Option<i32>)], errors: &mut Errors) {
    for (name, count) in counts {
        errors.non_negative(&at.field(name), count.unwrap_or_default());
    }
}

/// The selector stays as it was made.
pub fn selector_stays(new: &LabelSelector, old: &LabelSelector, errors: &mut Errors) {
    errors.immutable(&Path::Root.field("spec").field("selector"), new, old);
}

/// Defaults inside of a template.
pub fn default_template(template: &mut PodTemplateSpec) {
    meta::normalise(template.metadata.get_or_insert_default());
    if let Some(spec) = &mut template.spec {
        pod::default::spec(spec);
    }
}

/// A template whose pods may have one of `restart_policies`.
pub fn template(template: &PodTemplateSpec, restart_policies: &[&str], at: &Path<'_>, errors: &mut Errors) {
    let metadata = at.field("metadata");
    if let Some(meta) = &template.metadata {
        if let Some(labels) = &meta.labels {
            meta::labels(labels, &metadata.field("labels"), errors);
        }
        if let Some(annotations) = &meta.annotations {
            meta::annotations(annotations, &metadata.field("annotations"), errors);
        }
    }
    let at = at.field("spec");
    let Some(spec) = &template.spec else {
        errors.required(&at.field("containers"), "");
        return;
    };
    pod::validate::spec(spec, &at, errors);
    let policy = spec.restart_policy.as_deref().unwrap_or_default();
    if pod::validate::RESTART_POLICIES.contains(&policy) && !restart_policies.contains(&policy) {
        errors.not_supported(&at.field("restartPolicy"), policy, restart_policies);
    }
}

/// The template of a kind that keeps its pods running.
pub fn long_running(kind: &str, template: &PodTemplateSpec, at: &Path<'_>, errors: &mut Errors) {
    self::template(template, &["Always"], at, errors);
    if template.spec.as_ref().is_some_and(|s| s.active_deadline_seconds.is_some()) {
        errors.forbidden(&at.field("spec").field("activeDeadlineSeconds"), format!("activeDeadlineSeconds in {kind} is not Supported"));
    }
}

/// The selector selects something, and the template's labels. One that is not there selects nothing (DaemonSets are told only that).
pub fn selects_template(kind: &str, chosen: &LabelSelector, template: &PodTemplateSpec, spec: &Path<'_>, errors: &mut Errors) {
    let at = spec.field("selector");
    selector::validate(chosen, &at, errors);
    let absent = chosen.match_labels.is_none() && chosen.match_expressions.is_none();
    if absent && kind != "daemonset" {
        errors.required(&at, "");
    } else if !absent && selector::is_empty(chosen) {
        let shown = serde_json::to_value(chosen).unwrap_or_default();
        errors.invalid(&at, shown, format!("empty selector is invalid for {kind}"));
        return;
    }
    let labels = template.metadata.as_ref().and_then(|m| m.labels.as_ref());
    if absent || !selector::matches(chosen, labels) {
        let at = spec.field("template");
        let at = at.field("metadata");
        let (at, detail) = (at.field("labels"), "`selector` does not match template `labels`");
        match labels {
            Some(labels) => errors.invalid(&at, serde_json::to_value(labels).unwrap_or_default(), detail),
            None => errors.invalid_map(&at, detail),
        }
    }
}

/// What the user should hear about a template.
pub fn template_warnings(template: Option<&PodTemplateSpec>) -> Vec<String> {
    let at = Path::Root.field("spec");
    let at = at.field("template");
    let Some(template) = template else { return Vec::new() };
    let annotations = template.metadata.as_ref().and_then(|meta| meta.annotations.as_ref());
    template.spec.as_ref().map(|spec| pod::warnings::all(spec, annotations, &at)).unwrap_or_default()
}

/// A number that is not negative, or a percentage.
pub fn count_or_percent(value: &IntOrString, at: &Path<'_>, errors: &mut Errors) {
    match value {
        IntOrString::Int(n) => errors.non_negative(at, *n),
        IntOrString::String(text) => errors.format(at, text, names::percent(text)),
    }
}

/// A percentage is at most 100%.
pub fn at_most_all(value: &IntOrString, at: &Path<'_>, errors: &mut Errors) {
    if percent(value).is_some_and(|p| p > 100) {
        errors.invalid(at, shown(value), "must not be greater than 100%");
    }
}

/// Whether a count or percentage is nothing.
pub fn is_zero(value: Option<&IntOrString>) -> bool {
    match value {
        None => true,
        Some(IntOrString::Int(n)) => *n == 0,
        Some(text) => percent(text) == Some(0),
    }
}

/// A count or percentage as JSON shows it.
pub fn shown(value: &IntOrString) -> Value {
    match value {
        IntOrString::Int(n) => (*n).into(),
        IntOrString::String(s) => s.as_str().into(),
    }
}

/// Cells of the columns Containers and Images.
pub fn containers_and_images(spec: Option<&PodSpec>) -> [Value; 2] {
    let containers = spec.map(|s| s.containers.as_slice()).unwrap_or_default();
    let names: Vec<&str> = containers.iter().map(|c| c.name.as_str()).collect();
    let images: Vec<&str> = containers.iter().map(|c| c.image.as_deref().unwrap_or_default()).collect();
    [names.join(",").into(), images.join(",").into()]
}

fn percent(value: &IntOrString) -> Option<u64> {
    match value {
        IntOrString::Int(_) => None,
        // All digits but too many for a number: certainly more than all.
        IntOrString::String(text) => text.strip_suffix('%').map(|n| n.parse().unwrap_or(u64::MAX)),
    }
}

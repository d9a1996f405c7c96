//! What the kinds that make pods share: counts and percentages, selector and template, container columns. Their own rules stay with them.

use crate::field::{Errors, Path};
use crate::{names, selector};
use k8s_openapi::api::core::v1::PodSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::Value;

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
pub fn is_zero(value: &IntOrString) -> bool {
    match value {
        IntOrString::Int(n) => *n == 0,
        IntOrString::String(_) => percent(value) == Some(0),
    }
}

fn percent(value: &IntOrString) -> Option<u64> {
    match value {
        IntOrString::Int(_) => None,
        // All digits but too many for a number: certainly more than all.
        IntOrString::String(text) => text.strip_suffix('%').map(|n| n.parse().unwrap_or(u64::MAX)),
    }
}

fn shown(value: &IntOrString) -> Value {
    match value {
        IntOrString::Int(n) => (*n).into(),
        IntOrString::String(s) => s.as_str().into(),
    }
}

/// The selector selects something, and the template's labels.
pub fn selector_and_template(chosen: &LabelSelector, template: Option<&ObjectMeta>, spec: &Path<'_>, errors: &mut Errors) {
    let at = spec.field("selector");
    selector::validate(chosen, &at, errors);
    let shown = || serde_json::to_value(chosen).unwrap_or_default();
    if selector::is_empty(chosen) {
        errors.invalid(&at, shown(), "empty selector is invalid for deployment");
        return;
    }
    let labels = template.and_then(|m| m.labels.as_ref());
    if !selector::matches(chosen, labels) {
        let at = spec.field("template");
        let at = at.field("metadata");
        let labels = serde_json::to_value(labels).unwrap_or_default();
        errors.invalid(&at.field("labels"), labels, "`selector` does not match template `labels`");
    }
}

/// Cells of the columns Containers and Images.
pub fn containers_and_images(spec: Option<&PodSpec>) -> [Value; 2] {
    let containers = spec.map(|s| s.containers.as_slice()).unwrap_or_default();
    let names: Vec<&str> = containers.iter().map(|c| c.name.as_str()).collect();
    let images: Vec<&str> = containers.iter().map(|c| c.image.as_deref().unwrap_or_default()).collect();
    [names.join(",").into(), images.join(",").into()]
}

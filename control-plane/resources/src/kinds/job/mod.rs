//! Job: pods that run to an end, a given number of times.

mod indexes;
mod policy;
mod status;
#[cfg(test)]
mod tests;
mod validate;

use super::workload;
use crate::contract::{Column, Descriptor, Subresource};
use crate::field::{Errors, Path};
use crate::json;
use crate::selector;
use crate::table::{self, text, wide};
use crate::typed::{Kind, namespaced, or_empty};
use k8s_openapi::api::batch::v1;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde_json::Value;
use std::collections::BTreeMap;

pub use validate::spec as validate_spec;

pub struct Job;

/// Label with the job's uid; the generated selector selects by it.
const UID_LABEL: &str = "batch.kubernetes.io/controller-uid";
const NAME_LABEL: &str = "batch.kubernetes.io/job-name";
/// Older names of the same labels, still set.
const OLD_LABELS: [&str; 2] = ["controller-uid", "job-name"];

impl Kind for Job {
    type Object = v1::Job;

    const DESCRIPTOR: Descriptor =
        Descriptor { categories: &["all"], subresources: &["status"], has_generation: true, ..namespaced::<v1::Job>("jobs", "job") };
    const COLUMNS: &'static [Column] = &[
        table::NAME,
        text("Status", "Whether the job runs, is complete or failed"),
        text("Completions", "Pods that ended well, and how many have to"),
        text("Duration", "Time from start to end"),
        table::AGE,
        wide("Containers", "Names of each container in the template."),
        wide("Images", "Images referenced by each container in the template."),
        wide("Selector", "Labels that select the pods"),
    ];

    fn default(object: &mut v1::Job) {
        let Some(spec) = &mut object.spec else { return };
        default_spec(spec);
        if object.metadata.labels.is_none() {
            object.metadata.labels = spec.template.metadata.as_ref().and_then(|m| m.labels.clone()).filter(|l| !l.is_empty());
        }
    }

    /// Selects its own pods by uid, unless the user took that over. Needs `metadata.uid`, which the server gives before.
    fn prepare_create(object: &mut Value) {
        let manual = json::get(object, &["spec", "manualSelector"]) == Some(&Value::Bool(true));
        let text = |path: &[&str]| json::get(object, path).cloned();
        if let (false, Some(uid), Some(name)) = (manual, text(&["metadata", "uid"]), text(&["metadata", "name"])) {
            let labels = ["spec", "template", "metadata", "labels"];
            for (label, value) in [(UID_LABEL, &uid), (NAME_LABEL, &name), (OLD_LABELS[0], &uid), (OLD_LABELS[1], &name)] {
                json::put(object, &[&labels[..], &[label]].concat(), value.clone());
            }
            json::put(object, &["spec", "selector", "matchLabels", UID_LABEL], uid);
        }
    }

    fn validate(object: &v1::Job, errors: &mut Errors) {
        whole(object, errors);
        if let Some(spec) = &object.spec {
            validate::name(object.metadata.name.as_deref().unwrap_or_default(), spec, errors);
        }
    }

    fn validate_update(new: &v1::Job, old: &v1::Job, subresource: Subresource<'_>, errors: &mut Errors) {
        if subresource == Some("status") {
            status::change(new, old, errors);
            return;
        }
        whole(new, errors);
        let (Some(spec), Some(old_spec)) = (&new.spec, &old.spec) else { return };
        let started = old.status.as_ref().is_some_and(|s| s.start_time.is_some());
        validate::change(spec, old_spec, started, &Path::Root.field("spec"), errors);
    }

    fn warnings(object: &v1::Job) -> Vec<String> {
        workload::template_warnings(object.spec.as_ref().map(|s| &s.template))
    }

    fn cells(object: &v1::Job, now: i64) -> Vec<Value> {
        let spec = or_empty(&object.spec);
        let status = or_empty(&object.status);
        let done = status.succeeded.unwrap_or_default();
        let completions = match (spec.completions, spec.parallelism.unwrap_or_default()) {
            (Some(wanted), _) => format!("{done}/{wanted}"),
            (None, parallel) if parallel > 1 => format!("{done}/1 of {parallel}"),
            (None, _) => format!("{done}/1"),
        };
        let end = status.completion_time.as_ref().map_or(now, |t| t.0.as_second());
        let duration = status.start_time.as_ref().map(|t| table::duration(end.saturating_sub(t.0.as_second()))).unwrap_or_default();
        let [containers, images] = workload::containers_and_images(spec.template.spec.as_ref());
        vec![
            table::name(&object.metadata),
            progress(object).into(),
            completions.into(),
            duration.into(),
            table::age(&object.metadata, now),
            containers,
            images,
            selector::shown(spec.selector.as_ref()).into(),
        ]
    }

    fn selectable_fields(object: &Value) -> Vec<(&'static str, String)> {
        vec![("status.successful", json::text_or(object, &["status", "succeeded"], "0"))]
    }
}

fn default_spec(spec: &mut v1::JobSpec) {
    // Both left out: a single run. Only parallelism given: a work queue without a fixed number of completions.
    if spec.completions.is_none() && spec.parallelism.is_none() {
        spec.completions = Some(1);
    }
    spec.parallelism.get_or_insert(1);
    let limit = if spec.backoff_limit_per_index.is_some() { i32::MAX } else { 6 };
    spec.backoff_limit.get_or_insert(limit);
    spec.completion_mode.get_or_insert_with(|| "NonIndexed".to_owned());
    spec.suspend.get_or_insert(false);
    let replacement = if spec.pod_failure_policy.is_some() { "Failed" } else { "TerminatingOrFailed" };
    spec.pod_replacement_policy.get_or_insert_with(|| replacement.to_owned());
    policy::default(spec);
    workload::default_template(&mut spec.template);
}

/// The rules for a Job as it is, new or changed.
fn whole(object: &v1::Job, errors: &mut Errors) {
    let at = Path::Root.field("spec");
    let Some(spec) = &object.spec else {
        errors.required(&at.field("template"), "");
        return;
    };
    if let Some(chosen) = &spec.selector {
        generated_selector(object, spec, chosen, &at.field("selector"), errors);
    }
    validate_spec(spec, &at, errors);
    match &spec.selector {
        None => errors.required(&at.field("selector"), ""),
        Some(chosen) => workload::selects_template("job", chosen, &spec.template, &at, errors),
    }
}

/// A selector that the user did not take over selects by the labels that the Job's pods are given.
fn generated_selector(object: &v1::Job, spec: &v1::JobSpec, chosen: &LabelSelector, at: &Path<'_>, errors: &mut Errors) {
    let (Some(uid), Some(name)) = (&object.metadata.uid, &object.metadata.name) else { return };
    if spec.manual_selector == Some(true) {
        return;
    }
    let labels = [(UID_LABEL, uid), (OLD_LABELS[0], uid), (NAME_LABEL, name), (OLD_LABELS[1], name)];
    let labels: BTreeMap<String, String> = labels.into_iter().map(|(label, value)| (label.to_owned(), value.clone())).collect();
    if !selector::matches(chosen, Some(&labels)) {
        errors.invalid(at, serde_json::to_value(chosen).unwrap_or_default(), "`selector` not auto-generated");
    }
}

fn progress(object: &v1::Job) -> &'static str {
    let conditions = object.status.iter().flat_map(|s| s.conditions.iter().flatten());
    let holds: Vec<&str> = conditions.filter(|c| c.status == "True").map(|c| c.type_.as_str()).collect();
    let is = |kind: &str| holds.contains(&kind);
    match () {
        () if is("Complete") => "Complete",
        () if is("Failed") => "Failed",
        () if object.metadata.deletion_timestamp.is_some() => "Terminating",
        () if is("Suspended") => "Suspended",
        () if is("FailureTarget") => "FailureTarget",
        () if is("SuccessCriteriaMet") => "SuccessCriteriaMet",
        () => "Running",
    }
}

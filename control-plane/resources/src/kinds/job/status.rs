//! How the status of a Job may change (`ValidateJobUpdateStatus` of Kubernetes 1.33): counters rise, an end is final, times and indexes fit.
//! What was wrong before and is left alone is not complained about, so that other parts can still be written.

use super::indexes;
use crate::field::{Errors, Path};
use crate::typed::or_empty;
use k8s_openapi::api::batch::v1;
use serde_json::Value;
use std::borrow::Cow;
use std::collections::HashSet;

struct Side<'a> {
    spec: Cow<'a, v1::JobSpec>,
    status: Cow<'a, v1::JobStatus>,
}

/// The rules for the change from `old` to `new`.
pub fn change(new: &v1::Job, old: &v1::Job, errors: &mut Errors) {
    let at = Path::Root.field("status");
    let (new, old) = (Side::of(new), Side::of(old));
    numbers(&new.status, &at, errors);
    uncounted(&new.status, &at.field("uncountedTerminatedPods"), errors);
    conditions(&new, &old, &at.field("conditions"), errors);
    times(&new, &old, &at, errors);
    end(&new, &old, &at, errors);
    lists(&new, &old, &at, errors);
    kept(&new, &old, &at, errors);
}

impl<'a> Side<'a> {
    fn of(job: &'a v1::Job) -> Self {
        Self { spec: or_empty(&job.spec), status: or_empty(&job.status) }
    }

    fn is(&self, condition: &str) -> bool {
        self.status.conditions.iter().flatten().any(|c| c.type_ == condition && c.status == "True")
    }

    fn is_finished(&self) -> bool {
        self.is("Complete") || self.is("Failed")
    }

    fn is_indexed(&self) -> bool {
        self.spec.completion_mode.as_deref() == Some("Indexed")
    }

    fn completed_indexes(&self) -> &str {
        self.status.completed_indexes.as_deref().unwrap_or_default()
    }
}

fn numbers(status: &v1::JobStatus, at: &Path<'_>, errors: &mut Errors) {
    for (name, value) in [
        ("active", status.active),
        ("succeeded", status.succeeded),
        ("failed", status.failed),
        ("ready", status.ready),
        ("terminating", status.terminating),
    ] {
        errors.non_negative(&at.field(name), value.unwrap_or_default());
    }
}

fn uncounted(status: &v1::JobStatus, at: &Path<'_>, errors: &mut Errors) {
    let Some(pods) = &status.uncounted_terminated_pods else { return };
    let mut seen = HashSet::new();
    for (name, list) in [("succeeded", &pods.succeeded), ("failed", &pods.failed)] {
        let at = at.field(name);
        for (i, uid) in list.iter().flatten().enumerate() {
            if uid.is_empty() {
                errors.invalid(&at.index(i), "", "must not be empty");
            } else if !seen.insert(uid) {
                errors.duplicate(&at.index(i), uid.as_str());
            }
        }
    }
}

fn conditions(new: &Side<'_>, old: &Side<'_>, at: &Path<'_>, errors: &mut Errors) {
    let changed = |condition: &str| new.is(condition) != old.is(condition);
    let [complete, failed, target, met] = ["Complete", "Failed", "FailureTarget", "SuccessCriteriaMet"];
    let mut refuse = |applies: bool, holds: bool, detail: &str| {
        if applies && holds {
            errors.invalid_as_is(at, detail);
        }
    };
    let detail = "cannot set Complete=True and Failed=true conditions";
    refuse(changed(complete) || changed(failed), new.is(complete) && new.is(failed), detail);
    let detail = "cannot set Complete=True and FailureTarget=true conditions";
    refuse(changed(complete) || changed(target), new.is(complete) && new.is(target), detail);
    let detail = "cannot set Failed=True condition without the FailureTarget=true condition";
    refuse(changed(failed) || new.status.failed_indexes != old.status.failed_indexes, new.is(failed) && !new.is(target), detail);
    let detail = "cannot set Complete=True condition without the SuccessCriteriaMet=true condition";
    refuse(changed(complete) || changed(met), new.is(complete) && !new.is(met), detail);
    refuse(true, new.is(met) && new.is(failed), "cannot set SuccessCriteriaMet=True and Failed=true conditions");
    refuse(true, new.is(met) && new.is(target), "cannot set SuccessCriteriaMet=True and FailureTarget=true conditions");
    let detail = "cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True";
    refuse(new.spec.success_policy.is_some(), !new.is(met) && new.is(complete), detail);
}

fn times(new: &Side<'_>, old: &Side<'_>, at: &Path<'_>, errors: &mut Errors) {
    let (status, before) = (&new.status, &old.status);
    let shown = serde_json::to_value(&status.completion_time).unwrap_or_default();
    let at_end = at.field("completionTime");
    let end_changed = status.completion_time != before.completion_time;
    let start_changed = status.start_time != before.start_time;
    if end_changed || new.is("Complete") != old.is("Complete") {
        match (&status.completion_time, new.is("Complete")) {
            (Some(_), false) => {
                errors.invalid(&at_end, shown.clone(), "cannot set completionTime when there is no Complete=True condition")
            }
            (None, true) => errors.required(&at_end, "completionTime is required for Complete jobs"),
            _ => {}
        }
    }
    if let (Some(start), Some(end)) = (&status.start_time, &status.completion_time)
        && (start_changed || end_changed)
        && end.0 < start.0
    {
        errors.invalid(&at_end, shown, "completionTime cannot be set before startTime");
    }
}

/// A Job that has ended runs nothing and counts nothing any more.
fn end(new: &Side<'_>, old: &Side<'_>, at: &Path<'_>, errors: &mut Errors) {
    let (status, before) = (&new.status, &old.status);
    let finished = new.is_finished();
    let changed = finished != old.is_finished();
    let active = status.active.unwrap_or_default();
    let before_active = before.active.unwrap_or_default();
    if finished && (changed || active != before_active) && active > 0 {
        errors.invalid(&at.field("active"), active, "active>0 is invalid for finished job");
    }
    if finished && (changed || status.start_time != before.start_time) && status.start_time.is_none() {
        errors.required(&at.field("startTime"), "startTime is required for finished job");
    }
    if let Some(pods) = &status.uncounted_terminated_pods
        && finished
        && (changed || status.uncounted_terminated_pods != before.uncounted_terminated_pods)
        && [&pods.succeeded, &pods.failed].into_iter().flatten().any(|list| !list.is_empty())
    {
        let shown = serde_json::to_value(pods).unwrap_or_default();
        errors.invalid(&at.field("uncountedTerminatedPods"), shown, "uncountedTerminatedPods needs to be empty for finished job");
    }
    if let Some(terminating) = status.terminating.filter(|count| *count > 0)
        && finished
        && (changed || status.terminating != before.terminating)
    {
        errors.invalid(&at.field("terminating"), terminating, "terminating>0 is invalid for finished job");
    }
    if let Some(ready) = status.ready.filter(|ready| *ready > active)
        && (status.ready != before.ready || active != before_active)
    {
        errors.invalid(&at.field("ready"), ready, "cannot set more ready pods than active");
    }
}

/// `completedIndexes` and `failedIndexes`.
fn lists(new: &Side<'_>, old: &Side<'_>, at: &Path<'_>, errors: &mut Errors) {
    let (at_done, at_failed) = (at.field("completedIndexes"), at.field("failedIndexes"));
    let done = new.completed_indexes();
    let failed = new.status.failed_indexes.as_deref();
    let done_changed = done != old.completed_indexes();
    let failed_changed = failed != old.status.failed_indexes.as_deref();
    let completions = new.spec.completions;
    if done_changed
        && let Some(completions) = completions
        && let Err(what) = indexes::count(done, completions)
    {
        errors.invalid(&at_done, done, format!("error parsing completedIndexes: {what}"));
    }
    if failed_changed
        && let (Some(completions), Some(failed), Some(_)) = (completions, failed, new.spec.backoff_limit_per_index)
        && let Err(what) = indexes::count(failed, completions)
    {
        errors.invalid(&at_failed, failed, format!("error parsing failedIndexes: {what}"));
    }
    if done_changed && !done.is_empty() && !new.is_indexed() {
        errors.invalid(&at_done, done, "cannot set non-empty completedIndexes when non-indexed completion mode");
    }
    let Some(failed) = failed else { return };
    if failed_changed && new.spec.backoff_limit_per_index.is_none() {
        errors.invalid(&at_failed, failed, "cannot set non-null failedIndexes when backoffLimitPerIndex is null");
    }
    if (done_changed || failed_changed)
        && let Some(index) = completions.and_then(|completions| indexes::overlap(done, failed, completions))
    {
        errors.invalid(&at_failed, failed, format!("failedIndexes and completedIndexes overlap at index: {index}"));
    }
}

/// What never goes back.
fn kept(new: &Side<'_>, old: &Side<'_>, at: &Path<'_>, errors: &mut Errors) {
    let (status, before) = (&new.status, &old.status);
    let at_conditions = at.field("conditions");
    for condition in ["Failed", "Complete", "FailureTarget"] {
        if old.is(condition) && !new.is(condition) {
            errors.invalid_as_is(&at_conditions, format!("cannot disable the terminal {condition}=True condition"));
        }
    }
    // Jobs that are scaled by their completions count less after going down.
    let elastic = new.is_indexed() && new.spec.completions == new.spec.parallelism;
    for (name, value, was, falls) in
        [("failed", status.failed, before.failed, false), ("succeeded", status.succeeded, before.succeeded, elastic)]
    {
        let value = value.unwrap_or_default();
        if value < was.unwrap_or_default() && !falls {
            errors.invalid(&at.field(name), value, format!("cannot decrease the {name} counter"));
        }
    }
    if let (Some(end), Some(was)) = (&status.completion_time, &before.completion_time)
        && end != was
    {
        let shown: Value = serde_json::to_value(end).unwrap_or_default();
        errors.invalid(&at.field("completionTime"), shown, "completionTime cannot be mutated");
    }
    if before.start_time.is_some() && status.start_time != before.start_time && new.spec.suspend != Some(true) {
        errors.required(&at.field("startTime"), "startTime cannot be removed for unsuspended job");
    }
    let met = "SuccessCriteriaMet";
    if old.is(met) && !new.is(met) {
        errors.invalid_as_is(&at_conditions, "cannot disable the SuccessCriteriaMet=True condition");
    }
    if old.is("Complete") && !old.is(met) && new.is(met) {
        errors.invalid_as_is(&at_conditions, "cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions");
    }
}

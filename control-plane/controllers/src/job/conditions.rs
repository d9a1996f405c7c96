//! Pure: a Job's conditions: reading them, and setting one.

use k8s_openapi::api::batch::v1::{Job, JobCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

/// The Job has succeeded, and its pods have ended.
pub(crate) const COMPLETE: &str = "Complete";
/// The Job has failed, and its pods have ended.
pub(crate) const FAILED: &str = "Failed";
/// The Job is about to fail: its pods are being ended.
pub(super) const FAILURE_TARGET: &str = "FailureTarget";
/// The Job is about to be complete: its pods are being ended.
pub(super) const SUCCESS_CRITERIA_MET: &str = "SuccessCriteriaMet";
pub(super) const SUSPENDED: &str = "Suspended";

/// Whether the condition of this type is True.
pub(crate) fn is_true(job: &Job, type_: &str) -> bool {
    find(conditions(job), type_).is_some()
}

/// Whether the Job has ended, either way: nothing more is done for it.
pub(crate) fn is_finished(job: &Job) -> bool {
    is_true(job, COMPLETE) || is_true(job, FAILED)
}

/// The condition of this type where it is True.
pub(super) fn find<'a>(conditions: &'a [JobCondition], type_: &str) -> Option<&'a JobCondition> {
    conditions.iter().find(|condition| condition.type_ == type_ && condition.status == "True")
}

pub(super) fn conditions(job: &Job) -> &[JobCondition] {
    job.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default()
}

/// Sets a condition; one that has the status already keeps its time. Returns whether the status changed.
pub(super) fn set(conditions: &mut Vec<JobCondition>, type_: &str, holds: bool, reason: &str, message: &str, now: Timestamp) -> bool {
    let status = if holds { "True" } else { "False" };
    let known = conditions.iter().position(|condition| condition.type_ == type_);
    if known.is_some_and(|index| conditions[index].status == status) {
        return false;
    }
    let condition = JobCondition {
        type_: type_.into(),
        status: status.into(),
        reason: Some(reason.into()),
        message: Some(message.into()),
        last_probe_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
    };
    match known {
        Some(index) => conditions[index] = condition,
        None => conditions.push(condition),
    }
    true
}

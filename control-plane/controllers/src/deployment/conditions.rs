//! Pure: the status of a Deployment and its conditions Available, Progressing and ReplicaFailure, with the reasons that `kubectl rollout
//! status` and others look for.

use std::time::Duration;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition, DeploymentSpec, DeploymentStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use super::set::{Set, total};
use super::strategy::Bounds;
use crate::write_status::count;

pub(super) const PROGRESSING: &str = "Progressing";
pub(super) const NEW_SET_AVAILABLE: &str = "NewReplicaSetAvailable";
const TIMED_OUT: &str = "ProgressDeadlineExceeded";

/// `spec.progressDeadlineSeconds` when there is one; the greatest number means none.
pub(super) fn progress_deadline(spec: &DeploymentSpec) -> Option<Duration> {
    let seconds = spec.progress_deadline_seconds.filter(|seconds| *seconds != i32::MAX)?;
    Some(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}

pub(super) fn get<'a>(conditions: &'a [DeploymentCondition], type_: &str) -> Option<&'a DeploymentCondition> {
    conditions.iter().find(|condition| condition.type_ == type_)
}

pub(super) fn new(type_: &str, status: &str, reason: &str, message: String, now: Timestamp) -> DeploymentCondition {
    DeploymentCondition {
        type_: type_.into(),
        status: status.into(),
        reason: Some(reason.into()),
        message: Some(message),
        last_update_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
    }
}

/// Sets a condition. One with the same status and reason stays as it is; one with the same status keeps its transition time.
pub(super) fn set(conditions: &mut Vec<DeploymentCondition>, mut condition: DeploymentCondition) {
    if let Some(present) = get(conditions, &condition.type_) {
        if present.status == condition.status && present.reason == condition.reason {
            return;
        }
        if present.status == condition.status {
            condition.last_transition_time = present.last_transition_time.clone();
        }
    }
    conditions.retain(|present| present.type_ != condition.type_);
    conditions.push(condition);
}

/// The counts and the Available condition.
pub(super) fn counts(
    deployment: &Deployment,
    current: Option<&Set>,
    old: &[Set],
    bounds: Bounds,
    mut conditions: Vec<DeploymentCondition>,
    now: Timestamp,
) -> DeploymentStatus {
    let all = || current.into_iter().chain(old);
    let wanted = total(all().map(|set| set.replicas));
    let available = total(all().map(Set::available));
    let number = |number: i32| count(usize::try_from(number).unwrap_or(0));
    let available_condition = if available >= bounds.fewest() {
        new("Available", "True", "MinimumReplicasAvailable", "Deployment has minimum availability.".into(), now)
    } else {
        new("Available", "False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.".into(), now)
    };
    set(&mut conditions, available_condition);
    DeploymentStatus {
        observed_generation: deployment.metadata.generation,
        replicas: number(total(all().map(Set::pods))),
        updated_replicas: number(current.map_or(0, Set::pods)),
        ready_replicas: number(total(all().map(Set::ready))),
        available_replicas: number(available),
        unavailable_replicas: number((wanted - available).max(0)),
        collision_count: deployment.status.as_ref().and_then(|status| status.collision_count),
        conditions: Some(conditions),
        terminating_replicas: None,
    }
}

/// Judges the rollout: the Progressing and ReplicaFailure conditions. `current` names the set that is rolled out.
pub(super) fn judge_rollout(
    deployment: &Deployment,
    spec: &DeploymentSpec,
    current: Option<&Set>,
    old: &[Set],
    status: &mut DeploymentStatus,
    now: Timestamp,
) {
    let complete = is_complete(deployment, spec, status);
    let progressed = has_progressed(deployment, status);
    let conditions = status.conditions.get_or_insert_default();
    if progress_deadline(spec).is_none() {
        conditions.retain(|condition| condition.type_ != PROGRESSING);
    }
    let present = get(conditions, PROGRESSING).cloned();
    let settled = status.replicas == status.updated_replicas
        && present.as_ref().and_then(|present| present.reason.as_deref()) == Some(NEW_SET_AVAILABLE);
    if progress_deadline(spec).is_some() && !settled {
        let subject = current.map_or_else(
            || format!("Deployment \"{}\"", deployment.metadata.name.as_deref().unwrap_or_default()),
            |current| format!("ReplicaSet \"{}\"", current.name()),
        );
        if complete {
            let message = format!("{subject} has successfully progressed.");
            set(conditions, new(PROGRESSING, "True", NEW_SET_AVAILABLE, message, now));
        } else if progressed {
            let mut condition = new(PROGRESSING, "True", "ReplicaSetUpdated", format!("{subject} is progressing."), now);
            if let Some(present) = present.filter(|present| present.status == "True") {
                condition.last_transition_time = present.last_transition_time;
            }
            // Replaced even when status and reason are the same: its update time restarts the deadline.
            conditions.retain(|condition| condition.type_ != PROGRESSING);
            conditions.push(condition);
        } else if has_timed_out(spec, present.as_ref(), now) {
            set(conditions, new(PROGRESSING, "False", TIMED_OUT, format!("{subject} has timed out progressing."), now));
        }
    }
    let failure = current.into_iter().chain(old).find_map(|set| {
        let conditions = set.object.status.as_ref()?.conditions.as_deref()?;
        conditions.iter().find(|condition| condition.type_ == "ReplicaFailure" && condition.status == "True")
    });
    match failure {
        Some(failure) => {
            let reason = failure.reason.as_deref().unwrap_or_default();
            set(conditions, new("ReplicaFailure", "True", reason, failure.message.clone().unwrap_or_default(), now));
        }
        None => conditions.retain(|condition| condition.type_ != "ReplicaFailure"),
    }
}

/// When the rollout's deadline will pass, if it is running against one.
pub(super) fn deadline_in(deployment: &Deployment, spec: &DeploymentSpec, status: &DeploymentStatus, now: Timestamp) -> Option<Duration> {
    let deadline = progress_deadline(spec)?;
    let condition = get(status.conditions.as_deref()?, PROGRESSING)?;
    if spec.paused == Some(true) || is_complete(deployment, spec, status) || condition.reason.as_deref() == Some(TIMED_OUT) {
        return None;
    }
    let passed = Duration::try_from(now.duration_since(condition.last_update_time.as_ref()?.0)).unwrap_or_default();
    // A second on top: times in conditions are whole seconds.
    Some(deadline.saturating_sub(passed) + Duration::from_secs(1))
}

/// Whether all pods are of the current template, available, and no others are left.
pub(super) fn is_complete(deployment: &Deployment, spec: &DeploymentSpec, status: &DeploymentStatus) -> bool {
    let wanted = spec.replicas.unwrap_or(1);
    status.updated_replicas.unwrap_or(0) == wanted
        && status.replicas.unwrap_or(0) == wanted
        && status.available_replicas.unwrap_or(0) == wanted
        && status.observed_generation >= deployment.metadata.generation
}

fn has_progressed(deployment: &Deployment, status: &DeploymentStatus) -> bool {
    let none = DeploymentStatus::default();
    let before = deployment.status.as_ref().unwrap_or(&none);
    let updated = |status: &DeploymentStatus| status.updated_replicas.unwrap_or(0);
    let outdated = |status: &DeploymentStatus| status.replicas.unwrap_or(0) - updated(status);
    updated(status) > updated(before)
        || outdated(status) < outdated(before)
        || status.ready_replicas > before.ready_replicas
        || status.available_replicas > before.available_replicas
}

fn has_timed_out(spec: &DeploymentSpec, present: Option<&DeploymentCondition>, now: Timestamp) -> bool {
    let (Some(deadline), Some(present)) = (progress_deadline(spec), present) else { return false };
    match present.reason.as_deref() {
        Some(NEW_SET_AVAILABLE) => false,
        Some(TIMED_OUT) => true,
        _ => {
            let since = present.last_update_time.as_ref().map_or(now, |time| time.0);
            Duration::try_from(now.duration_since(since)).is_ok_and(|passed| passed > deadline)
        }
    }
}

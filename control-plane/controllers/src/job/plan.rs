//! Pure: a Job and its pods in; pods to create and delete, pods that are counted, and the status, out.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::batch::v1::{Job, JobSpec, JobStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use orknet_reconciler::{EventType, pod_state};

use super::conditions::{COMPLETE, FAILED, FAILURE_TARGET, SUCCESS_CRITERIA_MET, SUSPENDED, find, set};
use super::pods::{ended_at, has_failed, has_succeeded, index_of, is_indexed, is_tracked};
use super::tally::{Tally, tally};
use crate::replica_set::ranking;
use crate::write_status::count;

/// At most so many pods are created in one pass.
pub(super) const BURST: usize = 500;
/// The wait after a pod's first failure; it doubles with each further one until a pod succeeds.
const FIRST_WAIT: Duration = Duration::from_secs(10);
const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// What one pass has seen.
pub(super) struct Observed<'a> {
    pub job: &'a Job,
    pub spec: &'a JobSpec,
    /// The pods under the Job's control.
    pub pods: Vec<Arc<Pod>>,
    pub now: Timestamp,
}

/// What to write: the status first, then the rest.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub status: JobStatus,
    /// These lose their finalizer: the status has them.
    pub release: Vec<Arc<Pod>>,
    /// One pod per entry, with its index where the Job has indexes.
    pub create: Vec<Option<usize>>,
    /// Deleted because the Job wants fewer: these count as nothing.
    pub discard: Vec<Arc<Pod>>,
    /// Deleted because the Job is ending.
    pub end: Vec<Arc<Pod>>,
    /// Type, reason, message.
    pub events: Vec<(EventType, &'static str, String)>,
    pub recheck: Option<Duration>,
}

pub(super) fn plan(observed: &Observed<'_>) -> Plan {
    let (spec, now) = (observed.spec, observed.now);
    let old = observed.job.status.clone().unwrap_or_default();
    let tally = tally(spec, &old, &observed.pods);
    let mut plan = Plan { release: tally.release.clone(), status: old, ..Plan::default() };
    let active: Vec<_> = observed.pods.iter().filter(|pod| pod_state::is_active(pod) && !has_failed(spec, pod)).cloned().collect();
    tally.put(&mut plan.status, is_indexed(spec));
    suspend_or_resume(observed, &mut plan);
    judge(observed, &tally, &active, &mut plan);
    let mut left = active.len();
    if is_ending(&plan.status) {
        plan.end.clone_from(&active);
        left = 0;
    } else if spec.suspend == Some(true) {
        plan.discard.clone_from(&active);
        left = 0;
    } else {
        staff(observed, &tally, &active, &mut plan);
        left = left + plan.create.len() - plan.discard.len();
    }
    let terminating = observed.pods.iter().filter(|pod| pod_state::is_terminating(pod) && !pod_state::is_terminal(pod)).count();
    let going = terminating + plan.end.len() + plan.discard.len();
    plan.status.active = count(left);
    // Of the pods that stay: more ready than active ones are refused.
    let ready = active.iter().filter(|pod| pod_state::is_ready(pod)).count().min(left);
    plan.status.ready = Some(i32::try_from(ready).unwrap_or(i32::MAX));
    plan.status.terminating = Some(i32::try_from(going).unwrap_or(i32::MAX));
    finish(now, &tally, going, &mut plan);
    plan
}

/// Time until the finished Job is deleted; `None` when it stays or has not finished.
pub(super) fn time_to_live(job: &Job, now: Timestamp) -> Option<Duration> {
    let seconds = job.spec.as_ref()?.ttl_seconds_after_finished?;
    let conditions = super::conditions::conditions(job);
    let end = find(conditions, COMPLETE).or_else(|| find(conditions, FAILED))?.last_transition_time.as_ref()?;
    let passed = Duration::try_from(now.duration_since(end.0)).unwrap_or_default();
    Some(Duration::from_secs(seconds.unsigned_abs().into()).saturating_sub(passed))
}

fn is_ending(status: &JobStatus) -> bool {
    let conditions = status.conditions.as_deref().unwrap_or_default();
    find(conditions, FAILURE_TARGET).or_else(|| find(conditions, SUCCESS_CRITERIA_MET)).is_some()
}

fn suspend_or_resume(observed: &Observed<'_>, plan: &mut Plan) {
    let now = observed.now;
    let mut conditions = plan.status.conditions.take().unwrap_or_default();
    let was = find(&conditions, SUSPENDED).is_some();
    if observed.spec.suspend == Some(true) {
        if set(&mut conditions, SUSPENDED, true, "JobSuspended", "Job suspended", now) {
            plan.events.push((EventType::Normal, "Suspended", "Job suspended".into()));
        }
        plan.status.start_time = None;
    } else {
        if was {
            set(&mut conditions, SUSPENDED, false, "JobResumed", "Job resumed", now);
            plan.events.push((EventType::Normal, "Resumed", "Job resumed".into()));
        }
        plan.status.start_time.get_or_insert(Time(now));
    }
    plan.status.conditions = Some(conditions).filter(|conditions| !conditions.is_empty());
}

/// Decides whether the Job begins to end, once for all.
fn judge(observed: &Observed<'_>, tally: &Tally, active: &[Arc<Pod>], plan: &mut Plan) {
    if is_ending(&plan.status) {
        return;
    }
    let (spec, now) = (observed.spec, observed.now);
    let verdict = if is_past_limit(spec, tally, active) {
        Some((FAILURE_TARGET, "BackoffLimitExceeded", "Job has reached the specified backoff limit"))
    } else if deadline_in(observed, plan).is_some_and(|left| left.is_zero()) {
        Some((FAILURE_TARGET, "DeadlineExceeded", "Job was active longer than specified deadline"))
    } else if spec.suspend != Some(true) && is_enough(spec, tally, active) {
        Some((SUCCESS_CRITERIA_MET, "CompletionsReached", "Reached expected number of succeeded pods"))
    } else {
        None
    };
    let left = deadline_in(observed, plan);
    match verdict {
        Some((type_, reason, message)) => {
            set(plan.status.conditions.get_or_insert_default(), type_, true, reason, message, now);
        }
        None => plan.recheck = left,
    }
}

fn is_enough(spec: &JobSpec, tally: &Tally, active: &[Arc<Pod>]) -> bool {
    match spec.completions {
        // A work queue: one success says that there is no more work, the others are let end by themselves.
        None => tally.succeeded > 0 && active.is_empty(),
        Some(wanted) => tally.succeeded >= usize::try_from(wanted).unwrap_or(0),
    }
}

fn is_past_limit(spec: &JobSpec, tally: &Tally, active: &[Arc<Pod>]) -> bool {
    let limit = usize::try_from(spec.backoff_limit.unwrap_or(6)).unwrap_or(0);
    if tally.failed > limit {
        return true;
    }
    // Containers that are restarted in place count their restarts instead.
    if spec.template.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref()) != Some("OnFailure") {
        return false;
    }
    let statuses = active.iter().filter_map(|pod| pod.status.as_ref());
    let containers = statuses.flat_map(|status| status.init_container_statuses.iter().chain(&status.container_statuses).flatten());
    let restarts: usize = containers.map(|status| usize::try_from(status.restart_count).unwrap_or(0)).sum();
    if limit == 0 { restarts > 0 } else { restarts >= limit }
}

/// Time left of `activeDeadlineSeconds`; `None` without one.
fn deadline_in(observed: &Observed<'_>, plan: &Plan) -> Option<Duration> {
    let seconds = observed.spec.active_deadline_seconds.filter(|_| observed.spec.suspend != Some(true))?;
    let passed = Duration::try_from(observed.now.duration_since(plan.status.start_time.as_ref()?.0)).unwrap_or_default();
    Some(Duration::from_secs(seconds.unsigned_abs()).saturating_sub(passed))
}

/// Plans pods to create or discard.
fn staff(observed: &Observed<'_>, tally: &Tally, active: &[Arc<Pod>], plan: &mut Plan) {
    let spec = observed.spec;
    let indexed = is_indexed(spec);
    let parallel = usize::try_from(spec.parallelism.unwrap_or(1)).unwrap_or(0);
    let completions = spec.completions.map(|wanted| usize::try_from(wanted).unwrap_or(0));
    let wanted = match completions {
        Some(completions) => completions.saturating_sub(tally.succeeded).min(parallel),
        None if tally.succeeded > 0 => active.len().min(parallel),
        None => parallel,
    };
    let mut keep = active.to_vec();
    if indexed {
        let mut seen = BTreeSet::new();
        // One pod per index that is not done; the oldest stays.
        keep.sort_by_key(|pod| (pod.metadata.creation_timestamp.clone(), pod.metadata.name.clone()));
        let wanted = |index: usize| completions.is_some_and(|limit| index < limit) && !tally.indexes.contains(&index);
        let (kept, extra) = keep.into_iter().partition(|pod| index_of(pod).is_some_and(|index| wanted(index) && seen.insert(index)));
        keep = kept;
        plan.discard.extend::<Vec<_>>(extra);
    }
    if keep.len() > wanted {
        plan.discard.extend(ranking::victims(&keep, &keep, keep.len() - wanted, observed.now));
        return;
    }
    let patient = spec.pod_replacement_policy.as_deref() == Some("Failed");
    let unsettled = observed.pods.iter().filter(|pod| patient && pod_state::is_terminating(pod) && !pod_state::is_terminal(pod));
    let missing = (wanted - keep.len()).saturating_sub(unsettled.count()).min(BURST);
    if missing == 0 {
        return;
    }
    let wait = failure_wait(observed);
    if !wait.is_zero() {
        plan.recheck = Some(plan.recheck.map_or(wait, |other| other.min(wait)));
        return;
    }
    let taken: BTreeSet<usize> = keep.iter().filter_map(|pod| index_of(pod)).collect();
    plan.create = match completions.filter(|_| indexed) {
        Some(limit) => {
            let free = (0..limit).filter(|index| !tally.indexes.contains(index) && !taken.contains(index));
            free.take(missing).map(Some).collect()
        }
        None => vec![None; missing],
    };
}

/// How long new pods have to wait because of the failures since the last success.
fn failure_wait(observed: &Observed<'_>) -> Duration {
    let success = observed.pods.iter().filter(|pod| has_succeeded(pod)).filter_map(|pod| ended_at(pod)).max();
    let failures = observed.pods.iter().filter(|pod| pod_state::phase(pod) == "Failed").filter_map(|pod| ended_at(pod));
    let failures: Vec<_> = failures.filter(|at| success.is_none_or(|success| *at > success)).collect();
    let Some(last) = failures.iter().max() else { return Duration::ZERO };
    let doublings = u32::try_from(failures.len() - 1).unwrap_or(u32::MAX).min(16);
    let wait = (FIRST_WAIT * 2_u32.pow(doublings)).min(LONGEST_WAIT);
    wait.saturating_sub(Duration::try_from(observed.now.duration_since(*last)).unwrap_or_default())
}

/// A Job that is ending has ended when no pod is left and all are counted.
fn finish(now: Timestamp, tally: &Tally, going: usize, plan: &mut Plan) {
    let conditions = plan.status.conditions.get_or_insert_default();
    if going == 0 && tally.is_settled() && plan.end.is_empty() {
        if let Some(cause) = find(conditions, FAILURE_TARGET).cloned() {
            let (reason, message) = (cause.reason.unwrap_or_default(), cause.message.unwrap_or_default());
            if set(conditions, FAILED, true, &reason, &message, now) {
                // A Job that was suspended while it failed ends with a start all the same.
                plan.status.start_time.get_or_insert(Time(now));
                let reason = if reason == "DeadlineExceeded" { "DeadlineExceeded" } else { "BackoffLimitExceeded" };
                plan.events.push((EventType::Warning, reason, message));
            }
        } else if let Some(cause) = find(conditions, SUCCESS_CRITERIA_MET).cloned() {
            let (reason, message) = (cause.reason.unwrap_or_default(), cause.message.unwrap_or_default());
            if set(conditions, COMPLETE, true, &reason, &message, now) {
                plan.status.completion_time = Some(Time(now));
                plan.events.push((EventType::Normal, "Completed", "Job completed".into()));
            }
        }
    }
    if conditions.is_empty() {
        plan.status.conditions = None;
    }
}

/// Pods that only the finalizer keeps: those of a Job that is no more.
pub(super) fn abandoned(pods: &[Arc<Pod>]) -> Vec<Arc<Pod>> {
    pods.iter().filter(|pod| is_tracked(pod)).cloned().collect()
}

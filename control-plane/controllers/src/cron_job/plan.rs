//! Pure: a CronJob and its Jobs in; the Job to start, Jobs to delete, and the status, out.

use std::sync::Arc;
use std::time::Duration;

use jiff::{Timestamp, Zoned};
use k8s_openapi::api::batch::v1::{CronJob, CronJobSpec, CronJobStatus, Job};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::Resource;
use orknet_reconciler::EventType;

use super::schedule::{self, Refusal, Schedule};
use crate::job::{COMPLETE, FAILED, is_finished, is_true};
use crate::ownership::controller_reference;

const SCHEDULED_AT: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";

/// What one pass has seen.
pub(super) struct Observed<'a> {
    pub cron_job: &'a CronJob,
    pub spec: &'a CronJobSpec,
    /// The Jobs under the CronJob's control.
    pub jobs: Vec<Arc<Job>>,
    /// The namespace's other Jobs: one that lost its controller is not missing.
    pub others: Vec<Arc<Job>>,
    pub now: Timestamp,
}

/// What to write.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub create: Option<Job>,
    /// Running Jobs that the new one takes the place of.
    pub replace: Vec<Arc<Job>>,
    /// Ended Jobs beyond the history limits, oldest first.
    pub forget: Vec<Arc<Job>>,
    /// As it is when `create` and `replace` are done.
    pub status: CronJobStatus,
    /// Type, reason, message.
    pub events: Vec<(EventType, &'static str, String)>,
    pub recheck: Option<Duration>,
}

pub(super) fn plan(observed: &Observed<'_>) -> Plan {
    let mut plan = Plan { status: observed.cron_job.status.clone().unwrap_or_default(), ..Plan::default() };
    note_jobs(observed, &mut plan);
    note_successes(observed, &mut plan);
    forget(observed, &mut plan);
    if observed.cron_job.metadata.deletion_timestamp.is_none()
        && let Err((reason, message)) = start(observed, &mut plan)
    {
        plan.events.push((EventType::Warning, reason, message));
    }
    plan.status.active = plan.status.active.take().filter(|active| !active.is_empty());
    plan
}

/// How a Job is named in `status.active`.
pub(super) fn reference(job: &Job) -> ObjectReference {
    ObjectReference { resource_version: job.metadata.resource_version.clone(), ..job.object_ref(&()) }
}

/// Keeps in `status.active` what still runs. A Job that runs and is not in there (made by hand, or by a pass that could not write) is told of, but does
/// not count: neither against the concurrency policy, nor as completed.
fn note_jobs(observed: &Observed<'_>, plan: &mut Plan) {
    let mut active = plan.status.active.take().unwrap_or_default();
    for job in &observed.jobs {
        let name = job.metadata.name.as_deref().unwrap_or_default();
        let known = active.iter().position(|known| known.uid == job.metadata.uid);
        match known {
            None if !is_finished(job) => {
                let message = format!("Saw a job that the controller did not create or forgot: {name}");
                plan.events.push((EventType::Warning, "UnexpectedJob", message));
            }
            Some(position) if is_finished(job) => {
                active.remove(position);
                let condition = if is_true(job, COMPLETE) { COMPLETE } else { FAILED };
                plan.events.push((EventType::Normal, "SawCompletedJob", format!("Saw completed job: {name}, condition: {condition}")));
            }
            _ => {}
        }
    }
    active.retain(|known| {
        let is_there = observed.jobs.iter().chain(&observed.others).any(|job| job.metadata.uid == known.uid);
        if !is_there {
            let name = known.name.as_deref().unwrap_or_default();
            plan.events.push((EventType::Normal, "MissingJob", format!("Active job went missing: {name}")));
        }
        is_there
    });
    plan.status.active = Some(active);
}

fn note_successes(observed: &Observed<'_>, plan: &mut Plan) {
    let ends = observed.jobs.iter().filter(|job| is_true(job, COMPLETE));
    let last = ends.filter_map(|job| job.status.as_ref()?.completion_time.clone()).max_by_key(|time| time.0);
    let known = plan.status.last_successful_time.take();
    plan.status.last_successful_time = known.into_iter().chain(last).max_by_key(|time| time.0);
}

fn forget(observed: &Observed<'_>, plan: &mut Plan) {
    let (limits, now) = ((observed.spec.successful_jobs_history_limit, observed.spec.failed_jobs_history_limit), observed.now);
    for (condition, limit) in [(COMPLETE, limits.0.unwrap_or(3)), (FAILED, limits.1.unwrap_or(1))] {
        let ended = observed.jobs.iter().filter(|job| is_true(job, condition) && job.metadata.deletion_timestamp.is_none());
        let mut ended: Vec<_> = ended.cloned().collect();
        let begun = |job: &Job| job.status.as_ref().and_then(|status| status.start_time.as_ref()).map_or(now, |time| time.0);
        ended.sort_by_key(|job| (begun(job), job.metadata.name.clone()));
        let surplus = ended.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
        ended.truncate(surplus);
        plan.forget.append(&mut ended);
    }
}

/// Plans the Job that is due, if one is. Of several missed times only the last one counts.
fn start(observed: &Observed<'_>, plan: &mut Plan) -> Result<(), Refusal> {
    let (spec, now) = (observed.spec, observed.now);
    let zone = schedule::zone(spec.time_zone.as_deref())?;
    if spec.suspend == Some(true) {
        return Ok(());
    }
    let schedule = Schedule::parse(&spec.schedule, zone)?;
    let made = observed.cron_job.metadata.creation_timestamp.as_ref().map_or(now, |time| time.0);
    let since = plan.status.last_schedule_time.as_ref().map_or(made, |time| time.0);
    plan.recheck = schedule.next_in(since, now);
    let Some(due) = schedule.last_due(since, now) else { return Ok(()) };
    let late = Duration::try_from(now.duration_since(due.timestamp())).unwrap_or_default();
    if spec.starting_deadline_seconds.is_some_and(|limit| late > Duration::from_secs(limit.unsigned_abs())) {
        let message = format!("Missed scheduled time to start a job: {}", due.timestamp().strftime("%a, %d %b %Y %H:%M:%S +0000"));
        plan.events.push((EventType::Warning, "MissSchedule", message));
        return Ok(());
    }
    let job = job_for(observed.cron_job, spec, &due);
    let active = plan.status.active.get_or_insert_default();
    if active.iter().any(|known| known.name == job.metadata.name) {
        return Ok(());
    }
    if !active.is_empty() {
        match spec.concurrency_policy.as_deref() {
            Some("Forbid") => {
                let message = "Not starting job because prior execution is running and concurrency policy is Forbid".into();
                plan.events.push((EventType::Normal, "JobAlreadyActive", message));
                return Ok(());
            }
            Some("Replace") => {
                let replaced = std::mem::take(active);
                let is_replaced = |job: &&Arc<Job>| replaced.iter().any(|known| known.uid == job.metadata.uid);
                plan.replace = observed.jobs.iter().filter(is_replaced).cloned().collect();
            }
            _ => {}
        }
    }
    plan.create = Some(job);
    plan.status.last_schedule_time = Some(Time(due.timestamp()));
    Ok(())
}

/// The Job of a scheduled time: the same time gives the same name, so that no time is served twice.
fn job_for(cron_job: &CronJob, spec: &CronJobSpec, due: &Zoned) -> Job {
    let template = spec.job_template.metadata.as_ref();
    let mut annotations = template.and_then(|meta| meta.annotations.clone()).unwrap_or_default();
    annotations.insert(SCHEDULED_AT.into(), due.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string().replace("+00:00", "Z"));
    let name = cron_job.metadata.name.as_deref().unwrap_or_default();
    Job {
        metadata: ObjectMeta {
            name: Some(format!("{name}-{}", due.timestamp().as_second() / 60)),
            namespace: cron_job.metadata.namespace.clone(),
            labels: template.and_then(|meta| meta.labels.clone()),
            annotations: Some(annotations),
            owner_references: Some(vec![controller_reference(cron_job)]),
            ..ObjectMeta::default()
        },
        spec: spec.job_template.spec.clone(),
        status: None,
    }
}

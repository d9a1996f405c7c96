//! Plans of the CronJob controller from observed states.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use serde_json::{Value, json};

use super::plan::{Observed, Plan, plan};
use super::schedule::Schedule;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn cron_job(change: Value, last: Option<&str>) -> CronJob {
    let mut value = json!({
        "metadata": {"name": "c", "namespace": "d", "uid": "u", "creationTimestamp": "2026-01-01T00:00:30Z"},
        "spec": {"schedule": "*/5 * * * *", "concurrencyPolicy": "Allow", "successfulJobsHistoryLimit": 1, "failedJobsHistoryLimit": 1,
            "jobTemplate": {"metadata": {"labels": {"a": "b"}}, "spec": {"template": {}}}},
        "status": {"lastScheduleTime": last},
    });
    value["spec"].as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    serde_json::from_value(value).unwrap()
}

fn job(name: &str, condition: Option<&str>) -> Arc<Job> {
    let conditions: Vec<_> = condition.iter().map(|type_| json!({"type": type_, "status": "True"})).collect();
    let value = json!({"metadata": {"name": name, "uid": name}, "status": {"conditions": conditions,
        "startTime": "2026-01-01T00:00:00Z", "completionTime": condition.map(|_| "2026-01-01T00:01:00Z")}});
    Arc::new(serde_json::from_value(value).unwrap())
}

fn planned(cron_job: &CronJob, jobs: &[Arc<Job>], now: &str) -> Plan {
    plan(&Observed { cron_job, spec: cron_job.spec.as_ref().unwrap(), jobs: jobs.to_vec(), now: at(now) })
}

fn created(plan: &Plan) -> Option<&str> {
    plan.create.as_ref()?.metadata.name.as_deref()
}

#[test]
fn a_job_starts_when_it_is_due_and_once() {
    let early = planned(&cron_job(json!({}), None), &[], "2026-01-01T00:04:00Z");
    assert_eq!((created(&early), early.recheck), (None, Some(Duration::from_secs(60))));
    let due = planned(&cron_job(json!({}), None), &[], "2026-01-01T00:17:00Z");
    // Of the missed times only the last is made up for.
    let minutes = at("2026-01-01T00:15:00Z").as_second() / 60;
    assert_eq!(created(&due), Some(format!("c-{minutes}").as_str()));
    assert_eq!(due.status.last_schedule_time.as_ref().unwrap().0, at("2026-01-01T00:15:00Z"));
    let meta = &due.create.as_ref().unwrap().metadata;
    assert_eq!(meta.labels.as_ref().unwrap()["a"], "b");
    assert_eq!(meta.annotations.as_ref().unwrap()["batch.kubernetes.io/cronjob-scheduled-timestamp"], "2026-01-01T00:15:00Z");
    assert_eq!(created(&planned(&cron_job(json!({}), Some("2026-01-01T00:15:00Z")), &[], "2026-01-01T00:17:00Z")), None);
}

#[test]
fn suspended_and_too_late_start_nothing() {
    assert_eq!(created(&planned(&cron_job(json!({"suspend": true}), None), &[], "2026-01-01T00:15:00Z")), None);
    let late = planned(&cron_job(json!({"startingDeadlineSeconds": 60}), None), &[], "2026-01-01T00:17:00Z");
    assert_eq!((created(&late), late.events[0].1), (None, "MissSchedule"));
    assert!(created(&planned(&cron_job(json!({"startingDeadlineSeconds": 60}), None), &[], "2026-01-01T00:15:50Z")).is_some());
}

#[test]
fn what_runs_already_is_kept_waited_for_or_replaced() {
    let running = [job("c-1", None)];
    let with = |policy: &str| planned(&cron_job(json!({"concurrencyPolicy": policy}), None), &running, "2026-01-01T00:15:00Z");
    let (allow, forbid, replace) = (with("Allow"), with("Forbid"), with("Replace"));
    assert_eq!((created(&allow).is_some(), allow.replace.len(), allow.status.active.as_ref().map(Vec::len)), (true, 0, Some(1)));
    assert_eq!((created(&forbid), forbid.events[0].1, forbid.status.last_schedule_time.as_ref()), (None, "JobAlreadyActive", None));
    assert_eq!((created(&replace).is_some(), replace.replace.len(), replace.status.active), (true, 1, None));
}

#[test]
fn only_the_newest_of_those_that_ended_are_kept() {
    let jobs = [job("c-1", Some("Complete")), job("c-2", Some("Complete")), job("c-3", Some("Failed")), job("c-4", None)];
    let plan = planned(&cron_job(json!({}), None), &jobs, "2026-01-01T00:04:00Z");
    assert_eq!(plan.forget.iter().filter_map(|job| job.metadata.name.as_deref()).collect::<Vec<_>>(), ["c-1"]);
    assert_eq!(plan.status.last_successful_time.as_ref().unwrap().0, at("2026-01-01T00:01:00Z"));
    assert_eq!(plan.status.active.as_ref().map(Vec::len), Some(1));
}

#[test]
fn schedules_are_read_in_their_time_zone() {
    let due = |text: &str, zone: Option<&str>| {
        let schedule = Schedule::parse(text, zone).map_err(|refusal| refusal.0)?;
        Ok::<_, &str>(schedule.last_due(at("2026-07-01T12:00:00Z")).map(|due| due.timestamp().to_string()))
    };
    assert_eq!(due("0 12 * * *", None), Ok(Some("2026-07-01T12:00:00Z".into())));
    assert_eq!(due("0 12 * * *", Some("UTC")), Ok(Some("2026-07-01T12:00:00Z".into())));
    assert_eq!(due("@hourly", None), Ok(Some("2026-07-01T12:00:00Z".into())));
    assert_eq!(due("0 0 * * SUN", None), Ok(Some("2026-06-28T00:00:00Z".into())));
    assert_eq!(due("* * *", None), Err("UnparseableSchedule"));
    assert_eq!(due("0 12 * * *", Some("Nowhere/Never")), Err("UnknownTimeZone"));
}

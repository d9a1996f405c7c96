//! Plans of the CronJob controller from observed states.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use serde_json::{Value, json};

use super::plan::{Observed, Plan, plan};
use super::schedule::{self, Schedule};

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

/// The CronJob with those Jobs in `status.active`.
fn knowing(mut cron_job: CronJob, names: &[&str]) -> CronJob {
    let active = names.iter().map(|name| serde_json::from_value(json!({"name": name, "uid": name})).unwrap()).collect();
    cron_job.status.get_or_insert_default().active = Some(active);
    cron_job
}

fn active(plan: &Plan) -> Vec<&str> {
    plan.status.active.iter().flatten().filter_map(|known| known.name.as_deref()).collect()
}

fn events(plan: &Plan) -> Vec<(&str, &str)> {
    plan.events.iter().map(|(_, reason, message)| (*reason, &message[..])).collect()
}

fn planned(cron_job: &CronJob, jobs: &[Arc<Job>], now: &str) -> Plan {
    plan(&Observed { cron_job, spec: cron_job.spec.as_ref().unwrap(), jobs: jobs.to_vec(), others: vec![job("freed", None)], now: at(now) })
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
    let message = "Missed scheduled time to start a job: Thu, 01 Jan 2026 00:15:00 +0000";
    assert_eq!((created(&late), events(&late)), (None, vec![("MissSchedule", message)]));
    assert!(created(&planned(&cron_job(json!({"startingDeadlineSeconds": 60}), None), &[], "2026-01-01T00:15:50Z")).is_some());
}

#[test]
fn what_runs_already_is_kept_waited_for_or_replaced() {
    let running = [job("c-1", None)];
    let with =
        |policy: &str| planned(&knowing(cron_job(json!({"concurrencyPolicy": policy}), None), &["c-1"]), &running, "2026-01-01T00:15:00Z");
    let (allow, forbid, replace) = (with("Allow"), with("Forbid"), with("Replace"));
    assert_eq!((created(&allow).is_some(), allow.replace.len(), allow.status.active.as_ref().map(Vec::len)), (true, 0, Some(1)));
    assert_eq!((created(&forbid), forbid.events[0].1, forbid.status.last_schedule_time.as_ref()), (None, "JobAlreadyActive", None));
    assert_eq!((created(&replace).is_some(), replace.replace.len(), replace.status.active), (true, 1, None));
}

#[test]
fn only_the_newest_of_those_that_ended_are_kept() {
    let jobs = [job("c-1", Some("Complete")), job("c-2", Some("Complete")), job("c-3", Some("Failed")), job("c-4", None)];
    let plan = planned(&knowing(cron_job(json!({}), None), &["c-4"]), &jobs, "2026-01-01T00:04:00Z");
    assert_eq!(plan.forget.iter().filter_map(|job| job.metadata.name.as_deref()).collect::<Vec<_>>(), ["c-1"]);
    assert_eq!(plan.status.last_successful_time.as_ref().unwrap().0, at("2026-01-01T00:01:00Z"));
    assert_eq!(plan.status.active.as_ref().map(Vec::len), Some(1));
}

#[test]
fn only_jobs_in_the_status_are_seen_to_complete() {
    let jobs =
        [job("c-1", Some("Complete")), job("c-2", Some("Failed")), job("c-3", None), job("by-hand", None), job("old", Some("Complete"))];
    let plan = planned(&knowing(cron_job(json!({}), None), &["c-1", "c-2", "c-3", "freed", "gone"]), &jobs, "2026-01-01T00:04:00Z");
    assert_eq!(
        events(&plan),
        [
            ("SawCompletedJob", "Saw completed job: c-1, condition: Complete"),
            ("SawCompletedJob", "Saw completed job: c-2, condition: Failed"),
            ("UnexpectedJob", "Saw a job that the controller did not create or forgot: by-hand"),
            ("MissingJob", "Active job went missing: gone"),
        ]
    );
    assert_eq!(active(&plan), ["c-3", "freed"]);
    // The success of one made by hand is one of the CronJob's.
    assert!(plan.status.last_successful_time.is_some());
}

#[test]
fn a_job_made_by_hand_holds_up_no_other() {
    let jobs = [job("by-hand", None)];
    let plan = planned(&cron_job(json!({"concurrencyPolicy": "Forbid"}), None), &jobs, "2026-01-01T00:15:00Z");
    assert!(created(&plan).is_some());
    let plan = planned(&cron_job(json!({"concurrencyPolicy": "Replace"}), None), &jobs, "2026-01-01T00:15:00Z");
    assert_eq!((created(&plan).is_some(), plan.replace.len()), (true, 0));
}

#[test]
fn every_counts_from_the_last_time() {
    let every = || cron_job(json!({"schedule": "@every 90s"}), Some("2026-01-01T00:00:30Z"));
    let early = planned(&every(), &[], "2026-01-01T00:01:50Z");
    assert_eq!((created(&early), early.recheck), (None, Some(Duration::from_secs(10))));
    let due = planned(&every(), &[], "2026-01-01T00:05:10Z");
    assert_eq!(due.status.last_schedule_time.as_ref().unwrap().0, at("2026-01-01T00:05:00Z"));
}

#[test]
fn schedules_are_read_in_their_time_zone() {
    let due = |text: &str, zone: Option<&str>| {
        let schedule = schedule::zone(zone).and_then(|zone| Schedule::parse(text, zone)).map_err(|refusal| refusal.1)?;
        let due = schedule.last_due(Timestamp::UNIX_EPOCH, at("2026-07-01T12:00:00Z"));
        Ok::<_, String>(due.map(|due| due.timestamp().to_string()))
    };
    assert_eq!(due("0 12 * * *", None), Ok(Some("2026-07-01T12:00:00Z".into())));
    assert_eq!(due("0 12 * * *", Some("UTC")), Ok(Some("2026-07-01T12:00:00Z".into())));
    assert_eq!(due("@hourly", None), Ok(Some("2026-07-01T12:00:00Z".into())));
    assert_eq!(due("0 0 * * SUN", None), Ok(Some("2026-06-28T00:00:00Z".into())));
    // Either day is enough, and a step makes a list of a star.
    assert_eq!(due("0 0 1-31/2 * SUN", None), Ok(Some("2026-07-01T00:00:00Z".into())));
    assert_eq!(due("0 0 */2 * SUN", None), Ok(Some("2026-07-01T00:00:00Z".into())));
    assert_eq!(due("10/20 11 ? * *", None), Ok(Some("2026-07-01T11:50:00Z".into())));
    let refused = r#"unparseable schedule: "* * *" : expected exactly 5 fields, found 3: [* * *]"#;
    assert_eq!(due("* * *", None), Err(refused.into()));
    let unknown = r#"invalid timeZone: "Nowhere/Never": unknown time zone Nowhere/Never"#;
    assert_eq!(due("0 12 * * *", Some("Nowhere/Never")), Err(unknown.into()));
}

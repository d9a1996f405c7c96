//! Plans of the Job controller from observed states, and their convergence.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::batch::v1::{Job, JobStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::{Timestamp, ToSpan};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::conditions::{is_finished, is_true};
use super::plan::{Observed, Plan, plan, time_to_live};
use super::pods::{TRACKING, pod_for, untrack};

fn now() -> Timestamp {
    Timestamp::UNIX_EPOCH + 100_000.seconds()
}

fn job(change: Value) -> Job {
    let mut value = json!({
        "metadata": {"name": "j", "namespace": "d", "uid": "u"},
        "spec": {"completions": 1, "parallelism": 1, "backoffLimit": 6, "completionMode": "NonIndexed",
            "podReplacementPolicy": "TerminatingOrFailed",
            "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "a"}]}}},
    });
    value["spec"].as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    serde_json::from_value(value).unwrap()
}

fn pod(name: &str, phase: &str, change: Value) -> Arc<Pod> {
    let mut value = json!({
        "metadata": {"name": name, "uid": name, "finalizers": [TRACKING], "creationTimestamp": "1970-01-01T00:00:00Z"},
        "status": {"phase": phase},
    });
    value["metadata"].as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    Arc::new(serde_json::from_value(value).unwrap())
}

fn at_index(index: usize) -> Value {
    json!({"annotations": {"batch.kubernetes.io/job-completion-index": index.to_string()}})
}

fn planned(job: &Job, pods: &[Arc<Pod>]) -> Plan {
    plan(&Observed { job, spec: job.spec.as_ref().unwrap(), pods: pods.to_vec(), now: now() })
}

fn with(job: &Job, status: &JobStatus) -> Job {
    Job { status: Some(status.clone()), ..job.clone() }
}

fn let_go(pod: &Arc<Pod>) -> Arc<Pod> {
    let mut pod = Pod::clone(pod);
    pod.metadata.finalizers = None;
    Arc::new(pod)
}

#[test]
fn a_pod_is_named_then_let_go_then_counted_and_then_the_job_is_complete() {
    let job = job(json!({}));
    assert_eq!(planned(&job, &[]).create, [None]);
    let ended = pod("p", "Succeeded", json!({}));
    let first = planned(&job, std::slice::from_ref(&ended));
    let named = first.status.uncounted_terminated_pods.clone().unwrap();
    assert_eq!((named.succeeded, first.release.len(), first.status.succeeded), (Some(vec!["p".to_string()]), 1, None));
    assert!(is_true(&with(&job, &first.status), "SuccessCriteriaMet") && first.create.is_empty());
    // Seen again before the finalizer is gone: the same, not two.
    let again = planned(&with(&job, &first.status), std::slice::from_ref(&ended));
    assert_eq!(again.status.uncounted_terminated_pods, first.status.uncounted_terminated_pods);
    let last = planned(&with(&job, &first.status), &[let_go(&ended)]);
    assert_eq!((last.status.succeeded, last.status.active), (Some(1), None));
    let done = with(&job, &last.status);
    assert!(is_true(&done, "Complete") && last.status.completion_time.is_some());
    assert_eq!(last.events[0].1, "Completed");
}

#[test]
fn parallelism_bounds_what_runs_and_completions_what_is_still_to_do() {
    let job = job(json!({"completions": 5, "parallelism": 3}));
    assert_eq!(planned(&job, &[]).create.len(), 3);
    let four = with(&job, &JobStatus { succeeded: Some(4), ..JobStatus::default() });
    assert_eq!(planned(&four, &[]).create.len(), 1);
    let running: Vec<_> = (0..3).map(|index| pod(&format!("p{index}"), "Running", json!({}))).collect();
    assert_eq!(planned(&four, &running).discard.len(), 2);
    assert_eq!(planned(&job, &running).status.active, Some(3));
}

#[test]
fn a_work_queue_is_done_when_one_succeeded_and_none_runs() {
    let job = job(json!({"completions": null, "parallelism": 2}));
    assert_eq!(planned(&job, &[]).create.len(), 2);
    let pods = [pod("a", "Succeeded", json!({})), pod("b", "Running", json!({}))];
    let waiting = planned(&job, &pods);
    assert!(waiting.create.is_empty() && waiting.end.is_empty() && !is_true(&with(&job, &waiting.status), "SuccessCriteriaMet"));
    let both = planned(&job, &[pods[0].clone(), pod("b", "Succeeded", json!({}))]);
    assert!(is_true(&with(&job, &both.status), "SuccessCriteriaMet"));
}

#[test]
fn failures_wait_longer_and_longer_and_then_are_enough() {
    let job = job(json!({"backoffLimit": 1}));
    let failed_at = |name: &str, seconds: i64| {
        let ended = json!({"state": {"terminated": {"exitCode": 1, "finishedAt": (now() - seconds.seconds()).to_string()}},
            "name": "a", "image": "", "imageID": "", "ready": false, "restartCount": 0});
        let mut pod = serde_json::to_value(&*pod(name, "Failed", json!({}))).unwrap();
        pod["status"]["containerStatuses"] = json!([ended]);
        Arc::new(serde_json::from_value::<Pod>(pod).unwrap())
    };
    let fresh = planned(&job, &[failed_at("a", 4)]);
    assert_eq!((fresh.create.len(), fresh.recheck), (0, Some(Duration::from_secs(6))));
    assert_eq!(planned(&job, &[failed_at("a", 10)]).create, [None]);
    let pods = [failed_at("a", 10), failed_at("b", 1), pod("c", "Running", json!({}))];
    let over = planned(&job, &pods);
    assert!(is_true(&with(&job, &over.status), "FailureTarget") && !is_finished(&with(&job, &over.status)));
    assert_eq!((over.end.len(), over.create.len()), (1, 0));
    let ended: Vec<_> = pods[..2].iter().map(let_go).collect();
    let last = planned(&with(&job, &over.status), &ended);
    let done = with(&job, &last.status);
    let condition = super::conditions::find(super::conditions::conditions(&done), "Failed").unwrap();
    assert_eq!((condition.reason.as_deref(), last.status.failed), (Some("BackoffLimitExceeded"), Some(2)));
}

#[test]
fn a_job_past_its_deadline_ends_its_pods() {
    let job = job(json!({"activeDeadlineSeconds": 30}));
    let started = |seconds: i64| {
        let start = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now() - seconds.seconds());
        with(&job, &JobStatus { start_time: Some(start), ..JobStatus::default() })
    };
    let running = [pod("a", "Running", json!({}))];
    let before = planned(&started(20), &running);
    assert_eq!((before.recheck, before.end.len()), (Some(Duration::from_secs(10)), 0));
    let after = planned(&started(30), &running);
    assert!(after.end.len() == 1 && is_true(&with(&job, &after.status), "FailureTarget"));
}

#[test]
fn a_suspended_job_gives_its_pods_up_without_counting_them_and_starts_anew() {
    let suspended = job(json!({"suspend": true}));
    let plan = planned(&suspended, &[pod("a", "Running", json!({}))]);
    assert_eq!((plan.discard.len(), plan.create.len(), plan.status.start_time.is_none()), (1, 0, true));
    assert!(is_true(&with(&suspended, &plan.status), "Suspended"));
    let resumed = planned(&with(&job(json!({})), &plan.status), &[]);
    assert_eq!((resumed.create.len(), resumed.status.start_time.is_some()), (1, true));
    assert_eq!(resumed.events[0].1, "Resumed");
}

#[test]
fn indexes_that_are_neither_done_nor_running_get_a_pod() {
    let job = job(json!({"completions": 4, "parallelism": 2, "completionMode": "Indexed"}));
    assert_eq!(planned(&job, &[]).create, [Some(0), Some(1)]);
    let pods = [pod("a", "Succeeded", at_index(0)), pod("b", "Running", at_index(1)), pod("twin", "Running", at_index(1))];
    let plan = planned(&job, &pods);
    assert_eq!((plan.create.as_slice(), plan.discard.len()), ([Some(2)].as_slice(), 1));
    assert_eq!((plan.status.completed_indexes.as_deref(), plan.status.succeeded), (Some("0"), Some(1)));
    let made = pod_for(&job, job.spec.as_ref().unwrap(), Some(2));
    let spec = made.spec.as_ref().unwrap();
    assert_eq!((made.metadata.generate_name.as_deref(), spec.hostname.as_deref()), (Some("j-2-"), Some("j-2")));
    assert_eq!(spec.containers[0].env.as_ref().unwrap()[0].name, "JOB_COMPLETION_INDEX");
    assert_eq!(untrack(&made)["metadata"]["finalizers"], json!([]));
}

#[test]
fn a_finished_job_lives_for_its_time() {
    let mut done = job(json!({"ttlSecondsAfterFinished": 60}));
    assert_eq!(time_to_live(&done, now()), None);
    done.status = serde_json::from_value(
        json!({"conditions": [{"type": "Complete", "status": "True", "lastTransitionTime": (now() - 20.seconds()).to_string()}]}),
    )
    .unwrap();
    assert_eq!(time_to_live(&done, now()), Some(Duration::from_secs(40)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Pods end as `fates` says, in any mode, with finalizers seen to go only some passes later.
    #[test]
    fn every_job_ends_with_each_pod_counted_once(
        completions in 0..6usize,
        parallelism in 1..4usize,
        fates in proptest::collection::vec(prop::bool::weighted(0.8), 40),
        indexed in prop::bool::ANY,
        lag in 0..3usize,
    ) {
        let mode = if indexed { "Indexed" } else { "NonIndexed" };
        let mut job = job(json!({"completions": completions, "parallelism": parallelism, "completionMode": mode, "backoffLimit": 2}));
        let (mut pods, mut made, mut failures): (Vec<Arc<Pod>>, usize, usize) = (Vec::new(), 0, 0);
        for pass in 0..200 {
            let plan = planned(&job, &pods);
            job.status = Some(plan.status.clone());
            if is_finished(&job) {
                break;
            }
            if pass % (lag + 1) == lag {
                for pod in &mut pods {
                    if plan.release.iter().any(|gone| gone.metadata.uid == pod.metadata.uid) {
                        *pod = let_go(pod);
                    }
                }
            }
            let over = |pod: &Arc<Pod>| plan.discard.iter().chain(&plan.end).any(|gone| gone.metadata.uid == pod.metadata.uid);
            pods.retain(|pod| !over(pod));
            for pod in &mut pods {
                let index: usize = pod.metadata.name.as_deref().unwrap().parse().unwrap();
                let phase = if fates[index % fates.len()] { "Succeeded" } else { "Failed" };
                if pod.status.as_ref().unwrap().phase.as_deref() == Some("Running") {
                    failures += usize::from(phase == "Failed");
                    Arc::make_mut(pod).status.as_mut().unwrap().phase = Some(phase.into());
                }
            }
            for index in &plan.create {
                pods.push(pod(&made.to_string(), "Running", index.map_or(json!({}), at_index)));
                made += 1;
            }
        }
        let status = job.status.clone().unwrap();
        prop_assert!(is_finished(&job), "{:?}", status);
        prop_assert_eq!(status.failed.unwrap_or(0) as usize, failures);
        if is_true(&job, "Complete") {
            prop_assert!(status.succeeded.unwrap_or(0) as usize >= completions);
        } else {
            prop_assert!(failures > 2);
        }
    }
}

#[test]
fn no_more_pods_are_ready_than_active() {
    let ready = |name: &str| {
        let mut pod = Pod::clone(&pod(name, "Running", json!({})));
        let condition = serde_json::from_value(json!({"type": "Ready", "status": "True"})).unwrap();
        pod.status.get_or_insert_default().conditions = Some(vec![condition]);
        Arc::new(pod)
    };
    let plan = planned(&job(json!({"completions": 5, "parallelism": 1})), &[ready("a"), ready("b"), ready("c")]);
    assert_eq!((plan.discard.len(), plan.status.active, plan.status.ready), (2, Some(1), Some(1)));
}

//! What a quota's status says.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, ResourceQuota};
use k8s_openapi::jiff::Timestamp;
use orknet_reconciler::Change;
use orknet_resources::counting::Amounts;
use orknet_resources::quantity::Quantity;
use serde_json::{Value, json};

use super::plan;

fn quota(spec: Value, status: Value) -> ResourceQuota {
    serde_json::from_value(json!({ "metadata": { "name": "q" }, "spec": spec, "status": status })).unwrap()
}

fn counted(list: &[(&str, i64)]) -> Amounts {
    list.iter().map(|(name, count)| (*name, Quantity::of_units(*count))).collect()
}

fn now() -> Timestamp {
    "2026-01-01T12:00:00Z".parse().unwrap()
}

#[test]
fn the_status_has_what_is_bounded_now_and_nothing_else() {
    let hard = json!({ "pods": "2", "count/widgets.example.com": "1" });
    let old = json!({ "hard": { "pods": "1", "secrets": "1" }, "used": { "pods": "9", "secrets": "1", "count/widgets.example.com": "1" } });
    let quota = quota(json!({ "hard": hard }), old);
    let status = plan::status(&quota, &counted(&[("pods", 1), ("services", 7)]));
    let expected = json!({ "hard": hard, "used": { "pods": "1", "count/widgets.example.com": "1" } });
    assert_eq!(serde_json::to_value(&status).unwrap(), expected);
    assert!(!plan::is_same(quota.status.as_ref(), &status) && plan::is_same(Some(&status), &status) && !plan::is_same(None, &status));
}

#[test]
fn a_quota_without_bounds_has_a_status_too() {
    let status = plan::status(&quota(json!({}), json!(null)), &Amounts::default());
    assert!(!plan::is_same(None, &status));
    assert!(plan::is_same(Some(&status), &status));
}

#[test]
fn counting_comes_again_soon_where_something_is_due() {
    let status = |pods: &str| plan::status(&quota(json!({ "hard": { "pods": pods } }), json!(null)), &counted(&[("pods", 1)]));
    let later = |seconds: i64| Timestamp::from_second(now().as_second() + seconds).ok();
    for (old, overdue, expected) in [
        (Some(status("1")), None, 300),
        (Some(status("2")), None, 2),
        (None, None, 2),
        (Some(status("1")), later(30), 31),
        (Some(status("1")), later(900), 300),
    ] {
        assert_eq!(plan::again(old.as_ref(), &status("1"), overdue, now()), Duration::from_secs(expected));
    }
}

#[test]
fn a_pod_gives_back_when_it_ends_or_shrinks() {
    let pod = |phase: &str, cpu: &str, deleted: Value| -> Option<Arc<Pod>> {
        Some(Arc::new(
            serde_json::from_value(json!({ "metadata": { "deletionTimestamp": deleted, "deletionGracePeriodSeconds": 30 },
            "spec": { "containers": [{ "name": "c", "resources": { "requests": { "cpu": cpu } } }] }, "status": { "phase": phase } }))
            .unwrap(),
        ))
    };
    let running = || pod("Running", "1", Value::Null);
    let with_deadline = |pod: Option<Arc<Pod>>| {
        let mut pod = (*pod.unwrap()).clone();
        pod.spec.as_mut().unwrap().active_deadline_seconds = Some(5);
        Some(Arc::new(pod))
    };
    for (old, new, expected) in [
        (None, running(), false),
        (running(), running(), false),
        (pod("Pending", "1", Value::Null), running(), false),
        (running(), pod("Succeeded", "1", Value::Null), true),
        (running(), pod("Running", "500m", Value::Null), true),
        (running(), with_deadline(running()), true),
        // From now on its time runs out.
        (running(), pod("Running", "1", json!("2026-01-01T00:00:00Z")), true),
        (running(), None, true),
    ] {
        assert_eq!(plan::gives_back(&Change { old: old.clone(), new: new.clone() }), expected, "{old:?} {new:?}");
    }
}

#[test]
fn a_charge_is_told_from_other_changes() {
    let quota = |pods: &str, label: &str| -> ResourceQuota {
        let mut quota = quota(json!({ "hard": { "pods": "2" } }), json!({ "hard": { "pods": "2" }, "used": { "pods": pods } }));
        quota.metadata.labels = Some([("l".to_owned(), label.to_owned())].into());
        quota
    };
    for (old, new, expected) in [
        (Some(quota("1", "a")), quota("2", "a"), true),
        (Some(quota("2", "a")), quota("1", "a"), true),
        (Some(quota("1", "a")), quota("1", "b"), false),
        // The same amount in other words.
        (Some(quota("1", "a")), quota("1000m", "a"), false),
        (None, quota("1", "a"), true),
    ] {
        assert_eq!(plan::is_charged(old.as_ref(), &new), expected, "{old:?} {new:?}");
    }
}

#[test]
fn charges_are_no_reason_to_count() {
    let quota = |hard: &str, enforced: Value, used: &str| {
        let status = json!({ "hard": { "pods": enforced }, "used": { "pods": used } });
        Some(Arc::new(quota(json!({ "hard": { "pods": hard } }), status)))
    };
    for (old, new, expected) in [
        (None, quota("2", json!("2"), "0"), true),
        (quota("2", json!("2"), "0"), quota("2", json!("2"), "1"), false),
        (quota("2", json!("2"), "0"), quota("3", json!("2"), "0"), true),
        (quota("3", json!("2"), "0"), quota("3", json!("2"), "1"), true),
        (quota("2", json!("2"), "0"), None, false),
    ] {
        assert_eq!(plan::is_to_be_counted(&Change { old: old.clone(), new: new.clone() }), expected, "{old:?} {new:?}");
    }
}

#[test]
fn quotas_are_about_the_kinds_whose_names_they_bound() {
    let quota = quota(json!({ "hard": { "requests.cpu": "1", "count/jobs.batch": "1" } }), json!(null));
    assert!(plan::bounds(&quota, "", "pods") && plan::bounds(&quota, "batch", "jobs"));
    assert!(!plan::bounds(&quota, "", "services") && !plan::bounds(&quota, "", "jobs"));
}

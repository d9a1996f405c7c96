//! The algorithm by the cases of Kubernetes' own tests (numbers, not code): what pods use in, how many there should be out.

use k8s_openapi::api::autoscaling::v2::{HorizontalPodAutoscaler, HorizontalPodAutoscalerBehavior};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::history::{Bounds, History};
use super::metric::Measured;
use super::plan::{self, First, Observed, Plan, Scale};
use super::replicas::{PodMetric, PodMetrics, Target, by_pods, by_value, by_value_per_pod};

const CPU: Target<'_> = Target::Utilization { percent: 50, resource: "cpu", container: None };

fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

fn ago(seconds: i64) -> String {
    now().saturating_sub(SignedDuration::from_secs(seconds)).unwrap().to_string()
}

/// A pod that has been ready for long (`r`), never was (`u`), is pending (`p`), has just become ready (`h`), failed (`f`), or goes (`d`); it requests one
/// CPU.
fn pod(index: usize, state: char) -> Pod {
    let phase = match state {
        'p' => "Pending",
        'f' => "Failed",
        _ => "Running",
    };
    let (started, ready, changed) = match state {
        'u' => (ago(600), "False", ago(599)),
        'h' => (ago(60), "True", ago(5)),
        _ => (ago(3600), "True", ago(3500)),
    };
    let mut pod = json!({
        "metadata": { "name": format!("p{index}") },
        "spec": { "containers": [{ "name": "c", "resources": { "requests": { "cpu": "1", "memory": "1000m" } } }] },
        "status": { "phase": phase, "startTime": started, "conditions": [{ "type": "Ready", "status": ready, "lastTransitionTime": changed }] },
    });
    if state == 'd' {
        pod["metadata"]["deletionTimestamp"] = json!(ago(1));
    }
    serde_json::from_value(pod).unwrap()
}

fn pods(states: &str) -> Vec<Pod> {
    states.chars().enumerate().map(|(index, state)| pod(index, state)).collect()
}

/// Of the pods in their order; below 0: none.
fn metrics(values: &[i64]) -> PodMetrics {
    let of = |value| PodMetric { at: now(), window: SignedDuration::from_secs(30), value };
    values.iter().enumerate().filter(|(_, value)| **value >= 0).map(|(index, value)| (format!("p{index}"), of(*value))).collect()
}

fn replicas(states: &str, values: &[i64], target: Target<'_>, current: i32) -> Result<(i32, Option<i32>, i64), String> {
    let proposal = by_pods(&pods(states), metrics(values), target, current, now())?;
    Ok((proposal.replicas, proposal.utilization, proposal.average))
}

#[test]
fn pods_are_as_many_as_their_use_asks_for() {
    let percent = |percent| Target::Utilization { percent, resource: "cpu", container: None };
    let cases: [(&str, &[i64], Target<'_>, i32, i32); 16] = [
        // Up, down, and neither within a tenth.
        ("rrr", &[300, 500, 700], percent(30), 3, 5),
        ("rrr", &[100, 200, 300], percent(50), 3, 2),
        ("rrr", &[400, 500, 600], percent(50), 3, 3),
        ("rrr", &[1010, 1030, 1020], percent(100), 3, 3),
        ("rrr", &[890, 910, 900], percent(100), 3, 3),
        // Those that are unready count for nothing upwards, and not at all downwards.
        ("ruu", &[300, 500, 700], percent(10), 3, 3),
        ("rup", &[300, 500, -1], percent(30), 3, 3),
        ("rrrrp", &[100, 100, 100, 100, -1], percent(50), 5, 1),
        ("hrr", &[10_000, 500, 500], percent(50), 3, 3),
        // What is not known uses nothing upwards, all that it asks for downwards.
        ("rrrr", &[1000, 1000, 1000, -1], percent(50), 4, 6),
        ("rrrr", &[100, -1, -1, -1], percent(50), 4, 4),
        ("rrrr", &[100, 100, 100, -1], percent(100), 4, 2),
        // Those that have failed or go are not counted.
        ("rrf", &[500, 700, 9000], percent(30), 2, 4),
        ("rrd", &[500, 700, 9000], percent(30), 2, 4),
        // No change against the direction.
        ("rrrrr", &[250, 250, -1, -1, -1], percent(30), 5, 5),
        ("rr", &[0, 0], percent(50), 2, 0),
    ];
    for (states, values, target, current, wanted) in cases {
        assert_eq!(replicas(states, values, target, current).map(|found| found.0), Ok(wanted), "{states} {values:?} {target:?}");
    }
    assert_eq!(replicas("rrr", &[300, 500, 700], percent(30), 3), Ok((5, Some(50), 500)), "with what is told");
}

#[test]
fn a_pod_that_is_unready_counts_where_it_is_not_its_processor_time_that_is_measured() {
    let memory = Target::Average { value: 500, resource: Some("memory") };
    assert_eq!(replicas("uu", &[1000, 1000], memory, 2), Ok((4, None, 1000)));
    let custom = Target::Average { value: 15_000, resource: None };
    for (values, current, wanted) in [(&[20_000, 10_000, 30_000][..], 3, 4), (&[12_000, 12_000, 12_000], 3, 3), (&[1000, 1000, -1], 3, 2)] {
        assert_eq!(replicas("rrr", values, custom, current).map(|found| found.0), Ok(wanted), "{values:?}");
    }
}

#[test]
fn what_cannot_be_said_is_told_in_words_that_are_known() {
    let none = "did not receive metrics for targeted pods (pods might be unready)";
    assert_eq!(replicas("", &[], CPU, 1), Err("no pods returned by selector while calculating replica count".to_owned()));
    assert_eq!(replicas("rr", &[-1, -1], CPU, 2), Err(none.to_owned()));
    assert_eq!(replicas("uu", &[100, 100], CPU, 2), Err(none.to_owned()));
    let missing = Target::Utilization { percent: 50, resource: "example.org/gpu", container: None };
    assert_eq!(replicas("r", &[100], missing, 1), Err("missing request for example.org/gpu in container c of Pod p0".to_owned()));
}

#[test]
fn one_value_is_for_all_or_for_each() {
    let of = |proposal: super::replicas::Proposal| (proposal.replicas, proposal.average);
    assert_eq!(of(by_value(20_000, 15_000, 3, 3)), (4, 20_000));
    assert_eq!(of(by_value(14_000, 15_000, 3, 3)), (3, 14_000), "near enough");
    assert_eq!(of(by_value(20_000, 15_000, 3, 1)), (2, 20_000), "by those that are ready");
    assert_eq!(of(by_value(20_000, 5_000, 0, 0)), (4, 20_000), "from none");
    assert_eq!(of(by_value_per_pod(8600, 2150, 3)), (4, 2867));
    assert_eq!(of(by_value_per_pod(8600, 2150, 4)), (4, 2150));
}

fn behavior(up: Value, down: Value) -> HorizontalPodAutoscalerBehavior {
    serde_json::from_value(json!({ "scaleUp": up, "scaleDown": down })).unwrap()
}

#[test]
fn steps_without_a_behavior_are_doubled_at_most_and_go_down_after_five_minutes() {
    let allow = |history: &mut History, current, desired, at| {
        let found = history.allow(None, current, desired, Bounds { min: 2, max: 30 }, now() + SignedDuration::from_secs(at));
        (found.replicas, found.able.0, found.limited.0, found.limited.1)
    };
    let mut history = History::default();
    assert_eq!(allow(&mut history, 1, 10, 0), (4, "ReadyForNewScale", true, "ScaleUpLimit"));
    let mut history = History::default();
    assert_eq!(allow(&mut history, 8, 20, 0), (16, "ReadyForNewScale", true, "ScaleUpLimit"));
    assert_eq!(allow(&mut history, 25, 40, 1), (30, "ReadyForNewScale", true, "TooManyReplicas"));
    let mut history = History::default();
    history.begin(8, now());
    assert_eq!(allow(&mut history, 8, 5, 15), (8, "ScaleDownStabilized", false, "DesiredWithinRange"));
    assert_eq!(allow(&mut history, 8, 4, 299), (8, "ScaleDownStabilized", false, "DesiredWithinRange"));
    assert_eq!(
        allow(&mut history, 8, 1, 310),
        (5, "ScaleDownStabilized", false, "DesiredWithinRange"),
        "the highest of the last five minutes"
    );
    assert_eq!(allow(&mut history, 5, 1, 620), (2, "ReadyForNewScale", true, "TooFewReplicas"));
}

#[test]
fn policies_bound_how_fast_it_goes() {
    let policies = |list: &[(&str, i32, i32)], select: &str| {
        let list: Vec<Value> =
            list.iter().map(|(kind, value, period)| json!({ "type": kind, "value": value, "periodSeconds": period })).collect();
        json!({ "stabilizationWindowSeconds": 0, "selectPolicy": select, "policies": list })
    };
    let idle = policies(&[("Percent", 100, 15)], "Max");
    let both = [("Pods", 4, 60), ("Percent", 100, 60)];
    // Current, steps before within the period, desired, allowed, reason.
    let up: [(&str, i32, i32, i32, i32, &str); 7] = [
        ("Max", 3, 0, 100, 7, "ScaleUpLimit"),
        ("Max", 10, 0, 100, 20, "ScaleUpLimit"),
        ("Max", 10, 5, 100, 10, "ScaleUpLimit"),
        ("Max", 10, 2, 100, 16, "ScaleUpLimit"),
        ("Min", 10, 0, 100, 14, "ScaleUpLimit"),
        ("Disabled", 10, 0, 100, 10, "ScaleUpLimit"),
        ("Max", 10, 0, 12, 12, "DesiredWithinRange"),
    ];
    for (select, current, before, desired, wanted, reason) in up {
        let behavior = behavior(policies(&both, select), idle.clone());
        let mut history = History::default();
        history.scaled(Some(&behavior), current - before, current, now() - SignedDuration::from_secs(30));
        let found = history.allow(Some(&behavior), current, desired, Bounds { min: 1, max: 1000 }, now());
        assert_eq!((found.replicas, found.limited.1), (wanted, reason), "{select} {current} {before} {desired}");
    }
    let down: [(&str, i32, i32, i32, i32, &str); 6] = [
        ("Max", 10, 0, 1, 1, "DesiredWithinRange"),
        ("Min", 10, 0, 1, 6, "ScaleDownLimit"),
        ("Min", 10, 2, 1, 8, "ScaleDownLimit"),
        ("Min", 10, 6, 1, 10, "ScaleDownLimit"),
        ("Disabled", 10, 0, 1, 10, "ScaleDownLimit"),
        ("Max", 3, 0, 0, 1, "TooFewReplicas"),
    ];
    for (select, current, before, desired, wanted, reason) in down {
        let behavior = behavior(idle.clone(), policies(&both, select));
        let mut history = History::default();
        if before > 0 {
            history.scaled(Some(&behavior), current + before, current, now() - SignedDuration::from_secs(30));
        }
        let found = history.allow(Some(&behavior), current, desired, Bounds { min: 1, max: 1000 }, now());
        assert_eq!((found.replicas, found.limited.1), (wanted, reason), "{select} {current} {before} {desired}");
    }
}

#[test]
fn windows_take_the_least_upwards_and_the_most_downwards() {
    let rules = |window| json!({ "stabilizationWindowSeconds": window, "selectPolicy": "Max", "policies": [{ "type": "Percent", "value": 1000, "periodSeconds": 15 }] });
    let behavior = behavior(rules(60), rules(120));
    let mut history = History::default();
    let mut allow = |current, desired, at| {
        let found = history.allow(Some(&behavior), current, desired, Bounds { min: 1, max: 100 }, now() + SignedDuration::from_secs(at));
        (found.replicas, found.able.0)
    };
    assert_eq!(allow(5, 5, 0), (5, "ReadyForNewScale"));
    assert_eq!(allow(5, 9, 30), (5, "ScaleUpStabilized"));
    assert_eq!(allow(5, 8, 70), (8, "ReadyForNewScale"));
    // As with Kubernetes, the highest may be more than there are.
    assert_eq!(allow(8, 3, 80), (9, "ScaleDownStabilized"));
    assert_eq!(allow(8, 3, 195), (3, "ReadyForNewScale"));
}

fn autoscaler(metrics: Value) -> HorizontalPodAutoscaler {
    let spec = json!({
        "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" },
        "minReplicas": 2,
        "maxReplicas": 10,
        "metrics": metrics,
    });
    serde_json::from_value(json!({ "metadata": { "name": "web", "namespace": "n" }, "spec": spec, "status": { "desiredReplicas": 7 } }))
        .unwrap()
}

fn cpu() -> Value {
    json!({ "type": "Resource", "resource": { "name": "cpu", "target": { "type": "Utilization", "averageUtilization": 50 } } })
}

fn external() -> Value {
    json!({ "type": "External", "external": { "metric": { "name": "queue" }, "target": { "type": "AverageValue", "averageValue": "10" } } })
}

fn scale(replicas: i32) -> Scale {
    Scale { spec: replicas, status: replicas, selector: "app=web".to_owned() }
}

/// Status, reason and message of a condition.
fn condition<'a>(plan: &'a Plan, type_: &str) -> (&'a str, &'a str, &'a str) {
    let conditions = plan.status.conditions.iter().flatten();
    let found = conditions.into_iter().find(|condition| condition.type_ == type_).unwrap_or_else(|| panic!("no {type_}: {plan:?}"));
    (&found.status, found.reason.as_deref().unwrap_or_default(), found.message.as_deref().unwrap_or_default())
}

fn measured(hpa: &HorizontalPodAutoscaler, scale: &Scale, states: &str, results: Vec<Result<Measured, String>>, rivals: &[&str]) -> Plan {
    let First::Measure(plan) = plan::first(hpa, scale, now()) else { panic!("measures are asked for") };
    let pods = pods(states);
    let rivals = rivals.iter().map(|name| (*name).to_owned()).collect();
    let observed = Observed { scale, pods: &pods, measured: results, rivals };
    plan::measured(plan, hpa, &observed, &mut History::default(), now())
}

#[test]
fn what_is_off_or_out_of_bounds_asks_for_no_measure() {
    let hpa = autoscaler(json!([cpu()]));
    let done = |replicas| match plan::first(&hpa, &scale(replicas), now()) {
        First::Done(plan) => plan,
        First::Measure(plan) => panic!("{plan:?}"),
    };
    let off = done(0);
    assert_eq!(condition(&off, "ScalingActive").1, "ScalingDisabled");
    assert_eq!((off.rescale.is_none(), off.status.desired_replicas), (true, 0));
    assert_eq!(done(1).rescale, Some((2, "Current number of replicas below Spec.MinReplicas".to_owned())));
    let mut above = done(12);
    assert_eq!(above.rescale, Some((10, "Current number of replicas above Spec.MaxReplicas".to_owned())));
    plan::rescaled(&mut above, now());
    assert_eq!(condition(&above, "AbleToScale").2, "the HPA controller was able to update the target scale to 10");
    assert_eq!(above.events[0].2, "New size: 10; reason: Current number of replicas above Spec.MaxReplicas");
    let mut refused = done(12);
    plan::not_rescaled(&mut refused, "no", 7, now());
    assert_eq!(
        condition(&refused, "AbleToScale"),
        ("False", "FailedUpdateScale", "the HPA controller was unable to update the target scale: no")
    );
    assert_eq!((refused.status.desired_replicas, refused.status.last_scale_time.is_none()), (7, true));
}

#[test]
fn the_most_of_all_metrics_counts_and_a_part_of_them_only_upwards() {
    let hpa = autoscaler(json!([cpu(), external()]));
    let busy = || Ok(Measured::Pods(metrics(&[1000, 1000])));
    let lazy = || Ok(Measured::Pods(metrics(&[10, 10, 10, 10])));
    let plan = measured(&hpa, &scale(2), "rr", vec![busy(), Ok(Measured::Value(30_000))], &["n/web"]);
    assert_eq!(plan.rescale, Some((4, "cpu resource utilization (percentage of request) above target".to_owned())));
    let name = "the HPA was able to successfully calculate a replica count from cpu resource utilization (percentage of request)";
    assert_eq!(condition(&plan, "ScalingActive"), ("True", "ValidMetricFound", name));
    assert_eq!(plan.status.current_metrics.as_ref().map(Vec::len), Some(2));
    let half = measured(&hpa, &scale(2), "rr", vec![busy(), Err("away".to_owned())], &["n/web"]);
    assert_eq!(half.rescale.as_ref().map(|(to, _)| *to), Some(4));
    let half = measured(&hpa, &scale(4), "rrrr", vec![lazy(), Err("away".to_owned())], &["n/web"]);
    assert_eq!((&half.rescale, half.status.desired_replicas), (&None, 7));
    let why = "unable to get external metric n/queue/nil: away";
    assert_eq!(condition(&half, "ScalingActive").1, "FailedGetExternalMetric");
    assert_eq!(condition(&half, "ScalingActive").2, format!("the HPA was unable to compute the replica count: {why}"));
    let told: Vec<_> = half.events.iter().map(|(_, reason, message)| (*reason, &message[..])).collect();
    let all = format!("invalid metrics (1 invalid out of 2), first error is: failed to get queue external metric value: {why}");
    assert_eq!(told, [("FailedGetExternalMetric", why), ("FailedComputeMetricsReplicas", &all[..])]);
}

#[test]
fn pods_of_several_autoscalers_or_of_no_selector_are_nobodys() {
    let hpa = autoscaler(json!([cpu()]));
    let rivals = measured(&hpa, &scale(2), "rr", Vec::new(), &["n/other", "n/web"]);
    let why = "pods by selector app=web are controlled by multiple HPAs: [n/other n/web]";
    assert_eq!(condition(&rivals, "ScalingActive"), ("False", "AmbiguousSelector", why));
    let without = Scale { selector: String::new(), ..scale(2) };
    let without = measured(&hpa, &without, "", Vec::new(), &["n/web"]);
    assert_eq!(condition(&without, "ScalingActive").2, "the HPA target's scale is missing a selector");
    assert_eq!(without.events[0].1, "SelectorRequired");
}

#[test]
fn a_condition_keeps_its_time_until_it_changes() {
    let mut hpa = autoscaler(json!([cpu()]));
    let later = now() + SignedDuration::from_secs(60);
    hpa.status = Some(plan::without_scale(&hpa, "gone", now()).status);
    let time = |plan: &Plan| plan.status.conditions.as_ref().unwrap()[0].last_transition_time.as_ref().unwrap().0;
    assert_eq!(time(&plan::without_scale(&hpa, "still gone", later)), now());
    let First::Measure(found) = plan::first(&hpa, &scale(3), later) else { panic!("it is within bounds") };
    assert_eq!(time(&found), later);
}

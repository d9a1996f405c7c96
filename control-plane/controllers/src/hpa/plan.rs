//! Pure: an autoscaler, what it scales and what was measured in; what to do, and what to tell of it, out. Reasons and messages are those of Kubernetes,
//! by which people and programs know them.

use k8s_openapi::api::autoscaling::v2::{
    HorizontalPodAutoscaler, HorizontalPodAutoscalerCondition, HorizontalPodAutoscalerSpec, HorizontalPodAutoscalerStatus, MetricStatus,
};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use orknet_reconciler::EventType;

use super::history::{Bounds, History};
use super::metric::{self, Failure, Measured};

const ABLE: &str = "AbleToScale";
const ACTIVE: &str = "ScalingActive";
const LIMITED: &str = "ScalingLimited";

/// The `scale` of what is scaled.
#[derive(Clone, Debug, Default)]
pub(super) struct Scale {
    /// How many there are meant to be.
    pub spec: i32,
    /// How many there are.
    pub status: i32,
    /// Which pods are its own, as a label selector's text.
    pub selector: String,
}

/// What is known where measures are asked for.
pub(super) struct Observed<'a> {
    pub scale: &'a Scale,
    /// Those that the selector selects.
    pub pods: &'a [Pod],
    /// One a metric of the spec: what was measured, or why not.
    pub measured: Vec<Result<Measured, String>>,
    /// All autoscalers, this one included, that have some of the pods.
    pub rivals: Vec<String>,
}

/// What to tell and do.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub status: HorizontalPodAutoscalerStatus,
    /// How many there shall be, where that is another number, and why.
    pub rescale: Option<(i32, String)>,
    pub events: Vec<(EventType, &'static str, String)>,
}

/// What a look at the scale says alone.
pub(super) enum First {
    Done(Plan),
    /// Measures are to be asked for.
    Measure(Plan),
}

pub(super) fn min_replicas(spec: &HorizontalPodAutoscalerSpec) -> i32 {
    spec.min_replicas.unwrap_or(1)
}

/// The scale could not be read.
pub(super) fn without_scale(hpa: &HorizontalPodAutoscaler, why: &str, now: Timestamp) -> Plan {
    let mut plan = begin(hpa);
    plan.events.push((EventType::Warning, "FailedGetScale", why.to_owned()));
    let message = format!("the HPA controller was unable to get the target's current scale: {why}");
    set(&mut plan.status, ABLE, false, "FailedGetScale", &message, now);
    plan
}

fn begin(hpa: &HorizontalPodAutoscaler) -> Plan {
    let mut status = hpa.status.clone().unwrap_or_default();
    status.conditions.get_or_insert_default();
    Plan { status, ..Plan::default() }
}

/// What needs no measure: a target that is off, or out of bounds.
pub(super) fn first(hpa: &HorizontalPodAutoscaler, scale: &Scale, now: Timestamp) -> First {
    let mut plan = begin(hpa);
    set(&mut plan.status, ABLE, true, "SucceededGetScale", "the HPA controller was able to get the target's current scale", now);
    let Some(spec) = &hpa.spec else { return First::Done(plan) };
    let min = min_replicas(spec);
    if scale.spec == 0 && min != 0 {
        let message = "scaling is disabled since the replica count of the target is zero";
        set(&mut plan.status, ACTIVE, false, "ScalingDisabled", message, now);
        numbers(&mut plan.status, scale.spec, 0, None);
        return First::Done(plan);
    }
    let bound = if scale.spec > spec.max_replicas {
        Some((spec.max_replicas, "Current number of replicas above Spec.MaxReplicas"))
    } else if scale.spec < min {
        Some((min, "Current number of replicas below Spec.MinReplicas"))
    } else {
        None
    };
    let Some((desired, why)) = bound else { return First::Measure(plan) };
    numbers(&mut plan.status, scale.spec, desired, None);
    plan.rescale = Some((desired, why.to_owned()));
    First::Done(plan)
}

/// The plan with measures.
pub(super) fn measured(
    mut plan: Plan,
    hpa: &HorizontalPodAutoscaler,
    observed: &Observed<'_>,
    history: &mut History,
    now: Timestamp,
) -> Plan {
    let Some(spec) = &hpa.spec else { return plan };
    let current = observed.scale.spec;
    let kept = plan.status.desired_replicas;
    if let Some((event, reason, message, why)) = unfit(observed) {
        plan.events.push((EventType::Warning, event, why.clone()));
        set(&mut plan.status, ACTIVE, false, reason, &message, now);
        return failed(plan, current, kept, None, &why);
    }
    let specs = spec.metrics.as_deref().unwrap_or_default();
    let results = specs.iter().zip(&observed.measured);
    let namespace = hpa.metadata.namespace.as_deref().unwrap_or_default();
    let results: Vec<Result<metric::Proposed, Failure>> =
        results.map(|(spec, measured)| metric::propose(spec, measured, namespace, observed.scale, observed.pods, now)).collect();
    let invalid = results.iter().filter(|result| result.is_err()).count();
    let mut best: Option<&metric::Proposed> = None;
    for proposed in results.iter().flatten() {
        if best.is_none_or(|best| best.replicas == 0 || proposed.replicas > best.replicas) {
            best = Some(proposed);
        }
    }
    for failure in results.iter().filter_map(|result| result.as_ref().err()) {
        plan.events.push((EventType::Warning, failure.reason, failure.why.clone()));
    }
    let statuses: Vec<MetricStatus> = results.iter().flatten().map(|proposed| proposed.status.clone()).collect();
    let first = results.iter().find_map(|result| result.as_ref().err());
    // What is not known might be the reason for more: with a part of the measures there is no way down.
    let best = match (best, first) {
        (Some(best), None) => best,
        (Some(best), Some(_)) if best.replicas >= current => best,
        (_, Some(first)) => {
            let message = format!("the HPA was unable to compute the replica count: {}", first.why);
            set(&mut plan.status, ACTIVE, false, first.reason, &message, now);
            let why = format!("invalid metrics ({invalid} invalid out of {}), first error is: {}", specs.len(), first.outer);
            return failed(plan, current, kept, Some(statuses), &why);
        }
        (None, None) => return plan,
    };
    let message = format!("the HPA was able to successfully calculate a replica count from {}", best.name);
    set(&mut plan.status, ACTIVE, true, "ValidMetricFound", &message, now);
    let why = if best.replicas > current { format!("{} above target", best.name) } else { "All metrics below target".to_owned() };
    let bounds = Bounds { min: min_replicas(spec), max: spec.max_replicas };
    let allowed = history.allow(spec.behavior.as_ref(), current, best.replicas, bounds, now);
    set(&mut plan.status, ABLE, true, allowed.able.0, allowed.able.1, now);
    set(&mut plan.status, LIMITED, allowed.limited.0, allowed.limited.1, allowed.limited.2, now);
    numbers(&mut plan.status, current, allowed.replicas, Some(statuses));
    plan.rescale = (allowed.replicas != current).then_some((allowed.replicas, why));
    plan
}

/// Why the selector is of no use: event, reason and message of the condition, and the whole.
fn unfit(observed: &Observed<'_>) -> Option<(&'static str, &'static str, String, String)> {
    if observed.scale.selector.is_empty() {
        let message = "the HPA target's scale is missing a selector".to_owned();
        return Some(("SelectorRequired", "InvalidSelector", message, "selector is required".to_owned()));
    }
    if observed.rivals.len() > 1 {
        let rivals = observed.rivals.join(" ");
        let why = format!("pods by selector {} are controlled by multiple HPAs: [{rivals}]", observed.scale.selector);
        return Some(("AmbiguousSelector", "AmbiguousSelector", why.clone(), why));
    }
    None
}

fn failed(mut plan: Plan, current: i32, desired: i32, metrics: Option<Vec<MetricStatus>>, why: &str) -> Plan {
    let metrics = metrics.or_else(|| plan.status.current_metrics.take());
    numbers(&mut plan.status, current, desired, metrics);
    plan.events.push((EventType::Warning, "FailedComputeMetricsReplicas", why.to_owned()));
    plan
}

/// After the scale was written.
pub(super) fn rescaled(plan: &mut Plan, now: Timestamp) {
    let Some((to, why)) = &plan.rescale else { return };
    let message = format!("the HPA controller was able to update the target scale to {to}");
    plan.events.push((EventType::Normal, "SuccessfulRescale", format!("New size: {to}; reason: {why}")));
    plan.status.last_scale_time = Some(Time(now));
    set(&mut plan.status, ABLE, true, "SucceededRescale", &message, now);
}

/// After it was refused. `kept`: how many were wanted before.
pub(super) fn not_rescaled(plan: &mut Plan, error: &str, kept: i32, now: Timestamp) {
    let Some((to, why)) = &plan.rescale else { return };
    plan.events.push((EventType::Warning, "FailedRescale", format!("New size: {to}; reason: {why}; error: {error}")));
    plan.status.desired_replicas = kept;
    let message = format!("the HPA controller was unable to update the target scale: {error}");
    set(&mut plan.status, ABLE, false, "FailedUpdateScale", &message, now);
}

fn numbers(status: &mut HorizontalPodAutoscalerStatus, current: i32, desired: i32, metrics: Option<Vec<MetricStatus>>) {
    status.current_replicas = Some(current);
    status.desired_replicas = desired;
    status.current_metrics = metrics.filter(|metrics| !metrics.is_empty());
}

/// The time of a condition is that of its last change of status.
fn set(status: &mut HorizontalPodAutoscalerStatus, type_: &str, holds: bool, reason: &str, message: &str, now: Timestamp) {
    let conditions = status.conditions.get_or_insert_default();
    let holds = if holds { "True" } else { "False" };
    let known = conditions.iter().position(|condition| condition.type_ == type_);
    let before = known.map(|index| &conditions[index]).filter(|condition| condition.status == holds);
    let condition = HorizontalPodAutoscalerCondition {
        type_: type_.to_owned(),
        status: holds.to_owned(),
        last_transition_time: before.map_or(Some(Time(now)), |before| before.last_transition_time.clone()),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
    };
    match known {
        Some(index) => conditions[index] = condition,
        None => conditions.push(condition),
    }
}

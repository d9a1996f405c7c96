//! From what pods use to how many there should be, as the HorizontalPodAutoscaler's algorithm of Kubernetes says. Amounts in thousandths. Pure.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Container, Pod};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use orknet_reconciler::pod_state;
use orknet_resources::quantity::Quantity;

/// A ratio this near to 1 changes nothing (`--horizontal-pod-autoscaler-tolerance`).
const TOLERANCE: f64 = 0.1;
/// How long after its start a pod's processor time is only believed while it is ready (`--horizontal-pod-autoscaler-cpu-initialization-period`).
const CPU_INITIALIZATION: SignedDuration = SignedDuration::from_mins(5);
/// A pod that was unready since this soon after its start was never ready (`--horizontal-pod-autoscaler-initial-readiness-delay`).
const READINESS_DELAY: SignedDuration = SignedDuration::from_secs(30);

/// What was measured of one pod.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct PodMetric {
    pub at: Timestamp,
    pub window: SignedDuration,
    pub value: i64,
}

/// By the pod's name.
pub(super) type PodMetrics = BTreeMap<String, PodMetric>;

/// What is asked for each pod.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target<'a> {
    /// Percent of what the pods' containers request of a resource; of one container where it is named.
    Utilization { percent: i32, resource: &'a str, container: Option<&'a str> },
    /// An amount; of a resource where it is named.
    Average { value: i64, resource: Option<&'a str> },
}

/// How many there should be, and how things are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Proposal {
    pub replicas: i32,
    /// Percent of the requests, where they were asked for.
    pub utilization: Option<i32>,
    /// Average, in thousandths.
    pub average: i64,
}

#[derive(Default)]
struct Groups<'a> {
    ready: usize,
    unready: BTreeSet<&'a str>,
    missing: BTreeSet<&'a str>,
    /// Neither counted nor measured: those that go or have failed.
    passed_over: BTreeSet<&'a str>,
}

/// How many pods there should be by a measure of each. `current`: how many there are meant to be now.
///
/// # Errors
/// Why nothing can be said, in Kubernetes' words.
pub(super) fn by_pods(pods: &[Pod], mut metrics: PodMetrics, target: Target<'_>, current: i32, now: Timestamp) -> Result<Proposal, String> {
    if pods.is_empty() {
        return Err("no pods returned by selector while calculating replica count".to_owned());
    }
    let resource = match target {
        Target::Utilization { resource, .. } => resource,
        Target::Average { resource, .. } => resource.unwrap_or_default(),
    };
    let groups = group(pods, &metrics, resource, now);
    metrics.retain(|name, _| !groups.passed_over.contains(&name[..]) && !groups.unready.contains(&name[..]));
    if metrics.is_empty() {
        return Err("did not receive metrics for targeted pods (pods might be unready)".to_owned());
    }
    let requests = match target {
        Target::Utilization { resource, container, .. } => requests(pods, resource, container)?,
        Target::Average { .. } => BTreeMap::new(),
    };
    let measure = |metrics: &PodMetrics| match target {
        Target::Utilization { percent, .. } => utilization(metrics, &requests, percent),
        Target::Average { value, .. } => Ok(average(metrics, value)),
    };
    let (ratio, utilization, average) = measure(&metrics)?;
    let keep = Proposal { replicas: current, utilization, average };
    let rebalance = !groups.unready.is_empty() && ratio > 1.0;
    if !rebalance && groups.missing.is_empty() {
        if is_near(ratio) {
            return Ok(keep);
        }
        return Ok(Proposal { replicas: ceil(ratio * as_float(groups.ready)), ..keep });
    }
    // What is not known is taken for what changes least.
    let assumed = |value| PodMetric { at: now, window: SignedDuration::ZERO, value };
    if ratio < 1.0 {
        for name in &groups.missing {
            let value = match target {
                Target::Utilization { percent, .. } => {
                    requests.get(*name).copied().unwrap_or_default().saturating_mul(i64::from(percent.max(100))) / 100
                }
                Target::Average { value, .. } => value,
            };
            metrics.insert((*name).to_owned(), assumed(value));
        }
    } else if ratio > 1.0 || matches!(target, Target::Average { .. }) {
        metrics.extend(groups.missing.iter().map(|name| ((*name).to_owned(), assumed(0))));
    }
    if rebalance {
        metrics.extend(groups.unready.iter().map(|name| ((*name).to_owned(), assumed(0))));
    }
    let (new_ratio, ..) = measure(&metrics)?;
    if is_near(new_ratio) || (ratio < 1.0 && new_ratio > 1.0) || (ratio > 1.0 && new_ratio < 1.0) {
        return Ok(keep);
    }
    let replicas = ceil(new_ratio * as_float(metrics.len()));
    if (new_ratio < 1.0 && replicas > current) || (new_ratio > 1.0 && replicas < current) {
        return Ok(keep);
    }
    Ok(Proposal { replicas, ..keep })
}

/// How many there should be by one value for all. `ready`: how many pods run and are ready.
pub(super) fn by_value(value: i64, target: i64, current: i32, ready: usize) -> Proposal {
    let ratio = value as f64 / target as f64;
    let replicas = match current {
        0 => ceil(ratio),
        _ if is_near(ratio) => current,
        _ => ceil(ratio * as_float(ready)),
    };
    Proposal { replicas, utilization: None, average: value }
}

/// How many there should be for one value to make so much a pod. `status`: how many there are.
pub(super) fn by_value_per_pod(value: i64, target: i64, status: i32) -> Proposal {
    let ratio = value as f64 / (target as f64 * f64::from(status));
    let replicas = if is_near(ratio) { status } else { ceil(value as f64 / target as f64) };
    Proposal { replicas, utilization: None, average: ceil_wide(value as f64 / f64::from(status)) }
}

/// Pods that run and are ready.
pub(super) fn ready(pods: &[Pod]) -> usize {
    pods.iter().filter(|pod| pod_state::phase(pod) == "Running" && pod_state::is_ready(pod)).count()
}

fn is_near(ratio: f64) -> bool {
    (1.0 - ratio).abs() <= TOLERANCE
}

fn as_float(count: usize) -> f64 {
    count as f64
}

#[allow(clippy::cast_possible_truncation, reason = "floating point numbers beyond the range become its ends")]
fn ceil(number: f64) -> i32 {
    number.ceil() as i32
}

#[allow(clippy::cast_possible_truncation, reason = "floating point numbers beyond the range become its ends")]
fn ceil_wide(number: f64) -> i64 {
    number.ceil() as i64
}

fn group<'a>(pods: &'a [Pod], metrics: &PodMetrics, resource: &str, now: Timestamp) -> Groups<'a> {
    let mut groups = Groups::default();
    for pod in pods {
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        if pod_state::is_terminating(pod) || pod_state::phase(pod) == "Failed" {
            groups.passed_over.insert(name);
        } else if pod_state::phase(pod) == "Pending" {
            groups.unready.insert(name);
        } else if let Some(metric) = metrics.get(name) {
            if resource == "cpu" && !is_believed(pod, metric, now) {
                groups.unready.insert(name);
            } else {
                groups.ready += 1;
            }
        } else {
            groups.missing.insert(name);
        }
    }
    groups
}

/// Whether a pod's processor time says what it will use: not while it starts.
fn is_believed(pod: &Pod, metric: &PodMetric, now: Timestamp) -> bool {
    let started = pod.status.as_ref().and_then(|status| status.start_time.as_ref());
    let (Some(ready), Some(started)) = (pod_state::condition(pod, "Ready"), started) else { return false };
    let changed = ready.last_transition_time.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0);
    let is_unready = ready.status == "False";
    if started.0.saturating_add(CPU_INITIALIZATION).is_ok_and(|end| end > now) {
        !is_unready && changed.saturating_add(metric.window).is_ok_and(|end| metric.at >= end)
    } else {
        !(is_unready && started.0.saturating_add(READINESS_DELAY).is_ok_and(|end| end > changed))
    }
}

/// What each pod's containers request, those that run beside all others included.
fn requests(pods: &[Pod], resource: &str, only: Option<&str>) -> Result<BTreeMap<String, i64>, String> {
    let mut requests = BTreeMap::new();
    for pod in pods {
        let name = pod.metadata.name.clone().unwrap_or_default();
        let Some(spec) = &pod.spec else { continue };
        let sidecars = spec.init_containers.iter().flatten().filter(|container| container.restart_policy.as_deref() == Some("Always"));
        let wanted = |container: &&Container| only.is_none_or(|only| container.name == only);
        let mut sum = 0_i64;
        for container in spec.containers.iter().chain(sidecars).filter(wanted) {
            let request = container.resources.as_ref().and_then(|resources| resources.requests.as_ref()?.get(resource));
            let Some(request) = request.and_then(|request| Quantity::parse(&request.0).ok()) else {
                return Err(format!("missing request for {resource} in container {} of Pod {name}", container.name));
            };
            sum = sum.saturating_add(request.milli());
        }
        requests.insert(name, sum);
    }
    Ok(requests)
}

type Measure = (f64, Option<i32>, i64);

fn utilization(metrics: &PodMetrics, requests: &BTreeMap<String, i64>, target: i32) -> Result<Measure, String> {
    let known = metrics.iter().filter_map(|(name, metric)| Some((metric.value, *requests.get(name)?)));
    let (mut used, mut requested, mut count) = (0_i64, 0_i64, 0_i64);
    for (value, request) in known {
        (used, requested, count) = (used.saturating_add(value), requested.saturating_add(request), count + 1);
    }
    if requested == 0 {
        return Err("no metrics returned matched known pods".to_owned());
    }
    let current = i32::try_from(i128::from(used) * 100 / i128::from(requested)).unwrap_or(i32::MAX);
    Ok((f64::from(current) / f64::from(target), Some(current), used / count.max(1)))
}

fn average(metrics: &PodMetrics, target: i64) -> Measure {
    let sum = metrics.values().fold(0_i64, |sum, metric| sum.saturating_add(metric.value));
    let average = sum / i64::try_from(metrics.len().max(1)).unwrap_or(i64::MAX);
    (average as f64 / target as f64, None, average)
}

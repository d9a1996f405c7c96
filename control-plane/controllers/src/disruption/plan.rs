//! Pure: a budget, its pods and how many there should be in, its status out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use orknet_reconciler::pod_state;

use crate::portion::portion;

/// An eviction that has not led to a deletion by then is taken to have failed.
const EVICTION_TIMEOUT: SignedDuration = SignedDuration::from_mins(2);
const CONDITION: &str = "DisruptionAllowed";

/// What is known of a budget's pods.
pub(super) struct Observed<'a> {
    pub budget: &'a PodDisruptionBudget,
    /// Those that the selector selects.
    pub pods: &'a [Arc<Pod>],
    /// How many their workloads are meant to have.
    pub scale: i32,
    pub now: Timestamp,
}

/// The status, and after how long an eviction that is under way is to be looked at again.
pub(super) struct Plan {
    pub status: PodDisruptionBudgetStatus,
    pub recheck: Option<Duration>,
}

pub(super) fn plan(observed: &Observed<'_>) -> Plan {
    let Observed { budget, pods, now, .. } = observed;
    let (expected, desired) = expected_and_desired(observed);
    let disrupted = still_disrupted(observed);
    let is_disrupted = |pod: &Pod| pod.metadata.name.as_ref().is_some_and(|name| disrupted.contains_key(name));
    let is_healthy = |pod: &&Arc<Pod>| !pod_state::is_terminating(pod) && !is_disrupted(pod) && pod_state::is_ready(pod);
    let healthy = count(pods.iter().filter(is_healthy).count());
    let allowed = if expected <= 0 { 0 } else { (healthy - desired).max(0) };
    let ends = disrupted.values().map(|since| since.0.saturating_add(EVICTION_TIMEOUT).unwrap_or(Timestamp::MAX));
    let recheck = ends.min().map(|end| Duration::try_from(end.duration_since(*now)).unwrap_or_default() + Duration::from_secs(1));
    let status = PodDisruptionBudgetStatus {
        conditions: Some(conditions(budget, allowed > 0, *now)),
        current_healthy: healthy,
        desired_healthy: desired,
        disrupted_pods: Some(disrupted).filter(|disrupted| !disrupted.is_empty()),
        disruptions_allowed: allowed,
        expected_pods: expected,
        observed_generation: budget.metadata.generation,
    };
    Plan { status, recheck }
}

/// How many pods there should be, and how many of them healthy (`minAvailable` or `maxUnavailable`, numbers or percentages, rounded up).
fn expected_and_desired(observed: &Observed<'_>) -> (i32, i32) {
    let Some(spec) = &observed.budget.spec else { return (0, 0) };
    let matched = count(observed.pods.len());
    if let Some(unavailable) = &spec.max_unavailable {
        return (observed.scale, (observed.scale - portion(unavailable, observed.scale, true)).max(0));
    }
    match &spec.min_available {
        Some(IntOrString::Int(available)) => (matched, *available),
        Some(percentage) => (observed.scale, portion(percentage, observed.scale, true)),
        None => (matched, 0),
    }
}

/// Evictions that the API server has allowed and whose pods are not going yet.
fn still_disrupted(observed: &Observed<'_>) -> BTreeMap<String, Time> {
    let noted = observed.budget.status.as_ref().and_then(|status| status.disrupted_pods.clone()).unwrap_or_default();
    let waits = |name: &String, since: &Time| {
        let pod = observed.pods.iter().find(|pod| pod.metadata.name.as_ref() == Some(name));
        let in_time = since.0.saturating_add(EVICTION_TIMEOUT).is_ok_and(|end| end > observed.now);
        pod.is_some_and(|pod| !pod_state::is_terminating(pod)) && in_time
    };
    noted.into_iter().filter(|(name, since)| waits(name, since)).collect()
}

fn conditions(budget: &PodDisruptionBudget, allows: bool, now: Timestamp) -> Vec<Condition> {
    let mut conditions = budget.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
    let (status, reason) = if allows { ("True", "SufficientPods") } else { ("False", "InsufficientPods") };
    let present = conditions.iter().position(|condition| condition.type_ == CONDITION);
    let since = present.map(|at| conditions[at].clone()).filter(|condition| condition.status == status);
    let condition = Condition {
        last_transition_time: since.map_or(Time(now), |condition| condition.last_transition_time),
        message: String::new(),
        observed_generation: budget.metadata.generation,
        reason: reason.into(),
        status: status.into(),
        type_: CONDITION.into(),
    };
    match present {
        Some(at) => conditions[at] = condition,
        None => conditions.push(condition),
    }
    conditions
}

fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

//! Pure: a StatefulSet, its pods and its two revisions in; the next pods to create and delete, and the status, out. With the policy
//! OrderedReady there is at most one next step: each waits until the pods before it are healthy.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetSpec, StatefulSetStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use orknet_reconciler::pod_state;

use super::identity::{ordinal_of, revision_of};
use crate::write_status::count;

/// At most so many pods are created or deleted in one pass.
pub(super) const BURST: usize = 250;

/// What one pass has seen.
pub(super) struct Observed<'a> {
    pub set: &'a StatefulSet,
    pub spec: &'a StatefulSetSpec,
    /// The pods under the StatefulSet's control.
    pub pods: Vec<Arc<Pod>>,
    /// The name of the revision that all pods have had; that of the pods below the partition.
    pub current: &'a str,
    /// The name of the present template's revision.
    pub update: &'a str,
    pub now: Timestamp,
}

/// Which template a new pod gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Template {
    /// The present one.
    Update,
    /// The one before: the ordinal is below the partition.
    Current,
}

/// What to write.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub create: Vec<(i32, Template)>,
    pub delete: Vec<Arc<Pod>>,
    /// When the next pod becomes available without an event (`minReadySeconds`).
    pub recheck: Option<Duration>,
}

pub(super) fn plan(observed: &Observed<'_>) -> Plan {
    let mut plan = Plan::default();
    let waits = observed.pods.iter().filter_map(|pod| available_in(observed, pod));
    plan.recheck = waits.filter(|wait| !wait.is_zero()).min();
    if observed.set.metadata.deletion_timestamp.is_none() {
        let pods = by_ordinal(observed);
        let _finished = fill(observed, &pods, &mut plan) && trim(observed, &pods, &mut plan) && update(observed, &pods, &mut plan);
        plan.create.truncate(BURST);
        plan.delete.truncate(BURST);
    }
    plan
}

/// The status that goes with what was seen.
pub(super) fn status(observed: &Observed<'_>) -> StatefulSetStatus {
    let old = observed.set.status.as_ref();
    let number = |holds: &dyn Fn(&Pod) -> bool| observed.pods.iter().filter(|pod| !pod_state::is_terminal(pod) && holds(pod)).count();
    let of = |revision: &str| number(&|pod| !pod_state::is_terminating(pod) && revision_of(pod) == revision);
    let (replicas, ready, updated) = (number(&|_| true), number(&is_running_and_ready), of(observed.update));
    let wanted = usize::try_from(observed.spec.replicas.unwrap_or(1)).unwrap_or(0);
    // An update is over when every pod has it; only then does it become what pods fall back to.
    let over = is_rolling(observed.spec) && updated == replicas && ready == replicas && replicas == wanted;
    let current = if over { observed.update } else { observed.current };
    StatefulSetStatus {
        replicas: i32::try_from(replicas).unwrap_or(i32::MAX),
        ready_replicas: count(ready),
        available_replicas: Some(i32::try_from(number(&|pod| is_available(observed, pod))).unwrap_or(i32::MAX)),
        current_replicas: count(of(current)),
        updated_replicas: count(updated),
        current_revision: Some(current.into()),
        update_revision: Some(observed.update.into()),
        observed_generation: observed.set.metadata.generation,
        collision_count: Some(old.and_then(|old| old.collision_count).unwrap_or(0)),
        conditions: old.and_then(|old| old.conditions.clone()),
    }
}

/// Makes the pods that are missing, in order; those that ended make room first. Returns whether the pass goes on.
fn fill(observed: &Observed<'_>, pods: &BTreeMap<i32, &Arc<Pod>>, plan: &mut Plan) -> bool {
    let ordered = is_ordered(observed.spec);
    for ordinal in wanted(observed.spec) {
        match pods.get(&ordinal) {
            None => plan.create.push((ordinal, template_for(observed.spec, ordinal))),
            Some(pod) if pod_state::is_terminal(pod) && !pod_state::is_terminating(pod) => plan.delete.push((*pod).clone()),
            Some(pod) if is_available(observed, pod) => continue,
            Some(_) => {}
        }
        if ordered {
            return false;
        }
    }
    true
}

/// Removes the pods that are too many, the highest ordinal first. Returns whether the pass goes on.
fn trim(observed: &Observed<'_>, pods: &BTreeMap<i32, &Arc<Pod>>, plan: &mut Plan) -> bool {
    let ordered = is_ordered(observed.spec);
    let range = wanted(observed.spec);
    let condemned: Vec<_> = pods.iter().filter(|(ordinal, _)| !range.contains(ordinal)).map(|(_, pod)| *pod).collect();
    // The one that may go although it is not healthy: waiting for it could take for ever.
    let unhealthy = pods.values().find(|pod| !is_healthy(pod)).map(|pod| pod.metadata.uid.clone());
    for pod in condemned.iter().rev() {
        if pod_state::is_terminating(pod) {
            if ordered {
                return false;
            }
            continue;
        }
        if ordered && !is_healthy(pod) && unhealthy.as_ref() != Some(&pod.metadata.uid) {
            return false;
        }
        plan.delete.push((*pod).clone());
        if ordered {
            return false;
        }
    }
    true
}

/// Replaces one old pod, the highest ordinal first, down to the partition; waits for each to be healthy. Returns whether nothing is left to do.
fn update(observed: &Observed<'_>, pods: &BTreeMap<i32, &Arc<Pod>>, plan: &mut Plan) -> bool {
    if !is_rolling(observed.spec) {
        return true;
    }
    let range = wanted(observed.spec);
    for ordinal in (range.start.saturating_add(partition(observed.spec)).max(range.start)..range.end).rev() {
        let Some(pod) = pods.get(&ordinal) else { return false };
        if revision_of(pod) != observed.update && !pod_state::is_terminating(pod) {
            // One that ended goes already.
            if !plan.delete.iter().any(|other| other.metadata.uid == pod.metadata.uid) {
                plan.delete.push((*pod).clone());
            }
            return false;
        }
        if !is_available(observed, pod) {
            return false;
        }
    }
    true
}

/// The ordinals that there should be.
fn wanted(spec: &StatefulSetSpec) -> std::ops::Range<i32> {
    let start = spec.ordinals.as_ref().and_then(|ordinals| ordinals.start).unwrap_or(0);
    start..start.saturating_add(spec.replicas.unwrap_or(1))
}

fn template_for(spec: &StatefulSetSpec, ordinal: i32) -> Template {
    let below = ordinal < wanted(spec).start.saturating_add(partition(spec));
    if is_rolling(spec) && below { Template::Current } else { Template::Update }
}

fn by_ordinal<'a>(observed: &'a Observed<'_>) -> BTreeMap<i32, &'a Arc<Pod>> {
    let name = observed.set.metadata.name.as_deref().unwrap_or_default();
    observed.pods.iter().filter_map(|pod| Some((ordinal_of(name, pod)?, pod))).collect()
}

fn is_ordered(spec: &StatefulSetSpec) -> bool {
    spec.pod_management_policy.as_deref() != Some("Parallel")
}

fn is_rolling(spec: &StatefulSetSpec) -> bool {
    spec.update_strategy.as_ref().and_then(|strategy| strategy.type_.as_deref()) != Some("OnDelete")
}

fn partition(spec: &StatefulSetSpec) -> i32 {
    spec.update_strategy.as_ref().and_then(|strategy| strategy.rolling_update.as_ref()?.partition).unwrap_or(0)
}

fn is_running_and_ready(pod: &Pod) -> bool {
    pod_state::phase(pod) == "Running" && pod_state::is_ready(pod)
}

fn is_healthy(pod: &Pod) -> bool {
    is_running_and_ready(pod) && !pod_state::is_terminating(pod)
}

fn is_available(observed: &Observed<'_>, pod: &Pod) -> bool {
    is_healthy(pod) && available_in(observed, pod) == Some(Duration::ZERO)
}

fn available_in(observed: &Observed<'_>, pod: &Pod) -> Option<Duration> {
    pod_state::available_in(pod, observed.spec.min_ready_seconds.unwrap_or(0), observed.now)
}

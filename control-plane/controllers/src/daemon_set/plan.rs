//! Pure: a DaemonSet, the nodes and its pods in; nodes that get a pod, pods that go, and the status, out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::apps::v1::{DaemonSet, DaemonSetSpec, DaemonSetStatus};
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::jiff::Timestamp;
use orknet_reconciler::pod_state;

use super::placement::{Fit, fit, node_of};
use super::rolling;
use crate::revision_history::HASH_LABEL;
use crate::write_status::count;

/// At most so many pods are created or deleted in one pass.
pub(super) const BURST: usize = 250;

/// What one pass has seen.
pub(super) struct Observed<'a> {
    pub set: &'a DaemonSet,
    pub spec: &'a DaemonSetSpec,
    pub nodes: Vec<Arc<Node>>,
    /// The pods under the DaemonSet's control.
    pub pods: Vec<Arc<Pod>>,
    /// The hash of the present template's revision.
    pub hash: &'a str,
    pub now: Timestamp,
}

/// What to write.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Nodes that get a pod.
    pub create: Vec<String>,
    pub delete: Vec<Arc<Pod>>,
    /// Pods that ended, with their nodes: to be deleted when their back-off allows.
    pub failed: Vec<(String, Arc<Pod>)>,
    /// When the next pod becomes available without an event (`minReadySeconds`).
    pub recheck: Option<Duration>,
}

/// The pods of each node, bound ones first, then the oldest.
pub(super) type PodsByNode<'a> = BTreeMap<&'a str, Vec<&'a Arc<Pod>>>;

pub(super) fn plan(observed: &Observed<'_>) -> Plan {
    let mut plan = Plan::default();
    if observed.set.metadata.deletion_timestamp.is_some() {
        return plan;
    }
    let pods = by_node(observed);
    let fits = fits(observed);
    for (node, fit) in &fits {
        let here = pods.get(node).map(Vec::as_slice).unwrap_or_default();
        match fit {
            Fit::Wanted if here.is_empty() => plan.create.push((*node).into()),
            Fit::Wanted | Fit::Kept => settle_node(observed, node, here, &mut plan),
            Fit::Unwanted => plan.delete.extend(living(here).cloned()),
        }
    }
    // Pods made for a node that is gone before it was theirs: the scheduler never binds them. Bound ones are the pod collector's.
    let homeless = pods.iter().filter(|(node, _)| !fits.contains_key(*node)).flat_map(|(_, pods)| living(pods));
    plan.delete.extend(homeless.filter(|pod| pod_state::node_of(pod).is_none()).cloned());
    rolling::plan(observed, &pods, &fits, &mut plan);
    plan.create.truncate(BURST);
    plan.delete.truncate(BURST);
    let waits = observed.pods.iter().filter_map(|pod| available_in(observed, pod));
    plan.recheck = waits.filter(|wait| !wait.is_zero()).min();
    plan
}

/// The status that goes with what was seen.
pub(super) fn status(observed: &Observed<'_>) -> DaemonSetStatus {
    let pods = by_node(observed);
    let mut status = DaemonSetStatus {
        observed_generation: observed.set.metadata.generation,
        collision_count: observed.set.status.as_ref().and_then(|status| status.collision_count),
        conditions: observed.set.status.as_ref().and_then(|status| status.conditions.clone()),
        ..DaemonSetStatus::default()
    };
    let (mut available, mut updated) = (0, 0);
    for (node, fit) in fits(observed) {
        let here = pods.get(node).map(Vec::as_slice).unwrap_or_default();
        if fit != Fit::Wanted {
            status.number_misscheduled += i32::from(!here.is_empty());
            continue;
        }
        status.desired_number_scheduled += 1;
        // The oldest speaks for the node.
        let Some(pod) = here.first() else { continue };
        status.current_number_scheduled += 1;
        status.number_ready += i32::from(pod_state::is_ready(pod));
        available += usize::from(is_available(observed, pod));
        updated += usize::from(is_current(observed, pod));
    }
    status.number_available = count(available);
    status.updated_number_scheduled = count(updated);
    let wanted = usize::try_from(status.desired_number_scheduled).unwrap_or(0);
    status.number_unavailable = count(wanted.saturating_sub(available));
    status
}

/// Whether the pod has the present template.
pub(super) fn is_current(observed: &Observed<'_>, pod: &Pod) -> bool {
    pod.metadata.labels.as_ref().and_then(|labels| labels.get(HASH_LABEL)).is_some_and(|hash| hash == observed.hash)
}

pub(super) fn is_available(observed: &Observed<'_>, pod: &Pod) -> bool {
    pod_state::is_active(pod) && available_in(observed, pod) == Some(Duration::ZERO)
}

/// Pods that nobody deletes yet.
pub(super) fn living<'a>(pods: &'a [&'a Arc<Pod>]) -> impl Iterator<Item = &'a Arc<Pod>> {
    pods.iter().copied().filter(|pod| !pod_state::is_terminating(pod))
}

fn settle_node(observed: &Observed<'_>, node: &str, here: &[&Arc<Pod>], plan: &mut Plan) {
    let (ended, running): (Vec<_>, Vec<_>) = living(here).partition(|pod| pod_state::is_terminal(pod));
    plan.failed.extend(ended.into_iter().map(|pod| (node.to_owned(), pod.clone())));
    if !rolling::allows_surge(observed) {
        plan.delete.extend(running.into_iter().skip(1).cloned());
        return;
    }
    // In an update with surge an old and a new pod may stand side by side.
    let (new, old): (Vec<_>, Vec<_>) = running.into_iter().partition(|pod| is_current(observed, pod));
    plan.delete.extend(old.into_iter().skip(1).chain(new.into_iter().skip(1)).cloned());
}

fn by_node<'a>(observed: &'a Observed<'_>) -> PodsByNode<'a> {
    let mut pods = PodsByNode::new();
    for pod in &observed.pods {
        if let Some(node) = node_of(pod) {
            pods.entry(node).or_default().push(pod);
        }
    }
    let age = |pod: &Arc<Pod>| (pod_state::node_of(pod).is_none(), pod.metadata.creation_timestamp.clone(), pod.metadata.name.clone());
    pods.values_mut().for_each(|pods| pods.sort_by_key(|pod| age(pod)));
    pods
}

fn fits<'a>(observed: &'a Observed<'_>) -> BTreeMap<&'a str, Fit> {
    let Some(spec) = &observed.spec.template.spec else { return BTreeMap::new() };
    observed.nodes.iter().filter_map(|node| Some((node.metadata.name.as_deref()?, fit(spec, node)))).collect()
}

fn available_in(observed: &Observed<'_>, pod: &Pod) -> Option<Duration> {
    pod_state::available_in(pod, observed.spec.min_ready_seconds.unwrap_or(0), observed.now)
}

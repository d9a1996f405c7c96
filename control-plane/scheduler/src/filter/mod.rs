//! The filters: can this pod run on this node at all? One file each. A filter sees what is prepared once per decision and one node.

mod inter_pod_affinity;
mod node_affinity;
mod node_name;
mod node_ports;
mod node_resources_fit;
mod node_unschedulable;
mod pod_topology_spread;
mod taint_toleration;

use std::borrow::Cow;

use crate::node_info::NodeInfo;
use crate::pod_info::PodInfo;
use crate::snapshot::Snapshot;

/// Why a node was refused, in the words users know from `kubectl describe pod`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rejection {
    pub reason: Cow<'static, str>,
    pub filter: FilterName,
    /// Whether removing pods from the node could help.
    pub preemptable: bool,
}

/// The filters by name. The queue asks what each waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum FilterName {
    NodeUnschedulable,
    NodeName,
    TaintToleration,
    NodeAffinity,
    NodePorts,
    NodeResourcesFit,
    PodTopologySpread,
    InterPodAffinity,
}

/// What the filters share during one decision.
pub(crate) struct Prepared<'a> {
    pub pod: &'a PodInfo,
    spread: pod_topology_spread::State,
    affinity: inter_pod_affinity::State,
}

impl<'a> Prepared<'a> {
    pub fn new(snapshot: &Snapshot, pod: &'a PodInfo) -> Self {
        Self { pod, spread: pod_topology_spread::prepare(snapshot, pod), affinity: inter_pod_affinity::prepare(snapshot, pod) }
    }

    /// Runs the filters in order, cheap ones first; the reasons are those of the first that refuses.
    pub fn check(&self, node: &NodeInfo) -> Result<(), Vec<Rejection>> {
        let Self { pod, spread, affinity } = self;
        node_unschedulable::check(pod, node)?;
        node_name::check(pod, node)?;
        taint_toleration::check(pod, node)?;
        node_affinity::check(pod, node)?;
        node_ports::check(pod, node)?;
        node_resources_fit::check(pod, node)?;
        pod_topology_spread::check(spread, node)?;
        inter_pod_affinity::check(affinity, pod, node)
    }
}

/// A refusal that no preemption can lift.
fn refuse(filter: FilterName, reason: impl Into<Cow<'static, str>>) -> Result<(), Vec<Rejection>> {
    Err(vec![Rejection { reason: reason.into(), filter, preemptable: false }])
}

/// A refusal because of pods on the node.
fn refuse_for_now(filter: FilterName, reason: impl Into<Cow<'static, str>>) -> Result<(), Vec<Rejection>> {
    Err(vec![Rejection { reason: reason.into(), filter, preemptable: true }])
}

//! Pure: a ReplicaSet and the pods of its namespace in; pods to adopt, release, create and delete, and the status, out.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use orknet_reconciler::{pod_state, selector};

use super::ranking;
use crate::ownership::{Claim, claim};
use crate::write_status::count;

/// At most so many pods are created or deleted in one pass.
pub(super) const BURST: usize = 500;

/// What one pass has seen.
pub(super) struct Observed<'a> {
    pub replica_set: &'a ReplicaSet,
    /// All pods of the namespace.
    pub pods: Vec<Arc<Pod>>,
    /// Uids of the ReplicaSets with the same owner, this one included: their pods count when victims are chosen.
    pub related: HashSet<String>,
    pub now: Timestamp,
}

/// What to write.
pub(super) struct Plan {
    pub adopt: Vec<Arc<Pod>>,
    pub release: Vec<Arc<Pod>>,
    pub create: usize,
    /// In this order.
    pub delete: Vec<Arc<Pod>>,
    /// Pods that count now, for the status.
    pub owned: Vec<Arc<Pod>>,
    /// When the next pod becomes available without an event (`minReadySeconds`).
    pub recheck: Option<Duration>,
}

pub(super) fn plan(observed: &Observed<'_>) -> Plan {
    let Some(spec) = &observed.replica_set.spec else {
        return Plan { adopt: vec![], release: vec![], create: 0, delete: vec![], owned: vec![], recheck: None };
    };
    let live = observed.pods.iter().filter(|pod| !pod_state::is_terminal(pod)).cloned();
    let Claim { mut owned, adopt, release } = claim(&observed.replica_set.metadata, &spec.selector, live);
    owned.extend(adopt.iter().cloned());
    let active: Vec<_> = owned.iter().filter(|pod| pod_state::is_active(pod)).cloned().collect();
    let wanted = usize::try_from(spec.replicas.unwrap_or(1)).unwrap_or(0);
    let managed = observed.replica_set.metadata.deletion_timestamp.is_none();
    let create = if managed { wanted.saturating_sub(active.len()).min(BURST) } else { 0 };
    let surplus = if managed { active.len().saturating_sub(wanted).min(BURST) } else { 0 };
    let delete = if surplus > 0 { ranking::victims(&active, &related_pods(observed), surplus, observed.now) } else { Vec::new() };
    let min_ready = spec.min_ready_seconds.unwrap_or(0);
    let recheck =
        active.iter().filter_map(|pod| pod_state::available_in(pod, min_ready, observed.now)).filter(|wait| !wait.is_zero()).min();
    Plan { adopt, release, create, delete, owned: active, recheck }
}

/// The status that goes with the owned pods. `failure` is the reason and message of the pass's first failed write.
pub(super) fn status(replica_set: &ReplicaSet, owned: &[Arc<Pod>], failure: Option<(&str, String)>, now: Timestamp) -> ReplicaSetStatus {
    let spec = replica_set.spec.as_ref();
    let template_labels = spec
        .and_then(|spec| spec.template.as_ref())
        .and_then(|template| template.metadata.as_ref())
        .and_then(|meta| meta.labels.clone())
        .unwrap_or_default();
    let min_ready = spec.and_then(|spec| spec.min_ready_seconds).unwrap_or(0);
    let number = |holds: &dyn Fn(&Pod) -> bool| owned.iter().filter(|pod| holds(pod)).count();
    let old = replica_set.status.as_ref();
    let mut conditions = old.and_then(|old| old.conditions.clone()).unwrap_or_default();
    match failure {
        None => conditions.retain(|condition| condition.type_ != "ReplicaFailure"),
        Some((reason, message)) => {
            // The first failure of a row is kept, so that its time says since when.
            if !conditions.iter().any(|condition| condition.type_ == "ReplicaFailure" && condition.reason.as_deref() == Some(reason)) {
                conditions.retain(|condition| condition.type_ != "ReplicaFailure");
                conditions.push(ReplicaSetCondition {
                    type_: "ReplicaFailure".into(),
                    status: "True".into(),
                    reason: Some(reason.into()),
                    message: Some(message),
                    last_transition_time: Some(Time(now)),
                });
            }
        }
    }
    ReplicaSetStatus {
        replicas: i32::try_from(owned.len()).unwrap_or(i32::MAX),
        fully_labeled_replicas: count(number(&|pod| selector::matches_map(&template_labels, pod.metadata.labels.as_ref()))),
        ready_replicas: count(number(&pod_state::is_ready)),
        available_replicas: count(number(&|pod| pod_state::available_in(pod, min_ready, now) == Some(Duration::ZERO))),
        observed_generation: replica_set.metadata.generation,
        conditions: Some(conditions).filter(|conditions| !conditions.is_empty()),
        terminating_replicas: old.and_then(|old| old.terminating_replicas),
    }
}

fn related_pods(observed: &Observed<'_>) -> Vec<Arc<Pod>> {
    let related = |pod: &&Arc<Pod>| {
        pod_state::is_active(pod) && pod_state::controller_of(&pod.metadata).is_some_and(|owner| observed.related.contains(&owner.uid))
    };
    observed.pods.iter().filter(related).cloned().collect()
}

//! Pure: a Deployment with its ReplicaSets (and, for Recreate, their pods) in; one step of the rollout out.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition, DeploymentSpec, DeploymentStatus, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use orknet_reconciler::pod_state;

use super::conditions::{self, PROGRESSING};
use super::set::{REVISION, Set, total};
use super::strategy::{Bounds, is_recreate};
use super::{revision, rolling, scale};

/// What one pass has seen.
pub(super) struct Observed<'a> {
    pub deployment: &'a Deployment,
    /// The sets that the Deployment controls, adopted ones included.
    pub sets: Vec<Arc<ReplicaSet>>,
    /// The pods of those sets; read only for the Recreate strategy.
    pub pods: Vec<Arc<Pod>>,
    pub now: Timestamp,
}

/// What to write, in this order: the new set, changed sets, deletions, the Deployment's revision, its status.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub create: Option<ReplicaSet>,
    pub change: Vec<Set>,
    pub delete: Vec<Arc<ReplicaSet>>,
    /// The revision annotation that the Deployment should carry, when it differs.
    pub revision: Option<String>,
    pub status: DeploymentStatus,
    /// When the progress deadline passes.
    pub recheck: Option<Duration>,
}

/// The state of one planning pass.
struct Draft<'a> {
    deployment: &'a Deployment,
    spec: &'a DeploymentSpec,
    bounds: Bounds,
    current: Option<Set>,
    old: Vec<Set>,
    conditions: Vec<DeploymentCondition>,
    create: Option<ReplicaSet>,
    now: Timestamp,
}

pub(super) fn plan(observed: &Observed<'_>) -> Plan {
    let Some(spec) = &observed.deployment.spec else { return Plan::default() };
    let mut draft = Draft::new(observed, spec);
    if observed.deployment.metadata.deletion_timestamp.is_some() {
        return draft.finish(false, false);
    }
    draft.note_pause();
    draft.refresh_current();
    let paused = spec.paused == Some(true);
    if paused || scale::is_needed(draft.current.as_ref(), &draft.old, draft.bounds) {
        let pods = observed.deployment.status.as_ref().and_then(|status| status.replicas).unwrap_or(0);
        scale::plan(draft.current.as_mut(), &mut draft.old, draft.bounds, pods, !is_recreate(spec));
        return draft.finish(false, paused);
    }
    if is_recreate(spec) {
        draft.recreate(&observed.pods)
    } else {
        draft.roll()
    }
    draft.finish(true, true)
}

impl<'a> Draft<'a> {
    fn new(observed: &Observed<'a>, spec: &'a DeploymentSpec) -> Self {
        let mut old: Vec<_> = observed.sets.iter().cloned().map(Set::new).collect();
        let current = revision::position_of_current(spec, &old).map(|position| old.remove(position));
        let status = observed.deployment.status.as_ref();
        let conditions = status.and_then(|status| status.conditions.clone()).unwrap_or_default();
        let bounds = Bounds::of(spec);
        Self { deployment: observed.deployment, spec, bounds, current, old, conditions, create: None, now: observed.now }
    }

    fn note_pause(&mut self) {
        if conditions::progress_deadline(self.spec).is_none() {
            return;
        }
        let present = conditions::get(&self.conditions, PROGRESSING);
        let reason = present.and_then(|condition| condition.reason.as_deref());
        let paused = self.spec.paused == Some(true);
        if reason == Some("ProgressDeadlineExceeded") {
            return;
        }
        let condition = match (paused, reason == Some("DeploymentPaused")) {
            (true, false) => conditions::new(PROGRESSING, "Unknown", "DeploymentPaused", "Deployment is paused".into(), self.now),
            (false, true) => conditions::new(PROGRESSING, "Unknown", "DeploymentResumed", "Deployment is resumed".into(), self.now),
            _ => return,
        };
        conditions::set(&mut self.conditions, condition);
    }

    fn refresh_current(&mut self) {
        let Some(current) = &mut self.current else { return };
        revision::refresh(self.deployment, self.spec, current, &self.old);
        if conditions::progress_deadline(self.spec).is_some() && conditions::get(&self.conditions, PROGRESSING).is_none() {
            let message = format!("Found new replica set \"{}\"", current.name());
            conditions::set(&mut self.conditions, conditions::new(PROGRESSING, "True", "FoundNewReplicaSet", message, self.now));
        }
    }

    fn roll(&mut self) {
        match &mut self.current {
            Some(current) => {
                rolling::step(current, &mut self.old, self.bounds);
            }
            None => {
                let all = total(self.old.iter().map(|set| set.replicas));
                self.begin(rolling::size_for(0, all, self.bounds));
            }
        }
    }

    fn recreate(&mut self, pods: &[Arc<Pod>]) {
        if rolling::empty(&mut self.old, self.bounds) || old_pods_run(&self.old, pods) {
            return;
        }
        match &mut self.current {
            Some(current) if current.replicas != self.bounds.replicas => current.scale(self.bounds.replicas, self.bounds),
            Some(_) => {}
            None => self.begin(self.bounds.replicas),
        }
    }

    /// Plans the set of a new revision.
    fn begin(&mut self, replicas: i32) {
        let set = revision::new_set(self.deployment, self.spec, &self.old, replicas, self.bounds);
        if conditions::progress_deadline(self.spec).is_some() {
            let message = format!("Created new replica set \"{}\"", set.metadata.name.as_deref().unwrap_or_default());
            conditions::set(&mut self.conditions, conditions::new(PROGRESSING, "True", "NewReplicaSetCreated", message, self.now));
        }
        self.create = Some(set);
    }

    /// The status and what remains: `rollout` judges progress, `clean` removes revisions over the limit.
    fn finish(self, rollout: bool, clean: bool) -> Plan {
        let Self { deployment, spec, bounds, current, old, conditions, create, now } = self;
        let created = create.clone().map(|set| Set::new(Arc::new(set)));
        let current = current.or(created);
        let mut status = conditions::counts(deployment, current.as_ref(), &old, bounds, conditions, now);
        if rollout {
            conditions::judge_rollout(deployment, spec, current.as_ref(), &old, &mut status, now);
        }
        let settled = conditions::is_complete(deployment, spec, &status) || spec.paused == Some(true);
        let delete = if clean && settled && create.is_none() { over_the_limit(spec, &old) } else { Vec::new() };
        let annotation = deployment.metadata.annotations.as_ref().and_then(|annotations| annotations.get(REVISION));
        let revision = current.as_ref().and_then(|set| set.annotation(REVISION)).map(str::to_string);
        Plan {
            revision: revision.filter(|revision| Some(revision) != annotation),
            recheck: conditions::deadline_in(deployment, spec, &status, now),
            change: current.filter(|_| create.is_none()).into_iter().chain(old).filter(Set::is_changed).collect(),
            create,
            delete,
            status,
        }
    }
}

fn old_pods_run(old: &[Set], pods: &[Arc<Pod>]) -> bool {
    let uids: Vec<_> = old.iter().filter_map(|set| set.object.metadata.uid.as_deref()).collect();
    pods.iter()
        .filter(|pod| !pod_state::is_terminal(pod))
        .any(|pod| pod_state::controller_of(&pod.metadata).is_some_and(|owner| uids.contains(&owner.uid.as_str())))
}

/// The oldest empty revisions beyond `spec.revisionHistoryLimit`.
fn over_the_limit(spec: &DeploymentSpec, old: &[Set]) -> Vec<Arc<ReplicaSet>> {
    let Some(limit) = spec.revision_history_limit.and_then(|limit| usize::try_from(limit).ok()) else { return Vec::new() };
    let mut alive: Vec<_> = old.iter().filter(|set| set.object.metadata.deletion_timestamp.is_none()).collect();
    let surplus = alive.len().saturating_sub(limit);
    alive.sort_by_key(|set| (set.revision(), set.created()));
    alive
        .into_iter()
        .take(surplus)
        .filter(|set| {
            let observed = set.object.status.as_ref().and_then(|status| status.observed_generation);
            set.pods() == 0 && set.replicas == 0 && set.replicas_before() == 0 && observed >= set.object.metadata.generation
        })
        .map(|set| set.object.clone())
        .collect()
}

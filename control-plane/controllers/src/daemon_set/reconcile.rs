//! One pass over a DaemonSet: read the stores, settle ownership and history, plan, write.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet};
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use orknet_reconciler::{Error, EventType, Informer, Next, ObjectKey, Reconciler, selector};

use super::backoff::Backoff;
use super::placement::pod_for;
use super::plan::{self, Observed};
use crate::ownership::{claim, controller_reference};
use crate::pod_control::PodControl;
use crate::revision_history::{self, HASH_LABEL, Outcome};
use crate::write_status::write_status;

pub(super) struct DaemonSetController {
    pub sets: Arc<Informer<DaemonSet>>,
    pub nodes: Arc<Informer<Node>>,
    pub revisions: Arc<Informer<ControllerRevision>>,
    pub control: PodControl,
    pub backoff: Backoff,
}

impl Reconciler for DaemonSetController {
    type Key = ObjectKey;
    const NAME: &'static str = "daemonset";

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let Some(set) = self.sets.get(key) else { return Ok(Next::Change) };
        let Some(spec) = &set.spec else { return Ok(Next::Change) };
        if selector::is_empty(&spec.selector) {
            let message = "This daemon set is selecting all pods. A non-empty selector is required.".into();
            self.control.recorder.record(&*set, EventType::Warning, "SelectingAll", message);
            return Ok(Next::Change);
        }
        let claim = claim(&set.metadata, &spec.selector, self.control.pods.in_namespace(&key.namespace));
        if !claim.adopt.is_empty() || !claim.release.is_empty() {
            // The answers change the store, which wakes this key again.
            self.control.settle_ownership(&*set, &claim.adopt, &claim.release).await?;
            return Ok(Next::Change);
        }
        let Some(hash) = self.current_hash(&set, &claim.owned).await? else { return Ok(Next::Change) };
        let now = Timestamp::now();
        let observed = Observed { set: &set, spec, nodes: self.nodes.all(), pods: claim.owned, hash: &hash, now };
        let mut plan = plan::plan(&observed);
        let uid = set.metadata.uid.as_deref().unwrap_or_default();
        let mut wait = plan.recheck;
        for (node, pod) in std::mem::take(&mut plan.failed) {
            let left = self.backoff.replace(uid, &node, Instant::now());
            if !left.is_zero() {
                wait = Some(wait.map_or(left, |wait| wait.min(left)));
                continue;
            }
            let message = format!("Found failed daemon pod {key} on node {node}, will try to kill it", key = ObjectKey::of(&pod.metadata));
            self.control.recorder.record(&*set, EventType::Warning, "FailedDaemonPod", message);
            plan.delete.push(pod);
        }
        let pods: Vec<Pod> =
            plan.create.iter().map(|node| pod_for(&key.namespace, spec, controller_reference(&*set), node, &hash)).collect();
        let created = self.control.create(&*set, &pods).await;
        let deleted = self.control.delete(&*set, &plan.delete).await;
        let api = Api::<DaemonSet>::namespaced(self.control.client.clone(), &key.namespace);
        write_status(&api, &self.sets, &key.name, set.status.as_ref(), &plan::status(&observed)).await?;
        created.and(deleted)?;
        Ok(wait.map_or(Next::Change, Next::After))
    }
}

impl DaemonSetController {
    /// Brings the history up to date: the hash of the present template's revision. `None` when this pass can't go on.
    async fn current_hash(&self, set: &DaemonSet, pods: &[Arc<Pod>]) -> Result<Option<String>, Error> {
        let (Some(spec), Some(namespace)) = (&set.spec, set.metadata.namespace.as_deref()) else { return Ok(None) };
        let api = Api::<ControllerRevision>::namespaced(self.control.client.clone(), namespace);
        let claim = claim(&set.metadata, &spec.selector, self.revisions.in_namespace(namespace));
        if !claim.adopt.is_empty() {
            revision_history::adopt(&api, &self.revisions, &claim.adopt, &controller_reference(set)).await?;
        }
        let revisions = claim.owned.into_iter().chain(claim.adopt).collect();
        let hashes = pods.iter().filter_map(|pod| pod.metadata.labels.as_ref()?.get(HASH_LABEL).cloned());
        let plan = revision_history::plan(revision_history::Observed {
            owner: &set.metadata,
            reference: controller_reference(set),
            template: &spec.template,
            collisions: set.status.as_ref().and_then(|status| status.collision_count),
            limit: spec.revision_history_limit,
            revisions,
            in_use: hashes.collect::<BTreeSet<_>>(),
        });
        if set.metadata.deletion_timestamp.is_some() && plan.create {
            return Ok(None);
        }
        match revision_history::write(&api, &self.revisions, &plan).await? {
            Outcome::Current(revision) => Ok(revision.metadata.labels.as_ref().and_then(|labels| labels.get(HASH_LABEL).cloned())),
            Outcome::Ending => Ok(None),
            Outcome::Collision => {
                let mut status = set.status.clone().unwrap_or_default();
                status.collision_count = Some(status.collision_count.unwrap_or(0) + 1);
                let sets = Api::<DaemonSet>::namespaced(self.control.client.clone(), namespace);
                let name = set.metadata.name.as_deref().unwrap_or_default();
                write_status(&sets, &self.sets, name, set.status.as_ref(), &status).await?;
                Ok(None)
            }
        }
    }
}

//! One pass over a DaemonSet: read the stores, settle ownership and history, plan, write.

use std::sync::Arc;
use std::time::Instant;

use k8s_openapi::api::apps::v1::{DaemonSet, DaemonSetSpec, DaemonSetStatus};
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use orknet_reconciler::{Error, EventType, Informer, Next, ObjectKey, Reconciler, selector};

use super::backoff::Backoff;
use super::placement::pod_for;
use super::plan::{self, Observed};
use crate::claims;
use crate::ownership::{claim, controller_reference};
use crate::pod_control::PodControl;
use crate::revision_history::{HASH_LABEL, History, Outcome, Wanted};
use crate::write_status::write_status;

pub(super) struct DaemonSetController {
    pub sets: Arc<Informer<DaemonSet>>,
    pub nodes: Arc<Informer<Node>>,
    pub history: History,
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
            claims::settle(&self.control.client, &*set, &claim.adopt, &claim.release, &self.control.pods).await?;
            return Ok(Next::Change);
        }
        let Some(hash) = self.current_hash(&set, spec, &claim.owned).await? else { return Ok(Next::Change) };
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
        write_status(&api, &self.sets, &set, set.status.as_ref(), &plan::status(&observed)).await?;
        created.and(deleted)?;
        Ok(wait.map_or(Next::Change, Next::After))
    }
}

impl DaemonSetController {
    /// Brings the history up to date: the hash of the present template's revision. `None` when this pass can't go on.
    async fn current_hash(&self, set: &DaemonSet, spec: &DaemonSetSpec, pods: &[Arc<Pod>]) -> Result<Option<String>, Error> {
        let status = set.status.as_ref();
        let collisions = status.and_then(|status| status.collision_count);
        let hashes = pods.iter().filter_map(|pod| pod.metadata.labels.as_ref()?.get(HASH_LABEL).cloned());
        let wanted = Wanted {
            selector: &spec.selector,
            template: &spec.template,
            collisions,
            limit: spec.revision_history_limit,
            in_use: hashes.collect(),
        };
        match self.history.update(set, wanted).await? {
            Outcome::Current(revision) => Ok(revision.metadata.labels.as_ref().and_then(|labels| labels.get(HASH_LABEL).cloned())),
            Outcome::Ending => Ok(None),
            Outcome::Collision => {
                let counted = DaemonSetStatus { collision_count: Some(collisions.unwrap_or(0) + 1), ..status.cloned().unwrap_or_default() };
                let ObjectKey { namespace, .. } = ObjectKey::of(&set.metadata);
                let api = Api::<DaemonSet>::namespaced(self.control.client.clone(), &namespace);
                write_status(&api, &self.sets, set, status, &counted).await?;
                Ok(None)
            }
        }
    }
}

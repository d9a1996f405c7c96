//! One pass over a StatefulSet: read the stores, settle ownership and history, plan, write.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet, StatefulSetSpec, StatefulSetStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use orknet_reconciler::{Error, EventType, Informer, Next, ObjectKey, Reconciler, selector};

use super::identity::{ordinal_of, pod_for, revision_of};
use super::plan::{self, Observed, Template};
use crate::claims;
use crate::ownership::claim;
use crate::pod_control::PodControl;
use crate::revision_history::{History, Outcome, Wanted, template_of};
use crate::write_status::write_status;

pub(super) struct StatefulSetController {
    pub sets: Arc<Informer<StatefulSet>>,
    pub history: History,
    pub control: PodControl,
}

/// The revisions that pods may be made from.
struct Revisions {
    current: Arc<ControllerRevision>,
    update: Arc<ControllerRevision>,
}

impl Reconciler for StatefulSetController {
    type Key = ObjectKey;
    const NAME: &'static str = "statefulset";

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let Some(set) = self.sets.get(key) else { return Ok(Next::Change) };
        let Some(spec) = &set.spec else { return Ok(Next::Change) };
        if selector::is_empty(&spec.selector) {
            return Ok(Next::Change);
        }
        if spec.volume_claim_templates.as_ref().is_some_and(|claims| !claims.is_empty()) {
            let message = "volumeClaimTemplates are not supported: no claims are made from them".into();
            self.control.recorder.record(&*set, EventType::Warning, "FailedCreate", message);
        }
        let mut claim = claim(&set.metadata, &spec.selector, self.control.pods.in_namespace(&key.namespace));
        // Only a pod with a name of the set's form can be one of its pods.
        claim.adopt.retain(|pod| ordinal_of(&key.name, pod).is_some());
        if !claim.adopt.is_empty() || !claim.release.is_empty() {
            // The answers change the store, which wakes this key again.
            claims::settle(&self.control.client, &*set, &claim.adopt, &claim.release, &self.control.pods).await?;
            return Ok(Next::Change);
        }
        let Some(revisions) = self.revisions(&set, spec, &claim.owned).await? else { return Ok(Next::Change) };
        let name = |revision: &ControllerRevision| revision.metadata.name.clone().unwrap_or_default();
        let (current, update) = (name(&revisions.current), name(&revisions.update));
        let now = Timestamp::now();
        let observed = Observed { set: &set, spec, pods: claim.owned, current: &current, update: &update, now };
        let plan = plan::plan(&observed);
        let older = template_of(&revisions.current);
        let pod_of = |(ordinal, template): &(i32, Template)| match (template, &older) {
            (Template::Current, Some(older)) => pod_for(&set, *ordinal, older, &current),
            _ => pod_for(&set, *ordinal, &spec.template, &update),
        };
        let pods: Vec<Pod> = plan.create.iter().map(pod_of).collect();
        let created = self.control.create(&*set, &pods).await;
        let deleted = self.control.delete(&*set, &plan.delete).await;
        let api = Api::<StatefulSet>::namespaced(self.control.client.clone(), &key.namespace);
        write_status(&api, &self.sets, &set, set.status.as_ref(), &plan::status(&observed)).await?;
        created.and(deleted)?;
        Ok(plan.recheck.map_or(Next::Change, Next::After))
    }
}

impl StatefulSetController {
    /// Brings the history up to date. `None` when this pass can't go on.
    async fn revisions(&self, set: &StatefulSet, spec: &StatefulSetSpec, pods: &[Arc<Pod>]) -> Result<Option<Revisions>, Error> {
        let status = set.status.as_ref();
        let collisions = status.and_then(|status| status.collision_count);
        let told = status.into_iter().flat_map(|status| [&status.current_revision, &status.update_revision]).flatten().cloned();
        let current = status.and_then(|status| self.history.get(set, status.current_revision.as_deref()?));
        let wanted = Wanted {
            selector: &spec.selector,
            template: &spec.template,
            collisions,
            limit: spec.revision_history_limit,
            in_use: pods.iter().map(|pod| revision_of(pod).to_owned()).chain(told).collect(),
        };
        match self.history.update(set, wanted).await? {
            Outcome::Current(update) => Ok(Some(Revisions { current: current.unwrap_or_else(|| update.clone()), update })),
            Outcome::Ending => Ok(None),
            Outcome::Collision => {
                let counted =
                    StatefulSetStatus { collision_count: Some(collisions.unwrap_or(0) + 1), ..status.cloned().unwrap_or_default() };
                let ObjectKey { namespace, .. } = ObjectKey::of(&set.metadata);
                let api = Api::<StatefulSet>::namespaced(self.control.client.clone(), &namespace);
                write_status(&api, &self.sets, set, status, &counted).await?;
                Ok(None)
            }
        }
    }
}

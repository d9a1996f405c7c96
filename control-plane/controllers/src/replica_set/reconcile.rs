//! One pass over a ReplicaSet or ReplicationController: read the stores, plan, write.

use std::collections::HashSet;
use std::sync::Arc;

use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use orknet_reconciler::pod_state::{controller_of, is_controlled_by};
use orknet_reconciler::{Error, Informer, Next, ObjectKey, Reconciler};

use super::plan::{self, Observed};
use super::replicated::Replicated;
use crate::claims;
use crate::ownership::controller_reference;
use crate::pod_control::{PodControl, describe};
use crate::pod_template::pod_from_template;
use crate::write_status::write_status;

pub(super) struct ReplicaSetController<K> {
    pub sets: Arc<Informer<K>>,
    pub control: PodControl,
}

impl<K: Replicated> Reconciler for ReplicaSetController<K> {
    type Key = ObjectKey;
    const NAME: &'static str = K::CONTROLLER;

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let Some(set) = self.sets.get(key) else { return Ok(Next::Change) };
        let (view, now) = (set.view(), Timestamp::now());
        let pods = self.control.pods.in_namespace(&key.namespace);
        let related = self.related(&set, &key.namespace);
        let plan = plan::plan(&Observed { replica_set: &view, pods, related, now });
        if !claims::settle(&self.control.client, &*set, &plan.adopt, &plan.release, &self.control.pods).await? {
            return Ok(Next::Change);
        }
        let mut failure = None;
        let template = view.spec.as_ref().and_then(|spec| spec.template.as_ref()).filter(|_| plan.create > 0);
        if let Some(template) = template
            && let Err(error) = self.create(&set, template, plan.create).await
        {
            failure = Some(("FailedCreate", error));
        }
        if let Err(error) = self.control.delete(&*set, &plan.delete).await {
            failure = Some(("FailedDelete", error));
        }
        let described = failure.as_ref().map(|(reason, error)| (*reason, describe(error)));
        let status = K::status_of(plan::status(&view, &plan.owned, described, now));
        let api = Api::<K>::namespaced(self.control.client.clone(), &key.namespace);
        write_status(&api, &self.sets, &set, set.status(), &status).await?;
        match failure {
            Some((_, error)) => Err(error),
            None => Ok(plan.recheck.map_or(Next::Change, Next::After)),
        }
    }
}

impl<K: Replicated> ReplicaSetController<K> {
    /// Uids of the sets under the same controller, this one included.
    fn related(&self, set: &K, namespace: &str) -> HashSet<String> {
        let mut uids: HashSet<String> = set.meta().uid.iter().cloned().collect();
        if let Some(owner) = controller_of(set.meta()) {
            let siblings = self.sets.in_namespace(namespace);
            let siblings = siblings.iter().filter(|sibling| is_controlled_by(sibling.meta(), &owner.uid));
            uids.extend(siblings.filter_map(|sibling| sibling.meta().uid.clone()));
        }
        uids
    }

    async fn create(&self, set: &K, template: &PodTemplateSpec, count: usize) -> Result<(), Error> {
        let namespace = set.meta().namespace.as_deref().unwrap_or_default();
        let pod = pod_from_template(namespace, template, controller_reference(set));
        self.control.create(set, &vec![pod; count]).await
    }
}

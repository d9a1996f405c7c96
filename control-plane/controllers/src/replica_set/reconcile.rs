//! One pass over a ReplicaSet: read the stores, plan, write.

use std::collections::HashSet;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use orknet_reconciler::pod_state::controller_of;
use orknet_reconciler::{Error, Informer, Next, ObjectKey, Reconciler};

use super::plan::{self, Observed};
use crate::claims;
use crate::ownership::controller_reference;
use crate::pod_control::{PodControl, describe};
use crate::pod_template::pod_from_template;
use crate::write_status::write_status;

pub(super) struct ReplicaSetController {
    pub replica_sets: Arc<Informer<ReplicaSet>>,
    pub control: PodControl,
}

impl Reconciler for ReplicaSetController {
    type Key = ObjectKey;
    const NAME: &'static str = "replicaset";

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let Some(replica_set) = self.replica_sets.get(key) else { return Ok(Next::Change) };
        let now = Timestamp::now();
        let pods = self.control.pods.in_namespace(&key.namespace);
        let related = self.related(&replica_set, &key.namespace);
        let plan = plan::plan(&Observed { replica_set: &replica_set, pods, related, now });
        if !claims::settle(&self.control.client, &*replica_set, &plan.adopt, &plan.release, &self.control.pods).await? {
            return Ok(Next::Change);
        }
        let mut failure = None;
        if plan.create > 0
            && let Err(error) = self.create(&replica_set, plan.create).await
        {
            failure = Some(("FailedCreate", error));
        }
        if let Err(error) = self.control.delete(&*replica_set, &plan.delete).await {
            failure = Some(("FailedDelete", error));
        }
        let described = failure.as_ref().map(|(reason, error)| (*reason, describe(error)));
        let status = plan::status(&replica_set, &plan.owned, described, now);
        let sets = Api::<ReplicaSet>::namespaced(self.control.client.clone(), &key.namespace);
        write_status(&sets, &self.replica_sets, &key.name, replica_set.status.as_ref(), &status).await?;
        match failure {
            Some((_, error)) => Err(error),
            None => Ok(plan.recheck.map_or(Next::Change, Next::After)),
        }
    }
}

impl ReplicaSetController {
    /// Uids of the ReplicaSets under the same controller.
    fn related(&self, replica_set: &ReplicaSet, namespace: &str) -> HashSet<String> {
        let owner = controller_of(&replica_set.metadata).map(|owner| owner.uid.clone());
        let mut uids: HashSet<String> = replica_set.metadata.uid.iter().cloned().collect();
        if let Some(owner) = owner {
            let siblings = self.replica_sets.in_namespace(namespace);
            uids.extend(
                siblings
                    .iter()
                    .filter(|sibling| controller_of(&sibling.metadata).is_some_and(|other| other.uid == owner))
                    .filter_map(|sibling| sibling.metadata.uid.clone()),
            );
        }
        uids
    }

    async fn create(&self, replica_set: &ReplicaSet, count: usize) -> Result<(), Error> {
        let Some(template) = replica_set.spec.as_ref().and_then(|spec| spec.template.as_ref()) else { return Ok(()) };
        let namespace = replica_set.metadata.namespace.as_deref().unwrap_or_default();
        let pod = pod_from_template(namespace, template, controller_reference(replica_set));
        self.control.create(replica_set, &vec![pod; count]).await
    }
}

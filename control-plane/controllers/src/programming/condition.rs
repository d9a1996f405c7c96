//! One pass over a ClusterNetworkPolicy: read the stores, plan, write the condition into its own status. Such a write moves the policy's resource
//! version, which the nodes will report in turn; what they must have come to is noted in memory, so that this goes round once only.

use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;
use kube::{Api, Client};
use orknet_reconciler::{Error, Informer, Next, ObjectKey, Reconciler};
use orknet_resources::kinds::cluster_network_policy::ClusterNetworkPolicyStatus;
use parking_lot::Mutex;

use super::conditioned::ConditionedPolicy;
use super::pace::Pace;
use super::plan;
use super::progress::Progress;
use crate::write_status::write_status;

pub(super) struct ConditionController {
    pub client: Client,
    pub policies: Arc<Informer<ConditionedPolicy>>,
    pub progress: Arc<Mutex<Progress>>,
    pub pace: Pace,
}

impl Reconciler for ConditionController {
    type Key = ObjectKey;
    const NAME: &'static str = "clusternetworkpolicy-programming";

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        if let Some((policy, status)) = self.pace.in_turn(|| self.wanted(key)).await {
            let api = Api::<ConditionedPolicy>::all(self.client.clone());
            write_status(&api, &self.policies, &*policy, policy.status.as_ref(), &status).await?;
        }
        Ok(Next::Change)
    }
}

impl ConditionController {
    /// `None` when there is nothing to write.
    fn wanted(&self, key: &ObjectKey) -> Option<(Arc<ConditionedPolicy>, ClusterNetworkPolicyStatus)> {
        let Some(policy) = self.policies.get(key).filter(|policy| policy.metadata.deletion_timestamp.is_none()) else {
            self.progress.lock().forget(key);
            return None;
        };
        let before = policy.status.as_ref().and_then(|status| status.conditions.as_ref());
        let own = plan::programmed(before);
        let (mark, verdict) = {
            let mut progress = self.progress.lock();
            let noted = progress.mark(key).cloned().or_else(|| plan::mark_of_condition(&policy.metadata, own));
            let mark = plan::mark(&policy.metadata, noted);
            progress.set_mark(key, mark.clone());
            let verdict = progress.verdict(key, mark.version);
            (mark, verdict)
        };
        let condition = plan::condition(mark.generation, &verdict, own, Timestamp::now());
        if own == Some(&condition) {
            return None;
        }
        let conditions = Some(plan::with(before, condition));
        Some((policy.clone(), ClusterNetworkPolicyStatus { conditions }))
    }
}

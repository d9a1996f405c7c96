//! The kinds that keep a number of equal pods and do nothing more: ReplicaSet, and ReplicationController, its older form, whose selector is a
//! plain map. The controller works on the form of a ReplicaSet.

use std::borrow::Cow;
use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetSpec, ReplicaSetStatus};
use k8s_openapi::api::core::v1::{ReplicationController, ReplicationControllerCondition, ReplicationControllerStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::Resource;
use orknet_reconciler::Selecting;
use serde::Serialize;

/// A kind that the controller serves.
pub(super) trait Replicated: Selecting + Resource<Scope = NamespaceResourceScope> {
    /// The controller's name in logs.
    const CONTROLLER: &'static str;
    /// Who speaks in its Events.
    const COMPONENT: &'static str;
    type Status: Serialize + Debug + Send + Sync;

    /// The object in the form of a ReplicaSet, status included.
    fn view(&self) -> Cow<'_, ReplicaSet>;
    fn status(&self) -> Option<&Self::Status>;
    fn status_of(status: ReplicaSetStatus) -> Self::Status;
}

impl Replicated for ReplicaSet {
    const CONTROLLER: &'static str = "replicaset";
    const COMPONENT: &'static str = "replicaset-controller";
    type Status = ReplicaSetStatus;

    fn view(&self) -> Cow<'_, ReplicaSet> {
        Cow::Borrowed(self)
    }

    fn status(&self) -> Option<&ReplicaSetStatus> {
        self.status.as_ref()
    }

    fn status_of(status: ReplicaSetStatus) -> ReplicaSetStatus {
        status
    }
}

impl Replicated for ReplicationController {
    const CONTROLLER: &'static str = "replicationcontroller";
    const COMPONENT: &'static str = "replication-controller";
    type Status = ReplicationControllerStatus;

    fn view(&self) -> Cow<'_, ReplicaSet> {
        let spec = self.spec.as_ref().map(|spec| ReplicaSetSpec {
            replicas: spec.replicas,
            min_ready_seconds: spec.min_ready_seconds,
            selector: LabelSelector { match_labels: spec.selector.clone(), match_expressions: None },
            template: spec.template.clone(),
        });
        let condition = |condition: &ReplicationControllerCondition| ReplicaSetCondition {
            type_: condition.type_.clone(),
            status: condition.status.clone(),
            reason: condition.reason.clone(),
            message: condition.message.clone(),
            last_transition_time: condition.last_transition_time.clone(),
        };
        let status = self.status.as_ref().map(|status| ReplicaSetStatus {
            conditions: status.conditions.as_ref().map(|conditions| conditions.iter().map(condition).collect()),
            ..ReplicaSetStatus::default()
        });
        Cow::Owned(ReplicaSet { metadata: self.metadata.clone(), spec, status })
    }

    fn status(&self) -> Option<&ReplicationControllerStatus> {
        self.status.as_ref()
    }

    fn status_of(status: ReplicaSetStatus) -> ReplicationControllerStatus {
        let condition = |condition: ReplicaSetCondition| ReplicationControllerCondition {
            type_: condition.type_,
            status: condition.status,
            reason: condition.reason,
            message: condition.message,
            last_transition_time: condition.last_transition_time,
        };
        ReplicationControllerStatus {
            replicas: status.replicas,
            fully_labeled_replicas: status.fully_labeled_replicas,
            ready_replicas: status.ready_replicas,
            available_replicas: status.available_replicas,
            observed_generation: status.observed_generation,
            conditions: status.conditions.map(|conditions| conditions.into_iter().map(condition).collect()),
        }
    }
}

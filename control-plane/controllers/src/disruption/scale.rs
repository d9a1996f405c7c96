//! How many pods the workloads behind a budget's pods are meant to have.

use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::{Pod, ReplicationController};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use orknet_reconciler::pod_state::controller_of;
use orknet_reconciler::{Informer, ObjectKey};

/// The kinds that have a scale.
pub(super) struct Workloads {
    pub deployments: Arc<Informer<Deployment>>,
    pub replica_sets: Arc<Informer<ReplicaSet>>,
    pub stateful_sets: Arc<Informer<StatefulSet>>,
    pub replication_controllers: Arc<Informer<ReplicationController>>,
}

impl Workloads {
    /// The sum of the scales of everything that controls one of the pods; pods of kinds without a scale count themselves.
    pub fn expected(&self, namespace: &str, pods: &[Arc<Pod>]) -> i32 {
        let mut scales: HashMap<String, i32> = HashMap::new();
        for pod in pods {
            let Some(owner) = controller_of(&pod.metadata) else { continue };
            match self.scale(namespace, owner) {
                Some((uid, replicas)) => drop(scales.insert(uid, replicas)),
                None => *scales.entry(owner.uid.clone()).or_default() += 1,
            }
        }
        scales.values().fold(0, |sum, replicas| sum.saturating_add(*replicas))
    }

    /// Uid and replicas of the topmost workload that the reference leads to.
    fn scale(&self, namespace: &str, owner: &OwnerReference) -> Option<(String, i32)> {
        let key = ObjectKey { namespace: namespace.into(), name: owner.name.as_str().into() };
        let found = match owner.kind.as_str() {
            "ReplicaSet" => {
                let set = self.replica_sets.get(&key).filter(|set| set.metadata.uid.as_ref() == Some(&owner.uid))?;
                let above = controller_of(&set.metadata).filter(|above| above.kind == "Deployment");
                if let Some(above) = above {
                    return self.scale(namespace, above);
                }
                (set.metadata.uid.clone(), set.spec.as_ref().and_then(|spec| spec.replicas))
            }
            "Deployment" => {
                let deployment = self.deployments.get(&key)?;
                (deployment.metadata.uid.clone(), deployment.spec.as_ref().and_then(|spec| spec.replicas))
            }
            "StatefulSet" => {
                let set = self.stateful_sets.get(&key)?;
                (set.metadata.uid.clone(), set.spec.as_ref().and_then(|spec| spec.replicas))
            }
            "ReplicationController" => {
                let controller = self.replication_controllers.get(&key)?;
                (controller.metadata.uid.clone(), controller.spec.as_ref().and_then(|spec| spec.replicas))
            }
            _ => return None,
        };
        // The same name may be another's by now.
        (found.0.as_ref() == Some(&owner.uid)).then_some((owner.uid.clone(), found.1.unwrap_or(1).max(0)))
    }
}

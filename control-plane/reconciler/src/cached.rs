//! Which kinds may be held in a shared store, and what is dropped from them before they are: the fields that no reconciler
//! reads. A pruned object must never be written back whole; reconcilers patch the fields that they own.

use std::borrow::Cow;
use std::fmt::Debug;

use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicy;
use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{
    ConfigMap, Container, Endpoints, Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod, ReplicationController, ResourceQuota,
    Secret, Service, ServiceAccount,
};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::{IPAddress, NetworkPolicy, ServiceCIDR};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::ClusterRole;
use k8s_openapi::api::scheduling::v1::PriorityClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::core::PartialObjectMeta;
use orknet_resources::kinds::cluster_network_policy::ClusterNetworkPolicy;
use orknet_resources::kinds::programming::{NetworkPolicyStatus, NodeProgramming, ServiceStatus};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// A kind that the shared store can hold.
pub trait Cached: Resource<DynamicType = ()> + DeserializeOwned + Clone + Debug + Send + Sync + 'static {
    /// The objects that reconcilers look at, where these are not all (`metadata.name=…`).
    const FIELDS: Option<&'static str> = None;

    /// Drops what no reconciler reads. By default the field-ownership records.
    fn prune(&mut self) {
        self.meta_mut().managed_fields = None;
    }
}

macro_rules! cached {
    ($($kind:ty),* $(,)?) => { $(impl Cached for $kind {})* };
}

cached!(
    CertificateSigningRequest,
    ClusterNetworkPolicy,
    ClusterRole,
    ControllerRevision,
    DaemonSet,
    Deployment,
    ReplicaSet,
    StatefulSet,
    CronJob,
    Job,
    Lease,
    Endpoints,
    HorizontalPodAutoscaler,
    IPAddress,
    Namespace,
    NetworkPolicyStatus,
    NodeProgramming,
    PartialObjectMeta<NetworkPolicy>,
    PersistentVolume,
    PersistentVolumeClaim,
    PodDisruptionBudget,
    ReplicationController,
    ResourceQuota,
    Service,
    ServiceAccount,
    ServiceCIDR,
    ServiceStatus,
    PriorityClass,
    ValidatingAdmissionPolicy,
);

impl Cached for ConfigMap {
    /// Those with the root certificate: nobody else's are anybody's business.
    const FIELDS: Option<&'static str> = Some("metadata.name=kube-root-ca.crt");
}

/// The ConfigMaps named `cluster-info`: a view of the kind of its own, since a watch selects by one name.
#[derive(Clone, Debug, Deserialize)]
#[serde(transparent)]
pub struct ClusterInfo(pub ConfigMap);

impl Resource for ClusterInfo {
    type DynamicType = ();
    type Scope = <ConfigMap as Resource>::Scope;

    fn kind(known: &()) -> Cow<'_, str> {
        ConfigMap::kind(known)
    }

    fn group(known: &()) -> Cow<'_, str> {
        ConfigMap::group(known)
    }

    fn version(known: &()) -> Cow<'_, str> {
        ConfigMap::version(known)
    }

    fn plural(known: &()) -> Cow<'_, str> {
        ConfigMap::plural(known)
    }

    fn meta(&self) -> &ObjectMeta {
        &self.0.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.0.metadata
    }
}

impl Cached for ClusterInfo {
    const FIELDS: Option<&'static str> = Some("metadata.name=cluster-info");
}

impl Cached for Secret {
    /// Tokens alone are looked at; what others keep secret is kept out of memory.
    fn prune(&mut self) {
        self.metadata.managed_fields = None;
        let is_token = matches!(self.type_.as_deref(), Some("bootstrap.kubernetes.io/token" | "kubernetes.io/service-account-token"));
        if !is_token {
            self.data = None;
            self.metadata.annotations = None;
        }
    }
}

impl Cached for EndpointSlice {
    /// Room that decoding left over goes too: lists of endpoints and addresses grow by doubling, and there may be hundreds of thousands.
    fn prune(&mut self) {
        self.metadata.managed_fields = None;
        self.endpoints.iter_mut().for_each(|endpoint| endpoint.addresses.shrink_to_fit());
        self.endpoints.shrink_to_fit();
    }
}

impl Cached for Node {
    /// Volumes in use are for storage controllers; image names are kept (the scheduler scores by them).
    fn prune(&mut self) {
        self.metadata.managed_fields = None;
        if let Some(status) = &mut self.status {
            status.volumes_attached = None;
            status.volumes_in_use = None;
            status.config = None;
        }
    }
}

impl Cached for Pod {
    /// Keeps scheduling constraints, ports, resources and state; drops what only the kubelet reads.
    fn prune(&mut self) {
        self.metadata.managed_fields = None;
        if let Some(spec) = &mut self.spec {
            spec.containers.iter_mut().for_each(prune_container);
            spec.init_containers.iter_mut().flatten().for_each(prune_container);
            spec.ephemeral_containers = None;
            spec.image_pull_secrets = None;
            spec.dns_config = None;
            spec.host_aliases = None;
            spec.security_context = None;
            if let Some(volumes) = &mut spec.volumes {
                volumes.retain(|volume| volume.persistent_volume_claim.is_some() || volume.ephemeral.is_some());
            }
        }
    }
}

fn prune_container(container: &mut Container) {
    *container = Container {
        name: std::mem::take(&mut container.name),
        image: container.image.take(),
        ports: container.ports.take(),
        resources: container.resources.take(),
        restart_policy: container.restart_policy.take(),
        ..Container::default()
    };
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_slice_takes_no_more_room_than_its_endpoints() {
        let endpoints = vec![json!({"addresses": ["10.0.0.1"]}); 9];
        let slice = json!({"addressType": "IPv4", "endpoints": endpoints, "metadata": {"managedFields": [{"manager": "m"}]}});
        let mut slice: EndpointSlice = serde_json::from_value(json!(slice)).unwrap();
        slice.prune();
        assert_eq!((slice.endpoints.capacity(), slice.endpoints[8].addresses.capacity()), (9, 1));
        assert_eq!(slice.metadata.managed_fields, None);
    }
}

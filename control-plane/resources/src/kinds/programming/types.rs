//! The objects of `networking.orknet.io/v1alpha1`. What an agent writes about its node, and what the control plane sums up of it.

use crate::typed::own::{self, own_kind};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, MicroTime, ObjectMeta};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the kernel of one node has been given. Written by the agent of the node, whose name the object has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "io.orknet.networking.v1alpha1.NodeProgramming", transform = own::schema)]
pub struct NodeProgramming {
    /// The version of the schema of this object.
    #[serde(default = "own::api_version::<NodeProgramming>")]
    pub api_version: String,
    /// The kind of this object.
    #[serde(default = "own::kind::<NodeProgramming>")]
    pub kind: String,
    /// Standard object's metadata. The name is that of the node.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// What the node has been given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<NodeProgrammingStatus>,
}

/// What the kernel of a node has been given.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "io.orknet.networking.v1alpha1.NodeProgrammingStatus", transform = own::schema)]
pub struct NodeProgrammingStatus {
    /// For each kind that the agent watches, how far the kernel has come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["kind"]))]
    pub programmed: Option<Vec<ProgrammedKind>>,
    /// The objects that are not in force on this node though the kernel has come as far as their version, each with the reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub failed: Option<Vec<FailedObject>>,
    /// The kinds with which the kernel comes no farther though there is more, each with the reason: what belongs to no single object of the kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["kind"]))]
    pub behind: Option<Vec<BehindKind>>,
    /// When the agent saw what it reports here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_time: Option<MicroTime>,
}

/// How far the kernel of a node has come with the objects of one kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(rename = "io.orknet.networking.v1alpha1.ProgrammedKind", transform = own::schema,
    extend("required" = ["kind", "resourceVersion"]))]
pub struct ProgrammedKind {
    /// The kind: NetworkPolicy, ClusterNetworkPolicy, Service, EndpointSlice, Pod, Namespace, Node.
    pub kind: String,
    /// The highest resource version of the kind that is in the kernel: every object of the kind as it was at this version is in force, but
    /// for those in `failed`. Compared as a number.
    pub resource_version: String,
}

/// A kind with whose newer versions the kernel of a node does not come along.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(rename = "io.orknet.networking.v1alpha1.BehindKind", transform = own::schema, extend("required" = ["kind"]))]
pub struct BehindKind {
    /// The kind.
    pub kind: String,
    /// What holds it up, for people.
    pub message: String,
}

/// An object that is not in force on a node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(rename = "io.orknet.networking.v1alpha1.FailedObject", transform = own::schema,
    extend("required" = ["kind", "name"]))]
pub struct FailedObject {
    /// The object's kind.
    pub kind: String,
    /// The object's namespace; absent for an object that is in none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The object's name.
    pub name: String,
    /// Why it is not in force, for people.
    pub message: String,
}

/// Whether the NetworkPolicy of the same name is in force on the nodes. Written by the control plane; goes with the policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "io.orknet.networking.v1alpha1.NetworkPolicyStatus", transform = own::schema)]
pub struct NetworkPolicyStatus {
    /// The version of the schema of this object.
    #[serde(default = "own::api_version::<NetworkPolicyStatus>")]
    pub api_version: String,
    /// The kind of this object.
    #[serde(default = "own::kind::<NetworkPolicyStatus>")]
    pub kind: String,
    /// Standard object's metadata. Name and namespace are those of the policy.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// How far the nodes have come with the policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<ProgrammingStatus>,
}

/// Whether the Service of the same name is in force on the nodes. Written by the control plane; goes with the Service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "io.orknet.networking.v1alpha1.ServiceStatus", transform = own::schema)]
pub struct ServiceStatus {
    /// The version of the schema of this object.
    #[serde(default = "own::api_version::<ServiceStatus>")]
    pub api_version: String,
    /// The kind of this object.
    #[serde(default = "own::kind::<ServiceStatus>")]
    pub kind: String,
    /// Standard object's metadata. Name and namespace are those of the Service.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// How far the nodes have come with the Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<ProgrammingStatus>,
}

/// How far the nodes have come with one object.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "io.orknet.networking.v1alpha1.ProgrammingStatus", transform = own::schema)]
pub struct ProgrammingStatus {
    /// The generation of the object that this speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The object's resource version when this generation was first seen: what nodes must have come to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_resource_version: Option<String>,
    /// On how many nodes of how many the object is in force: `2/3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<String>,
    /// `Programmed`: whether the object is in force on every node. Its message names nodes that lack it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"],
        "x-kubernetes-patch-strategy" = "merge", "x-kubernetes-patch-merge-key" = "type"))]
    pub conditions: Option<Vec<Condition>>,
}

own_kind!(NodeProgramming, "networking.orknet.io", "v1alpha1", "nodeprogrammings", ClusterResourceScope);
own_kind!(NetworkPolicyStatus, "networking.orknet.io", "v1alpha1", "networkpolicystatuses", NamespaceResourceScope);
own_kind!(ServiceStatus, "networking.orknet.io", "v1alpha1", "servicestatuses", NamespaceResourceScope);

//! The objects of `policy.networking.k8s.io/v1alpha2`, as the Network Policy API has them. Every part may be absent and every choice is a text:
//! an object of a later version is still read, and what this version does not know of it is for the reader to fail closed on.

use crate::typed::own::{self, own_kind};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector, ObjectMeta};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// ClusterNetworkPolicy is a network policy of the whole cluster, above (tier Admin) or below (tier Baseline) the NetworkPolicies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "io.k8s.networking.policy.v1alpha2.ClusterNetworkPolicy", transform = own::schema,
    extend("required" = ["spec"]))]
pub struct ClusterNetworkPolicy {
    /// The version of the schema of this object.
    #[serde(default = "own::api_version::<ClusterNetworkPolicy>")]
    pub api_version: String,
    /// The kind of this object.
    #[serde(default = "own::kind::<ClusterNetworkPolicy>")]
    pub kind: String,
    /// Standard object's metadata.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// The desired behaviour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spec: Option<ClusterNetworkPolicySpec>,
    /// What the implementation reports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<ClusterNetworkPolicyStatus>,
}

/// The desired behaviour of a ClusterNetworkPolicy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(rename = "io.k8s.networking.policy.v1alpha2.ClusterNetworkPolicySpec", transform = own::schema,
    extend("required" = ["tier", "priority", "subject"]))]
pub struct ClusterNetworkPolicySpec {
    /// When the policy is looked at: Admin before every NetworkPolicy, which cannot override it; Baseline after them, for connections of pods
    /// that no NetworkPolicy selects in the direction. What no tier decides is allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["Admin", "Baseline"]))]
    pub tier: Option<String>,
    /// The policy's place in its tier, from 0 to 1000: lower values are looked at first. Which of two policies of one tier and one priority is
    /// looked at first is not defined.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000))]
    pub priority: Option<i32>,
    /// The pods that the policy is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<Subject>,
    /// Rules for connections to the selected pods, at most 25. The first that matches decides. Without rules, such connections are not
    /// affected.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 25), extend("x-kubernetes-list-type" = "atomic"))]
    pub ingress: Option<Vec<IngressRule>>,
    /// Rules for connections from the selected pods, at most 25. The first that matches decides. Without rules, such connections are not
    /// affected.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 25), extend("x-kubernetes-list-type" = "atomic"))]
    pub egress: Option<Vec<EgressRule>>,
}

/// What the implementation reports of a ClusterNetworkPolicy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(rename = "io.k8s.networking.policy.v1alpha2.ClusterNetworkPolicyStatus", transform = own::schema)]
pub struct ClusterNetworkPolicyStatus {
    /// `Programmed`: whether the policy is in force on every node.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"],
        "x-kubernetes-patch-strategy" = "merge", "x-kubernetes-patch-merge-key" = "type"))]
    pub conditions: Option<Vec<Condition>>,
}

/// The pods that a policy is for. Exactly one field must be set. Pods in the host's network are never selected.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(rename = "io.k8s.networking.policy.v1alpha2.ClusterNetworkPolicySubject", transform = own::schema,
    extend("minProperties" = 1, "maxProperties" = 1))]
pub struct Subject {
    /// All pods of the selected namespaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<LabelSelector>,
    /// The selected pods of the selected namespaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pods: Option<NamespacedPod>,
}

/// A rule of one direction: what rules of both have, and the peers. (The name of the schema is a `tt`, as derives take no literal from a macro.)
macro_rules! rule {
    ($(#[$about:meta])* $rule:ident as $schema:tt, $(#[$of_peers:meta])* $peers:ident: $peer:ident) => {
        $(#[$about])*
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "camelCase", default)]
        #[schemars(rename = $schema, transform = own::schema, extend("required" = ["action", stringify!($peers)]))]
        pub struct $rule {
            /// What the rule is called in what is told of it; at most 100 characters.
            #[serde(skip_serializing_if = "Option::is_none")]
            #[schemars(length(max = 100))]
            pub name: Option<String>,
            /// What becomes of a connection that matches: Accept, Deny, or Pass: no further rule of this tier, the next tier decides.
            #[serde(skip_serializing_if = "Option::is_none")]
            #[schemars(extend("enum" = ["Accept", "Deny", "Pass"]))]
            pub action: Option<String>,
            $(#[$of_peers])*
            #[serde(skip_serializing_if = "Option::is_none")]
            #[schemars(length(min = 1, max = 25), extend("x-kubernetes-list-type" = "atomic"))]
            pub $peers: Option<Vec<$peer>>,
            /// Protocols and ports: the rule matches if any of these does. Absent: all; else 1 to 25.
            #[serde(skip_serializing_if = "Option::is_none")]
            #[schemars(length(min = 1, max = 25), extend("x-kubernetes-list-type" = "atomic"))]
            pub protocols: Option<Vec<Protocol>>,
        }
    };
}

/// The other ends of a direction's connections: what peers of both have, and more fields.
macro_rules! peer {
    ($(#[$about:meta])* $peer:ident as $schema:tt, $($more:tt)*) => {
        $(#[$about])*
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "camelCase", default)]
        #[schemars(rename = $schema, transform = own::schema, extend("minProperties" = 1, "maxProperties" = 1))]
        pub struct $peer {
            /// All pods of the selected namespaces, but those in the host's network.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub namespaces: Option<LabelSelector>,
            /// The selected pods of the selected namespaces, but those in the host's network.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub pods: Option<NamespacedPod>,
            $($more)*
        }
    };
}

rule! {
    /// A rule for connections to the selected pods.
    IngressRule as "io.k8s.networking.policy.v1alpha2.ClusterNetworkPolicyIngressRule",
    /// Where the connection comes from: the rule matches if any of these does. 1 to 25.
    from: IngressPeer
}

rule! {
    /// A rule for connections from the selected pods.
    EgressRule as "io.k8s.networking.policy.v1alpha2.ClusterNetworkPolicyEgressRule",
    /// Where the connection goes to: the rule matches if any of these does. 1 to 25.
    to: EgressPeer
}

peer! {
    /// Where connections come from. Exactly one field must be set. A peer without any is of a later version: a rule to accept matches nothing by it,
    /// any other rule denies everything.
    IngressPeer as "io.k8s.networking.policy.v1alpha2.ClusterNetworkPolicyIngressPeer",
}

peer! {
    /// Where connections go to. Exactly one field must be set. A peer without any is of a later version: a rule to accept matches nothing by it,
    /// any other rule denies everything.
    EgressPeer as "io.k8s.networking.policy.v1alpha2.ClusterNetworkPolicyEgressPeer",
    /// The addresses (`status.addresses`) of the selected nodes; empty selects all nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nodes: Option<LabelSelector>,
    /// Address ranges (`10.0.0.0/8`, `fd00::/8`), 1 to 25, no one twice. Pods inside of a range match as well.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 25), inner(length(max = 43)), extend("x-kubernetes-list-type" = "set"))]
    pub networks: Option<Vec<String>>,
    /// Domain names, 1 to 25, no one twice: `kubernetes.io` is that name alone, `*.kubernetes.io` is every name below it. Only in rules with
    /// action Accept.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 25), extend("x-kubernetes-list-type" = "set"))]
    pub domain_names: Option<Vec<String>>,
}

/// Pods of namespaces, both by their labels.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(rename = "io.k8s.networking.policy.v1alpha2.NamespacedPod", transform = own::schema,
    extend("required" = ["podSelector"]))]
pub struct NamespacedPod {
    /// The namespaces; empty or absent selects all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<LabelSelector>,
    /// The pods; empty selects all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_selector: Option<LabelSelector>,
}

/// A protocol and its ports. Exactly one field must be set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(rename = "io.k8s.networking.policy.v1alpha2.ClusterNetworkPolicyProtocol", transform = own::schema,
    extend("minProperties" = 1, "maxProperties" = 1))]
pub struct Protocol {
    /// TCP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp: Option<Ports>,
    /// UDP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub udp: Option<Ports>,
    /// SCTP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sctp: Option<Ports>,
    /// The port of that name of the destination's pod, with the protocol that it has there. Not beside peers that have no named ports: nodes,
    /// networks, domainNames.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination_named_port: Option<String>,
}

/// What of a protocol must match; at least one field must be set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(rename = "io.k8s.networking.policy.v1alpha2.ClusterNetworkPolicyProtocolPorts", transform = own::schema,
    extend("minProperties" = 1))]
pub struct Ports {
    /// The destination's port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination_port: Option<Port>,
}

/// A port or a range of ports. Exactly one field must be set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(rename = "io.k8s.networking.policy.v1alpha2.Port", transform = own::schema,
    extend("minProperties" = 1, "maxProperties" = 1))]
pub struct Port {
    /// One port, 1 to 65535.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub number: Option<i32>,
    /// Several ports that follow one another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range: Option<PortRange>,
}

/// The ports from `start` to `end`, both included; `start` must be less than `end`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(rename = "io.k8s.networking.policy.v1alpha2.PortRange", transform = own::schema,
    extend("required" = ["start", "end"]))]
pub struct PortRange {
    /// The first port, 1 to 65535.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub start: Option<i32>,
    /// The last port, 1 to 65535.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub end: Option<i32>,
}

own_kind!(ClusterNetworkPolicy, "policy.networking.k8s.io", "v1alpha2", "clusternetworkpolicies", ClusterResourceScope);

//! ClusterNetworkPolicy (policy.networking.k8s.io/v1alpha2) as JSON, read part by part: a part with a field that this version does not know is
//! not understood, and the rest still is. Source: apis/v1alpha2/clusternetworkpolicy_types.go of kubernetes-sigs/network-policy-api.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// The object. Reading one never fails for what its spec says.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct ClusterNetworkPolicy {
    #[serde(default)]
    pub metadata: ObjectMeta,
    #[serde(default)]
    pub spec: Value,
}

impl k8s_openapi::Resource for ClusterNetworkPolicy {
    const API_VERSION: &'static str = "policy.networking.k8s.io/v1alpha2";
    const GROUP: &'static str = "policy.networking.k8s.io";
    const KIND: &'static str = "ClusterNetworkPolicy";
    const VERSION: &'static str = "v1alpha2";
    const URL_PATH_SEGMENT: &'static str = "clusternetworkpolicies";
    type Scope = k8s_openapi::ClusterResourceScope;
}

impl k8s_openapi::Metadata for ClusterNetworkPolicy {
    type Ty = ObjectMeta;

    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn metadata_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// A part of it; `None` if it is not understood.
pub(crate) fn read<T: DeserializeOwned>(value: &Value) -> Option<T> {
    T::deserialize(value).ok()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct SpecText {
    #[serde(default)]
    pub tier: Value,
    #[serde(default)]
    pub priority: Value,
    #[serde(default)]
    pub subject: Value,
    #[serde(default)]
    pub ingress: Value,
    #[serde(default)]
    pub egress: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct SubjectText {
    pub namespaces: Option<LabelSelectorText>,
    pub pods: Option<NamespacedPodText>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct LabelSelectorText {
    pub match_labels: Option<BTreeMap<String, String>>,
    pub match_expressions: Option<Vec<ExpressionText>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ExpressionText {
    pub key: String,
    pub operator: String,
    pub values: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct NamespacedPodText {
    #[serde(default)]
    pub namespace_selector: LabelSelectorText,
    #[serde(default)]
    pub pod_selector: LabelSelectorText,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RuleText {
    pub name: Option<String>,
    /// Looked at before.
    #[serde(rename = "action")]
    _action: Value,
    pub from: Option<Vec<Value>>,
    pub to: Option<Vec<Value>>,
    pub protocols: Option<Vec<Value>>,
}

/// Of both directions.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct PeerText {
    pub namespaces: Option<LabelSelectorText>,
    pub pods: Option<NamespacedPodText>,
    pub nodes: Option<LabelSelectorText>,
    pub networks: Option<Vec<String>>,
    pub domain_names: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ProtocolText {
    pub tcp: Option<PortText>,
    pub udp: Option<PortText>,
    pub sctp: Option<PortText>,
    pub destination_named_port: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct PortText {
    pub destination_port: Option<DestinationPortText>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct DestinationPortText {
    pub number: Option<i32>,
    pub range: Option<PortRangeText>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct PortRangeText {
    pub start: i32,
    pub end: i32,
}

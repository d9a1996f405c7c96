//! NodeMetrics, PodMetrics (`metrics.k8s.io/v1beta1`): what nodes and pods use. Made when they are asked for, never stored, never written.

use crate::contract::{Column, Descriptor};
use crate::quantity::Quantity as Amount;
use crate::table;
use crate::typed::own::{self, own_kind};
use crate::typed::{Kind, cluster, namespaced};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// NodeMetrics sets resource usage metrics of a node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "io.k8s.metrics.pkg.apis.metrics.v1beta1.NodeMetrics", transform = own::schema, extend("required" = ["timestamp", "window", "usage"]))]
pub struct NodeMetrics {
    /// The version of the schema of this object.
    #[serde(default = "own::api_version::<NodeMetrics>")]
    pub api_version: String,
    /// The kind of this object.
    #[serde(default = "own::kind::<NodeMetrics>")]
    pub kind: String,
    /// Standard object's metadata. The name is that of the node.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// The end of the interval over which the usage was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<Time>,
    /// The length of the interval over which the usage was measured.
    #[serde(default)]
    pub window: String,
    /// What was used, by resource; memory is the working set.
    #[serde(default)]
    pub usage: BTreeMap<String, Quantity>,
}

/// PodMetrics sets resource usage metrics of a pod.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "io.k8s.metrics.pkg.apis.metrics.v1beta1.PodMetrics", transform = own::schema, extend("required" = ["timestamp", "window", "containers"]))]
pub struct PodMetrics {
    /// The version of the schema of this object.
    #[serde(default = "own::api_version::<PodMetrics>")]
    pub api_version: String,
    /// The kind of this object.
    #[serde(default = "own::kind::<PodMetrics>")]
    pub kind: String,
    /// Standard object's metadata. Name, namespace and labels are those of the pod.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// The end of the interval over which the usage was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<Time>,
    /// The length of the interval over which the usage was measured.
    #[serde(default)]
    pub window: String,
    /// What each container used.
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub containers: Vec<ContainerMetrics>,
}

/// ContainerMetrics sets resource usage metrics of a container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(rename = "io.k8s.metrics.pkg.apis.metrics.v1beta1.ContainerMetrics", transform = own::schema, extend("required" = ["name", "usage"]))]
pub struct ContainerMetrics {
    /// The container's name as the pod has it.
    pub name: String,
    /// What was used, by resource; memory is the working set.
    pub usage: BTreeMap<String, Quantity>,
}

own_kind!(NodeMetrics, "metrics.k8s.io", "v1beta1", "nodes", ClusterResourceScope);
own_kind!(PodMetrics, "metrics.k8s.io", "v1beta1", "pods", NamespaceResourceScope);

pub struct NodeMetricsKind;
pub struct PodMetricsKind;

const VERBS: &[&str] = &["get", "list"];

/// The resources have the order of their names, as with metrics-server.
const COLUMNS: &[Column] = &[
    table::NAME,
    table::column("cpu", "string", "quantity", "", 0),
    table::column("memory", "string", "quantity", "", 0),
    table::column("Window", "string", "duration", "", 0),
];

impl Kind for NodeMetricsKind {
    type Object = NodeMetrics;

    const DESCRIPTOR: Descriptor = Descriptor { verbs: VERBS, ..cluster::<NodeMetrics>("nodes", "nodemetrics") };
    const COLUMNS: &'static [Column] = COLUMNS;

    fn cells(object: &NodeMetrics, _: i64) -> Vec<Value> {
        cells(&object.metadata, [&object.usage], &object.window)
    }
}

impl Kind for PodMetricsKind {
    type Object = PodMetrics;

    const DESCRIPTOR: Descriptor = Descriptor { verbs: VERBS, ..namespaced::<PodMetrics>("pods", "podmetrics") };
    const COLUMNS: &'static [Column] = COLUMNS;

    fn cells(object: &PodMetrics, _: i64) -> Vec<Value> {
        cells(&object.metadata, object.containers.iter().map(|container| &container.usage), &object.window)
    }
}

fn cells<'a>(metadata: &ObjectMeta, usages: impl IntoIterator<Item = &'a BTreeMap<String, Quantity>> + Clone, window: &str) -> Vec<Value> {
    let sum = |resource: &str| {
        let amounts = usages.clone().into_iter().filter_map(|usage| Amount::parse(&usage.get(resource)?.0).ok());
        Value::from(amounts.reduce(Amount::plus).map(Amount::text).unwrap_or_default())
    };
    vec![table::name(metadata), sum("cpu"), sum("memory"), window.into()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_pods_row_has_the_sum_of_its_containers() {
        let object = json!({
            "metadata": { "name": "p" },
            "window": "15.5s",
            "containers": [
                { "name": "a", "usage": { "cpu": "1500u", "memory": "10Ki" } },
                { "name": "b", "usage": { "cpu": "700n", "memory": "1014Ki" } },
            ],
        });
        let object: PodMetrics = serde_json::from_value(object).unwrap();
        assert_eq!(PodMetricsKind::cells(&object, 0), ["p", "1500700n", "1Mi", "15.5s"]);
        let node: NodeMetrics = serde_json::from_value(json!({ "metadata": { "name": "n" }, "usage": { "cpu": "2" } })).unwrap();
        assert_eq!(NodeMetricsKind::cells(&node, 0), ["n", "2", "", ""]);
    }
}

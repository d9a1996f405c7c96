//! `GET /stats/summary`: resource use of the node's pods, as the runtime counts it.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use crate::cri::labels;
use crate::cri::proto::ContainerStats;
use crate::pods::{Context, PodKey};

/// Answers with what is used now.
pub(super) async fn summary(State(context): State<Arc<Context>>) -> Response {
    match context.cri.list_stats().await {
        Ok(stats) => Json(build(&context.config.node_name, &stats)).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

fn build(node: &str, stats: &[ContainerStats]) -> Value {
    let mut pods: BTreeMap<PodKey, Vec<Value>> = BTreeMap::new();
    for one in stats {
        let Some(attributes) = &one.attributes else { continue };
        let Some(pod) = labels::pod_of(&attributes.labels) else { continue };
        pods.entry(pod).or_default().push(container(attributes.labels.get(labels::CONTAINER_NAME), one));
    }
    let pods: Vec<Value> = pods
        .into_iter()
        .map(|(pod, containers)| {
            let sum = |part: &str, field: &str| -> u64 { containers.iter().filter_map(|c| c[part][field].as_u64()).sum() };
            json!({
                "podRef": {"name": pod.name, "namespace": pod.namespace, "uid": pod.uid},
                "cpu": {"usageNanoCores": sum("cpu", "usageNanoCores"), "usageCoreNanoSeconds": sum("cpu", "usageCoreNanoSeconds")},
                "memory": {"workingSetBytes": sum("memory", "workingSetBytes"), "usageBytes": sum("memory", "usageBytes")},
                "containers": containers,
            })
        })
        .collect();
    json!({"node": {"nodeName": node}, "pods": pods})
}

fn container(name: Option<&String>, stats: &ContainerStats) -> Value {
    let cpu = stats.cpu.unwrap_or_default();
    let memory = stats.memory.unwrap_or_default();
    let value = |v: Option<crate::cri::proto::UInt64Value>| v.map(|v| v.value);
    let time = |nanoseconds: i64| Timestamp::from_nanosecond(i128::from(nanoseconds)).map(|t| t.to_string()).unwrap_or_default();
    json!({
        "name": name,
        "cpu": {"time": time(cpu.timestamp), "usageNanoCores": value(cpu.usage_nano_cores), "usageCoreNanoSeconds": value(cpu.usage_core_nano_seconds)},
        "memory": {"time": time(memory.timestamp), "workingSetBytes": value(memory.working_set_bytes), "usageBytes": value(memory.usage_bytes), "rssBytes": value(memory.rss_bytes)},
    })
}

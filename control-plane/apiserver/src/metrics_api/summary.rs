//! A kubelet's answer to `/stats/summary`, as far as it is used here. Pure.

use super::samples::{Counters, NodeSample, PodSample};
use k8s_openapi::jiff::Timestamp;
use serde::Deserialize;

#[derive(Deserialize)]
struct Summary {
    node: Node,
    #[serde(default)]
    pods: Vec<Pod>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Node {
    #[serde(default)]
    start_time: Option<Timestamp>,
    cpu: Option<Cpu>,
    memory: Option<Memory>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Pod {
    pod_ref: PodRef,
    #[serde(default)]
    containers: Vec<Container>,
}

#[derive(Deserialize)]
struct PodRef {
    name: String,
    namespace: String,
    uid: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Container {
    name: String,
    #[serde(default)]
    start_time: Option<Timestamp>,
    cpu: Option<Cpu>,
    memory: Option<Memory>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Cpu {
    time: Timestamp,
    usage_core_nano_seconds: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Memory {
    working_set_bytes: Option<u64>,
}

/// Reads a summary. Nodes and containers without both processor and memory are left out, and with a container its pod.
///
/// # Errors
/// It is none.
pub fn parse(bytes: &[u8]) -> Result<NodeSample, serde_json::Error> {
    let summary: Summary = serde_json::from_slice(bytes)?;
    let node = counters(summary.node.start_time, summary.node.cpu, summary.node.memory);
    let pods = summary.pods.into_iter().filter_map(|pod| {
        let containers = pod
            .containers
            .into_iter()
            .map(|container| Some((container.name, counters(container.start_time, container.cpu, container.memory)?)));
        let sample = PodSample { uid: pod.pod_ref.uid, containers: containers.collect::<Option<_>>()? };
        Some(((pod.pod_ref.namespace, pod.pod_ref.name), sample))
    });
    Ok(NodeSample { node, pods: pods.collect() })
}

fn counters(started: Option<Timestamp>, cpu: Option<Cpu>, memory: Option<Memory>) -> Option<Counters> {
    let cpu = cpu?;
    let nanoseconds = |time: Timestamp| u64::try_from(time.as_nanosecond()).unwrap_or_default();
    Some(Counters {
        started: started.map(nanoseconds).unwrap_or_default(),
        at: nanoseconds(cpu.time),
        cpu: cpu.usage_core_nano_seconds?,
        memory: memory?.working_set_bytes?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_summary_becomes_counters_and_what_is_not_whole_is_left_out() {
        let cpu = json!({ "time": "1970-01-01T00:00:02Z", "usageCoreNanoSeconds": 5, "usageNanoCores": 1 });
        let memory = json!({ "time": "1970-01-01T00:00:02Z", "workingSetBytes": 7 });
        let container = json!({ "name": "c", "startTime": "1970-01-01T00:00:01Z", "cpu": cpu, "memory": memory });
        let pod = |name: &str, containers| json!({ "podRef": { "name": name, "namespace": "n", "uid": "u" }, "containers": containers });
        let sample = parse(
            json!({
                "node": { "nodeName": "x", "cpu": cpu, "memory": memory },
                "pods": [pod("whole", json!([container])), pod("half", json!([container, { "name": "d", "cpu": cpu }]))],
            })
            .to_string()
            .as_bytes(),
        )
        .expect("a summary");
        assert_eq!(sample.node, Some(Counters { started: 0, at: 2_000_000_000, cpu: 5, memory: 7 }));
        let key = ("n".to_owned(), "whole".to_owned());
        assert_eq!(sample.pods.keys().collect::<Vec<_>>(), [&key]);
        assert_eq!(sample.pods[&key].containers["c"].started, 1_000_000_000);
        assert!(parse(b"text").is_err());
    }
}

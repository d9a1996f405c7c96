//! The two documents. Pure.

use std::fmt::Write;

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::measured::{Measured, Reading};

/// `Summary` of `k8s.io/kubelet/pkg/apis/stats/v1alpha1`: the parts about processor, memory and the node's disk.
pub fn summary(measured: &Measured) -> Value {
    let pods = measured.pods.iter().map(|pod| {
        let containers = pod.containers.iter().map(|container| {
            let mut shown = usage(container.reading);
            shown["name"] = json!(container.name);
            shown["startTime"] = json!(time(container.started));
            shown
        });
        let mut shown = usage(pod.reading);
        shown["podRef"] = json!({ "name": pod.key.name, "namespace": pod.key.namespace, "uid": pod.key.uid });
        shown["startTime"] = json!(time(pod.containers.iter().map(|container| container.started).min().unwrap_or_default()));
        shown["containers"] = containers.collect();
        shown
    });
    let pods: Value = pods.collect();
    let mut node = usage(measured.node);
    node["nodeName"] = json!(measured.node_name);
    node["startTime"] = json!(time(measured.started));
    if let Some(disk) = measured.disk {
        node["fs"] = json!({
            "time": measured.node.map(|reading| time(reading.at)),
            "availableBytes": disk.available,
            "capacityBytes": disk.size,
            "inodesFree": disk.inodes_free,
            "inodes": disk.inodes,
        });
    }
    json!({ "node": node, "pods": pods })
}

/// `cpu` and `memory`; nothing where the cgroup could not be read.
fn usage(reading: Option<Reading>) -> Value {
    let Some(Reading { at, usage, nano_cores }) = reading else { return json!({}) };
    let time = time(at);
    let mut cpu = json!({ "time": time, "usageCoreNanoSeconds": usage.cpu_nanoseconds });
    if let Some(nano_cores) = nano_cores {
        cpu["usageNanoCores"] = json!(nano_cores);
    }
    json!({
        "cpu": cpu,
        "memory": {
            "time": time,
            "usageBytes": usage.memory_bytes,
            "workingSetBytes": usage.working_set_bytes,
            "rssBytes": usage.rss_bytes,
        },
    })
}

fn time(nanoseconds: u64) -> String {
    Timestamp::from_nanosecond(i128::from(nanoseconds)).map(|time| time.to_string()).unwrap_or_default()
}

/// The resource metrics; of nothing when nothing could be read.
pub fn resource(measured: Option<&Measured>) -> String {
    let mut text = String::new();
    let node = measured.and_then(|measured| measured.node);
    let pods = || measured.into_iter().flat_map(|measured| &measured.pods);
    let pod_lines =
        || pods().filter_map(|pod| Some((format!("{{namespace=\"{}\",pod=\"{}\"}}", pod.key.namespace, pod.key.name), pod.reading?)));
    let container_lines = || {
        pods().flat_map(|pod| {
            pod.containers.iter().filter_map(|container| {
                let (name, key) = (&container.name, &pod.key);
                let labels = format!("{{container=\"{name}\",namespace=\"{}\",pod=\"{}\"}}", key.namespace, key.name);
                Some((labels, container.started, container.reading?))
            })
        })
    };
    let cpu = |reading: Reading| seconds(reading.usage.cpu_nanoseconds);
    let memory = |reading: Reading| reading.usage.working_set_bytes.to_string();
    // Writing to a string cannot fail.
    let mut family = |name: &str, help: &str, kind: &str, lines: Vec<(String, String, Option<u64>)>| {
        if lines.is_empty() {
            return;
        }
        let _ = writeln!(text, "# HELP {name} [STABLE] {help}\n# TYPE {name} {kind}");
        for (labels, value, at) in lines {
            let at = at.map(|at| format!(" {}", at / 1_000_000)).unwrap_or_default();
            let _ = writeln!(text, "{name}{labels} {value}{at}");
        }
    };
    let containers = |value: fn(Reading) -> String| {
        container_lines().map(|(labels, _, reading)| (labels, value(reading), Some(reading.at))).collect::<Vec<_>>()
    };
    let of_pods =
        |value: fn(Reading) -> String| pod_lines().map(|(labels, reading)| (labels, value(reading), Some(reading.at))).collect::<Vec<_>>();
    let of_node =
        |value: fn(Reading) -> String| node.iter().map(|reading| (String::new(), value(*reading), Some(reading.at))).collect::<Vec<_>>();
    family(
        "container_cpu_usage_seconds_total",
        "Cumulative cpu time consumed by the container in core-seconds",
        "counter",
        containers(cpu),
    );
    family("container_memory_working_set_bytes", "Current working set of the container in bytes", "gauge", containers(memory));
    let started = container_lines().map(|(labels, started, _)| (labels, seconds(started), None)).collect();
    family("container_start_time_seconds", "Start time of the container since unix epoch in seconds", "gauge", started);
    family("node_cpu_usage_seconds_total", "Cumulative cpu time consumed by the node in core-seconds", "counter", of_node(cpu));
    family("node_memory_working_set_bytes", "Current working set of the node in bytes", "gauge", of_node(memory));
    family("pod_cpu_usage_seconds_total", "Cumulative cpu time consumed by the pod in core-seconds", "counter", of_pods(cpu));
    family("pod_memory_working_set_bytes", "Current working set of the pod in bytes", "gauge", of_pods(memory));
    let failed = u8::from(node.is_none()).to_string();
    family(
        "resource_scrape_error",
        "1 if there was an error while getting container metrics, 0 otherwise",
        "gauge",
        vec![(String::new(), failed, None)],
    );
    text
}

/// Nanoseconds as seconds, no digit lost.
fn seconds(nanoseconds: u64) -> String {
    format!("{}.{:09}", nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000)
}

#[cfg(test)]
mod tests {
    use super::super::measured::{ContainerReading, PodReading};
    use super::*;
    use crate::cgroups::Usage;
    use crate::pods::PodKey;

    fn measured() -> Measured {
        let reading = |cpu_nanoseconds, nano_cores| {
            let usage = Usage { cpu_nanoseconds, memory_bytes: 100, working_set_bytes: 70, rss_bytes: 30 };
            Some(Reading { at: 1_700_000_000_123_456_789, usage, nano_cores })
        };
        let containers = vec![
            ContainerReading { name: "c".into(), started: 1_600_000_000_500_000_000, reading: reading(2_500_000_001, None) },
            ContainerReading { name: "gone".into(), started: 1_600_000_001_000_000_000, reading: None },
        ];
        let key = PodKey { namespace: "n".into(), name: "p".into(), uid: "u".into() };
        let pods = vec![PodReading { key, reading: reading(3_000_000_000, Some(7)), containers }];
        Measured { node_name: "node".into(), node: reading(9_000_000_000, Some(5)), started: 1_500_000_000_000_000_000, disk: None, pods }
    }

    #[test]
    fn a_summary_tells_of_node_pods_and_containers() {
        let summary = summary(&measured());
        let cpu = json!({ "time": "2023-11-14T22:13:20.123456789Z", "usageCoreNanoSeconds": 9_000_000_000_u64, "usageNanoCores": 5 });
        assert_eq!((&summary["node"]["nodeName"], &summary["node"]["cpu"]), (&json!("node"), &cpu));
        let pod = &summary["pods"][0];
        assert_eq!(pod["podRef"], json!({ "name": "p", "namespace": "n", "uid": "u" }));
        assert_eq!((&pod["startTime"], &pod["memory"]["workingSetBytes"]), (&json!("2020-09-13T12:26:40.5Z"), &json!(70)));
        let cpu = json!({ "time": "2023-11-14T22:13:20.123456789Z", "usageCoreNanoSeconds": 2_500_000_001_u64 });
        assert_eq!(pod["containers"][0]["cpu"], cpu, "no rate at first");
        assert_eq!(pod["containers"][1], json!({ "name": "gone", "startTime": "2020-09-13T12:26:41Z" }));
    }

    #[test]
    fn resource_metrics_have_the_names_and_labels_of_kubernetes() {
        let text = resource(Some(&measured()));
        for line in [
            "# TYPE container_cpu_usage_seconds_total counter",
            "container_cpu_usage_seconds_total{container=\"c\",namespace=\"n\",pod=\"p\"} 2.500000001 1700000000123",
            "container_memory_working_set_bytes{container=\"c\",namespace=\"n\",pod=\"p\"} 70 1700000000123",
            "container_start_time_seconds{container=\"c\",namespace=\"n\",pod=\"p\"} 1600000000.500000000",
            "node_cpu_usage_seconds_total 9.000000000 1700000000123",
            "pod_memory_working_set_bytes{namespace=\"n\",pod=\"p\"} 70 1700000000123",
            "resource_scrape_error 0",
        ] {
            assert!(text.lines().any(|known| known == line), "{line}\n{text}");
        }
        assert!(!text.contains("gone"), "{text}");
        assert_eq!(resource(None).lines().last(), Some("resource_scrape_error 1"));
    }
}

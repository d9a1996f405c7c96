//! Nodes and pods for tests: a usual one, with changes merged in.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod};
use serde_json::{Value, json};

/// A ready node with 2 CPUs, 4 GiB and room for 110 pods, in zone `z`.
pub(crate) fn node(name: &str, changes: Value) -> Arc<Node> {
    let labels = json!({"kubernetes.io/hostname": name, "topology.kubernetes.io/zone": "z"});
    let mut node = json!({
        "metadata": {"name": name, "labels": labels},
        "spec": {},
        "status": {"allocatable": {"cpu": "2", "memory": "4Gi", "pods": "110"}},
    });
    merge(&mut node, changes);
    Arc::new(serde_json::from_value(node).unwrap())
}

/// A pending pod `name` (also its uid) that asks for 100m CPU and 64 MiB.
pub(crate) fn pod(name: &str, changes: Value) -> Arc<Pod> {
    let mut pod = json!({
        "metadata": {"name": name, "namespace": "default", "uid": name, "labels": {"app": "web"}},
        "spec": {"containers": [{"name": "c", "image": "i", "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}}}]},
    });
    merge(&mut pod, changes);
    Arc::new(serde_json::from_value(pod).unwrap())
}

/// The changes that make a pod ask for so much CPU.
pub(crate) fn asking(cpu: &str) -> Value {
    json!({"spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]}})
}

fn merge(into: &mut Value, changes: Value) {
    match (into, changes) {
        (Value::Object(into), Value::Object(changes)) => {
            changes.into_iter().for_each(|(key, value)| merge(into.entry(key).or_insert(Value::Null), value));
        }
        (into, changes) => *into = changes,
    }
}

//! Values of `fieldRef` and `resourceFieldRef`: what the downward API tells a container about its own pod. Pure.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Container, Pod, ResourceFieldSelector};

use crate::quantity::{divided, nanos};

/// Facts that are not in the pod object: addresses of the node and the sandbox, and what the node can give.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Name of the node.
    pub node_name: String,
    /// The node's addresses, the primary one first.
    pub host_ips: Vec<IpAddr>,
    /// The pod's addresses, the primary one first.
    pub pod_ips: Vec<IpAddr>,
    /// Allocatable CPU of the node in thousandths.
    pub cpu_milli: i64,
    /// Allocatable memory of the node in bytes.
    pub memory_bytes: i64,
    /// Allocatable local storage of the node in bytes.
    pub storage_bytes: i64,
}

/// The value of a field path, or none when the path is not one of the supported ones.
pub fn field(pod: &Pod, facts: &Facts, path: &str) -> Option<String> {
    let meta = &pod.metadata;
    if let Some((map, key)) = subscript(path) {
        let map = match map {
            "metadata.labels" => &meta.labels,
            "metadata.annotations" => &meta.annotations,
            _ => return None,
        };
        return Some(map.as_ref().and_then(|m| m.get(key)).cloned().unwrap_or_default());
    }
    Some(match path {
        "metadata.name" => meta.name.clone().unwrap_or_default(),
        "metadata.namespace" => meta.namespace.clone().unwrap_or_default(),
        "metadata.uid" => meta.uid.clone().unwrap_or_default(),
        "metadata.labels" => lines(meta.labels.as_ref()),
        "metadata.annotations" => lines(meta.annotations.as_ref()),
        "spec.nodeName" => facts.node_name.clone(),
        "spec.serviceAccountName" => pod.spec.as_ref().and_then(|s| s.service_account_name.clone()).unwrap_or_else(|| "default".to_owned()),
        "spec.restartPolicy" => pod.spec.as_ref().and_then(|s| s.restart_policy.clone()).unwrap_or_default(),
        "status.hostIP" => facts.host_ips.first().map(ToString::to_string).unwrap_or_default(),
        "status.hostIPs" => join(&facts.host_ips),
        "status.podIP" => facts.pod_ips.first().map(ToString::to_string).unwrap_or_default(),
        "status.podIPs" => join(&facts.pod_ips),
        _ => return None,
    })
}

/// The value of a resource field, or none when it names an unknown container or resource. `container` is the default container.
pub fn resource(pod: &Pod, container: Option<&Container>, facts: &Facts, selector: &ResourceFieldSelector) -> Option<String> {
    let named = selector.container_name.as_deref().filter(|n| !n.is_empty());
    let container = match named {
        Some(name) => {
            pod.spec.as_ref().and_then(|s| s.containers.iter().chain(s.init_containers.iter().flatten()).find(|c| c.name == name))?
        }
        None => container?,
    };
    let (list, resource) = selector.resource.split_once('.')?;
    let resources = container.resources.as_ref();
    let set = match list {
        "limits" => resources.and_then(|r| r.limits.as_ref()),
        "requests" => resources.and_then(|r| r.requests.as_ref()),
        _ => return None,
    };
    let set = set.and_then(|m| m.get(resource)).and_then(|q| nanos(&q.0)).filter(|n| *n != 0);
    let fallback = || -> Option<i128> {
        let allocatable = match resource {
            "cpu" => i128::from(facts.cpu_milli) * 1_000_000,
            "memory" => i128::from(facts.memory_bytes) * 1_000_000_000,
            "ephemeral-storage" => i128::from(facts.storage_bytes) * 1_000_000_000,
            other if other.starts_with("hugepages-") => 0,
            _ => return None,
        };
        // A missing limit is all the node has; a missing request is nothing.
        Some(if list == "limits" { allocatable } else { 0 })
    };
    let amount = match set {
        Some(amount) => amount,
        None => fallback()?,
    };
    Some(divided(amount, selector.divisor.as_ref()).to_string())
}

/// Splits `a.b['key']` into `a.b` and `key`.
fn subscript(path: &str) -> Option<(&str, &str)> {
    let (map, rest) = path.split_once("['")?;
    Some((map, rest.strip_suffix("']")?))
}

/// A map as lines `key="value"`, sorted, with the value quoted and escaped.
fn lines(map: Option<&BTreeMap<String, String>>) -> String {
    let lines: Vec<String> = map.into_iter().flatten().map(|(k, v)| format!("{k}={}", quoted(v))).collect();
    lines.join("\n")
}

fn quoted(value: &str) -> String {
    let mut out = String::with_capacity(value.len() + 2);
    out.push('"');
    for c in value.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn join(ips: &[IpAddr]) -> String {
    ips.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod() -> Pod {
        serde_json::from_value(serde_json::json!({
            "metadata": {"name": "p", "namespace": "n", "uid": "u", "labels": {"b": "2", "a": "x\"y\nz"}},
            "spec": {"serviceAccountName": "sa", "containers": [
                {"name": "c", "resources": {"limits": {"cpu": "1500m", "memory": "64Mi"}, "requests": {"cpu": "250m"}}},
                {"name": "d"}]}
        }))
        .unwrap()
    }

    fn facts() -> Facts {
        Facts {
            node_name: "node".into(),
            host_ips: vec!["192.0.2.1".parse().unwrap()],
            pod_ips: vec!["10.0.0.2".parse().unwrap(), "fd00::2".parse().unwrap()],
            cpu_milli: 2000,
            memory_bytes: 1 << 30,
            storage_bytes: 0,
        }
    }

    #[test]
    fn field_paths_have_their_values() {
        for (path, want) in [
            ("metadata.name", Some("p")),
            ("metadata.namespace", Some("n")),
            ("metadata.uid", Some("u")),
            ("metadata.labels", Some("a=\"x\\\"y\\nz\"\nb=\"2\"")),
            ("metadata.labels['b']", Some("2")),
            ("metadata.annotations['none']", Some("")),
            ("spec.nodeName", Some("node")),
            ("spec.serviceAccountName", Some("sa")),
            ("status.hostIP", Some("192.0.2.1")),
            ("status.podIP", Some("10.0.0.2")),
            ("status.podIPs", Some("10.0.0.2,fd00::2")),
            ("status.phase", None),
            ("spec['x']", None),
        ] {
            assert_eq!(field(&pod(), &facts(), path).as_deref(), want, "{path}");
        }
    }

    #[test]
    fn resource_fields_default_to_the_node_or_to_nothing() {
        let pod = pod();
        let containers = &pod.spec.as_ref().unwrap().containers;
        for (container, text, want) in [
            (0, r#"{"resource": "limits.cpu"}"#, Some("2")),
            (0, r#"{"resource": "limits.cpu", "divisor": "1m"}"#, Some("1500")),
            (0, r#"{"resource": "requests.cpu", "divisor": "1m"}"#, Some("250")),
            (0, r#"{"resource": "limits.memory", "divisor": "1Mi"}"#, Some("64")),
            (1, r#"{"resource": "limits.cpu"}"#, Some("2")),
            (1, r#"{"resource": "requests.memory"}"#, Some("0")),
            (1, r#"{"resource": "limits.memory", "containerName": "c"}"#, Some("67108864")),
            (1, r#"{"resource": "limits.memory", "containerName": "x"}"#, None),
            (1, r#"{"resource": "limits.gpu"}"#, None),
            (1, r#"{"resource": "cpu"}"#, None),
        ] {
            let selector = serde_json::from_str(text).unwrap();
            assert_eq!(resource(&pod, Some(&containers[container]), &facts(), &selector).as_deref(), want, "{text}");
        }
    }
}

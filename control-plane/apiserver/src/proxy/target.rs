//! Where a pod's streams are: its node's kubelet, and the path there. Pure but for looking the node up in the cache.

use crate::call::Call;
use crate::error::ApiError;
use crate::object;
use serde_json::Value;

/// A kubelet's address and the path to ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeTarget {
    /// Name of the node; the kubelet's certificate is for it.
    pub node: String,
    /// Address or host name.
    pub host: String,
    pub port: u16,
    /// `/containerLogs/ns/pod/container?follow=true`, `/exec/…`, `/attach/…`, `/portForward/ns/pod`.
    pub path_and_query: String,
}

/// Port of a kubelet that does not tell its own.
const KUBELET_PORT: u16 = 10250;
/// In this order, as Kubernetes' `--kubelet-preferred-address-types`.
const ADDRESS_TYPES: [&str; 3] = ["InternalIP", "ExternalIP", "Hostname"];

/// The kubelet for a call on a pod. 400 when the pod is on no node or the container is not clear.
pub fn find(call: &Call, pod: &Value, query: &str) -> Result<NodeTarget, ApiError> {
    let node_name = object::text(pod, "/spec/nodeName");
    let (namespace, name) = (object::namespace(pod), object::name(pod));
    if node_name.is_empty() {
        return Err(ApiError::bad_request(format!("pod {name} does not have a host assigned")));
    }
    let (host, port) = kubelet(call, node_name)?;
    let path = match &call.path.subresource[..] {
        "portforward" => format!("/portForward/{namespace}/{name}"),
        other => {
            let container = container(pod, query)?;
            let folder = if other == "log" { "containerLogs" } else { other };
            format!("/{folder}/{namespace}/{name}/{container}")
        }
    };
    let path_and_query = if query.is_empty() { path } else { format!("{path}?{query}") };
    Ok(NodeTarget { node: node_name.to_owned(), host, port, path_and_query })
}

/// Where the kubelet of a node listens.
pub fn kubelet(call: &Call, node_name: &str) -> Result<(String, u16), ApiError> {
    let node = call.server.storage.caches.get(("", "nodes"), "", node_name);
    let node = node.ok_or_else(|| ApiError::not_found_resource("", "nodes", node_name))?.value();
    kubelet_of(&node).ok_or_else(|| ApiError::unavailable(format!("node {node_name} has no address yet")))
}

/// The same of a Node that is at hand; `None` while it has no address.
pub fn kubelet_of(node: &Value) -> Option<(String, u16)> {
    let host = address(node)?;
    let port = node.pointer("/status/daemonEndpoints/kubeletEndpoint/Port").and_then(Value::as_u64);
    let port = port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0).unwrap_or(KUBELET_PORT);
    Some((host, port))
}

fn address(node: &Value) -> Option<String> {
    let addresses = node.pointer("/status/addresses").and_then(Value::as_array)?;
    ADDRESS_TYPES.iter().find_map(|wanted| {
        let found = addresses.iter().find(|address| address.get("type").and_then(Value::as_str) == Some(wanted))?;
        found.get("address").and_then(Value::as_str).map(str::to_owned)
    })
}

/// The container in the query, or the pod's default or only one.
fn container(pod: &Value, query: &str) -> Result<String, ApiError> {
    let names = |list: &str| -> Vec<&str> {
        let containers = pod.pointer(&format!("/spec/{list}")).and_then(Value::as_array).into_iter().flatten();
        containers.filter_map(|container| container.get("name").and_then(Value::as_str)).collect()
    };
    let (main, init) = (names("containers"), names("initContainers"));
    let pod_name = object::name(pod);
    let asked = form_urlencoded::parse(query.as_bytes())
        .find(|(key, value)| key == "container" && !value.is_empty())
        .map(|(_, value)| value.into_owned());
    if let Some(asked) = asked {
        let known = main.iter().chain(&init).chain(&names("ephemeralContainers")).any(|name| *name == asked);
        return if known { Ok(asked) } else { Err(ApiError::bad_request(format!("container {asked} is not valid for pod {pod_name}"))) };
    }
    let default = object::text(pod, "/metadata/annotations/kubectl.kubernetes.io~1default-container");
    match &main[..] {
        [only] => Ok((*only).to_owned()),
        _ if main.contains(&default) => Ok(default.to_owned()),
        _ => {
            let inits = if init.is_empty() { String::new() } else { format!(" or one of the init containers: [{}]", init.join(" ")) };
            Err(ApiError::bad_request(format!(
                "a container name must be specified for pod {pod_name}, choose one of: [{}]{inits}",
                main.join(" ")
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_container_must_be_clear() {
        let pod = |names: &[&str]| json!({ "metadata": { "name": "p" }, "spec": { "containers": names.iter().map(|name| json!({ "name": name })).collect::<Vec<_>>() } });
        assert_eq!(container(&pod(&["a"]), "").ok().as_deref(), Some("a"));
        assert_eq!(container(&pod(&["a", "b"]), "container=b").ok().as_deref(), Some("b"));
        let error = container(&pod(&["a", "b"]), "").expect_err("ambiguous");
        assert_eq!(error.message(), "a container name must be specified for pod p, choose one of: [a b]");
        assert_eq!(container(&pod(&["a"]), "container=x").expect_err("unknown").code(), 400);
    }

    #[test]
    fn internal_addresses_come_first() {
        let node =
            json!({ "status": { "addresses": [{ "type": "Hostname", "address": "n" }, { "type": "InternalIP", "address": "10.0.0.1" }] } });
        assert_eq!(address(&node).as_deref(), Some("10.0.0.1"));
        assert_eq!(address(&json!({})), None);
    }
}

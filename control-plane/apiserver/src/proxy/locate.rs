//! What is behind a pod, Service or node: the address that a request through its `proxy` goes to. Reads the objects; decides nothing else.

use super::NodeTarget;
use super::address::{Named, is_elsewhere, is_of_a_pod};
use super::target;
use crate::call::Call;
use crate::error::ApiError;
use crate::kinds::StoredAs;
use crate::object;
use crate::storage::keys;
use rand::seq::SliceRandom;
use serde_json::Value;
use std::net::IpAddr;

const PODS: StoredAs = ("", "pods");
const SLICES: StoredAs = ("discovery.k8s.io", "endpointslices");

/// Where a request goes.
#[derive(Debug, PartialEq, Eq)]
pub enum Place {
    /// To a node's kubelet, whose certificate is seen to.
    Kubelet(NodeTarget),
    Backend(Backend),
}

#[derive(Debug, PartialEq, Eq)]
pub struct Backend {
    pub https: bool,
    pub host: IpAddr,
    /// As it was asked for: a number, or nothing for the scheme's own.
    pub port: String,
}

impl Backend {
    /// `host:port` as a URL has it.
    pub fn authority(&self) -> String {
        let host = match self.host {
            IpAddr::V4(v4) => v4.to_string(),
            IpAddr::V6(v6) => format!("[{v6}]"),
        };
        if self.port.is_empty() { host } else { format!("{host}:{}", self.port) }
    }

    /// The port; `None` for a name, which is none here.
    pub fn number(&self) -> Option<u16> {
        match &self.port[..] {
            "" => Some(if self.https { 443 } else { 80 }),
            port => port.parse().ok(),
        }
    }
}

/// Where the object that a call names leads.
pub async fn find(call: &Call) -> Result<Place, ApiError> {
    let (id, singular) = (&call.path.name, call.names().singular);
    let named = Named::parse(id).ok_or_else(|| ApiError::bad_request(format!("invalid {singular} request {id:?}")))?;
    match call.names().plural {
        "pods" => of_pod(&object(call, named.name).await?, named).map(Place::Backend),
        "services" => {
            let service = object(call, named.name).await?;
            let slices = call.server.storage.caches.of(SLICES).map(|cache| cache.snapshot(call.namespace()).objects);
            let mut slices: Vec<Value> = (slices.into_iter().flatten())
                .filter(|slice| slice.label("kubernetes.io/service-name") == Some(named.name))
                .map(|slice| slice.value())
                .collect();
            slices.shuffle(&mut rand::rng());
            let is_pods = |pod: &str, address: &str| {
                let pod = call.server.storage.caches.get(PODS, call.namespace(), pod).map(|pod| pod.value());
                pod.is_some_and(|pod| addresses(&pod).any(|known| known == address))
            };
            of_service(&service, &slices, named, id, is_pods).map(Place::Backend)
        }
        _ => of_node(call, named).await,
    }
}

async fn object(call: &Call, name: &str) -> Result<Value, ApiError> {
    let found = call.server.storage.get(&keys::object(call.names().stored_as, call.namespace(), name)).await?;
    found.map(|found| found.object).ok_or_else(|| ApiError::not_found(call.names(), name))
}

fn addresses(pod: &Value) -> impl Iterator<Item = &str> {
    let all = pod.pointer("/status/podIPs").and_then(Value::as_array).into_iter().flatten();
    all.filter_map(|entry| entry.get("ip").and_then(Value::as_str))
}

/// A pod's address, and the port that is asked for or its first one.
fn of_pod(pod: &Value, named: Named<'_>) -> Result<Backend, ApiError> {
    let containers = pod.pointer("/spec/containers").and_then(Value::as_array).into_iter().flatten();
    let first = containers.filter_map(|container| container.pointer("/ports/0/containerPort")).find_map(Value::as_u64);
    let port = if named.port.is_empty() { first.map(|port| port.to_string()).unwrap_or_default() } else { named.port.to_owned() };
    let address = addresses(pod).next().and_then(|address| address.parse().ok()).filter(|address| is_of_a_pod(*address));
    let host = address.ok_or_else(|| ApiError::bad_request("address not allowed"))?;
    Ok(Backend { https: named.https, host, port })
}

/// The first ready endpoint that serves the port, is a pod of the Service's namespace, and has the address of that pod (`is_pods`): who may write endpoints
/// does not by that reach whatever the server reaches.
fn of_service(
    service: &Value,
    slices: &[Value],
    named: Named<'_>,
    id: &str,
    is_pods: impl Fn(&str, &str) -> bool,
) -> Result<Backend, ApiError> {
    let mut port_name = named.port;
    if let Ok(number) = named.port.parse::<u64>() {
        let ports = service.pointer("/spec/ports").and_then(Value::as_array).into_iter().flatten();
        let mut with_number = ports.filter(|port| port.get("port").and_then(Value::as_u64) == Some(number));
        let why = || ApiError::unavailable(format!("no service port {number} found for service {:?}", named.name));
        port_name = object::text(with_number.next().ok_or_else(why)?, "/name");
    }
    for slice in slices {
        let list = |field: &str| slice.get(field).and_then(Value::as_array).into_iter().flatten();
        let port = list("ports").find(|port| object::text(port, "/name") == port_name);
        let Some(port) = port.and_then(|port| port.get("port")).and_then(Value::as_u64) else { continue };
        let mut ready: Vec<&Value> =
            list("endpoints").filter(|endpoint| endpoint.pointer("/conditions/ready").and_then(Value::as_bool) != Some(false)).collect();
        ready.shuffle(&mut rand::rng());
        for endpoint in ready {
            let target = (object::text(endpoint, "/targetRef/kind"), object::text(endpoint, "/targetRef/namespace"));
            let of_namespace = target == ("Pod", object::namespace(service));
            let Some(address) = endpoint.pointer("/addresses/0").and_then(Value::as_str) else { continue };
            if !of_namespace || !is_pods(object::text(endpoint, "/targetRef/name"), address) {
                continue;
            }
            if let Some(host) = address.parse().ok().filter(|address| is_of_a_pod(*address)) {
                return Ok(Backend { https: named.https, host, port: port.to_string() });
            }
        }
    }
    Err(ApiError::unavailable(format!("no endpoints available for service {id:?}")))
}

/// The kubelet, where no other port than its own is asked for; else that port of the node.
async fn of_node(call: &Call, named: Named<'_>) -> Result<Place, ApiError> {
    let (host, kubelet_port) = target::kubelet(call, named.name)?;
    let resolved = tokio::net::lookup_host((&host[..], kubelet_port)).await.map(Iterator::collect::<Vec<_>>);
    let resolved = resolved.map_err(|error| ApiError::bad_request(format!("lookup {host}: {error}")))?;
    let Some(first) = resolved.first().filter(|_| resolved.iter().all(|address| is_elsewhere(address.ip()))) else {
        return Err(ApiError::bad_request(if resolved.is_empty() { "No addresses for hostname" } else { "address not allowed" }));
    };
    if named.port.is_empty() || named.port == kubelet_port.to_string() {
        let node = named.name.to_owned();
        return Ok(Place::Kubelet(NodeTarget { node, host: first.ip().to_string(), port: kubelet_port, path_and_query: String::new() }));
    }
    Ok(Place::Backend(Backend { https: named.https, host: first.ip(), port: named.port.to_owned() }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn named(id: &str) -> Named<'_> {
        Named::parse(id).expect("a name")
    }

    #[test]
    fn a_pods_first_port_is_meant_where_none_is_named() {
        let pod = |ip: &str| {
            json!({
                "spec": { "containers": [{ "name": "a" }, { "name": "b", "ports": [{ "containerPort": 8080 }, { "containerPort": 9 }] }] },
                "status": { "podIPs": [{ "ip": ip }] },
            })
        };
        let authority =
            |pod: &Value, id| of_pod(pod, named(id)).map(|backend| backend.authority()).map_err(|error| error.message().to_owned());
        assert_eq!(authority(&pod("10.0.0.1"), "p").as_deref(), Ok("10.0.0.1:8080"));
        assert_eq!(authority(&pod("fd00::1"), "https:p:1").as_deref(), Ok("[fd00::1]:1"));
        assert_eq!(authority(&json!({ "status": { "podIPs": [{ "ip": "10.0.0.1" }] } }), "p").as_deref(), Ok("10.0.0.1"));
        for pod in [pod("127.0.0.1"), pod("169.254.169.254"), pod(""), json!({})] {
            assert_eq!(authority(&pod, "p").expect_err("not asked"), "address not allowed", "{pod}");
        }
    }

    #[test]
    fn a_service_leads_to_a_ready_pod_of_its_own() {
        let service = json!({ "metadata": { "name": "s", "namespace": "n" }, "spec": { "ports": [{ "name": "web", "port": 80 }] } });
        let endpoint = |address: &str, namespace: &str, ready: bool| json!({ "addresses": [address], "conditions": { "ready": ready }, "targetRef": { "kind": "Pod", "namespace": namespace, "name": address } });
        let slice = |endpoints: Value| json!({ "ports": [{ "name": "web", "port": 8080 }], "endpoints": endpoints });
        let find = |id: &str, endpoints: Value| {
            let found = of_service(&service, &[slice(endpoints)], named(id), id, |pod, address| pod == address);
            found.map(|backend| backend.authority()).map_err(|error| (error.code(), error.message().to_owned()))
        };
        let good = json!([endpoint("10.0.0.1", "n", false), endpoint("10.0.0.2", "other", true), endpoint("10.0.0.3", "n", true)]);
        for id in ["s:web", "s:80", "http:s:80"] {
            assert_eq!(find(id, good.clone()).as_deref(), Ok("10.0.0.3:8080"), "{id}");
        }
        // As with Kubernetes, a port without a name is the one that has none.
        let none = |id: &str| Err((503, format!("no endpoints available for service {id:?}")));
        assert_eq!(find("s", good.clone()), none("s"));
        assert_eq!(find("s:81", good), Err((503, "no service port 81 found for service \"s\"".to_owned())));
        let mut foreign = endpoint("10.0.0.4", "n", true);
        foreign["targetRef"]["name"] = json!("another");
        let unfit = json!([foreign, { "addresses": ["10.0.0.5"] }, endpoint("127.0.0.1", "n", true)]);
        assert_eq!(find("s:web", unfit), none("s:web"));
    }
}

//! What `kubectl get services` shows.

use crate::contract::Column;
use crate::selector;
use crate::table::{self, text, wide};
use crate::typed::or_empty;
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use serde_json::Value;

pub const COLUMNS: &[Column] = &[
    table::NAME,
    text("Type", "How the service is exposed"),
    text("Cluster-IP", "Address inside the cluster"),
    text("External-IP", "Addresses outside of the cluster"),
    text("Port(s)", "Ports, with node ports where there are"),
    table::AGE,
    wide("Selector", "Labels of the pods behind the service"),
];

pub fn cells(service: &Service, now: i64) -> Vec<Value> {
    let spec = or_empty(&service.spec);
    vec![
        table::name(&service.metadata),
        spec.type_.as_deref().unwrap_or_default().into(),
        table::or_none(spec.cluster_ips.as_ref().and_then(|ips| ips.first()).or(spec.cluster_ip.as_ref()).map(String::as_str)),
        external(service, &spec).into(),
        table::joined(spec.ports.iter().flatten().map(port)).into(),
        table::age(&service.metadata, now),
        selector::labels_shown(spec.selector.as_ref()).into(),
    ]
}

fn port(port: &ServicePort) -> String {
    let protocol = port.protocol.as_deref().unwrap_or("TCP");
    match port.node_port.filter(|n| *n > 0) {
        Some(node_port) => format!("{}:{node_port}/{protocol}", port.port),
        None => format!("{}/{protocol}", port.port),
    }
}

fn external(service: &Service, spec: &ServiceSpec) -> String {
    let own = spec.external_ips.clone().unwrap_or_default();
    match spec.type_.as_deref() {
        Some("LoadBalancer") => {
            let ingress = service.status.iter().flat_map(|s| &s.load_balancer).flat_map(|l| l.ingress.iter().flatten());
            let mut all: Vec<String> =
                ingress.filter_map(|i| i.ip.clone().filter(|ip| !ip.is_empty()).or_else(|| i.hostname.clone())).collect();
            all.extend(own);
            if all.is_empty() { "<pending>".to_owned() } else { all.join(",") }
        }
        Some("ExternalName") => spec.external_name.clone().unwrap_or_default(),
        Some("ClusterIP" | "NodePort") | None => table::joined(own),
        Some(_) => "<unknown>".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Service as Kind;
    use crate::contract::Resource;
    use crate::typed::Typed;
    use serde_json::json;

    #[test]
    fn addresses_and_ports_are_shown_by_type() {
        for (spec, status, expected) in [
            (
                json!({"type": "ClusterIP", "clusterIP": "10.0.0.1", "ports": [{"port": 80, "protocol": "TCP"}], "selector": {"a": "b"}}),
                json!({}),
                ["ClusterIP", "10.0.0.1", "<none>", "80/TCP", "a=b"],
            ),
            (
                json!({"type": "NodePort", "clusterIP": "10.0.0.1", "ports": [{"port": 80, "nodePort": 30080}, {"port": 53, "protocol": "UDP"}]}),
                json!({}),
                ["NodePort", "10.0.0.1", "<none>", "80:30080/TCP,53/UDP", "<none>"],
            ),
            (json!({"type": "LoadBalancer"}), json!({}), ["LoadBalancer", "<none>", "<pending>", "<none>", "<none>"]),
            (
                json!({"type": "LoadBalancer", "externalIPs": ["192.0.2.2"]}),
                json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}),
                ["LoadBalancer", "<none>", "192.0.2.1,192.0.2.2", "<none>", "<none>"],
            ),
            (json!({"type": "ExternalName", "externalName": "a.b"}), json!({}), ["ExternalName", "<none>", "a.b", "<none>", "<none>"]),
        ] {
            let mut cells = Typed::<Kind>::NEW.cells(&json!({"metadata": {"name": "s"}, "spec": spec, "status": status}), 0);
            cells.remove(5);
            assert_eq!(cells[1..], expected);
        }
    }
}

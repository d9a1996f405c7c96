//! Defaults of services.

use k8s_openapi::api::core::v1::{ClientIPConfig, Service, ServiceSpec, SessionAffinityConfig};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// Seconds that a client keeps its endpoint.
const AFFINITY_SECONDS: i32 = 10_800;

/// The status: an address of a load balancer is one that packets carry, unless it says otherwise (`ipMode`, KEP-1860).
pub fn status(object: &mut Service) {
    let balanced = object.spec.as_ref().is_some_and(|spec| spec.type_.as_deref() == Some("LoadBalancer"));
    // The empty status is always shown.
    let status = object.status.get_or_insert_default().load_balancer.get_or_insert_default();
    for entry in status.ingress.iter_mut().flatten().filter(|_| balanced) {
        if entry.ip.as_ref().is_some_and(|ip| !ip.is_empty()) && entry.ip_mode.is_none() {
            entry.ip_mode = Some("VIP".to_owned());
        }
    }
}

pub fn spec(spec: &mut ServiceSpec) {
    text(&mut spec.session_affinity, "None");
    match spec.session_affinity.as_deref() {
        Some("None") => spec.session_affinity_config = None,
        Some("ClientIP") => {
            let config = spec.session_affinity_config.get_or_insert_with(SessionAffinityConfig::default);
            let client = config.client_ip.get_or_insert_with(ClientIPConfig::default);
            client.timeout_seconds.get_or_insert(AFFINITY_SECONDS);
        }
        _ => {}
    }
    text(&mut spec.type_, "ClusterIP");
    for port in spec.ports.iter_mut().flatten() {
        text(&mut port.protocol, "TCP");
        let unset = match &port.target_port {
            None | Some(IntOrString::Int(0)) => true,
            Some(IntOrString::String(name)) => name.is_empty(),
            Some(IntOrString::Int(_)) => false,
        };
        if unset {
            port.target_port = Some(IntOrString::Int(port.port));
        }
        if port.node_port == Some(0) {
            port.node_port = None;
        }
    }
    let kind = spec.type_.clone().unwrap_or_default();
    let external = matches!(kind.as_str(), "NodePort" | "LoadBalancer") || (kind == "ClusterIP" && has_some(spec.external_ips.as_ref()));
    if external {
        text(&mut spec.external_traffic_policy, "Cluster");
    }
    if matches!(kind.as_str(), "ClusterIP" | "NodePort" | "LoadBalancer") {
        text(&mut spec.internal_traffic_policy, "Cluster");
    }
    if kind == "LoadBalancer" {
        spec.allocate_load_balancer_node_ports.get_or_insert(true);
    }
    // `clusterIP` and `clusterIPs` say the same; the first of the list is the single one.
    match (spec.cluster_ip.as_deref().unwrap_or_default(), spec.cluster_ips.as_deref().unwrap_or_default()) {
        ("", [first, ..]) => spec.cluster_ip = Some(first.clone()),
        ("", []) => (spec.cluster_ip, spec.cluster_ips) = (None, None),
        (ip, []) => spec.cluster_ips = Some(vec![ip.to_owned()]),
        _ => {}
    }
}

fn has_some(list: Option<&Vec<String>>) -> bool {
    list.is_some_and(|l| !l.is_empty())
}

fn text(value: &mut Option<String>, default: &str) {
    if value.as_ref().is_none_or(String::is_empty) {
        *value = Some(default.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::super::Service;
    use crate::contract::Resource;
    use crate::typed::Typed;
    use serde_json::{Value, json};

    fn decoded(spec: Value) -> Value {
        Typed::<Service>::NEW.decode(json!({"metadata": {"name": "a"}, "spec": spec})).unwrap().object
    }

    #[test]
    fn the_smallest_service_gets_all_its_defaults() {
        let object = decoded(json!({"ports": [{"port": 80}]}));
        assert_eq!(
            object["spec"],
            json!({"internalTrafficPolicy": "Cluster", "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}],
                "sessionAffinity": "None", "type": "ClusterIP"})
        );
        assert_eq!(object["status"], json!({"loadBalancer": {}}));
    }

    #[test]
    fn types_have_their_own_defaults() {
        let spec = decoded(json!({"type": "LoadBalancer", "ports": [{"port": 80}], "sessionAffinity": "ClientIP"}))["spec"].clone();
        assert_eq!((&spec["externalTrafficPolicy"], &spec["allocateLoadBalancerNodePorts"]), (&json!("Cluster"), &json!(true)));
        assert_eq!(spec["sessionAffinityConfig"], json!({"clientIP": {"timeoutSeconds": 10800}}));
        let spec = decoded(json!({"type": "ExternalName", "externalName": "a.b"}))["spec"].clone();
        assert_eq!((spec.get("internalTrafficPolicy"), spec.get("externalTrafficPolicy")), (None, None));
        assert_eq!(decoded(json!({"clusterIP": "None"}))["spec"]["clusterIPs"], json!(["None"]));
    }

    #[test]
    fn an_address_of_a_load_balancer_is_on_the_packets_unless_it_says_otherwise() {
        let mode = |kind: &str| {
            let status =
                json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}, {"ip": "192.0.2.2", "ipMode": "Proxy"}, {"hostname": "a.b"}]}});
            let body = json!({"metadata": {"name": "a"}, "spec": {"type": kind, "ports": [{"port": 80}]}, "status": status});
            let ingress = Typed::<Service>::NEW.decode(body).unwrap().object["status"]["loadBalancer"]["ingress"].clone();
            ingress.as_array().unwrap().iter().map(|entry| entry.get("ipMode").cloned()).collect::<Vec<_>>()
        };
        assert_eq!(mode("LoadBalancer"), [Some(json!("VIP")), Some(json!("Proxy")), None]);
        assert_eq!(mode("NodePort"), [None, Some(json!("Proxy")), None]);
    }
}

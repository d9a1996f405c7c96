//! Defaults of services, and what an update that leaves allocated fields out keeps of the old object.

use crate::json;
use k8s_openapi::api::core::v1::{ClientIPConfig, ServiceSpec, SessionAffinityConfig};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::Value;

/// Seconds that a client keeps its endpoint.
const AFFINITY_SECONDS: i32 = 10_800;

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

/// A replaced service that says nothing of its addresses and node ports keeps them, as long as its type has such.
pub fn keep_allocated(new: &mut Value, old: &Value) {
    let kind = |o: &Value| json::get(o, &["spec", "type"]).and_then(Value::as_str).unwrap_or("ClusterIP").to_owned();
    let (new_kind, old_kind) = (kind(new), kind(old));
    let has_address = |kind: &str| kind != "ExternalName";
    if has_address(&new_kind) && has_address(&old_kind) {
        if json::get(new, &["spec", "clusterIP"]).is_none() {
            for key in ["clusterIP", "clusterIPs"] {
                copy(new, old, key);
            }
        }
        for key in ["ipFamilies", "ipFamilyPolicy"] {
            if json::get(new, &["spec", key]).is_none() {
                copy(new, old, key);
            }
        }
    }
    let has_node_ports = |kind: &str| matches!(kind, "NodePort" | "LoadBalancer");
    if has_node_ports(&new_kind) && has_node_ports(&old_kind) {
        keep_node_ports(new, old);
        if json::get(new, &["spec", "healthCheckNodePort"]).is_none()
            && json::get(new, &["spec", "externalTrafficPolicy"]) == json::get(old, &["spec", "externalTrafficPolicy"])
        {
            copy(new, old, "healthCheckNodePort");
        }
    }
    // Of another type now: what belonged to the old one goes, unless the change set it anew.
    if has_node_ports(&old_kind) && !has_node_ports(&new_kind) {
        drop_node_ports(new, old);
        drop_unchanged(new, old, &["externalTrafficPolicy"]);
    }
    if old_kind == "LoadBalancer" && new_kind != "LoadBalancer" {
        drop_unchanged(new, old, &["allocateLoadBalancerNodePorts", "loadBalancerClass", "healthCheckNodePort"]);
    }
    if has_address(&old_kind) && !has_address(&new_kind) {
        drop_unchanged(new, old, &["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"]);
    }
}

fn drop_unchanged(new: &mut Value, old: &Value, keys: &[&str]) {
    let Some(spec) = new.get_mut("spec").and_then(Value::as_object_mut) else { return };
    for key in keys {
        if spec.get(*key) == json::get(old, &["spec", key]) {
            spec.remove(*key);
        }
    }
}

fn keep_node_ports(new: &mut Value, old: &Value) {
    let old_ports = ports(old);
    let Some(list) = new.pointer_mut("/spec/ports").and_then(Value::as_array_mut) else { return };
    let taken: Vec<Value> = list.iter().filter_map(|p| p.get("nodePort").cloned()).collect();
    for port in list.iter_mut().filter(|p| p.get("nodePort").is_none()) {
        let same = |other: &&Value| other.get("port") == port.get("port") && other.get("protocol") == port.get("protocol");
        let kept = old_ports.iter().find(same).and_then(|p| p.get("nodePort")).filter(|n| !taken.contains(n)).cloned();
        if let (Some(kept), Some(map)) = (kept, port.as_object_mut()) {
            map.insert("nodePort".to_owned(), kept);
        }
    }
}

fn drop_node_ports(new: &mut Value, old: &Value) {
    let old_ports = ports(old);
    let Some(list) = new.pointer_mut("/spec/ports").and_then(Value::as_array_mut) else { return };
    for port in list.iter_mut().filter_map(Value::as_object_mut) {
        if port.get("nodePort").is_some_and(|n| old_ports.iter().any(|o| o.get("nodePort") == Some(n))) {
            port.remove("nodePort");
        }
    }
}

fn ports(object: &Value) -> Vec<Value> {
    json::get(object, &["spec", "ports"]).and_then(Value::as_array).cloned().unwrap_or_default()
}

fn copy(new: &mut Value, old: &Value, key: &str) {
    if let Some(value) = json::get(old, &["spec", key]) {
        json::put(new, &["spec", key], value.clone());
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
    fn a_replaced_service_keeps_what_was_allocated() {
        let old = decoded(json!({"type": "NodePort", "clusterIP": "10.96.0.9", "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack",
            "ports": [{"port": 80, "nodePort": 30080}]}));
        let mut new = decoded(json!({"type": "NodePort", "ports": [{"port": 80}, {"port": 81}]}));
        Typed::<Service>::NEW.prepare_update(&mut new, &old, None);
        assert_eq!((&new["spec"]["clusterIP"], &new["spec"]["clusterIPs"]), (&json!("10.96.0.9"), &json!(["10.96.0.9"])));
        assert_eq!((&new["spec"]["ports"][0]["nodePort"], new["spec"]["ports"][1].get("nodePort")), (&json!(30080), None));
        assert!(
            Typed::<Service>::NEW
                .validate_update(&new, &old, None)
                .iter()
                .all(|e| e.field.starts_with("metadata") || e.field.contains("name"))
        );
        let mut plain = decoded(json!({"type": "ClusterIP", "ports": [{"port": 80, "nodePort": 30080}]}));
        Typed::<Service>::NEW.prepare_update(&mut plain, &old, None);
        assert_eq!(plain["spec"]["ports"][0].get("nodePort"), None);
    }
}

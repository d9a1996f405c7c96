//! What an update of a service keeps of the old one without saying so, and what it drops with the old type.
//!
//! A client that sends its manifest again must not lose what it was given; one that only changes the type must not be told to remove what
//! the server had filled in. What the client itself changed is left for validation to judge.

use crate::json;
use serde_json::{Map, Value};
use std::collections::HashSet;

/// Addresses, node ports and the port for health that the new object leaves out, as long as both types have them.
pub fn keep_allocated(new: &mut Value, old: &Value) {
    if has_address(new) && has_address(old) {
        if text(new, "clusterIP").is_empty() {
            copy(new, old, "clusterIP");
            copy(new, old, "clusterIPs");
        }
        for key in ["ipFamilies", "ipFamilyPolicy"] {
            if field(new, key).is_none() {
                copy(new, old, key);
            }
        }
    }
    if has_node_ports(new) && has_node_ports(old) {
        keep_node_ports(new, old);
    }
    if has_health_port(new) && has_health_port(old) && field(new, "healthCheckNodePort").is_none() {
        copy(new, old, "healthCheckNodePort");
    }
}

/// What belonged to the old type and means nothing to the new one, where the change left it as it was.
pub fn drop_of_old_type(new: &mut Value, old: &Value) {
    if has_address(old) && !has_address(new) {
        drop_unchanged(new, old, &["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"]);
    }
    if has_node_ports(old) && !has_node_ports(new) && node_ports(new) == node_ports(old) {
        for port in ports_mut(new) {
            port.remove("nodePort");
        }
    }
    if has_health_port(old) && !has_health_port(new) {
        drop_unchanged(new, old, &["healthCheckNodePort"]);
    }
    if kind(old) == "LoadBalancer" && kind(new) != "LoadBalancer" {
        drop_unchanged(new, old, &["allocateLoadBalancerNodePorts", "loadBalancerClass"]);
    }
    if is_external(old) && !is_external(new) {
        drop_unchanged(new, old, &["externalTrafficPolicy"]);
    }
    // The balancer is taken down in its own time; that is nothing to show.
    if kind(new) != "LoadBalancer" {
        json::put(new, &["status", "loadBalancer"], Value::Object(Map::new()));
    }
}

fn kind(service: &Value) -> &str {
    field(service, "type").and_then(Value::as_str).unwrap_or("ClusterIP")
}

fn has_address(service: &Value) -> bool {
    kind(service) != "ExternalName"
}

fn has_node_ports(service: &Value) -> bool {
    matches!(kind(service), "NodePort" | "LoadBalancer")
}

fn has_health_port(service: &Value) -> bool {
    kind(service) == "LoadBalancer" && text(service, "externalTrafficPolicy") == "Local"
}

/// Whether clients outside of the cluster can reach it.
fn is_external(service: &Value) -> bool {
    let addresses = || field(service, "externalIPs").and_then(Value::as_array).is_some_and(|list| !list.is_empty());
    has_node_ports(service) || kind(service) == "ClusterIP" && addresses()
}

/// By the ports' names: all else of a port may have been changed, and two ports may have changed places.
fn keep_node_ports(new: &mut Value, old: &Value) {
    let known: Vec<(String, u64)> =
        ports(old).filter_map(|port| Some((json::text(port, &["name"]), node_port(port.get("nodePort")?)?))).collect();
    let mut taken: HashSet<u64> = &node_ports(new) & &node_ports(old);
    for port in ports_mut(new) {
        if port.get("nodePort").and_then(node_port).is_some() {
            continue;
        }
        let name = port.get("name").and_then(Value::as_str).unwrap_or_default();
        if let Some((_, number)) = known.iter().find(|(known, _)| known == name)
            && taken.insert(*number)
        {
            port.insert("nodePort".to_owned(), (*number).into());
        }
    }
}

fn drop_unchanged(new: &mut Value, old: &Value, keys: &[&str]) {
    let Some(spec) = new.get_mut("spec").and_then(Value::as_object_mut) else { return };
    for key in keys {
        if spec.get(*key) == field(old, key) {
            spec.remove(*key);
        }
    }
}

fn node_ports(service: &Value) -> HashSet<u64> {
    ports(service).filter_map(|port| node_port(port.get("nodePort")?)).collect()
}

fn node_port(value: &Value) -> Option<u64> {
    value.as_u64().filter(|number| *number > 0)
}

fn ports(service: &Value) -> impl Iterator<Item = &Value> {
    field(service, "ports").and_then(Value::as_array).into_iter().flatten()
}

fn ports_mut(service: &mut Value) -> impl Iterator<Item = &mut Map<String, Value>> {
    service.pointer_mut("/spec/ports").and_then(Value::as_array_mut).into_iter().flatten().filter_map(Value::as_object_mut)
}

fn copy(new: &mut Value, old: &Value, key: &str) {
    if let Some(value) = field(old, key) {
        json::put(new, &["spec", key], value.clone());
    }
}

fn field<'a>(service: &'a Value, key: &str) -> Option<&'a Value> {
    json::get(service, &["spec", key])
}

fn text<'a>(service: &'a Value, key: &str) -> &'a str {
    field(service, key).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
#[path = "change_tests.rs"]
mod tests;

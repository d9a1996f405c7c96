//! Tests of what updates of services keep and drop.

use super::super::Service;
use crate::contract::Resource;
use crate::typed::Typed;
use serde_json::{Value, json};

const KIND: Typed<Service> = Typed::NEW;

fn service(spec: Value) -> Value {
    let body = json!({"metadata": {"name": "a", "namespace": "b", "resourceVersion": "1", "uid": "u"}, "spec": spec});
    KIND.decode(body).unwrap().object
}

/// A service of a type that has been given all that the server gives.
fn given(kind: &str) -> Value {
    let mut object = service(json!({"type": kind, "clusterIP": "10.96.0.9", "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack",
        "externalTrafficPolicy": "Local", "ports": [{"name": "a", "port": 80, "nodePort": 30080}, {"name": "b", "port": 81, "nodePort": 30081}]}));
    if kind == "LoadBalancer" {
        object["spec"]["healthCheckNodePort"] = json!(30099);
        object["spec"]["loadBalancerClass"] = json!("example.com/x");
        object["status"] = json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.1", "ipMode": "VIP"}]}});
    }
    object
}

/// The new object as it would be stored, and whether it passes validation.
fn updated(mut new: Value, old: &Value) -> (Value, Vec<String>) {
    KIND.prepare_update(&mut new, old, None);
    let errors = KIND.validate_update(&new, old, None).iter().map(ToString::to_string).collect();
    (new, errors)
}

fn with_type(object: &Value, kind: &str) -> Value {
    let mut changed = object.clone();
    changed["spec"]["type"] = json!(kind);
    if kind == "ExternalName" {
        changed["spec"]["externalName"] = json!("a.b");
    }
    changed
}

#[test]
fn a_manifest_sent_again_keeps_what_was_allocated() {
    let ports = json!([{"name": "a", "port": 80}, {"name": "b", "port": 81}, {"name": "c", "port": 82}]);
    let again =
        service(json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local", "loadBalancerClass": "example.com/x", "ports": ports}));
    let (new, errors) = updated(again, &given("LoadBalancer"));
    assert_eq!(errors, Vec::<String>::new());
    assert_eq!((&new["spec"]["clusterIP"], &new["spec"]["clusterIPs"]), (&json!("10.96.0.9"), &json!(["10.96.0.9"])));
    let node_ports: Vec<_> = new["spec"]["ports"].as_array().unwrap().iter().map(|port| port.get("nodePort").cloned()).collect();
    assert_eq!(node_ports, [Some(json!(30080)), Some(json!(30081)), None]);
    assert_eq!(new["spec"]["healthCheckNodePort"], 30099);
    assert_eq!(new["status"]["loadBalancer"]["ingress"][0]["ip"], "192.0.2.1");
}

#[test]
fn a_node_port_follows_the_name_of_its_port() {
    let swapped = service(json!({"type": "NodePort", "ports": [{"name": "b", "port": 80}, {"name": "a", "port": 81}]}));
    let (new, _) = updated(swapped, &given("NodePort"));
    assert_eq!((&new["spec"]["ports"][0]["nodePort"], &new["spec"]["ports"][1]["nodePort"]), (&json!(30081), &json!(30080)));
    // A number that the update gives to another port is not kept for the old one.
    let taken = service(json!({"type": "NodePort", "ports": [{"name": "a", "port": 80}, {"name": "b", "port": 81, "nodePort": 30080}]}));
    let (new, errors) = updated(taken, &given("NodePort"));
    assert_eq!((new["spec"]["ports"][0].get("nodePort"), errors), (None, Vec::new()));
}

#[test]
fn a_changed_type_drops_what_it_has_no_use_for() {
    let keys = |object: &Value| {
        let spec = object["spec"].as_object().unwrap();
        let optional = ["clusterIP", "healthCheckNodePort", "allocateLoadBalancerNodePorts", "loadBalancerClass", "externalTrafficPolicy"];
        let mut left: Vec<&str> = optional.into_iter().filter(|key| spec.contains_key(*key)).collect();
        if object["spec"]["ports"][0].get("nodePort").is_some() {
            left.push("nodePort");
        }
        left
    };
    for (from, to, left) in [
        ("LoadBalancer", "NodePort", vec!["clusterIP", "externalTrafficPolicy", "nodePort"]),
        ("LoadBalancer", "ClusterIP", vec!["clusterIP"]),
        ("LoadBalancer", "ExternalName", vec![]),
        ("NodePort", "ClusterIP", vec!["clusterIP"]),
        ("NodePort", "ExternalName", vec![]),
    ] {
        let old = given(from);
        let (new, errors) = updated(with_type(&old, to), &old);
        assert_eq!((keys(&new), errors), (left, Vec::new()), "{from} to {to}");
        assert_eq!(new["status"]["loadBalancer"], json!({}), "{from} to {to}");
    }
}

#[test]
fn a_changed_type_may_come_with_what_the_new_one_has() {
    let plain = service(json!({"clusterIP": "10.96.0.9", "ports": [{"name": "a", "port": 80}]}));
    for kind in ["NodePort", "LoadBalancer"] {
        let mut wanted = KIND.decode(with_type(&plain, kind)).unwrap().object;
        wanted["spec"]["ports"][0]["nodePort"] = json!(30077);
        let (new, errors) = updated(wanted, &plain);
        assert_eq!((errors, &new["spec"]["externalTrafficPolicy"]), (Vec::new(), &json!("Cluster")), "{kind}");
    }
}

#[test]
fn what_the_change_itself_sets_is_judged_and_not_dropped() {
    let old = given("NodePort");
    let mut wanted = with_type(&old, "ClusterIP");
    wanted["spec"]["ports"][0]["nodePort"] = json!(30082);
    let (_, errors) = updated(wanted, &old);
    assert!(errors.contains(&"spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'".to_owned()), "{errors:?}");
    // A reachable service keeps its policy as long as it has external addresses.
    let mut external = with_type(&old, "ClusterIP");
    external["spec"]["externalIPs"] = json!(["192.0.2.7"]);
    let (new, errors) = updated(external, &old);
    assert_eq!((errors, &new["spec"]["externalTrafficPolicy"]), (Vec::new(), &json!("Local")));
}

#[test]
fn health_ports_go_with_the_policy_that_needs_them() {
    let old = given("LoadBalancer");
    let mut wanted = old.clone();
    wanted["spec"]["externalTrafficPolicy"] = json!("Cluster");
    let (new, errors) = updated(wanted, &old);
    assert_eq!((errors, new["spec"].get("healthCheckNodePort")), (Vec::new(), None));
}

//! The Endpoints object of a Service.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Endpoints, Pod, Service};
use serde_json::{Value, json};

use super::plan::{desired, is_same};

fn service(spec: Value) -> Service {
    let mut service = json!({"metadata": {"name": "web", "namespace": "default", "labels": {"team": "net"}}, "spec": {
        "selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"}]}});
    service["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    serde_json::from_value(service).unwrap()
}

fn pod(name: &str, ip: &str, ready: bool, going: bool) -> Arc<Pod> {
    let stamp = going.then_some("2020-01-01T00:00:00Z");
    let pod = json!({
        "metadata": {"name": name, "namespace": "default", "uid": name, "deletionTimestamp": stamp},
        "spec": {"nodeName": "node", "containers": []},
        "status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}], "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}]},
    });
    Arc::new(serde_json::from_value(pod).unwrap())
}

fn addresses(endpoints: &Endpoints) -> (Vec<&str>, Vec<&str>) {
    let Some(subset) = endpoints.subsets.as_ref().and_then(|subsets| subsets.first()) else { return (vec![], vec![]) };
    let ready = subset.addresses.iter().flatten().map(|address| address.ip.as_str()).collect();
    (ready, subset.not_ready_addresses.iter().flatten().map(|address| address.ip.as_str()).collect())
}

#[test]
fn ready_and_unready_pods_are_listed_apart_and_sorted() {
    let pods = [pod("b", "10.0.0.2", true, false), pod("a", "10.0.0.1", true, false), pod("c", "10.0.0.3", false, false)];
    let endpoints = desired(&service(json!({})), &pods, None, None);
    assert_eq!(addresses(&endpoints), (vec!["10.0.0.1", "10.0.0.2"], vec!["10.0.0.3"]));
    let subset = &endpoints.subsets.as_ref().unwrap()[0];
    let port = &subset.ports.as_ref().unwrap()[0];
    assert_eq!((port.name.as_deref(), port.port), (Some("http"), 8080));
    assert_eq!(subset.addresses.as_ref().unwrap()[0].target_ref.as_ref().unwrap().uid.as_deref(), Some("a"));
}

#[test]
fn terminating_pods_are_listed_only_when_unready_ones_are_published() {
    let pods = [pod("a", "10.0.0.1", false, false), pod("b", "10.0.0.2", true, true)];
    assert_eq!(addresses(&desired(&service(json!({})), &pods, None, None)), (vec![], vec!["10.0.0.1"]));
    let all = desired(&service(json!({"publishNotReadyAddresses": true})), &pods, None, None);
    assert_eq!(addresses(&all), (vec!["10.0.0.1", "10.0.0.2"], vec![]));
}

#[test]
fn only_the_first_family_is_listed() {
    let pods = [pod("a", "10.0.0.1", true, false), pod("b", "fd00::2", true, false)];
    let endpoints = desired(&service(json!({"ipFamilies": ["IPv6", "IPv4"]})), &pods, None, None);
    assert_eq!(addresses(&endpoints), (vec!["fd00::2"], vec![]));
}

#[test]
fn a_thousand_addresses_are_the_most_and_the_object_says_so() {
    let pods: Vec<_> =
        (0..1005).map(|index| pod(&format!("p{index}"), &format!("10.1.{}.{}", index / 250, index % 250), index > 9, false)).collect();
    let endpoints = desired(&service(json!({})), &pods, None, None);
    let (ready, unready) = addresses(&endpoints);
    assert_eq!((ready.len(), unready.len()), (995, 5));
    assert_eq!(endpoints.metadata.annotations.as_ref().unwrap()["endpoints.kubernetes.io/over-capacity"], "truncated");
    let again = desired(&service(json!({})), &pods[10..20], Some(&endpoints), None);
    assert_eq!(again.metadata.annotations, None);
    assert!(!is_same(&endpoints, &again));
}

#[test]
fn what_is_stored_is_recognised() {
    let pods = [pod("a", "10.0.0.1", true, false)];
    let endpoints = desired(&service(json!({})), &pods, None, None);
    assert!(is_same(&endpoints, &desired(&service(json!({})), &pods, Some(&endpoints), None)));
    let mut empty = desired(&service(json!({})), &[], None, None);
    empty.subsets = Some(Vec::new());
    assert!(is_same(&empty, &desired(&service(json!({})), &[], Some(&empty), None)));
}

//! Mirrors of custom Endpoints.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Endpoints, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::{Value, json};

use super::plan::plan;

fn endpoints(meta: Value, address: &str) -> Endpoints {
    let mut object = json!({"metadata": {"name": "db", "namespace": "default", "uid": "e"}, "subsets": [
        {"addresses": [{"ip": address}, {"ip": "fd00::1"}], "notReadyAddresses": [{"ip": "192.0.2.9"}], "ports": [{"port": 5432}]}]});
    object["metadata"].as_object_mut().unwrap().extend(meta.as_object().unwrap().clone());
    serde_json::from_value(object).unwrap()
}

fn service(spec: Value) -> Service {
    serde_json::from_value(json!({"metadata": {"name": "db"}, "spec": spec})).unwrap()
}

fn stored(slices: Vec<EndpointSlice>) -> Vec<Arc<EndpointSlice>> {
    let named = |(index, mut slice): (usize, EndpointSlice)| {
        slice.metadata.name = Some(format!("db-{index}"));
        Arc::new(slice)
    };
    slices.into_iter().enumerate().map(named).collect()
}

#[test]
fn each_family_of_a_subset_is_mirrored() {
    let plan = plan(Some(&endpoints(json!({}), "192.0.2.1")), Some(&service(json!({}))), vec![]);
    let listed: Vec<_> = plan.create.iter().map(|slice| (slice.address_type.as_str(), slice.endpoints.len())).collect();
    assert_eq!(listed, [("IPv4", 2), ("IPv6", 1)]);
    let ready: Vec<_> = plan.create[0].endpoints.iter().map(|endpoint| endpoint.conditions.as_ref().unwrap().ready).collect();
    assert_eq!(ready, [Some(true), Some(false)]);
    let labels = plan.create[0].metadata.labels.as_ref().unwrap();
    assert_eq!(labels["endpointslice.kubernetes.io/managed-by"], "endpointslicemirroring-controller.k8s.io");
    assert_eq!(labels["kubernetes.io/service-name"], "db");
}

#[test]
fn a_change_rewrites_its_slice_and_a_second_pass_nothing() {
    let service = service(json!({}));
    let first = stored(plan(Some(&endpoints(json!({}), "192.0.2.1")), Some(&service), vec![]).create);
    let same = plan(Some(&endpoints(json!({}), "192.0.2.1")), Some(&service), first.clone());
    assert!(same.create.is_empty() && same.replace.is_empty() && same.delete.is_empty());
    let changed = plan(Some(&endpoints(json!({}), "192.0.2.2")), Some(&service), first);
    assert_eq!((changed.create.len(), changed.replace.len(), changed.delete.len()), (0, 1, 0));
}

#[test]
fn what_must_not_be_mirrored_is_not_and_old_mirrors_go() {
    let plain = service(json!({}));
    let selecting = service(json!({"selector": {"app": "db"}}));
    let mirrors = || stored(plan(Some(&endpoints(json!({}), "192.0.2.1")), Some(&plain), vec![]).create);
    for (meta, service) in [
        (json!({}), None),
        (json!({}), Some(&selecting)),
        (json!({"labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}}), Some(&plain)),
        (json!({"labels": {"endpoints.kubernetes.io/managed-by": "endpoint-controller"}}), Some(&plain)),
        (json!({"annotations": {"control-plane.alpha.kubernetes.io/leader": "{}"}}), Some(&plain)),
    ] {
        let plan = plan(Some(&endpoints(meta, "192.0.2.1")), service, mirrors());
        assert_eq!((plan.create.len(), plan.replace.len(), plan.delete.len()), (0, 0, 2));
    }
}

//! Plans of the EndpointSlice controller.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::SliceChanges;
use super::packing::{MAX_ENDPOINTS, pack};
use super::plan::{Observed, plan};

fn service(spec: Value) -> Service {
    let metadata = json!({"name": "web", "namespace": "default", "uid": "s", "labels": {"team": "net"}});
    let mut service = json!({"metadata": metadata, "spec": {"selector": {"app": "web"}, "ipFamilies": ["IPv4"],
        "ports": [{"name": "http", "port": 80, "targetPort": "web", "protocol": "TCP"}]}});
    service["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    serde_json::from_value(service).unwrap()
}

fn pod(index: usize, ready: bool, port: i32) -> Pod {
    serde_json::from_value(json!({
        "metadata": {"name": format!("pod-{index}"), "namespace": "default", "uid": format!("uid-{index}"), "labels": {"app": "web"}},
        "spec": {"nodeName": "node", "containers": [{"name": "c", "ports": [{"name": "web", "containerPort": port, "protocol": "TCP"}]}]},
        "status": {"phase": "Running", "podIP": format!("10.0.{}.{}", index / 250, index % 250),
            "podIPs": [{"ip": format!("10.0.{}.{}", index / 250, index % 250)}, {"ip": format!("fd00::{index:x}")}],
            "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}]},
    }))
    .unwrap()
}

fn observed(service: &Service, pods: Vec<Pod>, slices: Vec<EndpointSlice>) -> SliceChanges {
    let zones = HashMap::from([("node".to_string(), Some("zone-a".to_string()))]);
    let (pods, slices) = (pods.into_iter().map(Arc::new).collect(), slices.into_iter().map(Arc::new).collect());
    plan(&Observed { service, pods, slices, zones, trigger: None })
}

/// What the server would hold after the plan.
fn applied(plan: SliceChanges, mut slices: Vec<EndpointSlice>, serial: &mut usize) -> Vec<EndpointSlice> {
    for mut slice in plan.create {
        *serial += 1;
        slice.metadata.name = Some(format!("web-{serial}"));
        slices.push(slice);
    }
    for new in plan.replace {
        let old = slices.iter_mut().find(|slice| slice.metadata.name == new.metadata.name).unwrap();
        *old = new;
    }
    let gone: HashSet<_> = plan.delete.iter().map(|slice| slice.metadata.name.clone()).collect();
    slices.retain(|slice| !gone.contains(&slice.metadata.name));
    slices
}

fn conditions(endpoint: &Endpoint) -> (Option<bool>, Option<bool>, Option<bool>) {
    let conditions = endpoint.conditions.as_ref().unwrap();
    (conditions.ready, conditions.serving, conditions.terminating)
}

#[test]
fn a_pod_becomes_an_endpoint_with_named_port_node_zone_and_target() {
    let plan = observed(&service(json!({})), vec![pod(1, true, 8080)], vec![]);
    let slice = &plan.create[0];
    assert_eq!(slice.address_type, "IPv4");
    let labels = slice.metadata.labels.as_ref().unwrap();
    assert_eq!(labels["kubernetes.io/service-name"], "web");
    assert_eq!(labels["endpointslice.kubernetes.io/managed-by"], "endpointslice-controller.k8s.io");
    assert_eq!(labels["team"], "net");
    assert_eq!(slice.metadata.owner_references.as_ref().unwrap()[0].uid, "s");
    let port = &slice.ports.as_ref().unwrap()[0];
    assert_eq!((port.name.as_deref(), port.port, port.protocol.as_deref()), (Some("http"), Some(8080), Some("TCP")));
    let endpoint = &slice.endpoints[0];
    assert_eq!(endpoint.addresses, ["10.0.0.1"]);
    assert_eq!((endpoint.node_name.as_deref(), endpoint.zone.as_deref()), (Some("node"), Some("zone-a")));
    assert_eq!(endpoint.target_ref.as_ref().unwrap().uid.as_deref(), Some("uid-1"));
    assert_eq!(conditions(endpoint), (Some(true), Some(true), Some(false)));
}

#[test]
fn conditions_tell_readiness_and_termination_apart() {
    let mut going = pod(1, true, 80);
    going.metadata.deletion_timestamp = serde_json::from_value(json!("2020-01-01T00:00:00Z")).unwrap();
    let plain = service(json!({}));
    let publishing = service(json!({"publishNotReadyAddresses": true}));
    for (service, pod, wanted) in [
        (&plain, pod(1, false, 80), (false, false, false)),
        (&plain, going.clone(), (false, true, true)),
        (&publishing, pod(1, false, 80), (true, false, false)),
        (&publishing, going, (true, true, true)),
    ] {
        let plan = observed(service, vec![pod], vec![]);
        let wanted = (Some(wanted.0), Some(wanted.1), Some(wanted.2));
        assert_eq!(conditions(&plan.create[0].endpoints[0]), wanted);
    }
}

#[test]
fn ended_pods_and_pods_without_address_are_left_out_and_a_placeholder_remains() {
    let mut ended = pod(1, true, 80);
    ended.status.as_mut().unwrap().phase = Some("Succeeded".into());
    let mut fresh = pod(2, false, 80);
    fresh.status = None;
    let plan = observed(&service(json!({})), vec![ended, fresh], vec![]);
    assert_eq!(plan.create.len(), 1);
    assert!(plan.create[0].endpoints.is_empty());
    let mut serial = 0;
    let slices = applied(plan, vec![], &mut serial);
    let again = observed(&service(json!({})), vec![], slices);
    assert!(again.create.is_empty() && again.replace.is_empty() && again.delete.is_empty());
}

#[test]
fn a_pod_on_a_node_that_is_gone_counts_only_where_all_addresses_do() {
    let mut stranded = pod(1, true, 80);
    stranded.spec.as_mut().unwrap().node_name = Some("gone".into());
    assert!(observed(&service(json!({})), vec![stranded.clone()], vec![]).create[0].endpoints.is_empty());
    let publishing = service(json!({"publishNotReadyAddresses": true}));
    assert_eq!(observed(&publishing, vec![stranded], vec![]).create[0].endpoints.len(), 1);
}

#[test]
fn slices_that_a_service_of_the_same_name_left_are_taken_over_and_not_left_to_the_collector() {
    let mut serial = 0;
    let slices = applied(observed(&service(json!({})), vec![pod(1, true, 80)], vec![]), vec![], &mut serial);
    let mut next = service(json!({}));
    next.metadata.uid = Some("another".into());
    let plan = observed(&next, vec![pod(1, true, 80)], slices);
    assert_eq!((plan.create.len(), plan.replace.len(), plan.delete.len()), (0, 1, 0));
    assert_eq!(plan.replace[0].metadata.owner_references.as_ref().unwrap()[0].uid, "another");
    assert_eq!(plan.replace[0].endpoints.len(), 1);
}

#[test]
fn each_family_has_its_slices_and_a_dropped_family_loses_them() {
    let dual = service(json!({"ipFamilies": ["IPv4", "IPv6"]}));
    let plan = observed(&dual, vec![pod(1, true, 80)], vec![]);
    let types: Vec<_> = plan.create.iter().map(|slice| (slice.address_type.clone(), slice.endpoints[0].addresses[0].clone())).collect();
    assert_eq!(types, [("IPv4".to_string(), "10.0.0.1".to_string()), ("IPv6".to_string(), "fd00::1".to_string())]);
    let mut serial = 0;
    let slices = applied(plan, vec![], &mut serial);
    let single = observed(&service(json!({})), vec![pod(1, true, 80)], slices);
    assert_eq!((single.create.len(), single.replace.len(), single.delete.len()), (0, 0, 1));
    assert_eq!(single.delete[0].address_type, "IPv6");
}

#[test]
fn pods_that_resolve_a_name_differently_get_slices_of_their_own() {
    let plan = observed(&service(json!({})), vec![pod(1, true, 8080), pod(2, true, 9090)], vec![]);
    let mut ports: Vec<_> = plan.create.iter().map(|slice| slice.ports.as_ref().unwrap()[0].port).collect();
    ports.sort_unstable();
    assert_eq!(ports, [Some(8080), Some(9090)]);
}

#[test]
fn a_pod_that_lacks_the_named_port_is_listed_without_it() {
    let mut unnamed = pod(1, true, 80);
    unnamed.spec.as_mut().unwrap().containers[0].ports = None;
    let plan = observed(&service(json!({})), vec![unnamed], vec![]);
    assert_eq!(plan.create[0].ports.as_ref().map(Vec::len), Some(0));
    assert_eq!(plan.create[0].endpoints.len(), 1);
}

#[test]
fn headless_services_are_labelled_and_traffic_distribution_gives_hints() {
    let plan = observed(&service(json!({"clusterIP": "None", "trafficDistribution": "PreferSameNode"})), vec![pod(1, true, 80)], vec![]);
    assert_eq!(plan.create[0].metadata.labels.as_ref().unwrap().get("service.kubernetes.io/headless").map(String::as_str), Some(""));
    let hints = plan.create[0].endpoints[0].hints.as_ref().unwrap();
    assert_eq!(hints.for_nodes.as_ref().unwrap()[0].name, "node");
    assert_eq!(hints.for_zones.as_ref().unwrap()[0].name, "zone-a");
    let zone_only = observed(&service(json!({"trafficDistribution": "PreferClose"})), vec![pod(1, true, 80)], vec![]);
    assert!(zone_only.create[0].endpoints[0].hints.as_ref().unwrap().for_nodes.is_none());
}

#[test]
fn hints_are_for_ready_endpoints_and_go_with_the_field_that_asks_for_them() {
    let hints = |distribution: Value, pod: Pod| {
        let plan = observed(&service(json!({"trafficDistribution": distribution})), vec![pod], vec![]);
        serde_json::to_value(&plan.create[0].endpoints[0].hints).unwrap()
    };
    let (zones, nodes) = (json!([{"name": "zone-a"}]), json!([{"name": "node"}]));
    let zone_only = json!({"forZones": zones});
    assert_eq!(hints(json!("PreferClose"), pod(1, true, 80)), zone_only);
    assert_eq!(hints(json!("PreferSameZone"), pod(1, true, 80)), zone_only);
    assert_eq!(hints(json!("PreferSameNode"), pod(1, true, 80)), json!({"forZones": zones, "forNodes": nodes}));
    assert_eq!(hints(Value::Null, pod(1, true, 80)), Value::Null);
    assert_eq!(hints(json!("PreferSameNode"), pod(1, false, 80)), Value::Null);
    let mut going = pod(1, true, 80);
    going.metadata.deletion_timestamp = serde_json::from_value(json!("2020-01-01T00:00:00Z")).unwrap();
    assert_eq!(hints(json!("PreferSameZone"), going), Value::Null);

    let near = service(json!({"trafficDistribution": "PreferSameZone"}));
    let mut serial = 0;
    let slices = applied(observed(&near, vec![pod(1, true, 80)], vec![]), vec![], &mut serial);
    let plan = observed(&service(json!({})), vec![pod(1, true, 80)], slices);
    assert_eq!((plan.replace.len(), &plan.replace[0].endpoints[0].hints), (1, &None));
}

#[test]
fn an_endpoint_moves_with_its_nodes_zone() {
    let near = service(json!({"trafficDistribution": "PreferSameZone"}));
    let mut serial = 0;
    let slices = applied(observed(&near, vec![pod(1, true, 80)], vec![]), vec![], &mut serial);
    let zones = HashMap::from([("node".to_string(), None)]);
    let (pods, slices) = (vec![Arc::new(pod(1, true, 80))], slices.into_iter().map(Arc::new).collect());
    let changes = plan(&Observed { service: &near, pods, slices, zones, trigger: None });
    assert_eq!((changes.replace.len(), changes.create.len()), (1, 0));
    let endpoint = &changes.replace[0].endpoints[0];
    assert_eq!((&endpoint.zone, &endpoint.hints), (&None, &None));
}

#[test]
fn one_changed_pod_rewrites_one_slice() {
    let pods: Vec<_> = (0..250).map(|index| pod(index, true, 80)).collect();
    let mut serial = 0;
    let slices = applied(observed(&service(json!({})), pods.clone(), vec![]), vec![], &mut serial);
    assert_eq!(slices.len(), 3);
    let mut changed = pods;
    changed[120] = pod(120, false, 80);
    let plan = observed(&service(json!({})), changed, slices);
    assert_eq!((plan.create.len(), plan.replace.len(), plan.delete.len()), (0, 1, 0));
}

fn bare(index: u32) -> Endpoint {
    Endpoint { addresses: vec![index.to_string()], ..Endpoint::default() }
}

proptest! {
    #[test]
    fn packing_lists_every_endpoint_once_within_the_limit_and_settles(
        rounds in proptest::collection::vec(proptest::collection::btree_set(0..400u32, 0..350), 1..5),
    ) {
        let mut slices: HashMap<usize, Vec<Endpoint>> = HashMap::new();
        let mut serial = 0;
        for round in rounds {
            for settled in [false, true] {
                let inputs: Vec<_> = slices.iter().map(|(id, endpoints)| (*id, endpoints.as_slice())).collect();
                let packed = pack(&inputs, round.iter().copied().map(bare).collect());
                if settled {
                    prop_assert!(packed.changed.is_empty() && packed.created.is_empty() && packed.emptied.is_empty());
                }
                for id in packed.emptied {
                    slices.remove(&id);
                }
                slices.extend(packed.changed);
                for endpoints in packed.created {
                    serial += 1;
                    slices.insert(serial, endpoints);
                }
            }
            prop_assert!(slices.values().all(|endpoints| (1..=MAX_ENDPOINTS).contains(&endpoints.len())));
            let mut listed: Vec<u32> = slices.values().flatten().map(|endpoint| endpoint.addresses[0].parse().unwrap()).collect();
            listed.sort_unstable();
            prop_assert_eq!(listed, round.into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn plans_settle_after_one_pass(ready in proptest::collection::vec(any::<bool>(), 0..230), next in proptest::collection::vec(any::<bool>(), 0..230)) {
        let service = service(json!({"ipFamilies": ["IPv6", "IPv4"]}));
        let (mut slices, mut serial) = (Vec::new(), 0);
        for states in [ready, next] {
            let pods: Vec<_> = states.iter().enumerate().map(|(index, ready)| pod(index, *ready, 80 + (index % 2) as i32)).collect();
            slices = applied(observed(&service, pods.clone(), slices.clone()), slices, &mut serial);
            let again = observed(&service, pods, slices.clone());
            prop_assert!(again.create.is_empty() && again.replace.is_empty() && again.delete.is_empty());
            prop_assert_eq!(slices.iter().map(|slice| slice.endpoints.len()).sum::<usize>(), 2 * states.len());
        }
    }
}

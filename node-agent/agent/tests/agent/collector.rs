//! Backends that are gone: which flows and sockets are ended, and when.

use crate::harness::{Agent, FakeApi, FakeDataplane, eventually, in_namespace, node, service, slice};
use orknet_abi::{Address, Backend, protocol::TCP};
use orknet_cni::protocol::Request;
use orknet_dataplane::Use;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;

/// From the Service 10.96.0.`front`:80 to 10.244.`backend`:8080.
fn used(front: u8, backend: [u8; 2]) -> Use {
    Use {
        front: Address::from_v4([10, 96, 0, front]),
        front_port_be: 80_u16.to_be(),
        protocol: TCP,
        backend: Backend { address: Address::from_v4([10, 244, backend[0], backend[1]]), port_be: 8_080_u16.to_be(), reserved: 0 },
    }
}

fn cluster(endpoints: &[&str]) -> FakeApi {
    let api = FakeApi::new();
    api.put(node("here", &["10.244.1.0/24"], &["192.0.2.1"]));
    api.put(service("web", "10.96.0.1"));
    api.put(slice("web", endpoints));
    api
}

#[test]
fn root_what_leads_to_an_endpoint_that_goes_is_ended_at_once() {
    in_namespace(|| async {
        let (api, dataplane) = (cluster(&["10.244.1.2", "10.244.1.3"]), Arc::new(FakeDataplane::default()));
        let both = BTreeSet::from([used(1, [1, 2]), used(1, [1, 3])]);
        *dataplane.flows.lock().unwrap() = both.clone();
        *dataplane.sockets.lock().unwrap() = both.clone();
        let agent = Agent::start(&api, &dataplane);
        agent.configured().await;
        api.put(slice("web", &["10.244.1.3"]));
        let left = BTreeSet::from([used(1, [1, 3])]);
        eventually("the flow ends", || (*dataplane.flows.lock().unwrap() == left).then_some(())).await;
        eventually("the socket ends", || (*dataplane.sockets.lock().unwrap() == left).then_some(())).await;
    });
}

#[test]
fn root_only_maps_that_programs_write_are_counted_again_and_again() {
    in_namespace(|| async {
        let (api, dataplane) = (cluster(&["10.244.1.2"]), Arc::new(FakeDataplane::default()));
        let _agent = Agent::start(&api, &dataplane);
        let counted = || Some(dataplane.measured.lock().unwrap().clone()).filter(|counted| !counted.is_empty());
        let counted = eventually("the maps are counted", counted).await;
        let has = |name: &str| counted.contains(name);
        assert!(has("FLOWS") && has("SOCKETS") && !has("TABLES") && !has("SERVICES"), "{counted:?}");
    });
}

#[test]
fn root_an_endpoint_that_terminates_is_not_gone() {
    in_namespace(|| async {
        let (api, dataplane) = (cluster(&["10.244.1.2", "10.244.1.3"]), Arc::new(FakeDataplane::default()));
        let (terminating, gone) = (used(1, [1, 2]), used(1, [1, 9]));
        *dataplane.flows.lock().unwrap() = BTreeSet::from([terminating, gone]);
        let agent = Agent::start(&api, &dataplane);
        agent.configured().await;
        let mut object = slice("web", &["10.244.1.2", "10.244.1.3"]);
        object["endpoints"][0]["conditions"] = serde_json::json!({ "ready": false, "serving": false, "terminating": true });
        api.put(object);
        // The one that is gone tells that a pass has been made.
        let made = || (*dataplane.flows.lock().unwrap() == BTreeSet::from([terminating])).then_some(());
        eventually("a pass", made).await;
        dataplane.flows.lock().unwrap().insert(gone);
        api.put(service("other", "10.96.0.2"));
        eventually("another pass", made).await;
    });
}

#[test]
fn root_nothing_is_taken_for_gone_before_everything_has_been_seen() {
    in_namespace(|| async {
        let (api, dataplane) = (cluster(&["10.244.1.2"]), Arc::new(FakeDataplane::default()));
        api.set_down(true);
        let flows = BTreeSet::from([used(1, [1, 2]), used(1, [1, 9])]);
        *dataplane.flows.lock().unwrap() = flows.clone();
        let agent = Agent::start(&api, &dataplane);
        let metrics = || dataplane.passes.load(std::sync::atomic::Ordering::Relaxed);
        eventually("a pass", || (metrics() > 0).then_some(())).await;
        assert_eq!(*dataplane.flows.lock().unwrap(), flows);
        api.set_down(false);
        agent.configured().await;
        eventually("the stale flow ends", || (*dataplane.flows.lock().unwrap() == BTreeSet::from([used(1, [1, 2])])).then_some(())).await;
    });
}

#[test]
fn root_sockets_are_looked_for_in_the_namespaces_of_the_recorded_pods() {
    in_namespace(|| async {
        let (api, dataplane) = (cluster(&["10.244.1.2"]), Arc::new(FakeDataplane::default()));
        *dataplane.sockets.lock().unwrap() = BTreeSet::from([used(1, [1, 9])]);
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let records = folder.path().join("state/attachments");
        std::fs::create_dir_all(&records).unwrap();
        let record = serde_json::json!({
            "containerID": "c1", "ifname": "eth0", "pod": { "namespace": "", "name": "", "uid": "" }, "netns": "/run/netns/one",
            "hostIfname": "ork0", "hostIfindex": 9_999, "hostMac": "02:00:00:00:00:01", "podMac": "02:00:00:00:00:02",
            "addresses": [Ipv4Addr::new(10, 244, 1, 2)],
        });
        std::fs::write(records.join("c1@eth0.json"), record.to_string()).unwrap();
        let agent = Agent::start_in(folder, &api, &dataplane);
        agent.ask(&Request::Status).await;
        let looked = || dataplane.namespaces.lock().unwrap().first().cloned();
        assert_eq!(eventually("sockets are looked for", looked).await, std::path::Path::new("/run/netns/one"));
    });
}

#[test]
fn root_what_is_remembered_of_clients_that_are_no_more_is_forgotten() {
    in_namespace(|| async {
        let (api, dataplane) = (cluster(&["10.244.1.2"]), Arc::new(FakeDataplane::default()));
        *dataplane.unused.lock().unwrap() = 5;
        let agent = Agent::start(&api, &dataplane);
        agent.configured().await;
        eventually("nothing is left of them", || (*dataplane.unused.lock().unwrap() == 0).then_some(())).await;
    });
}

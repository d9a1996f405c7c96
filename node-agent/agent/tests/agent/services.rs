//! From the API to the maps: the agent with a fake API and a fake data plane.

use crate::harness::{Agent, FakeApi, FakeDataplane, eventually, in_namespace, node, service, slice};
use orknet_abi::{Address, Backend, BackendKey, Range, RangeKey, Service, ServiceKey, range_kinds};
use orknet_cni::protocol::{Answer, Request};
use orknet_compiler::{MapImage, Step};
use std::sync::Arc;

const ONE: &str = "service 10.96.0.1 address\nservice 10.96.0.1:80/TCP -> list 1 of 1\nbackend 1/0 10.244.1.2:8080\n";
const TWO: &str =
    "service 10.96.0.1 address\nservice 10.96.0.1:80/TCP -> list 1 of 2\nbackend 1/0 10.244.1.2:8080\nbackend 1/1 10.244.2.2:8080\n";

/// A cluster with our Node, one Service and one endpoint.
fn cluster(api: FakeApi) -> FakeApi {
    api.put(node("here", &["10.244.1.0/24"], &["192.0.2.1"]));
    api.put(service("web", "10.96.0.1"));
    api.put(slice("web", &["10.244.1.2"]));
    api
}

async fn becomes(dataplane: &FakeDataplane, wanted: &str) {
    eventually(&format!("maps as\n{wanted}"), || (dataplane.dump() == wanted).then_some(())).await;
}

#[test]
fn root_the_maps_follow_the_cluster() {
    for api in [FakeApi::new(), FakeApi::with_streaming_lists()] {
        in_namespace(|| async {
            let (api, dataplane) = (cluster(api), Arc::new(FakeDataplane::default()));
            let _agent = Agent::start(&api, &dataplane);
            becomes(&dataplane, ONE).await;
            assert_eq!(dataplane.cgroup.lock().unwrap().as_deref(), Some("/nowhere".as_ref()));
            api.put(slice("web", &["10.244.1.2", "10.244.2.2"]));
            becomes(&dataplane, TWO).await;
            api.delete(&slice("web", &[]));
            api.delete(&service("web", "10.96.0.1"));
            becomes(&dataplane, "maps empty\n").await;
        });
    }
}

#[test]
fn root_a_deletion_that_nobody_saw_is_found_by_the_next_list() {
    for api in [FakeApi::new(), FakeApi::with_streaming_lists()] {
        in_namespace(|| async {
            let (api, dataplane) = (cluster(api), Arc::new(FakeDataplane::default()));
            api.put(service("gone", "10.96.0.2"));
            let _agent = Agent::start(&api, &dataplane);
            eventually("both Services", || dataplane.dump().contains("10.96.0.2").then_some(())).await;
            api.delete_unseen(&service("gone", "10.96.0.2"));
            becomes(&dataplane, ONE).await;
        });
    }
}

#[test]
fn root_a_server_that_is_down_changes_nothing_and_is_followed_again() {
    in_namespace(|| async {
        let (api, dataplane) = (cluster(FakeApi::new()), Arc::new(FakeDataplane::default()));
        let _agent = Agent::start(&api, &dataplane);
        becomes(&dataplane, ONE).await;
        api.set_down(true);
        api.put(slice("web", &["10.244.1.2", "10.244.2.2"]));
        assert_eq!(dataplane.dump(), ONE);
        api.set_down(false);
        becomes(&dataplane, TWO).await;
    });
}

#[test]
fn root_a_restart_writes_only_what_differs_and_removes_nothing_before_it_has_seen_everything() {
    in_namespace(|| async {
        let (api, dataplane) = (cluster(FakeApi::new()), Arc::new(FakeDataplane::default()));
        let agent = Agent::start(&api, &dataplane);
        becomes(&dataplane, ONE).await;
        let before = dataplane.maps.lock().unwrap().clone();
        let folder = agent.stop().await;
        assert_eq!(*dataplane.maps.lock().unwrap(), before, "stopping must not touch the maps");
        // An entry of a Service that went while the agent was down.
        let stale = ServiceKey { address: Address::from_v4([10, 96, 0, 9]), ..ServiceKey::default() };
        dataplane.maps.lock().unwrap().services.insert(stale, Service::default());
        dataplane.take_steps();
        api.set_down(true);
        let agent = Agent::start_in(folder, &api, &dataplane);
        agent.ask(&Request::Status).await;
        assert_eq!(dataplane.take_steps(), []);
        api.set_down(false);
        becomes(&dataplane, ONE).await;
        assert_eq!(dataplane.take_steps(), [Step::DeleteService(stale)]);
        assert_eq!(*dataplane.maps.lock().unwrap(), before);
    });
}

#[test]
fn root_maps_that_somebody_changed_are_repaired() {
    in_namespace(|| async {
        let (api, dataplane) = (cluster(FakeApi::new()), Arc::new(FakeDataplane::default()));
        let _agent = Agent::start(&api, &dataplane);
        becomes(&dataplane, ONE).await;
        *dataplane.maps.lock().unwrap() = MapImage::default();
        becomes(&dataplane, ONE).await;
        let foreign = BackendKey { list: 77, slot: 0 };
        dataplane.maps.lock().unwrap().backends.insert(foreign, Backend::default());
        eventually("the foreign backend goes", || (!dataplane.maps.lock().unwrap().backends.contains_key(&foreign)).then_some(())).await;
        assert_eq!(dataplane.dump(), ONE);
    });
}

#[test]
fn root_ranges_are_closed_once_all_services_in_them_are_known() {
    in_namespace(|| async {
        let (api, dataplane) = (cluster(FakeApi::new()), Arc::new(FakeDataplane::default()));
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let _agent = Agent::start_with(folder, &api, &dataplane, |config| config.service_cidrs = vec!["10.96.0.0/16".parse().unwrap()]);
        becomes(&dataplane, ONE).await;
        let range = RangeKey::new("10.96.0.0".parse().unwrap(), 16);
        let services = Range { kinds: range_kinds::SERVICES, ..Range::default() };
        let steps = dataplane.take_steps();
        let closed = steps.iter().position(|step| *step == Step::PutRange(range, services)).unwrap();
        assert!(steps[closed..].iter().all(|step| matches!(step, Step::PutRange(..))), "after the Services: {steps:?}");
    });
}

#[test]
fn root_a_failed_write_is_tried_again() {
    in_namespace(|| async {
        let (api, dataplane) = (cluster(FakeApi::new()), Arc::new(FakeDataplane::default()));
        *dataplane.failing.lock().unwrap() = 4;
        let _agent = Agent::start(&api, &dataplane);
        becomes(&dataplane, ONE).await;
        assert_eq!(*dataplane.failing.lock().unwrap(), 0);
    });
}

#[test]
fn root_nothing_is_planned_before_the_maps_could_be_read_after_a_failure() {
    in_namespace(|| async {
        let (api, dataplane) = (cluster(FakeApi::new()), Arc::new(FakeDataplane::default()));
        let folder = Arc::new(tempfile::tempdir().unwrap());
        // So that no comparison finds what is missing.
        let agent = Agent::start_with(folder, &api, &dataplane, |config| config.resync_seconds = 3600);
        becomes(&dataplane, ONE).await;
        agent.configured().await;
        (*dataplane.unreadable.lock().unwrap(), *dataplane.failing.lock().unwrap()) = (true, 1);
        api.put(slice("web", &["10.244.1.2", "10.244.2.2"]));
        eventually("the write fails", || (*dataplane.failing.lock().unwrap() == 0).then_some(())).await;
        let steps = dataplane.take_steps();
        // A second change: what is made of it must wait too.
        api.put(service("more", "10.96.0.2"));
        api.delete(&service("more", "10.96.0.2"));
        for _ in 0..3 {
            let Answer::Status(status) = agent.ask(&Request::Status).await else { panic!() };
            assert!(!status.programmed, "nobody knows what the maps hold");
        }
        assert_eq!(dataplane.take_steps(), [], "after {steps:?}");
        *dataplane.unreadable.lock().unwrap() = false;
        becomes(&dataplane, TWO).await;
    });
}

#[test]
fn root_another_version_is_retired_even_if_it_does_not_work_at_once() {
    in_namespace(|| async {
        let (api, dataplane) = (cluster(FakeApi::new()), Arc::new(FakeDataplane::default()));
        *dataplane.clinging.lock().unwrap() = 1;
        let _agent = Agent::start(&api, &dataplane);
        eventually("the other version is retired", || dataplane.retired.lock().unwrap().then_some(())).await;
        assert_eq!(dataplane.dump(), ONE, "not before the maps are complete");
    });
}

#[test]
fn root_devices_are_looked_after_while_writes_fail() {
    in_namespace(|| async {
        let (api, dataplane) = (cluster(FakeApi::new()), Arc::new(FakeDataplane::default()));
        *dataplane.failing.lock().unwrap() = usize::MAX;
        let agent = Agent::start(&api, &dataplane);
        agent.configured().await;
        dataplane.devices.lock().unwrap().insert(9_999);
        eventually("the stray device is detached", || dataplane.devices.lock().unwrap().is_empty().then_some(())).await;
        let Answer::Status(status) = agent.ask(&Request::Status).await else { panic!() };
        assert!(!status.programmed);
    });
}

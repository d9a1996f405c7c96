//! Maps that are full: what the node and its events say.

use crate::harness::{Agent, FakeApi, FakeDataplane, eventually, in_namespace, node, service, slice};
use orknet_abi::{Address, Backend, protocol::TCP};
use orknet_dataplane::Use;
use std::sync::Arc;

#[test]
fn root_a_full_map_is_told_on_the_node_and_taken_back_when_there_is_room() {
    in_namespace(|| async {
        let (api, dataplane) = (FakeApi::new(), Arc::new(FakeDataplane::default()));
        api.put(node("here", &["10.244.1.0/24"], &["192.0.2.1"]));
        api.put(service("web", "10.96.0.1"));
        api.put(slice("web", &["10.244.1.2"]));
        let _agent = Agent::start(&api, &dataplane);
        let condition = |status: &str| api.condition("here", "NetworkMapsFull").filter(|condition| condition["status"] == status);
        let first = eventually("there is room", || condition("False")).await;
        assert_eq!(first["reason"], "RoomForAll");
        assert_eq!(api.events(), Vec::<serde_json::Value>::new());
        *dataplane.full.lock().unwrap() = Some(("SERVICES", 2));
        *dataplane.failing.lock().unwrap() = usize::MAX;
        api.put(service("more", "10.96.0.2"));
        let full = eventually("the map is full", || condition("True")).await;
        assert_eq!(full["reason"], "MapFull");
        let message = full["message"].as_str().unwrap();
        assert!(message.contains("SERVICES is full (2 entries)") && message.contains("raise capacities.SERVICES"), "{message}");
        assert!(message.ends_with("default/more"), "{message}");
        let events = eventually("both events", || Some(api.events()).filter(|events| events.len() == 2)).await;
        let about: Vec<_> = events.iter().map(|event| (&event["involvedObject"]["kind"], &event["involvedObject"]["name"])).collect();
        assert_eq!(about, [(&"Node".into(), &"here".into()), (&"Service".into(), &"more".into())]);
        *dataplane.failing.lock().unwrap() = 0;
        eventually("there is room again", || condition("False")).await;
        assert_eq!(api.events().len(), 2);
    });
}

/// With a full map, too, a change costs what it changes.
#[test]
fn root_while_a_map_is_full_the_maps_are_not_read_again() {
    in_namespace(|| async {
        let (api, dataplane) = (FakeApi::new(), Arc::new(FakeDataplane::default()));
        api.put(node("here", &["10.244.1.0/24"], &["192.0.2.1"]));
        let _agent = Agent::start(&api, &dataplane);
        let condition = |status: &str| api.condition("here", "NetworkMapsFull").filter(|condition| condition["status"] == status);
        eventually("there is room", || condition("False")).await;
        *dataplane.full.lock().unwrap() = Some(("BACKENDS", 2));
        *dataplane.failing.lock().unwrap() = usize::MAX;
        *dataplane.unreadable.lock().unwrap() = true;
        api.put(service("web", "10.96.0.1"));
        api.put(slice("web", &["10.244.1.2"]));
        eventually("the map is full", || condition("True")).await;
        let before = *dataplane.failing.lock().unwrap();
        eventually("another attempt", || (*dataplane.failing.lock().unwrap() < before).then_some(())).await;
        *dataplane.failing.lock().unwrap() = 0;
        eventually("there is room again", || condition("False")).await;
        assert!(dataplane.dump().contains("backend 1/0 10.244.1.2:8080"), "{}", dataplane.dump());
    });
}

#[test]
fn root_flows_that_find_no_room_are_told_on_the_node() {
    in_namespace(|| async {
        let (api, dataplane) = (FakeApi::new(), Arc::new(FakeDataplane::default()));
        api.put(node("here", &["10.244.1.0/24"], &["192.0.2.1"]));
        api.put(service("web", "10.96.0.1"));
        let backend = |last| format!("10.244.1.{last}");
        let backends: Vec<_> = (1..=50).map(backend).collect();
        api.put(slice("web", &backends.iter().map(String::as_str).collect::<Vec<_>>()));
        let flow = |last| Use {
            front: Address::from_v4([10, 96, 0, 1]),
            front_port_be: 80_u16.to_be(),
            protocol: TCP,
            backend: Backend { address: Address::from_v4([10, 244, 1, last]), port_be: 8_080_u16.to_be(), reserved: 0 },
        };
        *dataplane.flows.lock().unwrap() = (1..=50).map(flow).collect();
        let _agent = Agent::start(&api, &dataplane);
        let condition = |status: &str| api.condition("here", "NetworkMapsFull").filter(|condition| condition["status"] == status);
        let full = eventually("the map is full", || condition("True")).await;
        assert!(full["message"].as_str().unwrap().starts_with("FLOWS is full (100 entries)"), "{full}");
        dataplane.flows.lock().unwrap().clear();
        // Endpoints that change make it look again at once.
        api.put(slice("web", &["10.244.1.1"]));
        eventually("there is room again", || condition("False")).await;
    });
}

#[test]
fn root_what_the_server_did_not_take_is_told_again() {
    in_namespace(|| async {
        let (api, dataplane) = (FakeApi::new(), Arc::new(FakeDataplane::default()));
        api.put(node("here", &["10.244.1.0/24"], &["192.0.2.1"]));
        let agent = Agent::start(&api, &dataplane);
        agent.configured().await;
        *dataplane.full.lock().unwrap() = Some(("SERVICES", 2));
        *dataplane.failing.lock().unwrap() = usize::MAX;
        api.put(service("more", "10.96.0.2"));
        eventually("the write fails", || (*dataplane.failing.lock().unwrap() < usize::MAX).then_some(())).await;
        api.set_down(true);
        *dataplane.full.lock().unwrap() = Some(("SERVICES", 3));
        let before = *dataplane.failing.lock().unwrap();
        eventually("another write", || (*dataplane.failing.lock().unwrap() < before).then_some(())).await;
        api.set_down(false);
        let told = || api.condition("here", "NetworkMapsFull").filter(|condition| condition["message"].to_string().contains("(3 entries)"));
        eventually("the new capacity", told).await;
    });
}

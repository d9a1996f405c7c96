//! What the Nodes mean for the programs: the node's own entry, ranges of addresses, the devices that lead to the network.

use crate::harness::{Agent, FakeApi, FakeDataplane, eventually, in_namespace, ip, node};
use nix::net::if_::if_nametoindex;
use orknet_abi::{Address, Range, RangeKey, node_flags, range_kinds};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

fn device(name: &str, address: &str) -> u32 {
    ip(&format!("link add {name} type veth peer name to-{name}"));
    ip(&format!("address add {address} dev {name}"));
    if_nametoindex(name).unwrap()
}

fn address(text: &str) -> Address {
    text.parse::<IpAddr>().unwrap().into()
}

#[test]
fn root_programs_know_the_node_and_the_ranges_of_all_nodes() {
    in_namespace(|| async {
        let (api, dataplane) = (FakeApi::new(), Arc::new(FakeDataplane::default()));
        api.put(node("here", &["10.244.1.0/24"], &["192.0.2.1", "2001:db8::1"]));
        api.put(node("there", &["10.244.2.0/24"], &["192.0.2.2"]));
        let _agent = Agent::start_with(Arc::new(tempfile::tempdir().unwrap()), &api, &dataplane, |config| {
            config.no_masquerade_cidrs = vec!["198.51.100.0/24".parse().unwrap()];
            config.maglev_table_size = 1_021;
        });
        let known = eventually("the node's entry", || dataplane.maps.lock().unwrap().node).await;
        assert_eq!((known.v4, known.v6), (address("192.0.2.1"), address("2001:db8::1")));
        assert_eq!((known.first_port, known.last_port, known.overlay), (1_024, 29_999, 0));
        assert_eq!((known.flags, known.table_size), (node_flags::MASQUERADE, 1_021));
        let range = |text: &str, bits| dataplane.maps.lock().unwrap().ranges.get(&RangeKey::new(text.parse().unwrap(), bits)).copied();
        let of = |kinds, node: &str| Some(Range { kinds, node: address(node) });
        eventually("the ranges", || range("10.244.2.0", 24)).await;
        assert_eq!(range("10.244.1.0", 24), of(range_kinds::PODS, "::"));
        assert_eq!(range("10.244.2.0", 24), of(range_kinds::PODS, "192.0.2.2"));
        assert_eq!(range("192.0.2.2", 32), of(range_kinds::DIRECT, "::"));
        assert_eq!(range("2001:db8::1", 128), of(range_kinds::DIRECT, "::"));
        assert_eq!(range("198.51.100.0", 24), of(range_kinds::DIRECT, "::"));
        // The node moves, and another one goes.
        api.put(node("here", &["10.244.1.0/24"], &["192.0.2.7"]));
        api.delete(&node("there", &["10.244.2.0/24"], &["192.0.2.2"]));
        let moved = || dataplane.maps.lock().unwrap().node.filter(|node| (node.v4, node.v6) == (address("192.0.2.7"), Address::default()));
        eventually("the new address", moved).await;
        eventually("the range is gone", || range("10.244.2.0", 24).is_none().then_some(())).await;
    });
}

#[test]
fn root_devices_with_the_nodes_addresses_have_the_programs_for_the_network() {
    in_namespace(|| async {
        let (api, dataplane) = (FakeApi::new(), Arc::new(FakeDataplane::default()));
        let (uplink, _) = (device("uplink", "192.0.2.1/24"), device("other", "198.51.100.1/24"));
        api.put(node("here", &["10.244.1.0/24"], &["192.0.2.1"]));
        let agent = Agent::start(&api, &dataplane);
        let become_ = async |wanted: &[u32]| {
            let wanted: BTreeSet<u32> = wanted.iter().copied().collect();
            eventually("the devices", || (*dataplane.network.lock().unwrap() == wanted).then_some(())).await;
        };
        become_(&[uplink]).await;
        // Nobody tells of an address that moves to another device: the next look finds it.
        ip("address del 192.0.2.1/24 dev uplink");
        let second = device("second", "192.0.2.1/24");
        become_(&[second]).await;
        // What somebody took away comes back.
        dataplane.network.lock().unwrap().clear();
        become_(&[second]).await;
        agent.stop().await;
        assert_eq!(dataplane.network.lock().unwrap().len(), 1, "stopping must not touch the programs");
    });
}

#[test]
fn root_devices_that_are_named_are_taken_when_they_come() {
    in_namespace(|| async {
        let (api, dataplane) = (FakeApi::new(), Arc::new(FakeDataplane::default()));
        device("uplink", "192.0.2.1/24");
        api.put(node("here", &["10.244.1.0/24"], &["192.0.2.1"]));
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let agent = Agent::start_with(folder, &api, &dataplane, |config| config.devices = vec!["bond0".into()]);
        agent.configured().await;
        assert!(dataplane.network.lock().unwrap().is_empty());
        let named = device("bond0", "203.0.113.1/24");
        eventually("the device", || (*dataplane.network.lock().unwrap() == BTreeSet::from([named])).then_some(())).await;
    });
}

#[test]
fn root_settings_that_make_no_sense_end_the_agent() {
    in_namespace(|| async {
        let (api, dataplane) = (FakeApi::new(), Arc::new(FakeDataplane::default()));
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let agent = Agent::start_with(folder, &api, &dataplane, |config| config.maglev_table_size = 16_384);
        let error = agent.task.await.unwrap().unwrap_err().to_string();
        assert!(error.contains("maglevTableSize"), "{error}");
    });
}

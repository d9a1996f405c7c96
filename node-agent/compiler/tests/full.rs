//! Maps that have no room: what the state makes of steps that failed, on a model of maps that can be full.

use orknet_abi::{Address, RangeKey, ServiceKey, protocol};
use orknet_compiler::facts::{Endpoint, ExternalFacts, Readiness, ServicePort, SlicePort};
use orknet_compiler::{Change, Inputs, MapImage, NodeFacts, ObjectName, ServiceFacts, SliceFacts, State, Step, compile};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeSet;

/// Maps, and the entries that they have room for.
struct Kernel {
    maps: MapImage,
    services: usize,
    backends: usize,
    sources: usize,
}

/// Lists and sets that a Service leads to.
fn parts(maps: &MapImage, keys: &BTreeSet<ServiceKey>) -> (BTreeSet<u32>, BTreeSet<u32>) {
    let services = || maps.services.iter().filter(|(key, _)| keys.contains(key)).map(|(_, service)| service);
    (
        services().filter(|service| service.count > 0).map(|service| service.list).collect(),
        services().map(|service| service.sources).collect(),
    )
}

impl Kernel {
    fn with_room(services: usize, backends: usize, sources: usize) -> Self {
        Self { maps: MapImage::default(), services, backends, sources }
    }

    /// Does what can be done, as the data plane does; what could not.
    fn apply(&mut self, steps: Vec<Step>) -> Vec<Step> {
        let (mut lists, mut sets, mut unswitched) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        let mut failures = Vec::new();
        for step in steps {
            let maps = &self.maps;
            let (used_lists, used_sets) = parts(maps, &unswitched);
            let fails = match &step {
                Step::PutBackend(key, _) if maps.backends.len() >= self.backends => {
                    lists.insert(key.list);
                    true
                }
                Step::PutSource(key) if maps.sources.len() >= self.sources => {
                    sets.insert(key.set);
                    true
                }
                Step::PutService(key, service) => {
                    let lacks_parts = lists.contains(&service.list) || sets.contains(&service.sources);
                    let is_full = !maps.services.contains_key(key) && maps.services.len() >= self.services;
                    if lacks_parts || is_full {
                        unswitched.insert(*key);
                    }
                    lacks_parts || is_full
                }
                Step::DeleteBackend(key) => used_lists.contains(&key.list),
                Step::DeleteSource(key) => used_sets.contains(&key.set),
                _ => false,
            };
            if fails {
                failures.push(step);
            } else {
                self.maps.apply(step);
            }
        }
        failures
    }
}

/// Whether everything is written; what was not has been taken back, without reading the maps.
fn write(state: &mut State, kernel: &mut Kernel) -> bool {
    let failures = kernel.apply(state.plan().steps);
    assert!(failures.is_empty() || state.take_back(&failures), "{failures:?}");
    assert_eq!(*state.image(), kernel.maps);
    failures.is_empty()
}

fn object(number: u8) -> ObjectName {
    ObjectName { namespace: "default".into(), name: format!("s{number}").into() }
}

/// With a cluster address, a load balancer's, which is shared, and a node port if `ranges` are meant.
fn service(number: u8, ranges: u8) -> ServiceFacts {
    let range = |number| RangeKey::new([198, 51, 100, number].into(), 32);
    let external = ExternalFacts {
        balancer_addresses: Box::new([Address::from_v4([203, 0, 113, 1])]),
        sources: Some((0..ranges).map(range).collect()),
        ..ExternalFacts::default()
    };
    let port = u16::from(number);
    let port = ServicePort { name: "http".into(), protocol: protocol::TCP, port: 80 + port, node_port: 30_000 + port };
    ServiceFacts {
        cluster_addresses: Box::new([Address::from_v4([10, 96, 0, number])]),
        ports: Box::new([port]),
        external: (ranges > 0).then(|| Box::new(external)),
        ..ServiceFacts::default()
    }
}

fn slice(number: u8, endpoints: &[u8]) -> SliceFacts {
    let endpoint = |last: &u8| Endpoint {
        address: Address::from_v4([10, 244, 1, *last]),
        node: Some("here".into()),
        readiness: Readiness::Ready,
        hints: None,
    };
    SliceFacts {
        service: object(number).name,
        ports: Box::new([SlicePort { name: "http".into(), protocol: protocol::TCP, port: 8_080 }]),
        endpoints: endpoints.iter().map(endpoint).collect(),
    }
}

fn node() -> NodeFacts {
    NodeFacts { name: "here".into(), addresses: Box::new([Address::from_v4([192, 0, 2, 1])]), ..NodeFacts::default() }
}

#[test]
fn what_finds_no_room_keeps_what_it_had_and_the_others_go_on() {
    let (mut state, mut kernel) = (State::new(node()), Kernel::with_room(100, 3, 0));
    let put = |state: &mut State, number, endpoints: &[u8]| {
        state.note(Change::Service(object(number), Some(service(number, 0))));
        state.note(Change::Slice(object(number), Some(slice(number, endpoints))));
    };
    let backends = |kernel: &Kernel, number: u8| -> Vec<u8> {
        let key = ServiceKey {
            port_be: (80 + u16::from(number)).to_be(),
            protocol: protocol::TCP,
            address: Address::from_v4([10, 96, 0, number]),
            scope: 0,
        };
        let service = &kernel.maps.services[&key];
        kernel
            .maps
            .list(service.list)
            .map(|(_, backend)| std::net::IpAddr::from(backend.address))
            .map(|address| match address {
                std::net::IpAddr::V4(v4) => v4.octets()[3],
                std::net::IpAddr::V6(_) => 0,
            })
            .collect()
    };
    put(&mut state, 1, &[1]);
    assert!(write(&mut state, &mut kernel));
    put(&mut state, 1, &[1, 2, 3]);
    assert!(!write(&mut state, &mut kernel));
    assert_eq!(backends(&kernel, 1), [1]);
    // Another one fits although what was written of the list before was in its way.
    put(&mut state, 2, &[4]);
    state.note(Change::Slice(object(1), Some(slice(1, &[1]))));
    assert!(write(&mut state, &mut kernel));
    assert_eq!((backends(&kernel, 1), backends(&kernel, 2)), (vec![1], vec![4]));
    put(&mut state, 1, &[1, 2, 3]);
    assert!(!write(&mut state, &mut kernel) && !write(&mut state, &mut kernel));
    kernel.backends = 5;
    assert!(write(&mut state, &mut kernel));
    assert_eq!((backends(&kernel, 1), kernel.maps.orphans()), (vec![1, 2, 3], vec![]));
    assert_eq!(state.plan().steps, []);
}

#[test]
fn what_is_said_of_the_node_makes_the_maps_be_read() {
    let mut state = State::new(node());
    state.note(Change::Settings(orknet_abi::Node { first_port: 1, ..orknet_abi::Node::default() }));
    let steps = state.plan().steps;
    assert!(!state.take_back(&steps));
    let strange = Step::PutService(ServiceKey::default(), orknet_abi::Service::default());
    assert!(!state.take_back([&strange]));
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        (1..6u8, 0..4u8, any::<bool>())
            .prop_map(|(number, ranges, is_there)| { Change::Service(object(number), is_there.then(|| service(number, ranges))) }),
        (1..6u8, vec(1..8u8, 0..5)).prop_map(|(number, endpoints)| {
            let endpoints: BTreeSet<_> = endpoints.into_iter().collect();
            Change::Slice(object(number), Some(slice(number, &endpoints.into_iter().collect::<Vec<_>>())))
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_finds_no_room_the_image_is_what_the_kernel_holds(
        bursts in vec(vec(change(), 0..4), 1..20), services in 0..30usize, backends in 0..12usize, sources in 0..6usize,
    ) {
        let (mut inputs, mut state) = (Inputs { node: node(), ..Inputs::default() }, State::new(node()));
        let mut kernel = Kernel::with_room(services, backends, sources);
        for burst in bursts {
            for change in burst {
                match change.clone() {
                    Change::Service(name, Some(facts)) => drop(inputs.services.insert(name, facts)),
                    Change::Service(name, None) => drop(inputs.services.remove(&name)),
                    Change::Slice(name, Some(facts)) => drop(inputs.slices.insert(name, facts)),
                    _ => {}
                }
                state.note(change);
            }
            write(&mut state, &mut kernel);
        }
        kernel = Kernel { maps: kernel.maps, ..Kernel::with_room(1_000, 1_000, 1_000) };
        prop_assert!(write(&mut state, &mut kernel));
        prop_assert_eq!(kernel.maps.orphans(), vec![]);
        prop_assert_eq!(kernel.maps.canonical(), compile(&inputs));
    }
}

//! Plans of the compiler applied to real maps that no program uses, and read back.

use super::*;
use crate::{MapUse, Reader};
use orknet_abi::{Address, Backend, BackendKey, Node, Pod, PodKey, Range, RangeKey, TABLES, protocol, range_kinds, scope};
use orknet_compiler::facts::{Endpoint, ExternalFacts, Readiness, ServicePort, SlicePort};
use orknet_compiler::{Attachment, Change, MapImage, NodeFacts, ObjectName, ServiceFacts, SliceFacts, State};
use std::{collections::BTreeMap, net::IpAddr};

const TABLE_SIZE: u32 = 1_021;

/// A node at 192.0.2.1 with what its programs must know.
fn state() -> State {
    let mut state = State::new(NodeFacts { addresses: Box::new([Address::from_v4([192, 0, 2, 1])]), ..NodeFacts::default() });
    state.note(Change::Settings(Node { first_port: 61_000, last_port: 65_535, table_size: TABLE_SIZE, ..Node::default() }));
    let services = Range { kinds: range_kinds::SERVICES, ..Range::default() };
    state.note(Change::Ranges(BTreeMap::from([(RangeKey::new(IpAddr::from([10, 96, 0, 0]), 16), services)])));
    state
}

fn object(number: u8) -> ObjectName {
    ObjectName { namespace: "default".into(), name: format!("s{number}").into() }
}

/// A Service with a node port, a load-balancer address with one source, and so many endpoints.
fn service(number: u8, endpoints: u8) -> [Change; 2] {
    let port = ServicePort { name: "".into(), protocol: protocol::TCP, port: 80, node_port: 30_000 + u16::from(number) };
    let external = ExternalFacts {
        balancer_addresses: Box::new([front(number, scope::INSIDE).address]),
        sources: Some(Box::new([RangeKey::new(IpAddr::from([172, 16, number, 0]), 24)])),
        ..ExternalFacts::default()
    };
    let service = ServiceFacts {
        cluster_addresses: Box::new([Address::from_v4([10, 96, 0, number])]),
        ports: Box::new([port]),
        external: Some(Box::new(external)),
        ..ServiceFacts::default()
    };
    let endpoint = |n| Endpoint { address: Address::from_v4([10, 244, number, n]), node: None, readiness: Readiness::Ready, hints: None };
    let slice = SliceFacts {
        service: object(number).name,
        ports: Box::new([SlicePort { name: "".into(), protocol: protocol::TCP, port: 8_080 }]),
        endpoints: (0..endpoints).map(endpoint).collect(),
    };
    [Change::Service(object(number), Some(service)), Change::Slice(object(number), Some(slice))]
}

fn gone(number: u8) -> [Change; 2] {
    [Change::Service(object(number), None), Change::Slice(object(number), None)]
}

fn entries(reader: &Reader, name: &str) -> u32 {
    reader.maps().unwrap().iter().find(|map: &&MapUse| map.name == name).unwrap().entries
}

fn front(number: u8, scope: u8) -> ServiceKey {
    let address = IpAddr::from([203, 0, 113, number]).into();
    ServiceKey { address, port_be: 80_u16.to_be(), protocol: 6, scope }
}

#[test]
fn root_every_kind_of_entry_is_written_read_back_and_removed() {
    let reader = Reader::over(Tables::create(|_| 256));
    let mut state = state();
    for changes in [service(1, 3), service(2, 1), service(1, 2), service(3, 0)] {
        let plan = state.apply(changes);
        let applied = apply(reader.tables(), &plan);
        assert!(applied.failures.is_empty() && applied.done == plan.steps.len(), "{:?}", applied.failures);
        assert_eq!(reader.image().unwrap(), *state.image());
        assert!(reader.holds(state.image()).unwrap());
    }
    assert_eq!(
        [entries(&reader, "TABLES"), entries(&reader, "SOURCES"), entries(&reader, "NODE"), entries(&reader, "RANGES")],
        [3, 3, 1, 1]
    );
    let plan = state.apply((1..=3).flat_map(gone).chain([Change::Settings(Node::default()), Change::Ranges(BTreeMap::new())]));
    assert!(apply(reader.tables(), &plan).failures.is_empty());
    assert_eq!(reader.image().unwrap(), MapImage::default());
}

#[test]
fn root_what_differs_in_any_map_is_noticed() {
    let reader = Reader::over(Tables::create(|_| 256));
    let mut state = state();
    apply(reader.tables(), &state.apply(service(1, 3)));
    let held = state.image().clone();
    let spoilt: [fn(&mut MapImage); 5] = [
        |image| image.node.as_mut().unwrap().first_port += 1,
        |image| image.ranges.values_mut().for_each(|range| range.kinds = range_kinds::DIRECT),
        |image| _ = image.sources.pop_first(),
        |image| drop(image.tables.pop_first()),
        |image| image.services.values_mut().for_each(|service| service.table += 1),
    ];
    for spoil in spoilt {
        let mut other = held.clone();
        spoil(&mut other);
        assert!(!reader.holds(&other).unwrap());
    }
    assert!(reader.holds(&held).unwrap());
}

#[test]
fn root_a_service_whose_table_has_no_room_does_without_it() {
    // Room for one table of three chunks, and for a chunk of the next.
    let reader = Reader::over(Tables::create(|spec| if *spec == TABLES { 4 } else { 256 }));
    let mut state = state();
    assert!(apply(reader.tables(), &state.apply(service(1, 3))).failures.is_empty());
    let applied = apply(reader.tables(), &state.apply(service(2, 3)));
    let told: Vec<_> = applied.failures.iter().map(ToString::to_string).collect();
    assert_eq!(told[0], "TABLES table 2 chunk 1: the map is full (4 entries); raise capacities.TABLES");
    assert!(applied.failures.iter().all(|failure| failure.map == TABLES.name), "{told:?}");
    let services = reader.services().unwrap();
    let (first, second) = (services[&front(1, scope::OUTSIDE)], services[&front(2, scope::OUTSIDE)]);
    assert!(first.table > 0 && second.table == 0 && second.count == 3, "{first:?}, {second:?}");
    assert_eq!(entries(&reader, "TABLES"), 3, "half a table is not kept");
    // When there is room it gets its table.
    state.adopt(reader.image().unwrap());
    let applied = apply(reader.tables(), &state.apply(gone(1)));
    assert!(!applied.failures.is_empty(), "tables come before others go");
    state.adopt(reader.image().unwrap());
    assert!(apply(reader.tables(), &state.plan()).failures.is_empty());
    assert!(reader.services().unwrap()[&front(2, scope::OUTSIDE)].table > 0);
    assert_eq!(reader.image().unwrap(), *state.image());
}

#[test]
fn root_a_service_is_not_switched_to_sources_that_are_incomplete() {
    let reader = Reader::over(Tables::create(|spec| if *spec == orknet_abi::SOURCES { 1 } else { 256 }));
    let mut state = state();
    assert!(apply(reader.tables(), &state.apply(service(1, 1))).failures.is_empty());
    let failures = apply(reader.tables(), &state.apply(service(2, 1))).failures;
    let told: Vec<_> = failures.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "SOURCES set 2 range 172.16.2.0/24: the map is full (1 entries); raise capacities.SOURCES",
            "SERVICES 203.0.113.2 port 80 protocol 6 inside: not switched: its backends or sources are incomplete",
            "SERVICES 203.0.113.2 port 80 protocol 6 outside: not switched: its backends or sources are incomplete",
        ]
    );
    let services = reader.services().unwrap();
    let has = |service| [scope::INSIDE, scope::OUTSIDE].map(|scope| services.contains_key(&front(service, scope)));
    assert_eq!((has(1), has(2)), ([true; 2], [false; 2]), "ranges hold from inside, too");
}

/// The state goes on from what was not written as if it had read the maps.
#[test]
fn root_what_finds_no_room_is_known_without_reading_the_maps() {
    for (full, capacity) in [(orknet_abi::SERVICES, 9), (orknet_abi::BACKENDS, 4), (orknet_abi::SOURCES, 1)] {
        let reader = Reader::over(Tables::create(|spec| if *spec == full { capacity } else { 256 }));
        let (mut state, mut failed) = (state(), 0);
        let changes = [service(1, 1), service(2, 3), service(1, 3), gone(2), service(3, 2), service(2, 1), gone(1), gone(3), service(2, 2)];
        for change in changes {
            let failures = apply(reader.tables(), &state.apply(change)).failures;
            assert!(failures.iter().all(|failure| !matches!(failure.cause, FailureCause::Kernel(_))), "{failures:?}");
            assert!(failures.is_empty() || state.take_back(failures.iter().map(|failure| &failure.step)), "{}: {failures:?}", full.name);
            assert_eq!(reader.image().unwrap(), *state.image(), "{}", full.name);
            failed += failures.len();
        }
        assert!(failed > 0, "{} was never full", full.name);
        assert_eq!(state.plan().steps, [], "{}: all that is left fits", full.name);
    }
}

/// Pods and ranges, too: what finds no room is tried again with every plan, and written when something has gone.
#[test]
fn root_pods_and_ranges_that_find_no_room_are_known_and_written_when_there_is_some() {
    let pod = |number: u8, is_there: bool| {
        let pod = Pod { ifindex: u32::from(number), pod_mac: [number; 6], host_mac: [9; 6], ..Pod::default() };
        let facts = Attachment { addresses: vec![Address::from_v4([10, 244, 1, number])], pod, ..Attachment::default() };
        Change::Attachment(format!("{number}").into(), is_there.then_some(facts))
    };
    let ranges = |numbers: &[u8]| {
        let range = |number: &u8| (RangeKey::new(IpAddr::from([172, 16, *number, 0]), 24), Range::default());
        Change::Ranges(numbers.iter().map(range).collect())
    };
    let changes = [
        [pod(1, true), ranges(&[1])],
        [pod(2, true), ranges(&[1, 2])],
        [pod(3, true), ranges(&[1, 2, 3])],
        [pod(1, false), ranges(&[2, 3])],
    ];
    for (full, told) in [
        (orknet_abi::PODS, "PODS 10.244.1.3: the map is full (2 entries); raise capacities.PODS"),
        (orknet_abi::RANGES, "RANGES 172.16.3.0/24: the map is full (2 entries); raise capacities.RANGES"),
    ] {
        let reader = Reader::over(Tables::create(|spec| if *spec == full { 2 } else { 256 }));
        let (mut state, mut failed) = (State::new(NodeFacts::default()), Vec::new());
        for changes in changes.clone() {
            let failures = apply(reader.tables(), &state.apply(changes)).failures;
            assert!(failures.is_empty() || state.take_back(failures.iter().map(|failure| &failure.step)), "{failures:?}");
            assert_eq!(reader.image().unwrap(), *state.image(), "{}", full.name);
            failed.extend(failures.iter().map(ToString::to_string));
        }
        assert_eq!(failed, [told; 2], "when it comes, and when what makes room for it goes after it in the same plan");
        assert!(apply(reader.tables(), &state.plan()).failures.is_empty());
        assert_eq!(entries(&reader, full.name), 2);
        assert_eq!(reader.image().unwrap(), *state.image());
        assert_eq!(state.plan().steps, []);
    }
}

#[test]
fn only_what_services_that_were_not_switched_use_stays() {
    let key = |port_be| ServiceKey { port_be, ..ServiceKey::default() };
    let service = |list, count| Service { list, count, table: list + 1, sources: list + 2, ..Service::default() };
    let services = [(key(1), service(10, 2)), (key(2), service(20, 2)), (key(3), Service { list: 30, ..Service::default() })];
    let parts = parts_in_use(&services, &BTreeSet::from([key(2), key(3), key(4)]));
    assert_eq!((parts.lists, parts.tables, parts.sources), ([20].into(), [21].into(), [22].into()));
}

#[test]
fn a_failure_names_map_entry_and_cause() {
    let step = Step::PutService(
        ServiceKey { address: IpAddr::from([10, 96, 0, 1]).into(), port_be: 80_u16.to_be(), protocol: 6, scope: 0 },
        Service::default(),
    );
    let failure = Failure { step, map: "SERVICES", cause: FailureCause::Full(16) };
    assert_eq!(
        failure.to_string(),
        "SERVICES 10.96.0.1 port 80 protocol 6 inside: the map is full (16 entries); raise capacities.SERVICES"
    );
}

/// Whoever is told of the writes that change ways hears of them before the first and after the last, and of nothing else.
#[test]
fn root_marked_steps_are_told_of_before_the_first_and_after_the_last() {
    let tables = Tables::create(|_| 16);
    let key = |last| PodKey { address: Address::from_v4([10, 244, 1, last]) };
    let backend = BackendKey { list: 1, slot: 0 };
    let steps = vec![
        Step::PutBackend(backend, Backend::default()),
        Step::PutPod(key(1), Pod::default()),
        Step::PutService(ServiceKey::default(), Service::default()),
        Step::DeletePod(key(2)),
        Step::DeleteBackend(backend),
    ];
    tables.pods.put_one(&key(2), Pod::default()).unwrap();
    let is_pods = |step: &Step| matches!(step, Step::PutPod(..) | Step::DeletePod(_));
    let mut told = Vec::new();
    let mut tell = |begins| {
        let pods = [1, 2].map(|last| tables.pods.get_single(&key(last)).unwrap().is_some());
        told.push((begins, pods, tables.backends.get_single(&backend).unwrap().is_some()));
    };
    apply_around(&tables, &Plan { steps: steps.clone() }, is_pods, &mut tell);
    assert_eq!(told, [(true, [false, true], true), (false, [true, false], true)]);
    told.clear();
    apply_around(&tables, &Plan { steps }, |_| false, &mut |begins| told.push((begins, [false; 2], false)));
    assert_eq!(told, []);
}

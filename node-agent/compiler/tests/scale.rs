//! Thirty thousand Services with ten endpoints each: what a change costs must not grow with them.
//!
//! The limits are for a debug build on a busy machine; `cargo test --release -p orknet-compiler --test scale -- --nocapture` shows
//! what it really takes.

use orknet_abi::{Address, Node, protocol};
use orknet_compiler::facts::{Endpoint, ExternalFacts, Readiness, ServicePort, SlicePort};
use orknet_compiler::{Change, NodeFacts, ObjectName, Options, ServiceFacts, SliceFacts, State, Step};
use std::time::{Duration, Instant};

const SERVICES: u32 = 30_000;
const ENDPOINTS: u32 = 10;
/// Every so many Services have a node port.
const NODE_PORT_EACH: u32 = 100;
/// As the map of tables has by default.
const TABLE_ROOM: u32 = 65_536;

fn object(number: u32) -> ObjectName {
    ObjectName { namespace: "default".into(), name: format!("service-{number}").into() }
}

fn has_node_port(number: u32) -> bool {
    number.is_multiple_of(NODE_PORT_EACH)
}

fn service(number: u32) -> ServiceFacts {
    let node_port = if has_node_port(number) { 30_000 + (number / NODE_PORT_EACH) as u16 } else { 0 };
    ServiceFacts {
        cluster_addresses: Box::new([Address::from_v4((0x0a60_0000 + number).to_be_bytes())]),
        ports: Box::new([ServicePort { name: "http".into(), protocol: protocol::TCP, port: 80, node_port }]),
        external: has_node_port(number).then(Box::<ExternalFacts>::default),
        ..ServiceFacts::default()
    }
}

fn slice(number: u32, endpoints: u32) -> SliceFacts {
    let endpoint = |n: u32| Endpoint {
        address: Address::from_v4((0x0af4_0000 + number * ENDPOINTS + n).to_be_bytes()),
        node: Some("there".into()),
        readiness: Readiness::Ready,
        hints: None,
    };
    SliceFacts {
        service: object(number).name,
        ports: Box::new([SlicePort { name: "http".into(), protocol: protocol::TCP, port: 8080 }]),
        endpoints: (0..endpoints).map(endpoint).collect(),
    }
}

/// Bytes of this process that are in memory (proc_pid_statm(5), in pages of 4,096 bytes on the machines that tests run on).
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

fn count(steps: &[Step], is_meant: impl Fn(&Step) -> bool) -> u32 {
    steps.iter().filter(|step| is_meant(step)).count() as u32
}

#[test]
fn one_endpoint_among_three_hundred_thousand_touches_one_service() {
    let before = resident();
    let node = NodeFacts { name: "here".into(), addresses: Box::new([Address::from_v4([192, 0, 2, 1])]), ..NodeFacts::default() };
    let mut state = State::new(node);
    state.note(Change::Settings(Node { table_size: 16_381, ..Node::default() }));
    state.note(Change::Options(Options { table_room: TABLE_ROOM, ..Options::default() }));
    for number in 0..SERVICES {
        state.note(Change::Service(object(number), Some(service(number))));
        state.note(Change::Slice(object(number), Some(slice(number, ENDPOINTS))));
    }
    let began = Instant::now();
    let plan = state.plan();
    let whole = began.elapsed();
    let with_node_port = SERVICES / NODE_PORT_EACH;
    assert_eq!(count(&plan.steps, |step| matches!(step, Step::PutBackend(..))), SERVICES * ENDPOINTS, "equal lists are there once");
    assert_eq!(count(&plan.steps, |step| matches!(step, Step::PutService(..))), SERVICES * 2 + with_node_port * 2);
    assert_eq!(count(&plan.steps, |step| matches!(step, Step::PutTable(..))), with_node_port * 35);
    assert_eq!(state.without_table().entries, 0);
    drop(plan);
    let each = (resident() - before) / SERVICES as usize;
    let began = Instant::now();
    let rounds = SERVICES / NODE_PORT_EACH - 1;
    for number in 1..=rounds {
        let number = number * NODE_PORT_EACH + 1;
        let plan = state.apply([Change::Slice(object(number), Some(slice(number, ENDPOINTS - 1)))]);
        let services = count(&plan.steps, |step| matches!(step, Step::PutService(..)));
        let backends = count(&plan.steps, |step| matches!(step, Step::PutBackend(..)));
        assert_eq!((services, backends, plan.steps.len() as u32), (1, ENDPOINTS - 1, 1 + ENDPOINTS - 1 + ENDPOINTS));
    }
    let inside = began.elapsed() / rounds;
    let began = Instant::now();
    for number in 1..=rounds {
        let number = number * NODE_PORT_EACH;
        let plan = state.apply([Change::Slice(object(number), Some(slice(number, ENDPOINTS - 1)))]);
        assert_eq!(count(&plan.steps, |step| matches!(step, Step::PutService(..))), 3);
    }
    let outside = began.elapsed() / rounds;
    println!(
        "{SERVICES} Services of {ENDPOINTS} endpoints: whole {whole:?}, one change {inside:?}, with a table {outside:?}, {each} bytes each"
    );
    // Costs that grow with the number of Services would miss these by far.
    assert!(inside < Duration::from_millis(5) && outside < Duration::from_millis(50), "{inside:?}, {outside:?}");
    assert!(whole < Duration::from_secs(60), "{whole:?}");
    assert!(each < 8 * 1024, "{each} bytes for a Service");
}

#[test]
fn services_beyond_the_room_for_tables_do_without_and_get_theirs_when_there_is_room() {
    let node = NodeFacts { name: "here".into(), addresses: Box::new([Address::from_v4([192, 0, 2, 1])]), ..NodeFacts::default() };
    let mut state = State::new(node);
    state.note(Change::Settings(Node { table_size: 251, ..Node::default() }));
    state.note(Change::Options(Options { table_room: 2, ..Options::default() }));
    let changes = |number| [Change::Service(object(number), Some(service(number))), Change::Slice(object(number), Some(slice(number, 3)))];
    for number in [0, 100, 200] {
        state.apply(changes(number));
    }
    assert_eq!(state.image().tables.len(), 2);
    let with_table = |state: &State| state.image().services.values().filter(|service| service.table > 0).count();
    let without = state.without_table();
    assert_eq!((with_table(&state), without.room, without.entries, without.services.len()), (2, 2, 1, 1));
    state.apply([Change::Service(object(0), None)]);
    let without = state.without_table();
    assert_eq!((with_table(&state), without.entries, without.services.len()), (2, 0, 0));
}

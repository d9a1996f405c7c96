//! What others ask of the state: where flows may go on to, what balancers are told.

use orknet_abi::{Address, Backend, Pod, Range, RangeKey, protocol, range_kinds};
use orknet_compiler::facts::{Endpoint, ExternalFacts, Readiness, ServicePort, SlicePort};
use orknet_compiler::{Attachment, Change, HealthCheck, HostPort, Lead, NodeFacts, ObjectName, ServiceFacts, SliceFacts, State};
use std::time::Instant;

const NODE: Address = Address::from_v4([192, 0, 2, 1]);
const CLUSTER: Address = Address::from_v4([10, 96, 0, 10]);
const BALANCER: Address = Address::from_v4([203, 0, 113, 10]);
const TCP: u8 = protocol::TCP;

fn object(name: &str) -> ObjectName {
    ObjectName { namespace: "default".into(), name: name.into() }
}

fn state() -> State {
    State::new(NodeFacts { name: "here".into(), addresses: Box::new([NODE]), ..NodeFacts::default() })
}

/// Port 80 with node port 30080, and 443 without.
fn service() -> ServiceFacts {
    let port = |name: &str, port, node_port| ServicePort { name: name.into(), protocol: TCP, port, node_port };
    let external = ExternalFacts { balancer_addresses: Box::new([BALANCER]), local: true, health_port: 32_000, ..ExternalFacts::default() };
    ServiceFacts {
        cluster_addresses: Box::new([CLUSTER]),
        ports: Box::new([port("http", 80, 30_080), port("tls", 443, 0)]),
        external: Some(Box::new(external)),
        ..ServiceFacts::default()
    }
}

fn slice(endpoints: &[(u8, &str, Readiness)]) -> SliceFacts {
    let endpoint = |(last, node, readiness): &(u8, &str, Readiness)| Endpoint {
        address: Address::from_v4([10, 244, 1, *last]),
        node: Some((*node).into()),
        readiness: *readiness,
        hints: None,
    };
    SliceFacts {
        service: "web".into(),
        ports: Box::new([SlicePort { name: "http".into(), protocol: TCP, port: 8_080 }]),
        endpoints: endpoints.iter().map(endpoint).collect(),
    }
}

fn web(state: &mut State, service: Option<ServiceFacts>, endpoints: &[(u8, &str, Readiness)]) {
    let slice = (!endpoints.is_empty()).then(|| slice(endpoints));
    state.apply([Change::Service(object("web"), service), Change::Slice(object("web-a"), slice)]);
}

fn leads(state: &State, front: Address, port: u16, protocol: u8, last: u8) -> bool {
    let backend = Backend { address: Address::from_v4([10, 244, 1, last]), port_be: 8_080_u16.to_be(), reserved: 0 };
    state.lead(&[Lead { front, front_port_be: port.to_be(), protocol, backend }]) == [true]
}

#[test]
fn flows_go_on_to_endpoints_in_whatever_state_and_to_nobody_else() {
    let mut state = state();
    web(
        &mut state,
        Some(service()),
        &[(2, "here", Readiness::Ready), (3, "there", Readiness::ServingTerminating), (4, "here", Readiness::No)],
    );
    for (front, port) in [(CLUSTER, 80), (BALANCER, 80), (NODE, 30_080)] {
        assert!((2..=4).all(|last| leads(&state, front, port, TCP, last)), "{port}");
        assert!(!leads(&state, front, port, TCP, 5));
    }
    assert!(!leads(&state, CLUSTER, 443, TCP, 2), "that port has no endpoint");
    web(&mut state, Some(service()), &[(2, "here", Readiness::Ready)]);
    assert!(leads(&state, NODE, 30_080, TCP, 2) && !leads(&state, NODE, 30_080, TCP, 3));
}

#[test]
fn flows_through_a_front_that_is_gone_go_on_over_tcp_while_somebody_has_the_endpoint() {
    let mut state = state();
    let inside = ServiceFacts { external: None, ..service() };
    web(&mut state, Some(inside), &[(2, "here", Readiness::Ready)]);
    assert!(leads(&state, NODE, 30_080, TCP, 2) && !leads(&state, NODE, 30_080, protocol::UDP, 2));
    web(&mut state, None, &[(2, "here", Readiness::Ready)]);
    assert!(leads(&state, CLUSTER, 80, TCP, 2) && !leads(&state, CLUSTER, 80, TCP, 3));
    web(&mut state, None, &[]);
    assert!(!leads(&state, CLUSTER, 80, TCP, 2));
}

#[test]
fn who_leads_to_a_backend_is_known_by_name() {
    let mut state = state();
    let ready = |last| (last, "here", Readiness::Ready);
    web(&mut state, Some(service()), &[ready(2), ready(3)]);
    // Another one with the same endpoint, and slices of a Service that is not there (any more), or has no address.
    let other = ServiceFacts { cluster_addresses: Box::new([Address::from_v4([10, 96, 0, 11])]), external: None, ..service() };
    let slice_of = |name: &str| SliceFacts { service: name.into(), ..slice(&[ready(3)]) };
    state.apply([
        Change::Service(object("api"), Some(other)),
        Change::Slice(object("api-a"), Some(slice_of("api"))),
        Change::Slice(object("gone-a"), Some(slice_of("gone"))),
    ]);
    let backend = |last, port: u16| Backend { address: Address::from_v4([10, 244, 1, last]), port_be: port.to_be(), reserved: 0 };
    let wanted =
        [(TCP, backend(2, 8_080)), (TCP, backend(3, 8_080)), (TCP, backend(4, 8_080)), (TCP, backend(2, 80)), (17, backend(2, 8_080))];
    let leading = state.services_leading_to(&wanted.into());
    let expected = [((TCP, backend(2, 8_080)), vec![object("web")]), ((TCP, backend(3, 8_080)), vec![object("api"), object("web")])];
    assert_eq!(leading, expected.into());
    assert!(state.services_leading_to(&[].into()).is_empty());
}

/// What a Service that is deleted leaves behind is asked about at once, flow by flow.
#[test]
fn many_questions_about_nobodys_fronts_take_one_look_at_the_endpoints() {
    let mut state = state();
    let endpoint = |number: u32| Endpoint {
        address: Address::from_v4((0x0af4_0000 + number).to_be_bytes()),
        node: None,
        readiness: Readiness::Ready,
        hints: None,
    };
    for number in 0..200 {
        let endpoints = (0..100).map(|last| endpoint(number * 100 + last)).collect();
        state.note(Change::Slice(object(&format!("web-{number}")), Some(SliceFacts { endpoints, ..slice(&[]) })));
    }
    let question = |number: u32| Lead {
        front: CLUSTER,
        front_port_be: 80_u16.to_be(),
        protocol: TCP,
        backend: Backend { address: endpoint(number).address, port_be: 8_080_u16.to_be(), reserved: 0 },
    };
    // The last ones are nobody's.
    let questions: Vec<_> = (0..512).map(|number| question(number * 50)).collect();
    let time = |questions: &[Lead]| {
        let began = Instant::now();
        (state.lead(questions), began.elapsed())
    };
    let (answers, all) = time(&questions);
    assert_eq!(answers, (0..512).map(|number| number < 400).collect::<Vec<_>>());
    let one = (0..5).map(|_| time(&questions[511..]).1).min().unwrap();
    assert!(all < 100 * one, "{} questions took {all:?}, one takes {one:?}", questions.len());
}

/// By direct return, a backend's node has flows to node ports of nodes that clients asked.
#[test]
fn datagrams_through_another_nodes_node_port_go_on_to_endpoints() {
    let mut state = state();
    let service = service();
    let ports = service.ports.iter().map(|port| ServicePort { protocol: protocol::UDP, ..port.clone() }).collect();
    web(&mut state, Some(ServiceFacts { ports, ..service }), &[]);
    let udp = SlicePort { name: "http".into(), protocol: protocol::UDP, port: 8_080 };
    state.apply([Change::Slice(object("web-a"), Some(SliceFacts { ports: Box::new([udp]), ..slice(&[(2, "here", Readiness::Ready)]) }))]);
    let other = Address::from_v4([192, 0, 2, 2]);
    let known = |state: &State, port, last| leads(state, other, port, protocol::UDP, last);
    assert!(!known(&state, 30_080, 2), "nobody has said that there is such a node");
    let range = |kinds| Range { kinds, ..Range::default() };
    let ranges =
        [(RangeKey::new([192, 0, 2, 0].into(), 24), range(0)), (RangeKey::new([192, 0, 2, 2].into(), 32), range(range_kinds::DIRECT))];
    state.apply([Change::Ranges(ranges.into())]);
    assert!(known(&state, 30_080, 2) && !known(&state, 30_080, 3) && !known(&state, 30_081, 2) && !known(&state, 80, 2));
    assert!(!leads(&state, Address::from_v4([192, 0, 2, 3]), 30_080, protocol::UDP, 2), "the wider range is no node");
}

#[test]
fn flows_through_a_host_port_go_on_to_its_pod() {
    let mut state = state();
    let pod = |last| Attachment {
        addresses: vec![Address::from_v4([10, 244, 1, last])],
        pod: Pod::default(),
        host_ports: vec![HostPort { address: None, port: 53, protocol: protocol::UDP, container_port: 8_080 }],
        owner: None,
    };
    state.apply([Change::Attachment("a".into(), Some(pod(2)))]);
    assert!(leads(&state, NODE, 53, protocol::UDP, 2) && !leads(&state, NODE, 53, protocol::UDP, 3));
    state.apply([Change::Attachment("a".into(), None), Change::Attachment("b".into(), Some(pod(3)))]);
    assert!(leads(&state, NODE, 53, protocol::UDP, 3) && !leads(&state, NODE, 53, protocol::UDP, 2));
}

#[test]
fn balancers_are_told_of_ready_endpoints_on_this_node_once_for_each_change() {
    let mut state = state();
    assert_eq!(state.take_health_checks(), None);
    let endpoints = [(2, "here", Readiness::Ready), (3, "here", Readiness::ServingTerminating), (4, "there", Readiness::Ready)];
    web(&mut state, Some(service()), &endpoints);
    let checks = |port, local_endpoints| Some([(object("web"), HealthCheck { port, local_endpoints })].into());
    assert_eq!((state.take_health_checks(), state.take_health_checks()), (checks(32_000, 1), None));
    web(&mut state, Some(service()), &endpoints[1..]);
    assert_eq!(state.take_health_checks(), checks(32_000, 0));
    state.apply([Change::Node(NodeFacts { name: "there".into(), ..NodeFacts::default() })]);
    assert_eq!(state.take_health_checks(), checks(32_000, 1));
    web(&mut state, None, &[]);
    assert_eq!(state.take_health_checks(), Some([].into()));
}

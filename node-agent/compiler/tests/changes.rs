//! What a change of a live Service writes, and in which order; every step is played on a model of the maps, which must stay sound.

use orknet_abi::{Address, Node, ServiceKey, protocol, scope};
use orknet_compiler::facts::{Endpoint, ExternalFacts, Readiness, ServicePort, SlicePort};
use orknet_compiler::{Change, MapImage, NodeFacts, ObjectName, ServiceFacts, SliceFacts, State, Step};

/// A node at 192.0.2.1 with tables of 251 positions, and the maps as its plans leave them.
struct Given {
    state: State,
    maps: MapImage,
}

impl Given {
    fn new() -> Self {
        let addresses = Box::new([Address::from_v4([192, 0, 2, 1])]);
        let mut state = State::new(NodeFacts { name: "here".into(), addresses, ..NodeFacts::default() });
        state.note(Change::Settings(Node { table_size: 251, ..Node::default() }));
        let mut given = Self { state, maps: MapImage::default() };
        given.play([]);
        given
    }

    fn play(&mut self, changes: impl IntoIterator<Item = Change>) -> Vec<Step> {
        let steps = self.state.apply(changes).steps;
        for step in &steps {
            self.maps.apply(step.clone());
            assert_eq!(self.maps.flaw(), None, "after {step:?}");
        }
        assert_eq!(self.maps, *self.state.image());
        assert_eq!(self.maps.orphans(), []);
        steps
    }
}

fn name() -> ObjectName {
    ObjectName { namespace: "default".into(), name: "web".into() }
}

/// Ports by name, number and node port.
fn service(ports: &[(&str, u16, u16)], external: Option<ExternalFacts>) -> Change {
    let port = |(name, port, node_port): &(&str, u16, u16)| ServicePort {
        name: (*name).into(),
        protocol: protocol::TCP,
        port: *port,
        node_port: *node_port,
    };
    let facts = ServiceFacts {
        cluster_addresses: Box::new([Address::from_v4([10, 96, 0, 10])]),
        ports: ports.iter().map(port).collect(),
        external: external.map(Box::new),
        ..ServiceFacts::default()
    };
    Change::Service(name(), Some(facts))
}

/// Endpoints 10.244.1.x on this node, which all have these ports.
fn slice(ports: &[(&str, u16)], endpoints: &[u8]) -> Change {
    let endpoint = |last: &u8| Endpoint {
        address: Address::from_v4([10, 244, 1, *last]),
        node: Some("here".into()),
        readiness: Readiness::Ready,
        hints: None,
    };
    let facts = SliceFacts {
        service: "web".into(),
        ports: ports.iter().map(|(name, port)| SlicePort { name: (*name).into(), protocol: protocol::TCP, port: *port }).collect(),
        endpoints: endpoints.iter().map(endpoint).collect(),
    };
    Change::Slice(name(), Some(facts))
}

fn key(address: [u8; 4], port: u16, scope: u8) -> ServiceKey {
    ServiceKey { address: Address::from_v4(address), port_be: port.to_be(), protocol: protocol::TCP, scope }
}

/// The kinds of the steps, each run of equal ones once.
fn kinds(steps: &[Step]) -> Vec<String> {
    let mut kinds: Vec<String> =
        steps.iter().map(|step| format!("{step:?}").chars().take_while(char::is_ascii_alphabetic).collect()).collect();
    kinds.dedup();
    kinds
}

#[test]
fn a_change_of_type_touches_nothing_but_what_is_outside() {
    let mut given = Given::new();
    let external = || Some(ExternalFacts::default());
    given.play([service(&[("http", 80, 0)], None), slice(&[("http", 8_080)], &[2, 3])]);
    let steps = given.play([service(&[("http", 80, 30_080)], external())]);
    assert_eq!(kinds(&steps), ["PutTable", "PutService"]);
    let [inside, outside] = [scope::INSIDE, scope::OUTSIDE].map(|scope| key([192, 0, 2, 1], 30_080, scope));
    let put: Vec<_> = steps.iter().filter_map(|step| if let Step::PutService(key, _) = step { Some(*key) } else { None }).collect();
    assert_eq!(put, [inside, outside]);
    let steps = given.play([service(&[("http", 80, 0)], None)]);
    assert_eq!(steps[..2], [Step::DeleteService(outside), Step::DeleteService(inside)]);
    assert_eq!(kinds(&steps), ["DeleteService", "DeleteTable"]);
}

#[test]
fn a_change_of_node_port_never_takes_the_table_or_the_backends_away() {
    let mut given = Given::new();
    let external = || Some(ExternalFacts::default());
    given.play([service(&[("http", 80, 30_080)], external()), slice(&[("http", 8_080)], &[2, 3])]);
    assert_eq!(kinds(&given.play([service(&[("http", 80, 30_081)], external())])), ["PutService", "DeleteService"]);
}

#[test]
fn ports_that_swap_names_swap_their_lists_and_write_no_backend() {
    let mut given = Given::new();
    given.play([service(&[("a", 80, 0), ("b", 81, 0)], None), slice(&[("a", 8_080), ("b", 8_081)], &[2, 3])]);
    let lists = |given: &Given| [80, 81].map(|port| given.maps.services[&key([10, 96, 0, 10], port, scope::INSIDE)].list);
    let [first, second] = lists(&given);
    let steps = given.play([service(&[("b", 80, 0), ("a", 81, 0)], None)]);
    assert_eq!((kinds(&steps), steps.len()), (vec!["PutService".to_owned()], 2));
    assert_eq!(lists(&given), [second, first]);
}

#[test]
fn parts_come_before_the_services_that_use_them_and_go_after() {
    let mut given = Given::new();
    let external = || {
        let sources = Some(["172.16.0.0"].map(|text| orknet_abi::RangeKey::new(text.parse().unwrap(), 12)).into());
        let balancer_addresses = Box::new([Address::from_v4([203, 0, 113, 10])]);
        Some(ExternalFacts { balancer_addresses, sources, ..ExternalFacts::default() })
    };
    let steps = given.play([service(&[("http", 80, 30_080)], external()), slice(&[("http", 8_080)], &[2, 3])]);
    assert_eq!(kinds(&steps), ["PutTable", "PutBackend", "PutSource", "PutService"]);
    let steps = given.play([slice(&[("http", 8_080)], &[2, 3, 4])]);
    assert_eq!(kinds(&steps), ["PutTable", "PutBackend", "PutService", "DeleteBackend", "DeleteTable"]);
    let steps = given.play([Change::Service(name(), None), Change::Slice(name(), None)]);
    assert_eq!(kinds(&steps), ["DeleteService", "DeleteSource", "DeleteBackend", "DeleteTable"]);
}

#[test]
fn services_leave_their_tables_before_these_change_their_size() {
    let mut given = Given::new();
    given.play([service(&[("http", 80, 30_080)], Some(ExternalFacts::default())), slice(&[("http", 8_080)], &[2, 3])]);
    let steps = given.play([Change::Settings(Node { table_size: 1_021, ..Node::default() })]);
    assert_eq!(kinds(&steps), ["PutService", "PutNode", "PutTable", "PutService", "DeleteTable"]);
    let tables = |steps: &[Step]| -> Vec<_> {
        steps.iter().filter_map(|step| if let Step::PutService(_, service) = step { Some(service.table) } else { None }).collect()
    };
    assert!(matches!(tables(&steps)[..], [0, table] if table > 0), "{steps:?}");
    // A size that is no prime number: no tables, but no harm either.
    let steps = given.play([Change::Settings(Node { table_size: 1_024, ..Node::default() })]);
    assert_eq!(kinds(&steps), ["PutService", "PutNode", "DeleteTable"]);
}

#[test]
fn a_node_that_gets_another_address_answers_there_and_no_longer_here() {
    let mut given = Given::new();
    given.play([service(&[("http", 80, 30_080)], Some(ExternalFacts::default())), slice(&[("http", 8_080)], &[2, 3])]);
    let addresses = Box::new([Address::from_v4([192, 0, 2, 2])]);
    let steps = given.play([Change::Node(NodeFacts { name: "here".into(), addresses, ..NodeFacts::default() })]);
    assert_eq!((kinds(&steps), steps.len()), (vec!["PutService".to_owned(), "DeleteService".to_owned()], 4));
}

//! Events of a node with a client and a server, told and explained.

use super::*;
use orknet_abi::{EVENT_BYTES, Event, Rule as AbiRule, protocol};
use orknet_compiler::facts::{
    Action, ClusterPolicyFacts, ClusterRuleFacts, Endpoint, Labels, NamespacedPods, Owner, PodFacts, PolicyFacts, Readiness, RuleFacts,
    ServicePort, SlicePort, Tier,
};
use orknet_compiler::{Attachment, Change, MapImage, ObjectName, ServiceFacts, SliceFacts};

const CLIENT: [u8; 4] = [10, 244, 0, 2];
const SERVER: [u8; 4] = [10, 244, 0, 3];
const FRONT: [u8; 4] = [10, 96, 0, 10];
/// Device and sets of rules (ingress, egress).
const OF_CLIENT: (u32, [u32; 2]) = (7, [1, 2]);
const OF_SERVER: (u32, [u32; 2]) = (8, [3, 4]);
const INGRESS_RULE: u32 = 21;
const EGRESS_RULE: u32 = 22;
/// Of the client's network namespace, and of the node's.
const CALLER: u64 = 5;
const NODE_CALLER: u64 = 6;
const NODE: [u8; 4] = [192, 0, 2, 1];

fn object(namespace: &str, name: &str) -> ObjectName {
    ObjectName { namespace: namespace.into(), name: name.into() }
}

/// Pods `shop/client` and `web/server`, a Service `front/service` with port 80 for the latter's 8080, a policy `web/let-in`.
fn state() -> State {
    let mut state = State::default();
    let policy = PolicyFacts { uid: Uid::of("p"), ingress: Some(Box::default()), ..PolicyFacts::default() };
    state.note(Change::Policy(object("web", "let-in"), Some(policy)));
    let port = ServicePort { name: "http".into(), protocol: protocol::TCP, port: 80, node_port: 0 };
    let service =
        ServiceFacts { cluster_addresses: Box::new([Address::from_v4(FRONT)]), ports: Box::new([port]), ..ServiceFacts::default() };
    state.note(Change::Service(object("front", "service"), Some(service)));
    let endpoint = Endpoint { address: Address::from_v4(SERVER), node: None, readiness: Readiness::Ready, hints: None };
    let ports = Box::new([SlicePort { name: "http".into(), protocol: protocol::TCP, port: 8_080 }]);
    let slice = SliceFacts { service: "service".into(), ports, endpoints: Box::new([endpoint]) };
    state.note(Change::Slice(object("front", "service-a"), Some(slice)));
    let node = orknet_abi::Node { v4: Address::from_v4(NODE), namespace_cookie: NODE_CALLER, ..orknet_abi::Node::default() };
    let mut image = MapImage { node: Some(node), ..MapImage::default() };
    for (name, address, (ifindex, [ingress, egress])) in
        [(object("shop", "client"), CLIENT, OF_CLIENT), (object("web", "server"), SERVER, OF_SERVER)]
    {
        let address = Address::from_v4(address);
        let pod = orknet_abi::Pod { ifindex, ingress, egress, ..orknet_abi::Pod::default() };
        let (labels, uid) = (Labels::default(), Uid::of(&name.name));
        let facts = PodFacts { uid, labels, addresses: Box::new([address]), ports: [].into(), is_peer: true, created: 1 };
        state.note(Change::PeerPod(name.clone(), Some(facts)));
        let owner = Some(Owner { pod: name.clone(), uid });
        state.note(Change::Attachment(name.name, Some(Attachment { addresses: vec![address], pod, owner, host_ports: Vec::new() })));
        image.pods.insert(PodKey { address }, pod);
    }
    let rule = |uid: &str, kind| AbiRule { policy: Uid::of(uid).0, index: 3, direction: direction::INGRESS as u8, kind, reserved: 0 };
    image.rules.insert(INGRESS_RULE, rule("p", policy_kind::NETWORK_POLICY));
    image.rules.insert(EGRESS_RULE, rule("00112233-4455-6677-8899-aabbccddeeff", policy_kind::CLUSTER_NETWORK_POLICY));
    state.adopt(image);
    state
}

fn key(source: ([u8; 4], u16), destination: ([u8; 4], u16)) -> FlowKey {
    FlowKey {
        source: Address::from_v4(source.0),
        destination: Address::from_v4(destination.0),
        source_port_be: source.1.to_be(),
        destination_port_be: destination.1.to_be(),
        protocol: protocol::TCP,
        reserved: [0; 3],
    }
}

/// A packet that goes as `is` and would have become `becomes`.
fn told(kind: u32, reason: u32, is: FlowKey, becomes: FlowKey, flags: u8) -> Told {
    let event = Event {
        time: 0,
        cookie: 0,
        kind,
        reason,
        rule: 0,
        egress_rule: 0,
        set: 0,
        peers: 0,
        direction: 0,
        device: 7,
        bytes: 74,
        becomes,
        head_bytes: 0,
        head: [0; EVENT_BYTES],
    };
    let transport =
        Transport::Tcp { source: u16::from_be(is.source_port_be), destination: u16::from_be(is.destination_port_be), flags: Some(flags) };
    let packet = Packet { source: is.source.into(), destination: is.destination.into(), protocol: is.protocol, transport };
    Told { event, packet: Some(packet), front: None }
}

fn dropped(reason: DropReason, is: FlowKey, becomes: FlowKey, flags: u8) -> Told {
    told(event_kind::DROP, reason as u32, is, becomes, flags)
}

#[track_caller]
fn explained(told: Told) -> Happened {
    explained_by(&state(), told)
}

#[track_caller]
fn explained_by(state: &State, told: Told) -> Happened {
    let seen = Seen { at: "2026-01-02T03:04:05.678901Z".parse().unwrap(), told };
    let callers = HashMap::from([(CALLER, OF_CLIENT.0)]);
    let mut all = Explainer::default().explain_with(&[seen], state, "node1", &callers);
    assert_eq!(all.len(), 1);
    all.remove(0)
}

fn ends(happened: &Happened) -> (String, String) {
    (happened.client.to_string(), happened.server.to_string())
}

const SYN: u8 = 2;
const ACK: u8 = 0x10;

#[test]
fn a_refused_connection_has_its_pods_its_service_and_its_rule() {
    let (asked, got) = (key((CLIENT, 40_000), (FRONT, 80)), key((CLIENT, 40_000), (SERVER, 8_080)));
    let mut told = dropped(DropReason::PolicyIngress, asked, got, SYN);
    (told.event.direction, told.event.set, told.event.rule) = (direction::INGRESS, OF_SERVER.1[0], INGRESS_RULE);
    let happened = explained(told);
    assert_eq!(ends(&happened), ("shop/client:40000".into(), "web/server:8080".into()));
    let front = happened.service.unwrap();
    assert_eq!((front.namespace.as_str(), front.name.as_str(), front.port), ("front", "service", Some(80)));
    let [judged] = happened.judged.as_slice() else { panic!("{:?}", happened.judged) };
    let rule = judged.rule.as_ref().unwrap();
    assert_eq!((judged.direction, rule.policy.to_string(), rule.index), (Direction::Ingress, "NetworkPolicy web/let-in".into(), 3));
    assert_eq!((happened.time.as_str(), happened.verdict), ("2026-01-02T03:04:05.678901Z", Verdict::Dropped));
    assert_eq!((happened.reason.as_deref(), happened.tcp_flags, happened.is_answer), (Some("policy-ingress"), vec!["SYN".into()], false));
}

#[test]
fn a_rule_with_a_name_is_called_by_it() {
    let mut state = state();
    let rule = |name: &str| ClusterRuleFacts { name: name.into(), action: Action::Deny, rule: RuleFacts::default() };
    let tenants = ClusterPolicyFacts {
        uid: Uid::of("00112233-4455-6677-8899-aabbccddeeff"),
        tier: Tier::Admin,
        priority: 0,
        subject: NamespacedPods::default(),
        ingress: Box::new([rule(""), rule(""), rule(""), rule("no \"strangers\"")]),
        egress: Box::default(),
        trouble: None,
    };
    state.note(Change::ClusterPolicy("tenants".into(), Some(tenants.clone())));
    let judged = |state: &State| {
        let packet = key((CLIENT, 40_000), (SERVER, 8_080));
        let mut told = dropped(DropReason::PolicyIngress, packet, packet, SYN);
        (told.event.direction, told.event.set, told.event.rule) = (direction::INGRESS, OF_SERVER.1[0], EGRESS_RULE);
        explained_by(state, told).judged.remove(0)
    };
    let named = judged(&state);
    assert_eq!(named.to_string(), "ClusterNetworkPolicy tenants ingress[3] \"no \\\"strangers\\\"\"");
    assert_eq!(serde_json::to_value(&named).unwrap()["rule"]["ruleName"], "no \"strangers\"");
    let unnamed = ClusterPolicyFacts { ingress: Box::new([rule(""), rule(""), rule(""), rule("")]), ..tenants };
    state.note(Change::ClusterPolicy("tenants".into(), Some(unnamed)));
    assert_eq!(judged(&state).to_string(), "ClusterNetworkPolicy tenants ingress[3]");
}

#[test]
fn what_no_rule_lets_in_names_the_policies_that_isolate() {
    let is = key((CLIENT, 40_000), (SERVER, 8_080));
    let mut told = dropped(DropReason::PolicyIngress, is, is, SYN);
    (told.event.direction, told.event.set) = (direction::INGRESS, OF_SERVER.1[0]);
    let happened = explained(told);
    assert_eq!(happened.service, None);
    let judged = &happened.judged[0];
    assert_eq!(judged.rule, None);
    assert_eq!(judged.isolated_by.iter().map(ToString::to_string).collect::<Vec<_>>(), ["NetworkPolicy web/let-in"]);
    assert_eq!(judged.isolated_by_more, 0);
}

#[test]
fn of_many_policies_that_isolate_a_few_are_named_and_a_line_stays_short() {
    let mut state = state();
    for number in 0..500 {
        let name = format!("an-isolating-policy-of-a-tenant-{number:03}");
        let policy = PolicyFacts { uid: Uid::of(&name), ingress: Some(Box::default()), ..PolicyFacts::default() };
        state.note(Change::Policy(object("web", &name), Some(policy)));
    }
    let is = key((CLIENT, 40_000), (SERVER, 8_080));
    let mut told = dropped(DropReason::PolicyIngress, is, is, SYN);
    (told.event.direction, told.event.set) = (direction::INGRESS, OF_SERVER.1[0]);
    let seen = Seen { at: "2026-01-02T03:04:05.678901Z".parse().unwrap(), told };
    let happened = Explainer::default().explain_with(&[seen], &state, "node1", &HashMap::new()).remove(0);
    let judged = &happened.judged[0];
    assert_eq!((judged.isolated_by.len(), judged.isolated_by_more), (ISOLATING_NAMED, 501 - ISOLATING_NAMED));
    assert_eq!(judged.isolated_by[2].name, "an-isolating-policy-of-a-tenant-002");
    let line = serde_json::to_string(&happened).unwrap();
    assert!(line.len() < 1_500 && line.contains(r#""isolatedByMore":498"#), "{line}");
}

#[test]
fn an_answer_that_is_refused_is_the_clients_connection_all_the_same() {
    // From the server, through the Service: seen as what the front answers.
    let (is, becomes) = (key((SERVER, 8_080), (CLIENT, 40_000)), key((FRONT, 80), (CLIENT, 40_000)));
    for (reason, way, set) in
        [(DropReason::PolicyIngress, direction::INGRESS, OF_SERVER.1[0]), (DropReason::PolicyEgress, direction::EGRESS, OF_CLIENT.1[1])]
    {
        let mut told = dropped(reason, is, becomes, ACK);
        (told.event.direction, told.event.set) = (way, set);
        let happened = explained(told);
        assert_eq!(ends(&happened), ("shop/client:40000".into(), "web/server:8080".into()));
        assert!(happened.is_answer);
        assert_eq!(happened.service.map(|front| front.port), Some(Some(80)));
    }
    let accepted = explained(dropped(DropReason::EndpointGone, is, FlowKey::default(), SYN | ACK));
    assert_eq!((ends(&accepted).0, accepted.is_answer), ("shop/client:40000".into(), true));
}

#[test]
fn a_flow_has_the_rules_of_both_ends() {
    let (asked, got) = (key((CLIENT, 40_000), (FRONT, 80)), key((CLIENT, 40_000), (SERVER, 8_080)));
    let mut told = told(event_kind::FLOW, 0, asked, got, SYN);
    (told.event.rule, told.event.egress_rule) = (INGRESS_RULE, EGRESS_RULE);
    let happened = explained(told);
    assert_eq!((happened.verdict, happened.reason), (Verdict::Allowed, None));
    let rules: Vec<_> = happened.judged.iter().map(|judged| judged.rule.as_ref().unwrap().policy.to_string()).collect();
    // The policy of the second is not known: its uid stands for it.
    assert_eq!(rules, ["ClusterNetworkPolicy 00112233-4455-6677-8899-aabbccddeeff", "NetworkPolicy web/let-in"]);
}

#[test]
fn who_sends_with_anothers_address_is_told_by_its_device() {
    let happened = explained(dropped(DropReason::SourceNotPod, key((SERVER, 1), ([192, 0, 2, 1], 2)), FlowKey::default(), SYN));
    assert_eq!(ends(&happened), ("shop/client:1".into(), "192.0.2.1:2".into()));
    assert_eq!(happened.client.address, IpAddr::from(SERVER));
}

#[test]
fn where_no_backend_was_found_the_service_is_known() {
    let happened = explained(dropped(DropReason::NoEndpoints, key((CLIENT, 1), (FRONT, 80)), FlowKey::default(), SYN));
    assert_eq!(happened.service.as_ref().map(|front| front.name.as_str()), Some("service"));
    assert_eq!(happened.server, End { address: FRONT.into(), port: Some(80), pod: None });
}

#[test]
fn steps_of_a_trace_and_frames_without_addresses_are_left_out() {
    let is = key((CLIENT, 1), (SERVER, 2));
    let step = told(event_kind::STEP_JUDGED, 0, is, is, SYN);
    let broken = Told { packet: None, ..dropped(DropReason::Truncated, is, is, SYN) };
    let seen = [step, broken].map(|told| Seen { at: Timestamp::UNIX_EPOCH, told });
    assert!(Explainer::default().explain_with(&seen, &state(), "node1", &HashMap::new()).is_empty());
}

/// Packets of a socket that was translated show the server alone.
#[test]
fn the_service_that_a_socket_asked_for_is_told_as_one_that_packets_show() {
    let is = key((CLIENT, 40_000), (SERVER, 8_080));
    let told = Told { front: Some((FRONT, 80).into()), ..dropped(DropReason::PolicyIngress, is, is, SYN) };
    let happened = explained(told);
    assert_eq!(ends(&happened), ("shop/client:40000".into(), "web/server:8080".into()));
    let front = happened.service.unwrap();
    assert_eq!((front.name.as_str(), front.address, front.port), ("service", FRONT.into(), Some(80)));
    assert_eq!(happened.possible_services, []);
}

#[test]
fn where_nobody_knows_what_a_client_asked_for_all_services_are_told_that_lead_to_the_server() {
    let (is, back) = (key((CLIENT, 40_000), (SERVER, 8_080)), key((SERVER, 8_080), (CLIENT, 40_000)));
    let possible = |told: Told| {
        let happened = explained(told);
        assert_eq!(happened.service, None);
        happened.possible_services.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let unknown = dropped(DropReason::PolicyIngress, is, is, SYN);
    assert_eq!(possible(unknown), ["front/service"], "from another node: it has no socket here");
    let of_socket = |told: Told| Told { event: Event { cookie: 9, ..told.event }, ..told };
    assert_eq!(possible(of_socket(unknown)), Vec::<String>::new(), "its socket has just been connected, to the server itself");
    assert_eq!(possible(of_socket(dropped(DropReason::PolicyIngress, is, is, ACK))), ["front/service"], "it may have been forgotten");
    assert_eq!(possible(dropped(DropReason::PolicyEgress, back, back, SYN | ACK)), ["front/service"], "an answer");
    let elsewhere = key((CLIENT, 40_000), (SERVER, 8_081));
    assert_eq!(possible(dropped(DropReason::PolicyIngress, elsewhere, elsewhere, SYN)), Vec::<String>::new(), "nobody leads to that port");
}

#[test]
fn a_refused_call_is_a_drop_with_its_pod_and_its_service() {
    let asked = |address, port: u16| FlowKey {
        destination: Address::from_v4(address),
        destination_port_be: port.to_be(),
        protocol: protocol::TCP,
        ..FlowKey::default()
    };
    let call = |cookie, address, port| {
        let told = told(event_kind::REFUSED, DropReason::NoEndpoints as u32, FlowKey::default(), asked(address, port), 0);
        explained(Told { packet: None, event: Event { cookie, device: 0, bytes: 0, ..told.event }, ..told })
    };
    let happened = call(CALLER, FRONT, 80);
    assert_eq!(happened.client, End { address: CLIENT.into(), port: None, pod: happened.client.pod.clone() });
    assert_eq!(ends(&happened), ("shop/client".into(), "10.96.0.10:80".into()));
    assert_eq!(happened.service.map(|front| (front.name, front.port)), Some(("service".into(), Some(80))));
    assert_eq!((happened.verdict, happened.reason.as_deref(), happened.is_call), (Verdict::Dropped, Some("no-endpoints"), true));
    assert_eq!((happened.protocol.as_str(), happened.possible_services), ("TCP", Vec::new()));
    // Of a process of the node; of somebody who is not known any more.
    assert_eq!(ends(&call(NODE_CALLER, FRONT, 81)), ("192.0.2.1".into(), "10.96.0.10:81".into()));
    let stranger = call(77, [10, 96, 9, 9], 80);
    assert_eq!((ends(&stranger).0, stranger.client.pod, stranger.service), ("0.0.0.0".into(), None, None));
}

//! Passes over a real map that no program uses: what goes, what stays, and what is told.

use super::*;
use orknet_abi::{FLOWS, flow_state::*, protocol};
use std::ops::ControlFlow;
use std::{cell::RefCell, net::IpAddr};

/// A flow of client `number` through the front 192.0.2.1:30080 to a backend, last used so many seconds ago.
struct Spec {
    number: u16,
    protocol: u8,
    backend: [u8; 4],
    states: (u32, u32),
    silent: (u32, u32),
}

impl Spec {
    fn new(number: u16, protocol: u8) -> Self {
        let opened = if protocol == protocol::TCP { OPENED | CONFIRMED } else { CONFIRMED };
        Self { number, protocol, backend: [10, 244, 2, 2], states: (opened, opened), silent: (0, 0) }
    }

    fn entries(&self, now: u32) -> [(FlowKey, Flow); 2] {
        let key = |source: [u8; 4], source_port: u16, destination: [u8; 4], port: u16| FlowKey {
            source: Address::from_v4(source),
            destination: Address::from_v4(destination),
            source_port_be: source_port.to_be(),
            destination_port_be: port.to_be(),
            protocol: self.protocol,
            reserved: [0; 3],
        };
        let came = key([10, 0, 0, 1], self.number, [192, 0, 2, 1], 30_080);
        let left = key([192, 0, 2, 1], self.number, self.backend, 80);
        let forward = Flow { becomes: left, state: FORWARD | self.states.0, used_seconds: now - self.silent.0, ..Flow::default() };
        let reply = Flow { becomes: came.reversed(), state: self.states.1, used_seconds: now - self.silent.1, ..Flow::default() };
        [(came, forward), (left.reversed(), reply)]
    }
}

/// A map with these flows.
struct Given {
    table: Table<FlowKey, Flow>,
    now: u32,
    /// Whose senders were made to speak.
    probed: RefCell<Vec<FlowKey>>,
}

impl Given {
    fn new(specs: &[Spec]) -> Self {
        let now = monotonic_seconds();
        assert!(now > 1_000, "the host is up long enough for flows to be old");
        let given = Self { table: Table::create(&FLOWS, 4_096), now, probed: RefCell::default() };
        specs.iter().flat_map(|spec| spec.entries(now)).for_each(|(key, flow)| given.put(key, flow));
        given
    }

    fn put(&self, key: FlowKey, flow: Flow) {
        self.table.put_one(&key, flow).unwrap();
    }

    fn sweep(&self, gone: &[[u8; 4]]) -> Swept {
        let gone: Vec<Address> = gone.iter().map(|address| Address::from_v4(*address)).collect();
        let mut ask = |uses: &BTreeSet<Use>| uses.iter().filter(|used| gone.contains(&used.backend.address)).copied().collect();
        sweep(&self.table, &mut ask, &mut |_| ControlFlow::Continue(()), &mut |key| self.probed.borrow_mut().push(*key)).unwrap()
    }

    /// The ports of clients whose flows have entries, with the number of these.
    fn left(&self) -> BTreeMap<u16, u32> {
        let mut left = BTreeMap::new();
        self.table
            .read_single(|key, flow| {
                let port = if flow.state & FORWARD != 0 { key.source_port_be } else { key.destination_port_be };
                *left.entry(u16::from_be(port)).or_default() += 1;
            })
            .unwrap();
        left
    }
}

#[test]
fn root_what_was_silent_for_too_long_goes_as_a_whole_and_the_rest_stays() {
    let silent = |number, protocol, silent| Spec { silent, ..Spec::new(number, protocol) };
    let given = Given::new(&[
        silent(1, protocol::UDP, (310, 310)),
        silent(2, protocol::UDP, (310, 10)),
        silent(3, protocol::UDP, (10, 310)),
        silent(4, protocol::TCP, (900, 900)),
        Spec { states: (OPENED, 0), ..silent(5, protocol::TCP, (250, 250)) },
        Spec { states: (OPENED | FINISHED, OPENED | FINISHED), ..silent(6, protocol::TCP, (250, 250)) },
        silent(7, protocol::ICMP, (70, 70)),
        silent(8, protocol::ICMP, (50, 70)),
    ]);
    let swept = given.sweep(&[]);
    assert_eq!(given.left(), BTreeMap::from([(2, 2), (3, 2), (4, 2), (8, 2)]));
    assert_eq!((swept.expired, swept.halves, swept.gone, swept.entries, swept.capacity), (4, 0, 0, 16, 4_096));
    assert_eq!(swept.flows, BTreeMap::from([(protocol::UDP, 2), (protocol::TCP, 1), (protocol::ICMP, 1)]));
    assert!(swept.next_expiry.is_some_and(|next| next <= Duration::from_secs(12)), "{:?}: the ICMP query", swept.next_expiry);
}

#[test]
fn root_halves_go_and_their_neighbours_stay() {
    let given = Given::new(&[Spec::new(1, protocol::TCP)]);
    let [alone, _] = Spec { silent: (300, 300), ..Spec::new(2, protocol::TCP) }.entries(given.now);
    let [_, answers] = Spec { silent: (300, 300), ..Spec::new(3, protocol::TCP) }.entries(given.now);
    let [young, _] = Spec::new(4, protocol::TCP).entries(given.now);
    for (key, flow) in [alone, answers, young] {
        given.put(key, flow);
    }
    let swept = given.sweep(&[]);
    assert_eq!(given.left(), BTreeMap::from([(1, 2), (4, 1)]));
    assert_eq!((swept.halves, swept.expired), (2, 0));
}

#[test]
fn root_flows_of_backends_that_are_gone_end_by_protocol() {
    let to = |number, protocol, last| Spec { backend: [10, 244, 2, last], ..Spec::new(number, protocol) };
    let given = Given::new(&[
        to(1, protocol::UDP, 2),
        to(2, protocol::UDP, 3),
        to(3, protocol::TCP, 2),
        to(4, protocol::TCP, 3),
        to(5, protocol::SCTP, 3),
        // Out of the cluster: what looks like a backend is a host somewhere.
        Spec { states: (MASQUERADE | CONFIRMED, CONFIRMED), ..to(6, protocol::UDP, 3) },
    ]);
    let swept = given.sweep(&[[10, 244, 2, 3]]);
    assert_eq!(swept.gone, 3);
    assert_eq!(given.left(), BTreeMap::from([(1, 2), (3, 2), (4, 2), (6, 2)]));
    let marked = |number| {
        let entries = to(number, protocol::TCP, if number == 3 { 2 } else { 3 }).entries(given.now);
        entries.map(|(key, _)| given.table.get_single(&key).unwrap().unwrap().state & GONE != 0)
    };
    assert_eq!((marked(3), marked(4)), ([false; 2], [true; 2]));
    // Both ends are made to speak, so that they meet the mark; and once more in every pass, if that was lost.
    let mut both = to(4, protocol::TCP, 3).entries(given.now).map(|(key, _)| key);
    let probed = || {
        let mut probed = given.probed.take();
        probed.sort();
        probed.dedup();
        probed
    };
    both.sort();
    assert_eq!(probed(), both);
    assert_eq!(given.sweep(&[[10, 244, 2, 3]]).gone, 0, "nobody is asked about what is marked");
    assert_eq!(probed(), both);
}

#[test]
fn root_each_backend_is_asked_about_once_in_a_pass_of_many_batches() {
    let specs: Vec<Spec> = (1..=1_500).map(|number| Spec::new(number, protocol::TCP)).collect();
    let given = Given::new(&specs);
    let (mut asked, mut batches) = (0, 0);
    let mut ask = |uses: &BTreeSet<Use>| {
        asked += uses.len();
        BTreeSet::new()
    };
    let swept = sweep(
        &given.table,
        &mut ask,
        &mut |_| {
            batches += 1;
            ControlFlow::Continue(())
        },
        &mut |_| (),
    )
    .unwrap();
    assert_eq!((swept.flows[&protocol::TCP], swept.entries, asked), (1_500, 3_000, 1));
    assert!(batches >= 3, "{batches} batches");
    let mut some = 0;
    let stopped = sweep(
        &given.table,
        &mut |_| BTreeSet::new(),
        &mut |_| {
            some += 1;
            ControlFlow::Break(())
        },
        &mut |_| (),
    )
    .unwrap();
    assert!(stopped.entries < 3_000 && some == 1);
}

#[test]
fn root_a_packet_between_judgement_and_removal_saves_the_flow() {
    let given = Given::new(&[Spec { silent: (310, 310), ..Spec::new(1, protocol::UDP) }]);
    let [forward, reply] = Spec { silent: (310, 310), ..Spec::new(1, protocol::UDP) }.entries(given.now);
    for used in [forward, reply] {
        let now = Flow { used_seconds: given.now, ..used.1 };
        given.put(used.0, now);
        let mut never = |_: &BTreeSet<Use>| BTreeSet::new();
        let pass = Pass {
            table: &given.table,
            ask_gone: &mut never,
            probe: &mut |_| (),
            answers: HashMap::new(),
            now: given.now,
            swept: Swept::default(),
        };
        assert!(!pass.remove(&forward.0, &forward.1, Some((&reply.0, &reply.1))).unwrap());
        assert_eq!(given.left(), BTreeMap::from([(1, 2)]), "both halves are back");
        assert_eq!(given.table.get_single(&used.0).unwrap(), Some(now), "with what the packet wrote");
        given.put(used.0, used.1);
    }
    assert_eq!(given.sweep(&[]).expired, 1);
    assert!(given.left().is_empty());
}

#[test]
fn root_a_front_and_backend_of_the_other_family_are_told_as_they_are() {
    let given = Given::new(&[]);
    let address = |text: &str| Address::from(text.parse::<IpAddr>().unwrap());
    let key = FlowKey {
        source: address("fd00::1"),
        destination: address("fd00::2"),
        destination_port_be: 53_u16.to_be(),
        protocol: 17,
        ..FlowKey::default()
    };
    let becomes = FlowKey { destination: address("fd00:1::2"), destination_port_be: 5_353_u16.to_be(), ..key };
    given.put(key, Flow { becomes, state: FORWARD, used_seconds: given.now, ..Flow::default() });
    let mut told = BTreeSet::new();
    let mut ask = |uses: &BTreeSet<Use>| {
        told.clone_from(uses);
        BTreeSet::new()
    };
    sweep(&given.table, &mut ask, &mut |_| ControlFlow::Continue(()), &mut |_| ()).unwrap();
    let backend = Backend { address: address("fd00:1::2"), port_be: 5_353_u16.to_be(), reserved: 0 };
    assert_eq!(told, BTreeSet::from([Use { front: address("fd00::2"), front_port_be: 53_u16.to_be(), protocol: 17, backend }]));
}

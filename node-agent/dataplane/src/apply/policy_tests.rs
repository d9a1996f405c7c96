//! Plans of rules, applied to real maps that no program uses and that have no room.

use super::*;
use crate::Reader;
use orknet_abi::{Address, Count, Judgement, Peer, Pod, PodKey, PortKey, RangeKey, Rule, Verdict, VerdictKey, action};
use std::net::IpAddr;

const ALLOW: Judgement = Judgement { action: action::ALLOW, rule: 1 };
const DENY: Judgement = Judgement { action: action::DENY, rule: 2 };

fn maps(full: &str, capacity: u32) -> Reader {
    Reader::over(Tables::create(|spec| if spec.name == full { capacity } else { 64 }))
}

fn address(last: u8) -> RangeKey {
    RangeKey::new(IpAddr::from([10, 244, 1, last]), 32)
}

fn put_rule(rule: u32) -> Step {
    Step::PutRule(rule, Rule { index: rule, ..Rule::default() })
}

fn put_port(table: u32, port: u16) -> Step {
    Step::PutPort(PortKey::ports(table, 6, port, 16), ALLOW)
}

fn verdict(set: u32, peers: u32) -> VerdictKey {
    VerdictKey { set, peers }
}

fn put_verdict(set: u32, peers: u32, table: u32, otherwise: Judgement) -> Step {
    Step::PutVerdict(verdict(set, peers), Verdict { table, otherwise })
}

fn put_peer(last: u8, peers: u32) -> Step {
    Step::PutPeer(address(last), Peer { peers })
}

fn pod(last: u8) -> PodKey {
    PodKey { address: Address::from_v4([10, 244, 1, last]) }
}

fn put_pod(last: u8, ingress: u32) -> Step {
    Step::PutPod(pod(last), Pod { ifindex: last.into(), ingress, ..Pod::default() })
}

fn told(reader: &Reader, steps: &[Step]) -> Vec<String> {
    let applied = apply(reader.tables(), &Plan { steps: steps.to_vec() });
    assert_eq!(applied.done + applied.failures.len(), steps.len());
    applied.failures.iter().map(ToString::to_string).collect()
}

fn ingress(reader: &Reader, last: u8) -> Option<u32> {
    reader.pods().unwrap().get(&pod(last)).map(|pod| pod.ingress)
}

/// Pod 1 is judged by set 1, with a table and two rules.
fn begin(reader: &Reader) {
    let steps = [put_rule(1), put_rule(2), put_port(1, 80), put_verdict(1, 0, 1, DENY), put_pod(1, 1)];
    assert_eq!(told(reader, &steps), [""; 0]);
}

/// What takes set 1 out of use.
const RETIRE: [Step; 4] = [
    Step::DeleteVerdict(VerdictKey { set: 1, peers: 0 }),
    Step::DeletePort(PortKey::ports(1, 6, 80, 16)),
    Step::DeleteRule(1),
    Step::DeleteRule(2),
];

#[test]
fn root_a_pod_keeps_its_rules_when_a_table_of_ports_has_no_room_and_they_stay() {
    let reader = maps("PORTS", 2);
    begin(&reader);
    let steps = [
        put_port(2, 80),
        put_port(2, 81),
        put_verdict(2, 0, 2, DENY),
        put_verdict(3, 0, 0, ALLOW),
        put_pod(1, 2),
        put_pod(2, 2),
        put_pod(3, 3),
    ];
    assert_eq!(
        told(&reader, &[&steps[..], &RETIRE].concat()),
        [
            "PORTS table 2 protocol 6 port 81/16: the map is full (2 entries); raise capacities.PORTS",
            "VERDICTS set 2 peers 0: not written: its table of ports is incomplete",
            "PODS 10.244.1.1: not switched: its rules, or the addresses that they are about, are incomplete",
            "PODS 10.244.1.2: not switched: its rules, or the addresses that they are about, are incomplete",
            "VERDICTS set 1 peers 0: not removed: a pod's rules or an address still use it",
            "PORTS table 1 protocol 6 port 80/16: not removed: a pod's rules or an address still use it",
            "RULES rule 1: not removed: a pod's rules or an address still use it",
            "RULES rule 2: not removed: a pod's rules or an address still use it",
        ]
    );
    assert_eq!([1, 2, 3].map(|last| ingress(&reader, last)), [Some(1), None, Some(3)]);
    let image = reader.image().unwrap();
    assert_eq!(image.ports.into_keys().map(|key| key.table).collect::<Vec<_>>(), [1], "half a table is not kept");
    assert_eq!(image.verdicts.into_keys().map(|key| key.set).collect::<Vec<_>>(), [1, 3]);
    // What lets go of it makes room.
    let mut steps = vec![Step::DeletePod(pod(1))];
    steps.extend(RETIRE);
    assert_eq!(told(&reader, &steps), [""; 0]);
    assert!(reader.rules().unwrap().is_empty());
}

#[test]
fn root_an_address_is_not_switched_to_what_some_rules_do_not_know() {
    let reader = maps("VERDICTS", 3);
    let steps = [put_verdict(1, 0, 0, DENY), put_verdict(1, 1, 0, ALLOW), put_peer(9, 1), put_pod(1, 1)];
    assert_eq!(told(&reader, &steps), [""; 0]);
    let steps = [
        put_verdict(2, 0, 0, DENY),
        put_verdict(1, 2, 0, DENY),
        put_peer(9, 2),
        put_peer(8, 1),
        put_pod(2, 1),
        put_pod(3, 2),
        Step::DeleteVerdict(verdict(1, 1)),
    ];
    assert_eq!(
        told(&reader, &steps),
        [
            "VERDICTS set 1 peers 2: the map is full (3 entries); raise capacities.VERDICTS",
            "PEERS 10.244.1.9/32: not switched: what rules say about such addresses is incomplete",
            "PODS 10.244.1.2: not switched: its rules, or the addresses that they are about, are incomplete",
            "VERDICTS set 1 peers 1: not removed: a pod's rules or an address still use it",
        ]
    );
    let image = reader.image().unwrap();
    assert_eq!((image.peers[&address(9)].peers, image.peers[&address(8)].peers), (1, 1));
    assert_eq!([1, 2, 3].map(|last| ingress(&reader, last)), [Some(1), None, Some(2)]);
}

#[test]
fn root_rules_that_cannot_see_whom_they_refuse_are_not_switched_to() {
    let reader = maps("PEERS", 1);
    // Set 1 lets in peer set 2 alone, set 2 everybody else.
    let steps = [
        put_verdict(1, 0, 0, DENY),
        put_verdict(1, 2, 0, ALLOW),
        put_verdict(2, 0, 0, ALLOW),
        put_verdict(2, 2, 0, DENY),
        put_peer(9, 1),
        put_peer(8, 2),
        put_pod(1, 1),
        put_pod(2, 2),
    ];
    assert_eq!(
        told(&reader, &steps),
        [
            "PEERS 10.244.1.8/32: the map is full (1 entries); raise capacities.PEERS",
            "PODS 10.244.1.2: not switched: its rules, or the addresses that they are about, are incomplete",
        ]
    );
    assert_eq!((ingress(&reader, 1), ingress(&reader, 2)), (Some(1), None));
}

#[test]
fn root_a_rule_and_its_counter_come_and_go_together() {
    for (full, error) in [
        ("RULES", "RULES rule 2: the map is full (1 entries); raise capacities.RULES"),
        ("RULE_COUNTS", "RULE_COUNTS rule 2: the map is full (1 entries); raise capacities.RULE_COUNTS"),
    ] {
        let reader = maps(full, 1);
        let counts = || {
            let mut counts = Vec::new();
            reader
                .tables()
                .rule_counts
                .read(|rule, values| counts.push((rule, values.iter().map(|count| count.packets).sum::<u64>())))
                .unwrap();
            counts
        };
        assert_eq!(told(&reader, &[put_rule(1)]), [""; 0]);
        reader.tables().rule_counts.put_one(&1, Count { packets: 7, bytes: 7 }).unwrap();
        // The rules that explain are not the rules that hold.
        assert_eq!(told(&reader, &[put_rule(2), put_verdict(1, 0, 0, DENY), put_pod(1, 1)]), [error]);
        assert_eq!(ingress(&reader, 1), Some(1));
        assert_eq!(reader.rules().unwrap().into_keys().collect::<Vec<_>>(), [1]);
        assert_eq!(counts().len(), 1);
        assert!(counts()[0].1 >= 7);
        assert_eq!(told(&reader, &[Step::DeleteRule(1), put_rule(2)]), [""; 0]);
        assert_eq!(counts(), [(2, 0)]);
        // A number that means something else now counts from the beginning.
        reader.tables().rule_counts.put_one(&2, Count { packets: 7, bytes: 7 }).unwrap();
        assert_eq!(told(&reader, &[Step::PutRule(2, Rule { index: 5, ..Rule::default() })]), [""; 0]);
        assert_eq!(counts(), [(2, 0)]);
    }
}

#[test]
fn root_an_address_that_is_held_back_keeps_the_verdicts_that_it_is_judged_by() {
    let reader = maps("PORTS", 1);
    begin(&reader);
    let closed_to_five =
        [put_verdict(3, 0, 0, ALLOW), put_verdict(3, 1, 0, DENY), put_verdict(9, 0, 0, DENY), put_peer(5, 1), put_pod(2, 3)];
    assert_eq!(told(&reader, &closed_to_five), [""; 0]);
    // Two rounds: pod 1 is not switched in the first one, so the address is not in the second, after something has been removed in between.
    let steps = [
        put_port(2, 81),
        put_verdict(2, 0, 2, DENY),
        put_pod(1, 2),
        Step::DeleteVerdict(verdict(9, 0)),
        put_verdict(3, 2, 0, DENY),
        put_peer(5, 2),
        Step::DeleteVerdict(verdict(3, 1)),
    ];
    let applied = apply(reader.tables(), &Plan { steps: steps.to_vec() });
    let failed: Vec<_> = applied.failures.iter().map(|failure| &failure.step).collect();
    assert_eq!(failed, [&steps[0], &steps[1], &steps[2], &steps[5], &steps[6]]);
    let image = reader.image().unwrap();
    let five = image.peers[&address(5)].peers;
    assert_eq!(image.verdicts[&verdict(3, five)].otherwise, DENY);
    assert!(!image.verdicts.contains_key(&verdict(9, 0)));
}

#[test]
fn root_a_set_that_would_take_in_who_is_about_to_leave_a_peer_set_waits_until_they_have() {
    // Set 2 takes in peer set 1, which address 5 is about to leave; but pod 1 can't be switched, and addresses stay what they are for it.
    let steps = [
        put_port(2, 81),
        put_verdict(2, 0, 0, DENY),
        put_verdict(2, 1, 0, ALLOW),
        put_verdict(4, 0, 2, DENY),
        put_pod(1, 4),
        put_pod(2, 2),
        Step::DeletePeer(address(5)),
    ];
    for (capacity, is_switched) in [(1, false), (2, true)] {
        let reader = maps("PORTS", capacity);
        begin(&reader);
        assert_eq!(told(&reader, &[put_verdict(3, 0, 0, DENY), put_peer(5, 1), put_pod(2, 3)]), [""; 0]);
        apply(reader.tables(), &Plan { steps: steps.to_vec() });
        assert_eq!(ingress(&reader, 2), Some(if is_switched { 2 } else { 3 }));
        assert_eq!(reader.image().unwrap().peers.contains_key(&address(5)), !is_switched);
    }
}

#[test]
fn root_a_pod_that_finds_no_room_holds_back_nobody() {
    let reader = maps("PODS", 1);
    begin(&reader);
    assert_eq!(told(&reader, &[put_peer(5, 1)]), [""; 0]);
    let applied = apply(reader.tables(), &Plan { steps: vec![put_pod(2, 0), Step::DeletePeer(address(5))] });
    assert_eq!(applied.failures.len(), 1);
    assert!(reader.image().unwrap().peers.is_empty());
}

#[test]
fn root_addresses_keep_their_peer_sets_for_a_pod_that_keeps_its_rules_at_each_attempt() {
    let reader = maps("PORTS", 1);
    begin(&reader);
    assert_eq!(
        told(&reader, &[put_verdict(3, 0, 0, ALLOW), put_verdict(3, 1, 0, DENY), put_peer(5, 1), put_peer(7, 1), put_pod(2, 3)]),
        [""; 0]
    );
    // Nobody remembers what set 3 says of peer set 2, which would be what it says of nobody.
    let gone = Step::DeletePeer(address(7));
    let steps = [put_port(2, 81), put_verdict(2, 0, 2, DENY), put_peer(5, 2), put_peer(6, 2), put_pod(2, 2), gone];
    for _ in 0..2 {
        let told = told(&reader, &steps);
        for held_back in [
            "PEERS 10.244.1.5/32: not switched: a pod keeps former rules, which do not know it so",
            "PEERS 10.244.1.7/32: not removed: a pod's rules or an address still use it",
        ] {
            assert!(told.iter().any(|text| text == held_back), "{told:#?}");
        }
        let image = reader.image().unwrap();
        assert_eq!(([5, 6, 7].map(|last| image.peers[&address(last)].peers), ingress(&reader, 2)), ([1, 2, 1], Some(3)));
    }
}

//! Single changes of policies and pods: what they write, who waits, and what stays.

use orknet_abi::{Address, Pod, PodKey, Range, RangeKey, VerdictKey, action, range_kinds};
use orknet_compiler::facts::{
    Action, Block, ClusterRuleFacts, Labels, NamespacedPods, PeerFacts, Requirement, RuleFacts, Selector, Tier, Uid,
};
use orknet_compiler::{
    Attachment, Change, ClusterPolicyFacts, NamespaceFacts, ObjectName, Owner, PodFacts, PolicyFacts, PolicyName, State, Step,
};
use std::sync::Arc;

fn object(name: &str) -> ObjectName {
    ObjectName { namespace: "a".into(), name: name.into() }
}

fn address(last: u8) -> Address {
    Address::from_v4([10, 244, 1, last])
}

fn pod(last: u8) -> Change {
    let facts = PodFacts {
        uid: Uid::of("pod"),
        labels: Labels::default(),
        addresses: Box::new([address(last)]),
        ports: Arc::from([]),
        is_peer: true,
        created: 0,
    };
    Change::PeerPod(object(&format!("pod-{last}")), Some(facts))
}

fn attachment(last: u8) -> Change {
    let owner = Some(Owner { pod: object(&format!("pod-{last}")), uid: Uid::of("pod") });
    let pod = Pod { ifindex: u32::from(last), ..Pod::default() };
    Change::Attachment(format!("{last}").into(), Some(Attachment { addresses: vec![address(last)], pod, owner, ..Attachment::default() }))
}

/// Selects all pods of the namespace and lets nobody in, or the namespace's pods.
fn policy(name: &str, lets_in: bool) -> Change {
    let rule = RuleFacts { peers: Some(Box::new([PeerFacts::OwnPods(Selector::default())])), ports: None };
    let ingress: Box<[RuleFacts]> = if lets_in { Box::new([rule]) } else { Box::default() };
    Change::Policy(object(name), Some(PolicyFacts { uid: Uid::of(name), ingress: Some(ingress), ..PolicyFacts::default() }))
}

fn entry(state: &State, last: u8) -> Option<Pod> {
    state.image().pods.get(&PodKey { address: address(last) }).copied()
}

#[test]
fn before_policies_are_known_pods_keep_what_they_have_and_new_ones_wait() {
    let mut first = State::default();
    first.policies_known();
    first.apply([pod(2), attachment(2), policy("closed", false)]);
    let held = entry(&first, 2).unwrap();
    assert_ne!(held.ingress, 0);
    let mut second = State::default();
    second.adopt(first.image().clone());
    assert_eq!(second.apply([attachment(2), attachment(3), pod(3)]).steps, []);
    assert_eq!((entry(&second, 2), entry(&second, 3)), (Some(held), None));
    second.apply([pod(2), policy("closed", false)]);
    second.policies_known();
    let steps = second.plan().steps;
    assert!(matches!(steps.as_slice(), [Step::PutPod(key, pod)] if key.address == address(3) && pod.ingress == held.ingress), "{steps:?}");
}

#[test]
fn a_pod_that_is_attached_and_not_known_yet_waits_for_what_is_known_of_it() {
    let mut state = State::default();
    state.policies_known();
    assert_eq!(state.apply([attachment(2), policy("closed", false)]).steps, []);
    let steps = state.apply([pod(2)]).steps;
    assert!(matches!(steps.last(), Some(Step::PutPod(_, pod)) if pod.ingress != 0), "{steps:?}");
}

#[test]
fn a_pod_that_is_not_known_yet_gets_nothing_of_another_whose_device_it_has_when_the_maps_are_read() {
    let mut state = State::default();
    state.policies_known();
    state.apply([pod(2), attachment(2)]);
    assert_ne!(entry(&state, 2), None);
    state.adopt(state.image().clone());
    let Change::Attachment(name, Some(facts)) = attachment(2) else { unreachable!() };
    let owner = Some(Owner { pod: object("another"), uid: Uid::of("another") });
    let steps = state.apply([Change::Attachment(name, Some(Attachment { owner, ..facts }))]).steps;
    assert_eq!(steps, [Step::DeletePod(PodKey { address: address(2) })]);
}

#[test]
fn a_pod_that_is_gone_from_the_api_is_policed_until_its_device_goes() {
    let mut state = State::default();
    state.policies_known();
    state.apply([pod(2), attachment(2), policy("closed", false)]);
    let closed = entry(&state, 2).unwrap();
    assert_eq!(state.apply([Change::PeerPod(object("pod-2"), None)]).steps, []);
    state.apply([policy("closed", true), pod(9)]);
    let open = entry(&state, 2).unwrap();
    assert_ne!(open.ingress, closed.ingress);
    // A restart knows nothing of it but what the kernel has.
    let mut second = State::default();
    second.adopt(state.image().clone());
    second.apply([attachment(2), pod(9), policy("closed", true)]);
    second.policies_known();
    second.plan();
    assert_eq!((entry(&second, 2), second.image().flaw()), (Some(open), None));
    assert!(second.image().verdicts.contains_key(&VerdictKey { set: open.ingress, peers: 0 }));
    second.apply([Change::Attachment("2".into(), None), Change::PeerPod(object("pod-9"), None)]);
    assert!(second.image().is_empty(), "left over\n{}", second.image());
}

#[test]
fn pods_switch_between_what_comes_before_and_what_goes_after() {
    let mut state = State::default();
    state.policies_known();
    state.apply([pod(2), attachment(2), pod(9), policy("closed", false)]);
    let steps = state.apply([policy("closed", true)]).steps;
    let place = |is_meant: fn(&Step) -> bool| steps.iter().position(is_meant).unwrap_or_else(|| panic!("{steps:?}"));
    let order = [
        place(|step| matches!(step, Step::PutRule(..))),
        place(|step| matches!(step, Step::PutVerdict(..))),
        place(|step| matches!(step, Step::PutPeer(..))),
        place(|step| matches!(step, Step::PutPod(..))),
        place(|step| matches!(step, Step::DeleteVerdict(..))),
    ];
    assert!(order.is_sorted(), "{steps:?}");
    assert_eq!(steps.iter().filter(|step| matches!(step, Step::PutPod(..))).count(), 1, "one instant");
}

#[test]
fn what_is_not_understood_is_told_as_long_as_there_is_such_a_policy() {
    let mut state = State::default();
    let troubled = |name: &str, trouble: Option<&str>| {
        let Change::Policy(name, facts) = policy(name, false) else { unreachable!() };
        Change::Policy(name, facts.map(|facts| PolicyFacts { trouble: trouble.map(Into::into), ..facts }))
    };
    let told = |state: &State| state.policy_troubles().map(|(policy, why)| (policy.clone(), why.to_owned())).collect::<Vec<_>>();
    let [a, b] = ["a", "b"].map(|name| PolicyName::Namespaced(object(name)));
    state.note(troubled("a", Some("from[0]")));
    state.note(troubled("b", Some("to[1]")));
    assert_eq!(told(&state), [(a.clone(), "from[0]".to_owned()), (b.clone(), "to[1]".to_owned())]);
    state.note(troubled("a", Some("from[2]")));
    state.note(troubled("b", None));
    assert_eq!(told(&state), [(a, "from[2]".to_owned())]);
    state.retain_policies(&[object("b")].into());
    assert_eq!(told(&state), []);
}

#[test]
fn a_write_is_known_by_the_policies_that_wait_for_it() {
    let mut state = State::default();
    state.policies_known();
    state.apply([pod(2), attachment(2), pod(9), policy("closed", false)]);
    let steps = state.apply([policy("open", true)]).steps;
    let [closed, open] = ["closed", "open"].map(|name| PolicyName::Namespaced(object(name)));
    assert_eq!(state.policies_of("2"), Some(vec![closed.clone(), open.clone()]));
    for step in &steps {
        let behind = state.policies_behind([step]);
        match step {
            Step::PutPod(..) => assert_eq!(behind, [(closed.clone(), 0), (open.clone(), 0)].into()),
            Step::PutRule(..) | Step::PutVerdict(..) | Step::PutPeer(..) => assert_eq!(behind, [(open.clone(), 0)].into(), "{step:?}"),
            _ => assert_eq!(behind, [].into(), "{step:?}"),
        }
    }
    // Of several, the first that concerns a policy.
    let first = |is_meant: fn(&Step) -> bool| steps.iter().position(is_meant).unwrap();
    let firsts = [(closed, first(|step| matches!(step, Step::PutPod(..)))), (open, first(|step| matches!(step, Step::PutRule(..))))];
    assert_eq!(state.policies_behind(&steps), firsts.into());
}

/// Lets all pods of the namespace out to a block.
fn lets_out(name: &str, block: Block) -> Change {
    let rule = RuleFacts { peers: Some(Box::new([PeerFacts::Block(block)])), ports: None };
    Change::Policy(object(name), Some(PolicyFacts { uid: Uid::of(name), egress: Some(Box::new([rule])), ..PolicyFacts::default() }))
}

#[test]
fn a_block_that_most_pods_are_in_is_written_at_those_that_are_not_and_one_that_few_are_in_at_those() {
    let range = |text: &str, bits| RangeKey::new(text.parse().unwrap(), bits);
    let pods = || (2..8).map(pod).chain([attachment(2), policy("among", true)]);
    let around = Block { range: range("10.244.0.0", 16), except: Box::new([range("10.244.1.4", 31)]) };
    let few = Block { range: range("10.244.1.6", 31), except: Box::default() };
    let written = |steps: &[Step]| {
        let of = |step: &Step| if let Step::PutPeer(range, _) | Step::DeletePeer(range) = step { Some(*range) } else { None };
        let own: Vec<RangeKey> = (2..8).map(|last| range(&format!("10.244.1.{last}"), 32)).collect();
        let mut written: Vec<Address> =
            steps.iter().filter_map(of).filter(|range| own.contains(range)).map(|range| range.address).collect();
        written.sort_unstable();
        written
    };
    let lets_out_to = |state: &State| {
        let set = entry(state, 2).unwrap().egress;
        let image = state.image();
        let may = |last: &u8| {
            let peers = image.peers[&range(&format!("10.244.1.{last}"), 32)].peers;
            let verdict = image.verdicts.get(&VerdictKey { set, peers }).or_else(|| image.verdicts.get(&VerdictKey { set, peers: 0 }));
            verdict.is_some_and(|verdict| verdict.otherwise.action == action::ALLOW)
        };
        (2..8).filter(may).collect::<Vec<u8>>()
    };
    for (block, apart, inside) in [(around, [4, 5].as_slice(), [2, 3, 6, 7].as_slice()), (few, &[6, 7], &[6, 7])] {
        let mut state = State::default();
        state.policies_known();
        state.apply(pods());
        let before = state.image().clone();
        let steps = state.apply([lets_out("out", block.clone())]).steps;
        let apart: Vec<Address> = apart.iter().copied().map(address).collect();
        assert_eq!((written(&steps), lets_out_to(&state)), (apart.clone(), inside.to_vec()));
        let mut fresh = State::default();
        fresh.policies_known();
        fresh.apply(pods().chain([lets_out("out", block)]));
        assert_eq!(state.image().canonical(), fresh.image().canonical());
        let steps = state.apply([Change::Policy(object("out"), None)]).steps;
        assert_eq!((written(&steps), state.image().canonical()), (apart, before.canonical()));
    }
}

#[test]
fn who_is_known_is_never_taken_for_one_of_those_around() {
    let mut state = State::default();
    state.policies_known();
    let all = || NamespacedPods { namespaces: Selector::default(), pods: Selector::default() };
    // Nobody whom anybody knows has such a label; of a pod that is not known yet nobody can tell.
    let bad = NamespacedPods { pods: Selector::new(vec![Requirement::Exists("bad".into())]), ..all() };
    let rule = RuleFacts { peers: Some(Box::new([PeerFacts::Pods(bad)])), ports: None };
    let policy = ClusterPolicyFacts {
        uid: Uid::of("cluster"),
        tier: Tier::Admin,
        priority: 0,
        subject: all(),
        ingress: Box::new([ClusterRuleFacts { name: "".into(), action: Action::Deny, rule }]),
        egress: Box::default(),
        trouble: None,
    };
    let namespace = Change::Namespace("a".into(), Some(NamespaceFacts { labels: Labels::default() }));
    state.apply([namespace, pod(2), attachment(2), pod(3), Change::ClusterPolicy("cluster".into(), Some(policy))]);
    let around = RangeKey::new([10, 244, 1, 0].into(), 24);
    let steps = state.apply([Change::Ranges([(around, Range { kinds: range_kinds::PODS, ..Range::default() })].into())]).steps;
    let written: Vec<RangeKey> = steps.iter().filter_map(|step| if let Step::PutPeer(key, _) = step { Some(*key) } else { None }).collect();
    let own = |last| RangeKey { prefix_bits: 128, address: address(last) };
    assert!(written.contains(&own(2)) && written.contains(&own(3)), "{written:?}");
    assert_eq!(written.last(), Some(&around), "{written:?}");
}

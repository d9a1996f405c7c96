//! Whose addresses and rules are, for those who explain what became of packets.

use orknet_abi::{Address, Pod, Rule, direction, policy_kind};
use orknet_compiler::facts::{
    Action, ClusterPolicyFacts, ClusterRuleFacts, Labels, NamespacedPods, Owner, PodFacts, PolicyFacts, Requirement, RuleFacts, Selector,
    Tier, Uid,
};
use orknet_compiler::{Attachment, Change, NodeFacts, ObjectName, PodAt, PolicyName, State};
use std::collections::HashSet;

const LOCAL: Address = Address::from_v4([10, 244, 0, 2]);
const REMOTE: Address = Address::from_v4([10, 244, 1, 2]);
const NODE: Address = Address::from_v4([192, 0, 2, 1]);

fn object(namespace: &str, name: &str) -> ObjectName {
    ObjectName { namespace: namespace.into(), name: name.into() }
}

fn pod(uid: &str, address: Address, created: u32) -> PodFacts {
    let labels = Labels::new([("app".into(), "web".into())]);
    PodFacts { uid: Uid::of(uid), labels, addresses: Box::new([address]), ports: [].into(), is_peer: true, created }
}

fn state(changes: impl IntoIterator<Item = Change>) -> State {
    let mut state = State::new(NodeFacts { name: "here".into(), addresses: Box::new([NODE]), ..NodeFacts::default() });
    changes.into_iter().for_each(|change| state.note(change));
    state
}

fn attached(name: &str, ifindex: u32, owner: Option<Owner>) -> Change {
    let attachment = Attachment { addresses: vec![LOCAL], pod: Pod { ifindex, ..Pod::default() }, owner, ..Attachment::default() };
    Change::Attachment(name.into(), Some(attachment))
}

#[test]
fn an_address_is_the_younger_pods_and_the_attached_pods_before_all() {
    let old = Change::PeerPod(object("a", "old"), Some(pod("1", REMOTE, 10)));
    let young = Change::PeerPod(object("a", "young"), Some(pod("2", REMOTE, 20)));
    let stale = Change::PeerPod(object("a", "stale"), Some(pod("3", LOCAL, 30)));
    let on_host = Change::PeerPod(object("a", "host"), Some(PodFacts { is_peer: false, ..pod("4", NODE, 40) }));
    let owner = Owner { pod: object("b", "own"), uid: Uid::of("5") };
    let asked: HashSet<Address> = [LOCAL, REMOTE, NODE].into();
    let remote = PodAt { name: object("a", "young"), uid: Uid::of("2"), is_local: false };
    let local = PodAt { name: owner.pod.clone(), uid: owner.uid, is_local: true };
    for order in [[old.clone(), young.clone()], [young.clone(), old.clone()]] {
        let state = state(order.into_iter().chain([stale.clone(), on_host.clone(), attached("c1", 7, Some(owner.clone()))]));
        assert_eq!(state.pods_at(&asked), [(LOCAL, local.clone()), (REMOTE, remote.clone())].into());
        assert_eq!(state.pods_at(&[REMOTE].into()), [(REMOTE, remote.clone())].into());
        assert_eq!((state.pod_behind(7), state.pod_behind(8)), (Some(local.clone()), None));
    }
    let nobodys = state([stale, attached("c1", 7, None)]);
    assert_eq!(nobodys.pods_at(&asked), [].into(), "what is attached for nobody of the API is no pod that had the address before");
    assert_eq!(nobodys.pod_behind(7), None);
}

#[test]
fn a_rule_is_found_by_its_policys_uid() {
    let any = || RuleFacts::default();
    let policy = PolicyFacts { uid: Uid::of("n"), ingress: Some(Box::new([any()])), ..PolicyFacts::default() };
    let denying = ClusterRuleFacts { name: "".into(), action: Action::Deny, rule: any() };
    let of_cluster = ClusterPolicyFacts {
        uid: Uid::of("c"),
        tier: Tier::Admin,
        priority: 1,
        subject: NamespacedPods::default(),
        ingress: Box::default(),
        egress: Box::new([denying]),
        trouble: None,
    };
    let state = state([Change::Policy(object("a", "web"), Some(policy)), Change::ClusterPolicy("closed".into(), Some(of_cluster))]);
    let (namespaced, cluster) = (PolicyName::Namespaced(object("a", "web")), PolicyName::Cluster("closed".into()));
    let known = state.policies_with(&["n", "c", "other"].map(Uid::of).into());
    assert_eq!(known, [(Uid::of("n"), namespaced.clone()), (Uid::of("c"), cluster.clone())].into());
    let action =
        |kind, of: u32, index, policy: &PolicyName| state.action_of(&Rule { kind, direction: of as u8, index, ..Rule::default() }, policy);
    assert_eq!(action(policy_kind::NETWORK_POLICY, direction::INGRESS, 0, &namespaced), Some(Action::Accept));
    assert_eq!(action(policy_kind::NETWORK_POLICY, direction::INGRESS, 1, &namespaced), None);
    assert_eq!(action(policy_kind::NETWORK_POLICY, direction::EGRESS, 0, &namespaced), None);
    assert_eq!(action(policy_kind::CLUSTER_NETWORK_POLICY, direction::EGRESS, 0, &cluster), Some(Action::Deny));
    assert_eq!(action(policy_kind::NETWORK_POLICY, direction::EGRESS, 0, &cluster), None);
}

#[test]
fn what_isolates_a_pod_selects_it_in_its_namespace_and_direction() {
    let selector = |value: &str| Selector::new([Requirement::In("app".into(), Box::new([value.into()]))]);
    let policy = |pods, ingress: bool, egress: bool| PolicyFacts {
        pods,
        ingress: ingress.then(Box::default),
        egress: egress.then(Box::default),
        ..PolicyFacts::default()
    };
    let state = state([
        Change::PeerPod(object("a", "pod"), Some(pod("1", REMOTE, 1))),
        Change::Policy(object("a", "second"), Some(policy(selector("web"), true, false))),
        Change::Policy(object("a", "first"), Some(policy(Selector::default(), true, true))),
        Change::Policy(object("a", "other-pods"), Some(policy(selector("db"), true, true))),
        Change::Policy(object("b", "other-namespace"), Some(policy(Selector::default(), true, true))),
    ]);
    assert_eq!(state.isolating(&object("a", "pod"), direction::INGRESS), [object("a", "first"), object("a", "second")]);
    assert_eq!(state.isolating(&object("a", "pod"), direction::EGRESS), [object("a", "first")]);
    assert!(state.isolating(&object("a", "unknown"), direction::INGRESS).is_empty());
}

//! Policies and whom they speak of, made up at random from a few names, labels and addresses so that they meet; and what an image answers.

use orknet_abi::{
    Address, Judgement, Peer, Pod, PodKey, PortKey, Range, RangeKey, Rule, Verdict, VerdictKey, action, direction, protocol, range_kinds,
};
use orknet_compiler::facts::{
    Action, Block, ClusterRuleFacts, Labels, NamedPort, NamespacedPods, PeerFacts, PortFacts, Requirement, RuleFacts, Selector, Tier, Uid,
};
use orknet_compiler::{
    Attachment, Change, ClusterPolicyFacts, Inputs, MapImage, NamespaceFacts, ObjectName, Owner, PeerNodeFacts, PodFacts, PolicyFacts,
};
use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::*;
use std::net::IpAddr;
use std::sync::Arc;

fn name(prefix: &str, number: u8) -> Arc<str> {
    format!("{prefix}{number}").into()
}

fn object(prefix: &str, number: u8) -> ObjectName {
    ObjectName { namespace: name("ns", number % 3), name: name(prefix, number / 3) }
}

fn address(v6: bool, last: u8) -> Address {
    if v6 {
        Address::from("fd00::".parse::<IpAddr>().map(|base| with_last(base, last)).unwrap())
    } else {
        Address::from_v4([10, 0, 0, last])
    }
}

fn with_last(base: IpAddr, last: u8) -> IpAddr {
    match base {
        IpAddr::V6(base) => {
            let mut octets = base.octets();
            octets[15] = last;
            IpAddr::V6(octets.into())
        }
        v4 => v4,
    }
}

fn labels() -> impl Strategy<Value = Labels> {
    let pair = (0..2u8, 0..2u8).prop_map(|(key, value)| (name("k", key), name("v", value)));
    vec(pair, 0..3).prop_map(Labels::new)
}

fn selector() -> impl Strategy<Value = Selector> {
    let requirement = (0..4u8, 0..2u8, vec(0..2u8, 1..3)).prop_map(|(kind, key, values)| {
        let key = name("k", key);
        let mut values: Vec<_> = values.into_iter().map(|value| name("v", value)).collect();
        values.sort_unstable();
        values.dedup();
        match kind {
            0 => Requirement::In(key, values.into()),
            1 => Requirement::NotIn(key, values.into()),
            2 => Requirement::Exists(key),
            _ => Requirement::DoesNotExist(key),
        }
    });
    vec(requirement, 0..2).prop_map(Selector::new)
}

fn range() -> impl Strategy<Value = RangeKey> {
    (any::<bool>(), 0..8u8, 0..4u8).prop_map(|(v6, last, length)| {
        let lengths = if v6 { [0, 64, 126, 128] } else { [0, 24, 30, 32] };
        RangeKey::new(address(v6, last).into(), lengths[usize::from(length)])
    })
}

fn block() -> impl Strategy<Value = Block> {
    (range(), vec(range(), 0..3)).prop_map(|(range, mut except)| {
        except.sort_unstable();
        except.dedup();
        Block { range, except: except.into() }
    })
}

fn pods() -> impl Strategy<Value = NamespacedPods> {
    (selector(), selector()).prop_map(|(namespaces, pods)| NamespacedPods { namespaces, pods })
}

fn peer() -> impl Strategy<Value = PeerFacts> {
    prop_oneof![
        selector().prop_map(PeerFacts::OwnPods),
        pods().prop_map(PeerFacts::Pods),
        block().prop_map(PeerFacts::Block),
        selector().prop_map(PeerFacts::Nodes),
    ]
}

fn port() -> impl Strategy<Value = PortFacts> {
    let protocols = prop_oneof![Just(protocol::TCP), Just(protocol::UDP), Just(protocol::SCTP)];
    prop_oneof![
        (protocols, 0..4u16, 0..4u16).prop_map(|(protocol, first, more)| PortFacts::Range {
            protocol,
            first: 78 + first,
            last: 78 + first + more
        }),
        Just(PortFacts::Range { protocol: protocol::UDP, first: 0, last: u16::MAX }),
        (any::<bool>(), 0..2u8)
            .prop_map(|(tcp, port)| PortFacts::Named { protocol: if tcp { protocol::TCP } else { protocol::UDP }, name: name("p", port) }),
    ]
}

fn rule() -> impl Strategy<Value = RuleFacts> {
    (weighted(0.8, vec(peer(), 0..3)), weighted(0.5, vec(port(), 0..3)))
        .prop_map(|(peers, ports)| RuleFacts { peers: peers.map(Into::into), ports: ports.map(Into::into) })
}

fn policy() -> impl Strategy<Value = PolicyFacts> {
    (0..6u8, selector(), weighted(0.7, vec(rule(), 0..3)), weighted(0.5, vec(rule(), 0..3))).prop_map(|(uid, pods, ingress, egress)| {
        PolicyFacts { uid: Uid([uid; 16]), pods, ingress: ingress.map(Into::into), egress: egress.map(Into::into), trouble: None }
    })
}

/// A ClusterNetworkPolicy has no namespace of its own.
fn cluster_rule() -> impl Strategy<Value = RuleFacts> {
    rule().prop_map(|mut rule| {
        for peer in rule.peers.iter_mut().flat_map(|peers| peers.iter_mut()) {
            if let PeerFacts::OwnPods(pods) = peer {
                *peer = PeerFacts::Pods(NamespacedPods { namespaces: Selector::default(), pods: pods.clone() });
            }
        }
        rule
    })
}

fn cluster_policy() -> impl Strategy<Value = ClusterPolicyFacts> {
    let action = prop_oneof![Just(Action::Accept), Just(Action::Deny), Just(Action::Pass)];
    let rules =
        || vec((action.clone(), cluster_rule()).prop_map(|(action, rule)| ClusterRuleFacts { name: "".into(), action, rule }), 0..3);
    (10..14u8, any::<bool>(), 0..3, pods(), rules(), rules()).prop_map(|(uid, admin, priority, subject, ingress, egress)| {
        ClusterPolicyFacts {
            uid: Uid([uid; 16]),
            tier: if admin { Tier::Admin } else { Tier::Baseline },
            priority,
            subject,
            ingress: ingress.into(),
            egress: egress.into(),
            trouble: None,
        }
    })
}

/// Mostly the same: who is meant by an owner is mostly there.
fn uid() -> impl Strategy<Value = Uid> {
    weighted(0.15, Just(())).prop_map(|other| Uid([u8::from(other.is_some()); 16]))
}

fn pod() -> impl Strategy<Value = PodFacts> {
    let ports = vec((0..2u8, any::<bool>(), 79..81u16), 0..3).prop_map(|ports| {
        let mut found: Vec<NamedPort> = Vec::new();
        for (number, tcp, port) in ports {
            let port = NamedPort { name: name("p", number), protocol: if tcp { protocol::TCP } else { protocol::UDP }, port };
            if !found.iter().any(|known| known.name == port.name && known.protocol == port.protocol) {
                found.push(port);
            }
        }
        found.sort_unstable();
        found
    });
    (uid(), labels(), vec((any::<bool>(), 0..8u8), 0..3), ports, weighted(0.1, Just(())), 0..3u32).prop_map(
        |(uid, labels, addresses, ports, finished, created)| {
            let mut addresses: Vec<_> = addresses.into_iter().map(|(v6, last)| address(v6, last)).collect();
            addresses.sort_unstable();
            addresses.dedup();
            let is_peer = finished.is_none();
            PodFacts {
                uid,
                labels,
                addresses: if is_peer { addresses.into() } else { Box::default() },
                ports: ports.into(),
                is_peer,
                created,
            }
        },
    )
}

fn attachment() -> impl Strategy<Value = Attachment> {
    (vec((any::<bool>(), 0..8u8), 0..3), 1..4u32, weighted(0.9, (0..6u8, uid()))).prop_map(|(addresses, ifindex, owner)| {
        let mut addresses: Vec<_> = addresses.into_iter().map(|(v6, last)| address(v6, last)).collect();
        addresses.sort_unstable();
        addresses.dedup();
        Attachment {
            addresses,
            pod: Pod { ifindex, ..Pod::default() },
            host_ports: Vec::new(),
            owner: owner.map(|(pod, uid)| Owner { pod: object("pod", pod), uid }),
        }
    })
}

fn node() -> impl Strategy<Value = PeerNodeFacts> {
    (labels(), vec(6..10u8, 0..3)).prop_map(|(labels, addresses)| {
        let mut addresses: Vec<_> = addresses.into_iter().map(|last| address(false, last)).collect();
        addresses.sort_unstable();
        addresses.dedup();
        PeerNodeFacts { labels, addresses: addresses.into() }
    })
}

/// A change of anything that policies' maps depend on.
pub fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        6 => (0..9u8, weighted(0.8, policy())).prop_map(|(n, facts)| Change::Policy(object("policy", n), facts)),
        3 => (0..3u8, weighted(0.8, cluster_policy())).prop_map(|(n, facts)| Change::ClusterPolicy(name("cluster", n), facts)),
        2 => (0..3u8, weighted(0.8, labels())).prop_map(|(n, labels)| Change::Namespace(name("ns", n), labels.map(|labels| NamespaceFacts { labels }))),
        8 => (0..9u8, weighted(0.85, pod())).prop_map(|(n, facts)| Change::PeerPod(object("pod", n), facts)),
        2 => (0..3u8, weighted(0.8, node())).prop_map(|(n, facts)| Change::PeerNode(name("node", n), facts)),
        1 => vec(range(), 0..3).prop_map(|of_pods| {
            let kind = Range { kinds: range_kinds::PODS, ..Range::default() };
            Change::Ranges(of_pods.into_iter().map(|range| (range, kind)).collect())
        }),
        5 => (0..4u8, weighted(0.8, attachment())).prop_map(|(n, facts)| Change::Attachment(name("c", n), facts)),
    ]
}

/// Pods that run here.
const ATTACHED: u8 = 3;

/// What a cluster begins with: namespaces, pods in each, some of which run here, and policies. Each pod has an address of each family that no other
/// has.
pub fn populated() -> impl Strategy<Value = Vec<Change>> {
    let policies = vec((0..9u8, policy()), 2..6);
    (vec(labels(), 3), vec(pod(), 6), policies, weighted(0.5, cluster_policy())).prop_map(|(namespaces, pods, policies, cluster_policy)| {
        let addresses = |last| [address(false, last), address(true, last)];
        let mut changes = Vec::new();
        for (labels, n) in namespaces.into_iter().zip(0..) {
            changes.push(Change::Namespace(name("ns", n), Some(NamespaceFacts { labels })));
        }
        for (facts, n) in pods.into_iter().zip(0..) {
            let facts = PodFacts { uid: Uid([0; 16]), addresses: addresses(n).into(), is_peer: true, ..facts };
            changes.push(Change::PeerPod(object("pod", n), Some(facts)));
        }
        for n in 0..ATTACHED {
            let owner = Some(Owner { pod: object("pod", n), uid: Uid([0; 16]) });
            let pod = Pod { ifindex: u32::from(n) + 1, ..Pod::default() };
            let attachment = Attachment { addresses: addresses(n).into(), pod, host_ports: Vec::new(), owner };
            changes.push(Change::Attachment(name("c", n), Some(attachment)));
        }
        changes.extend(policies.into_iter().map(|(n, facts)| Change::Policy(object("policy", n), Some(facts))));
        changes.extend(cluster_policy.map(|facts| Change::ClusterPolicy(name("cluster", 0), Some(facts))));
        changes
    })
}

/// The same change of the inputs.
pub fn put(inputs: &mut Inputs, change: Change) {
    let policy = &mut inputs.policy;
    match change {
        Change::Policy(name, facts) => set(&mut policy.policies, name, facts),
        Change::ClusterPolicy(name, facts) => set(&mut policy.cluster_policies, name, facts),
        Change::Namespace(name, facts) => set(&mut policy.namespaces, name, facts),
        Change::PeerNode(name, facts) => set(&mut policy.nodes, name, facts),
        Change::PeerPod(name, facts) => set(&mut policy.pods, name, facts),
        Change::Attachment(name, None) => {
            inputs.attachments.remove(&name);
            policy.former.remove(&name);
        }
        Change::Attachment(name, Some(facts)) => {
            if inputs.attachments.get(&name).is_some_and(|old| old.owner != facts.owner) {
                policy.former.remove(&name);
            }
            let rivals: Vec<_> = inputs.attachments.iter().filter(|(other, old)| **other != name && old.collides_with(&facts)).collect();
            let rivals: Vec<_> = rivals.into_iter().map(|(rival, _)| Arc::clone(rival)).collect();
            for rival in rivals {
                inputs.attachments.remove(&rival);
                policy.former.remove(&rival);
            }
            inputs.attachments.insert(name, facts);
        }
        Change::Ranges(ranges) => inputs.ranges = ranges,
        other => unreachable!("{other:?}"),
    }
    know_pods(inputs);
}

/// Takes note of what is known of the attachments' pods.
pub fn know_pods(inputs: &mut Inputs) {
    let policy = &mut inputs.policy;
    for (name, attachment) in &inputs.attachments {
        let known = attachment.owner.as_ref().and_then(|owner| policy.pods.get(&owner.pod).filter(|facts| facts.uid == owner.uid));
        policy.former.extend(known.map(|facts| (Arc::clone(name), facts.clone())));
    }
}

fn set<K: Ord, V>(known: &mut std::collections::BTreeMap<K, V>, name: K, facts: Option<V>) {
    match facts {
        Some(facts) => drop(known.insert(name, facts)),
        None => drop(known.remove(&name)),
    }
}

/// All addresses of the pods that a change is about: of those of a namespace, of one, or of one that is attached and those in whose place it comes.
pub fn addresses_of(inputs: &Inputs, change: &Change) -> Vec<Address> {
    let of_pods = |is_meant: &dyn Fn(&ObjectName) -> bool| {
        let attached = inputs.attachments.values().filter(|known| known.owner.as_ref().is_some_and(|owner| is_meant(&owner.pod)));
        let listed = inputs.policy.pods.iter().filter(|(name, _)| is_meant(name)).flat_map(|(_, facts)| facts.addresses.iter());
        attached.flat_map(|attachment| attachment.addresses.iter()).chain(listed).copied().collect()
    };
    match change {
        Change::Namespace(namespace, _) => of_pods(&|pod| pod.namespace == *namespace),
        Change::PeerPod(name, _) => of_pods(&|pod| pod == name),
        Change::Attachment(name, facts) => {
            let gives_way = |known: &Attachment| facts.as_ref().is_some_and(|facts| known.collides_with(facts));
            let concerned = inputs.attachments.iter().filter(|(other, known)| *other == name || gives_way(known));
            concerned.flat_map(|(_, known)| known.addresses.iter().copied()).collect()
        }
        _ => Vec::new(),
    }
}

/// Everything but the attachments.
pub fn note_all(inputs: &Inputs, mut note: impl FnMut(Change)) {
    note(Change::Ranges(inputs.ranges.clone()));
    let policy = inputs.policy.clone();
    policy.policies.into_iter().for_each(|(name, facts)| note(Change::Policy(name, Some(facts))));
    policy.cluster_policies.into_iter().for_each(|(name, facts)| note(Change::ClusterPolicy(name, Some(facts))));
    policy.namespaces.into_iter().for_each(|(name, facts)| note(Change::Namespace(name, Some(facts))));
    policy.pods.into_iter().for_each(|(name, facts)| note(Change::PeerPod(name, Some(facts))));
    policy.nodes.into_iter().for_each(|(name, facts)| note(Change::PeerNode(name, Some(facts))));
}

/// Contents that some other process may have left: broken, shared, orphaned.
pub fn leftovers() -> impl Strategy<Value = MapImage> {
    let number = || prop_oneof![0..4u32, Just(u32::MAX)];
    let judgement = || (0..2u32, 0..3u32).prop_map(|(action, rule)| Judgement { action, rule });
    let peers = vec((range(), number()), 0..6);
    let verdicts = vec((number(), number(), number(), judgement()), 0..8);
    let ports = vec((number(), 0..2u16, judgement()), 0..5);
    let rules = vec((0..4u32, 0..6u8), 0..4);
    (peers, verdicts, ports, rules, vec((0..8u8, number(), number()), 0..4)).prop_map(|(peers, verdicts, ports, rules, pods)| {
        let mut image = MapImage::default();
        image.peers.extend(peers.into_iter().map(|(range, peers)| (range, Peer { peers })));
        image
            .verdicts
            .extend(verdicts.into_iter().map(|(set, peers, table, otherwise)| (VerdictKey { set, peers }, Verdict { table, otherwise })));
        image.ports.extend(ports.into_iter().map(|(table, port, said)| (PortKey::ports(table, protocol::TCP, 80 + port, 16), said)));
        image.rules.extend(rules.into_iter().map(|(number, uid)| (number, Rule { policy: [uid; 16], kind: 1, ..Rule::default() })));
        let pod = |ingress, egress| Pod { ifindex: 99, ingress, egress, ..Pod::default() };
        image.pods.extend(pods.into_iter().map(|(last, ingress, egress)| (PodKey { address: address(false, last) }, pod(ingress, egress))));
        image
    })
}

/// Address of the other end, protocol, and port in native byte order.
pub type Question = (Address, u8, u16);

/// What the maps answer about a pod, in a direction, as programs look it up.
pub fn ask(maps: &MapImage, pod: &PodKey, way: u32) -> Vec<(Question, bool)> {
    let ends = (0..10).map(|last| address(false, last)).chain((0..8).map(|last| address(true, last)));
    let ends = ends.chain([Address::from_v4([192, 0, 2, 1])]);
    let ports = [(protocol::TCP, 79), (protocol::TCP, 80), (protocol::UDP, 80), (protocol::ICMP, 0)];
    let value = maps.pods.get(pod);
    let said = ends.flat_map(|end| {
        let verdict = value.and_then(|value| verdict(maps, set_of(pod, value, way, end), end));
        ports.map(|(protocol, port)| ((end, protocol, port), verdict.is_some_and(|verdict| is_let_through(maps, verdict, protocol, port))))
    });
    said.collect()
}

/// The number of the rules that count; 0 if there are none.
fn set_of(pod: &PodKey, value: &Pod, way: u32, end: Address) -> u32 {
    match (way == direction::INGRESS, end == pod.address) {
        (true, false) => value.ingress,
        (false, false) => value.egress,
        (true, true) => value.own_ingress,
        (false, true) => value.own_egress,
    }
}

/// What rules say of an end, if they know.
fn verdict(maps: &MapImage, set: u32, end: Address) -> Option<Verdict> {
    if set == 0 {
        return Some(Verdict { table: 0, otherwise: Judgement { action: action::ALLOW, rule: 0 } });
    }
    let longest = maps.peers.iter().filter(|(range, _)| range.contains(end)).max_by_key(|(range, _)| range.prefix_bits);
    let peers = longest.map_or(0, |(_, peer)| peer.peers);
    maps.verdicts.get(&VerdictKey { set, peers }).or_else(|| maps.verdicts.get(&VerdictKey { set, peers: 0 })).copied()
}

fn is_let_through(maps: &MapImage, verdict: Verdict, protocol: u8, port: u16) -> bool {
    let prefixes = (0..=16).rev().map(|bits| PortKey::ports(verdict.table, protocol, port, bits));
    let said = prefixes.chain([PortKey::whole(verdict.table)]).find_map(|key| maps.ports.get(&key)).filter(|_| verdict.table != 0);
    said.unwrap_or(&verdict.otherwise).action == action::ALLOW
}

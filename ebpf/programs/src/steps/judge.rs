//! Policy: whether a connection may be, by the rules of its client and of its server. What rules say was worked out in user space: here are look-ups
//! only. The documentation of the ABI's policy says what is looked up.

use super::{count::add, event::Judgements, flow::known, node, quick, read, scratch, segment::is_portless};
use crate::{
    global,
    maps::{PEERS, PODS, PORTS, PortPrefix, RULE_COUNTS, VERDICTS},
};
use aya_ebpf::maps::lpm_trie::Key;
use orknet_abi::{
    Address, DropReason, FlowKey, Judgement, Pod, PodKey, Verdict, VerdictKey, action, direction, node_flags, pair_side, protocol,
};

/// How a packet is judged; bits.
pub mod judging {
    /// It goes against the direction in which its flow was opened.
    pub const BACK: u32 = 1;
    /// Its flow is new: rules that let it through count it. Those that refuse a packet count it as it is dropped.
    pub const NEW: u32 = 2;
    /// It came from the network: its source is no pod of this node.
    pub const FOREIGN: u32 = 4;
}

/// The answer to what may be; any other is the number of a drop reason.
pub const ALLOWED: u32 = u32::MAX;

/// Whether a pod has rules.
#[inline(always)]
pub fn is_policed(pod: *const Pod) -> bool {
    // SAFETY: callers pass a value of the map of pods, whose memory stays one until the program ends.
    unsafe { (&raw const (*pod).ingress).read() | (&raw const (*pod).egress).read() | own_sets(pod) != 0 }
}

#[inline(always)]
unsafe fn own_sets(pod: *const Pod) -> u32 {
    // SAFETY: as above.
    unsafe { (&raw const (*pod).own_ingress).read() | (&raw const (*pod).own_egress).read() }
}

/// Whether the address is that of a pod of this node that has rules.
#[inline(always)]
pub fn has_rules(address: &Address) -> bool {
    PODS.get_ptr(PodKey { address: *address }).is_some_and(is_policed)
}

/// Whether the address is that of a pod of this node that has rules for what it sends itself.
#[inline(always)]
pub fn has_own_rules(address: &Address) -> bool {
    // SAFETY: the pointer comes from a map look-up that succeeded; the memory stays a value of this map until the program ends.
    PODS.get_ptr(PodKey { address: *address }).is_some_and(|pod| unsafe { own_sets(pod) } != 0)
}

/// Before a packet is judged: what is learnt of its way counts only as long as nothing has changed since.
#[inline(always)]
pub fn begin() {
    if let Some(judged) = scratch::judged() {
        judged.generation = quick::generation();
        (judged.egress.set, judged.ingress.set) = (0, 0);
        (judged.egress.rule, judged.ingress.rule) = (0, 0);
        judged.stateless.side = pair_side::ANY;
    }
}

/// The generation in which the packet's judgement began.
#[inline(always)]
pub fn generation() -> u64 {
    scratch::judged().map_or(1, |judged| judged.generation)
}

/// Whether what has been let through once is not judged again.
#[inline(always)]
pub fn is_lenient() -> bool {
    node::pointer().is_some_and(|node| node.flags & node_flags::LENIENT != 0)
}

/// Judges a packet by its own addresses and what it becomes: [`ALLOWED`] or why not. `how` is made of [`judging`].
///
/// The client is who opened the flow, with the address that it has of itself; the server is who has it in the end. What the node itself sends
/// is not subject to policy, nor what is for it.
#[inline(always)]
pub fn judge(key: &FlowKey, becomes: &FlowKey, how: u32, bytes: u32) -> u32 {
    let Some(judged) = scratch::judged() else { return DropReason::PolicyIngress as u32 };
    let is_back = how & judging::BACK != 0;
    let (client, server, port_be) = if is_back {
        (&becomes.destination, &key.source, key.source_port_be)
    } else {
        (&key.source, &becomes.destination, becomes.destination_port_be)
    };
    let has_ports = !is_portless(key.protocol) && !matches!(key.protocol, protocol::ICMP | protocol::ICMP6);
    let port = u32::from(key.protocol) | if has_ports { u32::from(port_be) << 16 } else { 0 };
    let is_self = client == server;
    let mut between_pods = false;
    if let Some(pod) = PODS.get_ptr(PodKey { address: *client }) {
        between_pods = how & judging::FOREIGN != 0;
        if between_pods && !is_back {
            return DropReason::SourceIsPod as u32;
        }
        // SAFETY: the pointer comes from a map look-up that succeeded; the memory stays a value of this map until the program ends.
        let set = unsafe { if is_self { (&raw const (*pod).own_egress).read() } else { (&raw const (*pod).egress).read() } };
        if set != 0 && !node::is_own(server) && global::ask(set, server, port, direction::EGRESS) != action::ALLOW {
            return DropReason::PolicyEgress as u32;
        }
    }
    if let Some(pod) = PODS.get_ptr(PodKey { address: *server }) {
        // An answer of one that goes elsewhere gets into none here.
        if between_pods {
            return DropReason::SourceIsPod as u32;
        }
        // SAFETY: as above.
        let set = unsafe { if is_self { (&raw const (*pod).own_ingress).read() } else { (&raw const (*pod).ingress).read() } };
        // Of the node's own address as a client, only what answers it may be believed: anybody could write it into a packet.
        if set != 0 && !(is_back && node::is_own(client)) && global::ask(set, client, port, direction::INGRESS) != action::ALLOW {
            return DropReason::PolicyIngress as u32;
        }
    }
    if how & judging::NEW != 0 {
        count(judged.egress.rule, bytes);
        count(judged.ingress.rule, bytes);
    }
    ALLOWED
}

/// The same of a packet whose flow is known: [`follow`](super::flow::follow)'s answer says in which direction it goes.
#[inline(always)]
pub fn judge_known(key: &FlowKey, becomes: &FlowKey, is_known: u32, bytes: u32) -> u32 {
    let how =
        if is_known & known::BACK != 0 { judging::BACK } else { 0 } | if is_known & known::FOREIGN != 0 { judging::FOREIGN } else { 0 };
    if is_lenient() {
        let is_pod = |address: &Address| PODS.get_ptr(PodKey { address: *address }).is_some();
        let is_forged = how & judging::FOREIGN != 0 && is_pod(&key.source) && (how & judging::BACK == 0 || is_pod(&becomes.destination));
        return if is_forged { DropReason::SourceIsPod as u32 } else { ALLOWED };
    }
    global::judge(key, becomes, how, bytes)
}

/// What a set of rules says about the other end; answers the [`action`]. `port` is the protocol and, in the upper half, the server's port in network
/// order.
#[inline(always)]
pub fn ask(set: u32, other: &Address, port: u32, way: u32) -> u32 {
    let Some(judged) = scratch::judged() else { return action::DENY };
    let found = if way == direction::EGRESS { &mut judged.egress } else { &mut judged.ingress };
    let peers = PEERS.get(Key::new(128, *other)).map_or(0, |peer| peer.peers);
    *found = Judgements { set, peers, rule: 0, action: action::DENY };
    let Some(verdict) = verdict_of(set, peers) else { return action::DENY };
    let judgement = if verdict.table == 0 { verdict.otherwise } else { of_port(verdict, port) };
    (found.rule, found.action) = (judgement.rule, judgement.action);
    judgement.action
}

#[inline(always)]
fn verdict_of(set: u32, peers: u32) -> Option<Verdict> {
    read(VERDICTS.get_ptr(VerdictKey { set, peers })).or_else(|| read(VERDICTS.get_ptr(VerdictKey { set, peers: 0 })))
}

#[inline(always)]
fn of_port(verdict: Verdict, port: u32) -> Judgement {
    let prefix = PortPrefix { table: verdict.table, protocol: port as u8, reserved: 0, port_be: (port >> 16) as u16 };
    read(PORTS.get(Key::new(64, prefix)).map(core::ptr::from_ref)).unwrap_or(verdict.otherwise)
}

/// Whether all answers to what the source sends the destination are let through whoever asks: then nothing need be remembered of it.
#[inline(always)]
pub fn may_forget(source: &Address, destination: &Address) -> bool {
    if is_lenient() {
        return false;
    }
    // SAFETY: the pointers come from map look-ups that succeeded; the memory stays a value of this map until the program ends.
    let ingress = PODS.get_ptr(PodKey { address: *source }).map_or(0, |pod| unsafe { (&raw const (*pod).ingress).read() });
    // SAFETY: as above.
    let egress = PODS.get_ptr(PodKey { address: *destination }).map_or(0, |pod| unsafe { (&raw const (*pod).egress).read() });
    ingress | egress == 0
}

/// Counts a packet that is dropped, for the rule that refused it, if one did: it was judged last.
#[inline(always)]
pub fn count_refused(reason: u32, bytes: u32) {
    let Some(judged) = scratch::judged() else { return };
    if reason == DropReason::PolicyEgress as u32 {
        count(judged.egress.rule, bytes);
    } else if reason == DropReason::PolicyIngress as u32 {
        count(judged.ingress.rule, bytes);
    }
}

/// Counts for a rule. What no rule said is counted by its drop reason alone.
#[inline(always)]
pub fn count(rule: u32, bytes: u32) {
    if rule != 0
        && let Some(count) = RULE_COUNTS.get_ptr_mut(rule)
    {
        add(count, bytes);
    }
}

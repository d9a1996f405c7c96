//! Packets of pods that policy isolates and that nobody translates: judged, remembered, and sent on as a router would.

use super::{
    clock::now_seconds,
    event,
    flow::{self, entrance, known, opened},
    forward::{NOT_OURS, find_own_way},
    judge::{self, judging},
    node,
    packet::{self, Ip, parsed},
    pair::Stateless,
    pod, quick, range, read, scratch,
    segment::{Kind, Segment, segment},
    way::{self, kind},
    words,
};
use crate::{frame::Frame as _, global, maps::UNCERTAIN};
use aya_ebpf::programs::TcContext;
use orknet_abi::{Address, DropReason, FlowKey, UncertainKey, event_kind, flow_state, pair_side, protocol, range_kinds, uncertain};

/// What becomes of a packet that was policed.
pub mod policed {
    /// Neither end is a pod of this node that has rules.
    pub const NOT_OURS: u32 = 0;
    /// It goes on as it is: [`pass_judged`](super::pass_judged).
    pub const PASSES: u32 = 1;
    /// It goes on as what it becomes, which is noted in its place.
    pub const BECOMES: u32 = 2;
    /// It is for the node itself, and the stack gets it.
    pub const FOR_NODE: u32 = 3;
    /// From here on, this and the number of a drop reason.
    pub const DROPPED: u32 = 256;
}

/// Judges a packet that nobody translates, if one of its ends is a pod of this node that has rules; sends it on or drops it. Answers the
/// verdict, or [`NOT_OURS`]. `from` is an [`entrance`].
#[inline(always)]
pub fn police(ctx: &TcContext, ip: &Ip, from: u32) -> i32 {
    let outcome = global::find_policed(ctx.skb.skb, ip, from);
    if outcome == policed::NOT_OURS {
        return NOT_OURS;
    }
    if event::is_traced() {
        let _ = global::tell_judged(ctx.skb.skb);
    }
    let (Some(segment), Some(becomes)) = (scratch::segment(), scratch::becomes()) else { return packet::DROP };
    match outcome {
        policed::PASSES => global::pass_judged(ctx.skb.skb, ip, segment, from),
        policed::BECOMES => global::send(ctx.skb.skb, ip, segment, becomes, 0),
        policed::FOR_NODE => packet::NEXT,
        dropped => global::drop_packet(ctx.skb.skb, dropped.wrapping_sub(policed::DROPPED)),
    }
}

/// Judges such a packet and remembers its flow; answers what becomes of it, see [`policed`].
#[inline(always)]
pub fn find_policed(ctx: &TcContext, ip: &Ip, from: u32) -> u32 {
    const fn dropped(reason: DropReason) -> u32 {
        policed::DROPPED + reason as u32
    }
    let is_policed = judge::has_rules(&ip.destination) || from == entrance::POD && judge::has_rules(&ip.source);
    if !is_policed {
        return policed::NOT_OURS;
    }
    judge::begin();
    if from == entrance::POD && global::is_unallocated(ip) != 0 {
        return dropped(DropReason::NoSuchService);
    }
    let segment = match segment(ctx, ip) {
        Ok(segment) => segment,
        Err(reason) => return dropped(reason),
    };
    let Some(becomes) = scratch::becomes() else { return dropped(DropReason::PolicyIngress) };
    if from == entrance::STACK {
        let is_known = global::follow(segment, becomes);
        if is_known & known::KIND == known::BECOMES {
            return match global::judge_known(&segment.key, becomes, is_known, ctx.len()) {
                // What its flow makes of it is left to do.
                judge::ALLOWED if !flow::is_same(becomes, &segment.key) => policed::NOT_OURS,
                judge::ALLOWED => {
                    flow::touch(&segment.key);
                    policed::PASSES
                }
                denied => policed::DROPPED.wrapping_add(denied),
            };
        }
    }
    // A pod is no router: it has errors about what was for itself.
    if segment.kind == Kind::Error && (from != entrance::POD || segment.key.source == ip.source) && global::is_about_forgotten(segment) != 0
    {
        return policed::PASSES;
    }
    let is_flow = matches!(segment.kind, Kind::Flow | Kind::Later);
    if is_flow {
        words::copy(&segment.key, becomes);
    } else {
        // An error that is about nothing known, or another message: its own addresses count.
        *becomes = FlowKey { source: ip.source, destination: ip.destination, protocol: segment.key.protocol, ..FlowKey::default() };
    }
    let is_settled = is_flow && judge::is_lenient() && flow::is_judged_elsewhere(&segment.key);
    let begins = segment.is_opening() || !is_connected(segment.key.protocol);
    let how = if begins { judging::NEW } else { 0 } | if from == entrance::NETWORK { judging::FOREIGN } else { 0 };
    let verdict = if is_settled { judge::ALLOWED } else { global::judge(becomes, becomes, how, ctx.len()) };
    if verdict != judge::ALLOWED {
        let is_for_node = from == entrance::POD && global::is_for_node(ctx.skb.skb, ip, becomes) != 0;
        return if is_for_node { policed::FOR_NODE } else { policed::DROPPED.wrapping_add(verdict) };
    }
    if !is_flow || !segment.may_open() || node::is_own(&becomes.destination) {
        return policed::PASSES;
    }
    let mut outcome = policed::BECOMES;
    let mut opened = opened::NOT;
    if from == entrance::POD && global::leaves_cluster(ip) != 0 {
        if global::is_for_node(ctx.skb.skb, ip, becomes) != 0 {
            return policed::FOR_NODE;
        }
        opened = global::open_masquerade(segment, becomes);
    }
    if opened == opened::NOT && from != entrance::STACK && global::need_not_know(segment) != 0 {
        if begins && scratch::judged().is_some_and(|judged| judged.stateless.side == pair_side::TO_PORT) {
            let _ = global::tell_event(ctx.skb.skb, event_kind::FLOW, 0);
        }
        return policed::PASSES;
    }
    // Who opened a connection, only its first packet tells: a server that may send anything has not opened what it answers. Nor has one that
    // answers a datagram of a moment ago.
    if opened == opened::NOT && (!begins || global::may_answer_unknown(&segment.key) != 0) {
        return policed::PASSES;
    }
    if opened == opened::NOT {
        words::copy(&segment.key, becomes);
        let state = flow_state::FORWARD | flow_state::PLAIN | segment.says() & !flow_state::CONFIRMED;
        if segment.is_opening() {
            // A connection of its own takes the place of one that the other end opened.
            let _ = global::forget_plain(&segment.key);
        }
        opened = global::insert_pair(&segment.key, becomes, state);
        outcome = policed::PASSES;
        if opened == opened::FLOW && segment.is_opening() {
            note_opening(segment);
        }
    }
    match opened {
        opened::FLOW => _ = global::tell_event(ctx.skb.skb, event_kind::FLOW, 0),
        // What answers it is translated by another flow. It is judged each time.
        opened::TAKEN => flow::note_judged_elsewhere(&segment.key),
        refused => return policed::DROPPED.wrapping_add(refused.wrapping_sub(opened::REFUSED)),
    }
    outcome
}

/// The same of a packet from elsewhere that the node's stack is about to hand to a pod.
#[inline(always)]
pub fn police_forwarded(ctx: &TcContext) -> i32 {
    let Some(ip) = scratch::ip() else { return packet::DROP };
    match global::parse(ctx.skb.skb, ip) {
        parsed::IP => police(ctx, ip, entrance::STACK),
        parsed::OTHER => NOT_OURS,
        broken => global::drop_packet(ctx.skb.skb, broken.wrapping_sub(parsed::BROKEN)),
    }
}

/// Whether nothing need be known of the flow of a packet that has been let through: what answers it would be, too, whoever opened the flow; or it
/// answers such a packet itself. Notes for which others that holds.
#[inline(always)]
pub fn need_not_know(segment: &Segment) -> bool {
    let key = &segment.key;
    // Who traces asks what was judged. Of datagrams, each may be the first of a flow or an answer: that must be known.
    if event::is_traced() || !is_connected(key.protocol) {
        return false;
    }
    let answers = |key| global::judge(key, key, judging::BACK, 0) == judge::ALLOWED;
    let Some(judged) = scratch::judged() else { return false };
    let (egress, ingress) = (judged.egress, judged.ingress);
    let rules = [egress.rule, ingress.rule];
    let (side, port_be) = if judge::may_forget(&key.source, &key.destination) {
        (pair_side::TO_PORT, key.destination_port_be)
    } else if !segment.is_opening() && judge::may_forget(&key.destination, &key.source) && answers(key) {
        (pair_side::FROM_PORT, key.source_port_be)
    } else {
        (pair_side::ANY, 0)
    };
    // What is told of the packet is its own judgement.
    (judged.egress, judged.ingress) = (egress, ingress);
    judged.stateless = Stateless { rules, port_be, protocol: key.protocol, side };
    side != pair_side::ANY
}

/// Whether a datagram may answer one that came before the rules of either end, so that nobody took note of it; see
/// [`Uncertain`](orknet_abi::Uncertain).
#[inline(always)]
pub fn may_answer_unknown(key: &FlowKey) -> bool {
    key.protocol == protocol::UDP
        && (is_uncertain(&key.source, key.source_port_be, uncertain::SENT)
            || is_uncertain(&key.destination, key.destination_port_be, uncertain::HEARD))
}

#[inline(always)]
fn is_uncertain(address: &Address, port_be: u16, which: u32) -> bool {
    let now = now_seconds();
    let found = |port_be| {
        let uncertain = read(UNCERTAIN.get_ptr(UncertainKey { address: *address, port_be, reserved: 0 }))?;
        (uncertain.until_seconds >= now).then_some(uncertain)
    };
    found(0).is_some_and(|pod| {
        pod.which & which & pod.may_answer(u16::from_be(port_be)) != 0 || found(port_be).is_some_and(|port| port.which & which != 0)
    })
}

/// Takes note that connections as the one that a packet opens are let through, for [`pass_judged`].
#[inline(always)]
fn note_opening(segment: &Segment) {
    note_known(segment, pair_side::OPENS, segment.key.destination_port_be);
}

/// The same of answers to such connections. `is_known` is [`follow`](super::flow::follow)'s answer.
#[inline(always)]
pub fn note_answers(segment: &Segment, is_known: u32) {
    const ANSWERS: u32 = known::PLAIN | known::BACK;
    if is_known & ANSWERS == ANSWERS {
        note_known(segment, pair_side::ANSWERS, segment.key.source_port_be);
    }
}

#[inline(always)]
fn note_known(segment: &Segment, side: u8, port_be: u16) {
    // What was let through once is not judged again then: each flow for itself knows that it was.
    if segment.key.protocol != protocol::TCP || segment.kind != Kind::Flow || judge::is_lenient() {
        return;
    }
    if let Some(judged) = scratch::judged() {
        judged.stateless = Stateless { rules: [judged.egress.rule, judged.ingress.rule], port_be, protocol: protocol::TCP, side };
    }
}

/// Whether packets of the protocol tell where a connection begins.
#[inline(always)]
fn is_connected(number: u8) -> bool {
    matches!(number, protocol::TCP | protocol::SCTP)
}

/// Whether an error is about a flow that may be, and of which nothing need be known, whoever opened it.
#[inline(always)]
pub fn is_about_forgotten(segment: &Segment) -> bool {
    let key = &segment.key;
    if !is_connected(key.protocol) {
        return false;
    }
    let may_be = |how| global::judge(key, key, how, 0) == judge::ALLOWED;
    judge::may_forget(&key.source, &key.destination) && may_be(0)
        || judge::may_forget(&key.destination, &key.source) && may_be(judging::BACK)
}

/// Whether what a pod's packet becomes is for the node itself: one of its addresses, of which not all need be known. No rules are about that, so
/// those that refused it are not told of. It asks the node's routes, so it comes last: what rules let through stays in the cluster mostly.
#[inline(always)]
pub fn is_for_node(ctx: &TcContext, ip: &Ip, becomes: &FlowKey) -> bool {
    let Some(way) = scratch::way() else { return false };
    let kind = global::find_way(ctx.skb.skb, ip, becomes, way, 0);
    let is_it = way::is_to_node(way, kind);
    if is_it && let Some(judged) = scratch::judged() {
        (judged.egress.set, judged.egress.rule) = (0, 0);
    }
    is_it
}

/// Sends on a packet that has been judged, as it is: into a pod of this node, to other nodes' pods past the stack, to anywhere else by it. Its
/// flow learns the way.
#[inline(always)]
pub fn pass_judged(ctx: &TcContext, ip: &Ip, segment: &Segment, from: u32) -> i32 {
    if from == entrance::STACK {
        return packet::NEXT;
    }
    let Some(way) = scratch::way() else { return packet::DROP };
    let redirects = node::redirects();
    let mut kind = kind::STACK;
    words::wipe(way);
    way.mtu = u16::MAX;
    if pod::find_way(&ip.destination, way) {
        if way.ifindex == ctx.device() {
            return packet::NEXT;
        }
        kind = if redirects { kind::POD } else { kind::PASSED };
    } else if range::kinds(&ip.destination) & range_kinds::PODS != 0 && (redirects || node::has_overlay()) {
        kind = match find_own_way(ctx, ip, way) {
            known @ (kind::NEIGHBOUR | kind::STRANGER | kind::TUNNEL) => known,
            // The stack answers for what has no way, or must not go it.
            _ => kind::STACK,
        };
    }
    if event::is_traced() {
        let _ = global::tell_way(ctx.skb.skb, kind, way.ifindex);
    }
    if !matches!(kind, kind::PASSED | kind::STACK) && !packet::take_hop(ctx, ip) {
        kind = kind::STACK;
    } else {
        way.stamp = judge::generation();
        let side = scratch::judged().map_or(pair_side::ANY, |judged| judged.stateless.side);
        let is_noted = side != pair_side::ANY && quick::may_be_known(kind) && global::note_judged_pair(ip, way, kind, ctx.device()) != 0;
        // The flow knows the way for itself where others' ways have the place.
        if !is_noted && !matches!(side, pair_side::TO_PORT | pair_side::FROM_PORT) && quick::may_know(segment, kind) {
            let _ = global::note(&segment.key, &segment.key, way, kind, ctx.device());
        }
    }
    match kind {
        kind::POD => way::into_pod(ctx, way.ifindex, &way.macs),
        kind::NEIGHBOUR | kind::STRANGER => global::to_neighbour(ctx.skb.skb, way),
        kind::TUNNEL => global::to_tunnel(ctx.skb.skb, way),
        kind::PASSED => way::leave_judged(ctx, way.ifindex),
        _ => packet::NEXT,
    }
}

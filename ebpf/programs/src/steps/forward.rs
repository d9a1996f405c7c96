//! Packets for and from Services: found, opened, translated and sent on, or answered.

use super::{
    answer::{self, complaint},
    count::{count_left, drop_packet},
    direct_return, event,
    flow::{self, entrance, is_same, known, opened},
    judge, node, open,
    packet::{self, ETHERNET, Ip},
    pair, police, quick, range, read, scratch,
    segment::{Kind, Segment, segment},
    way::{self, kind},
    words::Words,
};
use crate::{frame::Frame as _, global, maps::SERVICES};
use aya_ebpf::{
    bindings::xdp_action::XDP_PASS,
    programs::{TcContext, XdpContext},
};
use orknet_abi::{Address, DropReason, FlowKey, LeftReason, Way, event_kind, protocol, range_kinds, service_flags};

/// In the place of a verdict: the packet is no Service's business.
pub const NOT_OURS: i32 = i32::MIN;

/// What becomes of a packet that came in on a device.
pub mod translated {
    /// It is no Service's business, and no known flow's.
    pub const NOT_OURS: u32 = 0;
    /// It goes on as it is: a known flow's, which translates nothing.
    pub const PASSES: u32 = 1;
    /// It is answered with the end of its flow: see [`end`](super::end).
    pub const ENDS: u32 = 2;
    /// It is a ping for a Service, which is answered in its place.
    pub const ANSWERED: u32 = 3;
    /// It is no known flow's.
    pub const UNKNOWN: u32 = 4;
    /// It is to be asked whether its backend is an address of the node.
    pub const ASKS: u32 = 5;
    /// The same, and unless it is, rules refuse it.
    pub const ASKS_REFUSED: u32 = 6;
    /// From here on, this and what is made of [`sending`](super::sending): it goes on as what it becomes.
    pub const BECOMES: u32 = 16;
    /// From here on, this and the number of a drop reason: it is answered with a refusal, or dropped.
    pub const REFUSED: u32 = 256;
    /// From here on, this and the number of a drop reason.
    pub const DROPPED: u32 = 512;
}

/// Translates a packet that came in on a device and sends it on; opens its flow where it is the first. `from` is made of [`entrance`].
/// Answers the verdict, or [`NOT_OURS`].
#[inline(always)]
pub fn translate(ctx: &TcContext, ip: &Ip, from: u32) -> i32 {
    let mut outcome = global::find_translated(ctx.skb.skb, ip, from);
    if outcome == translated::UNKNOWN {
        outcome = global::find_opened(ctx.skb.skb, ip, from & !entrance::NO_FLOW);
    }
    if matches!(outcome, translated::ASKS | translated::ASKS_REFUSED) {
        outcome = global::find_asked(ctx.skb.skb, ip, u32::from(outcome == translated::ASKS_REFUSED));
    }
    if outcome == translated::NOT_OURS {
        return NOT_OURS;
    }
    let (Some(segment), Some(becomes)) = (scratch::segment(), scratch::becomes()) else { return packet::DROP };
    match outcome {
        translated::PASSES => global::pass_judged(ctx.skb.skb, ip, segment, from & !entrance::NO_FLOW),
        translated::ENDS => global::end(ctx.skb.skb, ip, segment),
        translated::ANSWERED => global::answer_ping(ctx.skb.skb, ip, segment),
        sends @ translated::BECOMES..translated::REFUSED => global::send(ctx.skb.skb, ip, segment, becomes, sends - translated::BECOMES),
        refused @ translated::REFUSED..translated::DROPPED => global::refuse(ctx.skb.skb, ip, segment, refused - translated::REFUSED),
        dropped => global::drop_packet(ctx.skb.skb, dropped.wrapping_sub(translated::DROPPED)),
    }
}

/// Finds what becomes of such a packet if its flow is known, and notes what it becomes in its place; see [`translated`].
#[inline(always)]
pub fn find_translated(ctx: &TcContext, ip: &Ip, from: u32) -> u32 {
    let segment = match segment(ctx, ip) {
        Ok(segment) => segment,
        Err(reason @ DropReason::FragmentUnknown) if global::is_front(ip) != 0 => return translated::DROPPED + reason as u32,
        Err(_) => return translated::NOT_OURS,
    };
    // A pod is no router: it has errors about what was for itself.
    let is_anothers = segment.kind == Kind::Error && from & entrance::POD != 0 && segment.key.source != ip.source;
    if segment.kind == Kind::Rest || is_anothers {
        return translated::NOT_OURS;
    }
    let Some(becomes) = scratch::becomes() else { return translated::NOT_OURS };
    judge::begin();
    if from & entrance::NO_FLOW == 0 {
        let is_known = global::follow(segment, becomes);
        match is_known & known::KIND {
            known::BECOMES | known::DIRECT => return go_on(ctx, ip, segment, becomes, is_known, from),
            known::GONE => return translated::ENDS,
            _ => {}
        }
    }
    if segment.kind == Kind::Error { translated::NOT_OURS } else { translated::UNKNOWN }
}

/// The same of a packet whose flow is not known: the first one of a flow to a Service, or a ping of one.
#[inline(always)]
pub fn find_opened(ctx: &TcContext, ip: &Ip, from: u32) -> u32 {
    let (Some(segment), Some(becomes)) = (scratch::segment(), scratch::becomes()) else { return translated::NOT_OURS };
    if segment.is_ping() || segment.is_rest_of_query() {
        return if global::is_front(ip) != 0 { translated::ANSWERED } else { translated::NOT_OURS };
    }
    let scope = if from == entrance::NETWORK { global::scope_of(ip) } else { u32::from(orknet_abi::scope::INSIDE) };
    if global::opens_nothing(ctx.skb.skb, segment, scope) != 0 {
        return translated::NOT_OURS;
    }
    let room = if direct_return::has_room(ip) { 0 } else { entrance::NO_ROOM };
    let opened = global::open_to_service(segment, scope | (from | room) << 8, ctx.len(), becomes);
    if opened == opened::ASKS || opened == REFUSED_EGRESS && from == entrance::POD {
        return if opened == REFUSED_EGRESS { translated::ASKS_REFUSED } else { translated::ASKS };
    }
    tell_opened(ctx, opened)
}

/// What [`open_to_service`](flow::open_to_service) answers where the client's rules refuse the backend.
const REFUSED_EGRESS: u32 = opened::REFUSED + DropReason::PolicyEgress as u32;

/// The same where the backend has been chosen, and what becomes of the packet depends on whether that is an address of the node.
#[inline(always)]
pub fn find_asked(ctx: &TcContext, ip: &Ip, is_refused: bool) -> u32 {
    let (Some(segment), Some(becomes)) = (scratch::segment(), scratch::becomes()) else { return translated::NOT_OURS };
    let is_to_node = global::is_for_node(ctx.skb.skb, ip, becomes);
    let opened = if is_refused && is_to_node == 0 { REFUSED_EGRESS } else { global::open_chosen(segment, is_to_node, becomes) };
    tell_opened(ctx, opened)
}

/// What becomes of a packet for which this was opened.
#[inline(always)]
fn tell_opened(ctx: &TcContext, opened: u32) -> u32 {
    if event::is_traced() {
        let _ = global::tell_event(ctx.skb.skb, event_kind::STEP_SERVICE, opened);
        let _ = global::tell_judged(ctx.skb.skb);
    }
    if matches!(opened, opened::FLOW | opened::DIRECT) {
        let _ = global::tell_event(ctx.skb.skb, event_kind::FLOW, 0);
    }
    match opened {
        opened::NOT => translated::NOT_OURS,
        opened::FLOW => translated::BECOMES,
        opened::DIRECT => translated::BECOMES + sending::TELLS,
        refused => translated::REFUSED.wrapping_add(refused.wrapping_sub(opened::REFUSED)),
    }
}

/// What becomes of a packet whose flow is known, if it may still be. `is_known` is [`follow`](super::flow::follow)'s answer.
#[inline(always)]
fn go_on(ctx: &TcContext, ip: &Ip, segment: &Segment, becomes: &FlowKey, is_known: u32, from: u32) -> u32 {
    let is_foreign = if from & !entrance::NO_FLOW == entrance::NETWORK { known::FOREIGN } else { 0 };
    let mut verdict = global::judge_known(&segment.key, becomes, is_known | is_foreign, ctx.len());
    if verdict == DropReason::PolicyEgress as u32 && from & entrance::POD != 0 && global::is_for_node(ctx.skb.skb, ip, becomes) != 0 {
        verdict = judge::ALLOWED;
    }
    if event::is_traced() {
        let _ = global::tell_event(ctx.skb.skb, event_kind::STEP_FLOW, is_known & (known::KIND | known::BACK));
        let _ = global::tell_judged(ctx.skb.skb);
    }
    if verdict != judge::ALLOWED {
        return translated::DROPPED.wrapping_add(verdict);
    }
    if is_known & known::KIND == known::DIRECT {
        return translated::BECOMES + sending::TELLS;
    }
    if is_same(becomes, &segment.key) {
        flow::touch(&segment.key);
        police::note_answers(segment, is_known);
        return translated::PASSES;
    }
    translated::BECOMES + sending::NOTES
}

/// Leaves a packet from the network, of which nobody here knows, to the stack, if it is for anybody: see [`goes_round`].
#[inline(always)]
pub fn leave_alone(ctx: &TcContext, ip: &Ip) -> i32 {
    if !goes_round(ctx, ip) {
        return packet::NEXT;
    }
    match segment(ctx, ip) {
        Ok(segment) => global::refuse(ctx.skb.skb, ip, segment, DropReason::NoSuchPort as u32),
        Err(reason) => drop_packet(ctx, reason),
    }
}

/// Whether a packet from the network, for a port that no Service has, would go round: to a load-balancer or external address that routers
/// lead to this node, and its routes back to a router by the device that it came in on. Where a host has the address, a route leads to it.
#[inline(always)]
fn goes_round(ctx: &TcContext, ip: &Ip) -> bool {
    if !is_external(&ip.destination) {
        return false;
    }
    let Some(way) = scratch::way() else { return false };
    matches!(find_own_way(ctx, ip, way), kind::NEIGHBOUR | kind::STRANGER)
        && way.ifindex == ctx.device()
        && !way::is_end(way, &ip.destination)
}

/// The way of a packet as it is; see [`find_way`](way::find_way).
#[inline(always)]
pub fn find_own_way(ctx: &TcContext, ip: &Ip, way: &mut Way) -> u32 {
    let Some(key) = scratch::other() else { return kind::NOWHERE };
    *key = FlowKey { source: ip.source, destination: ip.destination, ..FlowKey::default() };
    global::find_way(ctx.skb.skb, ip, key, way, 0)
}

/// Whether the address is a load balancer's or an external one, which may be a host's, too.
#[inline(always)]
pub fn is_external(address: &Address) -> bool {
    read(SERVICES.get_ptr(range::whole(address))).is_some_and(|whole| whole.flags & service_flags::EXTERNAL != 0)
}

/// Whether the address is a Service's, and ours.
#[inline(always)]
pub fn is_front(address: &Address) -> bool {
    read(SERVICES.get_ptr(range::whole(address))).is_some_and(|whole| whole.flags & service_flags::FOREIGN == 0)
}

/// What else is done as a packet is sent on.
pub mod sending {
    /// The backend learns from it which Service the client knows.
    pub const TELLS: u32 = 1;
    /// Its flow learns its way. Of a flow that nothing comes after the first packet of, nobody would ask.
    pub const NOTES: u32 = 2;
    /// It is the node's own, so the stack must not get it again.
    pub const OWN: u32 = 4;
}

/// Sends a packet on as what it becomes. `how` is made of [`sending`].
#[inline(always)]
pub fn send(ctx: &TcContext, ip: &Ip, segment: &Segment, becomes: &FlowKey, how: u32) -> i32 {
    let Some(way) = scratch::way() else { return packet::DROP };
    let mut tells = how & sending::TELLS != 0;
    let mut more = if tells { direct_return::bytes(ip) } else { 0 };
    let mut kind = global::find_way(ctx.skb.skb, ip, becomes, way, more);
    if kind == kind::TOO_BIG && tells && direct_return::may_be_in_pieces(ip) {
        // Earlier packets of the flow have told it: this one's could not have opened it so.
        (tells, more) = (false, 0);
        kind = global::find_way(ctx.skb.skb, ip, becomes, way, more);
    }
    let is_own = how & sending::OWN != 0;
    if kind == kind::STACK && (is_own || becomes.source != segment.key.source) {
        kind = global::find_home(ctx.skb.skb, ip, segment, way, how);
    }
    // The node itself is the end of the way, so no hop is taken; anywhere else this node is a router.
    let is_end = matches!(kind, kind::STACK | kind::HOME);
    // The stack knows the same way, but takes no packets with an address of its own, or a Service's, for a source.
    let is_left = matches!(kind, kind::POD | kind::NEIGHBOUR | kind::STRANGER)
        && !tells
        && !is_own
        && becomes.source == segment.key.source
        && !node::redirects();
    if kind == kind::NOWHERE {
        return drop_packet(ctx, DropReason::NoRoute);
    }
    if kind == kind::TOO_BIG && way::may_be_cut(ip) && !tells && !is_own && segment.kind != Kind::Error {
        return global::leave_to_stack(ctx.skb.skb, ip, segment, becomes);
    }
    if kind == kind::TOO_BIG {
        return if way::may_be_cut(ip) || !answer::may_answer(ip, segment) {
            drop_packet(ctx, DropReason::TooBig)
        } else {
            global::complain(ctx.skb.skb, ip, complaint::TOO_BIG, u32::from(way.mtu).saturating_sub(more), DropReason::TooBig as u32)
        };
    }
    if !is_end && ip.hop_limit <= 1 {
        return if answer::may_answer(ip, segment) {
            global::complain(ctx.skb.skb, ip, complaint::TIME_EXCEEDED, 0, DropReason::NoHopLeft as u32)
        } else {
            drop_packet(ctx, DropReason::NoHopLeft)
        };
    }
    if !rewrite(ctx, ip, segment, becomes) || !is_end && !is_left && !packet::take_hop(ctx, ip) {
        return drop_packet(ctx, DropReason::RewriteFailed);
    }
    if is_left {
        kind = if kind == kind::POD { kind::PASSED } else { kind::STACK };
    }
    if tells && global::tell(ctx.skb.skb, ip, &segment.key) == 0 {
        return drop_packet(ctx, DropReason::RewriteFailed);
    }
    if event::is_traced() {
        let _ = global::tell_way(ctx.skb.skb, kind, way.ifindex);
    }
    if how & sending::NOTES != 0 && quick::may_know(segment, kind) {
        way.stamp = judge::generation();
        global::note(&segment.key, becomes, way, kind, ctx.device());
    }
    match kind {
        kind::POD => way::into_pod(ctx, way.ifindex, &way.macs),
        kind::NEIGHBOUR | kind::STRANGER => global::to_neighbour(ctx.skb.skb, way),
        kind::TUNNEL => global::to_tunnel(ctx.skb.skb, way),
        kind::HOME => way::go_home(ctx, way),
        kind::PASSED => way::leave_judged(ctx, way.ifindex),
        _ => packet::NEXT,
    }
}

/// Sends on a packet of a pod that is nobody's to translate: to other nodes' pods past the stack, to anywhere else by it. The way of a
/// plain packet without a flow is noted for its pair of addresses.
#[inline(always)]
pub fn pass_on(ctx: &TcContext, ip: &Ip, is_plain: bool) -> i32 {
    let is_left = range::kinds(&ip.destination) & range_kinds::PODS == 0 || !node::redirects() && !node::has_overlay();
    let is_noted = is_plain && pair::has_place(ip);
    if is_left && !is_noted {
        return packet::NEXT;
    }
    let Some(way) = scratch::way() else { return packet::NEXT };
    let kind = find_own_way(ctx, ip, way);
    // What another machine is the next to get is for none of this node's addresses.
    if is_noted && matches!(kind, kind::NEIGHBOUR | kind::TUNNEL) {
        let _ = global::note_pair(ip, way, if is_left { kind::STACK } else { kind }, ctx.device());
    }
    if is_left {
        return packet::NEXT;
    }
    // The stack answers for what has no way, or must not go it.
    if !matches!(kind, kind::NEIGHBOUR | kind::STRANGER | kind::TUNNEL) || !packet::take_hop(ctx, ip) {
        return packet::NEXT;
    }
    if kind == kind::TUNNEL { global::to_tunnel(ctx.skb.skb, way) } else { global::to_neighbour(ctx.skb.skb, way) }
}

/// Translates a frame that came from the wire, if its way leads to another machine again; everything else goes on to the node, where
/// `from_network` finds what was found here. `quick` is what the quick way made of it.
#[inline(always)]
pub fn translate_on_wire(frame: &XdpContext, ip: &Ip, quick: i32) -> u32 {
    let Ok(segment) = segment(frame, ip) else { return XDP_PASS };
    if segment.kind != Kind::Flow || segment.is_ping() || ip.hop_limit <= 1 {
        return XDP_PASS;
    }
    let Some(becomes) = scratch::becomes() else { return XDP_PASS };
    let known = if quick == quick::NO_FLOW { known::NOTHING } else { global::follow(segment, becomes) & known::KIND };
    judge::begin();
    let from = entrance::NETWORK | entrance::WIRE | if direct_return::has_room(ip) { 0 } else { entrance::NO_ROOM };
    match known {
        known::BECOMES => {}
        // The packet that opens a flow tells its backend, where that is to answer directly; the others of a connection do not.
        known::NOTHING if segment.key.protocol == protocol::TCP && !segment.is_opening() && direct_return::is_on() => return XDP_PASS,
        known::NOTHING if global::opens_nothing_on_wire(frame.ctx, segment, global::scope_of(ip)) != 0 => return XDP_PASS,
        known::NOTHING if global::open_to_service(segment, global::scope_of(ip) | from << 8, 0, becomes) == opened::FLOW => {}
        _ => return XDP_PASS,
    }
    global::send_on_wire(frame.ctx, ip, segment, becomes, if known == known::BECOMES { sending::NOTES } else { 0 })
}

/// Sends a frame on as what it becomes, if its way leads to another machine and its checksum is complete.
#[inline(always)]
pub fn send_on_wire(frame: &XdpContext, ip: &Ip, segment: &Segment, becomes: &FlowKey, how: u32) -> u32 {
    let Some(way) = scratch::way() else { return XDP_PASS };
    if global::find_way_on_wire(frame.ctx, ip, becomes, way) != kind::NEIGHBOUR || !way::takes_frames(frame, way) {
        return XDP_PASS;
    }
    let length = (ip.length + ETHERNET).saturating_sub(segment.offset);
    if segment.kind == Kind::Flow && open::is_open(frame, Words::of(&segment.key), segment.offset, length) {
        count_left(LeftReason::OpenChecksum, frame.length());
        return XDP_PASS;
    }
    if how & sending::NOTES != 0 && quick::may_know(segment, kind::NEIGHBOUR) {
        global::note(&segment.key, becomes, way, kind::NEIGHBOUR, frame.device());
    }
    if global::rewrite_on_wire(frame.ctx, ip, segment, becomes) == 0 || !packet::take_hop(frame, ip) {
        return global::drop_on_wire(frame.ctx, DropReason::RewriteFailed as u32);
    }
    way::onto_wire(frame, way)
}

/// Translates the packet, and of an error the packet inside.
#[inline(always)]
fn rewrite(ctx: &TcContext, ip: &Ip, segment: &Segment, becomes: &FlowKey) -> bool {
    let outcome = if segment.kind == Kind::Error {
        global::rewrite_error(ctx.skb.skb, ip, segment, becomes)
    } else {
        global::rewrite(ctx.skb.skb, ip, segment, becomes)
    };
    outcome != 0
}

/// Answers a packet that leads nowhere: "port unreachable" where a host without a listener would say so, nothing where Kubernetes asks
/// for a drop or the node itself lacks something.
#[inline(always)]
pub fn refuse(ctx: &TcContext, ip: &Ip, segment: &Segment, reason: u32) -> i32 {
    // Whose backends changed under the packet may find one the next time: its sender will try again.
    const REFUSALS: [u32; 2] = [DropReason::NoEndpoints as u32, DropReason::NoSuchPort as u32];
    if !REFUSALS.contains(&reason) || !answer::may_answer(ip, segment) {
        return global::drop_packet(ctx.skb.skb, reason);
    }
    if segment.key.protocol == protocol::TCP {
        return global::reset(ctx.skb.skb, ip, segment, reason);
    }
    global::complain(ctx.skb.skb, ip, complaint::PORT_UNREACHABLE, 0, reason)
}

/// Answers a packet of a flow whose backend is gone.
#[inline(always)]
pub fn end(ctx: &TcContext, ip: &Ip, segment: &Segment) -> i32 {
    if segment.key.protocol == protocol::TCP && segment.kind == Kind::Flow {
        return global::reset(ctx.skb.skb, ip, segment, DropReason::EndpointGone as u32);
    }
    drop_packet(ctx, DropReason::EndpointGone)
}

/// Translates what leaves the node by its own stack: answers of backends on the node itself, and what pods send out of the cluster.
/// `quick` is what the quick way made of it.
#[inline(always)]
pub fn translate_on_leaving(ctx: &TcContext, ip: &Ip, quick: i32) -> i32 {
    let segment = match segment(ctx, ip) {
        Ok(segment) => segment,
        Err(DropReason::FragmentUnknown) if global::leaves_cluster(ip) != 0 => return drop_packet(ctx, DropReason::FragmentUnknown),
        Err(_) => return packet::NEXT,
    };
    if segment.kind == Kind::Rest {
        return packet::NEXT;
    }
    let Some(becomes) = scratch::becomes() else { return packet::NEXT };
    let known = if quick == quick::NO_FLOW { known::NOTHING } else { global::follow(segment, becomes) & known::KIND };
    match known {
        known::BECOMES => {}
        known::GONE => return packet::NEXT,
        _ if segment.kind == Kind::Error || global::leaves_cluster(ip) == 0 => return packet::NEXT,
        _ => match global::open_masquerade(segment, becomes) {
            opened::NOT => return packet::NEXT,
            opened::FLOW => {}
            refused => return global::drop_packet(ctx.skb.skb, refused.wrapping_sub(opened::REFUSED)),
        },
    }
    // The stack has chosen the way already, so only the source may change here.
    if becomes.destination != segment.key.destination && segment.kind != Kind::Error {
        return packet::NEXT;
    }
    if is_same(becomes, &segment.key) {
        // The pod's own device has its way.
        return packet::NEXT;
    }
    if known == known::BECOMES && quick::may_know(segment, kind::LEAVING) {
        let Some(way) = scratch::way() else { return packet::DROP };
        *way = Way { stamp: quick::generation(), mtu: u16::MAX, ..Way::default() };
        global::note(&segment.key, becomes, way, kind::LEAVING, ctx.device());
    }
    if rewrite(ctx, ip, segment, becomes) { packet::NEXT } else { drop_packet(ctx, DropReason::RewriteFailed) }
}

/// Whether a packet of a pod of this node goes where pods' addresses mean nothing.
#[inline(always)]
pub fn leaves_cluster(source: &Address, destination: &Address) -> bool {
    let wanted = node::pointer().is_some_and(|node| node.flags & orknet_abi::node_flags::MASQUERADE != 0);
    wanted && super::pod::find_pod(source).is_some() && range::kinds(destination) == 0
}

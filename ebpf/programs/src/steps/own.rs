//! The node's own packets to Services past its sockets: there, and home again.
//!
//! They come in at the far end of a pair of devices, and what answers them goes in there again, whichever hook meets it: anywhere else the
//! stack would take a Service's address for forged. Where that is, is noted in the answers' half of the flow.

use super::{
    answer::{self, complaint},
    count::drop_packet,
    flow::{entrance, known, opened},
    forward::{find_own_way, is_external, sending},
    packet::{self, Ip},
    scratch,
    segment::{Kind, Segment, segment},
    way::{self, kind},
    words::Words,
};
use crate::{frame::Frame as _, global, maps::FLOWS};
use aya_ebpf::programs::TcContext;
use orknet_abi::{DropReason, FlowKey, Way, scope};

/// Sends a packet of the node's own to a backend of the Service that it is for, or answers in the Service's place.
#[inline(always)]
pub fn serve(ctx: &TcContext, ip: &Ip) -> i32 {
    if global::is_unallocated(ip) != 0 {
        return drop_packet(ctx, DropReason::NoSuchService);
    }
    let segment = match segment(ctx, ip) {
        Ok(segment) => segment,
        Err(reason) => return drop_packet(ctx, reason),
    };
    let Some(becomes) = scratch::becomes() else { return packet::DROP };
    if segment.kind != Kind::Rest {
        match global::follow(segment, becomes) & known::KIND {
            known::NOTHING => {}
            known::GONE => return global::end(ctx.skb.skb, ip, segment),
            _ => return go(ctx, ip, segment, becomes),
        }
    }
    if (segment.is_ping() || segment.is_rest_of_query()) && global::is_front(ip) != 0 {
        return global::answer_ping(ctx.skb.skb, ip, segment);
    }
    if !matches!(segment.kind, Kind::Flow | Kind::Later) {
        return global::leave_own_alone(ctx.skb.skb, ip, segment);
    }
    match global::open_to_service(segment, u32::from(scope::INSIDE) | entrance::NODE << 8, ctx.len(), becomes) {
        opened::NOT => global::leave_own_alone(ctx.skb.skb, ip, segment),
        opened::FLOW => go(ctx, ip, segment, becomes),
        refused => global::refuse(ctx.skb.skb, ip, segment, refused.wrapping_sub(opened::REFUSED)),
    }
}

#[inline(always)]
fn go(ctx: &TcContext, ip: &Ip, segment: &Segment, becomes: &FlowKey) -> i32 {
    let _ = global::note_home(ctx.skb.skb, becomes);
    global::send(ctx.skb.skb, ip, segment, becomes, sending::OWN)
}

/// A packet that is no Service's goes on where the node's other routes lead, if its address is a load balancer's or an external one: it may
/// be a host's, too. Anything else is "unreachable".
#[inline(always)]
pub fn leave_own_alone(ctx: &TcContext, ip: &Ip, segment: &Segment) -> i32 {
    let (mut complaint, mut mtu, mut reason) = (complaint::PORT_UNREACHABLE, 0, DropReason::NotForService);
    if is_external(&ip.destination) {
        let Some(way) = scratch::way() else { return packet::DROP };
        match find_own_way(ctx, ip, way) {
            kind::NEIGHBOUR | kind::STRANGER => return global::to_neighbour(ctx.skb.skb, way),
            kind::TOO_BIG if !way::may_be_cut(ip) => {
                (complaint, mtu, reason) = (complaint::TOO_BIG, u32::from(way.mtu), DropReason::TooBig);
            }
            _ => {}
        }
    }
    if !answer::may_answer(ip, segment) {
        return drop_packet(ctx, reason);
    }
    global::complain(ctx.skb.skb, ip, complaint, mtu, reason as u32)
}

/// Takes note of where answers to a packet go in: where it came in, to the device that sent it. A device of this kind has one MAC address
/// for itself and all others.
#[inline(always)]
pub fn note_home(ctx: &TcContext, becomes: &FlowKey) {
    let (Some(answers), Some(mac)) = (scratch::answers(), sender(ctx)) else { return };
    *answers = Words::of(becomes).reversed();
    let Some(flow) = FLOWS.get_ptr_mut(answers.key()) else { return };
    // SAFETY: the pointer comes from a map look-up that succeeded; the memory stays a value of this map until the program ends. Nobody else
    // writes a way here: answers to the node take none that is found. Packets of one flow all write the same.
    unsafe {
        let way = &raw mut (*flow).way;
        if (&raw const (*way).ifindex).read() != ctx.device() || (&raw const (*way).kind).read() != kind::HOME as u8 {
            (&raw mut (*way).ifindex).write(ctx.device());
            (&raw mut (*way).macs).write([mac; 2]);
            (&raw mut (*way).kind).write_volatile(kind::HOME as u8);
        }
    }
}

/// Whether a packet for the node itself goes in where packets of its own came out, and where that is: [`kind::HOME`], else [`kind::STACK`].
#[inline(always)]
pub fn find_home(ctx: &TcContext, ip: &Ip, segment: &Segment, way: &mut Way, how: u32) -> u32 {
    if how & sending::OWN != 0 {
        // The backend is the node.
        let Some(mac) = sender(ctx) else { return kind::STACK };
        (way.ifindex, way.macs) = (ctx.device(), [mac; 2]);
        return kind::HOME;
    }
    // A router's error keeps the router's address, and comes from where that is.
    if segment.kind == Kind::Error && ip.source != segment.key.source {
        return kind::STACK;
    }
    let Some(flow) = FLOWS.get_ptr(&segment.key) else { return kind::STACK };
    // SAFETY: as above.
    let known = unsafe { &(*flow).way };
    if u32::from(known.kind) != kind::HOME {
        return kind::STACK;
    }
    (way.ifindex, way.macs) = (known.ifindex, known.macs);
    kind::HOME
}

/// The MAC address that the frame comes from.
#[inline(always)]
fn sender(ctx: &TcContext) -> Option<[u8; 6]> {
    let [one, other, third] = ctx.read::<[u16; 3]>(6)?;
    let ([a, b], [c, d], [e, f]) = (one.to_ne_bytes(), other.to_ne_bytes(), third.to_ne_bytes());
    Some([a, b, c, d, e, f])
}

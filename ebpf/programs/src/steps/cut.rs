//! Packets of IPv4 that are too big for their way and may be cut up on it: the node's stack does that. It takes no packet that seems to
//! come from the node itself, so on the way in only the destination changes, and the source as the pieces leave.
//!
//! What the pieces become then is told by a mark, where addresses and ports alone would not say it: the port of source NAT, and in which
//! direction the packet goes.

use super::{
    node,
    packet::{self, Ip, parsed},
    scratch,
    segment::{Segment, remember_ports, segment},
    words,
};
use crate::{global, maps::FLOWS};
use aya_ebpf::programs::TcContext;
use orknet_abi::{DropReason, FlowKey, flow_state};

/// To a backend: the source is to become the node's.
const THERE: u32 = 0x6b6f_0000;
/// Back to a client: the source is to become what the client knows.
const BACK: u32 = 0x6f6b_0000;
const DIRECTION: u32 = 0xffff_0000;

/// Leaves a packet to the stack, translated as far as may be.
#[inline(always)]
pub fn leave_to_stack(ctx: &TcContext, ip: &Ip, segment: &Segment, becomes: &FlowKey) -> i32 {
    let key = &segment.key;
    if becomes.destination == key.destination && becomes.destination_port_be == key.destination_port_be {
        // Its flow is found as it leaves.
        return packet::NEXT;
    }
    let mut mark = 0;
    if becomes.source != key.source || becomes.source_port_be != key.source_port_be {
        let (Some(node), Some(flow)) = (node::pointer(), FLOWS.get_ptr(key)) else { return too_big(ctx) };
        // SAFETY: the pointer comes from a map look-up that succeeded; the field is a whole word.
        let is_forward = unsafe { (&raw const (*flow).state).read() } & flow_state::FORWARD != 0;
        let (own, port_be) =
            if is_forward { (&becomes.source, becomes.source_port_be) } else { (&key.destination, key.destination_port_be) };
        if *own != node.v4 {
            return too_big(ctx);
        }
        mark = if is_forward { THERE } else { BACK } | u32::from(port_be);
    }
    let Some(halfway) = scratch::other() else { return packet::DROP };
    words::copy(becomes, halfway);
    words::copy(&key.source, &mut halfway.source);
    halfway.source_port_be = key.source_port_be;
    remember_ports(ip, halfway);
    if global::rewrite(ctx.skb.skb, ip, segment, halfway) == 0 {
        return super::drop_packet(ctx, DropReason::RewriteFailed);
    }
    ctx.set_mark(mark);
    packet::NEXT
}

fn too_big(ctx: &TcContext) -> i32 {
    super::drop_packet(ctx, DropReason::TooBig)
}

/// The mark of a packet that was left to the stack; 0 if it was not. Takes it off.
#[inline(always)]
pub fn take_mark(ctx: &TcContext) -> u32 {
    // SAFETY: the kernel hands a valid context to the program; the word may be read.
    let mark = unsafe { (*ctx.skb.skb).mark };
    if !matches!(mark & DIRECTION, THERE | BACK) {
        return 0;
    }
    ctx.set_mark(0);
    mark
}

/// Makes a piece what its mark says.
#[inline(always)]
pub fn finish(ctx: &TcContext, mark: u32) -> i32 {
    let (Some(ip), Some(becomes)) = (scratch::ip(), scratch::becomes()) else { return packet::DROP };
    if global::parse(ctx.skb.skb, ip) != parsed::IP || !ip.is_v4 {
        return packet::NEXT;
    }
    let segment = match segment(ctx, ip) {
        Ok(segment) => segment,
        Err(reason) => return super::drop_packet(ctx, reason),
    };
    let Some(node) = node::pointer() else { return super::drop_packet(ctx, DropReason::NoNodeAddress) };
    *becomes = segment.key;
    if mark & DIRECTION == THERE {
        becomes.source = node.v4;
        becomes.source_port_be = mark as u16;
    } else {
        becomes.destination = node.v4;
        becomes.destination_port_be = mark as u16;
        let Some(flow) = FLOWS.get_ptr(&*becomes) else { return super::drop_packet(ctx, DropReason::NoRoute) };
        *becomes = segment.key;
        // SAFETY: the pointer comes from a map look-up that succeeded; these fields never change in place.
        unsafe {
            becomes.source = (&raw const (*flow).becomes.source).read();
            becomes.source_port_be = (&raw const (*flow).becomes.source_port_be).read();
        }
    }
    if global::rewrite(ctx.skb.skb, ip, segment, becomes) == 0 {
        return super::drop_packet(ctx, DropReason::RewriteFailed);
    }
    packet::NEXT
}

//! What comes in on the node's devices, from other nodes and from outside: tc ingress.

use crate::{
    frame::Frame as _,
    global,
    steps::{
        self, entrance,
        packet::{self, parsed},
        quick, scratch,
    },
};
use aya_ebpf::programs::TcContext;
use orknet_abi::DropReason;

/// Hands packets for pods of this node straight to them, sends those for Services to a backend, translates answers and errors back, and
/// leaves everything else to the node's stack.
#[inline(always)]
pub fn from_network(ctx: &TcContext) -> i32 {
    if steps::is_overlay(ctx.device()) && global::is_tunnel_of_pod(ctx.skb.skb) != 0 {
        return steps::drop_packet(ctx, DropReason::TunnelNotNode);
    }
    let quick = global::quick(ctx.skb.skb, 0);
    if quick > quick::NO_FLOW {
        return quick;
    }
    // The stack knows what to do with what is broken, or was not sent to this node.
    let Some(ip) = scratch::ip() else { return packet::NEXT };
    if global::parse(ctx.skb.skb, ip) != parsed::IP
        && (global::straighten(ctx.skb.skb) == 0 || global::parse(ctx.skb.skb, ip) != parsed::IP)
        || !packet::is_for_host(ctx)
    {
        return packet::NEXT;
    }
    if steps::direct_return::may_tell(ip) {
        let _ = global::listen(ctx.skb.skb, ip);
    }
    // Nearly all that comes for pods of this node is nobody's to translate.
    if !steps::may_be_answers() {
        let verdict = global::hand_over(ctx.skb.skb, ip, ctx.device(), quick::knowledge(quick));
        if verdict != steps::NOT_OURS {
            return verdict;
        }
    }
    let verdict = steps::forward::translate(ctx, ip, entrance::NETWORK | quick::knowledge(quick));
    if verdict != steps::NOT_OURS {
        return verdict;
    }
    let verdict = steps::police::police(ctx, ip, entrance::NETWORK);
    if verdict != steps::NOT_OURS {
        return verdict;
    }
    match global::hand_over(ctx.skb.skb, ip, ctx.device(), quick::knowledge(quick)) {
        steps::NOT_OURS => global::leave_alone(ctx.skb.skb, ip),
        verdict => verdict,
    }
}

//! What both hooks do with a packet that the node's stack sends out, to the network or into a pod.

use crate::{
    global,
    steps::{
        packet::{self, parsed},
        quick, scratch,
    },
};
use aya_ebpf::programs::TcContext;

/// Translates the packet by its flow's known way, or by all steps; what is no IP packet passes.
#[inline(always)]
pub fn leave(ctx: &TcContext) -> i32 {
    let quick = global::quick(ctx.skb.skb, 1);
    if quick > quick::NO_FLOW {
        return quick;
    }
    let Some(ip) = scratch::ip() else { return packet::NEXT };
    if global::parse(ctx.skb.skb, ip) != parsed::IP {
        return packet::NEXT;
    }
    global::translate_on_leaving(ctx.skb.skb, ip, quick)
}

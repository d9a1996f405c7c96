//! What the node itself sends to Services past its sockets (pings, SCTP, raw sockets): ingress of the far end of the veth pair that the agent's
//! routes for them lead to.

use crate::{
    global,
    steps::{
        packet::{self, parsed},
        scratch,
    },
};
use aya_ebpf::programs::TcContext;
use orknet_abi::DropReason;

/// Sends packets to a backend, and what a backend on the node itself answers back; answers pings in a Service's place, and what is no Service's
/// with "unreachable". None of that goes to the stack here, which would take the node's own address for forged.
#[inline(always)]
pub fn from_node(ctx: &TcContext) -> i32 {
    let Some(ip) = scratch::ip() else { return packet::DROP };
    match global::parse(ctx.skb.skb, ip) {
        // What IPv6 says on each link, of groups and neighbours (RFC 3810, RFC 4861), is the link's own.
        parsed::IP if ip.destination.is_multicast_v6() => packet::NEXT,
        parsed::IP => global::serve_node(ctx.skb.skb, ip),
        parsed::OTHER => global::drop_packet(ctx.skb.skb, DropReason::NotForService as u32),
        broken => global::drop_packet(ctx.skb.skb, broken.wrapping_sub(parsed::BROKEN)),
    }
}

//! What leaves on the node's devices: tc egress.

use crate::{
    global,
    steps::{
        packet::{self, Ip, parsed},
        quick, way,
    },
};
use aya_ebpf::programs::TcContext;

/// Translates answers of backends on the node itself, and gives what pods send out of the cluster an address of the node. Packets that
/// were translated where they came in pass.
#[inline(always)]
pub fn to_network(ctx: &TcContext) -> i32 {
    if way::is_done(ctx) {
        return packet::NEXT;
    }
    let quick = global::quick(ctx.skb.skb, 1);
    if quick > quick::NO_FLOW {
        return quick;
    }
    let mut ip = Ip::default();
    if global::parse(ctx.skb.skb, &mut ip) != parsed::IP {
        return packet::NEXT;
    }
    global::translate_on_leaving(ctx.skb.skb, &ip, quick)
}

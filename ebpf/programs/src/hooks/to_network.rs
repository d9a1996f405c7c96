//! What leaves on the node's devices: tc egress.

use crate::{
    global,
    steps::{
        self, cut,
        packet::{self, Ip, parsed},
        quick, way,
    },
};
use aya_ebpf::programs::TcContext;
use core::mem::MaybeUninit;

/// Translates answers of backends on the node itself, and gives what pods send out of the cluster an address of the node. Packets that
/// were translated where they came in pass; of those that the stack had to cut up, the pieces get what is left to do.
#[inline(always)]
pub fn to_network(ctx: &TcContext) -> i32 {
    if way::is_done(ctx) {
        return packet::NEXT;
    }
    let mark = cut::take_mark(ctx);
    if mark != 0 {
        return global::finish_cut(ctx.skb.skb, mark);
    }
    let quick = global::quick(ctx.skb.skb, 1);
    if quick > quick::NO_FLOW {
        return quick;
    }
    let mut place = MaybeUninit::uninit();
    let ip: &mut Ip = steps::clear(&mut place);
    if global::parse(ctx.skb.skb, ip) != parsed::IP {
        return packet::NEXT;
    }
    global::translate_on_leaving(ctx.skb.skb, ip, quick)
}

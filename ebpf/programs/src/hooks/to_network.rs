//! What leaves on the node's devices: tc egress.

use super::leaving::leave;
use crate::{
    global,
    steps::{cut, packet, way},
};
use aya_ebpf::programs::TcContext;

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
    leave(ctx)
}

//! What the node's stack sends to a pod: egress of the host's side of the pod's veth pair.

use crate::{
    frame::Frame as _,
    global,
    steps::{
        self,
        packet::{self, Ip, parsed},
        quick,
    },
};
use aya_ebpf::programs::TcContext;
use core::mem::MaybeUninit;
use orknet_abi::direction::INGRESS;

/// Counts, and translates answers of backends on the node itself. Packets that `from_pod` and `from_network` hand over do not come here
/// and are counted there.
#[inline(always)]
pub fn to_pod(ctx: &TcContext) -> i32 {
    steps::count_traffic(ctx.device(), INGRESS, ctx.len());
    if !steps::may_be_answers() {
        return packet::NEXT;
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

//! What the node's stack sends to a pod: egress of the host's side of the pod's veth pair.

use crate::{
    frame::Frame as _,
    steps::{self, packet},
};
use aya_ebpf::programs::TcContext;
use orknet_abi::direction::INGRESS;

/// Counts. Packets that `from_pod` hands over from another pod do not come here and are counted there.
#[inline(always)]
pub fn to_pod(ctx: &TcContext) -> i32 {
    steps::count_traffic(ctx.device(), INGRESS, ctx.len());
    packet::NEXT
}

//! What the node's stack sends to a pod: egress of the host's side of the pod's veth pair.

use super::leaving::leave;
use crate::{
    frame::Frame as _,
    steps::{self, packet},
};
use aya_ebpf::programs::TcContext;
use orknet_abi::direction::INGRESS;

/// Counts, and translates answers of backends on the node itself. Packets that `from_pod` and `from_network` hand over do not come here
/// and are counted there.
#[inline(always)]
pub fn to_pod(ctx: &TcContext) -> i32 {
    steps::count_traffic(ctx.device(), INGRESS, ctx.len());
    if !steps::may_be_answers() {
        return packet::NEXT;
    }
    leave(ctx)
}

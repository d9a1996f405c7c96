//! What the node's stack sends to a pod: egress of the host's side of the pod's veth pair.

use super::leaving::leave;
use crate::{
    frame::Frame as _,
    steps::{self, packet, way},
};
use aya_ebpf::programs::TcContext;
use orknet_abi::direction::INGRESS;

/// Counts, judges what comes from elsewhere and has not been judged, and translates answers of backends on the node itself. Packets that `from_pod` and `from_network` hand over do not come here
/// and are counted there.
#[inline(always)]
pub fn to_pod(ctx: &TcContext) -> i32 {
    steps::count_traffic(ctx.device(), INGRESS, ctx.len());
    if way::is_judged(ctx) {
        return packet::NEXT;
    }
    if packet::is_forwarded(ctx) {
        let verdict = steps::police::police_forwarded(ctx);
        if verdict != steps::NOT_OURS {
            return verdict;
        }
    }
    if !steps::may_be_answers() {
        return packet::NEXT;
    }
    leave(ctx)
}

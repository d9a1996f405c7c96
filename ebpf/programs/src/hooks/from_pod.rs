//! What a pod sends, where it enters the node: ingress of the host's side of the pod's veth pair.

use crate::{
    frame::Frame as _,
    global,
    steps::{
        self, entrance,
        packet::{self, parsed},
        quick, scratch, source,
    },
};
use aya_ebpf::programs::TcContext;
use orknet_abi::{DropReason, direction::EGRESS};

/// Lets out only what carries the pod's own address and what policy allows; translates what is for a Service and was not translated at a socket, and answers
/// of backends; hands packets for pods of this node straight to them, as a router would (hop limit, MAC addresses); drops what is for a
/// Service that there is not; sends those for other nodes' pods on past the stack, and leaves the rest to it.
#[inline(always)]
pub fn from_pod(ctx: &TcContext) -> i32 {
    let device = ctx.device();
    steps::count_traffic(device, EGRESS, ctx.len());

    let quick = global::quick(ctx.skb.skb, 0);
    if quick > quick::NO_FLOW {
        return quick;
    }
    let Some(ip) = scratch::ip() else { return packet::NEXT };
    match global::parse(ctx.skb.skb, ip) {
        parsed::IP => {}
        parsed::OTHER => return packet::NEXT,
        broken => return global::drop_packet(ctx.skb.skb, broken.wrapping_sub(parsed::BROKEN)),
    }
    let sender = global::check_source(ip, device);
    match sender {
        source::OWN_POD | source::POLICED_POD => {}
        source::OWN_LINK => return packet::NEXT,
        _ => return steps::drop_packet(ctx, DropReason::SourceNotPod),
    }
    // The stack answers for frames that were not sent to the node.
    if !packet::is_for_host(ctx) {
        return packet::NEXT;
    }
    // Nearly all that pods of one node send each other is nobody's to translate.
    if sender == source::OWN_POD && !steps::may_be_answers() {
        let verdict = global::hand_over(ctx.skb.skb, ip, device, quick::knowledge(quick));
        if verdict != steps::NOT_OURS {
            return verdict;
        }
    }
    let verdict = steps::forward::translate(ctx, ip, entrance::POD | quick::knowledge(quick));
    if verdict != steps::NOT_OURS {
        return verdict;
    }
    let verdict = steps::police::police(ctx, ip, entrance::POD);
    if verdict != steps::NOT_OURS {
        return verdict;
    }
    let verdict = global::hand_over(ctx.skb.skb, ip, device, quick::knowledge(quick));
    if verdict != steps::NOT_OURS {
        return verdict;
    }
    if global::is_unallocated(ip) != 0 {
        return steps::drop_packet(ctx, DropReason::NoSuchService);
    }
    global::pass_on(ctx.skb.skb, ip, quick::knowledge(quick))
}

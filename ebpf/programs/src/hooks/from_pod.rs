//! What a pod sends, where it enters the node: ingress of the host's side of the pod's veth pair.

use crate::steps::{self, Parsed, packet};
use aya_ebpf::programs::TcContext;
use orknet_abi::{
    DropReason,
    direction::{EGRESS, INGRESS},
};

/// Lets out only what carries the pod's own address; hands packets for pods of this node straight to them, as a router
/// would (hop limit, MAC addresses); drops what is for a Service that there is not; leaves the rest to the node's stack.
#[inline(always)]
pub fn from_pod(ctx: &TcContext) -> i32 {
    let device = packet::device(ctx);
    steps::count_traffic(device, EGRESS, ctx.len());

    let ip = match packet::parse(ctx) {
        Parsed::Ip(ip) => ip,
        Parsed::Other => return packet::NEXT,
        Parsed::Broken(reason) => return steps::drop_packet(ctx, reason),
    };
    match steps::check_source(&ip, device) {
        steps::Source::OwnPod => {}
        steps::Source::OwnLink => return packet::NEXT,
        steps::Source::Foreign(reason) => return steps::drop_packet(ctx, reason),
    }

    let Some(pod) = steps::find_pod_elsewhere(&ip.destination, device) else {
        return if steps::is_unallocated(&ip.destination) { steps::drop_packet(ctx, DropReason::NoSuchService) } else { packet::NEXT };
    };
    // The stack answers for what must not travel on, and for frames that were not sent to the node.
    if !packet::is_for_host(ctx) || !packet::take_hop(ctx, &ip) {
        return packet::NEXT;
    }
    packet::set_macs(ctx, &pod.pod_mac, &pod.host_mac);
    steps::count_traffic(pod.ifindex, INGRESS, ctx.len());
    steps::redirect_into_pod(ctx, &pod)
}

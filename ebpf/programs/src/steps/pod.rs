//! Pods of this node: whose address it is, and the way to them.

use super::{count, packet::Ip, read};
use crate::maps::PODS;
use aya_ebpf::{bindings::TC_ACT_REDIRECT, helpers::bpf_redirect_peer, programs::TcContext};
use orknet_abi::{Address, DropReason, Pod, PodKey};

/// What a packet's source address says about who sent it.
pub enum Source {
    /// The pod behind the device.
    OwnPod,
    /// An address of the link between pod and node, in use as IPv6 means it.
    OwnLink,
    /// Somebody else's.
    Foreign(DropReason),
}

/// A pod may speak with the addresses that were given to its device. Beside these, IPv6 needs link-local addresses towards
/// the link itself (neighbour and router discovery, RFC 4861) and the unspecified one towards groups on it (duplicate
/// address detection, RFC 4862; multicast listener reports, RFC 3810).
#[inline(always)]
pub fn check_source(ip: &Ip, device: u32) -> Source {
    if read(PODS.get_ptr(PodKey { address: ip.source })).is_some_and(|pod| pod.ifindex == device) {
        return Source::OwnPod;
    }
    let to_group = ip.destination.is_multicast_v6();
    if ip.source.is_link_local_v6() && (to_group || ip.destination.is_link_local_v6()) || ip.source.is_unspecified_v6() && to_group {
        return Source::OwnLink;
    }
    Source::Foreign(DropReason::SourceNotPod)
}

/// The pod of this node that has the address, unless it is the sender.
#[inline(always)]
pub fn find_pod_elsewhere(address: &Address, device: u32) -> Option<Pod> {
    read(PODS.get_ptr(PodKey { address: *address })).filter(|pod| pod.ifindex != device)
}

/// Puts the packet into the pod's end of its veth pair, past the node's stack and the queue of this end.
#[inline(always)]
pub fn redirect_into_pod(ctx: &TcContext, pod: &Pod) -> i32 {
    // SAFETY: the helper takes numbers only.
    let verdict = unsafe { bpf_redirect_peer(pod.ifindex, 0) } as i32;
    if verdict != TC_ACT_REDIRECT {
        return count::drop_packet(ctx, DropReason::RedirectFailed);
    }
    verdict
}

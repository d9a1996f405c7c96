//! Pods of this node: whose address it is, and the way to them.

use super::{
    forward::NOT_OURS,
    judge, node,
    packet::{self, Ip},
    quick, read, scratch,
    way::{self, kind},
};
use crate::{
    global,
    maps::{PODS, TRANSLATED},
};
use aya_ebpf::programs::TcContext;
use core::mem::offset_of;
use orknet_abi::{Address, Pod, PodKey, Way};

/// What a packet's source address says about who sent it.
pub mod source {
    /// Somebody else's.
    pub const FOREIGN: u32 = 0;
    /// The pod behind the device.
    pub const OWN_POD: u32 = 1;
    /// An address of the link between pod and node, in use as IPv6 means it.
    pub const OWN_LINK: u32 = 2;
    /// The pod behind the device, which has rules.
    pub const POLICED_POD: u32 = 3;
}

/// A pod may speak with the addresses that were given to its device. Beside these, IPv6 needs link-local addresses towards
/// the link itself (neighbour and router discovery, RFC 4861) and the unspecified one towards groups on it (duplicate
/// address detection, RFC 4862; multicast listener reports, RFC 3810).
#[inline(always)]
pub fn check_source(ip: &Ip, device: u32) -> u32 {
    if let Some(pod) = PODS.get_ptr(PodKey { address: ip.source })
        // SAFETY: the pointer comes from a map look-up that succeeded; the memory stays a value of this map until the program ends.
        && unsafe { (&raw const (*pod).ifindex).read() } == device
    {
        return if judge::is_policed(pod) { source::POLICED_POD } else { source::OWN_POD };
    }
    let to_group = ip.destination.is_multicast_v6();
    if ip.source.is_link_local_v6() && (to_group || ip.destination.is_link_local_v6()) || ip.source.is_unspecified_v6() && to_group {
        return source::OWN_LINK;
    }
    source::FOREIGN
}

/// The pod of this node that has the address.
#[inline(always)]
pub fn find_pod(address: &Address) -> Option<Pod> {
    read(PODS.get_ptr(PodKey { address: *address }))
}

/// The same, unless it is the sender.
#[inline(always)]
pub fn find_pod_elsewhere(address: &Address, device: u32) -> Option<Pod> {
    read(PODS.get_ptr(PodKey { address: *address })).filter(|pod| pod.ifindex != device)
}

/// The way to the pod of this node that has the address; false if there is none.
#[inline(always)]
pub fn find_way(address: &Address, way: &mut Way) -> bool {
    let Some(pod) = PODS.get_ptr(PodKey { address: *address }) else { return false };
    // SAFETY: the pointer comes from a map look-up that succeeded; the memory stays a value of this map until the program ends. Of both
    // values the MAC addresses are three whole words, side by side in the same order.
    unsafe {
        way.ifindex = (&raw const (*pod).ifindex).read();
        let (from, to) = ((&raw const (*pod).pod_mac).cast::<u32>(), (&raw mut way.macs).cast::<u32>());
        for word in 0..3 {
            to.add(word).write_volatile(from.add(word).read());
        }
    }
    true
}

const _: () = assert!(offset_of!(Pod, pod_mac) == 4 && offset_of!(Pod, host_mac) == 10 && offset_of!(Way, macs) % 4 == 0);

/// Hands a packet for a pod of this node straight to it, as a router would; [`NOT_OURS`] where there is none but the sender at `device`, or
/// where it has rules.
/// The stack answers for what must not travel on, and takes the packet where nothing is redirected past it. The way of a
/// plain packet without a flow is noted for its pair of addresses.
#[inline(always)]
pub fn hand_over(ctx: &TcContext, ip: &Ip, device: u32, is_plain: bool) -> i32 {
    let generation = quick::generation();
    let Some(pod) = find_pod_elsewhere(&ip.destination, device) else { return NOT_OURS };
    if judge::is_policed(&raw const pod) {
        return NOT_OURS;
    }
    let redirects = node::redirects();
    let macs = [pod.pod_mac, pod.host_mac];
    if is_plain {
        let Some(way) = scratch::way() else { return packet::NEXT };
        *way = Way { stamp: generation, ifindex: pod.ifindex, macs, mtu: u16::MAX, ..Way::default() };
        let kind = if redirects { kind::POD } else { kind::STACK };
        let _ = global::note_pair(ip, way, kind, device);
    }
    if redirects && packet::take_hop(ctx, ip) { way::into_pod(ctx, pod.ifindex, &macs) } else { packet::NEXT }
}

/// Whether what comes for pods of this node may be answers to packets of theirs that were translated.
#[inline(always)]
pub fn may_be_answers() -> bool {
    read(TRANSLATED.get_ptr(0)) != Some(0)
}

/// From now on, that may be.
#[inline(always)]
pub fn expect_answers() {
    if !may_be_answers()
        && let Some(flag) = TRANSLATED.get_ptr_mut(0)
    {
        // SAFETY: the pointer comes from a map look-up that succeeded; nobody writes anything but this.
        unsafe { flag.write_volatile(1) };
    }
}

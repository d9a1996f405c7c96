//! Connections that processes of the node itself make from node ports: what answers them is not the Service's. An existing connection comes
//! first, as it does where the kernel tracks connections.

use super::{
    range, scratch,
    segment::{Kind, Segment},
    words::to_words,
};
use crate::{frame::Frame, maps::SERVICES};
use aya_ebpf::{
    bindings::bpf_sock_tuple,
    helpers::{bpf_sk_lookup_udp, bpf_sk_release, bpf_skc_lookup_tcp},
};
use core::mem::MaybeUninit;
use orknet_abi::{FlowKey, ServiceKey, protocol, scope};

/// `BPF_F_CURRENT_NETNS`: the namespace of the device.
const HERE: u64 = -1_i64 as u64;
/// `TCP_LISTEN`.
const LISTEN: u32 = 10;

/// Whether a packet without a flow opens none: it is no front's, or a front's at an address of the node, where a socket of the node is
/// connected to just who sent it. A packet that begins a connection is for nobody's socket.
#[inline(always)]
pub fn opens_nothing(frame: &impl Frame, segment: &Segment, packet_scope: u32) -> bool {
    let key = &segment.key;
    if segment.kind != Kind::Flow || segment.is_opening() || !matches!(key.protocol, protocol::TCP | protocol::UDP) {
        return false;
    }
    let Some(front) = scratch::front() else { return false };
    *front = ServiceKey { address: key.destination, port_be: key.destination_port_be, protocol: key.protocol, scope: packet_scope as u8 };
    if SERVICES.get_ptr(&*front).is_none() {
        // Inside, an address without the port says more.
        return packet_scope != u32::from(scope::INSIDE);
    }
    // Addresses of nodes have no entry as a whole.
    *front = range::whole(&key.destination);
    SERVICES.get_ptr(&*front).is_none() && is_connected(frame, key)
}

#[inline(always)]
fn is_connected(frame: &impl Frame, key: &FlowKey) -> bool {
    let (source, destination) = (to_words(&key.source), to_words(&key.destination));
    // SAFETY: all zero is a value of this union of numbers.
    let mut tuple: bpf_sock_tuple = unsafe { MaybeUninit::zeroed().assume_init() };
    // SAFETY: both forms are plain numbers.
    let length = unsafe {
        if key.source.is_v4() {
            let ends = &mut tuple.__bindgen_anon_1.ipv4;
            (ends.saddr, ends.daddr) = (source[3], destination[3]);
            (ends.sport, ends.dport) = (key.source_port_be, key.destination_port_be);
            size_of_val(ends)
        } else {
            let ends = &mut tuple.__bindgen_anon_1.ipv6;
            (ends.saddr, ends.daddr) = (*source, *destination);
            (ends.sport, ends.dport) = (key.source_port_be, key.destination_port_be);
            size_of_val(ends)
        }
    } as u32;
    // SAFETY: the helpers take any packet's context and a value as long as they are told. What they answer is a socket, which stays one until
    // it is released, or nothing.
    unsafe {
        if key.protocol == protocol::TCP {
            let socket = bpf_skc_lookup_tcp(frame.context(), &raw mut tuple, length, HERE, 0);
            if socket.is_null() {
                return false;
            }
            let state = (&raw const (*socket).state).read_volatile();
            bpf_sk_release(socket.cast());
            return state != LISTEN;
        }
        let socket = bpf_sk_lookup_udp(frame.context(), &raw mut tuple, length, HERE, 0);
        if socket.is_null() {
            return false;
        }
        // A socket that is not connected has no other end.
        let port = (&raw const (*socket).dst_port).read_volatile();
        bpf_sk_release(socket.cast());
        port != 0
    }
}

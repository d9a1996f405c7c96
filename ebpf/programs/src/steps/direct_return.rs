//! Direct server return: a packet for a backend of another node carries the Service's address and port along, in an IPv4 option or an IPv6
//! destination option, and that node answers the client itself.

use super::{
    judge::{self, judging},
    node,
    packet::{ETHERNET, Ip},
    scratch,
    segment::{Kind, segment},
    way,
};
use crate::{
    frame::{Checksum, Frame},
    global,
};
use aya_ebpf::{helpers::bpf_skb_adjust_room, programs::TcContext};
use orknet_abi::{
    Address, FlowKey,
    direct::{V4_BYTES, V4_OPTION, V6_BYTES, V6_DATA, V6_OPTION},
    node_flags,
};

/// `BPF_ADJ_ROOM_NET`: room after the IP header.
const AFTER_IP: u32 = 0;
/// `BPF_F_ADJ_ROOM_FIXED_GSO`: segments keep their size.
const KEEP_SEGMENTS: u64 = 1;
/// The destination options header, RFC 8200 section 4.6.
const DESTINATION_OPTIONS: u8 = 60;
const V4_HEADER: u32 = 20;
const V6_HEADER: u32 = 40;

/// The IPv4 option as it stands in a packet.
#[repr(C, align(4))]
#[derive(Clone, Copy)]
struct V4Option {
    kind: u8,
    bytes: u8,
    port_be: u16,
    address: [u8; 4],
}

/// The destination options header with the option.
#[repr(C)]
#[derive(Clone, Copy)]
struct V6Options {
    next_header: u8,
    /// In units of eight bytes, without the first.
    words: u8,
    kind: u8,
    bytes: u8,
    port_be: u16,
    padding: u16,
    address: Address,
}

/// Bytes that every link carries (RFC 8200 section 5).
const LEAST_MTU: u32 = 1280;

/// Whether backends of other nodes answer clients themselves.
#[inline(always)]
pub fn is_on() -> bool {
    node::pointer().is_some_and(|node| node.flags & node_flags::DIRECT_RETURN != 0)
}

/// Whether the first packet of a flow can tell: there is room on its way, or else its sender learns what there is.
#[inline(always)]
pub fn has_room(ip: &Ip) -> bool {
    !may_be_in_pieces(ip) || ip.length + bytes(ip) <= LEAST_MTU
}

/// Whether a packet is, or may become, a part of a greater one: its sender cuts it by what it knows of the way, and would lose the whole.
#[inline(always)]
pub fn may_be_in_pieces(ip: &Ip) -> bool {
    way::may_be_cut(ip) || ip.protocol == way::FRAGMENT
}

/// Bytes by which a packet that tells grows.
#[inline(always)]
pub fn bytes(ip: &Ip) -> u32 {
    u32::from(if ip.is_v4 { V4_BYTES } else { V6_BYTES })
}

/// Puts the Service that the client knows, the destination of `key`, into a packet that is translated already.
#[inline(always)]
pub fn tell(ctx: &TcContext, ip: &Ip, key: &FlowKey) -> bool {
    if ip.is_v4 { tell_v4(ctx, ip, key) } else { tell_v6(ctx, key) }
}

#[inline(always)]
fn tell_v4(ctx: &TcContext, ip: &Ip, key: &FlowKey) -> bool {
    let Some([first, length]) = ctx.read::<[u16; 2]>(ETHERNET) else { return false };
    let [version_and_words, service] = first.to_ne_bytes();
    // An IPv4 header has room for ten words of options.
    if version_and_words & 0xf > 13 || !make_room(ctx, i32::from(V4_BYTES)) {
        return false;
    }
    let option = V4Option { kind: V4_OPTION, bytes: V4_BYTES, port_be: key.destination_port_be, address: key.destination.v4_octets() };
    let new_first = u16::from_ne_bytes([version_and_words + V4_BYTES / 4, service]);
    let new_length = ((ip.length + u32::from(V4_BYTES)) as u16).to_be();
    let [a, b, c, d] = option.address;
    let added = [u16::from_ne_bytes([option.kind, option.bytes]), option.port_be, u16::from_ne_bytes([a, b]), u16::from_ne_bytes([c, d])];
    let changed = [!first, new_first, !length, new_length];
    let sum: u32 = added.into_iter().chain(changed).map(u32::from).sum();
    ctx.mend(ETHERNET + 10, sum, Checksum::Header, false)
        && ctx.write(ETHERNET, &[new_first, new_length])
        && ctx.write(ETHERNET + V4_HEADER, &option)
}

#[inline(always)]
fn tell_v6(ctx: &TcContext, key: &FlowKey) -> bool {
    let Some(payload) = ctx.read::<u16>(ETHERNET + 4) else { return false };
    let Some(next_header) = ctx.read::<u8>(ETHERNET + 6) else { return false };
    let options = V6Options {
        next_header,
        words: V6_BYTES / 8 - 1,
        kind: V6_OPTION,
        bytes: V6_DATA,
        port_be: key.destination_port_be,
        padding: 0,
        address: key.destination,
    };
    make_room(ctx, i32::from(V6_BYTES))
        && ctx.write(ETHERNET + 4, &u16::from_be(payload).wrapping_add(u16::from(V6_BYTES)).to_be())
        && ctx.write(ETHERNET + 6, &DESTINATION_OPTIONS)
        && ctx.write(ETHERNET + V6_HEADER, &options)
}

#[inline(always)]
fn make_room(ctx: &TcContext, bytes: i32) -> bool {
    // SAFETY: the helper takes the context of this program type and numbers.
    (unsafe { bpf_skb_adjust_room(ctx.skb.skb, bytes, AFTER_IP, KEEP_SEGMENTS) }) == 0
}

/// Opens the flow of a packet for a pod of this node that tells which Service its client knows. Hosts ignore the option, so it stays.
/// What anybody could write into a packet counts only if there may be such a Service. Answers 1 if it told.
#[inline(always)]
pub fn listen(ctx: &TcContext, ip: &Ip) -> u32 {
    if !is_on() {
        return 0;
    }
    let Ok(segment) = segment(ctx, ip) else { return 0 };
    if segment.kind != Kind::Flow {
        return 0;
    }
    let Some(key) = scratch::other() else { return 0 };
    *key = segment.key;
    if ip.is_v4 {
        let Some(option) = ctx.read::<V4Option>(ETHERNET + V4_HEADER) else { return 0 };
        if option.kind != V4_OPTION || option.bytes != V4_BYTES {
            return 0;
        }
        key.destination = Address::from_v4(option.address);
        key.destination_port_be = option.port_be;
    } else {
        let Some(options) = ctx.read::<V6Options>(ETHERNET + V6_HEADER) else { return 0 };
        if options.kind != V6_OPTION || options.bytes != V6_DATA {
            return 0;
        }
        key.destination = options.address;
        key.destination_port_be = options.port_be;
    }
    if global::is_here(&segment.key) == 0 || global::may_be_front(key) == 0 {
        return 0;
    }
    // What the pod's rules refuse opens nothing, nor does who writes a pod's address of this node. It is judged, and counted, once more with the packet.
    if global::judge(&segment.key, &segment.key, judging::FOREIGN, 0) != judge::ALLOWED {
        return 0;
    }
    global::open_direct(segment, key)
}

/// Whether the packet may tell something: only those that carry options are looked at.
#[inline(always)]
pub fn may_tell(ip: &Ip) -> bool {
    if ip.is_v4 { ip.next > ETHERNET + V4_HEADER } else { ip.protocol == DESTINATION_OPTIONS }
}

//! Answers that the node gives in the place of a Service: to a ping, "unreachable", "too big", a reset.
//!
//! Of some packets the kernel knows that a device is still to sum them up: of those that come over a veth pair from a sender that leaves
//! that to its device, and of those that it merged itself. That mark stays with the answer. Back at the veth pair's other end nobody looks
//! at checksums; on a wire the device sums a reset up as it does any segment, and of an ICMP error the segment that it quotes.

use super::{
    packet::{self, ETHERNET, Ip, V4Header, V6Header},
    scratch,
    segment::{Kind, Segment, icmp, tcp},
    way,
};
use crate::{
    frame::{Checksum, Frame, fold},
    global,
};
use aya_ebpf::{
    EbpfContext as _,
    bindings::bpf_adj_room_mode::BPF_ADJ_ROOM_MAC,
    helpers::{bpf_csum_diff, bpf_skb_adjust_room, bpf_skb_change_tail, bpf_skb_load_bytes},
    programs::TcContext,
};
use core::{mem::offset_of, ptr};
use orknet_abi::{Address, DropReason, protocol};

/// Hops that an answer may take.
const HOPS: u8 = 64;

/// What an ICMP error says.
pub mod complaint {
    /// Nobody is at the port.
    pub const PORT_UNREACHABLE: u32 = 0;
    /// The packet is larger than what goes its way.
    pub const TOO_BIG: u32 = 1;
    /// No hop is left.
    pub const TIME_EXCEEDED: u32 = 2;
}

/// Answers an echo request in the place of its destination: what was asked comes back, fragment by fragment, and is an answer as a whole.
#[inline(always)]
pub fn answer_ping(ctx: &TcContext, ip: &Ip, segment: &Segment) -> i32 {
    let (before, after) = if ip.is_v4 { (icmp::ECHO, icmp::ECHO_REPLY) } else { (icmp::V6_ECHO, icmp::V6_ECHO_REPLY) };
    let word = |kind: u8| u16::from_ne_bytes([kind, 0]);
    let difference = u32::from(word(after)) + u32::from(!word(before));
    // Both addresses stay, so no checksum sees that they change places.
    // The message's own header is in the first fragment.
    let is_turned = segment.kind == Kind::Later
        || ctx.mend(segment.offset + 2, difference, Checksum::Payload, false) && ctx.write(segment.offset, &after);
    let is_written =
        is_turned && packet::set_addresses(ctx, ip.is_v4, &ip.destination, &ip.source, 0) && packet::set_hop_limit(ctx, ip, HOPS);
    if is_written { way::back(ctx) } else { super::drop_packet(ctx, DropReason::RewriteFailed) }
}

/// Whether an answer or an error may be sent to the packet's sender: never about errors, fragments after the first, or what went to a group or
/// came from what is no single host (RFC 1122 section 3.2.2, RFC 4443 section 2.4).
#[inline(always)]
pub fn may_answer(ip: &Ip, segment: &Segment) -> bool {
    segment.kind == Kind::Flow && !ip.destination.is_multicast_v6() && is_single_host(&ip.source)
}

/// Whether the address can be one host's on a network: no group, nobody, not the own host as it calls itself.
#[inline(always)]
fn is_single_host(address: &Address) -> bool {
    if address.is_v4() {
        // 0.0.0.0/8, 127.0.0.0/8, 224.0.0.0/4 and what is reserved after it.
        let [first, ..] = address.v4_octets();
        return first != 0 && first != 127 && first < 224;
    }
    // `::` and `::1` differ in one bit.
    !address.is_multicast_v6() && u128::from_be_bytes(address.0) > 1
}

/// Turns the packet into an ICMP error about itself, from its destination, and sends it back; counts the packet as dropped. `mtu` is what
/// goes its way, in bytes from the IP header on, where the packet is too big.
#[inline(always)]
pub fn complain(ctx: &TcContext, ip: &Ip, complaint: u32, mtu: u16, reason: u32) -> i32 {
    super::count::count_number(reason, ctx.len());
    if global::quote(ctx.skb.skb, ip, complaint, u32::from(mtu)) != 0 { way::back(ctx) } else { packet::DROP }
}

/// What an error quotes: IPv4's header with its options, and TCP's, at most.
pub type Quote = [u32; MOST as usize / 4];

const MOST: u32 = 60 + size_of::<TcpHeader>() as u32;
/// ICMP's own header.
const ICMP_HEADER: u32 = 8;

/// Puts the headers of an error before the packet and cuts off what it does not quote; false if that cannot be done. It quotes the IP header
/// and eight bytes (RFC 792; RFC 4443 section 3 asks for more, where there is room), of TCP and SCTP the header.
///
/// The packet stays where it is, so that a device that is to sum it up sums up what is quoted. The error's checksum counts on that: over a
/// segment with its checksum, all words make the complement of what the checksum's place held before, whatever they are.
#[inline(always)]
pub fn quote(ctx: &TcContext, ip: &Ip, complaint: u32, mtu: u16) -> bool {
    let (number, kind, code) = match (ip.is_v4, complaint) {
        (true, complaint::PORT_UNREACHABLE) => (protocol::ICMP, icmp::UNREACHABLE, 3),
        (true, complaint::TOO_BIG) => (protocol::ICMP, icmp::UNREACHABLE, 4),
        (true, _) => (protocol::ICMP, icmp::TIME_EXCEEDED, 0),
        (false, complaint::PORT_UNREACHABLE) => (protocol::ICMP6, icmp::V6_UNREACHABLE, 4),
        (false, complaint::TOO_BIG) => (protocol::ICMP6, icmp::V6_TOO_BIG, 0),
        (false, _) => (protocol::ICMP6, icmp::V6_TIME_EXCEEDED, 0),
    };
    let header = ip.next.wrapping_sub(ETHERNET);
    let quoted = header.wrapping_add(match ip.protocol {
        protocol::TCP => size_of::<TcpHeader>() as u32,
        // Its header has the checksum behind its eighth byte.
        protocol::SCTP => 12,
        _ => 8,
    });
    let body = ICMP_HEADER.wrapping_add(quoted);
    let own = if ip.is_v4 { size_of::<V4Header>() } else { size_of::<V6Header>() } as u32;
    let mut seed = if ip.is_v4 { 0 } else { pseudo_header(ip, number, body) };
    let mut summed = quoted;
    let sum_at = ip.next.wrapping_add(if ip.protocol == protocol::TCP { offset_of!(TcpHeader, checksum_be) as u32 } else { 6 });
    if matches!(ip.protocol, protocol::TCP | protocol::UDP) && is_open(ctx, sum_at) {
        let Some(begun) = ctx.read::<u16>(sum_at) else { return false };
        (summed, seed) = (header, seed.wrapping_add(u32::from(!begun)));
    }
    let Some(place) = scratch::quote() else { return false };
    if !(20..=MOST).contains(&summed) || !resize(ctx, ETHERNET.wrapping_add(quoted)) {
        return false;
    }
    // SAFETY: the place has room for so many bytes, and the helper fills them or answers an error.
    let is_read = (unsafe { bpf_skb_load_bytes(ctx.as_ptr(), ETHERNET, ptr::from_mut(place).cast(), summed) }) == 0;
    let [high, low] = mtu.to_be_bytes();
    let head = [u32::from_ne_bytes([kind, code, 0, 0]), u32::from_ne_bytes([0, 0, high, low])];
    let quote = u64::from(sum(ptr::from_ref(place), summed, seed));
    let [one, other] = (!fold(quote + u64::from(head[0]) + u64::from(head[1]))).to_ne_bytes();
    // SAFETY: the helper takes the context of this program type and numbers.
    let is_grown = is_read && (unsafe { bpf_skb_adjust_room(ctx.skb.skb, (own + ICMP_HEADER) as i32, BPF_ADJ_ROOM_MAC, 0) }) == 0;
    is_grown
        && if ip.is_v4 { write_v4_header(ctx, ip, number, body) } else { write_v6_header(ctx, ip, number, body) }
        && ctx.write(ETHERNET + own, &[u32::from_ne_bytes([kind, code, one, other]), head[1]])
}

/// TCP's header, RFC 9293 section 3.1.
#[repr(C)]
#[derive(Clone, Copy)]
struct TcpHeader {
    source_port_be: u16,
    destination_port_be: u16,
    sequence_be: u32,
    acknowledgement_be: u32,
    words_and_flags: [u8; 2],
    window_be: u16,
    checksum_be: u16,
    urgent_be: u16,
}

/// Turns a TCP segment into the reset that its destination would answer if it knew no such connection (RFC 9293 section 3.5.2),
/// and sends it back; counts the segment as dropped.
#[inline(always)]
pub fn reset(ctx: &TcContext, ip: &Ip, segment: &Segment, reason: u32) -> i32 {
    super::count::count_number(reason, ctx.len());
    if segment.kind == Kind::Flow && segment.flags & tcp::RST == 0 && write_reset(ctx, ip, segment) { way::back(ctx) } else { packet::DROP }
}

#[inline(always)]
fn write_reset(ctx: &TcContext, ip: &Ip, segment: &Segment) -> bool {
    const BODY: u32 = size_of::<TcpHeader>() as u32;
    let Some(asked) = ctx.read::<TcpHeader>(segment.offset) else { return false };
    let header = u32::from(asked.words_and_flags[0] >> 4) * 4;
    let (sequence_be, acknowledgement_be, flags) = if asked.words_and_flags[1] & tcp::ACK != 0 {
        (asked.acknowledgement_be, 0, tcp::RST)
    } else {
        let data = (ip.length + ETHERNET).saturating_sub(segment.offset).saturating_sub(header);
        let counted = data + u32::from(segment.flags & tcp::SYN != 0) + u32::from(segment.flags & tcp::FIN != 0);
        (0, u32::from_be(asked.sequence_be).wrapping_add(counted).to_be(), tcp::RST | tcp::ACK)
    };
    let mut answer = TcpHeader {
        source_port_be: asked.destination_port_be,
        destination_port_be: asked.source_port_be,
        sequence_be,
        acknowledgement_be,
        words_and_flags: [5 << 4, flags],
        window_be: 0,
        checksum_be: 0,
        urgent_be: 0,
    };
    let seed = pseudo_header(ip, protocol::TCP, BODY);
    answer.checksum_be = checksum(&raw const answer, BODY, seed);
    let at = ETHERNET + if ip.is_v4 { size_of::<V4Header>() } else { size_of::<V6Header>() } as u32;
    let is_written = resize(ctx, at + BODY)
        && if ip.is_v4 { write_v4_header(ctx, ip, protocol::TCP, BODY) } else { write_v6_header(ctx, ip, protocol::TCP, BODY) }
        && ctx.write(at, &answer);
    is_written && global::leave_open(ctx.skb.skb, ip) != 0
}

/// Prepares a reset for a device that is to sum it up, as it would have summed up the segment: it begins with the sum of the pseudo-header.
/// False if that cannot be done.
#[inline(always)]
pub fn leave_open(ctx: &TcContext, ip: &Ip) -> bool {
    let at = ETHERNET + if ip.is_v4 { size_of::<V4Header>() } else { size_of::<V6Header>() } as u32;
    let sum = at + offset_of!(TcpHeader, checksum_be) as u32;
    !is_open(ctx, sum) || ctx.write(sum, &(pseudo_header(ip, protocol::TCP, size_of::<TcpHeader>() as u32) as u16))
}

/// Whether a device is to sum the packet up: then the kernel's helper leaves a checksum alone that covers what changed by itself. `sum` is
/// where a checksum is.
#[inline(always)]
fn is_open(ctx: &TcContext, sum: u32) -> bool {
    let Some(before) = ctx.read::<u16>(sum) else { return false };
    let _ = ctx.mend(sum, 1, Checksum::Payload, false);
    let Some(after) = ctx.read::<u16>(sum) else { return false };
    let _ = ctx.write(sum, &before);
    before == after
}

#[inline(always)]
fn write_v4_header(ctx: &TcContext, ip: &Ip, protocol: u8, body: u32) -> bool {
    let mut header = V4Header {
        version_and_words: 0x45,
        service: 0,
        total_length_be: (size_of::<V4Header>() as u16 + body as u16).to_be(),
        identification_be: 0,
        fragment_be: 0,
        hop_limit: HOPS,
        protocol,
        checksum_be: 0,
        source: ip.destination.v4_octets(),
        destination: ip.source.v4_octets(),
    };
    header.checksum_be = checksum(&raw const header, size_of::<V4Header>() as u32, 0);
    ctx.write(ETHERNET, &header)
}

#[inline(always)]
fn write_v6_header(ctx: &TcContext, ip: &Ip, next_header: u8, body: u32) -> bool {
    let header = V6Header {
        version_and_class: 0x60,
        flow: [0; 3],
        payload_length_be: (body as u16).to_be(),
        next_header,
        hop_limit: HOPS,
        source: ip.destination,
        destination: ip.source,
    };
    ctx.write(ETHERNET, &header)
}

/// The sum of the pseudo-header of an answer, which does not see that addresses change places. The mapped form adds two words to IPv4's
/// that are zeros of ones' complement.
#[inline(always)]
fn pseudo_header(ip: &Ip, number: u8, length: u32) -> u32 {
    let addresses = sum(&raw const ip.source, size_of::<[Address; 2]>() as u32, 0);
    u32::from(fold(u64::from(addresses) + u64::from((length as u16).to_be()) + u64::from(u16::from(number).to_be())))
}

const _: () = assert!(offset_of!(Ip, destination) == offset_of!(Ip, source) + size_of::<Address>());

#[inline(always)]
fn checksum<T>(bytes: *const T, length: u32, seed: u32) -> u16 {
    !fold(u64::from(sum(bytes, length, seed)))
}

/// The sum of a value's words, a multiple of four bytes.
#[inline(always)]
fn sum<T>(bytes: *const T, length: u32, seed: u32) -> u32 {
    // SAFETY: callers pass a whole value and its length.
    unsafe { bpf_csum_diff(ptr::null_mut(), 0, bytes.cast_mut().cast(), length, seed) as u32 }
}

#[inline(always)]
fn resize(ctx: &TcContext, length: u32) -> bool {
    // SAFETY: the helper takes the context of this program type and a number.
    (unsafe { bpf_skb_change_tail(ctx.skb.skb, length, 0) }) == 0
}

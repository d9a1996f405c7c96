//! Frames on pod devices: Ethernet and the IP header, the seam between IPv4 and IPv6 in packets.
//!
//! Reads through the kernel's copying helper: bounds are checked there, and frames may be in pieces. Nothing above IP is
//! looked at, so options, extension headers and fragments need no care.

use aya_ebpf::{
    bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC},
    programs::TcContext,
};
use orknet_abi::{Address, DropReason};

/// The next program on the device decides, the stack if there is none.
pub const NEXT: i32 = TC_ACT_UNSPEC;

/// The packet ends here.
pub const DROP: i32 = TC_ACT_SHOT as i32;

const ETHERNET_HEADER: usize = 14;
const ETHERTYPE_V4: u16 = 0x0800;
const ETHERTYPE_V6: u16 = 0x86dd;
/// `skb->pkt_type`: the frame carries the device's own MAC address.
const PACKET_HOST: u32 = 0;
/// The most that IPv4's length field can say; longer packets of segmentation offload say 0.
const LONGEST: u32 = 65_535;

/// What the hooks need of an IP header.
pub struct Ip {
    pub source: Address,
    pub destination: Address,
    hop_limit: u8,
    /// The word that holds IPv4's hop limit and protocol; for its checksum.
    v4_hop_word: Option<u16>,
}

/// What a frame is.
pub enum Parsed {
    /// IPv4 or IPv6 with a sound header.
    Ip(Ip),
    /// ARP, or what the stack has no use for either.
    Other,
    /// Not what its headers say.
    Broken(DropReason),
}

/// IPv4, RFC 791 section 3.1.
#[repr(C)]
#[derive(Clone, Copy)]
struct V4Header {
    version_and_words: u8,
    service: u8,
    total_length_be: u16,
    identification_be: u16,
    fragment_be: u16,
    hop_limit: u8,
    protocol: u8,
    checksum_be: u16,
    source: [u8; 4],
    destination: [u8; 4],
}

/// IPv6, RFC 8200 section 3.
#[repr(C)]
#[derive(Clone, Copy)]
struct V6Header {
    version_and_class: u8,
    flow: [u8; 3],
    payload_length_be: u16,
    next_header: u8,
    hop_limit: u8,
    source: Address,
    destination: Address,
}

/// Index of the device on which the hook runs.
#[inline(always)]
pub fn device(ctx: &TcContext) -> u32 {
    // SAFETY: the kernel hands a valid context to the program; the word may be read.
    unsafe { (*ctx.skb.skb).ifindex }
}

/// Whether the frame was sent to the device's own MAC address.
#[inline(always)]
pub fn is_for_host(ctx: &TcContext) -> bool {
    // SAFETY: the kernel hands a valid context to the program; the word may be read.
    unsafe { (*ctx.skb.skb).pkt_type == PACKET_HOST }
}

/// Reads the headers up to IP's.
#[inline(always)]
pub fn parse(ctx: &TcContext) -> Parsed {
    match u16::from_be(ctx.skb.protocol() as u16) {
        ETHERTYPE_V4 => parse_v4(ctx),
        ETHERTYPE_V6 => parse_v6(ctx),
        _ => Parsed::Other,
    }
}

#[inline(always)]
fn parse_v4(ctx: &TcContext) -> Parsed {
    let Ok(header) = ctx.load::<V4Header>(ETHERNET_HEADER) else { return Parsed::Broken(DropReason::Truncated) };
    let header_length = u32::from(header.version_and_words & 0xf) * 4;
    let total_length = u32::from(u16::from_be(header.total_length_be));
    let present = ctx.len().saturating_sub(ETHERNET_HEADER as u32);
    if header.version_and_words >> 4 != 4 || header_length < 20 {
        return Parsed::Broken(DropReason::Malformed);
    }
    if total_length > present || header_length > present {
        return Parsed::Broken(DropReason::Truncated);
    }
    if total_length < header_length && !(total_length == 0 && present > LONGEST) {
        return Parsed::Broken(DropReason::Malformed);
    }
    Parsed::Ip(Ip {
        source: Address::from_v4(header.source),
        destination: Address::from_v4(header.destination),
        hop_limit: header.hop_limit,
        v4_hop_word: Some(u16::from_ne_bytes([header.hop_limit, header.protocol])),
    })
}

#[inline(always)]
fn parse_v6(ctx: &TcContext) -> Parsed {
    let Ok(header) = ctx.load::<V6Header>(ETHERNET_HEADER) else { return Parsed::Broken(DropReason::Truncated) };
    let present = ctx.len().saturating_sub((ETHERNET_HEADER + size_of::<V6Header>()) as u32);
    // A mapped address is the maps' form of an IPv4 address; nobody may come by it in an IPv6 header (RFC 4942 section 2.2).
    if header.version_and_class >> 4 != 6 || header.source.is_v4() || header.destination.is_v4() {
        return Parsed::Broken(DropReason::Malformed);
    }
    if u32::from(u16::from_be(header.payload_length_be)) > present {
        return Parsed::Broken(DropReason::Truncated);
    }
    Parsed::Ip(Ip { source: header.source, destination: header.destination, hop_limit: header.hop_limit, v4_hop_word: None })
}

/// Takes one from the hop limit and answers true, or answers false if the packet may not travel on: the stack then sends the
/// error that the sender needs.
#[inline(always)]
pub fn take_hop(ctx: &TcContext, ip: &Ip) -> bool {
    if ip.hop_limit <= 1 {
        return false;
    }
    let left = ip.hop_limit - 1;
    let Some(before) = ip.v4_hop_word else {
        return ctx.store(ETHERNET_HEADER + core::mem::offset_of!(V6Header, hop_limit), &left, 0).is_ok();
    };
    let [_, protocol] = before.to_ne_bytes();
    let after = u16::from_ne_bytes([left, protocol]);
    let checksum = ETHERNET_HEADER + core::mem::offset_of!(V4Header, checksum_be);
    ctx.l3_csum_replace(checksum, u64::from(before), u64::from(after), 2).is_ok()
        && ctx.store(ETHERNET_HEADER + core::mem::offset_of!(V4Header, hop_limit), &left, 0).is_ok()
}

/// Writes both MAC addresses. A frame that got here is long enough, so the write can't fail.
#[inline(always)]
pub fn set_macs(ctx: &TcContext, destination: &[u8; 6], source: &[u8; 6]) {
    let _ = ctx.store(0, &[*destination, *source], 0);
}

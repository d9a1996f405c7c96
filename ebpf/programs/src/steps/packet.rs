//! Frames of devices: Ethernet and the IP header, the seam between IPv4 and IPv6 in packets.

use super::read;
use crate::{
    frame::{Checksum, Frame},
    maps::DEVICES,
};
use aya_ebpf::{
    bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC, bpf_hdr_start_off::BPF_HDR_START_MAC},
    helpers::{bpf_skb_change_head, bpf_skb_load_bytes_relative},
    programs::TcContext,
};
use orknet_abi::{Address, DropReason};

/// The next program on the device decides, the stack if there is none.
pub const NEXT: i32 = TC_ACT_UNSPEC;

/// The packet ends here.
pub const DROP: i32 = TC_ACT_SHOT as i32;

/// Bytes of the Ethernet header: where the IP header is.
pub const ETHERNET: u32 = 14;
/// Where IPv4's checksum is.
const V4_CHECKSUM: u32 = ETHERNET + core::mem::offset_of!(V4Header, checksum_be) as u32;
const ETHERTYPE_V4: u16 = 0x0800;
const ETHERTYPE_V6: u16 = 0x86dd;
/// `skb->pkt_type`: the frame carries the device's own MAC address.
const PACKET_HOST: u32 = 0;
/// The most that IPv4's length field can say; longer packets of segmentation offload say 0.
const LONGEST: u32 = 65_535;

/// What the hooks need of an IP header.
#[repr(C)]
#[derive(Default)]
pub struct Ip {
    pub source: Address,
    pub destination: Address,
    /// Where the next header is.
    pub next: u32,
    /// Bytes from the IP header on, without what Ethernet pads.
    pub length: u32,
    /// IPv4's identification and fragment words, network order.
    pub fragment: [u16; 2],
    /// Which header is next.
    pub protocol: u8,
    pub hop_limit: u8,
    pub is_v4: bool,
}

/// IPv4, RFC 791 section 3.1.
#[repr(C, align(4))]
#[derive(Clone, Copy)]
pub struct V4Header {
    pub version_and_words: u8,
    pub service: u8,
    pub total_length_be: u16,
    pub identification_be: u16,
    pub fragment_be: u16,
    pub hop_limit: u8,
    pub protocol: u8,
    pub checksum_be: u16,
    pub source: [u8; 4],
    pub destination: [u8; 4],
}

/// IPv6, RFC 8200 section 3.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct V6Header {
    pub version_and_class: u8,
    pub flow: [u8; 3],
    pub payload_length_be: u16,
    pub next_header: u8,
    pub hop_limit: u8,
    pub source: Address,
    pub destination: Address,
}

/// Whether the frame was sent to the device's own MAC address.
#[inline(always)]
pub fn is_for_host(ctx: &TcContext) -> bool {
    // SAFETY: the kernel hands a valid context to the program; the word may be read.
    unsafe { (*ctx.skb.skb).pkt_type == PACKET_HOST }
}

/// Puts a packet's Ethernet header back under the hook's eyes; true if it was not. Linux forgets its length (`skb->mac_len`) where its
/// generic form of XDP copies a packet to make room in front of it (since 6.9, where `skb_cow_data_for_xdp` makes a new one): the hook would
/// see the packet begin with IP's header.
#[inline(always)]
pub fn straighten(ctx: &TcContext) -> bool {
    type Header = [u16; ETHERNET as usize / 2];
    let mut header: Header = [0; ETHERNET as usize / 2];
    // SAFETY: the buffer is as long as the helper is told.
    let outcome = unsafe { bpf_skb_load_bytes_relative(ctx.skb.skb.cast(), 0, header.as_mut_ptr().cast(), ETHERNET, BPF_HDR_START_MAC) };
    let Some(seen) = ctx.read::<Header>(0) else { return false };
    if outcome != 0 || header == seen || u32::from(header[6]) != ctx.skb.protocol() {
        return false;
    }
    // SAFETY: the helper takes numbers. It makes room in front of IP's header, where this one still is, and notes its length.
    (unsafe { bpf_skb_change_head(ctx.skb.skb, ETHERNET, 0) }) == 0 && ctx.write(0, &header)
}

/// Whether a packet that leaves came in on some device, and was not sent by the node itself.
#[inline(always)]
pub fn is_forwarded(ctx: &TcContext) -> bool {
    // SAFETY: the kernel hands a valid context to the program; the word may be read.
    (unsafe { (*ctx.skb.skb).ingress_ifindex }) != 0
}

/// Outcomes of [`parse`]; from [`parsed::BROKEN`] on, that and the number of a drop reason: the frame is not what its headers say.
pub mod parsed {
    /// IPv4 or IPv6 with a sound header.
    pub const IP: u32 = 0;
    /// ARP, or what the stack has no use for either.
    pub const OTHER: u32 = 1;
    pub const BROKEN: u32 = 256;
}

/// The same of a frame that is not the kernel's packet yet: it carries the MAC address of the device, as user space has noted it.
#[inline(always)]
pub fn is_for_device(frame: &impl Frame, device: u32) -> bool {
    let Some(known) = read(DEVICES.get_ptr(device)) else { return false };
    let Some(mac) = frame.read::<[u16; 3]>(0) else { return false };
    halves(&known.mac) == mac
}

/// A MAC address by halves of words, as it can be read and written at once.
#[inline(always)]
fn halves(mac: &[u8; 6]) -> [u16; 3] {
    [0, 2, 4].map(|at| u16::from_ne_bytes([mac[at], mac[at + 1]]))
}

/// Reads the headers up to IP's.
#[inline(always)]
pub fn parse(frame: &impl Frame, ip: &mut Ip) -> u32 {
    match frame.ethertype() {
        ETHERTYPE_V4 => parse_v4(frame, ip),
        ETHERTYPE_V6 => parse_v6(frame, ip),
        _ => parsed::OTHER,
    }
}

const TRUNCATED: u32 = parsed::BROKEN + DropReason::Truncated as u32;
const MALFORMED: u32 = parsed::BROKEN + DropReason::Malformed as u32;

#[inline(always)]
fn parse_v4(frame: &impl Frame, ip: &mut Ip) -> u32 {
    let Some(header) = frame.read::<V4Header>(ETHERNET) else { return TRUNCATED };
    let header_length = u32::from(header.version_and_words & 0xf) * 4;
    let total_length = u32::from(u16::from_be(header.total_length_be));
    let present = frame.length().saturating_sub(ETHERNET);
    if header.version_and_words >> 4 != 4 || header_length < 20 {
        return MALFORMED;
    }
    if total_length > present || header_length > present {
        return TRUNCATED;
    }
    if total_length < header_length && !(total_length == 0 && present > LONGEST) {
        return MALFORMED;
    }
    *ip = Ip {
        source: Address::from_v4(header.source),
        destination: Address::from_v4(header.destination),
        next: ETHERNET + header_length,
        length: if total_length == 0 { present } else { total_length },
        fragment: [header.identification_be, header.fragment_be],
        protocol: header.protocol,
        hop_limit: header.hop_limit,
        is_v4: true,
    };
    parsed::IP
}

#[inline(always)]
fn parse_v6(frame: &impl Frame, ip: &mut Ip) -> u32 {
    let Some(header) = frame.read::<V6Header>(ETHERNET) else { return TRUNCATED };
    let present = frame.length().saturating_sub(ETHERNET + size_of::<V6Header>() as u32);
    // A mapped address is the maps' form of an IPv4 address; nobody may come by it in an IPv6 header (RFC 4942 section 2.2).
    if header.version_and_class >> 4 != 6 || header.source.is_v4() || header.destination.is_v4() {
        return MALFORMED;
    }
    let payload = u32::from(u16::from_be(header.payload_length_be));
    if payload > present {
        return TRUNCATED;
    }
    *ip = Ip {
        source: header.source,
        destination: header.destination,
        next: ETHERNET + size_of::<V6Header>() as u32,
        // Jumbograms of segmentation offload say 0.
        length: size_of::<V6Header>() as u32 + if payload == 0 && present > LONGEST { present } else { payload },
        fragment: [0; 2],
        protocol: header.next_header,
        hop_limit: header.hop_limit,
        is_v4: false,
    };
    parsed::IP
}

/// Takes one from the hop limit and answers true, or answers false if the packet may not travel on: its sender needs an error.
#[inline(always)]
pub fn take_hop(frame: &impl Frame, ip: &Ip) -> bool {
    ip.hop_limit > 1 && set_hop_limit(frame, ip, ip.hop_limit - 1)
}

/// Replaces the hop limit.
#[inline(always)]
pub fn set_hop_limit(frame: &impl Frame, ip: &Ip, hops: u8) -> bool {
    if !ip.is_v4 {
        let word = |hops: u8| u16::from_ne_bytes([0, hops]);
        frame.mend_sum(u32::from(word(hops)) + u32::from(!word(ip.hop_limit)));
        return frame.write(ETHERNET + core::mem::offset_of!(V6Header, hop_limit) as u32, &hops);
    }
    let word = |hops: u8| u32::from(u16::from_ne_bytes([hops, 0]));
    let difference = word(hops) + u32::from(!(word(ip.hop_limit) as u16));
    frame.mend(V4_CHECKSUM, difference, Checksum::Header, false)
        && frame.write(ETHERNET + core::mem::offset_of!(V4Header, hop_limit) as u32, &hops)
}

/// Replaces both addresses; `difference` is the checksum of the new ones minus the old ones.
#[inline(always)]
pub fn set_addresses(frame: &impl Frame, is_v4: bool, source: &Address, destination: &Address, difference: u32) -> bool {
    if !is_v4 {
        return frame.write(ETHERNET + core::mem::offset_of!(V6Header, source) as u32, &[*source, *destination]);
    }
    frame.mend(V4_CHECKSUM, difference, Checksum::Header, false)
        && frame.write(
            ETHERNET + core::mem::offset_of!(V4Header, source) as u32,
            &[source, destination].map(|address| u32::from_ne_bytes(address.v4_octets())),
        )
}

/// Writes both MAC addresses, first that of the destination. A frame that got here is long enough, so the write can't fail.
#[inline(always)]
pub fn set_macs(frame: &impl Frame, macs: &[[u8; 6]; 2]) {
    // SAFETY: both are twelve plain bytes; read as if they stood anywhere.
    let words = unsafe { core::ptr::from_ref(macs).cast::<[u32; 3]>().read_unaligned() };
    let _ = frame.write(0, &words);
}

/// Sends the frame back to where it came from.
#[inline(always)]
pub fn swap_macs(frame: &impl Frame) {
    if let Some([destination, source]) = frame.read::<[[u16; 3]; 2]>(0) {
        let _ = frame.write(0, &[source, destination]);
    }
}

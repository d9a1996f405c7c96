//! Packets become what their flow says: addresses, ports, identifiers, and every checksum that covers them.

use super::{
    packet::{self, Ip},
    segment::{Kind, Segment, error_header, inner_ports},
};
use crate::frame::{Checksum, Frame};
use aya_ebpf::helpers::bpf_csum_diff;
use core::ptr;
use orknet_abi::{Address, FlowKey, protocol};

/// Offset of the identifier in an ICMP query.
const IDENTIFIER: u32 = 4;
/// Offset of the checksum in ICMP.
const ICMP_CHECKSUM: u32 = 2;
/// RFC 3828.
const UDP_LITE: u8 = 136;
/// Datagram Congestion Control Protocol, RFC 4340.
const DCCP: u8 = 33;

/// Translates the packet; false if the frame did not hold what its headers promised.
#[inline(always)]
pub fn rewrite(frame: &impl Frame, ip: &Ip, segment: &Segment, becomes: &FlowKey) -> bool {
    let addresses = difference_of_addresses(&segment.key, becomes);
    if !packet::set_addresses(frame, ip.is_v4, &becomes.source, &becomes.destination, addresses) {
        return false;
    }
    if segment.kind == Kind::Later {
        return true;
    }
    match segment.key.protocol {
        protocol::TCP => {
            frame.mend(segment.offset + 16, addresses, Checksum::Pseudo, false)
                && set_ports(frame, segment.offset, 16, &segment.key, becomes)
        }
        protocol::UDP => {
            frame.mend(segment.offset + 6, addresses, Checksum::Pseudo, true) && set_ports(frame, segment.offset, 6, &segment.key, becomes)
        }
        protocol::SCTP => super::sctp::set_ports(frame, ip, segment, becomes),
        protocol::ICMP => set_identifier(frame, segment, becomes),
        protocol::ICMP6 => {
            frame.mend(segment.offset + ICMP_CHECKSUM, addresses, Checksum::Pseudo, false) && set_identifier(frame, segment, becomes)
        }
        // Both have a checksum that covers the addresses, at the same place.
        UDP_LITE | DCCP => frame.mend(segment.offset + 6, addresses, Checksum::Pseudo, false),
        _ => true,
    }
}

/// Both ports at once, as they lie in memory and on the wire.
#[inline(always)]
pub fn ports(key: &FlowKey) -> u32 {
    u32::from(key.source_port_be) | u32::from(key.destination_port_be) << 16
}

#[inline(always)]
fn set_ports(frame: &impl Frame, offset: u32, checksum: u32, key: &FlowKey, becomes: &FlowKey) -> bool {
    let (before, after) = (ports(key), ports(becomes));
    if before == after {
        return true;
    }
    let is_udp = key.protocol == protocol::UDP;
    frame.mend(offset + checksum, difference(before, after), Checksum::Payload, is_udp) && frame.write(offset, &after)
}

/// The identifier of a query stands where its asker's port would.
#[inline(always)]
fn set_identifier(frame: &impl Frame, segment: &Segment, becomes: &FlowKey) -> bool {
    let (before, after) = if segment.is_query() {
        (segment.key.source_port_be, becomes.source_port_be)
    } else {
        (segment.key.destination_port_be, becomes.destination_port_be)
    };
    before == after
        || frame.mend(segment.offset + ICMP_CHECKSUM, difference(u32::from(before), u32::from(after)), Checksum::Payload, false)
            && frame.write(segment.offset + IDENTIFIER, &after)
}

/// An error about a translated packet: the packet inside becomes what its sender sent, and the error goes to that sender. Where it
/// comes from the other end itself, that end is named as the sender knows it; a router on the way keeps its address (RFC 5508
/// section 4).
///
/// The checksum of the protocol inside is left as it is: nobody checks it, and most of it is cut off.
#[inline(always)]
pub fn rewrite_error(frame: &impl Frame, ip: &Ip, segment: &Segment, becomes: &FlowKey) -> bool {
    let outside = [if ip.source == segment.key.source { becomes.source } else { ip.source }, becomes.destination];
    let outer = difference_by_call(&ip.source, &outside[0]);
    // What is inside has source and destination the other way round, which no sum sees.
    let addresses = difference_by_call(&segment.key.source, &becomes.source);
    let Some(at) = inner_ports(frame, ip, segment) else { return false };
    let is_query = matches!(segment.key.protocol, protocol::ICMP | protocol::ICMP6);
    let (before, after) = if is_query {
        (u32::from(segment.key.destination_port_be), u32::from(becomes.destination_port_be))
    } else {
        (ports(&segment.key).rotate_left(16), ports(becomes).rotate_left(16))
    };
    let checksum = error_header(segment) + ICMP_CHECKSUM;
    if !packet::set_addresses(frame, ip.is_v4, &outside[0], &outside[1], outer)
        || !frame.mend(checksum, difference(before, after), Checksum::Payload, false)
    {
        return false;
    }
    let is_set = if is_query {
        frame.write(at + IDENTIFIER, &becomes.destination_port_be)
    } else {
        segment.is_portless() || frame.write(at, &after)
    };
    if !is_set {
        return false;
    }
    if ip.is_v4 {
        // The header inside mends itself by its own checksum, so the error's checksum does not see the new addresses.
        frame.mend(segment.offset + 10, addresses, Checksum::Payload, false)
            && frame
                .write(segment.offset + 12, &[becomes.destination, becomes.source].map(|address| u32::from_ne_bytes(address.v4_octets())))
    } else {
        frame.mend(checksum, outer, Checksum::Pseudo, false)
            && frame.mend(checksum, addresses, Checksum::Payload, false)
            && frame.write(segment.offset + 8, &becomes.destination)
            && frame.write(segment.offset + 24, &becomes.source)
    }
}

/// What the change of both addresses does to a checksum. The mapped form of IPv4 adds the same to both sides.
#[inline(always)]
pub fn difference_of_addresses(before: &FlowKey, after: &FlowKey) -> u32 {
    difference_of(&[&before.source, &before.destination], &[&after.source, &after.destination])
}

#[inline(always)]
fn difference_of(before: &[&Address; 2], after: &[&Address; 2]) -> u32 {
    let words = |address: &Address| {
        // SAFETY: both are sixteen plain bytes, and an address is aligned to words.
        unsafe { ptr::from_ref(address).cast::<[u32; 4]>().read() }
    };
    let mut sum = 0_u64;
    for side in 0..2 {
        let (before, after) = (words(before[side]), words(after[side]));
        for word in 0..4 {
            sum += u64::from(!before[word]) + u64::from(after[word]);
        }
    }
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    ((sum & 0xffff_ffff) + (sum >> 32)) as u32
}

/// The same of two addresses that lie side by side, where the stack is short of room.
#[inline(always)]
fn difference_by_call(before: &Address, after: &Address) -> u32 {
    // SAFETY: callers pass the first of two addresses that lie side by side, 32 bytes of plain values.
    unsafe { bpf_csum_diff(ptr::from_ref(before).cast_mut().cast(), 32, ptr::from_ref(after).cast_mut().cast(), 32, 0) as u32 }
}

/// What the change of one word does to a checksum.
#[inline(always)]
fn difference(before: u32, after: u32) -> u32 {
    let sum = u64::from(!before) + u64::from(after);
    ((sum & 0xffff_ffff) + (sum >> 32)) as u32
}

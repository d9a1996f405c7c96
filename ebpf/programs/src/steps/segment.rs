//! What IP carries: ports, identifiers and flags of TCP, UDP, SCTP and ICMP, behind extension headers and in fragments.

use super::{
    packet::{ETHERNET, Ip, V6Header},
    read, scratch,
    words::{self, wipe},
};
use crate::{frame::Frame, maps::FRAGMENTS};
use orknet_abi::{Address, DropReason, FlowKey, FragmentKey, FragmentPorts, flow_state, protocol};

/// A packet as far as translation is concerned.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Segment {
    /// Its flow; of an error, the flow of the packet that it is about, as that one's answers would have it.
    pub key: FlowKey,
    /// Where the header of the protocol is; of an error, where the packet begins that it is about.
    pub offset: u32,
    pub kind: Kind,
    /// TCP's flags, SCTP's first chunk's type, ICMP's type.
    pub flags: u8,
    /// Whether the packet is a fragment, the first one or another.
    pub is_in_pieces: bool,
}

/// How a packet is to be translated.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Addresses and ports, if the protocol has any.
    Flow,
    /// Only addresses: a fragment after the first.
    Later,
    /// An ICMP error: the packet inside as well.
    Error,
    /// Not at all: other messages of ICMP, headers that are no protocol's.
    Rest,
}

const MORE_FRAGMENTS: u16 = 0x2000;
const FRAGMENT_OFFSET: u16 = 0x1fff;
/// `DF` of IPv4.
const DONT_FRAGMENT: u16 = 0x4000;

/// Flags of TCP, RFC 9293 section 3.1.
pub mod tcp {
    pub const FIN: u8 = 0x01;
    pub const SYN: u8 = 0x02;
    pub const RST: u8 = 0x04;
    pub const ACK: u8 = 0x10;
}

/// Types of ICMP (RFC 792) and ICMPv6 (RFC 4443).
pub mod icmp {
    pub const ECHO_REPLY: u8 = 0;
    pub const UNREACHABLE: u8 = 3;
    pub const ECHO: u8 = 8;
    pub const TIME_EXCEEDED: u8 = 11;
    pub const PARAMETER_PROBLEM: u8 = 12;
    pub const TIMESTAMP: u8 = 13;
    pub const TIMESTAMP_REPLY: u8 = 14;
    pub const INFORMATION: u8 = 15;
    pub const INFORMATION_REPLY: u8 = 16;
    /// RFC 950.
    pub const ADDRESS_MASK: u8 = 17;
    pub const ADDRESS_MASK_REPLY: u8 = 18;
    pub const V6_UNREACHABLE: u8 = 1;
    pub const V6_TOO_BIG: u8 = 2;
    pub const V6_TIME_EXCEEDED: u8 = 3;
    pub const V6_PARAMETER_PROBLEM: u8 = 4;
    pub const V6_ECHO: u8 = 128;
    pub const V6_ECHO_REPLY: u8 = 129;
}

/// The place of the protocol's header, once extension headers are passed.
struct Place {
    offset: u32,
    protocol: u8,
    /// Of a fragment: its number, and whether it is the first.
    identification: u32,
    is_fragment: bool,
    is_first: bool,
}

/// Whether a protocol's packets are told apart by their addresses alone: tunnels, IPsec and all that are not known here. Headers that are
/// no protocol's (extensions of IPv6, "nothing follows") are none.
#[inline(always)]
pub const fn is_portless(number: u8) -> bool {
    !matches!(number, protocol::TCP | protocol::UDP | protocol::SCTP | protocol::ICMP | protocol::ICMP6 | 0 | 43 | 44 | 59 | 60)
}

/// Whether the sender forbids that the packet is cut up.
#[inline(always)]
pub fn must_not_be_cut(ip: &Ip) -> bool {
    !ip.is_v4 || u16::from_be(ip.fragment[1]) & DONT_FRAGMENT != 0
}

impl Segment {
    /// Whether this is an ICMP echo request that the hook's owner could answer.
    #[inline(always)]
    pub fn is_ping(&self) -> bool {
        match self.key.protocol {
            protocol::ICMP => self.kind == Kind::Flow && self.flags == icmp::ECHO,
            protocol::ICMP6 => self.kind == Kind::Flow && self.flags == icmp::V6_ECHO,
            _ => false,
        }
    }

    /// Whether this is an ICMP query, whose answer has the same identifier: an echo request, or one of IPv4's others (RFC 5508 section 3).
    #[inline(always)]
    pub fn is_query(&self) -> bool {
        self.is_ping() || self.key.protocol == protocol::ICMP && self.kind == Kind::Flow && is_other_query(self.flags)
    }

    /// Whether this is a later fragment of an ICMP query.
    #[inline(always)]
    pub fn is_rest_of_query(&self) -> bool {
        self.kind == Kind::Later && matches!(self.key.protocol, protocol::ICMP | protocol::ICMP6)
    }

    /// Whether this may be the first packet of a flow. A reset opens nothing, nor does an answer to a query.
    #[inline(always)]
    pub fn may_open(&self) -> bool {
        match self.key.protocol {
            protocol::TCP => self.kind == Kind::Later || self.flags & tcp::RST == 0,
            protocol::ICMP | protocol::ICMP6 => self.is_query(),
            _ => true,
        }
    }

    /// Whether only its addresses tell its flow.
    #[inline(always)]
    pub fn is_portless(&self) -> bool {
        is_portless(self.key.protocol)
    }

    /// Whether a new connection begins here.
    #[inline(always)]
    pub fn is_opening(&self) -> bool {
        self.kind == Kind::Flow
            && match self.key.protocol {
                protocol::TCP => self.flags & (tcp::SYN | tcp::ACK | tcp::RST | tcp::FIN) == tcp::SYN,
                protocol::SCTP => self.flags == sctp::INIT,
                _ => false,
            }
    }

    /// What this packet says about the state of its direction; see [`flow_state`].
    #[inline(always)]
    pub fn says(&self) -> u32 {
        if self.kind != Kind::Flow {
            return flow_state::CONFIRMED;
        }
        match self.key.protocol {
            protocol::TCP if self.flags & tcp::RST != 0 => flow_state::RESET,
            protocol::TCP if self.flags & tcp::FIN != 0 => flow_state::FINISHED,
            protocol::TCP if self.flags & tcp::SYN != 0 => flow_state::OPENED,
            protocol::SCTP => match self.flags {
                sctp::INIT | sctp::INIT_ACK => flow_state::OPENED,
                sctp::ABORT => flow_state::RESET,
                sctp::SHUTDOWN | sctp::SHUTDOWN_ACK | sctp::SHUTDOWN_COMPLETE => flow_state::FINISHED,
                _ => flow_state::CONFIRMED,
            },
            _ => flow_state::CONFIRMED,
        }
    }
}

/// Types of SCTP's chunks, RFC 9260 section 3.2.
mod sctp {
    pub const INIT: u8 = 1;
    pub const INIT_ACK: u8 = 2;
    pub const ABORT: u8 = 6;
    pub const SHUTDOWN: u8 = 7;
    pub const SHUTDOWN_ACK: u8 = 8;
    pub const SHUTDOWN_COMPLETE: u8 = 14;
}

/// Reads what is after the IP header.
///
/// # Errors
/// A packet that ends too early, a fragment whose first one was not seen.
#[inline(always)]
pub fn segment(frame: &impl Frame, ip: &Ip) -> Result<&'static mut Segment, DropReason> {
    let Some(segment) = scratch::segment() else { return Err(DropReason::Truncated) };
    match frame.read_segment(ip, segment) {
        TRUNCATED => Err(DropReason::Truncated),
        FRAGMENT_UNKNOWN => Err(DropReason::FragmentUnknown),
        _ => Ok(segment),
    }
}

/// Outcomes of [`read_segment`]: the kernel verifies functions with numbers for results by themselves.
const DONE: u32 = 0;
const TRUNCATED: u32 = 1;
const FRAGMENT_UNKNOWN: u32 = 2;

/// Fills in a segment.
#[inline(always)]
pub fn read_segment(frame: &impl Frame, ip: &Ip, segment: &mut Segment) -> u32 {
    wipe(segment);
    segment.kind = Kind::Rest;
    (segment.key.source, segment.key.destination, segment.key.protocol) = (ip.source, ip.destination, ip.protocol);
    let place = if ip.is_v4 { Some(place_v4(ip)) } else { place_v6(frame, ip) };
    let Some(place) = place else { return TRUNCATED };
    segment.key.protocol = place.protocol;
    segment.offset = place.offset;
    segment.is_in_pieces = place.is_fragment;
    if is_portless(place.protocol) {
        segment.kind = if place.is_first { Kind::Flow } else { Kind::Later };
        return DONE;
    }
    if place.is_fragment && !place.is_first {
        let Some(ports) = read(FRAGMENTS.get_ptr(fragment_key(ip, &place))) else { return FRAGMENT_UNKNOWN };
        segment.key.source_port_be = ports.source_port_be;
        segment.key.destination_port_be = ports.destination_port_be;
        segment.kind = Kind::Later;
        return DONE;
    }
    // What is after the packet's own end is Ethernet's padding.
    if (ip.length + ETHERNET).saturating_sub(place.offset) < least(place.protocol) || !read_header(frame, segment) {
        return TRUNCATED;
    }
    if segment.kind == Kind::Error && segment.key.destination != ip.destination {
        // Whoever sent what it quotes is not whom it is for: it is about nobody's flow.
        wipe(&mut segment.key);
        (segment.key.source, segment.key.destination, segment.key.protocol) = (ip.source, ip.destination, place.protocol);
        segment.kind = Kind::Rest;
    }
    if place.is_fragment && segment.kind == Kind::Flow {
        let ports = FragmentPorts { source_port_be: segment.key.source_port_be, destination_port_be: segment.key.destination_port_be };
        let _ = FRAGMENTS.insert(fragment_key(ip, &place), ports, 0);
    }
    DONE
}

/// Takes note of the ports of a packet of IPv4 that is a fragment, under the addresses that it is to have.
#[inline(always)]
pub fn remember_ports(ip: &Ip, key: &FlowKey) {
    let place = place_v4(ip);
    if place.is_fragment {
        let Some(renamed) = scratch::fragment() else { return };
        wipe(renamed);
        words::copy(&key.source, &mut renamed.source);
        words::copy(&key.destination, &mut renamed.destination);
        (renamed.identification_be, renamed.protocol) = (place.identification, key.protocol);
        let ports = FragmentPorts { source_port_be: key.source_port_be, destination_port_be: key.destination_port_be };
        let _ = FRAGMENTS.insert(&*renamed, ports, 0);
    }
}

/// Whether it is a type of IPv4's queries that are no echo request: for a timestamp, the network's number or its mask. Hosts answer the first
/// one at most; of none may the answer go to a pod's address out there.
#[inline(always)]
const fn is_other_query(kind: u8) -> bool {
    matches!(kind, icmp::TIMESTAMP | icmp::INFORMATION | icmp::ADDRESS_MASK)
}

/// The same of their answers.
#[inline(always)]
const fn is_answer_to_other_query(kind: u8) -> bool {
    matches!(kind, icmp::TIMESTAMP_REPLY | icmp::INFORMATION_REPLY | icmp::ADDRESS_MASK_REPLY)
}

/// Bytes that a packet of the protocol has at least, its first fragment too.
#[inline(always)]
const fn least(protocol: u8) -> u32 {
    match protocol {
        protocol::TCP => 20,
        protocol::SCTP => 16,
        protocol::UDP | protocol::ICMP | protocol::ICMP6 => 8,
        _ => 0,
    }
}

#[inline(always)]
fn fragment_key(ip: &Ip, place: &Place) -> FragmentKey {
    FragmentKey {
        source: ip.source,
        destination: ip.destination,
        identification_be: place.identification,
        protocol: place.protocol,
        reserved: [0; 3],
    }
}

#[inline(always)]
fn place_v4(ip: &Ip) -> Place {
    let [identification, word] = ip.fragment;
    let word = u16::from_be(word);
    Place {
        offset: ip.next,
        protocol: ip.protocol,
        identification: u32::from(identification),
        is_fragment: word & (MORE_FRAGMENTS | FRAGMENT_OFFSET) != 0,
        is_first: word & FRAGMENT_OFFSET == 0,
    }
}

/// Extension headers that may stand before a protocol with ports, RFC 8200 section 4; more than four do not occur in good faith, and
/// then the packet is one without ports.
#[inline(always)]
fn place_v6(frame: &impl Frame, ip: &Ip) -> Option<Place> {
    const HOP_BY_HOP: u8 = 0;
    const ROUTING: u8 = 43;
    const FRAGMENT: u8 = 44;
    const DESTINATION: u8 = 60;
    let mut place = Place { offset: ip.next, protocol: ip.protocol, identification: 0, is_fragment: false, is_first: true };
    for _ in 0..4 {
        match place.protocol {
            HOP_BY_HOP | ROUTING | DESTINATION => {
                let [next, words] = frame.read::<[u8; 2]>(place.offset)?;
                place.protocol = next;
                place.offset += (u32::from(words) + 1) * 8;
            }
            FRAGMENT => {
                let [first, identification] = frame.read::<[u32; 2]>(place.offset)?;
                let [next, _, high, low] = first.to_ne_bytes();
                let word = u16::from_be_bytes([high, low]);
                place.protocol = next;
                place.offset += 8;
                place.identification = identification;
                place.is_fragment = word & !0b110 != 0;
                place.is_first = word >> 3 == 0;
                if !place.is_first {
                    break;
                }
            }
            _ => break,
        }
    }
    Some(place)
}

/// Ports, identifiers and flags from the protocol's own header; false if the frame ends before.
#[inline(always)]
fn read_header<F: Frame>(frame: &F, segment: &mut Segment) -> bool {
    match segment.key.protocol {
        protocol::TCP | protocol::UDP | protocol::SCTP => {
            let Some([source, destination]) = frame.read::<[u16; 2]>(segment.offset) else { return false };
            segment.key.source_port_be = source;
            segment.key.destination_port_be = destination;
            segment.kind = Kind::Flow;
            if segment.key.protocol != protocol::UDP {
                // TCP's flags are in byte 13, the type of SCTP's first chunk in byte 12.
                let at = if segment.key.protocol == protocol::TCP { 13 } else { 12 };
                let Some(flags) = frame.read::<u8>(segment.offset + at) else { return false };
                segment.flags = flags;
            }
            true
        }
        protocol::ICMP | protocol::ICMP6 => read_icmp(frame, segment),
        _ => true,
    }
}

#[inline(always)]
fn read_icmp<F: Frame>(frame: &F, segment: &mut Segment) -> bool {
    // Type, code, checksum, identifier.
    let Some([head, identifier]) = frame.read::<[u16; 4]>(segment.offset).map(|[head, _, identifier, _]| [head, identifier]) else {
        return false;
    };
    let [kind, _] = head.to_ne_bytes();
    segment.flags = kind;
    let is_v6 = segment.key.protocol == protocol::ICMP6;
    let (echo, reply) = if is_v6 { (icmp::V6_ECHO, icmp::V6_ECHO_REPLY) } else { (icmp::ECHO, icmp::ECHO_REPLY) };
    if kind == echo || !is_v6 && is_other_query(kind) {
        segment.key.source_port_be = identifier;
        segment.kind = Kind::Flow;
    } else if kind == reply || !is_v6 && is_answer_to_other_query(kind) {
        segment.key.destination_port_be = identifier;
        segment.kind = Kind::Flow;
    } else if F::READS_ERRORS && is_v6 && matches!(kind, icmp::V6_UNREACHABLE..=icmp::V6_PARAMETER_PROBLEM)
        || F::READS_ERRORS && !is_v6 && matches!(kind, icmp::UNREACHABLE | icmp::TIME_EXCEEDED | icmp::PARAMETER_PROBLEM)
    {
        segment.offset += 8;
        return read_inner(frame, segment, is_v6);
    }
    true
}

/// The flow of the packet that an error is about, as its answers have it: source and destination the other way round. One that has none
/// is left as it is. False if the frame ends before.
#[inline(always)]
fn read_inner(frame: &impl Frame, segment: &mut Segment, is_v6: bool) -> bool {
    let offset = segment.offset;
    let mut next = 40;
    let mut at = 6;
    if !is_v6 {
        let Some(first) = frame.read::<u8>(offset) else { return false };
        let Some(fragment) = frame.read::<u16>(offset + 6) else { return false };
        if u16::from_be(fragment) & FRAGMENT_OFFSET != 0 {
            return true;
        }
        next = u32::from(first & 0xf) * 4;
        at = 9;
    }
    let Some(inner_protocol) = frame.read::<u8>(offset + at) else { return false };
    let Some([one, other, third, _]) = frame.read::<[u16; 4]>(offset + next) else { return false };
    let (source_port_be, destination_port_be) = match inner_protocol {
        protocol::TCP | protocol::UDP | protocol::SCTP => (one, other),
        // Of an echo request, which alone gets errors: the identifier.
        protocol::ICMP | protocol::ICMP6 => (third, 0),
        other if is_portless(other) => (0, 0),
        _ => return true,
    };
    if is_v6 {
        let Some(source) = frame.read(offset + 8) else { return false };
        let Some(destination) = frame.read(offset + 24) else { return false };
        segment.key.destination = source;
        segment.key.source = destination;
    } else {
        let Some(source) = frame.read::<u32>(offset + 12) else { return false };
        let Some(destination) = frame.read::<u32>(offset + 16) else { return false };
        segment.key.destination = Address::from_v4(source.to_ne_bytes());
        segment.key.source = Address::from_v4(destination.to_ne_bytes());
    }
    segment.key.source_port_be = destination_port_be;
    segment.key.destination_port_be = source_port_be;
    segment.key.protocol = inner_protocol;
    segment.kind = Kind::Error;
    true
}

/// Where the ports of the packet inside an error are.
#[inline(always)]
pub fn inner_ports(frame: &impl Frame, ip: &Ip, segment: &Segment) -> Option<u32> {
    if !ip.is_v4 {
        return Some(segment.offset + size_of::<V6Header>() as u32);
    }
    let first = frame.read::<u8>(segment.offset)?;
    Some(segment.offset + u32::from(first & 0xf) * 4)
}

/// Where the ICMP header of an error is.
#[inline(always)]
pub fn error_header(segment: &Segment) -> u32 {
    segment.offset - 8
}

//! Frames for packet tests, built byte by byte, and an independent reading of them.

#![allow(dead_code, unused_imports, reason = "each test file uses another part")]

mod reading;
mod segments;
mod sums;

pub use reading::{Packet, assert_sound, unsound};
pub use segments::{
    chunk, error, flags, fragments_v4, fragments_v6, ping, ping_of, pong, sctp, tcp, tcp_numbered, udp, udp_without_checksum,
};
pub use sums::{crc32c, internet_sum, pseudo_header};

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where the IP header begins.
pub const IP: usize = 14;

/// A frame in the making: Ethernet, IP, payload.
#[derive(Clone)]
pub struct Frame {
    pub destination_mac: [u8; 6],
    pub source_mac: [u8; 6],
    pub source: IpAddr,
    pub destination: IpAddr,
    pub hop_limit: u8,
    /// IP protocol number of the payload.
    pub protocol: u8,
    /// IPv4 options or IPv6 extension headers, whole words; the caller chains next-header numbers.
    pub extra: Vec<u8>,
    pub payload: Vec<u8>,
}

impl Frame {
    /// A frame to the loopback device's MAC address, which is how a test run takes frames for its host.
    pub fn new(source: &str, destination: &str, protocol: u8, payload: &[u8]) -> Self {
        Self {
            destination_mac: [0; 6],
            source_mac: [2, 0, 0, 0, 0, 0xaa],
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
            hop_limit: 64,
            protocol,
            extra: Vec::new(),
            payload: payload.to_vec(),
        }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = [&self.destination_mac[..], &self.source_mac[..]].concat();
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => self.add_v4(&mut bytes, source, destination),
            (IpAddr::V6(source), IpAddr::V6(destination)) => self.add_v6(&mut bytes, source, destination),
            _ => panic!("one family"),
        }
        bytes.extend(&self.extra);
        bytes.extend(&self.payload);
        if self.source.is_ipv4() {
            set_v4_checksum(&mut bytes);
        }
        bytes
    }

    fn add_v4(&self, bytes: &mut Vec<u8>, source: Ipv4Addr, destination: Ipv4Addr) {
        let header = 20 + self.extra.len();
        let total = (header + self.payload.len()) as u16;
        bytes.extend([0x08, 0x00, 0x40 | (header / 4) as u8, 0]);
        bytes.extend(total.to_be_bytes());
        bytes.extend([0x12, 0x34, 0x40, 0x00, self.hop_limit, self.protocol, 0, 0]);
        bytes.extend(source.octets());
        bytes.extend(destination.octets());
    }

    fn add_v6(&self, bytes: &mut Vec<u8>, source: Ipv6Addr, destination: Ipv6Addr) {
        bytes.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
        bytes.extend(((self.extra.len() + self.payload.len()) as u16).to_be_bytes());
        bytes.extend([self.protocol, self.hop_limit]);
        bytes.extend(source.octets());
        bytes.extend(destination.octets());
    }
}

/// The sum over an IPv4 header; a sound one gives 0xffff (RFC 1071).
pub fn v4_sum(bytes: &[u8]) -> u16 {
    let header = usize::from(bytes[IP] & 0xf) * 4;
    let words = bytes[IP..IP + header].chunks_exact(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// Makes the checksum of the IPv4 header right.
pub fn set_v4_checksum(bytes: &mut [u8]) {
    bytes[IP + 10..IP + 12].fill(0);
    let checksum = !v4_sum(bytes);
    bytes[IP + 10..IP + 12].copy_from_slice(&checksum.to_be_bytes());
}

/// What a router would read: ethertype aside, the addresses and the hop limit of a sound IP header.
#[derive(Debug)]
pub enum Read {
    Ip { source: IpAddr, destination: IpAddr, hop_limit: u8 },
    NotIp,
    Truncated,
    Malformed,
}

pub fn read(bytes: &[u8]) -> Read {
    let rest = &bytes[IP..];
    match bytes[12..14] {
        [0x08, 0x00] => read_v4(rest),
        [0x86, 0xdd] => read_v6(rest),
        _ => Read::NotIp,
    }
}

fn read_v4(packet: &[u8]) -> Read {
    let Some(header) = packet.first_chunk::<20>() else { return Read::Truncated };
    let (length, total) = (usize::from(header[0] & 0xf) * 4, usize::from(u16::from_be_bytes([header[2], header[3]])));
    if header[0] >> 4 != 4 || length < 20 {
        Read::Malformed
    } else if total > packet.len() || length > packet.len() {
        Read::Truncated
    } else if total < length {
        Read::Malformed
    } else {
        let address = |at: usize| IpAddr::from([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        Read::Ip { source: address(12), destination: address(16), hop_limit: header[8] }
    }
}

fn read_v6(packet: &[u8]) -> Read {
    let Some(header) = packet.first_chunk::<40>() else { return Read::Truncated };
    let mapped = |at: usize| header[at..at + 12] == [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];
    if header[0] >> 4 != 6 || mapped(8) || mapped(24) {
        Read::Malformed
    } else if usize::from(u16::from_be_bytes([header[4], header[5]])) > packet.len() - 40 {
        Read::Truncated
    } else {
        let address = |at: usize| IpAddr::from(<[u8; 16]>::try_from(&header[at..at + 16]).unwrap());
        Read::Ip { source: address(8), destination: address(24), hop_limit: header[7] }
    }
}

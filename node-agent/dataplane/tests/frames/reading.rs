//! What a receiver would read: ports behind all headers, and whether every checksum holds.

use super::{
    IP,
    sums::{crc32c, internet_sum, pseudo_header},
};
use std::net::{IpAddr, SocketAddr};

/// A frame as its receiver reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    pub source: IpAddr,
    pub destination: IpAddr,
    pub protocol: u8,
    pub hop_limit: u8,
    /// Where the protocol's header is in the frame.
    pub offset: usize,
    /// The protocol's header and what follows, to the end that the IP header says.
    pub payload: Vec<u8>,
    /// Neither is a fragment's checksum its own, nor need a later one have ports.
    pub is_fragment: bool,
    pub is_later: bool,
}

impl Packet {
    /// None where the headers don't hold what they promise.
    pub fn read(frame: &[u8]) -> Option<Self> {
        match frame.get(12..14)? {
            [0x08, 0x00] => Self::read_v4(frame),
            [0x86, 0xdd] => Self::read_v6(frame),
            _ => None,
        }
    }

    /// The packet from an IP header on.
    pub fn read_ip(packet: &[u8]) -> Option<Self> {
        let kind = if packet.first()? >> 4 == 4 { [0x08, 0x00] } else { [0x86, 0xdd] };
        Self::read(&[&[0; 12][..], &kind, packet].concat())
    }

    fn read_v4(frame: &[u8]) -> Option<Self> {
        let header = frame.get(IP..IP + 20)?;
        let length = usize::from(header[0] & 0xf) * 4;
        let total = usize::from(u16::from_be_bytes([header[2], header[3]]));
        let word = u16::from_be_bytes([header[6], header[7]]);
        let address = |at: usize| IpAddr::from([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        if header[0] >> 4 != 4 || length < 20 {
            return None;
        }
        Some(Self {
            source: address(12),
            destination: address(16),
            protocol: header[9],
            hop_limit: header[8],
            offset: IP + length,
            payload: frame.get(IP + length..IP + total)?.to_vec(),
            is_fragment: word & 0x3fff != 0,
            is_later: word & 0x1fff != 0,
        })
    }

    fn read_v6(frame: &[u8]) -> Option<Self> {
        let header = frame.get(IP..IP + 40)?;
        let end = IP + 40 + usize::from(u16::from_be_bytes([header[4], header[5]]));
        let address = |at: usize| IpAddr::from(<[u8; 16]>::try_from(&header[at..at + 16]).unwrap());
        if header[0] >> 4 != 6 {
            return None;
        }
        let (mut protocol, mut offset, mut is_fragment, mut is_later) = (header[6], IP + 40, false, false);
        while !is_later && matches!(protocol, 0 | 43 | 44 | 60) {
            let extension = frame.get(offset..offset + 8)?;
            if protocol == 44 {
                let word = u16::from_be_bytes([extension[2], extension[3]]);
                is_fragment = word & 0xfff9 != 0;
                is_later = word & 0xfff8 != 0;
                offset += 8;
            } else {
                offset += (usize::from(extension[1]) + 1) * 8;
            }
            protocol = extension[0];
        }
        Some(Self {
            source: address(8),
            destination: address(24),
            protocol,
            hop_limit: header[7],
            offset,
            payload: frame.get(offset..end)?.to_vec(),
            is_fragment,
            is_later,
        })
    }

    /// Both ends with their ports, of protocols that have such.
    pub fn ends(&self) -> (SocketAddr, SocketAddr) {
        let port = |at: usize| u16::from_be_bytes([self.payload[at], self.payload[at + 1]]);
        (SocketAddr::new(self.source, port(0)), SocketAddr::new(self.destination, port(2)))
    }

    /// The identifier of an ICMP query.
    pub fn identifier(&self) -> u16 {
        u16::from_be_bytes([self.payload[4], self.payload[5]])
    }

    /// What an ICMP error quotes, from the IP header on.
    pub fn quoted(&self) -> &[u8] {
        &self.payload[8..]
    }
}

/// What a receiver would find wrong with a frame's checksums.
pub fn unsound(frame: &[u8]) -> Option<String> {
    let Some(packet) = Packet::read(frame) else { return Some("the headers are not whole".to_owned()) };
    if packet.source.is_ipv4() && internet_sum(&[&frame[IP..packet.offset]]) != 0xffff {
        return Some("the IPv4 header's checksum is wrong".to_owned());
    }
    if packet.is_fragment {
        return None;
    }
    let Packet { payload, protocol, .. } = &packet;
    let pseudo = pseudo_header(packet.source, packet.destination, *protocol, payload.len());
    let least = match protocol {
        6 => 20,
        17 | 58 | 1 => 8,
        132 => 12,
        _ => 0,
    };
    if payload.len() < least {
        return Some(format!("{} bytes of protocol {protocol}", payload.len()));
    }
    let holds = match protocol {
        17 if payload[6..8] == [0, 0] => packet.source.is_ipv4(),
        // The length of UDP stands in its header.
        17 if usize::from(u16::from_be_bytes([payload[4], payload[5]])) != payload.len() => false,
        6 | 17 | 58 => internet_sum(&[&pseudo, payload]) == 0xffff,
        1 => internet_sum(&[payload]) == 0xffff,
        132 => {
            let mut zeroed = payload.clone();
            zeroed[8..12].fill(0);
            crc32c(&zeroed).to_le_bytes() == payload[8..12]
        }
        _ => true,
    };
    (!holds).then(|| format!("the checksum of protocol {protocol} is wrong"))
}

/// Every checksum of the frame holds.
#[track_caller]
pub fn assert_sound(frame: &[u8]) {
    if let Some(flaw) = unsound(frame) {
        panic!("{flaw}: {frame:02x?}");
    }
}

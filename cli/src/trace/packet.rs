//! The packets that are traced: the one that opens a connection, and its answer.

use orknet_abi::protocol;
use orknet_dataplane::{Packet, Transport};
use std::net::{IpAddr, SocketAddr};

/// Hops that a packet may take.
const HOP_LIMIT: u8 = 64;
const ETHERTYPE_V4: [u8; 2] = [0x08, 0x00];
const ETHERTYPE_V6: [u8; 2] = [0x86, 0xdd];
/// Of whoever sent a frame, where that makes no difference.
pub const ANY_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x99];
/// Identifier of a ping, where others have a port.
const PING: u16 = 0x7472;
/// RFC 9293 section 3.1: SYN, ACK.
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;
/// RFC 9260 section 3.2: INIT, INIT ACK.
const INIT: u8 = 1;
const INIT_ACK: u8 = 2;

/// From where to where, by which protocol. Of ICMP the ports are 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    pub source: SocketAddr,
    pub destination: SocketAddr,
    /// See [`protocol`].
    pub protocol: u8,
}

impl Ends {
    /// Those of a frame.
    pub fn of(frame: &[u8]) -> Option<Self> {
        let packet = Packet::read(frame)?;
        let (source, destination) = packet.ports().unwrap_or_default();
        Some(Self {
            source: SocketAddr::new(packet.source, source),
            destination: SocketAddr::new(packet.destination, destination),
            protocol: packet.protocol,
        })
    }

    /// Those of what answers it.
    pub fn reversed(self) -> Self {
        Self { source: self.destination, destination: self.source, ..self }
    }

    /// The frame that opens a connection between them.
    pub fn opening(&self) -> Vec<u8> {
        self.frame(false)
    }

    /// The frame that answers such a one; the ends are the answer's.
    pub fn answer(&self) -> Vec<u8> {
        self.frame(true)
    }

    fn frame(&self, is_answer: bool) -> Vec<u8> {
        let segment = self.segment(is_answer);
        let mut frame = [ANY_MAC, ANY_MAC].concat();
        match (self.source.ip(), self.destination.ip()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                frame.extend(ETHERTYPE_V4);
                let length = (20 + segment.len()) as u16;
                let mut header = [&[0x45, 0][..], &length.to_be_bytes(), &[0, 0, 0x40, 0, HOP_LIMIT, self.protocol, 0, 0]].concat();
                header.extend(source.octets());
                header.extend(destination.octets());
                let sum = (!fold(sum(&header))).to_be_bytes();
                header[10..12].copy_from_slice(&sum);
                frame.extend(header);
            }
            (source, destination) => {
                frame.extend(ETHERTYPE_V6);
                frame.extend([0x60, 0, 0, 0]);
                frame.extend((segment.len() as u16).to_be_bytes());
                frame.extend([self.protocol, HOP_LIMIT]);
                frame.extend(v6_octets(source));
                frame.extend(v6_octets(destination));
            }
        }
        frame.extend(segment);
        frame
    }

    /// The transport's header, with its checksum.
    fn segment(&self, is_answer: bool) -> Vec<u8> {
        let mut ports = [self.source.port().to_be_bytes(), self.destination.port().to_be_bytes()].concat();
        match self.protocol {
            protocol::TCP => {
                let flags = if is_answer { SYN | ACK } else { SYN };
                ports.extend([0, 0, 0, 1, 0, 0, 0, u8::from(is_answer), 0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
                self.summed(ports, 16)
            }
            protocol::UDP => {
                ports.extend([0, 8, 0, 0]);
                self.summed(ports, 6)
            }
            protocol::SCTP => {
                let chunk = if is_answer { INIT_ACK } else { INIT };
                // Verification tag and checksum; a chunk of 20 bytes: tag, window, streams, sequence number.
                ports.extend([0, 0, 0, u8::from(is_answer), 0, 0, 0, 0, chunk, 0, 0, 20]);
                ports.extend([0, 0, 0, 1, 0, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1]);
                let sum = crc32c(&ports).to_le_bytes();
                ports[8..12].copy_from_slice(&sum);
                ports
            }
            _ => {
                let kind = match (self.source.is_ipv4(), is_answer) {
                    (true, false) => 8,
                    (true, true) => 0,
                    (false, false) => 128,
                    (false, true) => 129,
                };
                let [high, low] = PING.to_be_bytes();
                self.summed(vec![kind, 0, 0, 0, high, low, 0, 1], 2)
            }
        }
    }

    /// Puts the Internet checksum in its place; that of ICMPv4 has no pseudo-header.
    fn summed(&self, mut segment: Vec<u8>, at: usize) -> Vec<u8> {
        let mut pseudo = Vec::new();
        if self.protocol != protocol::ICMP {
            match (self.source.ip(), self.destination.ip()) {
                (IpAddr::V4(source), IpAddr::V4(destination)) => pseudo.extend([source.octets(), destination.octets()].concat()),
                (source, destination) => pseudo.extend([v6_octets(source), v6_octets(destination)].concat()),
            }
            pseudo.extend((segment.len() as u32).to_be_bytes());
            pseudo.extend([0, 0, 0, self.protocol]);
        }
        let folded = !fold(sum(&pseudo) + sum(&segment));
        let whole = if folded == 0 { u16::MAX } else { folded };
        segment[at..at + 2].copy_from_slice(&whole.to_be_bytes());
        segment
    }
}

/// Gives a frame the MAC address of whom it goes to.
pub fn send_to(frame: &mut [u8], mac: [u8; 6]) {
    if let Some(place) = frame.first_chunk_mut::<6>() {
        *place = mac;
    }
}

/// Whether a frame refuses what was asked: a TCP reset, or an ICMP error.
pub fn is_refusal(frame: &[u8]) -> bool {
    const RESET: u8 = 0x04;
    let Some(packet) = Packet::read(frame) else { return false };
    match packet.transport {
        Transport::Tcp { flags, .. } => flags.is_some_and(|flags| flags & RESET != 0),
        Transport::Icmp { kind, .. } if packet.protocol == protocol::ICMP => matches!(kind, 3 | 11 | 12),
        Transport::Icmp { kind, .. } => kind < 128,
        _ => false,
    }
}

fn v6_octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// RFC 1071.
fn sum(bytes: &[u8]) -> u32 {
    bytes.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]))).sum()
}

fn fold(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// RFC 9260 appendix A.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
    !bytes.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(source: &str, destination: &str, protocol: u8) -> Ends {
        Ends { source: source.parse().unwrap(), destination: destination.parse().unwrap(), protocol }
    }

    #[test]
    fn what_is_built_is_read_as_it_was_meant() {
        for (source, destination) in [("10.244.1.2:40000", "10.96.0.1:443"), ("[fd00::2]:40000", "[fd00::1]:443")] {
            for protocol in [protocol::TCP, protocol::UDP, protocol::SCTP] {
                let ends = ends(source, destination, protocol);
                assert_eq!((Ends::of(&ends.opening()), Ends::of(&ends.answer())), (Some(ends), Some(ends)));
                assert!(!is_refusal(&ends.opening()));
            }
        }
        let ping = ends("10.244.1.2:0", "10.96.0.1:0", protocol::ICMP);
        assert_eq!(Ends::of(&ping.opening()), Some(ping));
        assert_eq!((ping.opening()[34], ping.answer()[34]), (8, 0));
        let ping = ends("[fd00::2]:0", "[fd00::1]:0", protocol::ICMP6);
        assert_eq!((ping.opening()[54], ping.answer()[54]), (128, 129));
    }

    #[test]
    fn checksums_are_right() {
        let v4 = ends("192.0.2.1:1", "192.0.2.2:2", protocol::UDP).opening();
        assert_eq!(fold(sum(&v4[14..34])), 0xffff);
        let pseudo = [&v4[26..34], &[0, 17, 0, 8]].concat();
        assert_eq!(fold(sum(&pseudo) + sum(&v4[34..])), 0xffff);
        let v6 = ends("[fd00::1]:1", "[fd00::2]:2", protocol::TCP).opening();
        let pseudo = [&v6[22..54], &[0, 0, 0, 20, 0, 0, 0, 6]].concat();
        assert_eq!(fold(sum(&pseudo) + sum(&v6[54..])), 0xffff);
        // RFC 3720 appendix B.4: 32 bytes of zeros.
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
    }

    #[test]
    fn refusals_are_told_from_what_goes_on() {
        let mut reset = ends("10.0.0.1:1", "10.0.0.2:2", protocol::TCP).opening();
        reset[47] = 0x14;
        assert!(is_refusal(&reset));
        let mut error = ends("10.0.0.1:0", "10.0.0.2:0", protocol::ICMP).opening();
        error[34] = 3;
        assert!(is_refusal(&error));
    }
}

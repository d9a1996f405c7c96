//! Packets of the protocols that Services know, whole and with right checksums, and what they become in fragments and errors.

use super::{
    Frame,
    sums::{crc32c, internet_sum, pseudo_header},
};
use std::net::{IpAddr, SocketAddr};

/// TCP's flags.
pub mod flags {
    pub const FIN: u8 = 0x01;
    pub const SYN: u8 = 0x02;
    pub const RST: u8 = 0x04;
    pub const ACK: u8 = 0x10;
    pub const SYN_ACK: u8 = SYN | ACK;
}

/// Types of SCTP's chunks.
pub mod chunk {
    pub const DATA: u8 = 0;
    pub const INIT: u8 = 1;
    pub const INIT_ACK: u8 = 2;
    pub const ABORT: u8 = 6;
    pub const SHUTDOWN: u8 = 7;
}

fn frame(source: IpAddr, destination: IpAddr, protocol: u8, payload: Vec<u8>) -> Frame {
    Frame { payload, ..Frame::new(&source.to_string(), &destination.to_string(), protocol, &[]) }
}

/// A TCP segment.
pub fn tcp(from: SocketAddr, to: SocketAddr, flags: u8, data: &[u8]) -> Frame {
    tcp_numbered(from, to, flags, [0x1000_0000, if flags & flags::ACK == 0 { 0 } else { 0x2000_0000 }], data)
}

/// The same with its sequence and acknowledgement numbers.
pub fn tcp_numbered(from: SocketAddr, to: SocketAddr, flags: u8, numbers: [u32; 2], data: &[u8]) -> Frame {
    let mut payload = ports(from, to);
    payload.extend(numbers.into_iter().flat_map(u32::to_be_bytes));
    payload.extend([0x50, flags, if flags & flags::RST == 0 { 0xfa } else { 0 }, 0, 0, 0, 0, 0]);
    payload.extend(data);
    let mut frame = frame(from.ip(), to.ip(), 6, payload);
    mend(&mut frame, 16);
    frame
}

/// A UDP datagram.
pub fn udp(from: SocketAddr, to: SocketAddr, data: &[u8]) -> Frame {
    let mut frame = udp_without_checksum(from, to, data);
    mend(&mut frame, 6);
    if frame.payload[6..8] == [0, 0] {
        frame.payload[6..8].fill(0xff);
    }
    frame
}

/// A UDP datagram whose sender made no checksum (RFC 768).
pub fn udp_without_checksum(from: SocketAddr, to: SocketAddr, data: &[u8]) -> Frame {
    let mut payload = ports(from, to);
    payload.extend((8 + data.len() as u16).to_be_bytes());
    payload.extend([0, 0]);
    payload.extend(data);
    frame(from.ip(), to.ip(), 17, payload)
}

/// An SCTP packet with one chunk.
pub fn sctp(from: SocketAddr, to: SocketAddr, chunk: u8, data: &[u8]) -> Frame {
    let mut payload = ports(from, to);
    payload.extend([0xab, 0xcd, 0xef, 0x01, 0, 0, 0, 0, chunk, 0]);
    payload.extend((4 + data.len() as u16).to_be_bytes());
    payload.extend(data);
    payload.resize(payload.len().next_multiple_of(4), 0);
    let checksum = crc32c(&payload).to_le_bytes();
    payload[8..12].copy_from_slice(&checksum);
    frame(from.ip(), to.ip(), 132, payload)
}

/// An ICMP echo request.
pub fn ping(from: IpAddr, to: IpAddr, identifier: u16) -> Frame {
    ping_of(from, to, identifier, 16)
}

/// The same with so many bytes of data.
pub fn ping_of(from: IpAddr, to: IpAddr, identifier: u16, bytes: usize) -> Frame {
    echo(from, to, identifier, if from.is_ipv4() { 8 } else { 128 }, bytes)
}

/// The answer to one.
pub fn pong(from: IpAddr, to: IpAddr, identifier: u16) -> Frame {
    echo(from, to, identifier, if from.is_ipv4() { 0 } else { 129 }, 16)
}

fn echo(from: IpAddr, to: IpAddr, identifier: u16, kind: u8, bytes: usize) -> Frame {
    let mut payload = vec![kind, 0, 0, 0];
    payload.extend(identifier.to_be_bytes());
    payload.extend([0, 7]);
    payload.extend((b'a'..=b'p').cycle().take(bytes));
    icmp(from, to, payload)
}

/// An ICMP error about `quoted`, which begins with an IP header.
pub fn error(from: IpAddr, to: IpAddr, kind_and_code: [u8; 2], word: u32, quoted: &[u8]) -> Frame {
    let mut payload = kind_and_code.to_vec();
    payload.extend([0, 0]);
    payload.extend(word.to_be_bytes());
    payload.extend(quoted);
    icmp(from, to, payload)
}

fn icmp(from: IpAddr, to: IpAddr, payload: Vec<u8>) -> Frame {
    let mut frame = frame(from, to, if from.is_ipv4() { 1 } else { 58 }, payload);
    mend(&mut frame, 2);
    frame
}

fn ports(from: SocketAddr, to: SocketAddr) -> Vec<u8> {
    [from.port().to_be_bytes(), to.port().to_be_bytes()].concat()
}

/// Sets the checksum at the offset in the payload.
fn mend(frame: &mut Frame, at: usize) {
    frame.payload[at..at + 2].fill(0);
    let pseudo = match frame.protocol {
        1 => Vec::new(),
        protocol => pseudo_header(frame.source, frame.destination, protocol, frame.payload.len()),
    };
    let checksum = !internet_sum(&[&pseudo, &frame.payload]);
    frame.payload[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
}

/// A packet in two fragments of IPv4, cut after `first` bytes of its payload, a multiple of eight.
pub fn fragments_v4(whole: &Frame, first: usize) -> [Vec<u8>; 2] {
    let part = |payload: &[u8], word: u16| {
        let mut bytes = Frame { payload: payload.to_vec(), ..whole.clone() }.bytes();
        let at = super::IP + 6;
        bytes[at..at + 2].copy_from_slice(&word.to_be_bytes());
        super::set_v4_checksum(&mut bytes);
        bytes
    };
    [part(&whole.payload[..first], 0x2000), part(&whole.payload[first..], (first / 8) as u16)]
}

/// The same of IPv6.
pub fn fragments_v6(whole: &Frame, first: usize) -> [Vec<u8>; 2] {
    let part = |payload: &[u8], word: u16| {
        let mut extra = vec![whole.protocol, 0];
        extra.extend(word.to_be_bytes());
        extra.extend([0xde, 0xad, 0xbe, 0xef]);
        Frame { protocol: 44, extra, payload: payload.to_vec(), ..whole.clone() }.bytes()
    };
    [part(&whole.payload[..first], 1), part(&whole.payload[first..], first as u16)]
}

//! What the beginning of a frame says of its packet: from where, to where, of which protocol. Pure, and for any bytes: what was dropped may
//! have been dropped for being broken, and an event shows only the first bytes.

use orknet_abi::protocol;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An IP packet as it stands in its frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    pub source: IpAddr,
    pub destination: IpAddr,
    /// IANA protocol number; of IPv6, of what follows the extension headers. The number of an extension header if what follows it is not
    /// shown.
    pub protocol: u8,
    /// What its transport says, if that is shown. Fragments but the first do not carry it.
    pub transport: Transport,
}

/// What is known of a packet's transport.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// TCP: ports in native order, and the byte of flags (RFC 9293 section 3.1) if it is shown.
    Tcp { source: u16, destination: u16, flags: Option<u8> },
    /// UDP and SCTP: ports in native order.
    Ports { source: u16, destination: u16 },
    /// ICMP of either family.
    Icmp { kind: u8, code: u8 },
    /// A protocol without ports, or a packet that does not show them.
    #[default]
    Unknown,
}

impl Packet {
    /// Reads a frame from its Ethernet header on. `None` if it is neither IPv4 nor IPv6, or its addresses are not shown.
    pub fn read(frame: &[u8]) -> Option<Self> {
        const TYPE: usize = 12;
        const HEADER: usize = 14;
        let packet = frame.get(HEADER..)?;
        match u16::from_be_bytes(array(frame, TYPE)?) {
            0x0800 => v4(packet),
            0x86dd => v6(packet),
            _ => None,
        }
    }

    /// The ports of source and destination, native order.
    pub fn ports(&self) -> Option<(u16, u16)> {
        match self.transport {
            Transport::Tcp { source, destination, .. } | Transport::Ports { source, destination } => Some((source, destination)),
            Transport::Icmp { .. } | Transport::Unknown => None,
        }
    }
}

/// RFC 791 section 3.1.
fn v4(packet: &[u8]) -> Option<Packet> {
    let first = packet.first()?;
    let header = usize::from(first & 0xf) * 4;
    let source = Ipv4Addr::from(array::<4>(packet, 12)?);
    let destination = Ipv4Addr::from(array::<4>(packet, 16)?);
    let (protocol, fragment) = (*packet.get(9)?, u16::from_be_bytes(array(packet, 6)?) & 0x1fff);
    let is_sound = first >> 4 == 4 && header >= 20;
    let transport = if is_sound && fragment == 0 { read_transport(protocol, packet.get(header..)) } else { Transport::Unknown };
    Some(Packet { source: source.into(), destination: destination.into(), protocol, transport })
}

/// RFC 8200 sections 3 and 4.
fn v6(packet: &[u8]) -> Option<Packet> {
    let source = Ipv6Addr::from(array::<16>(packet, 8)?);
    let destination = Ipv6Addr::from(array::<16>(packet, 24)?);
    let (protocol, rest) = skip_extensions(*packet.get(6)?, packet.get(40..));
    let transport = if packet.first()? >> 4 == 6 { read_transport(protocol, rest) } else { Transport::Unknown };
    Some(Packet { source: source.into(), destination: destination.into(), protocol, transport })
}

/// The protocol after the extension headers, and its bytes if they are shown and there.
fn skip_extensions(first: u8, bytes: Option<&[u8]>) -> (u8, Option<&[u8]>) {
    const FRAGMENT: u8 = 44;
    const AUTHENTICATION: u8 = 51;
    // Hop-by-hop options, routing, destination options, mobility, HIP, Shim6.
    const OPTIONS: [u8; 6] = [0, 43, 60, 135, 139, 140];
    let (mut next, mut rest) = (first, bytes);
    // Each header takes eight bytes at least, of few that are shown.
    while let Some(header @ [after, length, ..]) = rest {
        let bytes = match next {
            FRAGMENT => 8,
            AUTHENTICATION => (usize::from(*length) + 2) * 4,
            kind if OPTIONS.contains(&kind) => (usize::from(*length) + 1) * 8,
            _ => break,
        };
        let is_later_fragment = next == FRAGMENT && array(header, 2).is_none_or(|offset| u16::from_be_bytes(offset) >> 3 != 0);
        (next, rest) = (*after, header.get(bytes..).filter(|_| !is_later_fragment));
    }
    (next, rest)
}

fn read_transport(number: u8, bytes: Option<&[u8]>) -> Transport {
    let read = || {
        let bytes = bytes?;
        let port = |at| Some(u16::from_be_bytes(array(bytes, at)?));
        Some(match number {
            protocol::TCP => Transport::Tcp { source: port(0)?, destination: port(2)?, flags: bytes.get(13).copied() },
            protocol::UDP | protocol::SCTP => Transport::Ports { source: port(0)?, destination: port(2)? },
            protocol::ICMP | protocol::ICMP6 => Transport::Icmp { kind: *bytes.first()?, code: *bytes.get(1)? },
            _ => return None,
        })
    };
    read().unwrap_or_default()
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A header of an IPv6 extension: its number and all of its bytes but the first, which says what comes next.
    type Extension = (u8, Vec<u8>);

    fn ethernet(kind: u16) -> Vec<u8> {
        [&[2; 12][..], &kind.to_be_bytes()].concat()
    }

    fn frame_v4(source: [u8; 4], destination: [u8; 4], options: &[u8], protocol: u8, fragment: u16, rest: &[u8]) -> Vec<u8> {
        let mut header = vec![0; 20];
        header[0] = 0x45 + (options.len() / 4) as u8;
        header[6..8].copy_from_slice(&fragment.to_be_bytes());
        header[9] = protocol;
        header[12..16].copy_from_slice(&source);
        header[16..].copy_from_slice(&destination);
        [ethernet(0x0800), header, options.to_vec(), rest.to_vec()].concat()
    }

    fn frame_v6(source: [u8; 16], destination: [u8; 16], extensions: &[Extension], protocol: u8, rest: &[u8]) -> Vec<u8> {
        let mut header = vec![0; 40];
        header[0] = 0x60;
        header[6] = extensions.first().map_or(protocol, |(number, _)| *number);
        header[8..24].copy_from_slice(&source);
        header[24..].copy_from_slice(&destination);
        let after = extensions.iter().skip(1).map(|(number, _)| *number).chain([protocol]);
        let chain = extensions.iter().zip(after).flat_map(|((_, bytes), next)| [&[next][..], bytes].concat());
        [ethernet(0x86dd), header, chain.collect(), rest.to_vec()].concat()
    }

    fn extension() -> impl Strategy<Value = Extension> {
        let options = (prop::sample::select(vec![0_u8, 43, 60, 135]), 0_u8..3)
            .prop_map(|(number, length)| (number, [vec![length], vec![0; 6 + usize::from(length) * 8]].concat()));
        let authentication = (1_u8..5).prop_map(|length| (51, [vec![length], vec![0; (usize::from(length) + 2) * 4 - 2]].concat()));
        // The first of several fragments: offset 0, more to come.
        let fragment = Just((44, vec![0, 0, 1, 9, 9, 9, 9]));
        prop_oneof![options, authentication, fragment]
    }

    /// A protocol, its first bytes, and what they say.
    fn transport() -> impl Strategy<Value = (u8, Vec<u8>, Transport)> {
        let tcp = (any::<u16>(), any::<u16>(), any::<u8>()).prop_map(|(source, destination, flags)| {
            let mut bytes = [&source.to_be_bytes()[..], &destination.to_be_bytes(), &[0; 16]].concat();
            bytes[13] = flags;
            (6, bytes, Transport::Tcp { source, destination, flags: Some(flags) })
        });
        let ports = (prop::sample::select(vec![17_u8, 132]), any::<u16>(), any::<u16>()).prop_map(|(number, source, destination)| {
            let bytes = [&source.to_be_bytes()[..], &destination.to_be_bytes(), &[0; 8]].concat();
            (number, bytes, Transport::Ports { source, destination })
        });
        let icmp = (prop::sample::select(vec![1_u8, 58]), any::<u8>(), any::<u8>())
            .prop_map(|(number, kind, code)| (number, vec![kind, code, 0, 0], Transport::Icmp { kind, code }));
        let other = Just((47, vec![1; 8], Transport::Unknown));
        prop_oneof![tcp, ports, icmp, other]
    }

    /// What is shown of a frame says what all of it says, or less.
    fn assert_no_more(cut: Option<Packet>, whole: Packet) {
        let Some(cut) = cut else { return };
        assert_eq!((cut.source, cut.destination), (whole.source, whole.destination));
        match (cut.transport, whole.transport) {
            (Transport::Unknown, _) => {}
            (Transport::Tcp { flags: None, source, destination }, Transport::Tcp { source: from, destination: to, .. }) => {
                assert_eq!((source, destination), (from, to));
            }
            (shown, all) => assert_eq!(shown, all),
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..128), kind in prop::sample::select(vec![0x0800_u16, 0x86dd, 0x0806])) {
            let _ = Packet::read(&bytes);
            let _ = Packet::read(&[ethernet(kind), bytes].concat());
        }

        #[test]
        fn ipv4_packets_say_what_they_are_however_they_are_cut(
            (source, destination) in any::<([u8; 4], [u8; 4])>(), words in 0_usize..=10, (number, bytes, transport) in transport(), shown in 0_usize..96,
        ) {
            let frame = frame_v4(source, destination, &vec![1; words * 4], number, 0x4000, &bytes);
            let whole = Packet { source: source.into(), destination: destination.into(), protocol: number, transport };
            prop_assert_eq!(Packet::read(&frame), Some(whole));
            assert_no_more(Packet::read(&frame[..shown.min(frame.len())]), whole);
            let later = frame_v4(source, destination, &[], number, 0x2001, &bytes);
            prop_assert_eq!(Packet::read(&later), Some(Packet { transport: Transport::Unknown, ..whole }));
        }

        #[test]
        fn ipv6_packets_say_what_they_are_behind_any_extension_headers(
            (source, destination) in any::<([u8; 16], [u8; 16])>(), extensions in prop::collection::vec(extension(), 0..4),
            (number, bytes, transport) in transport(), shown in 0_usize..96,
        ) {
            let frame = frame_v6(source, destination, &extensions, number, &bytes);
            let whole = Packet { source: source.into(), destination: destination.into(), protocol: number, transport };
            prop_assert_eq!(Packet::read(&frame), Some(whole));
            assert_no_more(Packet::read(&frame[..shown.min(frame.len())]), whole);
        }
    }

    #[test]
    fn later_fragments_of_ipv6_have_no_ports() {
        let later = (44, vec![0, 0, 8, 9, 9, 9, 9]);
        let packet = Packet::read(&frame_v6([1; 16], [2; 16], &[later], protocol::UDP, &[0, 53, 0, 53, 0, 8, 0, 0])).unwrap();
        assert_eq!((packet.protocol, packet.transport, packet.ports()), (protocol::UDP, Transport::Unknown, None));
    }
}

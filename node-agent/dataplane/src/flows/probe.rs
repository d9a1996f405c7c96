//! A segment that makes the end of a TCP connection speak. Who waits for an answer that never comes sends nothing, so no program would ever
//! get to reset it: the flow is marked, and nobody passes by. A segment that is out of its window it must acknowledge (RFC 9293 section
//! 3.10.7.4), with the numbers that a reset needs (RFC 5961); and that acknowledgement finds the mark.

use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrStorage, sendto, socket};
use orknet_abi::FlowKey;
use std::{
    io,
    net::{IpAddr, SocketAddr},
    os::fd::{AsRawFd, OwnedFd},
};

/// Half of all sequence numbers apart: one of them is outside of any window.
const SEQUENCES: [u32; 2] = [0, 1 << 31];

const TCP_HEADER: usize = 20;
const ACK: u8 = 0x10;
const HOPS: u8 = 64;
const PROTOCOL: u8 = orknet_abi::protocol::TCP;

/// Sends such segments from the network namespace of the thread that uses it first. Opens its sockets when they are needed.
#[derive(Debug, Default)]
pub(super) struct Prober {
    v4: Option<OwnedFd>,
    v6: Option<OwnedFd>,
}

impl Prober {
    /// Makes the sender of a flow's packets speak: it gets segments that seem to come from where it sends to. One that is lost is sent
    /// again in the next pass, so a failure is only logged. Never blocks.
    pub(super) fn probe(&mut self, key: &FlowKey) {
        if let Err(error) = SEQUENCES.iter().try_for_each(|sequence| self.send(key, *sequence)) {
            tracing::debug!(%error, "cannot probe the end of a connection whose backend is gone");
        }
    }

    fn send(&mut self, key: &FlowKey, sequence: u32) -> io::Result<()> {
        let (slot, family) = if key.source.is_v4() { (&mut self.v4, AddressFamily::Inet) } else { (&mut self.v6, AddressFamily::Inet6) };
        let raw = match slot {
            Some(raw) => raw,
            // Packets that are sent through it begin with their own header (raw(7)).
            None => slot.insert(socket(family, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::Raw)?),
        };
        let to = SockaddrStorage::from(SocketAddr::new(key.source.into(), 0));
        sendto(raw.as_raw_fd(), &segment(key, sequence), &to, MsgFlags::MSG_DONTWAIT)?;
        Ok(())
    }
}

/// A bare acknowledgement to the source of a flow's packets, from their destination, with its IP header. Of IPv4's the kernel writes length,
/// number and checksum.
fn segment(key: &FlowKey, sequence: u32) -> Vec<u8> {
    let mut tcp = [0; TCP_HEADER];
    tcp[0..2].copy_from_slice(&key.destination_port_be.to_ne_bytes());
    tcp[2..4].copy_from_slice(&key.source_port_be.to_ne_bytes());
    tcp[4..8].copy_from_slice(&sequence.to_be_bytes());
    (tcp[12], tcp[13]) = (((TCP_HEADER / 4) as u8) << 4, ACK);
    let (mut header, addresses) = match (IpAddr::from(key.destination), IpAddr::from(key.source)) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let header = vec![0x45, 0, 0, 0, 0, 0, 0, 0, HOPS, PROTOCOL, 0, 0];
            (header, [from.octets(), to.octets()].concat())
        }
        _ => (vec![0x60, 0, 0, 0, 0, TCP_HEADER as u8, PROTOCOL, HOPS], [key.destination.0, key.source.0].concat()),
    };
    let pseudo_header = [&addresses[..], &[0, PROTOCOL, 0, TCP_HEADER as u8]].concat();
    let checksum = !sum(&[&pseudo_header[..], &tcp].concat());
    tcp[16..18].copy_from_slice(&checksum.to_be_bytes());
    header.extend(addresses);
    header.extend(tcp);
    header
}

/// The Internet checksum's sum of whole words (RFC 1071).
fn sum(bytes: &[u8]) -> u16 {
    let sum: u32 = bytes.chunks(2).map(|word| u32::from(word[0]) << 8 | word.get(1).map_or(0, |byte| u32::from(*byte))).sum();
    // 60 bytes at most: what is carried is little, and may carry once more.
    let carried = (sum & 0xffff) + (sum >> 16);
    ((carried & 0xffff) + (carried >> 16)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use orknet_abi::Address;

    #[test]
    fn a_sum_that_carries_twice_is_folded_twice() {
        assert_eq!(sum(&[0xff, 0xff, 0xff, 0xff, 0, 1]), 1);
        assert_eq!(sum(&[0xff; 60]), 0xffff);
    }

    #[test]
    fn a_segment_seems_to_come_from_the_flows_destination_and_its_checksum_is_right() {
        for [client, front] in [["192.0.2.7", "10.96.0.1"], ["2001:db8::ffff:ffff", "fd00::1"]] {
            let [client, front] = [client, front].map(|text| text.parse::<IpAddr>().unwrap());
            let key = FlowKey {
                source: Address::from(client),
                destination: Address::from(front),
                source_port_be: 40_000_u16.to_be(),
                destination_port_be: 80_u16.to_be(),
                protocol: PROTOCOL,
                ..FlowKey::default()
            };
            let bytes = segment(&key, 1 << 31);
            let (header, tcp) = bytes.split_at(bytes.len() - TCP_HEADER);
            let addresses = match (front, client) {
                (IpAddr::V4(front), IpAddr::V4(client)) => [front.octets(), client.octets()].concat(),
                (IpAddr::V6(front), IpAddr::V6(client)) => [front.octets(), client.octets()].concat(),
                _ => panic!("two families"),
            };
            assert!(header.ends_with(&addresses), "{header:?}");
            assert_eq!(header.len(), if client.is_ipv4() { 20 } else { 40 });
            assert_eq!(tcp[..14], [0, 80, 0x9c, 0x40, 0x80, 0, 0, 0, 0, 0, 0, 0, 0x50, ACK]);
            assert_eq!(sum(&[&addresses[..], &[0, PROTOCOL, 0, 20], tcp].concat()), 0xffff);
        }
    }
}

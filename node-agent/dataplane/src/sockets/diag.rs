//! The kernel's socket diagnosis over netlink (sock_diag(7)): lists the sockets of the calling thread's network namespace and destroys
//! single ones (`SOCK_DESTROY`, kernel option `INET_DIAG_DESTROY`).

use crate::pace::Rest;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};
use orknet_abi::{Address, protocol};
use std::{
    io,
    os::fd::{AsRawFd as _, OwnedFd},
};

/// Message types (linux/sock_diag.h, linux/netlink.h).
const BY_FAMILY: u16 = 20;
/// TCP's own, from before there were others: what is listed is of all families.
const OF_TCP: u16 = 18;
const DESTROY: u16 = 21;
const ERROR: u16 = 2;
const DONE: u16 = 3;
/// Flags of requests (linux/netlink.h): always; with an answer; all sockets.
const REQUEST: u16 = 1;
const ACKNOWLEDGE: u16 = 4;
const DUMP: u16 = 0x300;
/// Bytes of a netlink header, of `inet_diag_sockid`, and of what stands before it in requests and in answers.
const HEADER: usize = 16;
const IDENTITY: usize = 48;
const BEFORE_REQUESTED: usize = 8;
/// The same of the request of TCP's own (`inet_diag_req`), in which the states and one more number come after it.
const BEFORE_REQUESTED_OF_TCP: usize = 4;
const BEFORE_ANSWERED: usize = 4;
/// All states: of UDP sockets "established" and, where they are not connected, "closed".
const ANY_STATE: u32 = u32::MAX;
/// States of connected sockets (net/tcp_states.h): UDP sockets are "established"; TCP sockets are neither listening nor over.
const UDP_STATES: u32 = 1 << 1;
const TCP_STATES: u32 = 1 << 1 | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 8 | 1 << 9 | 1 << 11;
/// TCP sockets whose handshake is complete and that may still hear of their peer; those that listen.
const ESTABLISHED_STATES: u32 = 1 << 1 | 1 << 4 | 1 << 5 | 1 << 8 | 1 << 9 | 1 << 11;
const LISTEN_STATES: u32 = 1 << 10;
/// UDP sockets that are not connected.
const UNCONNECTED_STATES: u32 = 1 << 7;
/// The kernel sends no larger datagrams to who does not ask for them.
const DATAGRAM: usize = 32 * 1024;

/// A socket, connected or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) cookie: u64,
    /// To whom it is connected, as the kernel sees it.
    pub(super) peer: Address,
    /// Network order.
    pub(super) peer_port_be: u16,
    /// What it is bound to, unspecified if it is to no address.
    pub(super) local: Address,
    /// Network order.
    pub(super) local_port_be: u16,
    family: u8,
    /// The number of its state.
    state: u8,
    /// `inet_diag_sockid` as the kernel gave it: its name for the socket.
    identity: [u8; IDENTITY],
}

/// A netlink socket in the namespace that the thread was in when it was opened.
pub(super) struct Diagnosis(OwnedFd);

impl Diagnosis {
    pub(super) fn open() -> io::Result<Self> {
        Ok(Self(socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkSockDiag)?))
    }

    /// Every connected socket of a protocol, in both families. It rests between some hundreds; ended work leaves the others out.
    pub(super) fn connected(&self, protocol: u8, rest: &mut Rest<'_>) -> io::Result<Vec<Found>> {
        self.list(protocol, if protocol == protocol::TCP { TCP_STATES } else { UDP_STATES }, rest)
    }

    /// The numbers of all UDP sockets that have a port, connected or not, in both families.
    pub(super) fn datagram_sockets(&self, rest: &mut Rest<'_>) -> io::Result<impl Iterator<Item = u64> + use<>> {
        Ok(self.list(protocol::UDP, ANY_STATE, rest)?.into_iter().map(|socket| socket.cookie))
    }

    /// Every socket of TCP or UDP by which both ends of a flow are known (of TCP those whose handshake is complete), and every one that takes what
    /// anybody sends to its port; in both families.
    pub(super) fn flows_and_servers(&self, protocol: u8) -> io::Result<(Vec<Found>, Vec<Found>)> {
        let (flows, servers) =
            if protocol == protocol::TCP { (ESTABLISHED_STATES, LISTEN_STATES) } else { (UDP_STATES, UNCONNECTED_STATES) };
        let found = self.list(protocol, flows | servers, &mut || true)?;
        Ok(found.into_iter().partition(|socket| flows & 1_u32.checked_shl(u32::from(socket.state)).unwrap_or(0) != 0))
    }

    /// The kernel goes through its tables of sockets, which are those of all namespaces together, once for each request.
    fn list(&self, protocol: u8, states: u32, rest: &mut Rest<'_>) -> io::Result<Vec<Found>> {
        let of_family = |family| request(BY_FAMILY, DUMP, family, protocol, states, &[0; IDENTITY]);
        let requests = match protocol {
            protocol::TCP => vec![request_of_tcp(states)],
            _ => [libc::AF_INET, libc::AF_INET6].map(|family| of_family(family as u8)).to_vec(),
        };
        let mut found = Vec::new();
        for request in requests {
            self.send(&request)?;
            while self.receive(&mut found)? == Received::More {
                if !rest() {
                    return Ok(found);
                }
            }
        }
        Ok(found)
    }

    /// Ends a socket: its owner gets ECONNABORTED, over TCP the peer a reset. Whether it was still there.
    pub(super) fn destroy(&self, protocol: u8, socket: &Found) -> io::Result<bool> {
        self.send(&request(DESTROY, ACKNOWLEDGE, socket.family, protocol, ANY_STATE, &socket.identity))?;
        loop {
            match self.receive(&mut Vec::new()) {
                Ok(Received::More) => {}
                Ok(Received::End) => return Ok(true),
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
    }

    fn send(&self, message: &[u8]) -> io::Result<()> {
        send(self.0.as_raw_fd(), message, MsgFlags::empty()).map(drop).map_err(io::Error::from)
    }

    fn receive(&self, found: &mut Vec<Found>) -> io::Result<Received> {
        let mut datagram = vec![0; DATAGRAM];
        let length = recv(self.0.as_raw_fd(), &mut datagram, MsgFlags::empty())?;
        read(datagram.get(..length).unwrap_or_default(), found)
    }
}

/// Whether there is more to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Received {
    More,
    End,
}

/// A netlink message with an `inet_diag_req_v2`.
fn request(kind: u16, flags: u16, family: u8, protocol: u8, states: u32, identity: &[u8; IDENTITY]) -> Vec<u8> {
    let mut message = header(kind, flags, BEFORE_REQUESTED + IDENTITY);
    message.extend([family, protocol, 0, 0]);
    message.extend(states.to_ne_bytes());
    message.extend(identity);
    message
}

/// One with an `inet_diag_req`, for all TCP sockets in these states.
fn request_of_tcp(states: u32) -> Vec<u8> {
    const AFTER: usize = 4;
    let mut message = header(OF_TCP, DUMP, BEFORE_REQUESTED_OF_TCP + IDENTITY + size_of::<u32>() + AFTER);
    message.extend([0; BEFORE_REQUESTED_OF_TCP + IDENTITY]);
    message.extend(states.to_ne_bytes());
    message.extend([0; AFTER]);
    message
}

/// The header of a message with so many bytes after it.
fn header(kind: u16, flags: u16, body: usize) -> Vec<u8> {
    let length = HEADER + body;
    let mut message = Vec::with_capacity(length);
    message.extend((length as u32).to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend((REQUEST | flags).to_ne_bytes());
    // Number and sender of the request, which the kernel fills in or ignores.
    message.extend([0; 8]);
    message
}

/// Reads the messages of a datagram.
fn read(mut datagram: &[u8], found: &mut Vec<Found>) -> io::Result<Received> {
    while let Some(header) = datagram.first_chunk::<HEADER>() {
        let [a, b, c, d, kind_a, kind_b, ..] = *header;
        let length = u32::from_ne_bytes([a, b, c, d]) as usize;
        let body = datagram.get(HEADER..length).ok_or_else(|| io::Error::other("a netlink message is cut off"))?;
        match u16::from_ne_bytes([kind_a, kind_b]) {
            ERROR | DONE => {
                let code = body.first_chunk().map_or(0, |bytes| i32::from_ne_bytes(*bytes));
                return if code == 0 { Ok(Received::End) } else { Err(io::Error::from_raw_os_error(code.saturating_neg())) };
            }
            BY_FAMILY | OF_TCP => found.extend(socket_of(body)),
            _ => {}
        }
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(Received::More)
}

/// The socket that an `inet_diag_msg` tells of.
fn socket_of(body: &[u8]) -> Option<Found> {
    let [family, state] = *body.first_chunk()?;
    let identity: [u8; IDENTITY] = *body.get(BEFORE_ANSWERED..)?.first_chunk()?;
    let address = |at: usize| {
        let bytes: [u8; 16] = *identity.get(at..)?.first_chunk()?;
        let [a, b, c, d, ..] = bytes;
        Some(if family == libc::AF_INET as u8 { Address::from_v4([a, b, c, d]) } else { Address(bytes) })
    };
    let port_be = |at: usize| Some(u16::from_ne_bytes(*identity.get(at..)?.first_chunk()?));
    // The halves of the number stand in the order of little-endian machines, each in the machine's own.
    let half = |at: usize| Some(u64::from(u32::from_ne_bytes(*identity.get(at..)?.first_chunk()?)));
    Some(Found {
        cookie: half(40)? | half(44)? << 32,
        peer: address(20)?,
        peer_port_be: port_be(2)?,
        local: address(4)?,
        local_port_be: port_be(0)?,
        family,
        state,
        identity,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_laid_out_as_the_kernel_wants_it() {
        let message = request(BY_FAMILY, DUMP, 2, 17, UDP_STATES, &[7; IDENTITY]);
        assert_eq!(message.len(), 72);
        assert_eq!(message[..4], 72_u32.to_ne_bytes());
        assert_eq!(message[4..8], [20_u16.to_ne_bytes(), 0x301_u16.to_ne_bytes()].concat());
        assert_eq!((message[16], message[17]), (2, 17));
        assert_eq!(message[24..], [7; IDENTITY]);
    }

    #[test]
    fn a_request_for_all_of_tcp_is_laid_out_as_it_was_before_there_were_others() {
        let message = request_of_tcp(ESTABLISHED_STATES);
        assert_eq!(message.len(), 16 + 60);
        assert_eq!(message[..8], [&76_u32.to_ne_bytes()[..], &18_u16.to_ne_bytes(), &0x301_u16.to_ne_bytes()].concat());
        assert_eq!(message[16 + 52..][..4], ESTABLISHED_STATES.to_ne_bytes());
    }

    #[test]
    fn what_is_cut_off_or_strange_is_no_socket_and_no_panic() {
        let mut found = Vec::new();
        for length in 0..72 {
            let mut message = request(BY_FAMILY, 0, 2, 17, 0, &[0; IDENTITY]);
            message.truncate(length);
            let _ = read(&message, &mut found);
        }
        assert_eq!(found, []);
        let mut endless = request(99, 0, 2, 17, 0, &[0; IDENTITY]);
        endless[..4].copy_from_slice(&0_u32.to_ne_bytes());
        assert!(read(&endless, &mut found).is_err(), "a length of 0 leads nowhere");
    }

    #[test]
    fn an_error_is_the_kernels_own() {
        let mut message = request(ERROR, 0, 0, 0, 0, &[0; IDENTITY]);
        message[16..20].copy_from_slice(&(-libc::ENOENT).to_ne_bytes());
        assert_eq!(read(&message, &mut Vec::new()).unwrap_err().raw_os_error(), Some(libc::ENOENT));
    }
}

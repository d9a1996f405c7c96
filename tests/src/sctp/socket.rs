//! Raw IP sockets for SCTP (raw(7)): packets from the SCTP header on, and the errors that come back about them. As long as one is open the
//! kernel, which knows no SCTP, answers nothing in its place.

use nix::cmsg_space;
use nix::errno::Errno;
use nix::libc::{sock_extended_err, sockaddr_in6};
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrStorage, connect, recvfrom, recvmsg, send,
    sendto, setsockopt, socket, sockopt,
};
use nix::sys::time::TimeVal;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

/// One of one family.
pub struct Socket {
    socket: OwnedFd,
    is_v4: bool,
    /// From, to, in network byte order: errors about packets with others are not ours.
    ports: Option<[u8; 4]>,
}

impl Socket {
    /// Hears everybody.
    pub fn open(is_v4: bool) -> io::Result<Self> {
        let family = if is_v4 { AddressFamily::Inet } else { AddressFamily::Inet6 };
        let socket = socket(family, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::Sctp)?;
        Ok(Self { socket, is_v4, ports: None })
    }

    /// Hears an address alone, and waits for it no longer than that.
    pub fn connect(address: IpAddr, [from, to]: [u16; 2], timeout: Duration) -> io::Result<Self> {
        let [[a, b], [c, d]] = [from, to].map(u16::to_be_bytes);
        let socket = Self { ports: Some([a, b, c, d]), ..Self::open(address.is_ipv4())? };
        let timeout = TimeVal::new(timeout.as_secs() as i64, i64::from(timeout.subsec_micros()));
        setsockopt(&socket.socket, sockopt::ReceiveTimeout, &timeout)?;
        match socket.is_v4 {
            true => setsockopt(&socket.socket, sockopt::Ipv4RecvErr, &true)?,
            false => setsockopt(&socket.socket, sockopt::Ipv6RecvErr, &true)?,
        }
        connect(socket.socket.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(address, 0)))?;
        Ok(socket)
    }

    /// To the address that it is connected to.
    pub fn send(&self, packet: &[u8]) -> io::Result<()> {
        self.unless_others(|| send(self.socket.as_raw_fd(), packet, MsgFlags::empty()).map(drop))
    }

    pub fn send_to(&self, packet: &[u8], to: IpAddr) -> io::Result<()> {
        Ok(sendto(self.socket.as_raw_fd(), packet, &SockaddrStorage::from(SocketAddr::new(to, 0)), MsgFlags::empty()).map(drop)?)
    }

    /// The next packet, and whose it is. [`io::ErrorKind::TimedOut`] if none comes in time.
    pub fn receive(&self) -> io::Result<(IpAddr, Vec<u8>)> {
        let mut buffer = vec![0; 2048];
        loop {
            let (count, from) = self.unless_others(|| recvfrom::<SockaddrStorage>(self.socket.as_raw_fd(), &mut buffer))?;
            let packet = buffer.get(..count).unwrap_or_default();
            // Of IPv4, and of IPv4 alone, the header is there.
            let header = if self.is_v4 { packet.first().map_or(0, |first| usize::from(first & 0xf) * 4) } else { 0 };
            if let (Some(from), Some(packet)) = (from.as_ref().and_then(address), packet.get(header..)) {
                return Ok((from, packet.to_vec()));
            }
        }
    }

    /// A call, again as long as it fails with errors about others' packets to the same address.
    fn unless_others<T>(&self, mut call: impl FnMut() -> nix::Result<T>) -> io::Result<T> {
        loop {
            match call() {
                Ok(done) => return Ok(done),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Err(io::ErrorKind::TimedOut.into()),
                Err(error) => {
                    let told = self.told();
                    match (told.iter().find(|(ports, _)| self.ports.as_ref() == Some(ports)), told.is_empty()) {
                        (Some((_, errno)), _) => return Err(io::Error::from_raw_os_error(*errno)),
                        // The call's own.
                        (None, true) => return Err(error.into()),
                        (None, false) => {}
                    }
                }
            }
        }
    }

    /// What ICMP has told since the last time: the ports of the packet in question, and the error (`IP_RECVERR` in ip(7)).
    fn told(&self) -> Vec<([u8; 4], i32)> {
        let mut all = Vec::new();
        loop {
            let (mut packet, mut space) = ([0; 4], cmsg_space!(sock_extended_err, sockaddr_in6));
            let mut slices = [IoSliceMut::new(&mut packet)];
            let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
            let Ok(message) = recvmsg::<SockaddrStorage>(self.socket.as_raw_fd(), &mut slices, Some(&mut space), flags) else { return all };
            let errno = message.cmsgs().into_iter().flatten().find_map(|told| match told {
                ControlMessageOwned::Ipv4RecvErr(error, _) | ControlMessageOwned::Ipv6RecvErr(error, _) => {
                    i32::try_from(error.ee_errno).ok()
                }
                _ => None,
            });
            all.extend(errno.map(|errno| (packet, errno)));
        }
    }
}

fn address(from: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = from.as_sockaddr_in().map(|from| from.ip().into());
    v4.or_else(|| from.as_sockaddr_in6().map(|from| from.ip().into()))
}

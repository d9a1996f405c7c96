//! One question and its answer, over every protocol: what all who ask have in common.

use crate::TIMEOUT;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::Duration;

pub fn ask_tcp(address: SocketAddr) -> io::Result<String> {
    ask_tcp_from(address, 0)
}

pub fn ask_tcp_from(address: SocketAddr, port: u16) -> io::Result<String> {
    let mut stream = if port == 0 { TcpStream::connect_timeout(&address, TIMEOUT)? } else { connect_from(address, port)? };
    ask_on(&mut stream, address, TIMEOUT)
}

/// A question and its answer on a connection to this address.
pub fn ask_on(stream: &mut TcpStream, address: SocketAddr, patience: Duration) -> io::Result<String> {
    if stream.peer_addr()? != address {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "getpeername shows another address"));
    }
    stream.set_read_timeout(Some(patience))?;
    stream.write_all(b"who\n")?;
    let mut buffer = [0; 256];
    let count = stream.read(&mut buffer)?;
    Ok(String::from_utf8_lossy(&buffer[..count]).into_owned())
}

/// A connection from a port of our choice, if it is free.
fn connect_from(address: SocketAddr, port: u16) -> io::Result<TcpStream> {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, setsockopt, socket, sockopt};
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let socket = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    // Linux gives up connecting after this time, too.
    setsockopt(&socket, sockopt::SendTimeout, &nix::sys::time::TimeVal::new(TIMEOUT.as_secs() as i64, 0))?;
    // Taken by another: the kernel chooses one.
    let _ = bind(socket.as_raw_fd(), &SockaddrStorage::from(own(address, port)));
    match connect(socket.as_raw_fd(), &SockaddrStorage::from(address)) {
        Ok(()) => Ok(TcpStream::from(socket)),
        Err(nix::errno::Errno::EINPROGRESS) => Err(io::ErrorKind::TimedOut.into()),
        Err(error) => Err(error.into()),
    }
}

/// The unspecified address of a family, with a port.
fn own(address: SocketAddr, port: u16) -> SocketAddr {
    let any: IpAddr = if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    SocketAddr::new(any, port)
}

/// A UDP socket of the address's family at a port, any port if that is taken.
pub fn datagrams(address: SocketAddr, port: u16) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(own(address, port)).or_else(|_| UdpSocket::bind(own(address, 0)))?;
    socket.set_read_timeout(Some(TIMEOUT))?;
    Ok(socket)
}

/// A socket that is not connected.
pub fn ask_udp(address: SocketAddr) -> io::Result<String> {
    ask_udp_from(address, 0)
}

pub fn ask_udp_from(address: SocketAddr, port: u16) -> io::Result<String> {
    exchange(&datagrams(address, port)?, address)
}

pub fn ask_udp_connected(address: SocketAddr) -> io::Result<String> {
    ask_udp_connected_from(address, 0)
}

pub fn ask_udp_connected_from(address: SocketAddr, port: u16) -> io::Result<String> {
    let socket = datagrams(address, port)?;
    socket.connect(address)?;
    exchange_connected(&socket)
}

/// A question and its answer where the socket says where both go.
pub fn exchange_connected(socket: &UdpSocket) -> io::Result<String> {
    socket.send(b"who\n")?;
    let mut buffer = [0; 256];
    let count = socket.recv(&mut buffer)?;
    Ok(String::from_utf8_lossy(&buffer[..count]).into_owned())
}

pub fn ask_sctp(address: SocketAddr) -> io::Result<String> {
    ask_sctp_from(address, 0)
}

pub fn ask_sctp_from(address: SocketAddr, port: u16) -> io::Result<String> {
    orknet_tests::sctp::ask(address, port, TIMEOUT)
}

/// A question and its answer, which must seem to come from where the question went.
pub fn exchange(socket: &UdpSocket, address: SocketAddr) -> io::Result<String> {
    socket.send_to(b"who\n", address)?;
    let mut buffer = [0; 256];
    let (count, from) = socket.recv_from(&mut buffer)?;
    if from != address {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the answer comes from another address"));
    }
    Ok(String::from_utf8_lossy(&buffer[..count]).into_owned())
}

/// An answer without its end of line, or `error KIND`.
pub fn said(outcome: io::Result<String>) -> String {
    outcome.map(|answer| answer.trim().to_owned()).unwrap_or_else(|error| format!("error {}", kind(&error)))
}

/// The kind of an error; what a socket's own timeout is called differs.
pub fn kind(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::WouldBlock => "TimedOut".to_owned(),
        kind => format!("{kind:?}"),
    }
}

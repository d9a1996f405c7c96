//! SCTP where the kernel has none: associations that carry one question and its answer, over raw IP sockets. What a packet is made of is
//! [`packet`]'s, who says what next is [`client`]'s and [`server`]'s; here are those who ask and answer at sockets.

mod client;
mod packet;
mod server;
mod socket;

use client::Client;
use packet::Packet;
use server::Server;
use socket::Socket;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// How often a packet is sent that is not answered. A socket hears everything that comes from an address, and on a busy host it loses
/// some of it.
const TRIES: u32 = 4;

/// Opens an association from a port, one that nobody has if it is 0, asks, and ends it: the answer. Every step may take so long.
/// Blocks; needs `CAP_NET_RAW`.
pub fn ask(address: SocketAddr, port: u16, timeout: Duration) -> io::Result<String> {
    // Raw sockets have no ports to bind: a UDP socket keeps the number from being given to another.
    let holder = UdpSocket::bind((any(address.is_ipv4()), port)).or_else(|_| UdpSocket::bind((any(address.is_ipv4()), 0)))?;
    let ports = [holder.local_addr()?.port(), address.port()];
    let socket = Socket::connect(address.ip(), ports, timeout / TRIES)?;
    let (mut client, mut says) = Client::open(ports, [random(), random()]);
    let mut tries = 0;
    loop {
        socket.send(&says.bytes())?;
        if let Some(answer) = client.answer() {
            return Ok(answer.to_owned());
        }
        tries += 1;
        match heard(&socket, timeout / TRIES, |packet| client.hear(packet).transpose()) {
            Ok(next) => (says, tries) = (next, 0),
            Err(error) if error.kind() == io::ErrorKind::TimedOut && tries < TRIES => {}
            Err(error) => return Err(error),
        }
    }
}

/// Answers at the port, over both families, with `NAME PEER`. Returns only if it cannot; needs `CAP_NET_RAW`.
pub fn serve(name: &str, port: u16) -> io::Result<()> {
    let sockets = [Socket::open(true)?, Socket::open(false)?];
    std::thread::scope(|scope| {
        let threads = sockets.each_ref().map(|socket| {
            scope.spawn(move || -> io::Result<()> {
                let mut server = Server::new(name, port);
                loop {
                    let (from, bytes) = socket.receive()?;
                    let said = Packet::parse(&bytes).and_then(|packet| server.hear(from, &packet, [random(), random()]));
                    if let Some(packet) = said {
                        // Who asked may be gone.
                        let _ = socket.send_to(&packet.bytes(), from);
                    }
                }
            })
        });
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| io::Error::other("a thread panicked"))?)
    })
}

/// Waits for a packet that somebody can do something with: what that is.
fn heard<T>(socket: &Socket, timeout: Duration, mut hear: impl FnMut(&Packet) -> Option<io::Result<T>>) -> io::Result<T> {
    let deadline = Instant::now() + timeout;
    while Instant::now() < deadline {
        let (_, bytes) = socket.receive()?;
        if let Some(outcome) = Packet::parse(&bytes).and_then(|packet| hear(&packet)) {
            return outcome;
        }
    }
    Err(io::ErrorKind::TimedOut.into())
}

fn any(is_v4: bool) -> IpAddr {
    if is_v4 { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() }
}

/// Not 0, which is no tag.
fn random() -> u32 {
    // Every `RandomState` has keys of its own.
    (RandomState::new().hash_one(()) as u32).max(1)
}

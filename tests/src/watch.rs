//! Who sends packets to whom past the devices of a place: counted where packet sockets see them, which is what tcpdump would show. A packet
//! that an XDP program sends on is seen by none.

use crate::Lines;
use anyhow::{Context, Result, ensure};
use nix::sys::socket::{AddressFamily, LinkAddr, SockFlag, SockProtocol, SockType, recvfrom, setsockopt, socket, sockopt};
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::process::{Child, Command, Stdio};

/// Packets of one kind; `Display` and [`Seen::parse`] are each other's reverse.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seen {
    pub device: String,
    /// Whether they left.
    pub is_out: bool,
    /// Of TCP, UDP or SCTP: 6, 17 or 132.
    pub protocol: u8,
    pub from: SocketAddr,
    pub to: SocketAddr,
    /// Whether the IP header has options, or an IPv6 header for the destination's follows it.
    pub has_options: bool,
}

/// How often each kind was seen.
pub type Tally = BTreeMap<Seen, u32>;

/// Counts from [`Watch::start`] to [`Watch::end`]. Killed when dropped.
pub struct Watch {
    child: Child,
    said: Lines,
}

impl Watch {
    /// `command` is `nettool watch PORT…` at some place; answers once it sees everything.
    pub fn start(mut command: Command) -> Result<Self> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().with_context(|| format!("cannot run {command:?}"))?;
        let said = Lines::of(child.stdout.take().context("there is no output")?);
        let watch = Self { child, said };
        watch.said.next()?.context("the watch ended")?;
        Ok(watch)
    }

    pub fn end(mut self) -> Result<Tally> {
        drop(self.child.stdin.take());
        let lines = self.said.rest()?;
        ensure!(self.child.wait()?.success(), "the watch failed");
        lines.iter().map(|line| Seen::parse(line).with_context(|| format!("nettool said {line:?}"))).collect()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { device, is_out, protocol, from, to, has_options } = self;
        write!(f, "{device} {is_out} {protocol} {from} {to} {has_options}")
    }
}

impl Seen {
    /// Of a line: the packets, and how many.
    fn parse(line: &str) -> Option<(Self, u32)> {
        let words: Vec<&str> = line.split(' ').collect();
        let [device, is_out, protocol, from, to, has_options, count] = words.as_slice() else { return None };
        let seen = Self {
            device: (*device).to_owned(),
            is_out: is_out.parse().ok()?,
            protocol: protocol.parse().ok()?,
            from: from.parse().ok()?,
            to: to.parse().ok()?,
            has_options: has_options.parse().ok()?,
        };
        Some((seen, count.parse().ok()?))
    }

    /// Of a frame, from its Ethernet header on; `None` unless it has ports.
    fn read(device: String, is_out: bool, frame: &[u8]) -> Option<Self> {
        let ip = frame.get(14..)?;
        let word = |at: usize| Some(u16::from_be_bytes([*ip.get(at)?, *ip.get(at + 1)?]));
        let v4 = |at: usize| Some(IpAddr::from(<[u8; 4]>::try_from(ip.get(at..at + 4)?).ok()?));
        let v6 = |at: usize| Some(IpAddr::from(<[u8; 16]>::try_from(ip.get(at..at + 16)?).ok()?));
        let (protocol, from, to, at, has_options) = match u16::from_be_bytes([frame[12], frame[13]]) {
            // Only the first of fragments has ports.
            0x0800 if word(6)? & 0x1fff == 0 => {
                let at = usize::from(ip[0] & 0xf) * 4;
                (*ip.get(9)?, v4(12)?, v4(16)?, at, at > 20)
            }
            0x86dd => {
                const DESTINATION_OPTIONS: u8 = 60;
                let (next, from, to) = (*ip.get(6)?, v6(8)?, v6(24)?);
                if next == DESTINATION_OPTIONS {
                    (*ip.get(40)?, from, to, 48 + usize::from(*ip.get(41)?) * 8, true)
                } else {
                    (next, from, to, 40, false)
                }
            }
            _ => return None,
        };
        matches!(protocol, 6 | 17 | 132).then_some(())?;
        let (from, to) = (SocketAddr::new(from, word(at)?), SocketAddr::new(to, word(at + 2)?));
        Some(Self { device, is_out, protocol, from, to, has_options })
    }
}

/// What `nettool watch` does: says `watching`, counts packets from and to these ports on all devices until the standard input ends, and
/// prints a line for each kind.
pub fn watch(ports: &[u16]) -> io::Result<()> {
    let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll)?;
    // A reader that sleeps through a burst must not miss any of it.
    setsockopt(&socket, sockopt::RcvBufForce, &(16 << 20))?;
    // How long the end of the standard input may go unnoticed.
    setsockopt(&socket, sockopt::ReceiveTimeout, &nix::sys::time::TimeVal::new(0, 50_000))?;
    println!("watching");
    let (over, is_over) = std::sync::mpsc::channel::<()>();
    std::thread::spawn(move || {
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        drop(over);
    });
    let mut tally: BTreeMap<Seen, u32> = BTreeMap::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match recvfrom::<LinkAddr>(socket.as_raw_fd(), &mut buffer) {
            Ok((count, Some(at))) => {
                // `PACKET_OUTGOING` in linux/if_packet.h.
                let is_out = at.pkttype() == 4;
                let device = nix::net::if_::if_indextoname(at.ifindex() as u32).map(|name| name.to_string_lossy().into_owned());
                let seen = Seen::read(device.unwrap_or_else(|_| "gone".to_owned()), is_out, &buffer[..count.min(buffer.len())]);
                if let Some(seen) = seen.filter(|seen| [seen.from, seen.to].iter().any(|end| ports.contains(&end.port()))) {
                    *tally.entry(seen).or_default() += 1;
                }
            }
            Ok((_, None)) | Err(nix::errno::Errno::EINTR) => {}
            // Nothing more has come: what was there before the end has been counted.
            Err(nix::errno::Errno::EAGAIN) => {
                if is_over.try_recv() == Err(std::sync::mpsc::TryRecvError::Disconnected) {
                    tally.iter().for_each(|(seen, count)| println!("{seen} {count}"));
                    return Ok(());
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(from: &str, to: &str, protocol: u8, has_options: bool) -> Option<Seen> {
        let (from, to) = (from.parse().unwrap(), to.parse().unwrap());
        Some(Seen { device: "eth0".into(), is_out: true, protocol, from, to, has_options })
    }

    fn read(ethertype: [u8; 2], parts: &[&[u8]]) -> Option<Seen> {
        Seen::read("eth0".into(), true, &[&[0; 12][..], &ethertype, &parts.concat()].concat())
    }

    #[test]
    fn ports_are_found_behind_options() {
        let addresses: &[u8] = &[192, 0, 2, 1, 192, 0, 2, 2];
        let ports: &[u8] = &[0, 80, 0x1f, 0x90];
        let v4 = |first: u8, fragment: u8, protocol: u8| [first, 0, 0, 99, 0, 0, 0, fragment, 64, protocol, 0, 0];
        let plain = read([8, 0], &[&v4(0x45, 0, 6), addresses, ports]);
        assert_eq!(plain, seen("192.0.2.1:80", "192.0.2.2:8080", 6, false));
        assert_eq!(read([8, 0], &[&v4(0x47, 0, 17), addresses, &[9; 8], ports]), seen("192.0.2.1:80", "192.0.2.2:8080", 17, true));
        assert_eq!(read([8, 0], &[&v4(0x45, 7, 17), addresses, ports]), None, "a later fragment");
        assert_eq!(read([8, 0], &[&v4(0x45, 0, 1), addresses, ports]), None, "ICMP");
        let (mut from, mut to) = ([0; 16], [0; 16]);
        (from[15], to[15]) = (1, 2);
        let v6 = |next: u8| [0x60, 0, 0, 0, 0, 99, next, 64];
        assert_eq!(read([0x86, 0xdd], &[&v6(6), &from, &to, ports]), seen("[::1]:80", "[::2]:8080", 6, false));
        let told = read([0x86, 0xdd], &[&v6(60), &from, &to, &[17, 2], &[9; 22], ports]);
        assert_eq!(told, seen("[::1]:80", "[::2]:8080", 17, true));
        assert_eq!(read([0x86, 0xdd], &[&v6(6), &from]), None, "cut off");
    }

    #[test]
    fn what_is_printed_is_read_again() {
        let seen = seen("192.0.2.1:80", "[fd00::2]:8080", 17, true).unwrap();
        assert_eq!(Seen::parse(&format!("{seen} 3")), Some((seen, 3)));
        assert_eq!(Seen::parse("what"), None);
    }
}

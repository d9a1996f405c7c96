//! Who asks a number of times and then says what came of it.

use crate::questions::{ask_sctp_from, ask_tcp_from, ask_udp_connected_from, ask_udp_from, exchange, said};
use crate::{PATIENCE, TIMEOUT};
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

/// Prints `NAME PEER MILLISECONDS` or `error KIND MILLISECONDS`.
pub fn attempt(address: &str, one: fn(SocketAddr) -> io::Result<String>) -> io::Result<()> {
    let address = address.parse().map_err(io::Error::other)?;
    let start = Instant::now();
    let outcome = one(address);
    let millis = start.elapsed().as_millis();
    match outcome {
        Ok(answer) => println!("{} {millis}", answer.trim()),
        Err(error) => println!("error {:?} {millis}", error.kind()),
    }
    Ok(())
}

/// Prints how often each server answered: `NAME COUNT` lines, errors as `error KIND COUNT`.
pub fn ask(address: &str, tries: &str, one: fn(SocketAddr) -> io::Result<String>) -> io::Result<()> {
    let address = address.parse().map_err(io::Error::other)?;
    let mut answers: BTreeMap<String, u32> = BTreeMap::new();
    for _ in 0..tries.parse::<u32>().map_err(io::Error::other)? {
        let who = match one(address) {
            Ok(answer) => answer.split_whitespace().next().unwrap_or("nobody").to_owned(),
            Err(error) => format!("error {:?}", error.kind()),
        };
        *answers.entry(who).or_default() += 1;
    }
    for (who, count) in answers {
        println!("{who} {count}");
    }
    Ok(())
}

/// One thread a target: prints how often each server answered and whom it saw, `HOW@ADDRESS NAME PEER COUNT` lines, errors as
/// `HOW@ADDRESS error KIND COUNT`. Who does not answer is not waited for again. Every question has a port of its own, from the first on.
pub fn ask_all(first_port: &str, tries: &str, targets: &[&str]) -> io::Result<()> {
    let (first_port, tries): (u16, u16) = (first_port.parse().map_err(io::Error::other)?, tries.parse().map_err(io::Error::other)?);
    each(targets, |index, one, address| {
        let mut outcomes: BTreeMap<String, u32> = BTreeMap::new();
        for number in 0..tries {
            let outcome = said(one(address, first_port.saturating_add(index * tries + number)));
            let is_over = outcome == "error TimedOut";
            *outcomes.entry(outcome).or_default() += 1;
            if is_over {
                break;
            }
        }
        outcomes.into_iter().map(|(outcome, count)| format!("{outcome} {count}")).collect()
    })
}

/// One thread a target: asks once, prints `HOW@ADDRESS NAME PEER MILLISECONDS` or `HOW@ADDRESS error KIND MILLISECONDS`.
pub fn try_all(targets: &[&str]) -> io::Result<()> {
    each(targets, |_, one, address| {
        let start = Instant::now();
        let outcome = said(one(address, 0));
        vec![format!("{outcome} {}", start.elapsed().as_millis())]
    })
}

/// A way to ask once from a port, any port if that is taken or 0.
pub type Asks = fn(SocketAddr, u16) -> io::Result<String>;

/// The way that a target names.
pub fn way(how: &str) -> io::Result<Asks> {
    match how {
        "tcp" => Ok(ask_tcp_from),
        "udp" => Ok(ask_udp_from),
        "udp-connected" => Ok(ask_udp_connected_from),
        "sctp" => Ok(ask_sctp_from),
        _ => Err(io::Error::other(format!("{how} is no way to ask"))),
    }
}

/// Does the work for all targets at the same time, and prints their lines after their names.
fn each(targets: &[&str], work: impl Fn(u16, Asks, SocketAddr) -> Vec<String> + Sync) -> io::Result<()> {
    let one_target = |index: usize, target: &str| -> io::Result<Vec<String>> {
        let (how, address) = target.split_once('@').ok_or_else(|| io::Error::other("a target is HOW@ADDRESS"))?;
        Ok(work(u16::try_from(index).map_err(io::Error::other)?, way(how)?, address.parse().map_err(io::Error::other)?))
    };
    let one_target = &one_target;
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            targets.iter().enumerate().map(|(index, target)| (target, scope.spawn(move || one_target(index, target)))).collect();
        for (target, thread) in threads {
            let lines = thread.join().map_err(|_| io::Error::other("a thread panicked"))??;
            lines.iter().for_each(|line| println!("{target} {line}"));
        }
        Ok(())
    })
}

/// Asks all, one after the other, from one unconnected UDP socket: a line each, `NAME PEER MILLISECONDS` or `error KIND MILLISECONDS`.
pub fn try_from_one_port(addresses: &[&str]) -> io::Result<()> {
    let addresses = addresses.iter().map(|address| address.parse().map_err(io::Error::other)).collect::<io::Result<Vec<SocketAddr>>>()?;
    let is_v4 = addresses.iter().all(SocketAddr::is_ipv4);
    let socket = UdpSocket::bind(if is_v4 { "0.0.0.0:0" } else { "[::]:0" })?;
    socket.set_read_timeout(Some(TIMEOUT))?;
    for address in addresses {
        let start = Instant::now();
        let outcome = said(exchange(&socket, address));
        println!("{outcome} {}", start.elapsed().as_millis());
    }
    Ok(())
}

/// Prints nanoseconds of one connect(2) of a UDP socket, which sends nothing: the mean of the calls, the best of some rounds.
pub fn time_connect(address: &str, calls: &str) -> io::Result<()> {
    let address: SocketAddr = address.parse().map_err(io::Error::other)?;
    let calls: u32 = calls.parse().map_err(io::Error::other)?;
    let socket = UdpSocket::bind(if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
    let mut best = Duration::MAX;
    for _ in 0..5 {
        let start = Instant::now();
        for _ in 0..calls {
            socket.connect(address)?;
        }
        best = best.min(start.elapsed() / calls.max(1));
    }
    println!("{}", best.as_nanos());
    Ok(())
}

/// One HTTP request: prints the whole answer, headers included.
pub fn get(address: &str, path: &str) -> io::Result<()> {
    let address = address.parse().map_err(io::Error::other)?;
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    println!("{answer}");
    Ok(())
}

/// Asks once: prints `NAME PEER MILLISECONDS` or `error KIND MILLISECONDS`.
fn timed(ask: impl FnOnce() -> io::Result<String>) -> io::Result<()> {
    let start = Instant::now();
    let outcome = said(ask());
    println!("{outcome} {}", start.elapsed().as_millis());
    Ok(())
}

/// Asks once with a datagram of so many bytes: prints `NAME PEER MILLISECONDS` or `error KIND MILLISECONDS`.
pub fn try_large(address: &str, bytes: &str) -> io::Result<()> {
    let address: SocketAddr = address.parse().map_err(io::Error::other)?;
    let bytes: usize = bytes.parse().map_err(io::Error::other)?;
    timed(|| {
        let socket = UdpSocket::bind(if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
        socket.set_read_timeout(Some(TIMEOUT))?;
        socket.send_to(&vec![b'x'; bytes], address)?;
        let mut buffer = vec![0; 1 << 16];
        let (count, from) = socket.recv_from(&mut buffer)?;
        if from != address || count != bytes {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{count} bytes from {from}")));
        }
        Ok(String::from_utf8_lossy(&buffer[..count]).trim().to_owned())
    })
}

/// One connection that carries so many bytes, of which the server answers each 64 or fewer with a line: prints as the others do.
pub fn try_stream(address: &str, bytes: &str) -> io::Result<()> {
    let address: SocketAddr = address.parse().map_err(io::Error::other)?;
    let bytes: usize = bytes.parse().map_err(io::Error::other)?;
    timed(|| {
        let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut writer = stream.try_clone()?;
        let writing = std::thread::spawn(move || {
            writer.write_all(&vec![b'x'; bytes])?;
            writer.shutdown(std::net::Shutdown::Write)
        });
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        writing.join().map_err(|_| io::Error::other("a thread panicked"))??;
        let lines: BTreeMap<&str, ()> = answer.lines().map(|line| (line, ())).collect();
        match lines.keys().collect::<Vec<_>>().as_slice() {
            [line] if answer.lines().count() >= bytes.div_ceil(64) => Ok((**line).to_owned()),
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, format!("{} lines of {} kinds", answer.lines().count(), lines.len()))),
        }
    })
}

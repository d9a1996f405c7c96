//! A small program for pods of tests: servers that answer with their host's name, and clients that count who answered.
//! Everything is bounded: clients by a number of tries, servers by the pod's life.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::ExitCode;
use std::time::{Duration, Instant};

const TIMEOUT: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["serve", address] => serve(address),
        ["serve-tcp", address] => serve_tcp(address),
        ["serve-udp", address] => serve_udp(address),
        ["ask-tcp", address, tries] => ask(address, tries, ask_tcp),
        ["ask-udp", address, tries] => ask(address, tries, ask_udp),
        ["ask-udp-connected", address, tries] => ask(address, tries, ask_udp_connected),
        ["try-tcp", address] => attempt(address, ask_tcp),
        ["try-udp", address] => attempt(address, ask_udp),
        ["try-udp-connected", address] => attempt(address, ask_udp_connected),
        ["log-tcp", address, tries, pause_ms] => log_tcp(address, tries, pause_ms),
        ["ask-one-socket", address, count, pause_ms] => ask_one_socket(address, count, pause_ms),
        ["hold-tcp", address, count, pause_ms] => hold_tcp(address, count, pause_ms),
        _ => Err(io::Error::other(
            "usage: nettool serve|serve-tcp|serve-udp ADDRESS | ask-tcp|ask-udp|ask-udp-connected ADDRESS TRIES | \
             try-tcp|try-udp|try-udp-connected ADDRESS | log-tcp|hold-tcp|ask-one-socket ADDRESS COUNT PAUSE_MS",
        )),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("nettool: {error}");
            ExitCode::FAILURE
        }
    }
}

fn name() -> io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/hostname")?.trim().to_owned())
}

/// Both protocols on one address.
fn serve(address: &str) -> io::Result<()> {
    let datagrams = address.to_owned();
    std::thread::spawn(move || {
        let ended = serve_udp(&datagrams);
        // Half a server would only confuse.
        eprintln!("nettool: UDP: {ended:?}");
        std::process::exit(1);
    });
    serve_tcp(address)
}

/// Answers every line with `NAME PEER`; a connection lives as long as its client wants.
fn serve_tcp(address: &str) -> io::Result<()> {
    let name = name()?;
    for stream in TcpListener::bind(address)?.incoming() {
        let (mut stream, name) = (stream?, name.clone());
        std::thread::spawn(move || -> io::Result<()> {
            let peer = stream.peer_addr()?.ip().to_canonical();
            let mut buffer = [0; 64];
            while stream.read(&mut buffer)? > 0 {
                stream.write_all(format!("{name} {peer}\n").as_bytes())?;
            }
            Ok(())
        });
    }
    Ok(())
}

fn serve_udp(address: &str) -> io::Result<()> {
    let (name, socket) = (name()?, UdpSocket::bind(address)?);
    let mut buffer = [0; 2048];
    loop {
        let (_, peer) = socket.recv_from(&mut buffer)?;
        socket.send_to(format!("{name} {}\n", peer.ip().to_canonical()).as_bytes(), peer)?;
    }
}

/// Prints how often each server answered: `NAME COUNT` lines, errors as `error KIND COUNT`.
fn ask(address: &str, tries: &str, one: fn(SocketAddr) -> io::Result<String>) -> io::Result<()> {
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

/// Prints `NAME PEER MILLISECONDS` or `error KIND MILLISECONDS`.
fn attempt(address: &str, one: fn(SocketAddr) -> io::Result<String>) -> io::Result<()> {
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

/// A new connection for every question; one line per question, `NAME` or `error KIND`.
fn log_tcp(address: &str, tries: &str, pause_ms: &str) -> io::Result<()> {
    let address = address.parse().map_err(io::Error::other)?;
    let pause = Duration::from_millis(pause_ms.parse().map_err(io::Error::other)?);
    for _ in 0..tries.parse::<u32>().map_err(io::Error::other)? {
        match ask_tcp(address) {
            Ok(answer) => println!("{}", answer.split_whitespace().next().unwrap_or("error Empty")),
            Err(error) => println!("error {:?}", error.kind()),
        }
        std::thread::sleep(pause);
    }
    Ok(())
}

/// One unconnected UDP socket for all questions; one line per question, `NAME` or `error KIND`.
fn ask_one_socket(address: &str, count: &str, pause_ms: &str) -> io::Result<()> {
    let address: SocketAddr = address.parse().map_err(io::Error::other)?;
    let pause = Duration::from_millis(pause_ms.parse().map_err(io::Error::other)?);
    let socket = UdpSocket::bind(if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
    socket.set_read_timeout(Some(TIMEOUT / 4))?;
    let mut buffer = [0; 256];
    for _ in 0..count.parse::<u32>().map_err(io::Error::other)? {
        match socket.send_to(b"who\n", address).and_then(|_| socket.recv_from(&mut buffer)) {
            Ok((count, _)) => println!("{}", String::from_utf8_lossy(&buffer[..count]).split_whitespace().next().unwrap_or("error Empty")),
            Err(error) => println!("error {:?}", error.kind()),
        }
        std::thread::sleep(pause);
    }
    Ok(())
}

fn ask_tcp(address: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    if stream.peer_addr()? != address {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "getpeername shows another address"));
    }
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.write_all(b"who\n")?;
    let mut buffer = [0; 256];
    let count = stream.read(&mut buffer)?;
    Ok(String::from_utf8_lossy(&buffer[..count]).into_owned())
}

/// A socket that is not connected: the answer must seem to come from where the question went.
fn ask_udp(address: SocketAddr) -> io::Result<String> {
    let socket = UdpSocket::bind(if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
    socket.set_read_timeout(Some(TIMEOUT))?;
    socket.send_to(b"who\n", address)?;
    let mut buffer = [0; 256];
    let (count, from) = socket.recv_from(&mut buffer)?;
    if from != address {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the answer comes from another address"));
    }
    Ok(String::from_utf8_lossy(&buffer[..count]).into_owned())
}

fn ask_udp_connected(address: SocketAddr) -> io::Result<String> {
    let socket = UdpSocket::bind(if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
    socket.set_read_timeout(Some(TIMEOUT))?;
    socket.connect(address)?;
    socket.send(b"who\n")?;
    let mut buffer = [0; 256];
    let count = socket.recv(&mut buffer)?;
    Ok(String::from_utf8_lossy(&buffer[..count]).into_owned())
}

/// One connection kept open: asks `count` times with a pause between, and fails at the first answer that does not come.
fn hold_tcp(address: &str, count: &str, pause_ms: &str) -> io::Result<()> {
    let address: SocketAddr = address.parse().map_err(io::Error::other)?;
    let pause = Duration::from_millis(pause_ms.parse().map_err(io::Error::other)?);
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    let mut buffer = [0; 256];
    for number in 0..count.parse::<u32>().map_err(io::Error::other)? {
        stream.write_all(b"who\n")?;
        if stream.read(&mut buffer)? == 0 {
            return Err(io::Error::other(format!("closed after {number} answers")));
        }
        println!("{number}");
        std::thread::sleep(pause);
    }
    Ok(())
}

//! Who goes on asking, a line for each answer: connections and sockets that are held, and new ones one after the other.

use crate::questions::{ask_on, datagrams, exchange, exchange_connected, kind};
use crate::{PATIENCE, TIMEOUT};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

/// Whom to ask, how often, and how long to wait in between.
fn parse(address: &str, count: &str, pause_ms: &str) -> io::Result<(SocketAddr, u32, Duration)> {
    let pause = Duration::from_millis(pause_ms.parse().map_err(io::Error::other)?);
    Ok((address.parse().map_err(io::Error::other)?, count.parse().map_err(io::Error::other)?, pause))
}

/// A new connection, or new sockets, for every question; one line per question, `NAME` or `error KIND after MILLISECONDS ms`.
pub fn log(address: &str, tries: &str, pause_ms: &str, one: fn(SocketAddr) -> io::Result<String>) -> io::Result<()> {
    let (address, tries, pause) = parse(address, tries, pause_ms)?;
    for _ in 0..tries {
        let start = Instant::now();
        match one(address) {
            Ok(answer) => println!("{}", answer.split_whitespace().next().unwrap_or("error Empty")),
            Err(error) => println!("error {:?} after {} ms", error.kind(), start.elapsed().as_millis()),
        }
        std::thread::sleep(pause);
    }
    Ok(())
}

/// What kernels do must not take longer than [`TIMEOUT`]: connect, and take the question. A server that waits for a processor may answer
/// later: nothing is lost then.
pub fn ask_tcp_patiently(address: SocketAddr) -> io::Result<String> {
    use nix::sys::socket::{setsockopt, sockopt::TcpUserTimeout};
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    setsockopt(&stream, TcpUserTimeout, &(TIMEOUT.as_millis() as u32))?;
    let answer = ask_on(&mut stream, address, PATIENCE)?;
    // The kernel forgets half of what it knows of a connection that nobody waits for, and would not say that it sent its end twice for nothing.
    stream.shutdown(std::net::Shutdown::Write)?;
    match stream.read(&mut [0])? {
        0 => Ok(answer),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "two answers")),
    }
}

/// By a socket that is not connected, and by one that is. Nobody sends a datagram again: none may be lost.
pub fn ask_udp_patiently(address: SocketAddr) -> io::Result<String> {
    let socket = datagrams(address, 0)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    exchange(&socket, address)?;
    let socket = datagrams(address, 0)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.connect(address)?;
    exchange_connected(&socket)
}

/// One unconnected UDP socket for all questions; one line per question, `NAME` or `error KIND`.
pub fn ask_one_socket(address: &str, count: &str, pause_ms: &str) -> io::Result<()> {
    let (address, count, pause) = parse(address, count, pause_ms)?;
    let socket = UdpSocket::bind(if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
    socket.set_read_timeout(Some(TIMEOUT / 4))?;
    let mut buffer = [0; 256];
    for _ in 0..count {
        match socket.send_to(b"who\n", address).and_then(|_| socket.recv_from(&mut buffer)) {
            Ok((count, _)) => println!("{}", String::from_utf8_lossy(&buffer[..count]).split_whitespace().next().unwrap_or("error Empty")),
            Err(error) => println!("error {:?}", error.kind()),
        }
        std::thread::sleep(pause);
    }
    Ok(())
}

/// A connected UDP socket, and another one after an error other than a missing answer, as programs do; one line per question, `NAME` or
/// `error KIND`.
pub fn ask_connected_socket(address: &str, count: &str, pause_ms: &str) -> io::Result<()> {
    let (address, count, pause) = parse(address, count, pause_ms)?;
    let connect = || -> io::Result<UdpSocket> {
        let socket = UdpSocket::bind(if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
        socket.set_read_timeout(Some(TIMEOUT / 4))?;
        socket.connect(address)?;
        Ok(socket)
    };
    let mut socket = connect()?;
    let mut buffer = [0; 256];
    for _ in 0..count {
        match socket.send(b"who\n").and_then(|_| socket.recv(&mut buffer)) {
            Ok(count) => println!("{}", String::from_utf8_lossy(&buffer[..count]).split_whitespace().next().unwrap_or("error Empty")),
            Err(error) => {
                let kind = kind(&error);
                println!("error {kind}");
                if kind != "TimedOut" {
                    socket = connect()?;
                }
            }
        }
        std::thread::sleep(pause);
    }
    Ok(())
}

/// One question, and then nothing is said any more: fails when the connection does, or when nobody has told so for long.
pub fn await_tcp(address: &str) -> io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&address.parse().map_err(io::Error::other)?, TIMEOUT)?;
    stream.set_read_timeout(Some(PATIENCE * 6))?;
    stream.write_all(b"who\n")?;
    let mut buffer = [0; 256];
    let mut number = 0;
    while stream.read(&mut buffer)? > 0 {
        println!("{number}");
        number += 1;
    }
    Err(io::Error::other("closed"))
}

/// One connection, or one connected socket, kept open: asks `count` times with a pause between, each time so many questions, of which each is
/// asked when the last one is answered, as netperf's TCP_RR and UDP_RR ask. Prints a number each time, and fails at the first answer that does
/// not come. Without pauses it would take a processor for itself, and servers and agents would wait.
pub fn hold<T: Read + Write>(
    address: &str,
    count: &str,
    pause_ms: &str,
    questions: u32,
    connect: fn(SocketAddr) -> io::Result<T>,
) -> io::Result<()> {
    let (address, count, pause) = parse(address, count, pause_ms)?;
    let mut talk = connect(address)?;
    let mut buffer = [0; 256];
    for number in 0..count {
        for _ in 0..questions {
            talk.write_all(b"who\n")?;
            if talk.read(&mut buffer)? == 0 {
                return Err(io::Error::other(format!("closed after {number} times {questions} answers")));
            }
        }
        println!("{number}");
        std::thread::sleep(pause);
    }
    Ok(())
}

pub fn connected_stream(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// A connected UDP socket as something to read and write: a datagram a call.
pub struct Datagrams(UdpSocket);

impl Read for Datagrams {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.recv(buffer)
    }
}

impl Write for Datagrams {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.0.send(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub fn connected_datagrams(address: SocketAddr) -> io::Result<Datagrams> {
    let socket = datagrams(address, 0)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.connect(address)?;
    Ok(Datagrams(socket))
}

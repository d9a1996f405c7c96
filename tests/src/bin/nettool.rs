//! A small program for pods of tests: servers that answer with their host's name, and clients that count who answered.
//! Everything is bounded: clients by a number of tries, servers by the pod's life.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::process::ExitCode;
use std::time::{Duration, Instant};

const TIMEOUT: Duration = Duration::from_secs(2);
/// For answers of which none may be missing: on a busy host one is late, and not lost.
const PATIENCE: Duration = Duration::from_secs(20);
/// Answers that [`rush`] prints one line for, and after which it pauses.
const RUSH: u32 = 20;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["serve", address] => serve(address),
        ["stay", address] => stay(address),
        ["serve-tcp", address] => serve_tcp(address),
        ["serve-udp", address] => serve_udp(address),
        ["serve-sctp", address] => serve_sctp(address),
        ["ask-tcp", address, tries] => ask(address, tries, ask_tcp),
        ["ask-udp", address, tries] => ask(address, tries, ask_udp),
        ["ask-udp-connected", address, tries] => ask(address, tries, ask_udp_connected),
        ["ask-sctp", address, tries] => ask(address, tries, ask_sctp),
        ["try-tcp", address] => attempt(address, ask_tcp),
        ["try-udp", address] => attempt(address, ask_udp),
        ["try-udp-connected", address] => attempt(address, ask_udp_connected),
        ["try-sctp", address] => attempt(address, ask_sctp),
        ["try-large", address, bytes] => try_large(address, bytes),
        ["try-all", targets @ ..] => try_all(targets),
        ["try-stream", address, bytes] => try_stream(address, bytes),
        ["watch", ports @ ..] => watch(ports),
        ["time-connect", address, calls] => time_connect(address, calls),
        ["get", address, path] => get(address, path),
        ["try-from-one-port", addresses @ ..] => try_from_one_port(addresses),
        ["ask-all", first_port, tries, targets @ ..] => ask_all(first_port, tries, targets),
        ["log-tcp", address, tries, pause_ms] => log(address, tries, pause_ms, ask_tcp_patiently),
        ["log-udp", address, tries, pause_ms] => log(address, tries, pause_ms, ask_udp_patiently),
        ["ask-one-socket", address, count, pause_ms] => ask_one_socket(address, count, pause_ms),
        ["ask-connected-socket", address, count, pause_ms] => ask_connected_socket(address, count, pause_ms),
        ["hold-tcp", address, count, pause_ms] => hold_tcp(address, count, pause_ms),
        ["hold-udp", address, count, pause_ms] => hold_udp(address, count, pause_ms),
        ["await-tcp", address, ..] => await_tcp(address),
        ["rush-tcp", address, count, pause_ms] => rush(address, count, pause_ms, connected_stream),
        ["rush-udp", address, count, pause_ms] => rush(address, count, pause_ms, connected_datagrams),
        _ => Err(io::Error::other(
            "usage: nettool serve|serve-tcp|serve-udp|serve-sctp|stay ADDRESS | ask-tcp|ask-udp|ask-udp-connected|ask-sctp ADDRESS TRIES | \
             try-tcp|try-udp|try-udp-connected|try-sctp ADDRESS | try-large|try-stream ADDRESS BYTES | watch PORT… | ask-all FIRST_PORT TRIES HOW@ADDRESS… | try-all HOW@ADDRESS… | try-from-one-port ADDRESS… | get ADDRESS PATH | time-connect ADDRESS CALLS | \
             log-tcp|log-udp|hold-tcp|hold-udp|await-tcp|rush-tcp|rush-udp|ask-one-socket|ask-connected-socket ADDRESS COUNT PAUSE_MS",
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

/// All protocols on one address.
fn serve(address: &str) -> io::Result<()> {
    for one in [serve_udp, serve_sctp] {
        let address = address.to_owned();
        std::thread::spawn(move || {
            let ended = one(&address);
            // Half a server would only confuse.
            eprintln!("nettool: {ended:?}");
            std::process::exit(1);
        });
    }
    serve_tcp(address)
}

/// All protocols, until the standard input ends: whoever started it is gone then. Says its process id once it runs.
fn stay(address: &str) -> io::Result<()> {
    let address = address.to_owned();
    std::thread::spawn(move || serve(&address));
    println!("{}", std::process::id());
    io::copy(&mut io::stdin().lock(), &mut io::sink()).map(drop)
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

/// The answer has as many bytes as the question, if it can.
fn serve_udp(address: &str) -> io::Result<()> {
    let (name, socket) = (name()?, UdpSocket::bind(address)?);
    let mut buffer = vec![0; 1 << 16];
    loop {
        // An answer to somebody who is gone comes back as an error of the next call.
        let Ok((bytes, peer)) = socket.recv_from(&mut buffer) else { continue };
        let answer = format!("{name} {}", peer.ip().to_canonical());
        let _ = socket.send_to(format!("{answer:<width$}\n", width = bytes.saturating_sub(1)).as_bytes(), peer);
    }
}

/// At all addresses, whatever the address is: only the port counts.
fn serve_sctp(address: &str) -> io::Result<()> {
    let address: SocketAddr = address.parse().map_err(io::Error::other)?;
    orknet_tests::sctp::serve(&name()?, address.port())
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

/// One thread a target: prints how often each server answered and whom it saw, `HOW@ADDRESS NAME PEER COUNT` lines, errors as
/// `HOW@ADDRESS error KIND COUNT`. Who does not answer is not waited for again. Every question has a port of its own, from the first on.
fn ask_all(first_port: &str, tries: &str, targets: &[&str]) -> io::Result<()> {
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
fn try_all(targets: &[&str]) -> io::Result<()> {
    each(targets, |_, one, address| {
        let start = Instant::now();
        let outcome = said(one(address, 0));
        vec![format!("{outcome} {}", start.elapsed().as_millis())]
    })
}

/// A way to ask once from a port, any port if that is taken or 0.
type Asks = fn(SocketAddr, u16) -> io::Result<String>;

/// Does the work for all targets at the same time, and prints their lines after their names.
fn each(targets: &[&str], work: impl Fn(u16, Asks, SocketAddr) -> Vec<String> + Sync) -> io::Result<()> {
    let one_target = |index: usize, target: &str| -> io::Result<Vec<String>> {
        let (how, address) = target.split_once('@').ok_or_else(|| io::Error::other("a target is HOW@ADDRESS"))?;
        let one: Asks = match how {
            "tcp" => ask_tcp_from,
            "udp" => ask_udp_from,
            "udp-connected" => ask_udp_connected_from,
            "sctp" => ask_sctp_from,
            _ => return Err(io::Error::other(format!("{how} is no way to ask"))),
        };
        Ok(work(u16::try_from(index).map_err(io::Error::other)?, one, address.parse().map_err(io::Error::other)?))
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
fn try_from_one_port(addresses: &[&str]) -> io::Result<()> {
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

/// An answer without its end of line, or `error KIND`.
fn said(outcome: io::Result<String>) -> String {
    outcome.map(|answer| answer.trim().to_owned()).unwrap_or_else(|error| format!("error {}", kind(&error)))
}

/// Prints nanoseconds of one connect(2) of a UDP socket, which sends nothing: the mean of the calls, the best of some rounds.
fn time_connect(address: &str, calls: &str) -> io::Result<()> {
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
fn get(address: &str, path: &str) -> io::Result<()> {
    let address = address.parse().map_err(io::Error::other)?;
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    println!("{answer}");
    Ok(())
}

/// The kind of an error; what a socket's own timeout is called differs.
fn kind(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::WouldBlock => "TimedOut".to_owned(),
        kind => format!("{kind:?}"),
    }
}

/// Asks once with a datagram of so many bytes: prints `NAME PEER MILLISECONDS` or `error KIND MILLISECONDS`.
fn try_large(address: &str, bytes: &str) -> io::Result<()> {
    let address: SocketAddr = address.parse().map_err(io::Error::other)?;
    let bytes: usize = bytes.parse().map_err(io::Error::other)?;
    let start = Instant::now();
    let ask = || -> io::Result<String> {
        let socket = UdpSocket::bind(if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
        socket.set_read_timeout(Some(TIMEOUT))?;
        socket.send_to(&vec![b'x'; bytes], address)?;
        let mut buffer = vec![0; 1 << 16];
        let (count, from) = socket.recv_from(&mut buffer)?;
        if from != address || count != bytes {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{count} bytes from {from}")));
        }
        Ok(String::from_utf8_lossy(&buffer[..count]).trim().to_owned())
    };
    let outcome = said(ask());
    println!("{outcome} {}", start.elapsed().as_millis());
    Ok(())
}

/// One connection that carries so many bytes, of which the server answers each 64 or fewer with a line: prints as the others do.
fn try_stream(address: &str, bytes: &str) -> io::Result<()> {
    let address: SocketAddr = address.parse().map_err(io::Error::other)?;
    let bytes: usize = bytes.parse().map_err(io::Error::other)?;
    let start = Instant::now();
    let ask = || -> io::Result<String> {
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
    };
    let outcome = said(ask());
    println!("{outcome} {}", start.elapsed().as_millis());
    Ok(())
}

/// See [`orknet_tests::watch`].
fn watch(ports: &[&str]) -> io::Result<()> {
    let ports = ports.iter().map(|port| port.parse().map_err(io::Error::other)).collect::<io::Result<Vec<u16>>>()?;
    orknet_tests::watch::watch(&ports)
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

/// A new connection, or new sockets, for every question; one line per question, `NAME` or `error KIND after MILLISECONDS ms`.
fn log(address: &str, tries: &str, pause_ms: &str, one: fn(SocketAddr) -> io::Result<String>) -> io::Result<()> {
    let address = address.parse().map_err(io::Error::other)?;
    let pause = Duration::from_millis(pause_ms.parse().map_err(io::Error::other)?);
    for _ in 0..tries.parse::<u32>().map_err(io::Error::other)? {
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
fn ask_tcp_patiently(address: SocketAddr) -> io::Result<String> {
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
fn ask_udp_patiently(address: SocketAddr) -> io::Result<String> {
    let socket = datagrams(address, 0)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    exchange(&socket, address)?;
    let socket = datagrams(address, 0)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.connect(address)?;
    exchange_connected(&socket)
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

/// A connected UDP socket, and another one after an error other than a missing answer, as programs do; one line per question, `NAME` or
/// `error KIND`.
fn ask_connected_socket(address: &str, count: &str, pause_ms: &str) -> io::Result<()> {
    let address: SocketAddr = address.parse().map_err(io::Error::other)?;
    let pause = Duration::from_millis(pause_ms.parse().map_err(io::Error::other)?);
    let connect = || -> io::Result<UdpSocket> {
        let socket = UdpSocket::bind(if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
        socket.set_read_timeout(Some(TIMEOUT / 4))?;
        socket.connect(address)?;
        Ok(socket)
    };
    let mut socket = connect()?;
    let mut buffer = [0; 256];
    for _ in 0..count.parse::<u32>().map_err(io::Error::other)? {
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

fn ask_tcp(address: SocketAddr) -> io::Result<String> {
    ask_tcp_from(address, 0)
}

fn ask_tcp_from(address: SocketAddr, port: u16) -> io::Result<String> {
    let mut stream = if port == 0 { TcpStream::connect_timeout(&address, TIMEOUT)? } else { connect_from(address, port)? };
    ask_on(&mut stream, address, TIMEOUT)
}

/// A question and its answer on a connection to this address.
fn ask_on(stream: &mut TcpStream, address: SocketAddr, patience: Duration) -> io::Result<String> {
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
fn datagrams(address: SocketAddr, port: u16) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(own(address, port)).or_else(|_| UdpSocket::bind(own(address, 0)))?;
    socket.set_read_timeout(Some(TIMEOUT))?;
    Ok(socket)
}

/// A socket that is not connected.
fn ask_udp(address: SocketAddr) -> io::Result<String> {
    ask_udp_from(address, 0)
}

fn ask_udp_from(address: SocketAddr, port: u16) -> io::Result<String> {
    exchange(&datagrams(address, port)?, address)
}

fn ask_udp_connected(address: SocketAddr) -> io::Result<String> {
    ask_udp_connected_from(address, 0)
}

fn ask_udp_connected_from(address: SocketAddr, port: u16) -> io::Result<String> {
    let socket = datagrams(address, port)?;
    socket.connect(address)?;
    exchange_connected(&socket)
}

/// A question and its answer where the socket says where both go.
fn exchange_connected(socket: &UdpSocket) -> io::Result<String> {
    socket.send(b"who\n")?;
    let mut buffer = [0; 256];
    let count = socket.recv(&mut buffer)?;
    Ok(String::from_utf8_lossy(&buffer[..count]).into_owned())
}

fn ask_sctp(address: SocketAddr) -> io::Result<String> {
    ask_sctp_from(address, 0)
}

fn ask_sctp_from(address: SocketAddr, port: u16) -> io::Result<String> {
    orknet_tests::sctp::ask(address, port, TIMEOUT)
}

/// A question and its answer, which must seem to come from where the question went.
fn exchange(socket: &UdpSocket, address: SocketAddr) -> io::Result<String> {
    socket.send_to(b"who\n", address)?;
    let mut buffer = [0; 256];
    let (count, from) = socket.recv_from(&mut buffer)?;
    if from != address {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the answer comes from another address"));
    }
    Ok(String::from_utf8_lossy(&buffer[..count]).into_owned())
}

/// One connection kept open: asks `count` times with a pause between, and fails at the first answer that does not come.
fn hold_tcp(address: &str, count: &str, pause_ms: &str) -> io::Result<()> {
    let address: SocketAddr = address.parse().map_err(io::Error::other)?;
    let pause = Duration::from_millis(pause_ms.parse().map_err(io::Error::other)?);
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(PATIENCE))?;
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

/// One UDP socket, connected: asks `count` times with a pause between, and fails at the first answer that does not come.
fn hold_udp(address: &str, count: &str, pause_ms: &str) -> io::Result<()> {
    let address: SocketAddr = address.parse().map_err(io::Error::other)?;
    let pause = Duration::from_millis(pause_ms.parse().map_err(io::Error::other)?);
    let socket = datagrams(address, 0)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.connect(address)?;
    let mut buffer = [0; 256];
    for number in 0..count.parse::<u32>().map_err(io::Error::other)? {
        socket.send(b"who\n")?;
        socket.recv(&mut buffer)?;
        println!("{number}");
        std::thread::sleep(pause);
    }
    Ok(())
}

/// One question, and then nothing is said any more: fails when the connection does, or when nobody has told so for long.
fn await_tcp(address: &str) -> io::Result<()> {
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

/// Bursts of questions, each asked when the last one is answered, as netperf's TCP_RR and UDP_RR ask: prints a number after every [`RUSH`] of
/// them, and fails at the first answer that does not come. Without pauses it would take a processor for itself, and servers and agents would wait.
fn rush<T: Read + Write>(address: &str, count: &str, pause_ms: &str, connect: fn(SocketAddr) -> io::Result<T>) -> io::Result<()> {
    let pause = Duration::from_millis(pause_ms.parse().map_err(io::Error::other)?);
    let mut talk = connect(address.parse().map_err(io::Error::other)?)?;
    let mut buffer = [0; 256];
    for number in 0..count.parse::<u32>().map_err(io::Error::other)? {
        for _ in 0..RUSH {
            talk.write_all(b"who\n")?;
            if talk.read(&mut buffer)? == 0 {
                return Err(io::Error::other(format!("closed after {number} times {RUSH} answers")));
            }
        }
        println!("{number}");
        std::thread::sleep(pause);
    }
    Ok(())
}

fn connected_stream(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// A connected UDP socket as something to read and write: a datagram a call.
struct Datagrams(UdpSocket);

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

fn connected_datagrams(address: SocketAddr) -> io::Result<Datagrams> {
    let socket = datagrams(address, 0)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.connect(address)?;
    Ok(Datagrams(socket))
}

//! Who answers: every question with the server's name and whom it sees, over every protocol.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, UdpSocket};

fn name() -> io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/hostname")?.trim().to_owned())
}

/// All protocols on one address.
pub fn serve(address: &str) -> io::Result<()> {
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
pub fn stay(address: &str) -> io::Result<()> {
    let address = address.to_owned();
    std::thread::spawn(move || serve(&address));
    println!("{}", std::process::id());
    io::copy(&mut io::stdin().lock(), &mut io::sink()).map(drop)
}

/// Answers every line with `NAME PEER`; a connection lives as long as its client wants.
pub fn serve_tcp(address: &str) -> io::Result<()> {
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
pub fn serve_udp(address: &str) -> io::Result<()> {
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
pub fn serve_sctp(address: &str) -> io::Result<()> {
    let address: SocketAddr = address.parse().map_err(io::Error::other)?;
    orknet_tests::sctp::serve(&name()?, address.port())
}

//! Servers on a node's loopback device that answer with their own address, and the clients' half of the exchange.
#![allow(dead_code, unused_imports, reason = "each test file uses another part")]

use crate::harness::Node;
use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    thread,
    time::Duration,
};

/// Three backends of each protocol and family. They run until the test process ends.
pub struct Servers {
    pub tcp_v4: Vec<SocketAddr>,
    pub tcp_v6: Vec<SocketAddr>,
    pub udp_v4: Vec<SocketAddr>,
    pub udp_v6: Vec<SocketAddr>,
}

const V4: [&str; 3] = ["127.0.0.11:0", "127.0.0.12:0", "127.0.0.13:0"];
const V6: [&str; 3] = ["[fd00::11]:0", "[fd00::12]:0", "[fd00::13]:0"];

impl Servers {
    pub fn start(node: &Node) -> Self {
        for address in ["fd00::11/128", "fd00::12/128", "fd00::13/128"] {
            node.namespace.command("ip", &["-6", "address", "add", address, "dev", "lo", "nodad"]);
        }
        node.namespace.run(|| Self {
            tcp_v4: V4.map(serve_tcp).to_vec(),
            tcp_v6: V6.map(serve_tcp).to_vec(),
            udp_v4: V4.map(serve_udp).to_vec(),
            udp_v6: V6.map(serve_udp).to_vec(),
        })
    }
}

/// Answers each byte with its address, until the client closes.
pub fn serve_tcp(address: &str) -> SocketAddr {
    let listener = TcpListener::bind(address).unwrap();
    let local = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || echo(stream, local));
        }
    });
    local
}

fn echo(mut stream: TcpStream, local: SocketAddr) {
    let mut byte = [0];
    while matches!(stream.read(&mut byte), Ok(1)) {
        if stream.write_all(local.to_string().as_bytes()).is_err() {
            return;
        }
    }
}

/// Answers each datagram with its address.
pub fn serve_udp(address: &str) -> SocketAddr {
    let socket = UdpSocket::bind(address).unwrap();
    let local = socket.local_addr().unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok((_, from)) = socket.recv_from(&mut buffer) {
            if socket.send_to(local.to_string().as_bytes(), from).is_err() {
                return;
            }
        }
    });
    local
}

/// Who is at the other end of the connection.
pub fn tcp_answer(stream: &mut TcpStream) -> String {
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream.write_all(b"?").unwrap();
    let mut answer = [0; 64];
    let length = stream.read(&mut answer).unwrap();
    assert_ne!(length, 0, "the server closed");
    String::from_utf8_lossy(&answer[..length]).into_owned()
}

/// Who answers a datagram, and from where the answer seems to come.
pub fn udp_answer(socket: &UdpSocket, to: SocketAddr) -> (String, SocketAddr) {
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    socket.send_to(b"?", to).unwrap();
    let mut answer = [0; 64];
    let (length, from) = socket.recv_from(&mut answer).unwrap();
    (String::from_utf8_lossy(&answer[..length]).into_owned(), from)
}

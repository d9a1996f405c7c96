//! Random calls of real sockets: whatever a socket of any family asks for, in whatever state it is, it reaches a backend of the front that
//! it named, or gets the error of the documents, or goes where it says; and its peer is what it asked for.
//!
//! `ORKNET_FUZZ=1000000` makes so many calls instead of some tens of thousands; what was drawn comes again with `ORKNET_FUZZ_SEED`.

#[path = "../harness/mod.rs"]
mod harness;
#[path = "../servers/mod.rs"]
mod servers;

mod fronts;

use fronts::{Fronts, Outcome};
use harness::{Namespace, Node};
use orknet_abi::{
    self as abi, DropReason,
    protocol::{TCP, UDP},
    service_flags,
};
use orknet_compiler::{Plan, Step};
use orknet_dataplane::namespace_cookie;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use servers::{tcp_answer, udp_answer};
use std::{
    collections::BTreeMap,
    io::{self, ErrorKind},
    net::{SocketAddr, SocketAddrV6, TcpStream, UdpSocket},
    time::Duration,
};

/// Calls in an ordinary run.
const SLICE: u64 = 30_000;
/// After so many the drop counters are compared.
const BLOCK: u64 = 250;

/// Which destinations a socket of datagrams gets.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Speaks {
    V4,
    V6,
    /// IPv4's, by a socket of IPv6.
    Mapped,
}

/// A socket of datagrams that lives for a while.
struct Client {
    socket: UdpSocket,
    speaks: Speaks,
    number: u64,
    /// As what it knows its peer.
    peer: Option<SocketAddr>,
    /// Whom of these it may be connected to, if somebody answers there.
    backends: Vec<SocketAddr>,
}

struct Fuzz {
    fronts: Fronts,
    random: StdRng,
    /// Whether the calls are made in the node's network namespace, where the servers are.
    is_nodes: bool,
    connected: Vec<Client>,
    unconnected: Vec<Client>,
    sockets: u64,
    /// The backend that a socket, or with session affinity the namespace (0), has had last at a front.
    kept: BTreeMap<(u64, usize), SocketAddr>,
    wanted_drops: BTreeMap<DropReason, u64>,
    seen: BTreeMap<String, u64>,
}

#[test]
fn root_fuzz_sockets() {
    let calls: Option<u64> = std::env::var("ORKNET_FUZZ").ok().map(|text| text.parse().expect("ORKNET_FUZZ is a number of calls"));
    let again = std::env::var("ORKNET_FUZZ_SEED").ok().map(|text| text.parse().expect("ORKNET_FUZZ_SEED is a number"));
    let seed = again.unwrap_or_else(|| if calls.is_some() { rand::random() } else { 7 });
    println!("sockets: ORKNET_FUZZ_SEED={seed}");
    let mut node = Node::new("socket-fuzz");
    let count = calls.unwrap_or(SLICE);
    // Room for every socket of a long run: what is forgotten for want of room is another test's.
    let room = u32::try_from(count.max(1 << 16)).expect("some millions");
    node.config.capacities = ["SOCKETS", "DATAGRAMS"].map(|map| (map.to_owned(), room)).into();
    let dataplane = node.dataplane();
    let address = |text: &str| text.parse::<std::net::IpAddr>().unwrap();
    let namespace_cookie = node.namespace.run(|| namespace_cookie().unwrap());
    let settings =
        abi::Node { v4: address("192.0.2.1").into(), v6: address("2001:db8:1::1").into(), namespace_cookie, ..abi::Node::default() };
    assert!(dataplane.apply(&Plan { steps: vec![Step::PutNode(settings)] }).failures.is_empty());
    let mut fuzz = Fuzz {
        fronts: Fronts::new(&node, dataplane),
        random: StdRng::seed_from_u64(seed),
        is_nodes: true,
        connected: vec![],
        unconnected: vec![],
        sockets: 0,
        kept: BTreeMap::new(),
        wanted_drops: BTreeMap::new(),
        seen: BTreeMap::new(),
    };
    node.run(|| fuzz.all(count));
    let of_node = std::mem::take(&mut fuzz.seen);
    println!("the node's: {of_node:?}");
    let pod = Namespace::new("pod");
    pod.command("ip", &["link", "set", "lo", "up"]);
    fuzz.is_nodes = false;
    node.run(|| {
        pod.enter();
        fuzz.all(count / 5);
    });
    println!("a pod's: {:?}", fuzz.seen);
    for what in ["TCP", "connected", "sent"] {
        let reasons = ["NoEndpoints", "NoSuchPort", "NoSuchService", "NoLocalEndpoints", "SourceNotAllowed", "Backend", "Untouched"];
        for outcome in reasons.iter().filter(|reason| (what, **reason) != ("connected", "NoSuchPort")) {
            let times = of_node.get(&format!("{what}: {outcome}")).copied().unwrap_or(0);
            assert!(times > count / 1_000, "{what}: {outcome}: {times}");
        }
    }
}

impl Fuzz {
    fn all(&mut self, count: u64) {
        (self.connected, self.unconnected) = (vec![], vec![]);
        for speaks in [Speaks::V4, Speaks::V6, Speaks::Mapped, Speaks::V4, Speaks::V6, Speaks::Mapped] {
            let clients = [self.client(speaks), self.client(speaks)];
            let [connected, unconnected] = clients;
            self.connected.push(connected);
            self.unconnected.push(unconnected);
        }
        for number in 0..count {
            match self.random.random_range(0..100) {
                0..30 => self.connect_stream(),
                30..55 => self.connect_datagrams(),
                55..80 => self.send(),
                80..95 => self.look_at_peer(),
                95..99 => self.fronts.switch(&mut self.random),
                _ => self.replace(),
            }
            if number % BLOCK == 0 {
                assert_eq!(self.fronts.drops(), self.wanted_drops, "one refusal, one reason");
            }
        }
        assert_eq!(self.fronts.drops(), self.wanted_drops, "one refusal, one reason");
    }

    fn client(&mut self, speaks: Speaks) -> Client {
        let socket = UdpSocket::bind(if speaks == Speaks::V4 { "0.0.0.0:0" } else { "[::]:0" }).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        self.sockets += 1;
        Client { socket, speaks, number: self.sockets, peer: None, backends: vec![] }
    }

    fn replace(&mut self) {
        let index = self.random.random_range(0..self.connected.len());
        let speaks = self.connected[index].speaks;
        if self.random.random() {
            self.connected[index] = self.client(speaks);
        } else {
            self.unconnected[index] = self.client(speaks);
        }
    }

    fn destination(&mut self, speaks: Speaks) -> SocketAddr {
        loop {
            let to = self.fronts.destination(&mut self.random);
            if to.is_ipv6() == (speaks == Speaks::V6) {
                return to;
            }
        }
    }

    /// How a caller names the destination: by a socket of IPv6 as mapped, or as what it is.
    fn named(&mut self, to: SocketAddr, speaks: Speaks) -> SocketAddr {
        if speaks == Speaks::Mapped && self.random.random() { mapped(to) } else { to }
    }

    fn note(&mut self, what: &str, outcome: Outcome) {
        let outcome = match outcome {
            Outcome::Backend(_) => "Backend".to_owned(),
            Outcome::Refused(reason) => format!("{reason:?}"),
            Outcome::Untouched => "Untouched".to_owned(),
        };
        *self.seen.entry(format!("{what}: {outcome}")).or_default() += 1;
    }

    /// The call was refused as the documents say, and counts as dropped; or the program had nothing against it. Whether it succeeded.
    #[track_caller]
    fn judge<T>(&mut self, what: &str, to: SocketAddr, outcome: Outcome, result: &io::Result<T>) -> bool {
        self.note(what, outcome);
        let error = result.as_ref().err().map(io::Error::kind);
        match outcome {
            Outcome::Refused(reason) => {
                *self.wanted_drops.entry(reason).or_default() += 1;
                let wanted = match reason {
                    DropReason::NoEndpoints | DropReason::NoSuchPort => ErrorKind::ConnectionRefused,
                    _ => ErrorKind::PermissionDenied,
                };
                assert_eq!(error, Some(wanted), "{what} {to}: {reason:?}");
            }
            Outcome::Backend(_) if self.is_nodes => assert_eq!(error, None, "{what} {to}"),
            // In a pod's namespace nobody serves, and what is no Service's may lead nowhere.
            _ => assert_ne!(error, Some(ErrorKind::PermissionDenied), "{what} {to}: {outcome:?}"),
        }
        error.is_none()
    }

    /// Who answered is a backend of the front, and the one that the caller keeps, if it has it still. `who` is the socket's number.
    #[track_caller]
    fn judge_backend(&mut self, front: usize, who: Option<u64>, answer: &str) {
        let answer: SocketAddr = answer.parse().unwrap();
        let of = &self.fronts.all[front];
        assert!(of.backends.contains(&answer), "{} has {:?}, not {answer}", of.at, of.backends);
        let keeper = if of.flags & service_flags::AFFINITY != 0 { Some(0) } else { who };
        let Some(keeper) = keeper else { return };
        if let Some(former) = self.kept.insert((keeper, front), answer)
            && of.backends.contains(&former)
        {
            assert_eq!(answer, former, "{} is kept", of.at);
        }
    }

    fn connect_stream(&mut self) {
        let speaks = if self.random.random() { Speaks::V6 } else { Speaks::V4 };
        let to = self.destination(speaks);
        let asked = if to.is_ipv4() && self.random.random() { mapped(to) } else { to };
        let outcome = self.fronts.outcome(TCP, to, self.is_nodes, false);
        let result = TcpStream::connect(asked);
        if !self.judge("TCP", asked, outcome, &result) {
            return;
        }
        let mut stream = result.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), asked);
        if let Outcome::Backend(front) = outcome {
            let answer = tcp_answer(&mut stream);
            self.judge_backend(front, None, &answer);
        }
        // Closes without the wait that keeps ports from use.
        nix::sys::socket::setsockopt(&stream, nix::sys::socket::sockopt::Linger, &libc::linger { l_onoff: 1, l_linger: 0 }).unwrap();
    }

    fn connect_datagrams(&mut self) {
        let index = self.random.random_range(0..self.connected.len());
        let speaks = self.connected[index].speaks;
        let to = self.destination(speaks);
        let asked = self.named(to, speaks);
        let outcome = self.fronts.outcome(UDP, to, self.is_nodes, true);
        let result = self.connected[index].socket.connect(asked);
        if self.judge("connected", asked, outcome, &result) {
            let backends = if let Outcome::Backend(front) = outcome { self.fronts.all[front].backends.clone() } else { vec![] };
            let client = &mut self.connected[index];
            (client.peer, client.backends) = (Some(if speaks == Speaks::V4 { to } else { mapped(to) }), backends);
        }
        self.assert_peer(index);
        if outcome == Outcome::Untouched && result.is_err() {
            // Linux forgets half of it: the second datagram from now on goes where the call did not (`inet->cork.fl` of the former peer's
            // socket is the failed call's). What the programs refuse ends before that.
            self.connected[index] = self.client(speaks);
        }
        let Outcome::Backend(front) = outcome else { return };
        if self.is_nodes && (self.random.random() || self.fronts.all[front].flags & service_flags::AFFINITY != 0) {
            let answer = self.talk(index);
            self.judge_backend(front, None, &answer.to_string());
        }
    }

    /// A failed call leaves the socket what it had.
    #[track_caller]
    fn assert_peer(&self, index: usize) {
        let client = &self.connected[index];
        assert_eq!(client.socket.peer_addr().ok(), client.peer);
    }

    /// Sends to the peer and gets its answer: always the same one's until the socket connects anew, whatever became of the Service.
    #[track_caller]
    fn talk(&mut self, index: usize) -> SocketAddr {
        let client = &mut self.connected[index];
        let context = format!("{:?} to {:?}, one of {:?}", client.socket, client.peer, client.backends);
        client.socket.send(b"?").expect(&context);
        let mut answer = [0; 64];
        let (length, from) = client.socket.recv_from(&mut answer).expect(&context);
        assert_eq!(Some(from), client.peer);
        let answer: SocketAddr = String::from_utf8_lossy(&answer[..length]).parse().unwrap();
        assert!(client.backends.contains(&answer), "{answer} is none of {:?}", client.backends);
        client.backends = vec![answer];
        answer
    }

    fn look_at_peer(&mut self) {
        let index = self.random.random_range(0..self.connected.len());
        self.assert_peer(index);
        if self.is_nodes && !self.connected[index].backends.is_empty() {
            self.talk(index);
            *self.seen.entry("talked later".to_owned()).or_default() += 1;
        }
    }

    fn send(&mut self) {
        let index = self.random.random_range(0..self.unconnected.len());
        let speaks = self.unconnected[index].speaks;
        let to = self.destination(speaks);
        let asked = self.named(to, speaks);
        let outcome = self.fronts.outcome(UDP, to, self.is_nodes, false);
        let Outcome::Backend(front) = outcome else {
            let result = self.unconnected[index].socket.send_to(b"?", asked);
            self.judge("sent", asked, outcome, &result);
            return;
        };
        if !self.is_nodes {
            let result = self.unconnected[index].socket.send_to(b"?", asked);
            self.judge("sent", asked, outcome, &result);
            return;
        }
        self.note("sent", outcome);
        let client = &self.unconnected[index];
        let number = client.number;
        let (answer, from) = udp_answer(&client.socket, asked);
        assert_eq!(from, if speaks == Speaks::V4 { to } else { mapped(to) });
        self.judge_backend(front, Some(number), &answer);
    }
}

/// The address as sockets of IPv6 have it.
fn mapped(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) => SocketAddrV6::new(v4.ip().to_ipv6_mapped(), v4.port(), 0, 0).into(),
        SocketAddr::V6(_) => address,
    }
}

//! Real sockets in real namespaces, with maps that no program fills: which sockets are ended, and which are not.

use super::{diag::Diagnosis, *};
use nix::sched::{CloneFlags, setns, unshare};
use orknet_abi::{AffinityChoice, AffinityKey, CONNECTIONS, DATAGRAMS, SOCKETS, client_kind};
use std::{
    fs::File,
    io::{ErrorKind, Read as _},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    ops::ControlFlow,
    process::Command,
    sync::mpsc,
    thread,
    time::Duration,
};

const FRONT: [u8; 4] = [10, 96, 0, 1];

/// A namespace with a loopback device; it lives as long as its parked thread.
pub(super) struct Namespace {
    pub(super) path: PathBuf,
    _park: mpsc::Sender<()>,
}

impl Namespace {
    pub(super) fn new() -> Self {
        let (park, parked) = mpsc::channel::<()>();
        let (tell, told) = mpsc::channel();
        thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            assert!(Command::new("ip").args(["link", "set", "lo", "up"]).status().unwrap().success());
            tell.send(nix::unistd::gettid()).unwrap();
            let _ = parked.recv();
        });
        let thread = told.recv().unwrap();
        Self { path: format!("/proc/{}/task/{thread}/ns/net", std::process::id()).into(), _park: park }
    }

    /// Gives its loopback device addresses.
    pub(super) fn own(&self, addresses: &[std::net::IpAddr]) {
        self.run(|| {
            for address in addresses {
                let added = Command::new("ip").args(["address", "add", &address.to_string(), "dev", "lo"]).status();
                assert!(added.unwrap().success(), "{address}");
                // The kernel makes the route to one of IPv6 a moment later.
                let deadline = std::time::Instant::now() + Duration::from_secs(10);
                while UdpSocket::bind((*address, 0)).and_then(|socket| socket.connect((*address, 1))).is_err() {
                    assert!(std::time::Instant::now() < deadline, "{address} is not reached");
                    thread::yield_now();
                }
            }
        });
    }

    pub(super) fn run<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        let inside = || {
            setns(File::open(&self.path).unwrap(), CloneFlags::CLONE_NEWNET).unwrap();
            act()
        };
        thread::scope(|scope| scope.spawn(inside).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// The numbers of the sockets that are connected to an address.
    fn cookies(&self, protocol: u8, to: SocketAddr) -> Vec<u64> {
        let connected = self.run(|| Diagnosis::open().unwrap().connected(protocol, &mut || true).unwrap());
        let to_it = connected.iter().filter(|found| (found.peer, found.peer_port_be) == (to.ip().into(), to.port().to_be()));
        to_it.map(|found| found.cookie).collect()
    }

    fn datagram_client(&self, local: &str, to: SocketAddr) -> UdpSocket {
        self.run(|| {
            let socket = UdpSocket::bind(local).unwrap();
            socket.connect(to).unwrap();
            socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
            socket
        })
    }
}

/// Maps as the socket hooks fill them.
struct Given {
    sockets: Table<SocketKey, SocketOrigin>,
    connections: Table<u32, Connection>,
}

impl Given {
    fn new() -> Self {
        Self { sockets: Table::create(&SOCKETS, roomy()), connections: Table::create(&CONNECTIONS, CONNECTIONS.capacity) }
    }

    fn datagrams(&self, cookie: u64, backend: SocketAddr) {
        let key = SocketKey { cookie, address: backend.ip().into(), port_be: backend.port().to_be(), reserved: [0; 3] };
        let origin = SocketOrigin { address: Address::from_v4(FRONT), port_be: 53_u16.to_be(), reserved: 0 };
        self.sockets.put_one(&key, origin).unwrap();
    }

    fn stream(&self, cookie: u64, backend: SocketAddr) {
        let connection = Connection {
            cookie,
            address: Address::from_v4(FRONT),
            backend: backend.ip().into(),
            port_be: 80_u16.to_be(),
            backend_port_be: backend.port().to_be(),
            reserved: 0,
        };
        self.connections.put_one(&connection_slot(cookie), connection).unwrap();
    }

    fn end(&self, gone: &[SocketAddr], namespaces: &[&Namespace]) -> EndedSockets {
        let gone: Vec<(Address, u16)> = gone.iter().map(|backend| (backend.ip().into(), backend.port().to_be())).collect();
        let mut ask = |uses: &BTreeSet<Use>| {
            assert!(uses.iter().all(|used| used.front == Address::from_v4(FRONT)));
            uses.iter().filter(|used| gone.contains(&(used.backend.address, used.backend.port_be))).copied().collect()
        };
        let maps = Maps { sockets: &self.sockets, connections: &self.connections };
        maps.end_lost(&mut ask, &|| namespaces.iter().map(|namespace| namespace.path.clone()).collect(), &mut unhurried).unwrap()
    }

    fn entries(&self) -> (u32, usize) {
        let mut connections = 0;
        self.connections.read_single(|_, connection| connections += usize::from(connection.cookie != 0)).unwrap();
        (self.sockets.entries().unwrap(), connections)
    }
}

/// Nobody waits for the processor.
fn unhurried(_: Duration) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn aborted(socket: &UdpSocket) -> ErrorKind {
    socket.recv(&mut [0]).unwrap_err().kind()
}

#[test]
fn root_connected_datagram_sockets_of_a_gone_backend_are_ended_in_their_namespaces() {
    for (local, first, second) in [
        ("127.0.0.1:0", "127.0.0.11:5353", "127.0.0.12:5353"),
        ("[::]:0", "[::1]:5353", "[::1]:5354"),
        ("[::]:0", "[::ffff:127.0.0.11]:5353", "[::1]:53"),
    ] {
        let (first, second): (SocketAddr, SocketAddr) = (first.parse().unwrap(), second.parse().unwrap());
        let (pod, other, given) = (Namespace::new(), Namespace::new(), Given::new());
        let client = pod.datagram_client(local, first);
        let (lost, moved) = (pod.cookies(protocol::UDP, first)[0], pod.datagram_client(local, second));
        // A stale entry: the socket spoke to the first backend before it connected to the second.
        let moved_cookie = pod.cookies(protocol::UDP, second)[0];
        // Not through a Service.
        let direct = other.datagram_client(local, first);
        given.datagrams(lost, first);
        given.datagrams(moved_cookie, first);
        given.datagrams(moved_cookie, second);
        assert_eq!(given.end(&[first], &[&other, &pod]), EndedSockets { udp: 1, tcp: 0 }, "{first}");
        assert_eq!(aborted(&client), ErrorKind::ConnectionAborted, "{first}");
        assert_eq!(aborted(&moved), ErrorKind::WouldBlock);
        assert_eq!(aborted(&direct), ErrorKind::WouldBlock);
        assert_eq!(given.entries(), (1, 0), "only what leads to the backend that is left");
        client.connect(second).unwrap();
        assert_eq!(client.peer_addr().unwrap(), second, "and the socket can be connected again");
    }
}

#[test]
fn root_connections_to_a_gone_backend_are_reset_at_both_ends() {
    // The last by a socket of IPv6 that reaches an IPv4 server.
    for (local, is_mapped) in [("127.0.0.11:0", false), ("[::1]:0", false), ("127.0.0.11:0", true)] {
        let (pod, given) = (Namespace::new(), Given::new());
        let listener = pod.run(|| TcpListener::bind(local).unwrap());
        let backend = listener.local_addr().unwrap();
        let mapped = |address: std::net::SocketAddrV4| SocketAddr::new(address.ip().to_ipv6_mapped().into(), address.port());
        let asked = match backend {
            SocketAddr::V4(address) if is_mapped => mapped(address),
            _ => backend,
        };
        let connect = || pod.run(|| TcpStream::connect(asked).unwrap());
        let mut lost = connect();
        let cookie = pod.cookies(protocol::TCP, backend)[0];
        let (mut at_server, _) = listener.accept().unwrap();
        let mut direct = connect();
        given.stream(cookie, backend);
        assert_eq!(given.end(&[], &[&pod]), EndedSockets::default());
        assert_eq!(given.end(&[backend], &[&pod]), EndedSockets { udp: 0, tcp: 1 });
        assert_eq!(lost.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionAborted);
        assert_eq!(at_server.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
        direct.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        // Unlike `read`, goes on after a signal.
        assert_eq!(direct.read_exact(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert_eq!(given.entries(), (0, 0));
    }
}

#[test]
fn root_a_namespace_that_is_gone_has_no_sockets_and_one_that_cannot_be_entered_is_tried_again() {
    let given = Given::new();
    let backend: SocketAddr = "127.0.0.11:53".parse().unwrap();
    let end = |path: &str| {
        given.datagrams(u64::MAX, backend);
        let maps = Maps { sockets: &given.sockets, connections: &given.connections };
        let ended = maps.end_lost(&mut |uses| uses.clone(), &|| vec![path.into()], &mut unhurried).unwrap();
        assert_eq!(ended, EndedSockets::default());
        given.entries().0
    };
    assert_eq!(end("/run/netns/of-nobody"), 0);
    assert_eq!(end("/proc/self/status"), 1);
}

/// Opens sockets in a namespace; with their numbers.
fn open<T: Send>(namespace: &Namespace, act: impl FnOnce() -> T + Send) -> (T, Vec<u64>) {
    let all = || namespace.run(|| Diagnosis::open().unwrap().datagram_sockets(&mut || true).unwrap().collect::<HashSet<u64>>());
    let (before, sockets, after) = (all(), act(), all());
    (sockets, after.difference(&before).copied().collect())
}

/// Room in a map for which three quarters full is not nearly full: every processor sets up to 128 free entries aside, and takes old ones for new
/// when the rest is gone, though others have free ones.
fn roomy() -> u32 {
    1_024 * u32::try_from(aya::util::nr_cpus().unwrap()).unwrap()
}

#[test]
fn root_only_what_is_remembered_of_closed_sockets_is_forgotten_and_only_for_want_of_room() {
    let (pod, node) = (Namespace::new(), Namespace::new());
    let half = roomy() / 2;
    let (sockets, datagrams) = (Table::create(&SOCKETS, roomy()), Table::create(&DATAGRAMS, roomy()));
    let spoke = |cookies: &[u64]| {
        let keys: Vec<_> = cookies.iter().map(|cookie| SocketKey { cookie: *cookie, ..SocketKey::default() }).collect();
        sockets.put(&keys, &vec![SocketOrigin::default(); keys.len()], |_, error| panic!("{error}"));
    };
    let kept = |cookies: &[u64]| {
        let of = |cookie: &u64| {
            let mut client = [0; 16];
            client[..8].copy_from_slice(&cookie.to_ne_bytes());
            AffinityKey { client: Address(client), client_kind: client_kind::SOCKET, ..AffinityKey::default() }
        };
        let keys: Vec<_> = cookies.iter().map(of).collect();
        datagrams.put(&keys, &vec![AffinityChoice::default(); keys.len()], |_, error| panic!("{error}"));
    };
    let entries = || (sockets.entries().unwrap(), datagrams.entries().unwrap());
    let forget =
        |paths: &[PathBuf]| node.run(|| closed::forget(&sockets, &datagrams, &|| Namespaces::at(paths.to_vec()), &mut unhurried).unwrap());
    // Connected and not, in both families, in a pod and on the node: all of them are open.
    let bind = |local: &str| UdpSocket::bind(local).unwrap();
    let (_connected, mut live) = open(&pod, || pod.datagram_client("127.0.0.1:0", "127.0.0.11:53".parse().unwrap()));
    let (_in_pod, more) = open(&pod, || pod.run(|| bind("[::]:0")));
    live.extend(more);
    let (_on_node, more) = open(&node, || node.run(|| bind("127.0.0.1:0")));
    live.extend(more);
    let (sockets_to_close, mut closed) = open(&pod, || pod.run(|| (0..40).map(|_| bind("127.0.0.1:0")).collect::<Vec<_>>()));
    drop(sockets_to_close);
    assert_eq!((live.len(), closed.len()), (3, 40));
    // The kernel counts cookies up: none of these is there yet.
    closed.extend((u64::MAX - u64::from(half)..).take(half as usize - 40));
    spoke(&live);
    kept(&live);
    spoke(&closed[..half as usize - 3]);
    kept(&closed[..half as usize - 2]);
    assert_eq!(
        (entries(), forget(std::slice::from_ref(&pod.path))),
        ((half, half + 1), u64::from(half) - 2),
        "one map is more than half full"
    );
    assert_eq!(entries(), (half, 3));
    spoke(&closed);
    let unreadable = tempfile::NamedTempFile::new().unwrap();
    assert_eq!(forget(&[pod.path.clone(), unreadable.path().to_owned()]), 0, "who knows what is open there");
    assert_eq!(forget(std::slice::from_ref(&pod.path)), u64::from(half));
    assert_eq!(entries(), (3, 3));
}

#[test]
fn root_the_namespaces_of_processes_are_found_without_records() {
    let apart = Namespace::new();
    let mut child = apart.run(|| Command::new("sleep").arg("60").spawn().unwrap());
    let (_socket, numbers) = open(&apart, || apart.datagram_client("127.0.0.1:0", "127.0.0.11:53".parse().unwrap()));
    let mut open = HashSet::new();
    let is_complete = Namespaces::of_processes_and(Vec::new()).each(&mut unhurried, &mut |rest| {
        open.extend(Diagnosis::open()?.datagram_sockets(rest)?);
        Ok(())
    });
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(is_complete && numbers.len() == 1 && open.contains(&numbers[0]));
}

//! Connections that are open when a pod gets its first rules. Until then nobody took note of its flows, so what comes next of them, the
//! answers too, would be taken for new connections. The sockets in the pod's network namespace know them, and who opened them.

use super::{
    diag::{Diagnosis, Found},
    uncertain,
};
use crate::{
    Dataplane, Error,
    flows::monotonic_seconds,
    kernel::When,
    table::{Table, Tables},
};
use nix::sched::{CloneFlags, setns};
use orknet_abi::{Address, Flow, FlowKey, flow_state, protocol};
use std::{
    collections::{BTreeSet, HashSet},
    fs::File,
    io,
    ops::RangeInclusive,
    path::PathBuf,
    thread,
};

/// A pod in whose sockets connections are looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodSockets {
    /// The file of its network namespace.
    pub namespace: PathBuf,
    pub addresses: BTreeSet<Address>,
    /// It had no rules at all, for either direction: then nobody has taken note of its datagrams.
    pub was_open: bool,
}

/// When a pod's sockets are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstRules {
    /// Before its entry names its first rules.
    Coming,
    /// Once it does.
    InForce,
}

impl Dataplane {
    /// Takes note of the flows of the sockets that a pod has open, as programs would have, had it had rules when they were opened: TCP
    /// connections whose handshake is complete, and connected UDP sockets. Flows that are known already, translated or not, stay as they are.
    /// How many are new. A pod that is gone has none.
    ///
    /// Whether a flow may still be, programs judge by who opened it: the other end, if the pod listens at the port (or has a UDP socket there
    /// that is not connected), else the pod. Of datagram sockets that are not connected, in a pod that had no rules at all, nobody knows what they have
    /// asked or not yet answered: until that is over, datagrams that may be answers open no flow. To be called before and after the entry is switched;
    /// see [`hold_datagrams`](Self::hold_datagrams) for what is between.
    ///
    /// Blocks for about a millisecond, some microseconds for each socket, and a fraction of one for each that anybody has on this host. May be called
    /// for several pods at once.
    ///
    /// # Errors
    /// A namespace that can't be looked into, a map that can't be written: the last one. What found room stays; and for half a minute no datagram
    /// that may be an answer opens a flow of a pod whose sockets are not known, or found no room.
    pub fn note_open_flows(&self, pod: &PodSockets, rules: FirstRules) -> Result<u64, Error> {
        note(self.reader().tables(), pod, rules)
    }

    /// For ten seconds no datagram of those pods that had no rules at all opens a flow if it may be an answer: until [`note_open_flows`](Self::note_open_flows)
    /// has found that their rules are in force. To be called right before their entries are switched, and again while that takes longer. Others,
    /// and pods that are gone, are left out.
    ///
    /// Blocks for a fraction of a millisecond for each pod.
    ///
    /// # Errors
    /// A namespace that can't be looked into, a map that can't be written: the last one. It holds for the other pods.
    pub fn hold_datagrams(&self, pods: &[PodSockets]) -> Result<(), Error> {
        hold(self.reader().tables(), pods)
    }
}

fn hold(tables: &Tables, pods: &[PodSockets]) -> Result<(), Error> {
    let enter_each = || {
        let look = |pod: &PodSockets| {
            setns(File::open(&pod.namespace)?, CloneFlags::CLONE_NEWNET)?;
            uncertain::ports_of_clients()
        };
        pods.iter().filter(|pod| pod.was_open).map(|pod| (pod, look(pod))).collect::<Vec<_>>()
    };
    let looked = thread::scope(|scope| scope.spawn(enter_each).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    let now = monotonic_seconds();
    let mut failure = uncertain::forget(&tables.uncertain, |_, uncertain| uncertain.until_seconds < now).err();
    for (pod, of_clients) in looked {
        let held = match of_clients {
            Ok(of_clients) => uncertain::begin(&tables.uncertain, &pod.addresses, &of_clients, now),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(Error::file("look into the network namespace", &pod.namespace)(error)),
        };
        failure = held.err().or(failure);
    }
    failure.map_or(Ok(()), Err)
}

fn note(tables: &Tables, pod: &PodSockets, rules: FirstRules) -> Result<u64, Error> {
    let failed = || Error::file("look at the sockets in the network namespace", &pod.namespace);
    let file = match File::open(&pod.namespace) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        opened => opened.map_err(failed())?,
    };
    let look = || {
        setns(&file, CloneFlags::CLONE_NEWNET)?;
        let sockets = || Ok([Sockets::read(protocol::TCP)?, Sockets::read(protocol::UDP)?]);
        Ok::<_, io::Error>((uncertain::ports_of_clients()?, sockets()))
    };
    // A thread of its own: the namespace is left by its end.
    let looked = thread::scope(|scope| scope.spawn(look).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    let (of_clients, found): (RangeInclusive<u16>, io::Result<[Sockets; 2]>) = looked.map_err(failed())?;
    let used_seconds = monotonic_seconds();
    let mut failure = None;
    // Before the flows: who fills that map must not have others be taken for what they are not. Of a flow that finds no room, nothing but itself is lost.
    if pod.was_open && rules == FirstRules::InForce {
        let datagrams = found.as_ref().ok().map(|[_, datagrams]| &datagrams.serving[..]);
        failure = uncertain::settle(&tables.uncertain, &pod.addresses, datagrams, &of_clients, used_seconds).err();
    }
    let mut noted = 0;
    for flow in found.map_err(failed())?.iter().flat_map(|sockets| sockets.flows(&pod.addresses)) {
        match put(&tables.flows, &flow, used_seconds) {
            Ok(is_new) => noted += u64::from(is_new),
            Err(error) => failure = Some(error),
        }
    }
    failure.map_or(Ok(noted), Err)
}

/// A flow by the pod's own packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Open {
    sent: FlowKey,
    is_pods: bool,
}

/// Writes both directions, unless one of them leads elsewhere; whether it is new.
fn put(table: &Table<FlowKey, Flow>, flow: &Open, used_seconds: u32) -> Result<bool, Error> {
    const KNOWN: u32 = flow_state::OPENED | flow_state::CONFIRMED | flow_state::PLAIN;
    let entry = |key: FlowKey, is_forward: bool| Flow {
        becomes: key,
        state: KNOWN | if is_forward { flow_state::FORWARD } else { 0 },
        used_seconds,
        ..Flow::default()
    };
    let (sent, heard) = (flow.sent, flow.sent.reversed());
    if !table.put_when(&sent, entry(sent, flow.is_pods), When::Absent)? {
        return Ok(false);
    }
    let is_whole = table.put_when(&heard, entry(heard, !flow.is_pods), When::Absent);
    if !matches!(is_whole, Ok(true)) {
        // Half a flow is none.
        table.take(&sent)?;
    }
    is_whole
}

/// The sockets of a protocol in one namespace.
struct Sockets {
    protocol: u8,
    flows: Vec<Found>,
    /// Those that take what anybody sends to their ports.
    serving: Vec<Found>,
}

impl Sockets {
    /// Those of the calling thread's namespace.
    fn read(protocol: u8) -> io::Result<Self> {
        let (flows, serving) = Diagnosis::open()?.flows_and_servers(protocol)?;
        Ok(Self { protocol, flows, serving })
    }

    /// The flows that leave a pod with these addresses.
    fn flows(&self, addresses: &BTreeSet<Address>) -> impl Iterator<Item = Open> {
        let served: HashSet<u16> = self.serving.iter().map(|socket| socket.local_port_be).collect();
        let leaves = |socket: &&Found| addresses.contains(&socket.local) && !addresses.contains(&socket.peer);
        self.flows.iter().filter(leaves).map(move |socket| Open {
            sent: FlowKey {
                source: socket.local,
                destination: socket.peer,
                source_port_be: socket.local_port_be,
                destination_port_be: socket.peer_port_be,
                protocol: self.protocol,
                reserved: [0; 3],
            },
            is_pods: !served.contains(&socket.local_port_be),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sockets::tests::Namespace;
    use orknet_abi::{
        Uncertain, UncertainKey,
        uncertain::{HEARD, SENT},
    };
    use std::{
        collections::BTreeMap,
        net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    };

    /// Source and destination with their ports, and the protocol.
    type Place = (Address, u16, Address, u16, u8);
    type Held = BTreeMap<Place, u32>;

    fn held(table: &Table<FlowKey, Flow>) -> Held {
        let mut held = Held::new();
        let place = |key: &FlowKey| {
            (key.source, u16::from_be(key.source_port_be), key.destination, u16::from_be(key.destination_port_be), key.protocol)
        };
        table.read_single(|key, flow| _ = held.insert(place(&key), flow.state)).unwrap();
        held
    }

    /// Both entries of a flow that the first opened.
    fn expected(protocol: u8, from: SocketAddr, to: SocketAddr) -> [(Place, u32); 2] {
        const KNOWN: u32 = flow_state::OPENED | flow_state::CONFIRMED | flow_state::PLAIN;
        let [(a, b), (c, d)] = [from, to].map(|end| (Address::from(end.ip().to_canonical()), end.port()));
        [((a, b, c, d, protocol), KNOWN | flow_state::FORWARD), ((c, d, a, b, protocol), KNOWN)]
    }

    #[test]
    fn root_open_flows_are_noted_in_the_direction_in_which_they_were_opened() {
        for [pod, far] in [["10.244.1.2", "198.51.100.7"], ["fd00:1::2", "2001:db8::7"]] {
            let namespace = Namespace::new();
            let [pod, far] = [pod, far].map(|text| text.parse::<std::net::IpAddr>().unwrap());
            let [port_of_pod, port_of_far] = [SocketAddr::new(pod, 0), SocketAddr::new(far, 0)];
            namespace.own(&[pod, far]);
            let (mut wanted, mut open) = (Vec::new(), Vec::<Box<dyn std::any::Any + Send>>::new());
            namespace.run(|| {
                // The pod listens at a socket for both families, and somebody connects; then the other way round.
                let bound = [TcpListener::bind("[::]:0").unwrap(), TcpListener::bind(port_of_far).unwrap()];
                let [server, far_server] = bound;
                for (listener, from, to) in [(&server, far, pod), (&far_server, pod, far)] {
                    let to = SocketAddr::new(to, listener.local_addr().unwrap().port());
                    let client = connect_from(from, to);
                    let local = client.local_addr().unwrap();
                    wanted.extend(expected(protocol::TCP, local, to));
                    open.push(Box::new((client, listener.accept().unwrap())));
                }
                // A client's datagram socket, one that serves, and one beside it that has been connected to who asked.
                let client = UdpSocket::bind(port_of_pod).unwrap();
                client.connect(SocketAddr::new(far, 53)).unwrap();
                wanted.extend(expected(protocol::UDP, client.local_addr().unwrap(), SocketAddr::new(far, 53)));
                let (serving, answering) = served_twice(pod);
                answering.connect(SocketAddr::new(far, 4_000)).unwrap();
                wanted.extend(expected(protocol::UDP, SocketAddr::new(far, 4_000), serving.local_addr().unwrap()));
                // Nobody's business: a pod that speaks to itself, and what has not come to be.
                let own = connect_from(pod, SocketAddr::new(pod, server.local_addr().unwrap().port()));
                open.push(Box::new((own, client, serving, answering, server, far_server)));
            });
            let tables = Tables::create(|_| 64);
            let sockets = PodSockets { namespace: namespace.path.clone(), addresses: [pod.into()].into(), was_open: true };
            assert_eq!(note(&tables, &sockets, FirstRules::Coming).unwrap(), 4);
            assert_eq!(held(&tables.flows), wanted.iter().copied().collect::<Held>());
            assert_eq!(note(&tables, &sockets, FirstRules::InForce).unwrap(), 0, "what is known is not noted again");
        }
    }

    #[test]
    fn root_datagrams_that_may_answer_what_nobody_noted_open_nothing_for_a_while() {
        let namespace = Namespace::new();
        let [pod, other]: [std::net::IpAddr; 2] = ["10.244.1.2".parse().unwrap(), "10.244.1.9".parse().unwrap()];
        namespace.own(&[pod, other]);
        let bind = |address, port| UdpSocket::bind(SocketAddr::new(address, port)).unwrap();
        let any = "0.0.0.0".parse().unwrap();
        let bound = namespace.run(|| [bind(pod, 7_946), bind(any, 53), bind(pod, 0), bind(other, 54)]);
        let of_client = bound[2].local_addr().unwrap().port();
        let tables = Tables::create(|_| 64);
        let uncertain = || {
            let mut found = BTreeMap::new();
            let mut put = |key: UncertainKey, uncertain: Uncertain| {
                found.insert(u16::from_be(key.port_be), uncertain.which);
                assert_eq!((key.address, key.reserved), (pod.into(), 0));
                assert!(uncertain.until_seconds > monotonic_seconds() && uncertain.until_seconds < monotonic_seconds() + 60);
            };
            tables.uncertain.read_single(&mut put).unwrap();
            found
        };
        let over = UncertainKey { address: other.into(), ..UncertainKey::default() };
        tables.uncertain.put_one(&over, Uncertain { which: SENT, until_seconds: monotonic_seconds() - 1, ..Uncertain::default() }).unwrap();
        let sockets = PodSockets { namespace: namespace.path.clone(), addresses: [pod.into()].into(), was_open: true };
        note(&tables, &sockets, FirstRules::Coming).unwrap();
        let gone = PodSockets { namespace: "/proc/self/ns/gone".into(), addresses: [other.into()].into(), was_open: true };
        let unreadable = PodSockets { namespace: "/proc/self/status".into(), ..gone.clone() };
        assert!(hold(&tables, &[unreadable, gone, sockets.clone()]).is_err());
        assert_eq!(uncertain(), BTreeMap::from([(0, SENT | HEARD)]), "of all ports; what is over is gone");
        note(&tables, &sockets, FirstRules::InForce).unwrap();
        assert_eq!(uncertain(), BTreeMap::from([(0, 0), (53, SENT), (7_946, SENT), (of_client, HEARD)]));
        uncertain::forget(&tables.uncertain, |key, _| key.address == pod.into()).unwrap();
        assert_eq!(uncertain(), BTreeMap::new(), "the address is another pod's");
        // With rules for the other direction, its datagrams are known.
        for rules in [FirstRules::Coming, FirstRules::InForce] {
            note(&tables, &PodSockets { was_open: false, ..sockets.clone() }, rules).unwrap();
        }
        hold(&tables, &[PodSockets { was_open: false, ..sockets.clone() }]).unwrap();
        assert_eq!(uncertain(), BTreeMap::new());
    }

    #[test]
    fn root_where_there_is_no_room_all_datagrams_of_a_pod_stay_uncertain() {
        const MANY: usize = uncertain::PORTS + 1;
        for (full, sockets, which) in [("UNCERTAIN", 4, SENT | HEARD), ("FLOWS", 4, 0), ("", MANY, SENT | HEARD)] {
            let namespace = Namespace::new();
            let [pod, far]: [std::net::IpAddr; 2] = ["10.244.1.2".parse().unwrap(), "198.51.100.7".parse().unwrap()];
            namespace.own(&[pod, far]);
            let bind = |_| UdpSocket::bind(SocketAddr::new(pod, 0)).unwrap();
            let open: Vec<_> = namespace.run(|| (0..sockets + 4).map(bind).collect());
            open[..4].iter().for_each(|client| client.connect(SocketAddr::new(far, 53)).unwrap());
            let tables = Tables::create(|spec| if spec.name == full { 3 } else { 64 });
            let sockets = PodSockets { namespace: namespace.path.clone(), addresses: [pod.into()].into(), was_open: true };
            hold(&tables, std::slice::from_ref(&sockets)).unwrap();
            let noted = note(&tables, &sockets, FirstRules::InForce);
            assert_eq!(noted.is_err(), !full.is_empty(), "{full}: {noted:?}");
            let key = UncertainKey { address: pod.into(), ..UncertainKey::default() };
            let whole = tables.uncertain.get_single(&key).unwrap().unwrap();
            assert_eq!(whole.which, which, "{full}");
            assert!(whole.until_seconds > monotonic_seconds() + 20, "{full}: longer than while the entry is switched");
            // The pod's sockets are those that the map names, or all ports are uncertain; and flows have both entries.
            let ports = tables.uncertain.entries().unwrap() - 1;
            assert!(if which == 0 { ports == 4 } else { ports <= 2 }, "{full}: {ports} ports");
            assert_eq!(tables.flows.entries().unwrap(), if full == "FLOWS" { 2 } else { 8 }, "{full}");
        }
    }

    #[test]
    fn root_flows_that_are_translated_stay_so() {
        let namespace = Namespace::new();
        let [pod, front]: [std::net::IpAddr; 2] = ["10.244.1.2".parse().unwrap(), "10.96.0.1".parse().unwrap()];
        namespace.own(&[pod, front]);
        let (listener, client) = namespace.run(|| {
            let listener = TcpListener::bind(SocketAddr::new(front, 0)).unwrap();
            let client = connect_from(pod, listener.local_addr().unwrap());
            (listener, client)
        });
        let tables = Tables::create(|_| 64);
        let table = &tables.flows;
        let key = FlowKey {
            source: pod.into(),
            destination: front.into(),
            source_port_be: client.local_addr().unwrap().port().to_be(),
            destination_port_be: listener.local_addr().unwrap().port().to_be(),
            protocol: protocol::TCP,
            reserved: [0; 3],
        };
        let translated = FlowKey { destination: Address::from_v4([10, 244, 1, 3]), ..key };
        let sockets = PodSockets { namespace: namespace.path.clone(), addresses: [pod.into()].into(), was_open: true };
        // As its client, then as its server: the entry for what the pod sends is there, or the one for what it hears.
        for (known, becomes) in [(key, translated), (key.reversed(), translated.reversed())] {
            table.put_one(&known, Flow { becomes, ..Flow::default() }).unwrap();
            assert_eq!(note(&tables, &sockets, FirstRules::Coming).unwrap(), 0);
            assert_eq!(table.entries().unwrap(), 1);
            table.take(&known).unwrap();
        }
        assert_eq!(note(&tables, &sockets, FirstRules::Coming).unwrap(), 1);
    }

    #[test]
    fn root_a_pod_that_is_gone_has_no_sockets() {
        let gone = PodSockets { namespace: "/proc/self/ns/gone".into(), addresses: BTreeSet::new(), was_open: true };
        assert_eq!(note(&Tables::create(|_| 1), &gone, FirstRules::Coming).unwrap(), 0);
    }

    /// A stream from an address of the calling thread's namespace.
    fn connect_from(from: std::net::IpAddr, to: SocketAddr) -> TcpStream {
        use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, socket};
        use std::os::fd::AsRawFd as _;
        let family = if from.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        let stream = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
        bind(stream.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(from, 0))).unwrap();
        connect(stream.as_raw_fd(), &SockaddrStorage::from(to)).unwrap_or_else(|error| panic!("{from} to {to}: {error}"));
        stream.into()
    }

    /// Two datagram sockets at one port.
    fn served_twice(address: std::net::IpAddr) -> (UdpSocket, UdpSocket) {
        use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrStorage, bind, setsockopt, socket, sockopt::ReusePort};
        use std::os::fd::AsRawFd as _;
        let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        let at = |port| {
            let socket = socket(family, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None).unwrap();
            setsockopt(&socket, ReusePort, &true).unwrap();
            bind(socket.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(address, port))).unwrap();
            UdpSocket::from(socket)
        };
        let first = at(0);
        let port = first.local_addr().unwrap().port();
        (first, at(port))
    }
}

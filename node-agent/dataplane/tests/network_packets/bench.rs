//! The node that all of these tests run on.
//!
//! ```text
//! client 198.51.100.9, 2001:db8:9::9 ─ router 192.0.2.254 ─┐                     ┌─ pod A 10.244.0.2, fd00:10:244::2, device 1 (loopback,
//!                                                          ├─ [from_network] eth0 ┤    where its frames come in) ─ [from_pod]
//! node 2  192.0.2.2, 2001:db8::2 ──────────────────────────┘  [to_network]        └─ pod B 10.244.0.3, fd00:10:244::3, device 7
//! pods of node 2: 10.244.1.0/24, fd00:10:244:1::/64           node 1: 192.0.2.1, 2001:db8::1
//!
//! Services: cluster addresses 10.96.0.0/16, fd00:10:96::/112; load balancers' 203.0.113.0/24, 2001:db8:113::/64
//! ```

use crate::frames::Frame;
use crate::harness::{Namespace, Node, command, pod, put_pods};
use orknet_abi::{
    self as abi, Address, Backend, BackendKey, DropReason, Flow, FlowKey, Range, RangeKey, Service, ServiceKey, TABLE_CHUNK, TableChunk,
    TableKey, device_takes, node_flags, range_kinds, scope, service_flags,
};
use orknet_compiler::{Plan, Step, maglev};
use orknet_dataplane::{Arrival, Dataplane, Hook, Ran, Verdict};
use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

/// One family's addresses, the same things in both.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    pub client: &'static str,
    pub router: &'static str,
    pub node: &'static str,
    pub pod_a: &'static str,
    pub pod_b: &'static str,
    pub remote_pod: &'static str,
    pub remote_pod_2: &'static str,
    pub load_balancer: &'static str,
    pub cluster: &'static str,
}

pub const V4: Family = Family {
    client: "198.51.100.9",
    router: "192.0.2.254",
    node: "192.0.2.1",
    pod_a: "10.244.0.2",
    pod_b: "10.244.0.3",
    remote_pod: "10.244.1.9",
    remote_pod_2: "10.244.1.10",
    load_balancer: "203.0.113.5",
    cluster: "10.96.0.10",
};

pub const V6: Family = Family {
    client: "2001:db8:9::9",
    router: "2001:db8::fe",
    node: "2001:db8::1",
    pod_a: "fd00:10:244::2",
    pod_b: "fd00:10:244::3",
    remote_pod: "fd00:10:244:1::9",
    remote_pod_2: "fd00:10:244:1::a",
    load_balancer: "2001:db8:113::5",
    cluster: "fd00:10:96::10",
};

pub const FAMILIES: [Family; 2] = [V4, V6];

/// Ports that source NAT may use.
pub const FIRST_PORT: u16 = 61_000;
pub const LAST_PORT: u16 = 65_000;
/// Positions of look-up tables.
pub const TABLE_SIZE: u32 = 16_381;

pub const DEVICE_A: u32 = 1;
pub const DEVICE_B: u32 = 7;
pub const A_MACS: [[u8; 6]; 2] = [[2, 0, 0, 0, 0, 0xa1], [2, 0, 0, 0, 0, 0xa0]];
pub const B_MACS: [[u8; 6]; 2] = [[2, 0, 0, 0, 0, 0xb1], [2, 0, 0, 0, 0, 0xb0]];
pub const NODE_2_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
pub const ROUTER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0xfe];
pub const NODE_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0xe0];
/// The mark of packets that were translated on their way in.
pub const DONE: u32 = 0x6e6b_726f;

pub fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub fn at(text: &str, port: u16) -> SocketAddr {
    SocketAddr::new(ip(text), port)
}

/// The key of a packet's flow.
pub fn key(protocol: u8, source: SocketAddr, destination: SocketAddr) -> FlowKey {
    FlowKey {
        source: source.ip().into(),
        destination: destination.ip().into(),
        source_port_be: source.port().to_be(),
        destination_port_be: destination.port().to_be(),
        protocol,
        reserved: [0; 3],
    }
}

/// A front as it is in the maps.
#[derive(Clone)]
pub struct Front {
    pub at: SocketAddr,
    pub protocol: u8,
    pub scopes: &'static [u8],
    pub backends: Vec<SocketAddr>,
    pub service: Service,
    pub with_table: bool,
    /// Whether the address has an entry as a whole, and with which flags.
    pub whole: Option<u32>,
}

impl Front {
    /// A load balancer's address in both scopes; its list must have a number of its own.
    pub fn new(list: u32, protocol: u8, at: SocketAddr, backends: &[SocketAddr]) -> Self {
        let service = Service { list, count: backends.len() as u32, ..Service::default() };
        let whole = Some(service_flags::ADDRESS | service_flags::EXTERNAL);
        Self { at, protocol, scopes: &[scope::INSIDE, scope::OUTSIDE], backends: backends.to_vec(), service, with_table: true, whole }
    }

    /// A node port.
    pub fn node_port(self) -> Self {
        Self { whole: None, ..self }
    }

    /// A cluster address.
    pub fn cluster(self) -> Self {
        Self { whole: Some(service_flags::ADDRESS), scopes: &[scope::INSIDE], with_table: false, ..self }
    }

    pub fn with(mut self, change: impl FnOnce(&mut Service)) -> Self {
        change(&mut self.service);
        self
    }

    fn plan(&self) -> Plan {
        let list = self.service.list;
        let backend = |to: &SocketAddr| Backend { address: to.ip().into(), port_be: to.port().to_be(), reserved: 0 };
        let mut steps: Vec<Step> =
            self.backends.iter().zip(0..).map(|(to, slot)| Step::PutBackend(BackendKey { list, slot }, backend(to))).collect();
        let mut service = self.service;
        if self.with_table && self.backends.len() > 1 {
            service.table = list;
            let weighted: Vec<(Address, u32)> = self.backends.iter().map(|to| (to.ip().into(), 1)).collect();
            for (chunk, slots) in (0..).zip(maglev::table(&weighted, TABLE_SIZE).chunks(TABLE_CHUNK)) {
                let mut value = TableChunk::default();
                value.slots[..slots.len()].copy_from_slice(slots);
                steps.insert(0, Step::PutTable(TableKey { table: list, chunk }, Arc::new(value)));
            }
        }
        let front = |scope| ServiceKey { address: self.at.ip().into(), port_be: self.at.port().to_be(), protocol: self.protocol, scope };
        steps.extend(self.scopes.iter().map(|scope| Step::PutService(front(*scope), service)));
        let whole = ServiceKey { address: self.at.ip().into(), ..ServiceKey::default() };
        steps.extend(self.whole.map(|flags| Step::PutService(whole, Service { flags, ..Service::default() })));
        Plan { steps }
    }
}

/// The node of the drawing.
pub struct Bench {
    pub node: Node,
    pub dataplane: Dataplane,
    pub eth0: u32,
    _wire: Namespace,
}

/// What the node says of itself, before a test changes it.
pub fn settings() -> abi::Node {
    abi::Node {
        v4: ip(V4.node).into(),
        v6: ip(V6.node).into(),
        first_port: FIRST_PORT,
        last_port: LAST_PORT,
        flags: node_flags::MASQUERADE,
        table_size: TABLE_SIZE,
        ..abi::Node::default()
    }
}

#[allow(clippy::wrong_self_convention, reason = "methods are named as the hooks are")]
impl Bench {
    pub fn new(name: &str) -> Self {
        Self::sized(name, &[])
    }

    /// With other capacities of maps.
    pub fn sized(name: &str, capacities: &[(&str, u32)]) -> Self {
        let mut node = Node::new(name);
        node.config.capacities = capacities.iter().map(|(map, entries)| ((*map).to_owned(), *entries)).collect();
        let wire = Namespace::new(&format!("{name}-wire"));
        let batch = [
            format!("link add vethb index {DEVICE_B} address 02:00:00:00:00:b0 type veth peer name peerb netns {}", wire.name),
            "link set vethb up".to_owned(),
            format!("link add eth0 address 02:00:00:00:00:e0 type veth peer name wire0 netns {}", wire.name),
            "link set eth0 up".to_owned(),
            "address add 192.0.2.1/24 dev eth0".to_owned(),
            "address add 2001:db8::1/64 dev eth0 nodad".to_owned(),
            "route add default via 192.0.2.254".to_owned(),
            "-6 route add default via 2001:db8::fe".to_owned(),
            "route add 10.244.1.0/24 via 192.0.2.2".to_owned(),
            "-6 route add fd00:10:244:1::/64 via 2001:db8::2".to_owned(),
            "neighbour add 192.0.2.2 lladdr 02:00:00:00:00:02 dev eth0".to_owned(),
            "neighbour add 192.0.2.254 lladdr 02:00:00:00:00:fe dev eth0".to_owned(),
            "-6 neighbour add 2001:db8::2 lladdr 02:00:00:00:00:02 dev eth0".to_owned(),
            "-6 neighbour add 2001:db8::fe lladdr 02:00:00:00:00:fe dev eth0".to_owned(),
        ];
        let eth0 = node.namespace.run(|| {
            for line in &batch {
                command("ip", &line.split(' ').collect::<Vec<_>>());
            }
            for name in ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"] {
                std::fs::write(format!("/proc/sys/{name}"), "1").unwrap();
            }
            nix::net::if_::if_nametoindex("eth0").unwrap()
        });
        wire.command("ip", &["link", "set", "wire0", "up"]);
        let dataplane = Dataplane::open(&node.config).unwrap();
        let bench = Self { node, dataplane, eth0, _wire: wire };
        let (a, b) = (pod(DEVICE_A, A_MACS[0], A_MACS[1]), pod(DEVICE_B, B_MACS[0], B_MACS[1]));
        bench.apply(&put_pods(&FAMILIES.map(|family| [(family.pod_a, a), (family.pod_b, b)]).concat()));
        bench.set_node(settings());
        let here = Range { kinds: range_kinds::PODS, node: Address::default() };
        let node_2 = |address: &str| Range { kinds: range_kinds::PODS, node: ip(address).into() };
        let kind = |kinds| Range { kinds, ..Range::default() };
        bench.apply(&Plan {
            steps: [
                ("10.244.0.0", 24, here),
                ("fd00:10:244::", 64, here),
                ("10.244.1.0", 24, node_2("192.0.2.2")),
                ("fd00:10:244:1::", 64, node_2("2001:db8::2")),
                ("10.96.0.0", 16, kind(range_kinds::SERVICES)),
                ("fd00:10:96::", 112, kind(range_kinds::SERVICES)),
                ("192.0.2.2", 32, kind(range_kinds::DIRECT)),
                ("2001:db8::2", 128, kind(range_kinds::DIRECT)),
            ]
            .map(|(address, bits, range)| Step::PutRange(RangeKey::new(ip(address), bits), range))
            .to_vec(),
        });
        bench
    }

    #[track_caller]
    pub fn apply(&self, plan: &Plan) {
        let applied = self.dataplane.apply(plan);
        assert!(applied.failures.is_empty(), "{:?}", applied.failures);
    }

    #[track_caller]
    pub fn put(&self, front: &Front) {
        self.apply(&front.plan());
    }

    pub fn set_node(&self, node: abi::Node) {
        self.apply(&Plan { steps: vec![Step::PutNode(node)] });
    }

    /// A frame that comes in at the node's device, to its MAC address.
    #[track_caller]
    pub fn from_network(&self, frame: &[u8]) -> Ran {
        let arrival = self.arrival();
        self.node.run(|| self.dataplane.run_from(Hook::FromNetwork, &arrival, frame, 1)).unwrap()
    }

    /// A frame that pod A sends.
    #[track_caller]
    pub fn from_pod(&self, frame: &[u8]) -> Ran {
        self.node.run(|| self.dataplane.run(Hook::FromPod, frame, 1)).unwrap()
    }

    /// A frame that the node itself sends to a Service.
    #[track_caller]
    pub fn from_node(&self, frame: &[u8]) -> Ran {
        self.node.run(|| self.dataplane.run(Hook::FromNode, frame, 1)).unwrap()
    }

    /// A frame that the stack sends to pod A.
    #[track_caller]
    pub fn to_pod(&self, frame: &[u8]) -> Ran {
        self.node.run(|| self.dataplane.run(Hook::ToPod, frame, 1)).unwrap()
    }

    /// A frame from elsewhere that the stack hands to pod A.
    #[track_caller]
    pub fn forwarded_to_pod(&self, frame: &[u8], mark: u32) -> Ran {
        let arrival = Arrival { came_in: self.eth0, mark, ..Arrival::default() };
        self.node.run(|| self.dataplane.run_from(Hook::ToPod, &arrival, frame, 1)).unwrap()
    }

    /// A frame that pod B sends.
    #[track_caller]
    pub fn from_pod_b(&self, frame: Frame) -> Ran {
        let frame = Frame { destination_mac: B_MACS[1], ..frame }.bytes();
        let arrival = Arrival { device: DEVICE_B, ..Arrival::default() };
        self.node.run(|| self.dataplane.run_from(Hook::FromPod, &arrival, &frame, 1)).unwrap()
    }

    /// A frame that the stack sends out of the node's device.
    #[track_caller]
    pub fn to_network(&self, frame: &[u8]) -> Ran {
        let arrival = self.arrival();
        self.node.run(|| self.dataplane.run_from(Hook::ToNetwork, &arrival, frame, 1)).unwrap()
    }

    /// A frame as it comes in at the node's device.
    pub fn arrival(&self) -> Arrival {
        Arrival { device: self.eth0, ..Arrival::default() }
    }

    /// The flows there are.
    pub fn flows(&self) -> BTreeMap<FlowKey, Flow> {
        self.dataplane.reader().flows().unwrap().into_iter().collect()
    }

    /// Packets by drop reason.
    pub fn drops(&self) -> BTreeMap<DropReason, u64> {
        let drops = self.dataplane.reader().drops().unwrap();
        drops.into_iter().filter(|(_, count)| count.packets > 0).map(|(reason, count)| (reason, count.packets)).collect()
    }

    /// What was dropped while `act` ran, each packet with its reason.
    pub fn dropped_by<T>(&self, act: impl FnOnce() -> T) -> (T, Vec<DropReason>) {
        let before = self.drops();
        let answer = act();
        let more = |(reason, count): (DropReason, u64)| vec![reason; (count - before.get(&reason).copied().unwrap_or(0)) as usize];
        (answer, self.drops().into_iter().flat_map(more).collect())
    }

    /// A frame from the wire, before the stack sees it.
    #[track_caller]
    pub fn from_wire(&self, frame: &[u8]) -> Ran {
        self.node.run(|| self.dataplane.run(Hook::FromWire, frame, 1)).unwrap()
    }

    /// Makes the loopback device, where test runs of frames from the wire come in, and `eth0` ones that have a program, and that frames to
    /// the node's MAC address are for. They take all frames of others.
    pub fn serve_wire(&self) {
        self.serve_wire_taking(device_takes::FRAMES | device_takes::PIECES);
    }

    /// The same where they take such frames of others: see [`device_takes`].
    pub fn serve_wire_taking(&self, takes: u8) {
        let device: Vec<u8> = [&NODE_MAC[..], &[takes, 0]].concat();
        let device = <[u8; 8]>::try_from(device).unwrap();
        for ifindex in [1, self.eth0] {
            self.devices().insert(ifindex, device, 0).unwrap();
        }
    }

    /// Says that `eth0` has no program for frames from the wire.
    pub fn stop_eth0(&self) {
        self.devices().remove(&self.eth0).unwrap();
    }

    fn devices(&self) -> aya::maps::HashMap<aya::maps::MapData, u32, [u8; 8]> {
        let path = self.node.pin_dir().join(format!("v{}/maps/DEVICES", abi::ABI_VERSION));
        aya::maps::Map::HashMap(aya::maps::MapData::from_pin(path).unwrap()).try_into().unwrap()
    }

    /// Changes an entry of the map of flows, as only programs and the collector do: it must be there. It loses its way.
    pub fn change_flow(&self, key: &FlowKey, state: impl FnOnce(u32) -> u32, used_seconds: u32) {
        self.edit_flow(key, |value| {
            let kept = u32::from_ne_bytes(value[40..44].try_into().unwrap());
            value[40..44].copy_from_slice(&state(kept).to_ne_bytes());
            value[44..48].copy_from_slice(&used_seconds.to_ne_bytes());
            value[48..].fill(0);
        });
    }

    /// Says that a flow was used last when the clock began. Packets that take the way that it knows leave that alone.
    pub fn make_old(&self, key: &FlowKey) {
        self.edit_flow(key, |value| value[44..48].fill(0));
    }

    /// Removes a flow, both directions, if it is there.
    pub fn forget_flow(&self, key: &FlowKey) {
        let Some(flow) = self.flows().get(key).copied() else { return };
        let mut map = self.flows_by_bytes();
        for key in [*key, flow.becomes.reversed()] {
            map.remove(&raw(&key)).unwrap();
        }
    }

    fn edit_flow(&self, key: &FlowKey, edit: impl FnOnce(&mut [u8; 96])) {
        let mut map = self.flows_by_bytes();
        let raw_key = raw(key);
        let mut value = map.get(&raw_key, 0).unwrap();
        edit(&mut value);
        map.insert(raw_key, value, 0).unwrap();
    }

    fn flows_by_bytes(&self) -> aya::maps::HashMap<aya::maps::MapData, [u8; 40], [u8; 96]> {
        let path = self.node.pin_dir().join(format!("v{}/maps/FLOWS", abi::ABI_VERSION));
        aya::maps::Map::HashMap(aya::maps::MapData::from_pin(path).unwrap()).try_into().unwrap()
    }

    /// Says which datagrams of a pod's ports may answer some of before; port 0 is the pod, whose clients have the ports that Linux gives them.
    pub fn be_uncertain(&self, address: &str, ports: &[(u16, u32)]) {
        self.be_uncertain_until(u32::MAX, address, ports);
    }

    /// The same until so many seconds after the clock began.
    pub fn be_uncertain_until(&self, until_seconds: u32, address: &str, ports: &[(u16, u32)]) {
        let path = self.node.pin_dir().join(format!("v{}/maps/UNCERTAIN", abi::ABI_VERSION));
        let map = aya::maps::Map::HashMap(aya::maps::MapData::from_pin(path).unwrap());
        let mut map = aya::maps::HashMap::<_, [u8; 20], [u32; 3]>::try_from(map).unwrap();
        let clients = [32_768_u16, 60_999].map(u16::to_ne_bytes);
        for (port, which) in ports {
            let mut key = [0; 20];
            key[..16].copy_from_slice(&abi::Address::from(ip(address)).0);
            key[16..18].copy_from_slice(&port.to_be_bytes());
            map.insert(key, [*which, until_seconds, u32::from_ne_bytes(clients.concat().try_into().unwrap())], 0).unwrap();
        }
    }

    /// Every flow is half of a pair.
    #[track_caller]
    pub fn assert_pairs(&self) {
        let flows = self.flows();
        for (key, flow) in &flows {
            let other = flows.get(&flow.becomes.reversed());
            assert_eq!(other.map(|other| other.becomes.reversed()), Some(*key), "{key:?} {flow:?}");
        }
    }
}

/// A key as it lies in the map.
fn raw(key: &FlowKey) -> [u8; 40] {
    let ports = [key.source_port_be.to_ne_bytes(), key.destination_port_be.to_ne_bytes()].concat();
    [&key.source.0[..], &key.destination.0, &ports, &[key.protocol, 0, 0, 0]].concat().try_into().unwrap()
}

/// A frame as the node's device gets it.
pub fn wired(frame: Frame) -> Frame {
    Frame { destination_mac: NODE_MAC, ..frame }
}

/// What a frame is that goes to a pod, one hop on.
pub fn into_pod(frame: Frame, [pod_mac, host_mac]: [[u8; 6]; 2]) -> Frame {
    Frame { destination_mac: pod_mac, source_mac: host_mac, hop_limit: frame.hop_limit - 1, ..frame }
}

/// What a frame is that goes to another machine, whose MAC address the kernel finds.
pub fn one_hop_on(frame: Frame) -> Frame {
    Frame { hop_limit: frame.hop_limit - 1, ..frame }
}

/// The frame was sent on, and is this one to the last bit.
#[track_caller]
pub fn assert_sent(ran: &Ran, wanted: &Frame) {
    assert_eq!(ran.verdict, Verdict::Redirect);
    assert_eq!(ran.frame, wanted.bytes(), "\n got {:02x?}\nwant {:02x?}", ran.frame, wanted.bytes());
}

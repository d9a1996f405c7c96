//! The Services of the fuzz and what the documents say of a call to any destination (docs/packet-path.md, "A pod connects to a Service"),
//! written without a look at the programs.

use crate::harness::{Node, ServiceSpec, put_range, put_service};
use crate::servers::{serve_tcp, serve_udp};
use orknet_abi::{
    self as abi, BackendKey, DropReason, Service, ServiceKey, SourceKey,
    protocol::{TCP, UDP},
    service_flags,
};
use orknet_compiler::{Plan, Step};
use orknet_dataplane::Dataplane;
use rand::{Rng as _, rngs::StdRng, seq::SliceRandom as _};
use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

/// One (address, port, protocol) of a Service. No two have a server in common: of a socket that asks one server by two names only the last
/// is known.
pub struct Front {
    pub at: SocketAddr,
    pub protocol: u8,
    /// Servers that may be its endpoints.
    pub pool: Vec<SocketAddr>,
    /// Those that are.
    pub backends: Vec<SocketAddr>,
    pub flags: u32,
    /// Whether the node may use it, if it has source ranges.
    pub allows: Option<bool>,
    list: u32,
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It goes to a backend of the front with this number.
    Backend(usize),
    Refused(DropReason),
    /// It goes where it says.
    Untouched,
}

/// All of them, and the maps that hold them.
pub struct Fronts {
    pub all: Vec<Front>,
    pub dataplane: Dataplane,
    lists: u32,
}

const V4_RANGE: &str = "10.96.0";
const V6_RANGE: &str = "fd00:96:";
/// Last parts of the addresses of Services that other proxies serve.
const FOREIGN: u8 = 5;

/// Addresses of the two families: a cluster address, an external one, a loopback address, a server's.
fn address(is_v4: bool, kind: &str, number: u8) -> IpAddr {
    let text = match (is_v4, kind) {
        (true, "cluster") => format!("{V4_RANGE}.{number}"),
        (true, "external") => format!("203.0.113.{number}"),
        (true, "loopback") => "127.0.0.1".to_owned(),
        (true, _) => format!("127.0.1.{number}"),
        (false, "cluster") => format!("{V6_RANGE}:{number}"),
        (false, "external") => format!("2001:db8:113::{number}"),
        (false, "loopback") => "::1".to_owned(),
        (false, _) => format!("fd00::1:{number}"),
    };
    text.parse().unwrap()
}

impl Fronts {
    /// Starts the servers and makes the Services.
    pub fn new(node: &Node, dataplane: Dataplane) -> Self {
        let mut fronts = Self { all: vec![], dataplane, lists: 0 };
        for is_v4 in [true, false] {
            let mut number = 0;
            for protocol in [TCP, UDP] {
                let kinds = [
                    ("cluster", 1, 80, 3, 0, None),
                    ("cluster", 1, 81, 1, 0, None),
                    ("cluster", 2, 80, 2, service_flags::AFFINITY, None),
                    ("cluster", 3, 80, 0, 0, None),
                    ("cluster", 4, 80, 0, service_flags::LOCAL_ONLY, None),
                    ("external", 1, 80, 1, 0, Some(true)),
                    ("external", 2, 80, 1, 0, Some(false)),
                    ("external", 3, 80, 2, 0, None),
                    ("loopback", 1, 30_080, 1, 0, None),
                ];
                for (kind, last, port, servers, flags, allows) in kinds {
                    let mut serve = || {
                        number += 1;
                        let at = SocketAddr::new(address(is_v4, "server", number), 0).to_string();
                        let own = format!("{}/128", address(false, "server", number));
                        if !is_v4 {
                            node.namespace.command("ip", &["-6", "address", "add", &own, "dev", "lo", "nodad"]);
                        }
                        node.namespace.run(|| if protocol == TCP { serve_tcp(&at) } else { serve_udp(&at) })
                    };
                    let pool: Vec<SocketAddr> = (0..servers).map(|_| serve()).collect();
                    let at = SocketAddr::new(address(is_v4, kind, last), port);
                    fronts.all.push(Front { at, protocol, backends: pool.clone(), pool, flags, allows, list: 0 });
                }
            }
            fronts.apply(&put_range(&address(is_v4, "cluster", 0).to_string(), if is_v4 { 16 } else { 112 }));
            let whole = ServiceKey { address: address(is_v4, "cluster", FOREIGN).into(), ..ServiceKey::default() };
            let foreign = Service { flags: service_flags::ADDRESS | service_flags::FOREIGN, ..Service::default() };
            fronts.apply(&Plan { steps: vec![Step::PutService(whole, foreign)] });
            // There is a way to these, so that only the programs refuse them.
            for number in 1..FOREIGN {
                let bits = if is_v4 { 32 } else { 128 };
                node.namespace.command("ip", &["route", "add", &format!("{}/{bits}", address(is_v4, "cluster", number)), "dev", "lo"]);
            }
        }
        (0..fronts.all.len()).for_each(|index| fronts.put(index));
        fronts
    }

    fn apply(&self, plan: &Plan) {
        let applied = self.dataplane.apply(plan);
        assert!(applied.failures.is_empty(), "{}", applied.failures[0]);
    }

    /// Writes a front with the backends that it has now under a list of its own, and removes the one before.
    fn put(&mut self, index: usize) {
        self.lists += 1;
        let (lists, front) = (self.lists, &mut self.all[index]);
        let former = std::mem::replace(&mut front.list, lists);
        let affinity_seconds = if front.flags & service_flags::AFFINITY != 0 { 10_800 } else { 0 };
        let spec = ServiceSpec {
            flags: front.flags,
            affinity_seconds,
            ..ServiceSpec::new(&front.at.to_string(), front.protocol, lists, &front.backends)
        };
        let mut plan = put_service(&spec);
        let whole = plan.steps.pop();
        if let (Some(allows), Some(Step::PutService(_, service))) = (front.allows, plan.steps.last_mut()) {
            let is_v4 = front.at.is_ipv4();
            let range = match (is_v4, allows) {
                (true, true) => "192.0.2.0",
                (true, false) => "198.51.100.0",
                (false, true) => "2001:db8:1::",
                (false, false) => "2001:db8:2::",
            };
            service.sources = 1 + index as u32;
            let range = abi::RangeKey::new(range.parse().unwrap(), if is_v4 { 24 } else { 48 });
            plan.steps.insert(0, Step::PutSource(SourceKey::new(1 + index as u32, &range)));
        }
        // A loopback address as a whole is nobody's.
        if let Some(Step::PutService(key, mut service)) = whole.filter(|_| !front.at.ip().is_loopback()) {
            service.flags |= if address(front.at.is_ipv4(), "external", 1).to_string()[..4] == front.at.ip().to_string()[..4] {
                service_flags::EXTERNAL
            } else {
                0
            };
            plan.steps.push(Step::PutService(key, service));
        }
        let gone = (0..front.pool.len() as u32).filter(|_| former != 0).map(|slot| Step::DeleteBackend(BackendKey { list: former, slot }));
        let removal = Plan { steps: gone.collect() };
        self.apply(&plan);
        self.apply(&removal);
    }

    /// Gives a front other backends of its pool in another order; now and then none.
    pub fn switch(&mut self, random: &mut StdRng) {
        let index = random.random_range(0..self.all.len());
        let front = &mut self.all[index];
        let mut pool = front.pool.clone();
        pool.shuffle(random);
        pool.truncate(if random.random_ratio(1, 8) { 0 } else { random.random_range(0..=pool.len()).max(1) });
        front.backends = pool;
        self.put(index);
    }

    /// What the documents promise for a call to `to`, an address of its own family. `is_nodes` says whether the caller is in the node's
    /// network namespace, and `is_silent` whether the call sends nothing.
    pub fn outcome(&self, protocol: u8, to: SocketAddr, is_nodes: bool, is_silent: bool) -> Outcome {
        if to.ip().is_loopback() && !is_nodes {
            return Outcome::Untouched;
        }
        let Some(index) = self.all.iter().position(|front| front.at == to && front.protocol == protocol) else {
            return self.without_port(to.ip(), is_silent);
        };
        let front = &self.all[index];
        match front.allows {
            Some(_) if !is_nodes => Outcome::Untouched,
            Some(false) => Outcome::Refused(DropReason::SourceNotAllowed),
            _ if !front.backends.is_empty() => Outcome::Backend(index),
            _ if front.flags & service_flags::LOCAL_ONLY != 0 => Outcome::Refused(DropReason::NoLocalEndpoints),
            _ => Outcome::Refused(DropReason::NoEndpoints),
        }
    }

    fn without_port(&self, to: IpAddr, is_silent: bool) -> Outcome {
        let is_range = match to {
            IpAddr::V4(v4) => v4.octets()[..2] == [10, 96],
            IpAddr::V6(v6) => v6.segments()[..7] == [0xfd00, 0x96, 0, 0, 0, 0, 0],
        };
        let is_foreign = to == address(to.is_ipv4(), "cluster", FOREIGN);
        if !is_range || is_foreign {
            return Outcome::Untouched;
        }
        match self.all.iter().any(|front| front.at.ip() == to) {
            true if is_silent => Outcome::Untouched,
            true => Outcome::Refused(DropReason::NoSuchPort),
            false => Outcome::Refused(DropReason::NoSuchService),
        }
    }

    /// A destination: fronts, what is near one, servers, addresses that nobody has, another proxy's, any loopback address.
    pub fn destination(&self, random: &mut StdRng) -> SocketAddr {
        let front = &self.all[random.random_range(0..self.all.len())];
        let (at, is_v4) = (front.at, front.at.is_ipv4());
        match random.random_range(0..16) {
            0..9 => at,
            9 | 10 => SocketAddr::new(at.ip(), at.port() ^ (1 << random.random_range(0..8))),
            11 => SocketAddr::new(near(at.ip(), random), at.port()),
            12 => SocketAddr::new(address(is_v4, "cluster", random.random()), at.port()),
            13 => SocketAddr::new(address(is_v4, "cluster", FOREIGN), at.port()),
            14 if is_v4 => SocketAddr::new(IpAddr::from([127, random.random(), random.random(), 1]), at.port()),
            14 => SocketAddr::new(address(false, "loopback", 1), at.port()),
            _ => SocketAddr::new(if is_v4 { IpAddr::from([198, 51, 100, 7]) } else { "2001:db8:9::9".parse().unwrap() }, at.port()),
        }
    }

    /// Packets by drop reason.
    pub fn drops(&self) -> BTreeMap<DropReason, u64> {
        let drops = self.dataplane.reader().drops().unwrap();
        drops.into_iter().filter(|(_, count)| count.packets > 0).map(|(reason, count)| (reason, count.packets)).collect()
    }
}

/// An address that differs in one bit; not the unspecified one, for which Linux takes the loopback address.
fn near(address: IpAddr, random: &mut StdRng) -> IpAddr {
    let near = match address {
        IpAddr::V4(v4) => IpAddr::from((v4.to_bits() ^ (1 << random.random_range(0..32))).to_be_bytes()),
        IpAddr::V6(v6) => IpAddr::from((v6.to_bits() ^ (1 << random.random_range(0..128))).to_be_bytes()),
    };
    if near.is_unspecified() { address } else { near }
}

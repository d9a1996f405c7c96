//! The maps by name, with their key, value and default capacity. Programs declare them with these names; the loader compares.

/// Version of everything in this crate that outlives a process: the maps' layouts and meanings. A change of it makes the agent
/// build new maps beside the old ones. A further map, drop reason or flag needs none.
pub const ABI_VERSION: u32 = 3;

/// Kinds of maps, by the kernel's numbers (`enum bpf_map_type` in linux/bpf.h).
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapKind {
    /// Refuses what is new when it is full.
    Hash = 1,
    /// Every index is there; what is new takes the place of something.
    Array = 2,
    /// A hash with a value for each CPU.
    PerCpuHash = 5,
    /// An array with a value for each CPU; every index is there.
    PerCpuArray = 6,
    /// Forgets what was used least lately when it is full.
    LruHash = 9,
    /// Finds the longest prefix of an address.
    LpmTrie = 11,
    /// What programs tell, in its order.
    Ring = 27,
}

impl MapKind {
    /// Whether a key has a value for each possible CPU.
    pub const fn is_per_cpu(self) -> bool {
        matches!(self, Self::PerCpuHash | Self::PerCpuArray)
    }

    /// Whether a full map forgets instead of refusing.
    pub const fn forgets(self) -> bool {
        matches!(self, Self::LruHash | Self::Array)
    }
}

/// What both sides must agree on for one map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapSpec {
    /// Name in the object file and of the pin.
    pub name: &'static str,
    /// What it is to the kernel.
    pub kind: MapKind,
    /// Bytes of a key.
    pub key_size: u32,
    /// Bytes of a value; of a per-CPU map, of the value for one CPU.
    pub value_size: u32,
    /// Entries unless configured.
    pub capacity: u32,
}

impl MapSpec {
    /// Whether its memory follows the contents (`BPF_F_NO_PREALLOC`); else it has all of it from the start.
    pub fn grows(&self) -> bool {
        matches!(self.kind, MapKind::Hash | MapKind::PerCpuHash | MapKind::LpmTrie) && self.name != FLOWS.name
    }
}

macro_rules! maps {
    ($($(#[doc = $doc:literal])+ $konst:ident: $kind:ident $name:literal, $key:ty => $value:ty, $capacity:literal;)+) => {
        $($(#[doc = $doc])+ pub const $konst: MapSpec = MapSpec {
            name: $name,
            kind: MapKind::$kind,
            key_size: size_of::<$key>() as u32,
            value_size: size_of::<$value>() as u32,
            capacity: $capacity,
        };)+

        /// Every map.
        pub const MAPS: &[MapSpec] = &[$($konst,)+];
    };
}

/// Names of the maps that are the programs' alone: what is in them, no other load of programs needs. They are not pinned, and have no layout
/// here.
pub const PRIVATE: &[&str] = &["SCRATCH", "ROUTES", "TELLING"];

/// The ring of events ([`Event`](crate::Event)): no keys, no values, as many bytes as it says.
pub const EVENTS: MapSpec = MapSpec { name: "EVENTS", kind: MapKind::Ring, key_size: 0, value_size: 0, capacity: 1 << 20 };

/// `TRACE` is the name of the global variable that says (1) that programs tell each step of the packets that they are run on.
pub const TRACE: &str = "TRACE";

/// Name of the map that stands for the FLOWS of other programs, as long as these here take over from them: it has the layout of [`FLOWS`],
/// and is pinned by its owner alone. `FORMER` is the name of the global variable that says so (1).
pub const FORMER_FLOWS: &str = "FORMER_FLOWS";
pub const FORMER: &str = "FORMER";

/// Where in [`CONNECTIONS`] a socket's entry is. The kernel counts cookies up, so the entry lasts until about as many younger sockets
/// as there are slots have connected through Services.
#[inline(always)]
pub const fn connection_slot(cookie: u64) -> u32 {
    cookie as u32 % CONNECTIONS.capacity
}

/// The same of a pair that stands for packets of one protocol to or from one port; see [`Pair::side`].
#[inline(always)]
pub const fn port_pair_slot(source: &[u32; 4], destination: &[u32; 4], port_be: u16, protocol: u8, side: u8) -> u32 {
    let port = port_be as u32 | (protocol as u32) << 16 | (side as u32) << 24;
    (pair_slot(source, destination) ^ (port.wrapping_mul(0xc2b2_ae3d) >> 16)) % PAIRS.capacity
}

/// Where in [`PAIRS`] a pair of addresses may be, each by its words. Pairs that share a place are searched ways for, but for one of them.
#[inline(always)]
pub const fn pair_slot(source: &[u32; 4], destination: &[u32; 4]) -> u32 {
    let mixed = (source[1] ^ source[3]).wrapping_mul(0x9e37_79b1) ^ (destination[1] ^ destination[3]).wrapping_mul(0x85eb_ca77);
    // The highest bits depend on all others.
    (mixed >> 16) % PAIRS.capacity
}

use crate::{Judgement, Monitor, Pair, Peer, PortKey, Rule, Uncertain, UncertainKey, Verdict, VerdictKey, values::*};

maps! {
    /// A Service address and port to the list of its backends. One update of one value switches a Service to a new list.
    SERVICES: Hash "SERVICES", ServiceKey => Service, 131_072;
    /// One backend of one list. Lists are immutable: a change makes a new list, switches the Service, removes the old list.
    BACKENDS: Hash "BACKENDS", BackendKey => Backend, 524_288;
    /// Look-up tables (Maglev) over lists of backends. Tables are immutable, as lists are.
    TABLES: Hash "TABLES", TableKey => TableChunk, 65_536;
    /// The ranges that may use a load-balancer address. Sets are immutable; the value says nothing.
    SOURCES: LpmTrie "SOURCES", SourceKey => u32, 65_536;
    /// What ranges of addresses are: Services', pods', those that see pods as they are.
    RANGES: LpmTrie "RANGES", RangeKey => Range, 16_384;
    /// What programs must know of this node, at index 0.
    NODE: Array "NODE", u32 => Node, 1;
    /// Flows that packets are translated for: an entry for each direction. It refuses a flow rather than forget half of another.
    FLOWS: Hash "FLOWS", FlowKey => Flow, 262_144;
    /// At index 0: whether a packet of a pod was ever translated to another pod of this node (1). Until then nobody need look whether what
    /// pods of this node send each other are answers. Programs set it.
    TRANSLATED: Array "TRANSLATED", u32 => u32, 1;
    /// At index 0: counts up whenever user space changes what ways depend on: pods, devices, ranges, the node. What flows know of their
    /// ways counts only in the generation in which it was asked.
    GENERATION: Array "GENERATION", u32 => u32, 1;
    /// Ways between pairs of addresses whose packets nobody translates, at [`pair_slot`]. Programs write it, for themselves alone.
    PAIRS: PerCpuArray "PAIRS", u32 => Pair, 2_048;
    /// The node's devices on which frames are taken from the wire, by index.
    DEVICES: Hash "DEVICES", u32 => Device, 256;
    /// The ports of datagrams in fragments.
    FRAGMENTS: LruHash "FRAGMENTS", FragmentKey => FragmentPorts, 8_192;
    /// Which Service a TCP socket connected to, at [`connection_slot`]: the latest of the sockets that share a slot.
    CONNECTIONS: Array "CONNECTIONS", u32 => Connection, 131_072;
    /// Which Service addresses a UDP socket spoke to when its destinations were translated.
    SOCKETS: LruHash "SOCKETS", SocketKey => SocketOrigin, 65_536;
    /// The backend that one unconnected UDP socket keeps for its datagrams. A map of its own: there are many such sockets, each for a moment.
    DATAGRAMS: LruHash "DATAGRAMS", AffinityKey => AffinityChoice, 65_536;
    /// The backend that a client keeps by session affinity.
    AFFINITY: LruHash "AFFINITY", AffinityKey => AffinityChoice, 65_536;
    /// The addresses of this node's pods.
    PODS: Hash "PODS", PodKey => Pod, 4_096;
    /// Which selectors addresses satisfy, by number, of those that policies ask for which select pods of this node.
    PEERS: LpmTrie "PEERS", RangeKey => Peer, 524_288;
    /// What a set of rules says about ends of a peer set. What a set says does not change, but for ends that no address is yet.
    VERDICTS: Hash "VERDICTS", VerdictKey => Verdict, 1_048_576;
    /// What depends on ports. Tables are immutable.
    PORTS: LpmTrie "PORTS", PortKey => Judgement, 1_048_576;
    /// Which rules the numbers stand for.
    RULES: Hash "RULES", u32 => Rule, 131_072;
    /// UDP ports of pods that have just got their first rules, where a datagram may answer one of before.
    UNCERTAIN: Hash "UNCERTAIN", UncertainKey => Uncertain, 16_384;
    /// New connections and bytes of their first packets that a rule let through, packets and bytes that it refused. User space makes the entries.
    RULE_COUNTS: PerCpuHash "RULE_COUNTS", u32 => Count, 131_072;
    /// At index 0: what programs are to tell.
    MONITOR: Array "MONITOR", u32 => Monitor, 1;
    /// Events that were not told, by reason.
    LOST: PerCpuArray "LOST", u32 => Count, 2;
    /// Packets and bytes by drop reason.
    DROPS: PerCpuArray "DROPS", u32 => Count, 64;
    /// Frames and bytes that were left to the stack, by reason.
    LEFT: PerCpuArray "LEFT", u32 => Count, 8;
    /// Packets and bytes by pod device and direction.
    TRAFFIC: PerCpuHash "TRAFFIC", TrafficKey => Count, 8_192;
}

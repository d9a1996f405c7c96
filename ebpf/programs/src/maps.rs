//! Every map, declared from the ABI's specification. Reads and writes go through `steps/`.

use crate::steps::{event::Telling, scratch::Scratch};
use aya_ebpf::{
    bindings::BPF_F_NO_PREALLOC,
    macros::map,
    maps::{Array, HashMap, LpmTrie, LruHashMap, PerCpuArray, PerCpuHashMap, RingBuf},
};
use orknet_abi::{
    self as abi, Address, AffinityChoice, AffinityKey, Backend, BackendKey, Connection, Count, Device, Flow, FlowKey, FragmentKey,
    FragmentPorts, Judgement, Monitor, Node, Pair, Peer, Pod, PodKey, Range, Rule, Service, ServiceKey, SocketKey, SocketOrigin,
    TableChunk, TableKey, TrafficKey, Uncertain, UncertainKey, Verdict, VerdictKey,
};

/// Memory follows the contents, not the capacity.
const GROWING: u32 = BPF_F_NO_PREALLOC;

#[map]
pub static SERVICES: HashMap<ServiceKey, Service> = HashMap::with_max_entries(abi::SERVICES.capacity, GROWING);

#[map]
pub static BACKENDS: HashMap<BackendKey, Backend> = HashMap::with_max_entries(abi::BACKENDS.capacity, GROWING);

/// The library's key is the ABI's `RangeKey`: the length of the prefix, then the address.
#[map]
pub static RANGES: LpmTrie<Address, Range> = LpmTrie::with_max_entries(abi::RANGES.capacity, GROWING);

#[map]
pub static TABLES: HashMap<TableKey, TableChunk> = HashMap::with_max_entries(abi::TABLES.capacity, GROWING);

/// What the ABI's `SourceKey` has after the length of the prefix.
#[repr(C)]
pub struct SourcePrefix {
    pub set: u32,
    pub address: Address,
}

#[map]
pub static SOURCES: LpmTrie<SourcePrefix, u32> = LpmTrie::with_max_entries(abi::SOURCES.capacity, GROWING);

#[map]
pub static NODE: Array<Node> = Array::with_max_entries(abi::NODE.capacity, 0);

/// Its memory is there from the start: each connection takes two entries, and to get them from the kernel costs as much as all else that its first
/// packet needs.
#[map]
pub static FLOWS: HashMap<FlowKey, Flow> = HashMap::with_max_entries(abi::FLOWS.capacity, 0);

/// As the object has it, it stays empty: where programs take over from others, the loader puts the FLOWS of those in its place.
#[map]
pub static FORMER_FLOWS: HashMap<FlowKey, Flow> = HashMap::with_max_entries(1, GROWING);

#[map]
pub static TRANSLATED: Array<u32> = Array::with_max_entries(abi::TRANSLATED.capacity, 0);

#[map]
pub static GENERATION: Array<u32> = Array::with_max_entries(abi::GENERATION.capacity, 0);

#[map]
pub static PAIRS: PerCpuArray<Pair> = PerCpuArray::with_max_entries(abi::PAIRS.capacity, 0);

#[map]
pub static DEVICES: HashMap<u32, Device> = HashMap::with_max_entries(abi::DEVICES.capacity, GROWING);

#[map]
pub static FRAGMENTS: LruHashMap<FragmentKey, FragmentPorts> = LruHashMap::with_max_entries(abi::FRAGMENTS.capacity, 0);

#[map]
pub static CONNECTIONS: Array<Connection> = Array::with_max_entries(abi::CONNECTIONS.capacity, 0);

#[map]
pub static SOCKETS: LruHashMap<SocketKey, SocketOrigin> = LruHashMap::with_max_entries(abi::SOCKETS.capacity, 0);

#[map]
pub static DATAGRAMS: LruHashMap<AffinityKey, AffinityChoice> = LruHashMap::with_max_entries(abi::DATAGRAMS.capacity, 0);

#[map]
pub static AFFINITY: LruHashMap<AffinityKey, AffinityChoice> = LruHashMap::with_max_entries(abi::AFFINITY.capacity, 0);

#[map]
pub static PODS: HashMap<PodKey, Pod> = HashMap::with_max_entries(abi::PODS.capacity, GROWING);

/// The library's key is the ABI's `RangeKey`.
#[map]
pub static PEERS: LpmTrie<Address, Peer> = LpmTrie::with_max_entries(abi::PEERS.capacity, GROWING);

#[map]
pub static VERDICTS: HashMap<VerdictKey, Verdict> = HashMap::with_max_entries(abi::VERDICTS.capacity, GROWING);

/// What the ABI's `PortKey` has after the length of the prefix.
#[repr(C)]
pub struct PortPrefix {
    pub table: u32,
    pub protocol: u8,
    pub reserved: u8,
    pub port_be: u16,
}

#[map]
pub static PORTS: LpmTrie<PortPrefix, Judgement> = LpmTrie::with_max_entries(abi::PORTS.capacity, GROWING);

/// For those who explain: programs do not read it.
#[map]
pub static RULES: HashMap<u32, Rule> = HashMap::with_max_entries(abi::RULES.capacity, GROWING);

#[map]
pub static UNCERTAIN: HashMap<UncertainKey, Uncertain> = HashMap::with_max_entries(abi::UNCERTAIN.capacity, GROWING);

#[map]
pub static RULE_COUNTS: PerCpuHashMap<u32, Count> = PerCpuHashMap::with_max_entries(abi::RULE_COUNTS.capacity, GROWING);

#[map]
pub static MONITOR: Array<Monitor> = Array::with_max_entries(abi::MONITOR.capacity, 0);

#[map]
pub static LOST: PerCpuArray<Count> = PerCpuArray::with_max_entries(abi::LOST.capacity, 0);

#[map]
pub static EVENTS: RingBuf = RingBuf::with_byte_size(abi::EVENTS.capacity, 0);

/// How many events of each kind a processor has told in a tick. Not in the ABI: each load of programs has one of its own.
#[map]
pub static TELLING: PerCpuArray<Telling> = PerCpuArray::with_max_entries(1, 0);

#[map]
pub static DROPS: PerCpuArray<Count> = PerCpuArray::with_max_entries(abi::DROPS.capacity, 0);

#[map]
pub static LEFT: PerCpuArray<Count> = PerCpuArray::with_max_entries(abi::LEFT.capacity, 0);

#[map]
pub static TRAFFIC: PerCpuHashMap<TrafficKey, Count> = PerCpuHashMap::with_max_entries(abi::TRAFFIC.capacity, GROWING);

/// Answers of the node's routes for pairs of addresses, at [`pair_slot`](abi::pair_slot). Not in the ABI: each load of programs asks itself.
#[map]
pub static ROUTES: PerCpuArray<Pair> = PerCpuArray::with_max_entries(abi::PAIRS.capacity, 0);

/// Not in the ABI: each load of programs has one of its own.
#[map]
pub static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(1, 0);

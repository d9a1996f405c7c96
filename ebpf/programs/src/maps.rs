//! Every map, declared from the ABI's specification. Reads and writes go through `steps/`.

use aya_ebpf::{
    bindings::BPF_F_NO_PREALLOC,
    macros::map,
    maps::{Array, HashMap, LpmTrie, LruHashMap, PerCpuArray, PerCpuHashMap},
};
use orknet_abi::{
    self as abi, Address, AffinityChoice, AffinityKey, Backend, BackendKey, Connection, Count, Pod, PodKey, Service, ServiceKey, SocketKey,
    SocketOrigin, TrafficKey,
};

/// Memory follows the contents, not the capacity.
const GROWING: u32 = BPF_F_NO_PREALLOC;

#[map]
pub static SERVICES: HashMap<ServiceKey, Service> = HashMap::with_max_entries(abi::SERVICES.capacity, GROWING);

#[map]
pub static BACKENDS: HashMap<BackendKey, Backend> = HashMap::with_max_entries(abi::BACKENDS.capacity, GROWING);

/// The library's key is the ABI's `RangeKey`: the length of the prefix, then the address.
#[map]
pub static RANGES: LpmTrie<Address, u32> = LpmTrie::with_max_entries(abi::RANGES.capacity, GROWING);

#[map]
pub static CONNECTIONS: Array<Connection> = Array::with_max_entries(abi::CONNECTIONS.capacity, 0);

#[map]
pub static SOCKETS: LruHashMap<SocketKey, SocketOrigin> = LruHashMap::with_max_entries(abi::SOCKETS.capacity, 0);

#[map]
pub static AFFINITY: LruHashMap<AffinityKey, AffinityChoice> = LruHashMap::with_max_entries(abi::AFFINITY.capacity, 0);

#[map]
pub static PODS: HashMap<PodKey, Pod> = HashMap::with_max_entries(abi::PODS.capacity, GROWING);

#[map]
pub static DROPS: PerCpuArray<Count> = PerCpuArray::with_max_entries(abi::DROPS.capacity, 0);

#[map]
pub static TRAFFIC: PerCpuHashMap<TrafficKey, Count> = PerCpuHashMap::with_max_entries(abi::TRAFFIC.capacity, GROWING);

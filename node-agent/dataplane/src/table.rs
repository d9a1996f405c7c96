//! The maps with their types: every pinned map of one version, opened.

use crate::{
    Error,
    bpffs::Pins,
    kernel::{Entries, MapFile, Plain, Walk, When},
};
use orknet_abi::{
    self as abi, AffinityChoice, AffinityKey, Backend, BackendKey, Connection, Count, Device, Flow, FlowKey, FragmentKey, FragmentPorts,
    Judgement, MapKind, MapSpec, Monitor, Node, Pair, Peer, Pod, PodKey, PortKey, Range, RangeKey, Rule, Service, ServiceKey, SocketKey,
    SocketOrigin, SourceKey, TableChunk, TableKey, TrafficKey, Uncertain, UncertainKey, Verdict, VerdictKey,
};
use std::{io, marker::PhantomData, os::fd::OwnedFd, path::Path};

/// A map with its key and value types.
#[derive(Debug)]
pub(crate) struct Table<K, V> {
    spec: &'static MapSpec,
    file: MapFile,
    types: PhantomData<fn(K) -> V>,
}

/// Every map of the ABI.
#[derive(Debug)]
pub(crate) struct Tables {
    pub(crate) services: Table<ServiceKey, Service>,
    pub(crate) backends: Table<BackendKey, Backend>,
    pub(crate) tables: Table<TableKey, TableChunk>,
    pub(crate) sources: Table<SourceKey, u32>,
    pub(crate) ranges: Table<RangeKey, Range>,
    pub(crate) node: Table<u32, Node>,
    pub(crate) flows: Table<FlowKey, Flow>,
    pub(crate) translated: Table<u32, u32>,
    pub(crate) generation: Table<u32, u32>,
    pub(crate) pairs: Table<u32, Pair>,
    pub(crate) devices: Table<u32, Device>,
    pub(crate) fragments: Table<FragmentKey, FragmentPorts>,
    pub(crate) pods: Table<PodKey, Pod>,
    pub(crate) connections: Table<u32, Connection>,
    pub(crate) sockets: Table<SocketKey, SocketOrigin>,
    pub(crate) datagrams: Table<AffinityKey, AffinityChoice>,
    pub(crate) affinity: Table<AffinityKey, AffinityChoice>,
    pub(crate) peers: Table<RangeKey, Peer>,
    pub(crate) verdicts: Table<VerdictKey, Verdict>,
    pub(crate) ports: Table<PortKey, Judgement>,
    pub(crate) rules: Table<u32, Rule>,
    pub(crate) uncertain: Table<UncertainKey, Uncertain>,
    pub(crate) rule_counts: Table<u32, Count>,
    pub(crate) monitor: Table<u32, Monitor>,
    pub(crate) lost: Table<u32, Count>,
    pub(crate) drops: Table<u32, Count>,
    pub(crate) left: Table<u32, Count>,
    pub(crate) traffic: Table<TrafficKey, Count>,
}

impl Tables {
    /// Opens the pinned maps, for reading only if so wished.
    pub(crate) fn open(pins: &Pins, read_only: bool) -> Result<Self, Error> {
        Ok(Self {
            services: Table::open(pins, &abi::SERVICES, read_only)?,
            backends: Table::open(pins, &abi::BACKENDS, read_only)?,
            tables: Table::open(pins, &abi::TABLES, read_only)?,
            sources: Table::open(pins, &abi::SOURCES, read_only)?,
            ranges: Table::open(pins, &abi::RANGES, read_only)?,
            node: Table::open(pins, &abi::NODE, read_only)?,
            flows: Table::open(pins, &abi::FLOWS, read_only)?,
            translated: Table::open(pins, &abi::TRANSLATED, read_only)?,
            generation: Table::open(pins, &abi::GENERATION, read_only)?,
            pairs: Table::open(pins, &abi::PAIRS, read_only)?,
            devices: Table::open(pins, &abi::DEVICES, read_only)?,
            fragments: Table::open(pins, &abi::FRAGMENTS, read_only)?,
            pods: Table::open(pins, &abi::PODS, read_only)?,
            connections: Table::open(pins, &abi::CONNECTIONS, read_only)?,
            sockets: Table::open(pins, &abi::SOCKETS, read_only)?,
            datagrams: Table::open(pins, &abi::DATAGRAMS, read_only)?,
            affinity: Table::open(pins, &abi::AFFINITY, read_only)?,
            peers: Table::open(pins, &abi::PEERS, read_only)?,
            verdicts: Table::open(pins, &abi::VERDICTS, read_only)?,
            ports: Table::open(pins, &abi::PORTS, read_only)?,
            rules: Table::open(pins, &abi::RULES, read_only)?,
            uncertain: Table::open(pins, &abi::UNCERTAIN, read_only)?,
            rule_counts: Table::open(pins, &abi::RULE_COUNTS, read_only)?,
            monitor: Table::open(pins, &abi::MONITOR, read_only)?,
            lost: Table::open(pins, &abi::LOST, read_only)?,
            drops: Table::open(pins, &abi::DROPS, read_only)?,
            left: Table::open(pins, &abi::LEFT, read_only)?,
            traffic: Table::open(pins, &abi::TRAFFIC, read_only)?,
        })
    }

    /// Maps that no program uses, of so many entries; arrays are as the ABI has them.
    #[cfg(test)]
    pub(crate) fn create(capacity: impl Fn(&MapSpec) -> u32) -> Self {
        fn table<K: Plain, V: Plain>(spec: &'static MapSpec, capacity: &impl Fn(&MapSpec) -> u32) -> Table<K, V> {
            let is_array = matches!(spec.kind, MapKind::Array | MapKind::PerCpuArray);
            Table::create(spec, if is_array { spec.capacity } else { capacity(spec) })
        }
        Self {
            services: table(&abi::SERVICES, &capacity),
            backends: table(&abi::BACKENDS, &capacity),
            tables: table(&abi::TABLES, &capacity),
            sources: table(&abi::SOURCES, &capacity),
            ranges: table(&abi::RANGES, &capacity),
            node: table(&abi::NODE, &capacity),
            flows: table(&abi::FLOWS, &capacity),
            translated: table(&abi::TRANSLATED, &capacity),
            generation: table(&abi::GENERATION, &capacity),
            pairs: table(&abi::PAIRS, &capacity),
            devices: table(&abi::DEVICES, &capacity),
            fragments: table(&abi::FRAGMENTS, &capacity),
            pods: table(&abi::PODS, &capacity),
            connections: table(&abi::CONNECTIONS, &capacity),
            sockets: table(&abi::SOCKETS, &capacity),
            datagrams: table(&abi::DATAGRAMS, &capacity),
            affinity: table(&abi::AFFINITY, &capacity),
            peers: table(&abi::PEERS, &capacity),
            verdicts: table(&abi::VERDICTS, &capacity),
            ports: table(&abi::PORTS, &capacity),
            rules: table(&abi::RULES, &capacity),
            uncertain: table(&abi::UNCERTAIN, &capacity),
            rule_counts: table(&abi::RULE_COUNTS, &capacity),
            monitor: table(&abi::MONITOR, &capacity),
            lost: table(&abi::LOST, &capacity),
            drops: table(&abi::DROPS, &capacity),
            left: table(&abi::LEFT, &capacity),
            traffic: table(&abi::TRAFFIC, &capacity),
        }
    }
}

/// Opens a pinned map and compares it with the ABI.
pub(crate) fn open_checked(path: &Path, spec: &MapSpec, read_only: bool) -> Result<MapFile, Error> {
    let file = MapFile::open(path, read_only).map_err(Error::file("open the pinned map", path))?;
    let shape = file.shape();
    let pairs = [
        ("its kind is", "", shape.kind, spec.kind as u32),
        ("its keys have", " bytes", shape.key_size, spec.key_size),
        ("its values have", " bytes", shape.value_size, spec.value_size),
    ];
    match pairs.into_iter().find(|(_, _, is, wanted)| is != wanted) {
        Some((what, unit, is, wanted)) => {
            Err(Error::PinMismatch { path: path.to_owned(), what: format!("{what} {is}{unit} instead of {wanted}") })
        }
        None => Ok(file),
    }
}

/// In what a map that is laid out as the ABI says differs from one that would be made now, of so many entries: in its capacity, or in when it gets
/// its memory.
pub(crate) fn difference(file: &MapFile, spec: &MapSpec, wanted: u32) -> Option<String> {
    let shape = file.shape();
    if shape.capacity != wanted {
        return Some(format!("it has room for {} entries instead of {wanted}", shape.capacity));
    }
    match (shape.grows(), spec.grows()) {
        (true, false) => Some("it takes memory as it fills instead of from the start".to_owned()),
        (false, true) => Some("it has its memory from the start instead of as it fills".to_owned()),
        _ => None,
    }
}

impl<K: Plain, V: Plain> Table<K, V> {
    pub(crate) fn open(pins: &Pins, spec: &'static MapSpec, read_only: bool) -> Result<Self, Error> {
        Ok(Self { spec, file: open_checked(&pins.map(spec.name), spec, read_only)?, types: PhantomData })
    }

    /// An open map that has this layout.
    pub(crate) fn over(spec: &'static MapSpec, fd: OwnedFd) -> io::Result<Self> {
        Ok(Self { spec, file: MapFile::over(fd)?, types: PhantomData })
    }

    /// A map of this kind that no program uses.
    #[cfg(test)]
    pub(crate) fn create(spec: &'static MapSpec, capacity: u32) -> Self {
        let file = MapFile::create(spec.kind, spec.key_size, spec.value_size, capacity).unwrap();
        Self { spec, file, types: PhantomData }
    }

    /// The map's name.
    pub(crate) fn name(&self) -> &'static str {
        self.spec.name
    }

    /// Entries that it can hold.
    pub(crate) fn capacity(&self) -> u32 {
        self.file.shape().capacity
    }

    /// The kernel's number of the map.
    pub(crate) fn id(&self) -> u32 {
        self.file.shape().id
    }

    /// What it is to the kernel.
    pub(crate) fn kind(&self) -> MapKind {
        self.spec.kind
    }

    /// Whether it forgets when it is full.
    pub(crate) fn forgets(&self) -> bool {
        self.spec.kind.forgets()
    }

    /// The values of one entry, if it is there: one, or one for each possible CPU.
    pub(crate) fn get(&self, key: &K) -> Result<Option<Vec<V>>, Error> {
        self.file.get(key).map_err(Error::map("look up", self.name()))
    }

    /// Every entry, in no order, with one value, or one for each possible CPU.
    pub(crate) fn read(&self, entry: impl FnMut(K, &[V])) -> Result<(), Error> {
        self.file.read_all(entry).map_err(Error::map("read", self.name()))
    }

    /// Every entry, in no order, with the only or first value.
    pub(crate) fn read_single(&self, mut entry: impl FnMut(K, V)) -> Result<(), Error> {
        self.read(|key, values| entry(key, values.first().copied().unwrap_or_default()))
    }

    /// How many entries there are now; reads them all.
    pub(crate) fn entries(&self) -> Result<u32, Error> {
        let mut entries = 0;
        self.read(|_, _| entries += 1)?;
        Ok(entries)
    }

    /// Writes entries; every one that could not be written is handed to `failed` with its index. A full map costs the entries
    /// that did not fit, no others.
    pub(crate) fn put(&self, keys: &[K], values: &[V], mut failed: impl FnMut(usize, io::Error)) {
        let mut start = 0;
        while start < keys.len() {
            let Err((done, error)) = self.file.put(&keys[start..], &values[start..]) else { return };
            let at = (start + done).min(keys.len() - 1);
            failed(at, error);
            start = at + 1;
        }
    }

    /// Removes entries; one that is gone already is as good as removed.
    pub(crate) fn delete(&self, keys: &[K], mut failed: impl FnMut(usize, io::Error)) {
        let mut start = 0;
        while start < keys.len() {
            let Err((done, error)) = self.file.delete(&keys[start..]) else { return };
            let at = (start + done).min(keys.len() - 1);
            if error.raw_os_error() != Some(libc::ENOENT) {
                failed(at, error);
            }
            start = at + 1;
        }
    }

    /// Writes one entry, with the same value for every CPU where each has its own.
    pub(crate) fn put_one(&self, key: &K, value: V) -> Result<(), Error> {
        self.put_when(key, value, When::Any).map(drop)
    }

    /// The same, with what the kernel says to it.
    pub(crate) fn put_each(&self, key: &K, value: V) -> io::Result<()> {
        self.file.put_one(key, value, When::Any).map(drop)
    }

    /// The same if the entry is there, or if it is not; whether it is written.
    pub(crate) fn put_when(&self, key: &K, value: V, when: When) -> Result<bool, Error> {
        self.file.put_one(key, value, when).map_err(Error::map("write", self.name()))
    }

    /// The only or first value of one entry, if it is there.
    pub(crate) fn get_single(&self, key: &K) -> Result<Option<V>, Error> {
        Ok(self.get(key)?.and_then(|values| values.first().copied()))
    }

    /// Removes one entry and answers what its only or first value was at that moment. `None` if it is not there.
    pub(crate) fn take(&self, key: &K) -> Result<Option<V>, Error> {
        let taken = self.file.take(key).map_err(Error::map("take from", self.name()))?;
        Ok(taken.and_then(|values| values.first().copied()))
    }

    /// The next entries of a walk; see [`MapFile::next_batch`].
    pub(crate) fn next_batch<'a>(&self, walk: &'a mut Walk<K, V>) -> Result<Option<Entries<'a, K, V>>, Error> {
        self.file.next_batch(walk).map_err(Error::map("read", self.name()))
    }
}

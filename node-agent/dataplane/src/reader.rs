//! What the kernel holds, read from the pinned maps: also without an agent.

use crate::{
    Error,
    bpffs::Pins,
    kernel::Plain,
    table::{Table, Tables},
};
use orknet_abi::{
    Address, Backend, BackendKey, Connection, Count, DropReason, Flow, FlowKey, LeftReason, Node, Peer, Pod, PodKey, Range, RangeKey, Rule,
    Service, ServiceKey, SourceKey, TableChunk, TableKey, TrafficKey,
};
use orknet_compiler::MapImage;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
};

/// Read access to the maps of one node.
#[derive(Debug)]
pub struct Reader {
    tables: Tables,
}

/// How full a map is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapUse {
    /// The map's name.
    pub name: &'static str,
    /// Entries now.
    pub entries: u32,
    /// Entries at most.
    pub capacity: u32,
    /// Whether a full map forgets old entries instead of refusing new ones.
    pub forgets: bool,
}

/// Looks how full one map is.
type Look<'a> = dyn Fn() -> Result<MapUse, Error> + 'a;

impl Reader {
    /// Opens the pinned maps below a pin directory, for reading only. Loads nothing and needs no agent.
    ///
    /// # Errors
    /// [`Error::NotPinned`] if no agent of this version has run with this directory.
    pub fn open(pin_dir: &Path) -> Result<Self, Error> {
        let pins = Pins::new(pin_dir);
        let first = pins.map(orknet_abi::SERVICES.name);
        match first.try_exists() {
            Ok(true) => Ok(Self { tables: Tables::open(&pins, true)? }),
            Ok(false) => Err(Error::NotPinned { path: pin_dir.to_owned() }),
            Err(error) => Err(Error::file("look for the pinned maps", first)(error)),
        }
    }

    pub(crate) fn over(tables: Tables) -> Self {
        Self { tables }
    }

    pub(crate) fn tables(&self) -> &Tables {
        &self.tables
    }

    /// Everything that plans write, as the kernel has it now: what a restarted agent adopts, and what a resync compares with.
    /// Reading 110,000 entries takes some tens of milliseconds.
    pub fn image(&self) -> Result<MapImage, Error> {
        Ok(MapImage {
            services: self.services()?,
            backends: self.backends()?,
            tables: self.tables_by_chunk()?,
            sources: self.sources()?,
            pods: self.pods()?,
            peers: collect(&self.tables.peers)?,
            verdicts: collect(&self.tables.verdicts)?,
            ports: collect(&self.tables.ports)?,
            rules: self.rules()?,
            ranges: self.ranges()?,
            node: self.node()?,
        })
    }

    /// Whether the kernel has exactly this image. Cheaper than comparing with [`Self::image`], and holds no second copy.
    pub fn holds(&self, image: &MapImage) -> Result<bool, Error> {
        Ok(agrees(&self.tables.services, image.services.len(), |key, value| image.services.get(key) == Some(value))?
            && agrees(&self.tables.backends, image.backends.len(), |key, value| image.backends.get(key) == Some(value))?
            && agrees(&self.tables.pods, image.pods.len(), |key, value| image.pods.get(key) == Some(value))?
            && agrees(&self.tables.peers, image.peers.len(), |key, value| image.peers.get(key) == Some(value))?
            && agrees(&self.tables.verdicts, image.verdicts.len(), |key, value| image.verdicts.get(key) == Some(value))?
            && agrees(&self.tables.ports, image.ports.len(), |key, value| image.ports.get(key) == Some(value))?
            && agrees(&self.tables.rules, image.rules.len(), |key, value| image.rules.get(key) == Some(value))?
            && agrees(&self.tables.tables, image.tables.len(), |key, value| image.tables.get(key).is_some_and(|chunk| **chunk == *value))?
            && agrees(&self.tables.sources, image.sources.len(), |key, _| image.sources.contains(key))?
            && agrees(&self.tables.ranges, image.ranges.len(), |key, value| image.ranges.get(key) == Some(value))?
            && self.node()? == image.node)
    }

    /// One Service's front, if it is there: a system call.
    pub fn service(&self, key: &ServiceKey) -> Result<Option<Service>, Error> {
        Ok(self.tables.services.get(key)?.and_then(|values| values.first().copied()))
    }

    /// The pod of this node that has the address.
    pub fn pod(&self, key: &PodKey) -> Result<Option<Pod>, Error> {
        Ok(self.tables.pods.get(key)?.and_then(|values| values.first().copied()))
    }

    /// What policies know of an address.
    pub fn peer(&self, address: Address) -> Result<Option<Peer>, Error> {
        let whole = RangeKey { prefix_bits: 128, address };
        Ok(self.tables.peers.get(&whole)?.and_then(|values| values.first().copied()))
    }

    /// The Services' fronts.
    pub fn services(&self) -> Result<BTreeMap<ServiceKey, Service>, Error> {
        collect(&self.tables.services)
    }

    /// The backends by list and slot.
    pub fn backends(&self) -> Result<BTreeMap<BackendKey, Backend>, Error> {
        collect(&self.tables.backends)
    }

    /// The look-up tables, chunk by chunk.
    pub fn tables_by_chunk(&self) -> Result<BTreeMap<TableKey, Arc<TableChunk>>, Error> {
        let mut chunks = BTreeMap::new();
        self.tables.tables.read(|key, values| chunks.extend(values.first().map(|chunk| (key, Arc::new(*chunk)))))?;
        Ok(chunks)
    }

    /// The sets of ranges that may use load-balancer addresses.
    pub fn sources(&self) -> Result<BTreeSet<SourceKey>, Error> {
        Ok(collect(&self.tables.sources)?.into_keys().collect())
    }

    /// What ranges of addresses are.
    pub fn ranges(&self) -> Result<BTreeMap<RangeKey, Range>, Error> {
        collect(&self.tables.ranges)
    }

    /// What programs know of this node; `None` before anybody has told them.
    pub fn node(&self) -> Result<Option<Node>, Error> {
        let node = self.tables.node.get(&0)?.and_then(|values| values.first().copied());
        Ok(node.filter(|node| *node != Node::default()))
    }

    /// Both directions of every flow that packets are translated for, in no order.
    pub fn flows(&self) -> Result<Vec<(FlowKey, Flow)>, Error> {
        let mut flows = Vec::new();
        self.tables.flows.read_single(|key, flow| flows.push((key, flow)))?;
        Ok(flows)
    }

    /// The addresses of this node's pods.
    pub fn pods(&self) -> Result<BTreeMap<PodKey, Pod>, Error> {
        collect(&self.tables.pods)
    }

    /// Which rules of policies the numbers stand for.
    pub fn rules(&self) -> Result<BTreeMap<u32, Rule>, Error> {
        collect(&self.tables.rules)
    }

    /// What each rule has let through and refused: see [`RULE_COUNTS`](orknet_abi::RULE_COUNTS).
    pub fn rule_counts(&self) -> Result<BTreeMap<u32, Count>, Error> {
        numbered(&self.tables.rule_counts)
    }

    /// The TCP sockets that connected to a Service lately, in no order.
    pub fn connections(&self) -> Result<Vec<Connection>, Error> {
        let mut connections = Vec::new();
        self.tables.connections.read_single(|_, connection| {
            if connection.cookie != 0 {
                connections.push(connection);
            }
        })?;
        Ok(connections)
    }

    /// Packets and bytes by drop reason since the maps were made; refused calls have no bytes. Every reason is there.
    pub fn drops(&self) -> Result<Vec<(DropReason, Count)>, Error> {
        let by_number = numbered(&self.tables.drops)?;
        Ok(DropReason::ALL.iter().map(|reason| (*reason, by_number.get(&(*reason as u32)).copied().unwrap_or_default())).collect())
    }

    /// The same of frames from the wire that were left to the stack although they could have gone on at once.
    pub fn left(&self) -> Result<Vec<(LeftReason, Count)>, Error> {
        let by_number = numbered(&self.tables.left)?;
        Ok(LeftReason::ALL.iter().map(|reason| (*reason, by_number.get(&(*reason as u32)).copied().unwrap_or_default())).collect())
    }

    /// Packets and bytes by pod device and direction since the device was attached.
    pub fn traffic(&self) -> Result<BTreeMap<TrafficKey, Count>, Error> {
        let mut traffic = BTreeMap::new();
        self.tables.traffic.read(|key, counts| _ = traffic.insert(key, sum(counts)))?;
        Ok(traffic)
    }

    /// How full each map is. Counts by reading: some tens of milliseconds with 100,000 entries.
    pub fn maps(&self) -> Result<Vec<MapUse>, Error> {
        self.maps_named(|_| true)
    }

    /// The same of those maps alone whose names are wanted; the others are not read.
    pub fn maps_named(&self, is_wanted: impl Fn(&str) -> bool) -> Result<Vec<MapUse>, Error> {
        let tables = &self.tables;
        let all: &[(&'static str, &Look<'_>)] = &[
            (tables.services.name(), &|| use_of(&tables.services)),
            (tables.backends.name(), &|| use_of(&tables.backends)),
            (tables.tables.name(), &|| use_of(&tables.tables)),
            (tables.sources.name(), &|| use_of(&tables.sources)),
            (tables.ranges.name(), &|| use_of(&tables.ranges)),
            (tables.node.name(), &|| Ok(MapUse { entries: u32::from(self.node()?.is_some()), ..use_of(&tables.node)? })),
            (tables.flows.name(), &|| use_of(&tables.flows)),
            (tables.translated.name(), &|| {
                Ok(MapUse { entries: tables.translated.get(&0)?.map_or(0, |values| values.iter().sum()), ..use_of(&tables.translated)? })
            }),
            (tables.generation.name(), &|| use_of(&tables.generation)),
            (tables.pairs.name(), &|| use_of(&tables.pairs)),
            (tables.devices.name(), &|| use_of(&tables.devices)),
            (tables.fragments.name(), &|| use_of(&tables.fragments)),
            (tables.connections.name(), &|| Ok(MapUse { entries: self.connections()?.len() as u32, ..use_of(&tables.connections)? })),
            (tables.sockets.name(), &|| use_of(&tables.sockets)),
            (tables.datagrams.name(), &|| use_of(&tables.datagrams)),
            (tables.affinity.name(), &|| use_of(&tables.affinity)),
            (tables.pods.name(), &|| use_of(&tables.pods)),
            (tables.peers.name(), &|| use_of(&tables.peers)),
            (tables.verdicts.name(), &|| use_of(&tables.verdicts)),
            (tables.ports.name(), &|| use_of(&tables.ports)),
            (tables.rules.name(), &|| use_of(&tables.rules)),
            (tables.uncertain.name(), &|| use_of(&tables.uncertain)),
            (tables.rule_counts.name(), &|| use_of(&tables.rule_counts)),
            (tables.monitor.name(), &|| use_of(&tables.monitor)),
            (tables.lost.name(), &|| use_of(&tables.lost)),
            // Every index of an array is there; what counts is how many reasons there are.
            (tables.drops.name(), &|| Ok(MapUse { entries: DropReason::ALL.len() as u32, ..use_of(&tables.drops)? })),
            (tables.left.name(), &|| Ok(MapUse { entries: LeftReason::ALL.len() as u32, ..use_of(&tables.left)? })),
            (tables.traffic.name(), &|| use_of(&tables.traffic)),
        ];
        all.iter().filter(|(name, _)| is_wanted(name)).map(|(_, look)| look()).collect()
    }
}

/// Counts by their numbers.
fn numbered(table: &Table<u32, Count>) -> Result<BTreeMap<u32, Count>, Error> {
    let mut by_number = BTreeMap::new();
    table.read(|number, counts| _ = by_number.insert(number, sum(counts)))?;
    Ok(by_number)
}

fn use_of<K: Plain, V: Plain>(table: &Table<K, V>) -> Result<MapUse, Error> {
    Ok(MapUse { name: table.name(), entries: table.entries()?, capacity: table.capacity(), forgets: table.forgets() })
}

/// At once and not one by one: the collection sorts the entries and builds a dense tree of them.
fn collect<K: Plain + Ord, V: Plain>(table: &Table<K, V>) -> Result<BTreeMap<K, V>, Error> {
    let mut entries = Vec::new();
    table.read_single(|key, value| entries.push((key, value)))?;
    Ok(entries.into_iter().collect())
}

/// Whether the map has so many entries and `is_wanted` says so of each.
fn agrees<K: Plain, V: Plain>(table: &Table<K, V>, wanted: usize, is_wanted: impl Fn(&K, &V) -> bool) -> Result<bool, Error> {
    let (mut entries, mut right) = (0, 0);
    table.read_single(|key, value| {
        entries += 1;
        right += usize::from(is_wanted(&key, &value));
    })?;
    Ok((entries, right) == (wanted, wanted))
}

fn sum(counts: &[Count]) -> Count {
    counts.iter().fold(Count::default(), |total, count| Count { packets: total.packets + count.packets, bytes: total.bytes + count.bytes })
}

//! Maps as arrays of keys and values: many entries per system call.
#![allow(unsafe_code)]

use super::{
    link::{Info, info_of, open},
    syscall::{Attributes, Command, bpf},
};
use orknet_abi::{self as abi, MapKind};
use std::{
    io,
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
    path::Path,
};

/// `BPF_F_NO_PREALLOC`: memory follows the contents.
const GROWS: u32 = 1;
/// `BPF_F_RDONLY`: the descriptor can't change the map.
const READ_ONLY: u32 = 1 << 3;

/// Bytes that one call reads, about, and the fewest entries.
const CHUNK: usize = 256 << 10;
const SMALLEST_CHUNK: usize = 64;

/// Kinds whose entries have a value for each possible CPU.
const PER_CPU: [MapKind; 2] = [MapKind::PerCpuHash, MapKind::PerCpuArray];

/// Where a batch ended and the next begins: four bytes in hash maps, a key in all others. Aligned as any key.
type Place = [u64; 8];

/// A type of the ABI that can be handed to the kernel as its bytes.
///
/// # Safety
/// `repr(C)`, no padding, every bit pattern valid.
pub(crate) unsafe trait Plain: Copy + Default {}

macro_rules! plain {
    ($($type:ty),+ $(,)?) => {
        // SAFETY: the ABI, and what keeps its former types, makes them of integers and byte arrays only, and asserts that their sizes
        // leave no padding.
        $(unsafe impl Plain for $type {})+
    };
}

plain!(
    u32,
    abi::ServiceKey,
    abi::Service,
    abi::BackendKey,
    abi::Backend,
    abi::TableKey,
    abi::TableChunk,
    abi::SourceKey,
    abi::RangeKey,
    abi::Range,
    abi::Node,
    abi::Device,
    abi::FlowKey,
    abi::Flow,
    abi::Judgement,
    abi::Monitor,
    abi::Peer,
    abi::PortKey,
    abi::Rule,
    abi::Uncertain,
    abi::UncertainKey,
    abi::Verdict,
    abi::VerdictKey,
    abi::FragmentKey,
    abi::FragmentPorts,
    abi::PodKey,
    abi::Pod,
    abi::Connection,
    abi::Pair,
    abi::SocketKey,
    abi::SocketOrigin,
    abi::AffinityKey,
    abi::AffinityChoice,
    abi::TrafficKey,
    abi::Count,
    crate::migrate::AffinityKeyV1,
);

/// What the kernel knows about a map: the beginning of `struct bpf_map_info`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct MapShape {
    pub(crate) kind: u32,
    /// The kernel's number of the map.
    pub(crate) id: u32,
    pub(crate) key_size: u32,
    pub(crate) value_size: u32,
    pub(crate) capacity: u32,
    flags: u32,
}

impl MapShape {
    /// Whether the map takes memory as it fills; else it has all of it from the start.
    pub(crate) fn grows(&self) -> bool {
        self.flags & GROWS != 0
    }
}

// SAFETY: as `struct bpf_map_info` begins: integers without padding.
unsafe impl Info for MapShape {}

/// Whether an entry is written depends on whether it is there (`BPF_ANY`, `BPF_NOEXIST`, `BPF_EXIST`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum When {
    Any = 0,
    Absent = 1,
    Present = 2,
}

/// Keys, and as many values or a multiple of that.
pub(crate) type Entries<'a, K, V> = (&'a [K], &'a [V]);

/// Where a walk over all entries of a map is, and the entries that it found last.
#[derive(Debug)]
pub(crate) struct Walk<K, V> {
    room: usize,
    keys: Vec<K>,
    values: Vec<V>,
    place: Option<Place>,
    has_ended: bool,
}

impl<K, V> Walk<K, V> {
    /// A walk from the beginning that takes about `room` keys at a time.
    pub(crate) fn new(room: usize) -> Self {
        Self { room, keys: Vec::new(), values: Vec::new(), place: None, has_ended: false }
    }
}

/// An open map.
#[derive(Debug)]
pub(crate) struct MapFile {
    fd: OwnedFd,
    shape: MapShape,
    /// Values of a key: one, or one for each possible CPU.
    per_key: usize,
}

impl MapFile {
    /// Opens a pinned map, for reading only if so wished.
    pub(crate) fn open(path: &Path, read_only: bool) -> io::Result<Self> {
        Self::over(open(path, if read_only { READ_ONLY } else { 0 })?)
    }

    /// A map by its descriptor.
    pub(crate) fn over(fd: OwnedFd) -> io::Result<Self> {
        let shape: MapShape = info_of(fd.as_fd())?;
        let is_per_cpu = PER_CPU.into_iter().any(|kind| kind as u32 == shape.kind);
        let per_key = if is_per_cpu { aya::util::nr_cpus().map_err(|(_, error)| error)? } else { 1 };
        Ok(Self { fd, shape, per_key })
    }

    /// Makes a map of any shape, which the programs need not know: those of former versions, and those of tests without programs. All have their
    /// memory from the start, but for prefix trees, which must grow.
    #[cfg(test)]
    pub(crate) fn create(kind: MapKind, key_size: u32, value_size: u32, capacity: u32) -> io::Result<Self> {
        Self::create_growing(kind == MapKind::LpmTrie, kind, key_size, value_size, capacity)
    }

    /// The same of a map that grows, or does not.
    #[cfg(test)]
    pub(crate) fn create_growing(grows: bool, kind: MapKind, key_size: u32, value_size: u32, capacity: u32) -> io::Result<Self> {
        let flags = if grows { GROWS } else { 0 };
        let fd = super::syscall::bpf_fd(&mut CreateMap { kind: kind as u32, key_size, value_size, capacity, flags })?;
        let shape: MapShape = info_of(fd.as_fd())?;
        let per_key = if kind.is_per_cpu() { aya::util::nr_cpus().map_err(|(_, error)| error)? } else { 1 };
        Ok(Self { fd, shape, per_key })
    }

    /// Pins it; a map can have several pins.
    pub(crate) fn pin(&self, path: &Path) -> io::Result<()> {
        super::link::pin(self.fd.as_fd(), path)
    }

    /// Type, sizes and capacity.
    pub(crate) fn shape(&self) -> &MapShape {
        &self.shape
    }

    /// Writes entries in order. On an error the number says how many were written before the one that failed. Not for per-CPU maps.
    pub(crate) fn put<K: Plain, V: Plain>(&self, keys: &[K], values: &[V]) -> Result<(), (usize, io::Error)> {
        self.check::<K, V>(1);
        assert_eq!(keys.len(), values.len(), "one value for each key");
        let mut batch = self.batch(keys.len());
        batch.keys = keys.as_ptr().expose_provenance() as u64;
        batch.values = values.as_ptr().expose_provenance() as u64;
        run_write(&mut UpdateBatch(batch), |update| update.0.count)
    }

    /// Removes entries in order. On an error the number says how many were removed before the one that failed.
    pub(crate) fn delete<K: Plain>(&self, keys: &[K]) -> Result<(), (usize, io::Error)> {
        self.check_key::<K>();
        let mut batch = self.batch(keys.len());
        batch.keys = keys.as_ptr().expose_provenance() as u64;
        run_write(&mut DeleteBatch(batch), |delete| delete.0.count)
    }

    /// Writes one entry, with the same value for each CPU if the map has one for each. Whether it is written now: not if `when` says
    /// otherwise.
    pub(crate) fn put_one<K: Plain, V: Plain>(&self, key: &K, value: V, when: When) -> io::Result<bool> {
        self.check::<K, V>(self.per_key);
        let values = vec![value; self.per_key];
        let mut update = UpdateElem { flags: when as u64, ..self.element(key, values.as_ptr()) };
        match bpf(&mut update) {
            Ok(_) => Ok(true),
            Err(error) if when == When::Absent && error.raw_os_error() == Some(libc::EEXIST) => Ok(false),
            Err(error) if when == When::Present && error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Reads one entry's values: one, or one for each CPU. `None` if it is not there.
    pub(crate) fn get<K: Plain, V: Plain>(&self, key: &K) -> io::Result<Option<Vec<V>>> {
        self.check::<K, V>(self.per_key);
        let mut values = vec![V::default(); self.per_key];
        found(bpf(&mut LookupElem(self.element(key, values.as_mut_ptr()))), values)
    }

    /// Removes one entry of a hash map and answers the values that it had at that moment. `None` if it is not there.
    pub(crate) fn take<K: Plain, V: Plain>(&self, key: &K) -> io::Result<Option<Vec<V>>> {
        self.check::<K, V>(self.per_key);
        let mut values = vec![V::default(); self.per_key];
        found(bpf(&mut TakeElem(self.element(key, values.as_mut_ptr()))), values)
    }

    fn element<K: Plain, V: Plain>(&self, key: &K, values: *const V) -> UpdateElem {
        UpdateElem {
            map: self.fd.as_raw_fd() as u32,
            reserved: 0,
            key: std::ptr::from_ref(key).expose_provenance() as u64,
            value: values.expose_provenance() as u64,
            flags: 0,
        }
    }

    /// Reads all entries; each key comes with one value, or with one for each CPU. What is written meanwhile may be missed.
    pub(crate) fn read_all<K: Plain, V: Plain>(&self, mut entry: impl FnMut(K, &[V])) -> io::Result<()> {
        let mut walk = Walk::new((CHUNK / (size_of::<K>() + self.per_key * size_of::<V>())).max(SMALLEST_CHUNK));
        while let Some((keys, values)) = self.next_batch(&mut walk)? {
            for (key, values) in keys.iter().zip(values.chunks_exact(self.per_key)) {
                entry(*key, values);
            }
        }
        Ok(())
    }

    /// The next entries of a walk, with one value or one for each CPU for each key; `None` at its end. What is written between two
    /// calls may be missed, what stays as it was is not.
    pub(crate) fn next_batch<'a, K: Plain, V: Plain>(&self, walk: &'a mut Walk<K, V>) -> io::Result<Option<Entries<'a, K, V>>> {
        self.check::<K, V>(self.per_key);
        loop {
            if walk.has_ended {
                return Ok(None);
            }
            walk.keys.resize(walk.room, K::default());
            walk.values.resize(walk.room * self.per_key, V::default());
            let mut next = Place::default();
            let mut batch = self.batch(walk.room);
            batch.in_batch = walk.place.as_ref().map_or(0, |place| place.as_ptr().expose_provenance() as u64);
            batch.out_batch = next.as_mut_ptr().expose_provenance() as u64;
            batch.keys = walk.keys.as_mut_ptr().expose_provenance() as u64;
            batch.values = walk.values.as_mut_ptr().expose_provenance() as u64;
            let mut lookup = LookupBatch(batch);
            let answer = bpf(&mut lookup);
            match answer.map_err(|error| (error.raw_os_error(), error)) {
                Ok(_) => walk.place = Some(next),
                // The end; what was found until then counts.
                Err((Some(libc::ENOENT), _)) => walk.has_ended = true,
                // One bucket holds more than there is room for.
                Err((Some(libc::ENOSPC), _)) => {
                    walk.room *= 2;
                    continue;
                }
                Err((_, error)) => return Err(error),
            }
            let found = lookup.0.count as usize;
            return Ok(Some((&walk.keys[..found], &walk.values[..found * self.per_key])));
        }
    }

    fn batch(&self, count: usize) -> Batch {
        Batch { count: u32::try_from(count).unwrap_or(u32::MAX), map: self.fd.as_raw_fd() as u32, ..Batch::default() }
    }

    /// What the kernel will read and write must be what the types hold. Whoever opens a map compares it with the ABI and answers an
    /// error if they differ; that makes this hold.
    fn check<K: Plain, V: Plain>(&self, per_key: usize) {
        self.check_key::<K>();
        assert_eq!(self.per_key, per_key, "single values and values per CPU are not the same");
        // The kernel rounds a CPU's value up to eight bytes.
        assert!(per_key == 1 || size_of::<V>().is_multiple_of(8), "per-CPU values fill their slots");
        assert_eq!(size_of::<V>(), self.shape.value_size as usize, "the values are the map's");
    }

    fn check_key<K: Plain>(&self) {
        assert_eq!(size_of::<K>(), self.shape.key_size as usize, "the keys are the map's");
        assert!(size_of::<K>() <= size_of::<Place>(), "a place holds a key");
    }
}

/// What a look-up found, if it did.
fn found<V>(answer: io::Result<i64>, values: Vec<V>) -> io::Result<Option<Vec<V>>> {
    match answer {
        Ok(_) => Ok(Some(values)),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

fn run_write<A: Attributes>(attributes: &mut A, done: impl Fn(&A) -> u32) -> Result<(), (usize, io::Error)> {
    match bpf(attributes) {
        Ok(_) => Ok(()),
        Err(error) => Err((done(attributes) as usize, error)),
    }
}

/// `batch` of `union bpf_attr`.
#[repr(C)]
#[derive(Default)]
struct Batch {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map: u32,
    element_flags: u64,
    flags: u64,
}

#[repr(transparent)]
struct UpdateBatch(Batch);

#[repr(transparent)]
struct DeleteBatch(Batch);

#[repr(transparent)]
struct LookupBatch(Batch);

#[repr(C)]
struct UpdateElem {
    map: u32,
    reserved: u32,
    key: u64,
    value: u64,
    flags: u64,
}

#[repr(transparent)]
struct LookupElem(UpdateElem);

#[repr(transparent)]
struct TakeElem(UpdateElem);

// SAFETY: laid out as `batch`; keys and values are slices of plain types of `count` entries that outlive the call, and `MapFile`
// compares the types with what the kernel says of the map.
unsafe impl Attributes for UpdateBatch {
    const COMMAND: Command = Command::MapUpdateBatch;
}

// SAFETY: as for `UpdateBatch`.
unsafe impl Attributes for DeleteBatch {
    const COMMAND: Command = Command::MapDeleteBatch;
}

// SAFETY: as for `UpdateBatch`; the buffers are writable and have `count` times the values of a key; the two places hold any key.
unsafe impl Attributes for LookupBatch {
    const COMMAND: Command = Command::MapLookupBatch;
}

// SAFETY: laid out as the part of the union for single entries; key and values are plain, as many as a key has, and outlive the call.
unsafe impl Attributes for UpdateElem {
    const COMMAND: Command = Command::MapUpdateElem;
}

// SAFETY: as for `UpdateElem`; the values are writable.
unsafe impl Attributes for LookupElem {
    const COMMAND: Command = Command::MapLookupElem;
}

// SAFETY: as for `LookupElem`.
unsafe impl Attributes for TakeElem {
    const COMMAND: Command = Command::MapLookupAndDeleteElem;
}

/// The beginning of `map_create` of `union bpf_attr`.
#[cfg(test)]
#[repr(C)]
struct CreateMap {
    kind: u32,
    key_size: u32,
    value_size: u32,
    capacity: u32,
    flags: u32,
}

// SAFETY: numbers only, laid out as `map_create` begins.
#[cfg(test)]
unsafe impl Attributes for CreateMap {
    const COMMAND: Command = Command::MapCreate;
}

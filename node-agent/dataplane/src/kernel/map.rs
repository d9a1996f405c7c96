//! Maps as arrays of keys and values: many entries per system call.
#![allow(unsafe_code)]

use super::{
    link::{info_of, open},
    syscall::{Attributes, Command, bpf},
};
use orknet_abi as abi;
use std::{
    io,
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
    path::Path,
};

/// `BPF_F_RDONLY`: the descriptor can't change the map.
const READ_ONLY: u32 = 1 << 3;

/// Entries that one call reads at most.
const CHUNK: u32 = 8_192;

/// A type of the ABI that can be handed to the kernel as its bytes.
///
/// # Safety
/// `repr(C)`, no padding, every bit pattern valid.
pub(crate) unsafe trait Plain: Copy + Default {}

macro_rules! plain {
    ($($type:ty),+ $(,)?) => {
        // SAFETY: the ABI makes its types of integers and byte arrays only, and asserts that their sizes leave no padding.
        $(unsafe impl Plain for $type {})+
    };
}

plain!(
    u32,
    abi::ServiceKey,
    abi::Service,
    abi::BackendKey,
    abi::Backend,
    abi::PodKey,
    abi::Pod,
    abi::SocketKey,
    abi::SocketOrigin,
    abi::AffinityKey,
    abi::AffinityChoice,
    abi::TrafficKey,
    abi::Count,
);

/// What the kernel knows about a map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct MapShape {
    pub(crate) kind: u32,
    pub(crate) id: u32,
    pub(crate) key_size: u32,
    pub(crate) value_size: u32,
    pub(crate) capacity: u32,
    pub(crate) flags: u32,
}

/// An open map.
#[derive(Debug)]
pub(crate) struct MapFile(OwnedFd);

impl MapFile {
    /// Opens a pinned map, for reading only if so wished.
    pub(crate) fn open(path: &Path, read_only: bool) -> io::Result<Self> {
        open(path, if read_only { READ_ONLY } else { 0 }).map(Self)
    }

    /// Type, sizes and capacity.
    pub(crate) fn shape(&self) -> io::Result<MapShape> {
        let mut shape = MapShape::default();
        info_of(self.0.as_fd(), &mut shape)?;
        Ok(shape)
    }

    /// Writes entries in order. On an error the number says how many were written before the one that failed.
    pub(crate) fn put<K: Plain, V: Plain>(&self, keys: &[K], values: &[V]) -> Result<(), (usize, io::Error)> {
        assert_eq!(keys.len(), values.len(), "one value for each key");
        let mut batch = self.batch(keys.len());
        batch.keys = keys.as_ptr().expose_provenance() as u64;
        batch.values = values.as_ptr().expose_provenance() as u64;
        run_write(&mut UpdateBatch(batch), |update| update.0.count)
    }

    /// Removes entries in order. On an error the number says how many were removed before the one that failed.
    pub(crate) fn delete<K: Plain>(&self, keys: &[K]) -> Result<(), (usize, io::Error)> {
        let mut batch = self.batch(keys.len());
        batch.keys = keys.as_ptr().expose_provenance() as u64;
        run_write(&mut DeleteBatch(batch), |delete| delete.0.count)
    }

    /// Writes one entry for each CPU.
    pub(crate) fn put_per_cpu<K: Plain, V: Plain>(&self, key: &K, values: &[V]) -> io::Result<()> {
        // The kernel rounds a CPU's value up to eight bytes.
        assert!(size_of::<V>().is_multiple_of(8), "per-CPU values fill their slots");
        let mut update = UpdateElem {
            map: self.0.as_raw_fd() as u32,
            reserved: 0,
            key: std::ptr::from_ref(key).expose_provenance() as u64,
            value: values.as_ptr().expose_provenance() as u64,
            flags: 0,
        };
        bpf(&mut update).map(drop)
    }

    /// Reads one entry; `None` if it is not there. Not for per-CPU maps.
    pub(crate) fn get<K: Plain, V: Plain>(&self, key: &K) -> io::Result<Option<V>> {
        let mut value = V::default();
        let mut lookup = LookupElem(UpdateElem {
            map: self.0.as_raw_fd() as u32,
            reserved: 0,
            key: std::ptr::from_ref(key).expose_provenance() as u64,
            value: std::ptr::from_mut(&mut value).expose_provenance() as u64,
            flags: 0,
        });
        match bpf(&mut lookup) {
            Ok(_) => Ok(Some(value)),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads all entries of a hash map or array; each key comes with `per_key` values: 1, or the number of CPUs. What is
    /// written meanwhile may be missed.
    pub(crate) fn read_all<K: Plain, V: Plain>(&self, per_key: usize, mut entry: impl FnMut(K, &[V])) -> io::Result<()> {
        let mut capacity = CHUNK as usize;
        let (mut keys, mut values) = (vec![K::default(); capacity], vec![V::default(); capacity * per_key]);
        let (mut place, mut next) = ([0_u32; 2], [0_u32; 2]);
        let mut started = false;
        loop {
            let mut batch = self.batch(capacity);
            batch.in_batch = if started { place.as_ptr().expose_provenance() as u64 } else { 0 };
            batch.out_batch = next.as_mut_ptr().expose_provenance() as u64;
            batch.keys = keys.as_mut_ptr().expose_provenance() as u64;
            batch.values = values.as_mut_ptr().expose_provenance() as u64;
            let mut lookup = LookupBatch(batch);
            let answer = bpf(&mut lookup);
            let found = lookup.0.count as usize;
            match answer {
                Ok(_) => {}
                // The end; what was found until then counts.
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {
                    deliver(&keys, &values, found, per_key, &mut entry);
                    return Ok(());
                }
                // One bucket holds more than there is room for.
                Err(error) if error.raw_os_error() == Some(libc::ENOSPC) => {
                    capacity *= 2;
                    keys.resize(capacity, K::default());
                    values.resize(capacity * per_key, V::default());
                    continue;
                }
                Err(error) => return Err(error),
            }
            deliver(&keys, &values, found, per_key, &mut entry);
            place = next;
            started = true;
        }
    }

    fn batch(&self, count: usize) -> Batch {
        Batch { count: u32::try_from(count).unwrap_or(u32::MAX), map: self.0.as_raw_fd() as u32, ..Batch::default() }
    }
}

impl From<OwnedFd> for MapFile {
    fn from(fd: OwnedFd) -> Self {
        Self(fd)
    }
}

fn deliver<K: Plain, V: Plain>(keys: &[K], values: &[V], found: usize, per_key: usize, entry: &mut impl FnMut(K, &[V])) {
    for (key, values) in keys.iter().zip(values.chunks_exact(per_key)).take(found) {
        entry(*key, values);
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

// SAFETY: laid out as `batch`; keys and values are slices of plain types of `count` entries that outlive the call. The loader
// compares the types' sizes with the map's before a map is used.
unsafe impl Attributes for UpdateBatch {
    const COMMAND: Command = Command::MapUpdateBatch;
}

// SAFETY: as for `UpdateBatch`.
unsafe impl Attributes for DeleteBatch {
    const COMMAND: Command = Command::MapDeleteBatch;
}

// SAFETY: as for `UpdateBatch`; the buffers are writable, and the two places hold eight bytes, of which the kernel uses four.
unsafe impl Attributes for LookupBatch {
    const COMMAND: Command = Command::MapLookupBatch;
}

// SAFETY: laid out as the part of the union for single entries; key and values are plain and outlive the call.
unsafe impl Attributes for UpdateElem {
    const COMMAND: Command = Command::MapUpdateElem;
}

// SAFETY: as for `UpdateElem`; the value is writable and of the map's size.
unsafe impl Attributes for LookupElem {
    const COMMAND: Command = Command::MapLookupElem;
}

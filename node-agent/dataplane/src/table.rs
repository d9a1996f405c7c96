//! The maps with their types: every pinned map of one version, opened.

use crate::{
    Error,
    bpffs::Pins,
    kernel::{MapFile, Plain},
};
use orknet_abi::{
    self as abi, AffinityChoice, AffinityKey, Backend, BackendKey, Count, MapSpec, Pod, PodKey, Service, ServiceKey, SocketKey,
    SocketOrigin, TrafficKey,
};
use std::{io, marker::PhantomData, path::Path};

/// A map with its key and value types.
#[derive(Debug)]
pub(crate) struct Table<K, V> {
    pub(crate) name: &'static str,
    pub(crate) capacity: u32,
    file: MapFile,
    types: PhantomData<fn(K) -> V>,
}

/// Every map of the ABI.
#[derive(Debug)]
pub(crate) struct Tables {
    pub(crate) services: Table<ServiceKey, Service>,
    pub(crate) backends: Table<BackendKey, Backend>,
    pub(crate) pods: Table<PodKey, Pod>,
    pub(crate) sockets: Table<SocketKey, SocketOrigin>,
    pub(crate) affinity: Table<AffinityKey, AffinityChoice>,
    pub(crate) drops: Table<u32, Count>,
    pub(crate) traffic: Table<TrafficKey, Count>,
}

impl Tables {
    /// Opens the pinned maps, for reading only if so wished.
    pub(crate) fn open(pins: &Pins, read_only: bool) -> Result<Self, Error> {
        Ok(Self {
            services: Table::open(pins, &abi::SERVICES, read_only)?,
            backends: Table::open(pins, &abi::BACKENDS, read_only)?,
            pods: Table::open(pins, &abi::PODS, read_only)?,
            sockets: Table::open(pins, &abi::SOCKETS, read_only)?,
            affinity: Table::open(pins, &abi::AFFINITY, read_only)?,
            drops: Table::open(pins, &abi::DROPS, read_only)?,
            traffic: Table::open(pins, &abi::TRAFFIC, read_only)?,
        })
    }
}

/// Opens a pinned map and compares it with the ABI: whatever reads it afterwards relies on the sizes.
pub(crate) fn open_checked(path: &Path, spec: &MapSpec, read_only: bool) -> Result<(MapFile, u32), Error> {
    let file = MapFile::open(path, read_only).map_err(Error::file("open the pinned map", path))?;
    let shape = file.shape().map_err(Error::file("inspect the pinned map", path))?;
    let mismatch = |what| Err(Error::PinMismatch { path: path.to_owned(), what });
    if shape.key_size != spec.key_size {
        return mismatch(format!("its keys have {} bytes instead of {}", shape.key_size, spec.key_size));
    }
    if shape.value_size != spec.value_size {
        return mismatch(format!("its values have {} bytes instead of {}", shape.value_size, spec.value_size));
    }
    Ok((file, shape.capacity))
}

impl<K: Plain, V: Plain> Table<K, V> {
    fn open(pins: &Pins, spec: &MapSpec, read_only: bool) -> Result<Self, Error> {
        let (file, capacity) = open_checked(&pins.map(spec.name), spec, read_only)?;
        Ok(Self { name: spec.name, capacity, file, types: PhantomData })
    }

    /// One entry, if it is there.
    pub(crate) fn get(&self, key: &K) -> Result<Option<V>, Error> {
        self.file.get(key).map_err(Error::map("look up", self.name))
    }

    /// Every entry, in no order.
    pub(crate) fn read(&self, mut entry: impl FnMut(K, V)) -> Result<(), Error> {
        self.file
            .read_all(1, |key: K, values: &[V]| entry(key, values.first().copied().unwrap_or_default()))
            .map_err(Error::map("read", self.name))
    }

    /// Every entry of a per-CPU map, in no order: one value per possible CPU.
    pub(crate) fn read_per_cpu(&self, entry: impl FnMut(K, &[V])) -> Result<(), Error> {
        let cpus = cpus().map_err(Error::map("count the CPUs for", self.name))?;
        self.file.read_all(cpus, entry).map_err(Error::map("read", self.name))
    }

    /// How many entries there are now; reads them all.
    pub(crate) fn entries(&self, per_cpu: bool) -> Result<u32, Error> {
        let mut entries = 0;
        if per_cpu {
            self.read_per_cpu(|_, _| entries += 1)?
        } else {
            self.read(|_, _| entries += 1)?
        }
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

    /// Makes an entry of a per-CPU map with the same value for every CPU.
    pub(crate) fn put_per_cpu(&self, key: &K, value: V) -> Result<(), Error> {
        let cpus = cpus().map_err(Error::map("count the CPUs for", self.name))?;
        self.file.put_per_cpu(key, &vec![value; cpus]).map_err(Error::map("write", self.name))
    }
}

/// Possible CPUs, of which per-CPU maps have one value each.
fn cpus() -> io::Result<usize> {
    aya::util::nr_cpus().map_err(|(_, error)| error)
}

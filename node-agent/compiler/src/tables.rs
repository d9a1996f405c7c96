//! Look-up tables in the form that the kernel holds them: chunks of slots.

use crate::maglev::{self, MOST_BACKENDS};
use orknet_abi::{Address, Backend, TABLE_CHUNK, TableChunk};
use std::sync::Arc;

/// What a table depends on: the addresses of a list, in its order. Lists that differ only in their ports share a table.
pub(crate) type Addresses = Arc<[Address]>;

/// The addresses of a list, if a table of `size` positions can lead to all of it.
pub(crate) fn addresses(backends: &[Backend], size: u32) -> Option<Addresses> {
    let fits = backends.len() <= MOST_BACKENDS.min(size as usize);
    fits.then(|| backends.iter().map(|backend| backend.address).collect())
}

/// The table over these addresses; all backends have the same weight.
pub(crate) fn chunks(addresses: &[Address], size: u32) -> Vec<Arc<TableChunk>> {
    let weighted: Vec<_> = addresses.iter().map(|address| (*address, 1)).collect();
    let slots = maglev::table(&weighted, size);
    let chunk = |slots: &[u16]| {
        let mut chunk = TableChunk::default();
        chunk.slots[..slots.len()].copy_from_slice(slots);
        Arc::new(chunk)
    };
    slots.chunks(TABLE_CHUNK).map(chunk).collect()
}

/// A number by which tables are ranked when not all have room: equal on all nodes.
pub(crate) fn rank(addresses: &[Address]) -> u64 {
    addresses.iter().fold(addresses.len() as u64, maglev::mix_in)
}

/// So many tables of `size` positions fit into a map of `room` chunks. A sixteenth stays free for tables that replace others.
pub(crate) fn most(room: u32, size: u32) -> usize {
    let tables = room / chunk_count(size).max(1);
    (tables - tables / 16) as usize
}

/// Chunks of a table of `size` positions.
pub(crate) fn chunk_count(size: u32) -> u32 {
    size.div_ceil(TABLE_CHUNK as u32)
}

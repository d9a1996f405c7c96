//! What the writer, the readers and the cleaner share: the index, the open segments and the feed of recent commits.

use super::EmbeddedConfig;
use super::feed::Feed;
use super::index::{Index, Place, Version};
use super::segment::Segment;
use crate::{Entry, KeyRange, RangeResult, Revision, StoreError};
use bytes::Bytes;
use parking_lot::RwLock;
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Shared state. Locks are taken in the order of the fields.
pub struct State {
    pub index: RwLock<Index>,
    pub segments: RwLock<Segments>,
    pub feed: Feed,
    pub config: EmbeddedConfig,
    pub next_slot: AtomicU32,
}

/// The open segments, oldest first; the last is the one written to.
#[derive(Default)]
pub struct Segments {
    pub ordered: Vec<Arc<Segment>>,
    by_slot: HashMap<u32, Arc<Segment>>,
}

impl Segments {
    pub fn push(&mut self, segment: Arc<Segment>) {
        self.register(segment.clone());
        self.ordered.push(segment);
    }

    /// Makes the segment's places readable before it has a position in the order.
    pub fn register(&mut self, segment: Arc<Segment>) {
        self.by_slot.insert(segment.slot, segment);
    }

    /// Puts `by` where the segments with the slots of `run` were.
    pub fn replace(&mut self, run: &[Arc<Segment>], by: Arc<Segment>) {
        let Some(at) = run.first().and_then(|first| self.ordered.iter().position(|segment| segment.slot == first.slot)) else { return };
        self.ordered.splice(at..at + run.len(), [by]);
        for segment in run {
            self.by_slot.remove(&segment.slot);
        }
    }

    pub fn get(&self, slot: u32) -> io::Result<Arc<Segment>> {
        self.by_slot.get(&slot).cloned().ok_or_else(|| io::Error::other(format!("the index names segment slot {slot}, which is not open")))
    }
}

/// A value that can be read without any lock, also after its segment was removed.
pub struct Located {
    pub key: Arc<[u8]>,
    pub version: Version,
    pub segment: Arc<Segment>,
}

impl Located {
    /// Reads the value. Blocks.
    pub fn read(self) -> Result<Entry, StoreError> {
        let Place { offset, length, .. } = self.version.place;
        let mut value = vec![0; length as usize];
        self.segment.read(&mut value, u64::from(offset)).map_err(|error| failed("read a value", error))?;
        Ok(Entry {
            key: Bytes::copy_from_slice(&self.key),
            value: value.into(),
            create_revision: self.version.create_revision,
            mod_revision: self.version.mod_revision,
        })
    }
}

impl State {
    pub fn slot(&self) -> u32 {
        self.next_slot.fetch_add(1, Ordering::Relaxed)
    }

    /// The current entry of a key. Blocks on the disk.
    pub fn current(&self, key: &[u8]) -> Result<Option<Entry>, StoreError> {
        self.entry(key, |index| index.current(key))
    }

    /// The entry that a change at `revision` replaced, where it is kept. Blocks on the disk.
    pub fn before(&self, key: &[u8], revision: Revision) -> Result<Option<Entry>, StoreError> {
        self.entry(key, |index| index.before(key, revision))
    }

    /// Blocks on the disk.
    pub fn range(&self, range: &KeyRange, revision: Option<Revision>, limit: usize) -> Result<RangeResult, StoreError> {
        let (located, more, count, revision) = {
            let index = self.index.read();
            let at = revision.unwrap_or(index.revision);
            if at > index.revision {
                return Err(StoreError::FutureRevision { requested: at, newest: index.revision });
            }
            if at < index.compacted {
                return Err(StoreError::Compacted { requested: at, oldest: index.compacted });
            }
            let found = index.range(range, at, limit);
            let segments = self.segments.read();
            let located: Result<Vec<_>, io::Error> = found
                .versions
                .into_iter()
                .map(|(key, version)| Ok(Located { key, version, segment: segments.get(version.place.slot)? }))
                .collect();
            (located.map_err(|error| failed("read a range", error))?, found.more, found.count, at)
        };
        let entries = located.into_iter().map(Located::read).collect::<Result<_, _>>()?;
        Ok(RangeResult { entries, revision, more, count })
    }

    fn entry(&self, key: &[u8], find: impl FnOnce(&Index) -> Option<Version>) -> Result<Option<Entry>, StoreError> {
        let located = {
            let index = self.index.read();
            let Some(version) = find(&index) else { return Ok(None) };
            let segment = self.segments.read().get(version.place.slot).map_err(|error| failed("find a value", error))?;
            Located { key: key.into(), version, segment }
        };
        located.read().map(Some)
    }
}

/// An input or output error as the store's callers see it.
pub fn failed(operation: &'static str, error: io::Error) -> StoreError {
    if is_no_space(&error) {
        return StoreError::NoSpace(format!("{operation}: {error}"));
    }
    StoreError::Failed { operation, source: Box::new(error) }
}

/// Whether the file system or the quota is full.
pub fn is_no_space(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

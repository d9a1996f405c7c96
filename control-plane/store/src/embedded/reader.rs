//! The store's directory as somebody else's: read at one revision, beside the process that has it open or in its place.

use super::frame::DEADLINE_BEFORE_KEY;
use super::index::{Index, Place, Version};
use super::segment::Segment;
use super::state::{Segments, failed};
use super::{lock, moved, recover, restore};
use crate::snapshot::{Record, Source};
use crate::{KeyRange, Revision, StoreError};
use async_trait::async_trait;
use bytes::Bytes;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// What the directory holds at the moment of opening. Its keys are in memory, its values are read from the files.
pub struct Reader {
    directory: PathBuf,
    log: Arc<Log>,
    /// Keeps everybody else out.
    lock: Option<File>,
}

struct Log {
    index: Index,
    segments: Segments,
}

impl Reader {
    /// Opens the directory whoever has it open; with `alone` only if nobody has, and nobody can for as long as this value lives. Blocks.
    /// Errors: [`StoreError::Unavailable`] when somebody has it, [`StoreError::Failed`] when there is no store, or one that cannot be read.
    pub fn open(directory: &Path, alone: bool) -> Result<Self, StoreError> {
        let refused =
            |why: &str| StoreError::Failed { operation: "open the store", source: format!("{}: {why}", directory.display()).into() };
        if !directory.is_dir() {
            return Err(refused("there is no such directory"));
        }
        let lock = if alone { Some(lock(directory)?) } else { None };
        if restore::unfinished(directory)?.is_some() {
            return Err(refused("a restore into it was not done"));
        }
        let (index, segments) = recover::read_beside(directory)?;
        // One that was begun meanwhile is no store.
        if restore::unfinished(directory)?.is_some() {
            return Err(refused("a restore into it was not done"));
        }
        if segments.ordered.is_empty() {
            return Err(refused("there is no store in it"));
        }
        Ok(Self { directory: directory.to_owned(), log: Arc::new(Log { index, segments }), lock })
    }

    pub(super) fn total(&self) -> u64 {
        self.log.index.count(&KeyRange::prefix(""), self.log.index.revision)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.lock.take().map(|lock| lock.unlock()) {
            tracing::warn!(%error, "the store's directory could not be unlocked");
        }
    }
}

#[async_trait]
impl Source for Reader {
    fn revision(&self) -> Revision {
        self.log.index.revision
    }

    async fn count(&self, range: &KeyRange) -> Result<u64, StoreError> {
        Ok(self.log.index.count(range, self.log.index.revision))
    }

    async fn page(&self, start: Bytes, limit: usize) -> Result<Vec<Record>, StoreError> {
        let log = self.log.clone();
        super::blocking("read the store", move || log.page(&start, limit)).await
    }

    async fn is_unchanged(&self) -> Result<bool, StoreError> {
        Ok(self.lock.is_some())
    }

    async fn largest(&self) -> Result<Option<(String, usize)>, StoreError> {
        let all = self.log.index.page(b"", self.log.index.revision, usize::MAX);
        let largest = all.into_iter().max_by_key(|(_, version)| version.place.length);
        Ok(largest.map(|(key, version)| (String::from_utf8_lossy(&key).into_owned(), version.place.length as usize)))
    }

    async fn leave(&mut self, to: &str) -> Result<(), StoreError> {
        moved::leave(&self.directory, to)
    }

    async fn stay(&mut self) -> Result<(), StoreError> {
        moved::stay(&self.directory)
    }
}

impl Log {
    fn page(&self, start: &[u8], limit: usize) -> Result<Vec<Record>, StoreError> {
        let now = super::writer::now();
        let found = self.index.page(start, self.index.revision, limit);
        found
            .into_iter()
            .map(|(key, version)| {
                let segment = self.segments.get(version.place.slot).map_err(|error| failed("read the store", error))?;
                record(&segment, &key, &version, now).map_err(|error| failed("read the store", error))
            })
            .collect()
    }
}

/// Reads a record from its deadline on: see `frame` for where that is.
fn record(segment: &Segment, key: &[u8], version: &Version, now: u64) -> std::io::Result<Record> {
    let Place { offset, length, .. } = version.place;
    let before = (DEADLINE_BEFORE_KEY + key.len()) as u64;
    let mut bytes = vec![0; before as usize + length as usize];
    segment.read(&mut bytes, u64::from(offset).saturating_sub(before))?;
    let value = Bytes::from(bytes.split_off(before as usize));
    let deadline = bytes.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    // One that is due has not been deleted yet.
    let ttl = (deadline > 0).then(|| Duration::from_millis(deadline.saturating_sub(now).max(1)));
    Ok(Record { key: Bytes::copy_from_slice(key), value, ttl })
}

//! Everything that a store holds at one revision: into a file (backup), from a file into an empty store (restore), or from one store into another
//! (migrate). For both backends; memory holds a page at a time.
//!
//! A restored store begins above every revision that a client of the old one can have seen, and all of its keys are written anew: whoever comes
//! with a revision from before is told that it is compacted, and nobody meets a lower one. What values hold (names, uids) is as it was.

mod fill;
mod format;
mod reader;
mod writer;

pub use fill::{migrate, restore};
pub use format::{FORMAT, Header, KeptFile};
pub use reader::{Contents, check};
pub use writer::{Written, backup};

use crate::{KeyRange, Revision, Store, StoreError};
use async_trait::async_trait;
use bytes::Bytes;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// One key as it is kept and carried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub key: Bytes,
    pub value: Bytes,
    /// What it had left to live when it was read; it has that again when it is restored.
    pub ttl: Option<Duration>,
}

/// A store at one revision.
#[async_trait]
pub trait Source: Send + Sync {
    /// The revision that all of it is of.
    fn revision(&self) -> Revision;

    /// How many keys there are in the range.
    async fn count(&self, range: &KeyRange) -> Result<u64, StoreError>;

    /// At most `limit` keys from `start` on, in order.
    /// Errors: [`StoreError::Compacted`] when the revision is no longer kept.
    async fn page(&self, start: Bytes, limit: usize) -> Result<Vec<Record>, StoreError>;

    /// Whether nothing has been written since. Keys that expire do not count.
    async fn is_unchanged(&self) -> Result<bool, StoreError>;

    /// The key with the largest value, and its bytes, where values may be larger than [`crate::MAX_VALUE`].
    async fn largest(&self) -> Result<Option<(String, usize)>, StoreError>;

    /// Keeps everybody from opening the store from now on, and those that have it open from writing, since it goes to `to`; this is then the
    /// store as it was left. Once more does no harm.
    async fn leave(&mut self, to: &str) -> Result<(), StoreError>;

    /// Takes that back: the store did not go.
    async fn stay(&mut self) -> Result<(), StoreError>;
}

/// How a restore is begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begin {
    /// The store's revisions are above this one.
    pub above: Revision,
    /// What a restore that was not done has left is removed, instead of refused.
    pub again: bool,
    /// Where the keys come from, for people.
    pub from: String,
}

/// A store that is being filled. Until [`Target::finish`] nobody can open it.
#[async_trait]
pub trait Target: Send + Sync {
    fn store(&self) -> Arc<dyn Store>;

    /// All is there: it is a store like every other from now on. Answers its revision.
    async fn finish(&self) -> Result<Revision, StoreError>;
}

/// What can go wrong, for people to act on.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("cannot {operation} {path}: {source}")]
    File { operation: &'static str, path: PathBuf, source: std::io::Error },
    #[error("{path} is no backup, or damaged: {what}")]
    Damaged { path: PathBuf, what: String },
    #[error("{path} is of format {format}; this program reads format {FORMAT}")]
    Format { path: PathBuf, format: u32 },
    #[error("{place} is not empty: there is {found}; remedy: name an empty place, or move away what is there")]
    NotEmpty { place: String, found: String },
    #[error(
        "{place} holds a restore of {from} that was not done; remedy: if none is going on, the same command with --again, which begins anew"
    )]
    Unfinished { place: String, from: String },
    #[error("the store that is migrated was written to meanwhile: stop every server on it, then the same command with --again")]
    Changed,
}

/// What people are told who open a store that was left.
pub const STAY: &str = "remedy: name that store, or, if nothing runs there, take the move back (orknet migrate --stay)";
/// Most keys read at a time.
const PAGE: usize = 100;
/// Revisions left out at least.
const LEAST_GAP: u64 = 1_000_000_000;

/// The revision that nobody can have seen of the store that went on after a backup of `revision` was taken, nor of one that the same backup was restored
/// into before: one for each microsecond since then, more than any store can write, above what etcd's own documents leave out (a thousand million),
/// since clocks may be wrong.
pub fn never_reached(revision: Revision, taken: SystemTime, now: SystemTime) -> Revision {
    let passed = now.duration_since(taken).map_or(0, |passed| u64::try_from(passed.as_micros()).unwrap_or(u64::MAX));
    revision.saturating_add(LEAST_GAP).saturating_add(passed)
}

/// Reads all of a source in order, without what is in the ranges `without`.
struct Pages<'a> {
    source: &'a dyn Source,
    without: &'a [KeyRange],
    /// Where the next page begins; `None` after the last.
    next: Option<Bytes>,
}

impl<'a> Pages<'a> {
    fn new(source: &'a dyn Source, without: &'a [KeyRange]) -> Self {
        Self { source, without, next: Some(Bytes::new()) }
    }

    /// How many keys there are to be read.
    async fn count(&self) -> Result<u64, StoreError> {
        let mut count = self.source.count(&KeyRange::prefix("")).await?;
        for range in self.without {
            count = count.saturating_sub(self.source.count(range).await?);
        }
        Ok(count)
    }

    /// The next page, which may be empty; `None` at the end.
    async fn next(&mut self) -> Result<Option<Vec<Record>>, StoreError> {
        let Some(start) = self.next.take() else { return Ok(None) };
        let mut page = self.source.page(start, PAGE).await?;
        let Some(last) = page.last() else { return Ok(None) };
        self.next = Some([&last.key[..], &[0]].concat().into());
        page.retain(|record| !self.without.iter().any(|range| range.contains(&record.key)));
        Ok(Some(page))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_can_have_seen_the_revision_after_which_a_restored_store_begins() {
        let taken = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        assert_eq!(never_reached(500, taken, taken), 1_000_000_500);
        assert_eq!(never_reached(500, taken, taken - Duration::from_secs(60)), 1_000_000_500);
        assert_eq!(never_reached(500, taken, taken + Duration::from_secs(86_400)), 87_400_000_500);
        // The same backup restored twice in a minute: the second store begins above all that the first can have written meanwhile.
        let at = |seconds| never_reached(500, taken, taken + Duration::from_secs(seconds));
        assert_eq!(at(120) - at(60), 60_000_000);
    }
}

//! An ordered key-value store with revisions, watch, compare-and-swap and compaction: one trait, two backends, one suite.
//!
//! Knows nothing of Kubernetes: keys and values are bytes. One clock for the whole store: every successful [`Store::commit`] that
//! changes something takes the next revision, and all of its writes carry that revision.

mod types;

pub use types::*;

use async_trait::async_trait;

/// The store. All methods are cancel-safe: a dropped future may or may not have taken effect, never half of it.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Reads the keys in `range` as of `revision` (`None`: now), in key order, at most `limit` (0: all).
    /// Errors: [`StoreError::Compacted`] when the revision is no longer kept, [`StoreError::FutureRevision`] when it is not there yet.
    async fn range(&self, range: KeyRange, revision: Option<Revision>, limit: usize) -> Result<RangeResult, StoreError>;

    /// Applies all of `ops` at one revision if all of `compares` hold, else changes nothing and answers [`Commit::Failed`] with the
    /// current entries of the keys compared. Returns only when the change is durable.
    async fn commit(&self, compares: Vec<Compare>, ops: Vec<Op>) -> Result<Commit, StoreError>;

    /// Streams every change to the keys in `range` with a revision > `after`, in revision order, without gaps, and
    /// [`WatchItem::Progress`] when asked by [`Store::request_progress`] or about once in `PROGRESS_INTERVAL` when idle.
    /// Errors: [`StoreError::Compacted`] when `after` is older than the compacted revision.
    async fn watch(&self, range: KeyRange, after: Revision) -> Result<Watch, StoreError>;

    /// Asks that every open watch that has delivered everything up to now says so by a [`WatchItem::Progress`].
    async fn request_progress(&self) -> Result<(), StoreError>;

    /// The newest revision (linearizable: not older than any commit acknowledged before the call).
    async fn current_revision(&self) -> Result<Revision, StoreError>;

    /// Forgets superseded versions older than `revision`; reads and watches before it answer [`StoreError::Compacted`].
    /// Going backwards does nothing; a revision in the future is an error.
    async fn compact(&self, revision: Revision) -> Result<(), StoreError>;

    /// Bytes that the store occupies, for metrics.
    async fn size(&self) -> Result<u64, StoreError>;
}

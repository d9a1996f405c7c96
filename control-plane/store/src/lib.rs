//! An ordered key-value store with revisions, watch, compare-and-swap and compaction: one trait, two backends, one suite.
//!
//! Knows nothing of Kubernetes: keys and values are bytes. One clock for the whole store: every successful [`Store::commit`] that
//! changes something takes the next revision, and all of its writes carry that revision.

pub mod embedded;
pub mod etcd;
mod limits;
pub mod snapshot;
mod types;

pub use limits::{MAX_OPS, MAX_RESTORED, MAX_VALUE};
pub use types::*;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Which backend, and how to open it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StoreConfig {
    /// A directory of this machine.
    Embedded(embedded::EmbeddedConfig),
    /// An etcd, on its own or shared.
    Etcd(etcd::EtcdConfig),
}

/// Opens the configured store. Errors as [`embedded::Embedded::open`] and [`etcd::Etcd::connect`].
pub async fn open(config: StoreConfig) -> Result<Arc<dyn Store>, StoreError> {
    match config {
        StoreConfig::Embedded(config) => {
            let opened = tokio::task::spawn_blocking(move || embedded::Embedded::open(config)).await;
            Ok(opened.map_err(|error| StoreError::Failed { operation: "open the store", source: Box::new(error) })??)
        }
        StoreConfig::Etcd(config) => Ok(etcd::Etcd::connect(config).await?),
    }
}

/// The store. Any method may answer [`StoreError::Replaced`], and then every later one does. All methods are cancel-safe: a dropped future may or may not have taken effect, never half of it.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Reads the keys in `range` as of `revision` (`None`: now), in key order, at most `limit` (0: all).
    /// Errors: [`StoreError::Compacted`] when the revision is no longer kept, [`StoreError::FutureRevision`] when it is not there yet.
    async fn range(&self, range: KeyRange, revision: Option<Revision>, limit: usize) -> Result<RangeResult, StoreError>;

    /// Applies all of `ops` at one revision if all of `compares` hold, else changes nothing and answers [`Commit::Failed`] with the
    /// current entries of the keys compared. Returns only when the change is durable.
    /// Each key is written at most once, and there are at most [`MAX_OPS`] operations and compares.
    /// Errors: [`StoreError::TooLarge`] for a value over [`MAX_VALUE`] bytes; after [`StoreError::Unavailable`], and with etcd after
    /// [`StoreError::NoSpace`], it may or may not have taken effect.
    async fn commit(&self, compares: Vec<Compare>, ops: Vec<Op>) -> Result<Commit, StoreError>;

    /// Streams every change to the keys in `range` with a revision > `after`, in revision order, without gaps, and
    /// [`WatchItem::Progress`] when asked by [`Store::request_progress`] or about once in `PROGRESS_INTERVAL` when idle.
    /// A revision that is not there yet is waited for.
    /// Errors: [`StoreError::Compacted`] when `after` is older than the compacted revision, here or as the last item.
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

//! Objects in the store: reading and committing them by key, with deadlines. Knows values and revisions, no kind's rules.

pub mod compaction;
pub mod keys;
pub mod sealed;
pub mod timed;

use crate::cache::Caches;
use crate::error::ApiError;
use crate::object;
use bytes::Bytes;
use orknet_store::{Commit, Compare, KeyRange, Op, RangeResult, Revision, Store, StoreError};
use serde_json::Value;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// How long one store operation may take before the request fails.
const DEADLINE: Duration = Duration::from_secs(10);
/// How long a read of any version waits for the newest.
const ANY_WAITS: Duration = Duration::from_secs(2);

/// The store and the caches over it.
pub struct Storage {
    pub store: Arc<dyn Store>,
    pub caches: Arc<Caches>,
}

/// An object with the revision that wrote it.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Without `resourceVersion`.
    pub object: Value,
    pub revision: Revision,
}

impl Stored {
    /// The object as clients see it.
    pub fn versioned(&self) -> Value {
        let mut object = self.object.clone();
        object::set_meta(&mut object, "resourceVersion", self.revision.to_string());
        object
    }
}

impl Storage {
    /// The newest state of an object.
    pub async fn get(&self, key: &str) -> Result<Option<Stored>, ApiError> {
        let range = KeyRange::single(key.to_owned());
        let found = deadline(self.store.range(range, None, 1)).await?;
        found.entries.into_iter().next().map(|entry| parse(&entry.value, entry.mod_revision)).transpose()
    }

    /// Keys of a range at a revision, at most `limit` (0: all).
    pub async fn range(&self, range: KeyRange, revision: Option<Revision>, limit: usize) -> Result<RangeResult, ApiError> {
        match (deadline(self.store.range(range, revision, limit)).await, revision) {
            // As if it had been forgotten: the past may be sealed with a key that was taken away since.
            (Err(error), Some(revision)) if sealed::is_unreadable(&error) => {
                tracing::warn!(%error, revision, "the past cannot be read");
                Err(ApiError::too_old(revision, self.caches.progress().revision))
            }
            (found, _) => Ok(found?),
        }
    }

    /// Commits all or nothing.
    pub async fn commit(&self, compares: Vec<Compare>, ops: Vec<Op>) -> Result<Commit, ApiError> {
        Ok(deadline(self.store.commit(compares, ops)).await?)
    }

    /// Waits until the caches hold everything that was acknowledged before the call.
    pub async fn catch_up(&self) -> Result<Revision, ApiError> {
        let revision = deadline(self.store.current_revision()).await?;
        self.caches.reach(&*self.store, revision).await?;
        Ok(revision)
    }

    /// The same for reads that take any version, as far as it is to be had: they wait a little, and then what there is must do. Many a client (informers,
    /// `kubectl rollout status`) begins so, and when another server took what it did just before, it would believe in what was there earlier.
    pub async fn catch_up_if_told(&self) {
        if self.caches.progress().connected {
            // Whoever needs the newest asks for it.
            let _: Result<_, _> = tokio::time::timeout(ANY_WAITS, self.catch_up()).await;
        }
    }

    /// Waits until the caches hold everything up to `revision`.
    pub async fn reach(&self, revision: Revision) -> Result<(), ApiError> {
        self.caches.reach(&*self.store, revision).await
    }
}

/// An object as it is stored: without its `resourceVersion`.
pub fn encode(object: &Value) -> Bytes {
    let mut object = object.clone();
    object::meta_mut(&mut object).remove("resourceVersion");
    // A value made of JSON always serialises.
    serde_json::to_vec(&object).unwrap_or_default().into()
}

/// An object from what is stored.
pub fn parse(value: &[u8], revision: Revision) -> Result<Stored, ApiError> {
    let object = serde_json::from_slice(value).map_err(|error| ApiError::internal(format!("a stored object cannot be read: {error}")))?;
    Ok(Stored { object, revision })
}

async fn deadline<T>(operation: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    match tokio::time::timeout(DEADLINE, operation).await {
        Ok(done) => done,
        Err(_) => Err(StoreError::Unavailable(format!("no answer within {} s", DEADLINE.as_secs()))),
    }
}

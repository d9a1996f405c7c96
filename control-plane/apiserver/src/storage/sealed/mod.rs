//! Objects sealed at rest: a store over the store, which seals what is written and opens what is read, for the kinds that a configuration names. Whatever is
//! above it sees plain values, whatever is below it (backups too) sealed ones.
//!
//! A value that cannot be opened fails the read that meets it: a server without the right key is never ready, rather than one in which Secrets seem to
//! be gone.

mod config;
mod key;
mod renew;

pub use config::FileError;
pub use renew::renew;

use async_trait::async_trait;
use bytes::Bytes;
use config::{Entry as Rules, Sealing};
use futures::StreamExt;
use key::SEALED;
use orknet_store::{Commit, Compare, Entry, Event, EventKind, KeyRange, Op, RangeResult, Revision, Store, StoreError, Watch, WatchItem};
use std::path::Path;
use std::sync::Arc;

/// See the module.
pub struct SealedStore {
    inner: Arc<dyn Store>,
    sealing: Arc<Sealing>,
}

impl SealedStore {
    /// Over `inner`, as the file says; without one nothing is sealed, and nothing that is sealed opens.
    pub fn open(inner: Arc<dyn Store>, path: Option<&Path>) -> Result<Self, FileError> {
        let read = |path: &Path| Sealing::read(path).map_err(|source| FileError { path: path.to_owned(), source });
        Ok(Self { inner, sealing: Arc::new(path.map(read).transpose()?.unwrap_or_default()) })
    }

    /// Says of names of kinds in the configuration that none has it: nothing is sealed by them. To be asked when custom resources are served.
    pub fn warn_of_unknown(&self, is_stored: impl Fn(&str, &str) -> bool) {
        for name in self.sealing.unknown(is_stored) {
            tracing::warn!(name, "the encryption configuration names a kind that there is not: nothing is sealed by that name");
        }
    }
}

/// A value that cannot be sealed or opened.
#[derive(Debug, thiserror::Error)]
enum ValueError {
    #[error("{key} is not sealed, and the encryption configuration lists no identity provider that reads it")]
    Plain { key: String },
    #[error("{key} is sealed with {with:?}, which the encryption configuration does not have")]
    NoKey { key: String, with: String },
    #[error("{key} does not open with the key {name:?}: it was changed, or sealed with another key of that name")]
    Damaged { key: String, name: String },
    #[error("the key {name:?} cannot seal {key}")]
    Seal { key: String, name: String },
}

impl From<ValueError> for StoreError {
    fn from(error: ValueError) -> Self {
        let operation = if matches!(error, ValueError::Seal { .. }) { "seal a value" } else { "open a sealed value" };
        Self::Failed { operation, source: Box::new(error) }
    }
}

/// Whether a read failed for a value that does not open.
pub fn is_unreadable(error: &StoreError) -> bool {
    matches!(error, StoreError::Failed { source, .. } if source.is::<ValueError>())
}

/// What is written for a value.
fn seal(sealing: &Sealing, key: &Bytes, value: Bytes) -> Result<Bytes, ValueError> {
    let Some(with) = sealing.of(key).and_then(Rules::writes_with) else { return Ok(value) };
    with.seal(key, &value).ok_or_else(|| ValueError::Seal { key: text(key), name: with.name().to_owned() })
}

/// What a written value stands for.
fn open(sealing: &Sealing, key: &Bytes, value: Bytes) -> Result<Bytes, ValueError> {
    let rules = sealing.of(key);
    if !value.starts_with(SEALED) {
        return match rules {
            Some(rules) if !rules.reads_plain() => Err(ValueError::Plain { key: text(key) }),
            _ => Ok(value),
        };
    }
    match rules.and_then(|rules| rules.keys().find(|own| own.sealed(&value))) {
        Some(own) => own.open(key, &value).ok_or_else(|| ValueError::Damaged { key: text(key), name: own.name().to_owned() }),
        None => Err(ValueError::NoKey { key: text(key), with: sealed_with(&value) }),
    }
}

/// The part of a sealed value that says what sealed it: `aesgcm:v1:name`.
fn sealed_with(value: &[u8]) -> String {
    let head = value.splitn(6, |byte| *byte == b':').skip(2).take(3).map(String::from_utf8_lossy);
    head.collect::<Vec<_>>().join(":")
}

fn text(key: &[u8]) -> String {
    String::from_utf8_lossy(key).into_owned()
}

fn open_entry(sealing: &Sealing, entry: Entry) -> Result<Entry, ValueError> {
    let value = open(sealing, &entry.key, entry.value)?;
    Ok(Entry { value, ..entry })
}

fn open_event(sealing: &Sealing, event: Event) -> Result<Event, ValueError> {
    let kind = match event.kind {
        EventKind::Put { value, create_revision } => EventKind::Put { value: open(sealing, &event.key, value)?, create_revision },
        EventKind::Delete => EventKind::Delete,
    };
    let previous = event.previous.map(|entry| open_entry(sealing, entry)).transpose()?;
    Ok(Event { kind, previous, ..event })
}

#[async_trait]
impl Store for SealedStore {
    async fn range(&self, range: KeyRange, revision: Option<Revision>, limit: usize) -> Result<RangeResult, StoreError> {
        let found = self.inner.range(range, revision, limit).await?;
        let entries = found.entries.into_iter().map(|entry| open_entry(&self.sealing, entry)).collect::<Result<_, _>>()?;
        Ok(RangeResult { entries, ..found })
    }

    async fn commit(&self, compares: Vec<Compare>, ops: Vec<Op>) -> Result<Commit, StoreError> {
        let sealed = |op| {
            Ok::<_, ValueError>(match op {
                Op::Put { key, value, ttl } => Op::Put { value: seal(&self.sealing, &key, value)?, key, ttl },
                delete @ Op::Delete { .. } => delete,
            })
        };
        let ops = ops.into_iter().map(sealed).collect::<Result<_, _>>()?;
        match self.inner.commit(compares, ops).await? {
            Commit::Failed { current, revision } => {
                let open = |entry: Option<Entry>| entry.map(|entry| open_entry(&self.sealing, entry)).transpose();
                Ok(Commit::Failed { current: current.into_iter().map(open).collect::<Result<_, _>>()?, revision })
            }
            done @ Commit::Done(_) => Ok(done),
        }
    }

    async fn watch(&self, range: KeyRange, after: Revision) -> Result<Watch, StoreError> {
        let sealing = self.sealing.clone();
        let opened = self.inner.watch(range, after).await?.map(move |item| match item? {
            WatchItem::Events(events) => {
                Ok(WatchItem::Events(events.into_iter().map(|event| open_event(&sealing, event)).collect::<Result<_, _>>()?))
            }
            progress @ WatchItem::Progress(_) => Ok(progress),
        });
        Ok(opened.boxed())
    }

    async fn request_progress(&self) -> Result<(), StoreError> {
        self.inner.request_progress().await
    }

    async fn current_revision(&self) -> Result<Revision, StoreError> {
        self.inner.current_revision().await
    }

    async fn compact(&self, revision: Revision) -> Result<(), StoreError> {
        self.inner.compact(revision).await
    }

    async fn size(&self) -> Result<u64, StoreError> {
        self.inner.size().await
    }
}

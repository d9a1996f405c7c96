//! The values that the store's callers and backends exchange.

use bytes::Bytes;
use std::time::Duration;

/// The store's clock: starts at 1 (empty), grows by one with every commit that changes something.
pub type Revision = u64;

/// Keys from `start` (inclusive) to `end` (exclusive).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRange {
    pub start: Bytes,
    pub end: Bytes,
}

impl KeyRange {
    /// All keys that begin with `prefix`.
    pub fn prefix(prefix: impl Into<Bytes>) -> Self {
        let start = prefix.into();
        let mut end = start.to_vec();
        while let Some(last) = end.pop() {
            if last < 0xff {
                end.push(last + 1);
                break;
            }
        }
        Self { start, end: end.into() }
    }

    /// Exactly one key.
    pub fn single(key: impl Into<Bytes>) -> Self {
        let start = key.into();
        let mut end = start.to_vec();
        end.push(0);
        Self { start, end: end.into() }
    }

    /// Whether `key` is in the range. An empty `end` means no upper bound.
    pub fn contains(&self, key: &[u8]) -> bool {
        key >= &self.start[..] && (self.end.is_empty() || key < &self.end[..])
    }
}

/// One key with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub key: Bytes,
    pub value: Bytes,
    /// Revision of the commit that created the key (since its last deletion).
    pub create_revision: Revision,
    /// Revision of the commit that wrote this value.
    pub mod_revision: Revision,
}

/// Answer of a range read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeResult {
    pub entries: Vec<Entry>,
    /// The revision the read is consistent with.
    pub revision: Revision,
    /// Whether `limit` cut the answer short.
    pub more: bool,
    /// Keys in the whole range at that revision, where the backend knows it cheaply.
    pub count: Option<u64>,
}

/// A condition on one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compare {
    /// The key is not there.
    Absent(Bytes),
    /// The key is there and was last written at this revision.
    ModRevision(Bytes, Revision),
}

impl Compare {
    /// The key it speaks of.
    pub fn key(&self) -> &Bytes {
        match self {
            Self::Absent(key) | Self::ModRevision(key, _) => key,
        }
    }
}

/// One write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Writes the value; with `ttl` the key is deleted by the store after that time (an ordinary deletion with its own revision).
    Put { key: Bytes, value: Bytes, ttl: Option<Duration> },
    /// Deletes the key; nothing happens if it is not there.
    Delete { key: Bytes },
}

/// What became of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Commit {
    /// It is durable, at this revision (the current one if it changed nothing).
    Done(Revision),
    /// A compare did not hold. The current entry of every key compared, in the order of the compares, and the revision.
    Failed { current: Vec<Option<Entry>>, revision: Revision },
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub revision: Revision,
    pub key: Bytes,
    pub kind: EventKind,
    /// The entry before the change, where it is still kept.
    pub previous: Option<Entry>,
}

/// What a change did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// The key now has this value.
    Put { value: Bytes, create_revision: Revision },
    /// The key is gone.
    Delete,
}

/// What a watch delivers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchItem {
    /// All changes of one revision that are in the range, in the order of the commit's ops.
    Events(Vec<Event>),
    /// Everything up to this revision has been delivered.
    Progress(Revision),
}

/// An open watch. Ends with an error item when the backend is lost or the watch fell behind a compaction; dropping it closes it.
pub type Watch = futures::stream::BoxStream<'static, Result<WatchItem, StoreError>>;

/// How often an idle watch tells where it is.
pub const PROGRESS_INTERVAL: Duration = Duration::from_secs(10);

/// What can go wrong, for callers to act on.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("revision {requested} has been compacted; the oldest kept is {oldest}")]
    Compacted { requested: Revision, oldest: Revision },
    #[error("revision {requested} is in the future; the newest is {newest}")]
    FutureRevision { requested: Revision, newest: Revision },
    #[error("the store has no room: {0}")]
    NoSpace(String),
    #[error("the value of {key} has {size} bytes; at most {limit} are allowed")]
    TooLarge { key: String, size: usize, limit: usize },
    #[error("the store cannot be reached: {0}")]
    Unavailable(String),
    /// Never again for whoever has it open: the revisions that he knows are of another time.
    #[error("the store was restored meanwhile, or migrated to another place: what is connected to it has to be started anew")]
    Replaced,
    #[error("the store failed to {operation}: {source}")]
    Failed { operation: &'static str, source: Box<dyn std::error::Error + Send + Sync> },
}

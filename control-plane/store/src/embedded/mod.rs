//! The embedded backend: a log of commits on disk and an index of it in memory.
//!
//! Everything written is appended to a log of segments; one thread (`writer`) takes what is queued as one group, writes one frame, waits for the
//! disk once, publishes to readers and watches, and only then answers. Values stay on disk; memory holds the keys and where their values lie.
//! Opening reads the log (`recover`); compaction forgets versions and rewrites segments beside the writer (`cleaner`).

mod cleaner;
mod feed;
mod frame;
mod group;
mod index;
mod log;
mod moved;
mod reader;
mod recover;
mod restore;
mod segment;
mod state;
mod watch;
mod writer;

pub use reader::Reader;
pub use restore::Restore;

use crate::limits::{MAX_VALUE, check_commit};
use crate::{Commit, Compare, KeyRange, Op, RangeResult, Revision, Store, StoreError, Watch};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use state::{State, failed};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use tokio::sync::{Semaphore, oneshot};
use writer::{Request, Task, Writer};

/// Commits that may wait for the writer; more wait before they are queued.
const QUEUE: usize = 4096;

/// Largest segment: one group of commits more must still have its places below 4 GiB.
const MOST_SEGMENT: u64 = 1 << 30;

/// Where and how the embedded store keeps its data.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct EmbeddedConfig {
    /// The directory of the log; created if missing. One process at a time may have it open.
    pub directory: PathBuf,
    /// Bytes of the file system kept free: with less, values are refused with [`StoreError::NoSpace`] so that deletions can go on.
    #[serde(default = "default_reserve")]
    pub reserve_bytes: u64,
    /// Size in bytes at which a new segment of the log is begun; room is given back in such steps. At most 1 GiB counts.
    #[serde(default = "default_segment")]
    pub segment_bytes: u64,
    /// Bytes of recent commits kept in memory for watches; what is older is read from disk.
    #[serde(default = "default_recent")]
    pub recent_bytes: usize,
}

impl EmbeddedConfig {
    /// The defaults, in this directory.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            reserve_bytes: default_reserve(),
            segment_bytes: default_segment(),
            recent_bytes: default_recent(),
        }
    }
}

/// A store in a directory. Dropping it waits for the commits in its queue and gives the directory free.
pub struct Embedded {
    state: Arc<State>,
    requests: Option<mpsc::Sender<Request>>,
    queue: Arc<Semaphore>,
    threads: Vec<JoinHandle<()>>,
    lock: File,
    /// Bytes of one value.
    most: usize,
}

impl Embedded {
    /// Opens the store, or begins one where the directory is empty. Reads the whole log: blocks for about a second per GB.
    /// Errors: [`StoreError::Unavailable`] when another process has it open, [`StoreError::Failed`] when the log is damaged or cannot be read, or a
    /// restore into it is not done, or it was migrated to another place.
    pub fn open(mut config: EmbeddedConfig) -> Result<Arc<Self>, StoreError> {
        let lock = enter(&mut config)?;
        if let Some(from) = restore::unfinished(&config.directory)? {
            let source = format!("a restore of {from} into {} was not done: do it again", config.directory.display());
            return Err(StoreError::Failed { operation: "open the store", source: source.into() });
        }
        if let Some(to) = moved::moved(&config.directory)? {
            let source = format!("{} was migrated to {to}; {}", config.directory.display(), crate::snapshot::STAY);
            return Err(StoreError::Failed { operation: "open the store", source: source.into() });
        }
        Self::begin(recover::recover(config)?, lock, MAX_VALUE)
    }

    /// `most`: bytes of one value.
    fn begin(recovered: recover::Recovered, lock: File, most: usize) -> Result<Arc<Self>, StoreError> {
        let state = Arc::new(recovered.state);
        let (requests, queued) = mpsc::channel();
        let (wake, woken) = mpsc::channel();
        // What a compaction before the last stop left to be done.
        let _ = wake.send(());
        let writer = Writer { state: state.clone(), log: log::Log::new(recovered.active), expiries: recovered.expiries, cleaner: wake };
        let cleaned = state.clone();
        let threads =
            vec![spawn("store-writer", move || writer.run(queued))?, spawn("store-cleaner", move || cleaner::run(cleaned, woken))?];
        Ok(Arc::new(Self { state, requests: Some(requests), queue: Arc::new(Semaphore::new(QUEUE)), threads, lock, most }))
    }

    /// Queues a change and waits until it is durable or refused.
    async fn change(&self, task: Task) -> Result<Commit, StoreError> {
        let gone = || StoreError::Unavailable("the store's writer has stopped".into());
        let permit = self.queue.clone().acquire_owned().await.map_err(|_| gone())?;
        let (answer, answered) = oneshot::channel();
        self.requests.as_ref().ok_or_else(gone)?.send(Request { task, answer, permit }).map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.requests = None;
        self.state.feed.close();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the store panicked");
            }
        }
        // Closing the file is not enough: a process being started elsewhere in this one has it open until its exec.
        if let Err(error) = self.lock.unlock() {
            tracing::warn!(%error, "the store's directory could not be unlocked");
        }
    }
}

#[async_trait]
impl Store for Embedded {
    async fn range(&self, range: KeyRange, revision: Option<Revision>, limit: usize) -> Result<RangeResult, StoreError> {
        let state = self.state.clone();
        blocking("read a range", move || state.range(&range, revision, limit)).await
    }

    async fn commit(&self, compares: Vec<Compare>, ops: Vec<Op>) -> Result<Commit, StoreError> {
        check_commit(&compares, &ops, self.most)?;
        self.change(Task::Commit { compares, ops }).await
    }

    async fn watch(&self, range: KeyRange, after: Revision) -> Result<Watch, StoreError> {
        watch::open(self.state.clone(), range, after)
    }

    async fn request_progress(&self) -> Result<(), StoreError> {
        self.state.feed.request_progress();
        Ok(())
    }

    async fn current_revision(&self) -> Result<Revision, StoreError> {
        Ok(self.state.index.read().revision)
    }

    async fn compact(&self, revision: Revision) -> Result<(), StoreError> {
        self.change(Task::Compact(revision)).await.map(drop)
    }

    async fn size(&self) -> Result<u64, StoreError> {
        Ok(self.state.segments.read().ordered.iter().map(|segment| segment.len()).sum())
    }
}

/// Makes the directory where there is none, and takes it for this process.
fn enter(config: &mut EmbeddedConfig) -> Result<File, StoreError> {
    // Places in a segment are 32-bit numbers.
    config.segment_bytes = config.segment_bytes.min(MOST_SEGMENT);
    // Secrets are in it: nobody else may enter.
    fs::create_dir_all(&config.directory)
        .and_then(|()| fs::set_permissions(&config.directory, fs::Permissions::from_mode(0o700)))
        .map_err(|error| failed("create the store's directory", error))?;
    lock(&config.directory)
}

fn default_reserve() -> u64 {
    16 << 20
}

fn default_segment() -> u64 {
    8 << 20
}

fn default_recent() -> usize {
    4 << 20
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, StoreError> {
    std::thread::Builder::new().name(name.into()).spawn(run).map_err(|error| failed("start a thread", error))
}

async fn blocking<T: Send + 'static>(
    operation: &'static str,
    run: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(run).await.map_err(|error| StoreError::Failed { operation, source: Box::new(error) })?
}

/// Takes the directory for this process until the file is closed, also by a crash.
fn lock(directory: &Path) -> Result<File, StoreError> {
    let path = directory.join("lock");
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(segment::MODE)
        .open(&path)
        .map_err(|error| failed("open the store's lock", error))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let _ = file.read_to_string(&mut holder);
            return Err(StoreError::Unavailable(format!("{} is in use by process {}", directory.display(), holder.trim())));
        }
        Err(TryLockError::Error(error)) => return Err(failed("lock the store's directory", error)),
    }
    // Only for the message above: a full disk must not keep the store from opening.
    let _ = file.set_len(0).and_then(|()| write!(file, "{}", std::process::id()));
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_else_may_enter_the_directory_or_read_its_files() {
        let above = tempfile::tempdir().unwrap();
        let directory = above.path().join("store");
        fs::create_dir(&directory).unwrap();
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        drop(Embedded::open(EmbeddedConfig::new(&directory)).unwrap());
        assert_eq!(mode(&directory), 0o700);
        let files: Vec<_> = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(files.len(), 2, "{files:?}");
        assert!(files.iter().all(|file| mode(file) == 0o600), "{files:?}");
    }
}

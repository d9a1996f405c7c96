//! Places that come while the feed runs: how a new cache is filled, and from which revision on it is fed, so that no change is missing or there twice.
//!
//! The feed alone decides. At a request it notes the revision that it has seen, reads the place's folder as of that revision beside its own work, and
//! keeps the place's later changes; when the folder has been read, the cache gets its objects, then the changes kept, and is one of the caches.

use super::kind_cache::{KindCache, Updates};
use super::{CachedObject, Caches};
use crate::kinds::StoredAs;
use crate::storage::keys;
use orknet_store::{KeyRange, Revision, Store, StoreError};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

/// Entries read at a time while loading.
const PAGE: usize = 1000;
/// Pause before a folder that could not be read is tried again.
const PAUSE: Duration = Duration::from_millis(100);

/// A place that is to be filled and fed.
pub(super) struct Join {
    stored_as: StoredAs,
    folder: String,
    cache: Arc<KindCache>,
    /// Told when it is one of the caches, dropped when it will not be; closed when nobody waits for it any more.
    done: oneshot::Sender<()>,
    /// The folder is read as of this revision.
    from: Revision,
    /// What changed since, in order.
    later: Vec<(Revision, Updates)>,
}

impl Join {
    pub fn new(stored_as: StoredAs, cache: Arc<KindCache>, done: oneshot::Sender<()>) -> Self {
        Self { stored_as, folder: keys::folder(stored_as), cache, done, from: 0, later: Vec::new() }
    }
}

/// All that are not one of the caches yet.
pub(super) struct Joins {
    requests: mpsc::UnboundedReceiver<Join>,
    open: Vec<Join>,
    reads: JoinSet<Read>,
}

/// A folder as it was at a revision.
pub(super) struct Read {
    stored_as: StoredAs,
    from: Revision,
    found: Result<Vec<Arc<CachedObject>>, StoreError>,
}

/// What a feed that follows the store is to do about joins.
pub(super) enum Step {
    Begin(Join),
    End(Read),
}

impl Joins {
    pub fn new(requests: mpsc::UnboundedReceiver<Join>) -> Self {
        Self { requests, open: Vec::new(), reads: JoinSet::new() }
    }

    /// The next thing to do. Cancel-safe. Never completes when there is nothing, and never will be.
    pub async fn next(&mut self) -> Step {
        loop {
            tokio::select! {
                Some(join) = self.requests.recv() => return Step::Begin(join),
                Some(read) = self.reads.join_next() => match read {
                    Ok(read) => return Step::End(read),
                    // Whose read it was is not told: all that wait are let go, and may ask again.
                    Err(error) => {
                        tracing::error!(%error, "a folder could not be read");
                        self.open.clear();
                    }
                },
                else => std::future::pending::<()>().await,
            }
        }
    }

    /// Does it. `seen`: every change up to this revision has been told, and none after it.
    pub fn step(&mut self, step: Step, caches: &Caches, store: &Arc<dyn Store>, seen: Revision) {
        match step {
            Step::Begin(join) => {
                // An older request for the same place was given up.
                self.open.retain(|older| older.stored_as != join.stored_as);
                self.open.push(Join { from: seen, ..join });
                self.read(store, self.open.len() - 1, Duration::ZERO);
            }
            Step::End(Read { stored_as, from, found }) => {
                let Some(index) = self.open.iter().position(|join| join.stored_as == stored_as && join.from == from) else { return };
                match found {
                    Ok(objects) => self.open.swap_remove(index).enter(caches, objects),
                    Err(error) => {
                        tracing::warn!(%error, folder = self.open[index].folder, "a new place could not be read, trying again");
                        if matches!(error, StoreError::Compacted { .. }) {
                            let join = &mut self.open[index];
                            (join.from, join.later) = (seen, Vec::new());
                        }
                        self.read(store, index, PAUSE);
                    }
                }
            }
        }
    }

    /// The cache that a folder is being read for.
    pub fn of(&self, folder: &str) -> Option<Arc<KindCache>> {
        self.open.iter().find(|join| join.folder == folder).map(|join| join.cache.clone())
    }

    /// Keeps the changes of one revision for a cache whose folder is being read. Gives them back for one that is filled.
    pub fn keep(&mut self, cache: &Arc<KindCache>, revision: Revision, updates: Updates) -> Option<Updates> {
        match self.open.iter_mut().find(|join| Arc::ptr_eq(&join.cache, cache)) {
            Some(join) => join.later.push((revision, updates)),
            None => return Some(updates),
        }
        None
    }

    /// Makes all of them caches now, empty ones: everything is about to be loaded. Who waits is told by [`Entered::told`] when that is done.
    pub fn enter_all(&mut self, caches: &Caches) -> Entered {
        while let Ok(join) = self.requests.try_recv() {
            self.open.push(join);
        }
        self.reads = JoinSet::new();
        let mut entered = Entered(Vec::new());
        for join in self.open.drain(..).filter(|join| !join.done.is_closed()) {
            caches.places.write().insert(join.stored_as, join.cache.clone());
            entered.0.push(join);
        }
        entered
    }

    /// Takes back those that entered, after a load that failed.
    pub fn reopen(&mut self, entered: Entered, caches: &Caches) {
        for join in entered.0 {
            caches.places.write().remove(join.stored_as);
            self.open.push(Join { later: Vec::new(), ..join });
        }
    }

    fn read(&mut self, store: &Arc<dyn Store>, index: usize, pause: Duration) {
        let join = &self.open[index];
        let (store, cache, stored_as, from) = (store.clone(), join.cache.clone(), join.stored_as, join.from);
        self.reads.spawn(async move {
            tokio::time::sleep(pause).await;
            let found = read(&*store, &cache, stored_as, from).await;
            Read { stored_as, from, found }
        });
    }
}

/// Joins that are caches and wait for a load.
pub(super) struct Entered(Vec<Join>);

impl Entered {
    /// The load is done.
    pub fn told(self, caches: &Caches) {
        self.0.into_iter().for_each(|join| join.told(caches));
    }
}

impl Join {
    /// Becomes one of the caches: what was there, then what changed since.
    fn enter(self, caches: &Caches, objects: Vec<Arc<CachedObject>>) {
        if self.done.is_closed() {
            return;
        }
        self.cache.reset(objects, self.from);
        let mut join = self;
        for (revision, updates) in std::mem::take(&mut join.later) {
            join.cache.apply(revision, updates);
        }
        caches.places.write().insert(join.stored_as, join.cache.clone());
        join.told(caches);
    }

    fn told(self, caches: &Caches) {
        if self.done.send(()).is_err() {
            caches.remove(self.stored_as);
        }
    }
}

/// The objects of a folder as of a revision, as the cache keeps them.
async fn read(store: &dyn Store, cache: &KindCache, stored_as: StoredAs, at: Revision) -> Result<Vec<Arc<CachedObject>>, StoreError> {
    let mut range: KeyRange = keys::objects(stored_as, "");
    let mut found = Vec::new();
    loop {
        let page = store.range(range.clone(), Some(at), PAGE).await?;
        let last = page.entries.last().map(|entry| entry.key.clone());
        for entry in page.entries {
            match serde_json::from_slice(&entry.value) {
                Ok(value) => found.push(cache.object(value, entry.mod_revision)),
                Err(error) => tracing::error!(key = %String::from_utf8_lossy(&entry.key), %error, "a stored object cannot be read"),
            }
        }
        match last {
            Some(last) if page.more => range.start = [&last[..], &[0]].concat().into(),
            _ => return Ok(found),
        }
    }
}

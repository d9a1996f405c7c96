//! The watch cache: all objects in memory, fed by one watch on the store. Lists and watches are served from here; no client ever has a
//! store watch of its own, and none can hold up another.

mod cursor;
mod entry;
mod feed;
mod join;
mod kind_cache;
mod window;

pub use cursor::{Cursor, Fallen};
pub use entry::CachedObject;
pub use feed::feed;
pub use kind_cache::KindCache;
pub use window::{Change, ChangeKind};

use crate::allocate::Claims;
use crate::error::ApiError;
use crate::kinds::{Kind, Kinds, StoredAs};
use join::Join;
use orknet_store::{Revision, Store};
use parking_lot::{Mutex, RwLock};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

/// How long a read waits for the cache to reach a version before it fails (504), as Kubernetes does.
const WAIT: Duration = Duration::from_secs(3);
/// How often a waiting read asks the store for progress, in case nothing is being written.
const ASK: Duration = Duration::from_millis(100);

/// How far the caches are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Every change up to this revision is in the caches. 0 before the first load.
    pub revision: Revision,
    /// Whether the feed has a connection to the store.
    pub connected: bool,
}

/// The caches of all stored kinds, and of the claims.
pub struct Caches {
    places: RwLock<Places>,
    /// To the feed: places that are to be filled and kept from then on.
    joins: mpsc::UnboundedSender<Join>,
    /// Its other end, until the feed begins.
    joining: Mutex<Option<mpsc::UnboundedReceiver<Join>>>,
    claims: Arc<Claims>,
    progress: watch::Sender<Progress>,
}

/// The caches by where their objects are. Asked once a request and once a revision, never for each object.
#[derive(Default)]
struct Places {
    by_folder: HashMap<String, Arc<KindCache>>,
    by_kind: HashMap<StoredAs, Arc<KindCache>>,
}

impl Places {
    fn insert(&mut self, stored_as: StoredAs, cache: Arc<KindCache>) {
        self.by_folder.insert(crate::storage::keys::folder(stored_as), cache.clone());
        self.by_kind.insert(stored_as, cache);
    }

    fn remove(&mut self, stored_as: StoredAs) -> Option<Arc<KindCache>> {
        self.by_folder.remove(&crate::storage::keys::folder(stored_as));
        self.by_kind.remove(&stored_as)
    }
}

/// The feed has ended, as the server does.
#[derive(Debug, PartialEq, Eq)]
pub struct Ended;

impl Caches {
    /// Empty caches; [`feed`] fills them.
    pub fn new(kinds: &Kinds, claims: Arc<Claims>) -> Self {
        let mut places = Places::default();
        for (stored_as, served) in kinds.stored() {
            places.insert(stored_as, Arc::new(KindCache::new(served)));
        }
        let (joins, joining) = mpsc::unbounded_channel();
        let (joining, progress) = (Mutex::new(Some(joining)), watch::Sender::new(Progress::default()));
        Self { places: RwLock::new(places), joins, joining, claims, progress }
    }

    /// The cache of a stored kind; `None` for kinds that are not stored, or no more.
    pub fn of(&self, stored_as: StoredAs) -> Option<Arc<KindCache>> {
        self.places.read().by_kind.get(&stored_as).cloned()
    }

    /// How many places there are.
    #[cfg(test)]
    pub fn count(&self) -> usize {
        self.places.read().by_kind.len()
    }

    /// Adds a place: completes when its cache holds what is stored there, as new as all the others, and is fed with them. As long as that takes where
    /// the store is away. To be waited for: a place that nobody waited for may be there or not.
    pub async fn add(&self, stored_as: StoredAs, kinds: Vec<Kind>) -> Result<(), Ended> {
        let (done, joined) = oneshot::channel();
        self.joins.send(Join::new(stored_as, Arc::new(KindCache::new(kinds)), done)).map_err(|_| Ended)?;
        joined.await.map_err(|_| Ended)
    }

    /// Removes a place: its watches end, its objects are forgotten, whoever still holds it.
    pub fn remove(&self, stored_as: StoredAs) {
        let removed = self.places.write().remove(stored_as);
        if let Some(cache) = removed {
            cache.close();
        }
    }

    /// Makes a place's objects selectable as these kinds want them, which are served from it from now on.
    pub fn refit(&self, stored_as: StoredAs, kinds: Vec<Kind>) {
        if let Some(cache) = self.of(stored_as) {
            cache.refit(kinds);
        }
    }

    /// Ends every watch on a place that has begun until now.
    pub fn end_watches(&self, stored_as: StoredAs) {
        if let Some(cache) = self.of(stored_as) {
            cache.end_watches();
        }
    }

    /// The cached object, if it is there.
    pub fn get(&self, stored_as: StoredAs, namespace: &str, name: &str) -> Option<Arc<CachedObject>> {
        self.of(stored_as)?.get(namespace, name)
    }

    /// All cached objects of a kind, as values. For the server's own use of small kinds.
    pub fn values(&self, stored_as: StoredAs) -> Vec<serde_json::Value> {
        self.of(stored_as).map(|cache| cache.snapshot("").objects.iter().map(|object| object.value()).collect()).unwrap_or_default()
    }

    /// How far the caches are now.
    pub fn progress(&self) -> Progress {
        *self.progress.borrow()
    }

    /// Completes when the caches have been filled once.
    pub async fn filled(&self) {
        let mut progress = self.progress.subscribe();
        // The sender lives in self, so the wait cannot fail.
        let _ = progress.wait_for(|progress| progress.revision > 0).await;
    }

    /// Waits until the caches have been filled once. Fails with 503 after a few seconds.
    pub async fn must_be_filled(&self) -> Result<(), ApiError> {
        let unread = || ApiError::unavailable("the server has not read its store yet");
        tokio::time::timeout(WAIT, self.filled()).await.map_err(|_| unread())
    }

    /// Waits until everything up to `revision` is in the caches. Fails with 504 after a few seconds.
    pub async fn reach(&self, store: &dyn Store, revision: Revision) -> Result<(), ApiError> {
        if self.progress().revision >= revision {
            return Ok(());
        }
        let mut progress = self.progress.subscribe();
        let reached = async {
            loop {
                if tokio::time::timeout(ASK, progress.wait_for(|progress| progress.revision >= revision)).await.is_ok() {
                    return;
                }
                // A store that cannot answer shows in the time-out of the wait itself.
                let _ = store.request_progress().await;
            }
        };
        tokio::time::timeout(WAIT, reached).await.map_err(|_| ApiError::too_new(revision, self.progress().revision))
    }

    fn set_progress(&self, change: impl FnOnce(&mut Progress)) {
        self.progress.send_modify(change);
    }
}

#[cfg(test)]
mod tests;

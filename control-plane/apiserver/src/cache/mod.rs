//! The watch cache: all objects in memory, fed by one watch on the store. Lists and watches are served from here; no client ever has a
//! store watch of its own, and none can hold up another.

mod cursor;
mod entry;
mod feed;
mod kind_cache;
mod window;

pub use cursor::Cursor;
pub use entry::CachedObject;
pub use feed::feed;
pub use kind_cache::KindCache;
pub use window::{Change, ChangeKind};

use crate::allocate::Claims;
use crate::error::ApiError;
use crate::kinds::{Kinds, StoredAs};
use orknet_store::{Revision, Store};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

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
    by_folder: HashMap<String, Arc<KindCache>>,
    by_kind: HashMap<StoredAs, Arc<KindCache>>,
    claims: Arc<Claims>,
    progress: watch::Sender<Progress>,
}

impl Caches {
    /// Empty caches; [`feed`] fills them.
    pub fn new(kinds: &Kinds, claims: Arc<Claims>) -> Self {
        let (mut by_folder, mut by_kind) = (HashMap::new(), HashMap::new());
        for stored_as in kinds.stored().into_keys() {
            let served = kinds.iter().filter(|kind| kind.descriptor().stored_as == stored_as).collect();
            let cache = Arc::new(KindCache::new(served));
            by_folder.insert(crate::storage::keys::folder(stored_as), cache.clone());
            by_kind.insert(stored_as, cache);
        }
        Self { by_folder, by_kind, claims, progress: watch::Sender::new(Progress::default()) }
    }

    /// The cache of a stored kind; `None` for kinds that are not stored.
    pub fn of(&self, stored_as: StoredAs) -> Option<&Arc<KindCache>> {
        self.by_kind.get(&stored_as)
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

//! Which kinds are served now, and how that changes while the server runs.
//!
//! Readers take the set of the moment, once a request, and keep it as long as they like. A change makes the next set and all that goes with it: the caches
//! of new places are filled before anybody sees the kinds, and the watches of what went or was replaced end after nobody sees the old ones.

use crate::cache::Ended;
use crate::kinds::{ChangeError, Kind, Kinds, Path, StoredAs};
use crate::server::Server;
use futures::future::try_join_all;
use orknet_resources::Resource;
use parking_lot::RwLock;
use std::sync::Arc;
use tokio::sync::{Mutex, Notify};

/// See the module.
pub struct Serving {
    current: RwLock<Arc<Kinds>>,
    /// Held by who changes.
    changing: Mutex<()>,
    changes: Notify,
}

impl Serving {
    pub fn new(kinds: Kinds) -> Self {
        Self { current: RwLock::new(Arc::new(kinds)), changing: Mutex::new(()), changes: Notify::new() }
    }

    /// Completes when they have changed since it completed last. For one who follows.
    pub async fn changed(&self) {
        self.changes.notified().await;
    }

    /// The kinds that are served now.
    pub fn now(&self) -> Arc<Kinds> {
        self.current.read().clone()
    }
}

/// Serves other kinds from now on: `add`, in place of those that are served at their paths, and no more those at the paths of `remove`.
///
/// When this returns, requests see the kinds with all objects that are stored, discovery tells of them, and the watches of those removed or replaced have
/// been told to end. What is stored stays. One change is made at a time, and each as a whole, also when nobody waits for it; it waits for the store.
pub async fn change(server: Arc<Server>, add: Vec<Arc<dyn Resource>>, remove: Vec<Path>) -> Result<(), ChangeError> {
    let changing = tokio::spawn(async move { make(&server, add, &remove).await });
    changing.await.unwrap_or(Err(ChangeError::Stopping))
}

async fn make(server: &Server, add: Vec<Arc<dyn Resource>>, remove: &[Path]) -> Result<(), ChangeError> {
    let add = add.into_iter().map(Kind::added).collect::<Result<Vec<_>, _>>()?;
    let _alone = server.serving.changing.lock().await;
    let before = server.kinds();
    let after = before.changed(&add, remove)?;
    let (old, new) = (before.stored(), after.stored());
    let caches = &server.storage.caches;
    let came: Vec<StoredAs> = new.keys().filter(|place| !old.contains_key(*place)).copied().collect();
    let gone = old.keys().filter(|place| !new.contains_key(*place));
    let replaced: Vec<StoredAs> =
        new.iter().filter(|(place, kinds)| old.get(*place).is_some_and(|old| !same(old, kinds))).map(|(place, _)| *place).collect();
    if let Err(Ended) = try_join_all(came.iter().map(|place| caches.add(*place, new[place].clone()))).await {
        came.iter().for_each(|place| caches.remove(*place));
        return Err(ChangeError::Stopping);
    }
    for place in &replaced {
        caches.refit(*place, new[place].clone());
    }
    *server.serving.current.write() = Arc::new(after);
    server.serving.changes.notify_one();
    // A watch that begins looks whether its kind is still served after it has its place in the changes: it is ended here, or ends itself.
    replaced.iter().for_each(|place| caches.end_watches(*place));
    for place in gone {
        caches.remove(*place);
        server.metrics.forget(*place);
    }
    Ok(())
}

fn same(one: &[Kind], other: &[Kind]) -> bool {
    one.len() == other.len() && one.iter().zip(other).all(|(one, other)| one.is(other))
}

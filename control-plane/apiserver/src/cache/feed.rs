//! The one watch on the store that fills all caches: load everything, then follow from there; after an outage go on where it stopped, and only when
//! that has been compacted load again.

use super::join::Joins;
use super::kind_cache::{KindCache, Update, Updates};
use super::{CachedObject, Caches};
use crate::storage::keys;
use bytes::Bytes;
use futures::StreamExt;
use orknet_store::{Entry, Event, EventKind, KeyRange, Revision, Store, StoreError, WatchItem};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Entries read at a time while loading.
const PAGE: usize = 1000;
/// First and longest pause before the store is tried again.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// Fills `caches` until `shutdown`. Store failures are logged and tried again for ever; but a store that is another's now ends it.
pub async fn feed(caches: Arc<Caches>, store: Arc<dyn Store>, shutdown: CancellationToken) -> Result<(), StoreError> {
    // Caches have one feed.
    let Some(requests) = caches.joining.lock().take() else { return Ok(()) };
    let mut joins = Joins::new(requests);
    let mut pause = PAUSE.0;
    let mut after = None;
    let mut doubtful = false;
    loop {
        let before = after;
        let step = async {
            let from = match after {
                Some(revision) => revision,
                None => load(&caches, &mut joins, &*store).await?,
            };
            after = Some(from);
            follow(&caches, &mut joins, &store, from, &mut after, doubtful).await
        };
        let ended = tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            ended = step => ended,
        };
        caches.set_progress(|progress| progress.connected = false);
        // A watch that opens and fails at its first change (a value that this server cannot open) is no connection.
        doubtful = after == before;
        if !doubtful {
            pause = PAUSE.0;
        }
        match ended {
            Err(StoreError::Compacted { requested, oldest }) => {
                tracing::warn!(requested, oldest, "the store forgot changes that the cache has not seen, loading again");
                after = None;
            }
            Err(StoreError::Replaced) => return Err(StoreError::Replaced),
            Err(error) => tracing::warn!(%error, "the cache lost the store"),
            Ok(()) => tracing::warn!("the store ended the cache's watch"),
        }
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = tokio::time::sleep(pause) => {}
        }
        pause = (pause * 2).min(PAUSE.1);
    }
}

/// Loads everything, places that are to join as well.
async fn load(caches: &Caches, joins: &mut Joins, store: &dyn Store) -> Result<Revision, StoreError> {
    let entered = joins.enter_all(caches);
    let loaded = load_all(caches, store).await;
    match &loaded {
        Ok(_) => entered.told(caches),
        Err(_) => joins.reopen(entered, caches),
    }
    loaded
}

async fn load_all(caches: &Caches, store: &dyn Store) -> Result<Revision, StoreError> {
    // As they are kept: parsed values take several times as much, and all of them at once would stay with the process.
    let mut objects: HashMap<String, Vec<Arc<CachedObject>>> = HashMap::new();
    let mut claims = Vec::new();
    let mut range = KeyRange::prefix(keys::ROOT);
    let mut revision = None;
    loop {
        let page = store.range(range.clone(), revision, PAGE).await?;
        revision = Some(page.revision.max(revision.unwrap_or_default()));
        let last = page.entries.last().map(|entry| entry.key.clone());
        for Entry { key, value, mod_revision, .. } in page.entries {
            match place(&key) {
                Place::Object(folder, _) => {
                    let Some(cache) = caches.places.read().by_folder.get(folder).cloned() else { continue };
                    match serde_json::from_slice(&value) {
                        Ok(value) => {
                            let object = cache.object(value, mod_revision);
                            match objects.get_mut(folder) {
                                Some(found) => found.push(object),
                                None => drop(objects.insert(folder.to_owned(), vec![object])),
                            }
                        }
                        Err(error) => tracing::error!(key = %String::from_utf8_lossy(&key), %error, "a stored object cannot be read"),
                    }
                }
                Place::Claim => claims.push((key, value, mod_revision)),
                Place::Unknown => {}
            }
        }
        match last {
            Some(last) if page.more => range.start = [&last[..], &[0]].concat().into(),
            _ => break,
        }
    }
    let revision = revision.unwrap_or_default();
    caches.claims.reset(claims);
    // No place comes but by the feed; one that went meanwhile needs nothing.
    let places: Vec<_> = caches.places.read().by_folder.iter().map(|(folder, cache)| (folder.clone(), cache.clone())).collect();
    for (folder, cache) in places {
        cache.reset(objects.remove(&folder).unwrap_or_default(), revision);
    }
    caches.set_progress(|progress| *progress = super::Progress { revision, connected: true });
    Ok(revision)
}

/// Applies changes for as long as the watch lasts. `seen` is where it is, also when the future is dropped. `doubtful`: the watch before this one brought
/// nothing, so this one is believed to be connected only when something comes.
async fn follow(
    caches: &Caches,
    joins: &mut Joins,
    store: &Arc<dyn Store>,
    from: Revision,
    seen: &mut Option<Revision>,
    doubtful: bool,
) -> Result<(), StoreError> {
    let mut watch = store.watch(KeyRange::prefix(keys::ROOT), from).await?;
    if doubtful {
        store.request_progress().await?;
    } else {
        caches.set_progress(|progress| progress.connected = true);
    }
    loop {
        let item = tokio::select! {
            item = watch.next() => item,
            step = joins.next() => {
                joins.step(step, caches, store, seen.unwrap_or(from));
                continue;
            }
        };
        let Some(item) = item else { return Ok(()) };
        let revision = match item? {
            WatchItem::Events(events) => {
                let Some(revision) = events.first().map(|event| event.revision) else { continue };
                apply(caches, joins, revision, events);
                revision
            }
            WatchItem::Progress(revision) => revision,
        };
        if *seen < Some(revision) {
            *seen = Some(revision);
            caches.set_progress(|progress| *progress = super::Progress { revision, connected: true });
        } else if doubtful {
            caches.set_progress(|progress| progress.connected = true);
        }
    }
}

/// Applies the changes of one revision.
fn apply(caches: &Caches, joins: &mut Joins, revision: Revision, events: Vec<Event>) {
    let mut grouped: Vec<Grouped> = Vec::new();
    for event in events {
        let (cache, tail) = match place(&event.key) {
            Place::Object(folder, tail) => {
                let found = caches.places.read().by_folder.get(folder).cloned();
                let Some(cache) = found.or_else(|| joins.of(folder)) else { continue };
                (cache, tail)
            }
            Place::Claim => {
                let value = match event.kind {
                    EventKind::Put { value, .. } => Some(value),
                    EventKind::Delete => None,
                };
                caches.claims.apply(event.key, value, revision);
                continue;
            }
            Place::Unknown => continue,
        };
        let update = match &event.kind {
            EventKind::Delete => Update::Delete,
            EventKind::Put { value, .. } => match serde_json::from_slice(value) {
                Ok(value) => Update::Put(value),
                Err(error) => {
                    tracing::error!(key = %String::from_utf8_lossy(&event.key), %error, "a stored object cannot be read");
                    continue;
                }
            },
        };
        match grouped.iter_mut().find(|(other, _)| Arc::ptr_eq(other, &cache)) {
            Some((_, updates)) => updates.push((tail.into(), update)),
            None => grouped.push((cache, vec![(tail.into(), update)])),
        }
    }
    for (cache, updates) in grouped {
        if let Some(updates) = joins.keep(&cache, revision, updates) {
            cache.apply(revision, updates);
        }
    }
}

/// The changes of one revision to one kind.
type Grouped = (Arc<KindCache>, Updates);

enum Place<'k> {
    /// Folder, and what follows the folder in the key.
    Object(&'k str, &'k str),
    Claim,
    Unknown,
}

fn place(key: &Bytes) -> Place<'_> {
    if key.starts_with(keys::CLUSTER_IPS.as_bytes()) || key.starts_with(keys::NODE_PORTS.as_bytes()) {
        return Place::Claim;
    }
    let Ok(key) = std::str::from_utf8(key) else { return Place::Unknown };
    // `/registry/<group>/<plural>/`: the fourth slash ends the folder.
    let Some((end, _)) = key.match_indices('/').nth(3) else { return Place::Unknown };
    let (folder, tail) = key.split_at(end + 1);
    Place::Object(folder, tail)
}

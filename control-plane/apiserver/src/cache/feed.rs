//! The one watch on the store that fills all caches: load everything, then follow from there; after an outage go on where it stopped, and only when
//! that has been compacted load again.

use super::Caches;
use super::kind_cache::{KindCache, Update};
use crate::storage::keys;
use bytes::Bytes;
use futures::StreamExt;
use orknet_store::{Entry, Event, EventKind, KeyRange, Revision, Store, StoreError, WatchItem};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Entries read at a time while loading.
const PAGE: usize = 1000;
/// First and longest pause before the store is tried again.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// Fills `caches` until `shutdown`. Store failures are logged and tried again for ever.
pub async fn feed(caches: Arc<Caches>, store: Arc<dyn Store>, shutdown: CancellationToken) {
    let mut pause = PAUSE.0;
    let mut after = None;
    loop {
        let step = async {
            let from = match after {
                Some(revision) => revision,
                None => load(&caches, &*store).await?,
            };
            after = Some(from);
            pause = PAUSE.0;
            follow(&caches, &*store, from, &mut after).await
        };
        let ended = tokio::select! {
            () = shutdown.cancelled() => return,
            ended = step => ended,
        };
        caches.set_progress(|progress| progress.connected = false);
        match ended {
            Err(StoreError::Compacted { requested, oldest }) => {
                tracing::warn!(requested, oldest, "the store forgot changes that the cache has not seen, loading again");
                after = None;
            }
            Err(error) => tracing::warn!(%error, "the cache lost the store"),
            Ok(()) => tracing::warn!("the store ended the cache's watch"),
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        pause = (pause * 2).min(PAUSE.1);
    }
}

async fn load(caches: &Caches, store: &dyn Store) -> Result<Revision, StoreError> {
    let mut objects: HashMap<&str, Vec<(Value, Revision)>> = HashMap::new();
    let mut claims = Vec::new();
    let mut range = KeyRange::prefix(keys::ROOT);
    let mut revision = None;
    loop {
        let page = store.range(range.clone(), revision, PAGE).await?;
        revision = Some(page.revision.max(revision.unwrap_or_default()));
        let last = page.entries.last().map(|entry| entry.key.clone());
        for Entry { key, value, mod_revision, .. } in page.entries {
            match place(caches, &key) {
                Place::Object(folder, _, _) => match serde_json::from_slice(&value) {
                    Ok(value) => objects.entry(folder).or_default().push((value, mod_revision)),
                    Err(error) => tracing::error!(key = %String::from_utf8_lossy(&key), %error, "a stored object cannot be read"),
                },
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
    for (folder, cache) in &caches.by_folder {
        cache.reset(objects.remove(&folder[..]).unwrap_or_default(), revision);
    }
    caches.set_progress(|progress| *progress = super::Progress { revision, connected: true });
    Ok(revision)
}

/// Applies changes for as long as the watch lasts. `seen` is where it is, also when the future is dropped.
async fn follow(caches: &Caches, store: &dyn Store, from: Revision, seen: &mut Option<Revision>) -> Result<(), StoreError> {
    let mut watch = store.watch(KeyRange::prefix(keys::ROOT), from).await?;
    caches.set_progress(|progress| progress.connected = true);
    while let Some(item) = watch.next().await {
        let revision = match item? {
            WatchItem::Events(events) => {
                let Some(revision) = events.first().map(|event| event.revision) else { continue };
                apply(caches, revision, events);
                revision
            }
            WatchItem::Progress(revision) => revision,
        };
        if *seen < Some(revision) {
            *seen = Some(revision);
            caches.set_progress(|progress| *progress = super::Progress { revision, connected: true });
        }
    }
    Ok(())
}

fn apply(caches: &Caches, revision: Revision, events: Vec<Event>) {
    let mut grouped: Vec<Grouped<'_>> = Vec::new();
    for event in events {
        let (cache, tail) = match place(caches, &event.key) {
            Place::Object(_, cache, tail) => (cache, tail),
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
        match grouped.iter_mut().find(|(other, _)| Arc::ptr_eq(other, cache)) {
            Some((_, updates)) => updates.push((tail.into(), update)),
            None => grouped.push((cache, vec![(tail.into(), update)])),
        }
    }
    for (cache, updates) in grouped {
        cache.apply(revision, updates);
    }
}

/// The changes of one revision to one kind.
type Grouped<'a> = (&'a Arc<KindCache>, Vec<(Box<str>, Update)>);

enum Place<'a, 'k> {
    /// Folder, cache, and what follows the folder in the key.
    Object(&'a str, &'a Arc<KindCache>, &'k str),
    Claim,
    Unknown,
}

fn place<'a, 'k>(caches: &'a Caches, key: &'k Bytes) -> Place<'a, 'k> {
    if key.starts_with(keys::CLUSTER_IPS.as_bytes()) || key.starts_with(keys::NODE_PORTS.as_bytes()) {
        return Place::Claim;
    }
    let Ok(key) = std::str::from_utf8(key) else { return Place::Unknown };
    // `/registry/<group>/<plural>/`: the fourth slash ends the folder.
    let Some((end, _)) = key.match_indices('/').nth(3) else { return Place::Unknown };
    let (folder, tail) = key.split_at(end + 1);
    match caches.by_folder.get_key_value(folder) {
        Some((folder, cache)) => Place::Object(folder, cache, tail),
        None => Place::Unknown,
    }
}

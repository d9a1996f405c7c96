//! The cache of one stored kind: its objects by key and the window of its last changes.

use super::cursor::Cursor;
use super::{CachedObject, Change, ChangeKind, window::Window};
use crate::kinds::Kind;
use orknet_store::Revision;
use parking_lot::RwLock;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::watch;

/// See the module.
pub struct KindCache {
    kinds: Vec<Kind>,
    state: RwLock<State>,
    /// Number of the next change, to wake watchers.
    next: watch::Sender<u64>,
}

struct State {
    objects: BTreeMap<Box<str>, Arc<CachedObject>>,
    window: Window,
    /// The newest revision that touched this kind (or was loaded).
    revision: Revision,
}

/// The objects at one moment, and a cursor at that moment.
pub struct Snapshot {
    /// In the order of their keys.
    pub objects: Vec<Arc<CachedObject>>,
    /// The newest revision among the changes applied; the caches' progress may be further.
    pub revision: Revision,
    /// Everything that happens after the snapshot.
    pub cursor: Cursor,
}

/// A change as the store told it.
pub(super) enum Update {
    Put(Value),
    Delete,
}

impl KindCache {
    pub(super) fn new(kinds: Vec<Kind>) -> Self {
        let state = State { objects: BTreeMap::new(), window: Window::new(1, 0), revision: 0 };
        Self { kinds, state: RwLock::new(state), next: watch::Sender::new(1) }
    }

    /// The object, if it is there.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<CachedObject>> {
        self.state.read().objects.get(&*crate::storage::keys::tail(namespace, name)).cloned()
    }

    /// How many objects there are.
    pub fn count(&self) -> usize {
        self.state.read().objects.len()
    }

    /// The newest revision that changed an object of this kind.
    pub fn revision(&self) -> Revision {
        self.state.read().revision
    }

    /// The objects now, in one namespace or (empty) in all.
    pub fn snapshot(self: &Arc<Self>, namespace: &str) -> Snapshot {
        let state = self.state.read();
        let objects = if namespace.is_empty() {
            state.objects.values().cloned().collect()
        } else {
            let start: Box<str> = format!("{namespace}/").into();
            let inside = state.objects.range(start.clone()..).take_while(|(tail, _)| tail.starts_with(&*start));
            inside.map(|(_, object)| object.clone()).collect()
        };
        Snapshot { objects, revision: state.revision, cursor: Cursor::new(self.clone(), state.window.next()) }
    }

    /// A cursor over everything after `revision`; `Err` with the oldest possible one when that is no longer kept.
    pub fn after(self: &Arc<Self>, revision: Revision) -> Result<Cursor, Revision> {
        let state = self.state.read();
        state.window.seek(revision).map(|from| Cursor::new(self.clone(), from)).ok_or(state.window.oldest())
    }

    /// A cursor over everything from now on.
    pub fn end(self: &Arc<Self>) -> Cursor {
        Cursor::new(self.clone(), self.state.read().window.next())
    }

    pub(super) fn read(&self, from: u64, most: usize) -> Option<Vec<Change>> {
        self.state.read().window.read(from, most)
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.next.subscribe()
    }

    /// Replaces everything, after a first or a new load; every cursor is cut.
    pub(super) fn reset(&self, objects: Vec<(Value, Revision)>, revision: Revision) {
        let objects = objects.into_iter().map(|(value, revision)| Arc::new(CachedObject::new(&self.kinds, value, revision)));
        let objects = objects.map(|object| (object.tail.clone(), object)).collect();
        let mut state = self.state.write();
        // One number is left out, so that no cursor is still inside.
        let first = state.window.next() + 1;
        *state = State { objects, window: Window::new(first, revision), revision };
        drop(state);
        self.next.send_replace(first);
    }

    /// Applies the changes of one revision.
    pub(super) fn apply(&self, revision: Revision, updates: Vec<(Box<str>, Update)>) {
        let now = Instant::now();
        let mut prepared = Vec::with_capacity(updates.len());
        for (tail, update) in updates {
            let object = match update {
                Update::Put(value) => Some(Arc::new(CachedObject::new(&self.kinds, value, revision))),
                Update::Delete => None,
            };
            prepared.push((tail, object));
        }
        let mut state = self.state.write();
        for (tail, object) in prepared {
            let change = match object {
                Some(object) => {
                    let previous = state.objects.insert(tail, object.clone());
                    Change { revision, kind: ChangeKind::Put, object, previous }
                }
                None => {
                    let Some(previous) = state.objects.remove(&tail) else { continue };
                    let object = Arc::new(previous.deleted_at(&self.kinds, revision));
                    Change { revision, kind: ChangeKind::Delete, object, previous: Some(previous) }
                }
            };
            state.window.push(change, now);
        }
        state.revision = revision;
        let next = state.window.next();
        drop(state);
        self.next.send_replace(next);
    }
}

//! The cache of one stored kind: its objects by key and the window of its last changes.

use super::cursor::{Cursor, Fallen};
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
    state: RwLock<State>,
    /// Number of the next change, to wake watchers.
    next: watch::Sender<u64>,
}

struct State {
    objects: BTreeMap<Box<str>, Arc<CachedObject>>,
    window: Window,
    /// The kinds that are served from here.
    kinds: Arc<[Kind]>,
    /// Watches that are before this number have been ended, not left behind.
    ended_before: u64,
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

/// The changes of one revision, by what follows the folder in the key.
pub(super) type Updates = Vec<(Box<str>, Update)>;

/// A change as the store told it.
pub(super) enum Update {
    Put(Value),
    Delete,
}

impl KindCache {
    pub(super) fn new(kinds: Vec<Kind>) -> Self {
        let state = State { objects: BTreeMap::new(), window: Window::new(1, 0), kinds: kinds.into(), ended_before: 0, revision: 0 };
        Self { state: RwLock::new(state), next: watch::Sender::new(1) }
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

    pub(super) fn read(&self, from: u64, most: usize, bytes: usize) -> Result<Vec<Change>, Fallen> {
        let state = self.state.read();
        state.window.read(from, most, bytes).ok_or(if from < state.ended_before { Fallen::Ended } else { Fallen::Behind })
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.next.subscribe()
    }

    /// The kinds that are served from here.
    fn kinds(&self) -> Arc<[Kind]> {
        self.state.read().kinds.clone()
    }

    /// A stored object as it is kept here.
    pub(super) fn object(&self, value: Value, revision: Revision) -> Arc<CachedObject> {
        Arc::new(CachedObject::new(&self.kinds(), value, revision))
    }

    /// Replaces everything, after a first or a new load; every cursor is cut.
    pub(super) fn reset(&self, objects: Vec<Arc<CachedObject>>, revision: Revision) {
        let mut state = self.state.write();
        state.objects = objects.into_iter().map(|object| (object.tail.clone(), object)).collect();
        state.revision = revision;
        let first = state.cut(revision);
        drop(state);
        self.next.send_replace(first);
    }

    /// Ends every watch that has begun until now.
    pub(super) fn end_watches(&self) {
        let mut state = self.state.write();
        let revision = state.revision;
        let first = state.cut(revision);
        state.ended_before = first;
        drop(state);
        self.next.send_replace(first);
    }

    /// Ends every watch and forgets every object.
    pub(super) fn close(&self) {
        let objects = std::mem::take(&mut self.state.write().objects);
        self.end_watches();
        drop(objects);
    }

    /// Serves other kinds from here: the objects become selectable as they want it.
    pub(super) fn refit(&self, kinds: Vec<Kind>) {
        let kinds: Arc<[Kind]> = kinds.into();
        let before: Vec<Arc<CachedObject>> = {
            let mut state = self.state.write();
            // Changes from now on are made for the new kinds.
            state.kinds = kinds.clone();
            state.objects.values().cloned().collect()
        };
        for old in before {
            let new = Arc::new(old.refitted(&kinds));
            let mut state = self.state.write();
            if let Some(present) = state.objects.get_mut(&old.tail).filter(|present| Arc::ptr_eq(present, &old)) {
                *present = new;
            }
        }
    }

    /// Applies the changes of one revision.
    pub(super) fn apply(&self, revision: Revision, updates: Updates) {
        let now = Instant::now();
        let kinds = self.kinds();
        let mut prepared = Vec::with_capacity(updates.len());
        for (tail, update) in updates {
            let object = match update {
                Update::Put(value) => Some(Arc::new(CachedObject::new(&kinds, value, revision))),
                Update::Delete => None,
            };
            prepared.push((tail, object));
        }
        let mut state = self.state.write();
        for (tail, object) in prepared {
            let change = match object {
                Some(mut object) => {
                    if !Arc::ptr_eq(&kinds, &state.kinds) {
                        object = Arc::new(object.refitted(&state.kinds));
                    }
                    let previous = state.objects.insert(tail, object.clone());
                    Change { revision, kind: ChangeKind::Put, object, previous }
                }
                None => {
                    let Some(previous) = state.objects.remove(&tail) else { continue };
                    let object = Arc::new(previous.deleted_at(&state.kinds, revision));
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

impl State {
    /// Cuts every cursor: what came up to `revision` is no longer told. Answers the number of the next change.
    fn cut(&mut self, revision: Revision) -> u64 {
        // One number is left out, so that no cursor is still inside.
        let first = self.window.next() + 1;
        self.window = Window::new(first, revision);
        first
    }
}

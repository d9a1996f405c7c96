//! One kind's shared store: fed by one watch and by the answers to our own writes, read by every reconciler of the process.
//!
//! The answers are what makes reconcilers safe against a stale cache: an object that a reconciler has just written is in the store
//! before its next reconcile. An answer is taken only when its resource version is newer than anything the watch has delivered, its lists
//! included, so that an object deleted meanwhile does not come back (resource versions are comparable: KEP-5504).

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::follow::follow;
use crate::{Cached, ObjectKey};

/// What happened to one object. At least one side is present.
pub struct Change<K> {
    pub old: Option<Arc<K>>,
    pub new: Option<Arc<K>>,
}

impl<K> Change<K> {
    /// The versions involved: the old one, then the new one.
    pub fn versions(&self) -> impl Iterator<Item = &Arc<K>> {
        self.old.iter().chain(self.new.iter())
    }
}

/// The shared store of one kind.
pub struct Informer<K> {
    state: RwLock<State<K>>,
    handlers: RwLock<Vec<Handler<K>>>,
    /// Held over a change and its delivery, so that handlers see changes in the order in which they were made.
    order: Mutex<()>,
    synced: watch::Sender<bool>,
}

type Handler<K> = Box<dyn Fn(&Change<K>) + Send + Sync>;

struct State<K> {
    objects: BTreeMap<ObjectKey, Arc<K>>,
    /// The newest resource version that the watch has delivered.
    seen: u64,
}

impl<K: Cached> Informer<K> {
    pub(crate) fn new() -> Self {
        Self {
            state: RwLock::new(State { objects: BTreeMap::new(), seen: 0 }),
            handlers: RwLock::new(Vec::new()),
            order: Mutex::new(()),
            synced: watch::Sender::new(false),
        }
    }

    /// The object by its key.
    pub fn get(&self, key: &ObjectKey) -> Option<Arc<K>> {
        self.state.read().objects.get(key).cloned()
    }

    /// All objects of one namespace, by name.
    pub fn in_namespace(&self, namespace: &str) -> Vec<Arc<K>> {
        let start = ObjectKey::new(namespace, "");
        let state = self.state.read();
        state.objects.range(start..).take_while(|(key, _)| &*key.namespace == namespace).map(|(_, object)| object.clone()).collect()
    }

    /// All objects, by namespace and name.
    pub fn all(&self) -> Vec<Arc<K>> {
        self.state.read().objects.values().cloned().collect()
    }

    /// How many objects there are.
    pub fn count(&self) -> usize {
        self.state.read().objects.len()
    }

    /// Calls `handler` for every present object now and for every later change. Handlers run on the watch's task: they must be
    /// short, must not block, and must not write to this store.
    pub fn on_change(&self, handler: impl Fn(&Change<K>) + Send + Sync + 'static) {
        let _order = self.order.lock();
        for object in self.all() {
            handler(&Change { old: None, new: Some(object) });
        }
        self.handlers.write().push(Box::new(handler));
    }

    /// Waits until the first list is complete. Cancel-safe. Never returns if the server never answers.
    pub async fn synced(&self) {
        let mut synced = self.synced.subscribe();
        // The sender lives in self, so the wait can't fail.
        let _ = synced.wait_for(|done| *done).await;
    }

    /// Takes the server's answer to one of our own writes, unless the watch has already delivered that or something newer.
    pub fn record(&self, mut object: K) {
        if !*self.synced.borrow() {
            return;
        }
        object.prune();
        let version = version_of(object.meta());
        let key = ObjectKey::of(object.meta());
        let _order = self.order.lock();
        let object = Arc::new(object);
        let old = {
            let mut state = self.state.write();
            let known = state.objects.get(&key).map_or(0, |known| version_of(known.meta()));
            if version <= state.seen || version <= known {
                return;
            }
            state.objects.insert(key, object.clone())
        };
        self.deliver(&Change { old, new: Some(object) });
    }

    /// Follows the API until `shutdown`; errors are logged and tried again with back-off.
    pub(crate) async fn follow(&self, api: Api<K>, shutdown: CancellationToken) {
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = follow(self, &api) => {}
        }
    }

    /// Takes a complete list, as of `revision`. What our own writes have brought since stays: the watch will tell of it.
    pub(crate) fn replace(&self, listed: BTreeMap<ObjectKey, K>, revision: u64) {
        let _order = self.order.lock();
        let mut changes = Vec::new();
        {
            let mut state = self.state.write();
            // The server's data was set back to an earlier state: then only the list counts.
            let set_back = revision < state.seen;
            state.seen = revision;
            let is_newer = |object: &K| !set_back && version_of(object.meta()) > revision;
            let mut previous = std::mem::take(&mut state.objects);
            for (key, object) in listed {
                let is_same = |old: &K| version_of(old.meta()) == version_of(object.meta()) && old.meta().uid == object.meta().uid;
                match previous.remove(&key) {
                    Some(old) if is_same(&old) || is_newer(&old) => {
                        state.objects.insert(key, old);
                    }
                    old => {
                        let object = Arc::new(object);
                        state.objects.insert(key, object.clone());
                        changes.push(Change { old, new: Some(object) });
                    }
                }
            }
            for (key, old) in previous {
                if is_newer(&old) {
                    state.objects.insert(key, old);
                } else {
                    changes.push(Change { old: Some(old), new: None });
                }
            }
        }
        changes.iter().for_each(|change| self.deliver(change));
        self.synced.send_replace(true);
    }

    pub(crate) fn apply(&self, mut object: K) {
        object.prune();
        let _order = self.order.lock();
        let object = Arc::new(object);
        let old = {
            let mut state = self.state.write();
            let version = version_of(object.meta());
            state.seen = state.seen.max(version);
            let key = ObjectKey::of(object.meta());
            // Equal: our own write, already delivered. Older: the watch is behind our own later write.
            if state.objects.get(&key).is_some_and(|known| version_of(known.meta()) >= version && version > 0) {
                return;
            }
            state.objects.insert(key, object.clone())
        };
        self.deliver(&Change { old, new: Some(object) });
    }

    pub(crate) fn delete(&self, object: &K) {
        let _order = self.order.lock();
        let old = {
            let mut state = self.state.write();
            let version = version_of(object.meta());
            state.seen = state.seen.max(version);
            let key = ObjectKey::of(object.meta());
            // A successor of the same name that we have just created ourselves stays.
            if state.objects.get(&key).is_some_and(|known| known.meta().uid != object.meta().uid && version_of(known.meta()) > version) {
                return;
            }
            state.objects.remove(&key)
        };
        if old.is_some() {
            self.deliver(&Change { old, new: None });
        }
    }

    fn deliver(&self, change: &Change<K>) {
        for handler in self.handlers.read().iter() {
            handler(change);
        }
    }
}

/// The resource version as a number; 0 when it is absent or not a number.
pub(crate) fn version_of(meta: &ObjectMeta) -> u64 {
    meta.resource_version.as_deref().and_then(|version| version.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Namespace;

    use super::*;

    fn namespace(name: &str, uid: &str, version: u64) -> Namespace {
        let metadata = ObjectMeta {
            name: Some(name.into()),
            uid: Some(uid.into()),
            resource_version: Some(version.to_string()),
            ..ObjectMeta::default()
        };
        Namespace { metadata, ..Namespace::default() }
    }

    /// For each delivered change, whether it had an old and a new side.
    type Log = Arc<Mutex<Vec<(bool, bool)>>>;

    fn synced() -> (Informer<Namespace>, Log) {
        let informer = Informer::new();
        informer.replace(BTreeMap::new(), 0);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = seen.clone();
        informer.on_change(move |change| log.lock().push((change.old.is_some(), change.new.is_some())));
        (informer, seen)
    }

    #[test]
    fn an_own_write_is_visible_at_once_and_delivered_once() {
        let (informer, seen) = synced();
        informer.record(namespace("a", "1", 5));
        assert!(informer.get(&ObjectKey::new("", "a")).is_some());
        informer.apply(namespace("a", "1", 5));
        assert_eq!(*seen.lock(), [(false, true)]);
    }

    #[test]
    fn an_answer_older_than_the_watch_does_not_bring_back_a_deleted_object() {
        let (informer, _) = synced();
        informer.apply(namespace("a", "1", 5));
        informer.delete(&namespace("a", "1", 6));
        informer.record(namespace("a", "1", 5));
        assert!(informer.get(&ObjectKey::new("", "a")).is_none());
    }

    #[test]
    fn a_late_deletion_spares_the_successor_of_the_same_name() {
        let (informer, _) = synced();
        informer.apply(namespace("a", "1", 5));
        informer.record(namespace("a", "2", 8));
        informer.delete(&namespace("a", "1", 6));
        let kept = informer.get(&ObjectKey::new("", "a")).and_then(|kept| kept.metadata.uid.clone());
        assert_eq!(kept.as_deref(), Some("2"));
    }

    #[test]
    fn a_list_reports_what_vanished_and_skips_what_is_the_same() {
        let (informer, seen) = synced();
        informer.apply(namespace("a", "1", 5));
        informer.apply(namespace("b", "2", 6));
        seen.lock().clear();
        informer.replace([(ObjectKey::new("", "b"), namespace("b", "2", 6))].into(), 7);
        assert_eq!(*seen.lock(), [(true, false)]);
    }

    #[test]
    fn an_answer_older_than_a_list_does_not_bring_back_what_the_list_misses() {
        let (informer, _) = synced();
        informer.replace(BTreeMap::new(), 9);
        informer.record(namespace("a", "1", 8));
        assert!(informer.get(&ObjectKey::new("", "a")).is_none());
        informer.record(namespace("a", "2", 10));
        assert!(informer.get(&ObjectKey::new("", "a")).is_some());
    }

    #[test]
    fn an_own_write_outlives_a_list_that_is_older() {
        let (informer, seen) = synced();
        informer.record(namespace("made", "1", 12));
        informer.record(namespace("changed", "2", 13));
        seen.lock().clear();
        informer.replace([(ObjectKey::new("", "changed"), namespace("changed", "2", 5))].into(), 11);
        assert!(seen.lock().is_empty());
        assert_eq!(informer.all().iter().map(|known| version_of(&known.metadata)).collect::<Vec<_>>(), [13, 12]);
    }

    #[test]
    fn a_server_that_was_set_back_is_believed() {
        let (informer, _) = synced();
        informer.apply(namespace("a", "1", 50));
        informer.replace(BTreeMap::new(), 20);
        assert_eq!(informer.count(), 0);
        informer.record(namespace("b", "2", 21));
        assert_eq!(informer.count(), 1);
    }

    #[test]
    fn a_late_handler_hears_of_what_is_already_there() {
        let (informer, _) = synced();
        informer.apply(namespace("a", "1", 5));
        let count = Arc::new(Mutex::new(0));
        let counter = count.clone();
        informer.on_change(move |_| *counter.lock() += 1);
        assert_eq!(*count.lock(), 1);
    }
}

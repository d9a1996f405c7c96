//! How a reconciler is set up: which kinds it watches, which keys a change of each puts in line, and with how many workers it runs.

use std::hash::Hash;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use tokio_util::sync::CancellationToken;

use crate::pod_state::controller_of;
use crate::{Cached, Change, Index, Informer, ObjectKey, Reconciler, Selecting, SharedInformers, WorkQueue, run_workers};

/// What one reconciler watches, with the queue that the watches fill. `T` names one unit of its work.
pub struct Watches<T> {
    informers: SharedInformers,
    queue: WorkQueue<T>,
    synced: Vec<BoxFuture<'static, ()>>,
}

impl<T: Clone + Eq + Hash + Send + Sync + 'static> Watches<T> {
    /// Nothing is watched yet. The methods must be called inside a tokio runtime.
    pub fn new(informers: &SharedInformers) -> Self {
        Self { informers: informers.clone(), queue: WorkQueue::new(), synced: Vec::new() }
    }

    /// The queue, for work that comes from elsewhere than the shared watches.
    pub fn queue(&self) -> WorkQueue<T> {
        self.queue.clone()
    }

    /// A kind that is only read: its changes wake nobody.
    pub fn read<K: Cached>(&mut self) -> Arc<Informer<K>> {
        let informer = self.informers.of::<K>();
        let first_list = informer.clone();
        self.synced.push(async move { first_list.synced().await }.boxed());
        informer
    }

    /// A kind whose changes wake what `wake` puts in line. `wake` runs on the watch's task (see [`Informer::on_change`]).
    pub fn on_change<K: Cached>(&mut self, wake: impl Fn(&Change<K>, &WorkQueue<T>) + Send + Sync + 'static) -> Arc<Informer<K>> {
        let (informer, queue) = (self.read(), self.queue.clone());
        informer.on_change(move |change| wake(change, &queue));
        informer
    }

    /// A kind of which each object, as it was and as it is, wakes at most one key.
    pub fn keyed<K: Cached>(&mut self, key: impl Fn(&K) -> Option<T> + Send + Sync + 'static) -> Arc<Informer<K>> {
        self.on_change(move |change, queue| change.versions().filter_map(|object| key(object)).for_each(|key| queue.add(key)))
    }

    /// As [`Watches::keyed`], with the objects to be found by their key.
    pub fn indexed<K: Cached>(&mut self, key: impl Fn(&K) -> Option<T> + Clone + Send + Sync + 'static) -> Index<T, K> {
        // Before the queue hears of a change: who is woken by it finds it in the index.
        let index = Index::new(&self.read(), key.clone());
        self.keyed(key);
        index
    }

    /// Waits until the first list of every watched kind is complete, then works the queue until `shutdown`, at most `workers` keys at a time.
    pub async fn run<R: Reconciler<Key = T>>(self, reconciler: R, workers: usize, shutdown: CancellationToken) {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = join_all(self.synced) => {}
        }
        tracing::debug!(controller = R::NAME, "controller started");
        run_workers(Arc::new(reconciler), self.queue, workers, shutdown).await;
    }
}

impl Watches<ObjectKey> {
    /// The kind whose objects are the work.
    pub fn own<K: Cached>(&mut self) -> Arc<Informer<K>> {
        self.keyed(|object: &K| Some(ObjectKey::of(object.meta())))
    }

    /// A kind whose objects wake their controller where that is of `owners`' kind. One without a controller wakes all of `owners` that
    /// select it, since each of them may adopt it.
    pub fn controlled<K: Cached, O: Selecting>(&mut self, owners: &Arc<Informer<O>>) -> Arc<Informer<K>> {
        let owners = owners.clone();
        self.on_change(move |change: &Change<K>, queue| {
            for object in change.versions() {
                match controller_of(object.meta()) {
                    Some(owner) if owner.kind == O::kind(&()) => {
                        queue.add(ObjectKey::new(object.meta().namespace.as_deref().unwrap_or_default(), &owner.name));
                    }
                    Some(_) => {}
                    None => wake_selecting(&**object, &owners, queue),
                }
            }
        })
    }

    /// A kind whose objects wake all of `selecting` that select them.
    pub fn selected<K: Cached, S: Selecting>(&mut self, selecting: &Arc<Informer<S>>) -> Arc<Informer<K>> {
        let selecting = selecting.clone();
        self.on_change(move |change: &Change<K>, queue| change.versions().for_each(|object| wake_selecting(&**object, &selecting, queue)))
    }
}

fn wake_selecting<K: Cached, S: Selecting>(object: &K, selecting: &Informer<S>, queue: &WorkQueue<ObjectKey>) {
    let meta = object.meta();
    for selects in selecting.in_namespace(meta.namespace.as_deref().unwrap_or_default()) {
        if selects.selects(meta.labels.as_ref()) {
            queue.add(ObjectKey::of(selects.meta()));
        }
    }
}

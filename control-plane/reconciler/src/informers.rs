//! One watch per kind in the whole process: hands out the shared store of a kind and starts its watch on first use.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::Arc;

use kube::{Api, Client};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::{Cached, Informer};

/// The shared stores. Clones are handles to the same stores.
#[derive(Clone)]
pub struct SharedInformers {
    inner: Arc<Inner>,
}

struct Inner {
    client: Client,
    shutdown: CancellationToken,
    tasks: TaskTracker,
    by_type: Mutex<HashMap<TypeId, Arc<dyn Any + Send + Sync>>>,
}

impl SharedInformers {
    /// No watch is started yet. All watches end when `shutdown` is cancelled.
    pub fn new(client: Client, shutdown: CancellationToken) -> Self {
        Self { inner: Arc::new(Inner { client, shutdown, tasks: TaskTracker::new(), by_type: Mutex::new(HashMap::new()) }) }
    }

    /// The client that the watches use.
    pub fn client(&self) -> &Client {
        &self.inner.client
    }

    /// The store of one kind over all namespaces; its watch starts with the first call. Must be called inside a tokio runtime.
    pub fn of<K: Cached>(&self) -> Arc<Informer<K>> {
        let mut by_type = self.inner.by_type.lock();
        let entry = by_type.entry(TypeId::of::<K>()).or_insert_with(|| {
            let informer = Arc::new(Informer::<K>::new());
            let (follower, api, shutdown) = (informer.clone(), Api::all(self.inner.client.clone()), self.inner.shutdown.clone());
            self.inner.tasks.spawn(async move { follower.follow(api, shutdown).await });
            informer
        });
        match entry.clone().downcast() {
            Ok(informer) => informer,
            Err(_) => unreachable!("the entry under K's type id was made from Informer<K> just above"),
        }
    }

    /// Waits until every watch has ended; they end only after shutdown.
    pub async fn stopped(&self) {
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }
}

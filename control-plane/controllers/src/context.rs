//! What every controller is started with, and the start itself: wait for the watches, then work the queue.

use std::future::Future;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use kube::Client;
use orknet_reconciler::{Cached, Informer, Reconciler, Recorder, SharedInformers, WorkQueue, run_workers};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Config;

/// Shared by all controllers.
pub(crate) struct Context {
    pub config: Arc<Config>,
    pub client: Client,
    pub informers: SharedInformers,
    shutdown: CancellationToken,
    tasks: TaskTracker,
}

impl Context {
    pub fn new(config: Config, informers: SharedInformers, shutdown: CancellationToken) -> Self {
        Self { config: Arc::new(config), client: informers.client().clone(), informers, shutdown, tasks: TaskTracker::new() }
    }

    /// An event recorder in the name of `component`.
    pub fn recorder(&self, component: &'static str) -> Recorder {
        Recorder::start(self.client.clone(), component, self.shutdown.clone())
    }

    /// Works `queue` as soon as all of `synced` are complete.
    pub fn spawn<R: Reconciler>(&self, reconciler: R, queue: WorkQueue<R::Key>, concurrency: usize, synced: Vec<BoxFuture<'static, ()>>) {
        let shutdown = self.shutdown.clone();
        self.spawn_task(async move {
            tokio::select! {
                () = shutdown.cancelled() => return,
                _ = futures::future::join_all(synced) => {}
            }
            tracing::debug!(controller = R::NAME, "controller started");
            run_workers(Arc::new(reconciler), queue, concurrency, shutdown).await;
        });
    }

    /// A handle on the end of the process.
    pub fn shutdown(&self) -> CancellationToken {
        self.shutdown.clone()
    }

    /// Runs a task that [`Context::stopped`] waits for; it must end at shutdown.
    pub fn spawn_task(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }

    /// Ends with the last controller.
    pub async fn stopped(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// The completion of an informer's first list, for [`Context::spawn`].
pub(crate) fn synced<K: Cached>(informer: &Arc<Informer<K>>) -> BoxFuture<'static, ()> {
    let informer = informer.clone();
    async move { informer.synced().await }.boxed()
}

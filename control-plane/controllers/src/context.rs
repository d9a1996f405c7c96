//! What every controller is started with, and the start itself.

use std::future::Future;
use std::hash::Hash;
use std::sync::Arc;

use kube::Client;
use orknet_auth::Identity;
use orknet_reconciler::{Reconciler, Recorder, SharedInformers, Watches, acting_as};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Config;

/// Where the accounts of the controllers are.
const NAMESPACE: &str = "kube-system";

/// Shared by all controllers.
pub(crate) struct Context {
    pub config: Arc<Config>,
    /// As who all of them together read; each writes by itself ([`Context::client_of`]).
    pub client: Client,
    informers: SharedInformers,
    shutdown: CancellationToken,
    tasks: TaskTracker,
}

impl Context {
    pub fn new(config: Config, informers: SharedInformers, shutdown: CancellationToken) -> Self {
        Self { config: Arc::new(config), client: informers.client().clone(), informers, shutdown, tasks: TaskTracker::new() }
    }

    /// The client of one controller: the service account of this name, which may what the role `system:controller:NAME` says (orknet-auth,
    /// `bootstrap/controllers.rs`).
    pub fn client_of(&self, account: &str) -> Client {
        acting_as(&self.client, Identity::service_account(NAMESPACE, account))
    }

    /// An event recorder in the name of `component`, which writes by `client`.
    pub fn recorder(&self, component: &'static str, client: &Client) -> Recorder {
        Recorder::start(client.clone(), component, self.shutdown.clone())
    }

    /// What a controller watches: nothing yet.
    pub fn watches<T: Clone + Eq + Hash + Send + Sync + 'static>(&self) -> Watches<T> {
        Watches::new(&self.informers)
    }

    /// Runs a controller on what it watches, with so many workers.
    pub fn start<R: Reconciler>(&self, watches: Watches<R::Key>, reconciler: R, workers: usize) {
        self.spawn_task(watches.run(reconciler, workers, self.shutdown.clone()));
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

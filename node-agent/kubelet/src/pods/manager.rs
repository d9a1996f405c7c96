//! Gives every pod its worker, wakes workers when containerd's state moves, and removes what belongs to no pod.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, PodCondition};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::{self, JoinSet};
use tokio_util::sync::CancellationToken;

use super::relist::{self, Listing};
use super::worker::{Order, Worker};
use super::{Context, PodKey, cleanup};
use crate::api::source::Wanted;
use crate::status::conditions::is_own;
use crate::status::publish::Told;
use crate::{paths, volumes};

/// How often leftovers on disk are looked for.
const HOUSEKEEPING: Duration = Duration::from_secs(60);

/// Runs workers for the pods that `wanted` names, until `shutdown`. Pods go on running then.
pub async fn run(context: Arc<Context>, mut wanted: mpsc::Receiver<Wanted>, shutdown: CancellationToken) {
    let (send, mut listings) = mpsc::channel(1);
    tokio::spawn(relist::follow(context.cri.clone(), send, shutdown.clone()));
    let mut manager = Manager {
        context,
        workers: HashMap::new(),
        tasks: JoinSet::new(),
        owners: HashMap::new(),
        orphans: HashSet::new(),
        listing: None,
        complete: false,
    };
    let mut housekeeping = tokio::time::interval(HOUSEKEEPING);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            statement = wanted.recv() => match statement {
                Some(statement) => manager.hear(statement),
                None => return,
            },
            Some(listing) = listings.recv() => manager.compare(listing),
            Some(ended) = manager.tasks.join_next_with_id() => manager.reap(ended),
            _ = housekeeping.tick() => manager.remove_leftovers(),
        }
    }
}

struct Manager {
    context: Arc<Context>,
    workers: HashMap<String, Handle>,
    tasks: JoinSet<Ended>,
    /// Whose worker a task is.
    owners: HashMap<task::Id, String>,
    /// Uids that are being removed without a worker.
    orphans: HashSet<String>,
    /// What containerd had at the last look.
    listing: Option<Listing>,
    /// The API has said which pods there are; before that nothing is an orphan.
    complete: bool,
}

struct Handle {
    orders: watch::Sender<Order>,
    wake: Arc<Notify>,
    told: Told,
}

enum Ended {
    Worker(String),
    Orphan(String),
}

/// True when the worker has to look at the pod again: most updates of an object are echoes of the worker's own status.
fn matters(old: &Pod, new: &Pod) -> bool {
    let own = |pod: &Pod| {
        let meta = &pod.metadata;
        let foreign: Vec<PodCondition> =
            pod.status.iter().flat_map(|s| s.conditions.iter().flatten()).filter(|c| !is_own(&c.type_)).cloned().collect();
        let ended = pod.status.as_ref().and_then(|s| s.phase.clone()).filter(|p| p == "Succeeded" || p == "Failed");
        let deletion = (meta.deletion_timestamp.clone(), meta.deletion_grace_period_seconds);
        (meta.labels.clone(), meta.annotations.clone(), deletion, foreign, ended)
    };
    old.spec != new.spec || own(old) != own(new)
}

impl Manager {
    fn hear(&mut self, statement: Wanted) {
        match statement {
            Wanted::One(pod) => self.order(pod),
            Wanted::Gone(pod) => self.gone(&PodKey::of(&pod).uid, Some(pod)),
            Wanted::All(pods) => {
                let uids: HashSet<String> = pods.iter().map(|p| PodKey::of(p).uid).collect();
                // Who is admitted depends on who is there.
                self.context.known.write().extend(pods.iter().map(|pod| (PodKey::of(pod).uid, pod.clone())));
                pods.into_iter().for_each(|pod| self.order(pod));
                let missing: Vec<String> = self.workers.keys().filter(|uid| !uids.contains(*uid)).cloned().collect();
                missing.iter().for_each(|uid| self.gone(uid, None));
                self.complete = true;
            }
        }
    }

    fn order(&mut self, pod: Arc<Pod>) {
        let uid = PodKey::of(&pod).uid;
        self.context.known.write().insert(uid.clone(), pod.clone());
        let order = Order { pod, gone: false };
        if let Some(handle) = self.workers.get(&uid) {
            handle.orders.send_if_modified(|known| {
                let matters = matters(&known.pod, &order.pod) || known.gone || handle.told.differs(&order.pod);
                *known = order;
                matters
            });
            return;
        }
        let (orders, receiver) = watch::channel(order);
        let wake = Arc::new(Notify::new());
        let worker = Worker::new(self.context.clone(), receiver, wake.clone());
        self.workers.insert(uid.clone(), Handle { orders, wake, told: worker.told() });
        let owner = uid.clone();
        let task = self.tasks.spawn(async move {
            worker.run().await;
            Ended::Worker(uid)
        });
        self.owners.insert(task.id(), owner);
    }

    /// `last` is the object as it was in its last moment: it may say how much time is left.
    fn gone(&mut self, uid: &str, last: Option<Arc<Pod>>) {
        self.context.known.write().remove(uid);
        if let Some(handle) = self.workers.get(uid) {
            handle.orders.send_modify(|order| {
                order.pod = last.unwrap_or_else(|| order.pod.clone());
                order.gone = true;
            });
        }
    }

    /// Wakes the workers of pods that changed, and removes pods that no worker owns.
    fn compare(&mut self, listing: Listing) {
        for (pod, digest) in &listing {
            let moved = self.listing.as_ref().is_none_or(|old| old.get(pod) != Some(digest));
            if moved && let Some(handle) = self.workers.get(&pod.uid) {
                handle.wake.notify_one();
            }
            if self.complete && !self.workers.contains_key(&pod.uid) && self.orphans.insert(pod.uid.clone()) {
                self.remove_orphan(pod.clone());
            }
        }
        for pod in self.listing.iter().flat_map(HashMap::keys).filter(|pod| !listing.contains_key(pod)) {
            if let Some(handle) = self.workers.get(&pod.uid) {
                handle.wake.notify_one();
            }
        }
        self.listing = Some(listing);
    }

    fn remove_orphan(&mut self, pod: PodKey) {
        let context = self.context.clone();
        tracing::info!(%pod, "removing a pod that the API does not have");
        self.tasks.spawn(async move {
            if let Err(error) = cleanup::remove_orphan(&context, &pod).await {
                tracing::warn!(%pod, %error, "orphan not removed; trying again later");
            }
            Ended::Orphan(pod.uid)
        });
    }

    fn reap(&mut self, ended: Result<(task::Id, Ended), task::JoinError>) {
        match ended {
            Ok((task, Ended::Worker(uid))) => {
                self.owners.remove(&task);
                self.workers.remove(&uid);
                self.context.known.write().remove(&uid);
                self.context.admission.forget(&uid);
            }
            Ok((_, Ended::Orphan(uid))) => {
                self.orphans.remove(&uid);
            }
            Err(error) => {
                tracing::error!(%error, "a pod's task ended unexpectedly");
                // A pod without a worker would be taken for an orphan: it gets a new worker, which looks at everything anew.
                let handle = self.owners.remove(&error.id()).and_then(|uid| self.workers.remove(&uid));
                if let Some(handle) = handle {
                    let order = handle.orders.borrow().clone();
                    let uid = PodKey::of(&order.pod).uid;
                    self.order(order.pod);
                    if order.gone {
                        self.gone(&uid, None);
                    }
                }
            }
        }
    }

    /// Directories, logs and cgroups of pods that neither the API nor containerd has.
    fn remove_leftovers(&self) {
        let (true, Some(listing)) = (self.complete, self.listing.as_ref()) else { return };
        let mut owned: HashSet<String> = self.workers.keys().chain(&self.orphans).cloned().collect();
        owned.extend(listing.keys().map(|pod| pod.uid.clone()));
        let context = self.context.clone();
        tokio::task::spawn_blocking(move || {
            // Removing takes time, in which pods come: each is asked about just before.
            let is_owned = |uid: &str| owned.contains(uid) || context.known.read().contains_key(uid);
            let names = |directory: &std::path::Path| -> Vec<String> {
                let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
                entries.filter_map(|e| e.file_name().into_string().ok()).collect()
            };
            for uid in names(&context.paths.pods()).iter().filter(|uid| !is_owned(uid)) {
                if let Err(error) = volumes::remove(&context.paths.pod(uid)) {
                    tracing::debug!(uid, %error, "directory of a former pod not removed");
                }
            }
            for name in names(&context.paths.logs()) {
                if paths::uid_of_log_directory(&name).is_some_and(|uid| !is_owned(uid)) {
                    let _ = std::fs::remove_dir_all(context.paths.logs().join(&name));
                }
            }
            for uid in context.cgroups.pods().iter().filter(|uid| !is_owned(uid)) {
                context.cgroups.remove(uid);
            }
        });
    }
}

//! The loop around the decision: feeds cache and queue from the watches, takes pod after pod, and sends the outcomes off as tasks, so that a
//! decision never waits for a write.

use std::collections::HashSet;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use orknet_reconciler::{Change, EventType, ObjectKey, Recorder, SharedInformers, pod_state};
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cache::Cache;
use crate::decide::{Decision, decide};
use crate::filter::Rejection;
use crate::pod_info::PodInfo;
use crate::preemption::{self, Preemption};
use crate::queue::{ClusterEvent, Queue, Taken, uid};
use crate::snapshot::Snapshot;
use crate::{Config, bind, fit_error};

/// Cache and queue under one lock: a pod is never in neither. The lock is never held across an await.
#[derive(Default)]
struct State {
    cache: Cache,
    queue: Queue,
}

struct Shared {
    state: Mutex<State>,
    changed: Notify,
}

impl Shared {
    fn update(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock());
        self.changed.notify_one();
    }
}

struct Driver {
    shared: Arc<Shared>,
    informers: SharedInformers,
    recorder: Recorder,
    bindings: Arc<Semaphore>,
    tasks: TaskTracker,
}

/// Schedules until `shutdown`; writes that are on their way then are finished.
pub(crate) async fn run(config: Config, informers: SharedInformers, shutdown: CancellationToken) {
    let shared = Arc::new(Shared { state: Mutex::new(State::default()), changed: Notify::new() });
    follow(&shared, &informers, config.scheduler_name);
    let synced = async {
        informers.of::<Node>().synced().await;
        informers.of::<Namespace>().synced().await;
        informers.of::<Pod>().synced().await;
    };
    tokio::select! {
        () = shutdown.cancelled() => return,
        () = synced => {}
    }
    let driver = Driver {
        recorder: Recorder::start(informers.client().clone(), "default-scheduler", shutdown.clone()),
        shared,
        informers,
        bindings: Arc::new(Semaphore::new(config.parallel_bindings.max(1))),
        tasks: TaskTracker::new(),
    };
    let mut turn = 0;
    loop {
        let taken = tokio::select! {
            () = shutdown.cancelled() => break,
            taken = driver.next() => taken,
        };
        turn += 1;
        driver.schedule(taken, turn).await;
    }
    driver.tasks.close();
    driver.tasks.wait().await;
}

fn follow(shared: &Arc<Shared>, informers: &SharedInformers, scheduler_name: String) {
    let target = shared.clone();
    informers.of::<Namespace>().on_change(move |change| {
        if let Some(namespace) = change.versions().last() {
            let labels = change.new.as_ref().map(|new| new.metadata.labels.clone().unwrap_or_default());
            let name = namespace.metadata.name.as_deref().unwrap_or_default();
            target.update(|state| state.cache.set_namespace(name, labels.as_ref()));
        }
    });
    let target = shared.clone();
    informers.of::<Node>().on_change(move |change| target.update(|state| state.node_changed(change)));
    let target = shared.clone();
    informers.of::<Pod>().on_change(move |change| target.update(|state| state.pod_changed(change, &scheduler_name)));
}

impl State {
    fn node_changed(&mut self, change: &Change<Node>) {
        match (&change.old, &change.new) {
            (old, Some(new)) => {
                self.cache.set_node(new.clone());
                if old.as_ref().is_none_or(|old| filters_see_a_difference(old, new)) {
                    self.queue.notice(ClusterEvent::Node, Instant::now());
                }
            }
            (Some(old), None) => self.cache.remove_node(old.metadata.name.as_deref().unwrap_or_default()),
            (None, None) => {}
        }
    }

    fn pod_changed(&mut self, change: &Change<Pod>, scheduler_name: &str) {
        // A pod of the same name but another uid is another pod.
        if let Some(old) = &change.old
            && change.new.as_ref().is_none_or(|new| uid(new) != uid(old))
        {
            self.pod_ended(&uid(old));
        }
        let Some(new) = &change.new else { return };
        let spec = new.spec.as_ref();
        let node = spec.and_then(|spec| spec.node_name.as_deref()).filter(|node| !node.is_empty());
        let ours = spec.and_then(|spec| spec.scheduler_name.as_deref()).unwrap_or("default-scheduler") == scheduler_name;
        match node {
            _ if pod_state::is_terminal(new) => self.pod_ended(&uid(new)),
            Some(node) => {
                let labels = |pod: &Arc<Pod>| pod.metadata.labels.clone();
                let news = !self.cache.is_placed(&uid(new)) || change.old.as_ref().map(labels) != Some(labels(new));
                self.queue.remove(&uid(new));
                self.cache.place(new.clone(), node);
                if news {
                    self.queue.notice(ClusterEvent::PlacedPod, Instant::now());
                }
            }
            None if !ours || pod_state::is_terminating(new) || is_gated(new) => self.queue.remove(&uid(new)),
            None if !self.cache.is_placed(&uid(new)) => self.queue.offer(new.clone()),
            None => {}
        }
    }

    fn pod_ended(&mut self, uid: &str) {
        self.queue.remove(uid);
        if self.cache.is_placed(uid) {
            self.cache.remove_pod(uid);
            self.queue.notice(ClusterEvent::FreedPod, Instant::now());
        }
    }
}

impl Driver {
    async fn next(&self) -> Taken {
        loop {
            let changed = self.shared.changed.notified();
            let wake_at = {
                let mut state = self.shared.state.lock();
                if let Some(taken) = state.queue.next(Instant::now()) {
                    return taken;
                }
                state.queue.next_release()
            };
            match wake_at {
                Some(at) => tokio::select! {
                    () = changed => {}
                    () = tokio::time::sleep_until(at) => {}
                },
                None => changed.await,
            }
        }
    }

    async fn schedule(&self, taken: Taken, turn: u64) {
        let snapshot = self.shared.state.lock().cache.snapshot();
        let info = PodInfo::new(taken.pod.clone());
        match decide(&snapshot, &info, turn) {
            Decision::Node(node) => {
                drop(snapshot);
                self.shared.state.lock().cache.place(taken.pod.clone(), &node);
                // Bounds the writes on their way; decisions wait when the server can't keep up.
                let permit = self.bindings.clone().acquire_owned().await.ok();
                self.bind(taken, node, permit);
            }
            Decision::Unschedulable(refused) => self.refuse(&snapshot, taken, &info, &refused),
        }
    }

    fn bind(&self, taken: Taken, node: String, permit: Option<tokio::sync::OwnedSemaphorePermit>) {
        let (client, shared, recorder) = (self.informers.client().clone(), self.shared.clone(), self.recorder.clone());
        self.tasks.spawn(async move {
            let _permit = permit;
            let result = bind::bind(&client, &taken.pod, &node).await;
            let key = ObjectKey::of(&taken.pod.metadata);
            match result {
                Ok(()) => {
                    shared.state.lock().queue.remove(&taken.uid);
                    let message = format!("Successfully assigned {key} to {node}");
                    recorder.record_action(&*taken.pod, EventType::Normal, "Scheduled", "Binding", message);
                }
                Err(error) => {
                    tracing::warn!(pod = %key, node, error = &error as &dyn std::error::Error, "binding failed");
                    shared.update(|state| {
                        state.cache.remove_pod(&taken.uid);
                        state.queue.retry(&taken.uid, Instant::now());
                        state.queue.notice(ClusterEvent::FreedPod, Instant::now());
                    });
                }
            }
        });
    }

    fn refuse(&self, snapshot: &Snapshot, taken: Taken, info: &PodInfo, refused: &[Vec<Rejection>]) {
        let nodes = snapshot.nodes.len();
        let mut message = fit_error::message(nodes, refused);
        let preemption = preemption::plan(snapshot, info, refused);
        let never = info.spec().and_then(|spec| spec.preemption_policy.as_deref()) == Some("Never");
        if never {
            message.push_str(" preemption: not eligible due to preemptionPolicy=Never.");
        } else if nodes > 0 && preemption.is_none() {
            message = format!("{message} {}", fit_error::preemption(nodes, refused));
        }
        let filters: HashSet<_> = refused.iter().flatten().map(|rejection| rejection.filter).collect();
        self.shared.state.lock().queue.park(&taken.uid, filters, Instant::now());
        self.recorder.record_action(&*taken.pod, EventType::Warning, "FailedScheduling", "Scheduling", message.clone());
        let (client, recorder) = (self.informers.client().clone(), self.recorder.clone());
        self.tasks.spawn(async move {
            let nominated = preemption.as_ref().map(|preemption| preemption.node.as_str());
            if let Err(error) = bind::mark_unschedulable(&client, &taken.pod, &message, nominated).await {
                tracing::debug!(error = &error as &dyn std::error::Error, "unschedulable pod not marked");
            }
            if let Some(Preemption { node, victims }) = preemption {
                for victim in victims.iter().filter(|victim| !pod_state::is_terminating(&victim.pod)) {
                    if let Err(error) = bind::displace(&client, &victim.pod).await {
                        tracing::warn!(error = &error as &dyn std::error::Error, "victim not displaced");
                        continue;
                    }
                    let text = format!("Preempted by pod {} on node {node}", taken.uid);
                    recorder.record_action(&*victim.pod, EventType::Normal, "Preempted", "Preempting", text);
                }
            }
        });
    }
}

/// A heartbeat that changes nothing a filter reads makes no waiting pod schedulable.
fn filters_see_a_difference(old: &Node, new: &Node) -> bool {
    let allocatable = |node: &Node| node.status.as_ref().and_then(|status| status.allocatable.clone());
    old.spec != new.spec || old.metadata.labels != new.metadata.labels || allocatable(old) != allocatable(new)
}

/// Pods with scheduling gates wait until the gates are gone (KEP-3521).
fn is_gated(pod: &Pod) -> bool {
    pod.spec.as_ref().and_then(|spec| spec.scheduling_gates.as_ref()).is_some_and(|gates| !gates.is_empty())
}

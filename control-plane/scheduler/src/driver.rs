//! The loop around the decision: feeds cache and queue from the watches, takes pod after pod, and sends the outcomes off as tasks, so that a
//! decision never waits for a write.

use std::collections::HashSet;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::Client;
use orknet_auth::Identity;
use orknet_reconciler::{Change, EventType, ObjectKey, Recorder, SharedInformers, acting_as, pod_state};
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::budgets::Budgets;
use crate::cache::Cache;
use crate::decide::{Decision, decide};
use crate::filter::Rejection;
use crate::pod_info::PodInfo;
use crate::preemption::{self, Preemption, Verdict};
use crate::queue::{ClusterEvent, Queue, Taken, uid};
use crate::snapshot::Snapshot;
use crate::{Config, bind, fit_error};

/// Who speaks in Events and conditions.
const COMPONENT: &str = "default-scheduler";
/// Who the scheduler is to the API server.
const USER: &str = "system:kube-scheduler";

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
    /// By which it writes.
    client: Client,
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
        informers.of::<PodDisruptionBudget>().synced().await;
    };
    tokio::select! {
        () = shutdown.cancelled() => return,
        () = synced => {}
    }
    // The watches may be those of the controllers; what is written is the scheduler's.
    let client = acting_as(informers.client(), Identity::authenticated(USER, []));
    let driver = Driver {
        recorder: Recorder::start(client.clone(), COMPONENT, shutdown.clone()),
        client,
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
            target.update(|state| {
                if state.cache.set_namespace(name, labels.as_ref()) {
                    state.queue.notice(ClusterEvent::PlacedPod, Instant::now());
                }
            });
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
            (Some(old), None) => {
                self.cache.remove_node(old.metadata.name.as_deref().unwrap_or_default());
                // With a domain less, spreading may ask for less.
                self.queue.notice(ClusterEvent::Node, Instant::now());
            }
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
        let node = pod_state::node_of(new);
        let ours = new.spec.as_ref().and_then(|spec| spec.scheduler_name.as_deref()).unwrap_or("default-scheduler") == scheduler_name;
        match node {
            _ if pod_state::is_terminal(new) => self.pod_ended(&uid(new)),
            Some(node) => {
                self.queue.remove(&uid(new));
                let before = self.cache.place(new.clone(), node);
                let was_here = change.old.as_deref().and_then(pod_state::node_of) == Some(node);
                if !was_here || before.as_ref().is_none_or(|before| before.labels() != new.metadata.labels.as_ref()) {
                    self.queue.notice(ClusterEvent::PlacedPod, Instant::now());
                }
                if before.is_some_and(|before| before.requests != PodInfo::new(new.clone()).requests) {
                    self.queue.notice(ClusterEvent::FreedPod, Instant::now());
                }
            }
            None if !ours || pod_state::is_terminating(new) || is_gated(new) => {
                self.queue.remove(&uid(new));
                self.cache.withdraw(&uid(new));
            }
            None if !self.cache.is_placed(&uid(new)) => {
                if let Some(node) = new.status.as_ref().and_then(|status| status.nominated_node_name.as_deref()) {
                    self.cache.nominate(Arc::new(PodInfo::new(new.clone())), node);
                }
                self.queue.offer(new.clone());
            }
            None => {}
        }
    }

    fn pod_ended(&mut self, uid: &str) {
        self.queue.remove(uid);
        if self.cache.remove_pod(uid).is_some() {
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
        let info = Arc::new(PodInfo::new(taken.pod.clone()));
        let snapshot = self.shared.state.lock().cache.snapshot_for(&info);
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
        let (client, shared, recorder) = (self.client.clone(), self.shared.clone(), self.recorder.clone());
        let pods = self.informers.of::<Pod>();
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
                        // The answer may be lost although the pod was bound; where the watch says so, it is placed as the watch says.
                        let bound = pods.get(&key).is_some_and(|pod| uid(&pod) == taken.uid && pod_state::node_of(&pod).is_some());
                        if bound {
                            return;
                        }
                        state.cache.remove_pod(&taken.uid);
                        state.queue.retry(&taken.uid, Instant::now());
                        state.queue.notice(ClusterEvent::FreedPod, Instant::now());
                    });
                }
            }
        });
    }

    fn refuse(&self, snapshot: &Snapshot, taken: Taken, info: &Arc<PodInfo>, refused: &[Vec<Rejection>]) {
        let promised = self.shared.state.lock().cache.nominated_node(&taken.uid);
        let budgets = Budgets::new(self.informers.of::<PodDisruptionBudget>().all());
        let verdict = preemption::plan(snapshot, info, refused, promised.as_deref(), &budgets);
        let message = fit_error::message(snapshot.nodes.len(), refused, &verdict);
        let nominated = match &verdict {
            Verdict::Displace(preemption) => Some(preemption.node.clone()),
            Verdict::NoVictims => None,
            Verdict::NotEligible(_) => promised,
        };
        {
            let mut state = self.shared.state.lock();
            match &nominated {
                Some(node) => state.cache.nominate(info.clone(), node),
                None => state.cache.withdraw(&taken.uid),
            }
            let filters: HashSet<_> = refused.iter().flatten().map(|rejection| rejection.filter).collect();
            state.queue.park(&taken.uid, filters, Instant::now());
        }
        self.recorder.record_action(&*taken.pod, EventType::Warning, "FailedScheduling", "Scheduling", message.clone());
        let (client, recorder) = (self.client.clone(), self.recorder.clone());
        self.tasks.spawn(async move {
            if let Err(error) = bind::mark_unschedulable(&client, &taken.pod, &message, nominated.as_deref()).await {
                tracing::debug!(error = &error as &dyn std::error::Error, "unschedulable pod not marked");
            }
            let Verdict::Displace(Preemption { node, victims }) = verdict else { return };
            for victim in victims.iter().filter(|victim| !pod_state::is_terminating(&victim.pod)) {
                if let Err(error) = bind::displace(&client, &victim.pod, COMPONENT).await {
                    tracing::warn!(error = &error as &dyn std::error::Error, "victim not displaced");
                    continue;
                }
                let text = format!("Preempted by pod {} on node {node}", taken.uid);
                recorder.record_action(&*victim.pod, EventType::Normal, "Preempted", "Preempting", text);
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

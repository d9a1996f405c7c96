//! The life of one pod, top to bottom: look, decide, act, wait, until the pod is gone from the API and from the node.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, Pod, PodStatus};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::backoff::Backoff;
use super::observe::observe;
use super::plan::{self, Plan, SandboxStep};
use super::start::{self, Place};
use super::terminate::{self, StopRequest};
use super::view::PodView;
use super::watchers::Watchers;
use super::{Context, PodKey, admission, cleanup, declared, sandbox};
use crate::images::Puller;
use crate::status::compute;
use crate::status::conditions::is_own;
use crate::status::publish::{Publisher, Told, same};
use crate::status::reason::{self, Waiting};
use crate::volumes;
use crate::volumes::setup::{NotReady, Ready};

/// Without any cause a pod is looked at this often; volumes are brought up to date then.
const RESYNC: Duration = Duration::from_secs(30);
/// First and longest delay after a failure that names no time of its own.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_secs(30);

/// What the API says about a pod.
#[derive(Clone, Debug)]
pub(super) struct Order {
    /// The newest object.
    pub pod: Arc<Pod>,
    /// The object does not exist any more.
    pub gone: bool,
}

impl Order {
    /// The pod is to be stopped and removed.
    fn ends(&self) -> bool {
        self.gone || self.pod.metadata.deletion_timestamp.is_some()
    }

    /// How long the pod has to end. One that is gone already was deleted by force: nobody waits for it any more.
    fn grace(&self) -> Duration {
        if self.gone { terminate::LEAST.min(terminate::grace(&self.pod)) } else { terminate::grace(&self.pod) }
    }
}

/// What follows a step.
enum Next {
    /// Look again at once.
    Now,
    /// Look again after this time, or when something happens.
    After(Duration),
    /// The pod is gone.
    Done,
}

/// A start that failed and is tried again later.
struct FailedStart {
    waiting: Waiting,
    due: Instant,
    /// What was started; another specification is tried at once.
    container: Container,
}

pub(super) struct Worker {
    context: Arc<Context>,
    key: PodKey,
    orders: watch::Receiver<Order>,
    wake: Arc<Notify>,
    watchers: Watchers,
    publisher: Publisher,
    backoff: Backoff,
    puller: Puller,
    /// Failed starts, by container.
    failures: BTreeMap<String, FailedStart>,
    /// Containers in restart back-off.
    held: BTreeMap<String, Waiting>,
    /// The status that was last submitted.
    last: Option<PodStatus>,
    first_seen: Timestamp,
    retry: Duration,
    /// It may run here; asked once.
    admitted: bool,
    /// A verdict over the whole pod.
    failed: Option<Waiting>,
    /// The pod has ended by itself.
    finished: bool,
    /// Volumes and cgroups of an ended pod are gone.
    released: bool,
    hooked: Mutex<HashSet<String>>,
    _followed: Followed,
}

/// Ends the following of ConfigMaps and Secrets with the worker, however that ends.
struct Followed(Arc<Context>, String);

impl Drop for Followed {
    fn drop(&mut self) {
        self.0.cluster.unfollow(&self.1);
    }
}

impl Worker {
    pub(super) fn new(context: Arc<Context>, orders: watch::Receiver<Order>, wake: Arc<Notify>) -> Self {
        let key = PodKey::of(&orders.borrow().pod);
        Self {
            _followed: Followed(context.clone(), key.uid.clone()),
            watchers: Watchers::new(context.clone()),
            publisher: Publisher::start(context.cluster.clone()),
            context,
            key,
            orders,
            wake,
            backoff: Backoff::default(),
            puller: Puller::default(),
            failures: BTreeMap::new(),
            held: BTreeMap::new(),
            last: None,
            first_seen: Timestamp::now(),
            retry: FIRST_RETRY,
            admitted: false,
            failed: None,
            finished: false,
            released: false,
            hooked: Mutex::default(),
        }
    }

    /// What the API is told about the pod.
    pub(super) fn told(&self) -> Told {
        self.publisher.told()
    }

    /// Lives until the pod is gone.
    pub(super) async fn run(mut self) {
        let mut health = self.watchers.board.changes();
        loop {
            health.mark_unchanged();
            let order = self.orders.borrow_and_update().clone();
            let next = if order.ends() || self.has_ended(&order.pod) {
                self.end(&order).await
            } else {
                let orders = self.orders.clone();
                tokio::select! {
                    next = self.sync(&order.pod) => next,
                    // Whatever takes long (a pull, a hook) is given up when the pod must stop.
                    () = must_end(orders) => Next::Now,
                }
            };
            let pause = match next {
                Next::Now => continue,
                Next::Done => return,
                Next::After(pause) => pause,
            };
            tokio::select! {
                changed = self.orders.changed() => if changed.is_err() { return },
                () = self.wake.notified() => {}
                _ = health.changed() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    fn has_ended(&self, pod: &Pod) -> bool {
        let settled = |status: Option<&PodStatus>| matches!(status.and_then(|s| s.phase.as_deref()), Some("Succeeded" | "Failed"));
        self.finished || self.failed.is_some() || settled(self.last.as_ref()) || settled(pod.status.as_ref())
    }

    /// One step of a pod that should run.
    async fn sync(&mut self, pod: &Arc<Pod>) -> Next {
        let now = Timestamp::now();
        // 0. Admit.
        if !self.admitted {
            match admission::admit(&self.context, pod).await {
                Ok(None) => self.admitted = true,
                Ok(Some(why)) => return self.refuse(pod, why),
                Err(error) => return self.trouble(&error),
            }
        }
        // 1. Look.
        self.context.cluster.follow(pod, &self.wake);
        let view = match observe(&self.context, &self.key.uid).await {
            Ok(view) => view,
            Err(error) => return self.trouble(&error),
        };
        self.watchers.follow(pod, &view, self.last.as_ref().or(pod.status.as_ref()), false);
        let deadline = self.deadline(pod);
        if deadline.is_some_and(|at| at <= now) {
            let why = Waiting::new("DeadlineExceeded", "Pod was active on the node longer than the specified deadline");
            self.context.note_pod(pod, false, "DeadlineExceeded", why.message.clone());
            self.failed = Some(why);
            return Next::Now;
        }
        // 2. Decide.
        for run in view.containers.iter().filter(|run| view.latest(&run.name) == Some(run)) {
            if let (Some(seconds), Ok(at)) = (run.restart_delay, Timestamp::from_nanosecond(i128::from(run.created_at))) {
                self.backoff.recall(&run.name, Duration::from_secs(seconds), at);
            }
        }
        let health = self.watchers.board.snapshot();
        let base = self.with_last_status(pod);
        let plan = plan::plan(&plan::Inputs { pod: &base, view: &view, health: &health, backoff: &self.backoff, now });
        self.note_back_off(pod, &plan);
        self.held = plan.held.clone();
        self.publish(pod, &view, false);
        if plan.finished {
            self.finished = true;
            return Next::Now;
        }
        // 3. Act.
        let mut acted = false;
        for stop in &plan.stop {
            let grace = stop.grace_seconds.map_or_else(|| terminate::grace(pod), |s| Duration::from_secs(s.max(0).unsigned_abs()));
            let address = view.ready_sandbox().and_then(|s| s.ips.first()).copied();
            let request = StopRequest { id: &stop.id, name: &stop.name, message: stop.message.clone(), address, run_hook: true };
            if let Err(error) = terminate::stop(&self.context, pod, &request, grace).await {
                return self.trouble(&error);
            }
            acted = true;
        }
        let facts = self.context.facts(view.ready_sandbox().map_or(&[], |s| &s.ips));
        let volumes = match volumes::setup(&self.context, pod, &facts).await {
            Ok((volumes, stale)) => {
                stale.iter().for_each(|failure| self.note_mount(pod, failure));
                volumes
            }
            Err(failure) => {
                self.note_mount(pod, &failure);
                return self.trouble(&failure.cause);
            }
        };
        if let SandboxStep::Create(attempt) = plan.sandbox {
            return self.make_sandbox(pod, attempt).await;
        }
        let retry_at = self.start_containers(pod, &view, &plan, &volumes, &mut acted).await;
        self.tidy(&view, &plan).await;
        if acted {
            return Next::Now;
        }
        self.publish(pod, &view, false);
        let until = |at: Timestamp| Duration::try_from(at.duration_since(now)).unwrap_or_default();
        let wakes = [plan.wake_at.map(until), deadline.map(until), retry_at, Some(RESYNC)];
        Next::After(wakes.into_iter().flatten().min().unwrap_or(RESYNC))
    }

    /// The pod fails, and nothing is made for it.
    fn refuse(&mut self, pod: &Pod, why: Waiting) -> Next {
        tracing::info!(pod = %self.key, reason = why.reason, message = why.message, "pod refused");
        self.context.note_pod(pod, true, why.reason.clone(), why.message.clone());
        self.failed = Some(Waiting { message: format!("Pod was rejected: {}", why.message), ..why });
        Next::Now
    }

    fn note_mount(&self, pod: &Pod, failure: &NotReady) {
        let message = format!("MountVolume.SetUp failed for volume \"{}\" : {}", failure.volume, failure.cause);
        self.context.note_pod(pod, true, "FailedMount", message);
    }

    async fn make_sandbox(&mut self, pod: &Pod, attempt: u32) -> Next {
        if attempt > 0 {
            self.context.note_pod(pod, false, "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.");
        }
        let made = async {
            cleanup::stop_sandboxes(&self.context, &self.key.uid).await?;
            sandbox::prepare(&self.context, pod)?;
            sandbox::create(&self.context, pod, attempt).await
        };
        match made.await {
            Ok(id) => {
                tracing::info!(pod = %self.key, sandbox = id, "sandbox made");
                self.retry = FIRST_RETRY;
                Next::Now
            }
            Err(error) => {
                self.context.note_pod(pod, true, "FailedCreatePodSandBox", format!("Failed to create pod sandbox: {}", error.as_rpc()));
                self.trouble(&error)
            }
        }
    }

    /// Starts what the plan wants; answers with the time until a failed start is tried again.
    async fn start_containers(
        &mut self,
        pod: &Pod,
        view: &PodView,
        plan: &Plan,
        volumes: &BTreeMap<String, Ready>,
        acted: &mut bool,
    ) -> Option<Duration> {
        self.failures.retain(|name, _| plan.start.iter().any(|s| s.name == *name));
        let sandbox = view.ready_sandbox().filter(|_| !plan.start.is_empty())?;
        let prepared = sandbox::prepare(&self.context, pod).and_then(|()| self.write_hosts(pod, view));
        if let Err(error) = prepared {
            tracing::warn!(pod = %self.key, %error, "directories of the pod not made");
        }
        let context = self.context.clone();
        let mut retry_at: Option<Duration> = None;
        for start in &plan.start {
            let Some(declared) = declared::find(pod, &start.name) else { continue };
            if let Some(failed) =
                self.failures.get_mut(&start.name).filter(|f| f.due > Instant::now() && f.container == *declared.container)
            {
                if let Some(backed_off) = failed.waiting.after_failed_pull(&failed.container) {
                    let image = failed.container.image.as_deref().unwrap_or_default();
                    self.context.note_container(pod, &start.name, false, "BackOff", reason::back_off_pulling(image));
                    self.context.note_container(pod, &start.name, true, "Failed", format!("Error: {}", backed_off.reason));
                    failed.waiting = backed_off;
                }
                let pause = failed.due.duration_since(Instant::now());
                retry_at = Some(retry_at.map_or(pause, |r| r.min(pause)));
                continue;
            }
            if let Some(event) = start.after {
                self.backoff.advance(&start.name, event, Timestamp::now());
            }
            let place = Place { context: &context, pod, sandbox, view, volumes, restart_delay: self.backoff.delay(&start.name) };
            match start::start(&place, &declared, start, &mut self.puller).await {
                Ok(()) => {
                    self.failures.remove(&start.name);
                    *acted = true;
                }
                Err(failed) => {
                    tracing::info!(pod = %self.key, container = start.name, reason = failed.waiting.reason, message = failed.waiting.message, "container not started");
                    let pause = match failed.retry_at {
                        Some(at) => Duration::try_from(at.duration_since(Timestamp::now())).unwrap_or_default(),
                        None => self.longer_retry(),
                    };
                    let container = declared.container.into_owned();
                    self.failures
                        .insert(start.name.clone(), FailedStart { waiting: failed.waiting, due: Instant::now() + pause, container });
                    retry_at = Some(retry_at.map_or(pause, |r| r.min(pause)));
                }
            }
        }
        if retry_at.is_none() {
            self.retry = FIRST_RETRY;
        }
        retry_at
    }

    fn write_hosts(&self, pod: &Pod, view: &PodView) -> Result<(), crate::Error> {
        let ips = view.ready_sandbox().map(|s| s.ips.clone()).unwrap_or_default();
        let node_file = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
        let text = volumes::hosts::text(pod, &ips, &self.context.config.cluster_domain, &node_file);
        let path = self.context.paths.etc_hosts(&self.key.uid);
        std::fs::write(&path, text).map_err(crate::Error::file("write", &path))
    }

    /// Removes dead runs that nobody needs, with their files.
    async fn tidy(&self, view: &PodView, plan: &Plan) {
        for run in view.containers.iter().filter(|c| plan.remove_containers.contains(&c.id)) {
            match self.context.cri.remove_container(&run.id).await {
                Ok(()) => cleanup::remove_files(&self.context, &self.key, run),
                Err(error) => tracing::debug!(pod = %self.key, id = run.id, %error, "dead container not removed"),
            }
        }
        for id in &plan.remove_sandboxes {
            if let Err(error) = self.context.cri.remove_sandbox(id).await {
                tracing::debug!(pod = %self.key, id, %error, "dead sandbox not removed");
            }
        }
    }

    /// One step of a pod that must stop, or has ended.
    async fn end(&mut self, order: &Order) -> Next {
        let pod = &order.pod;
        if self.released && !order.ends() {
            return Next::After(RESYNC * 10);
        }
        // 1. Stop what runs; begin again with less time when the grace period is shortened.
        let view = match observe(&self.context, &self.key.uid).await {
            Ok(view) => view,
            Err(error) => return self.trouble(&error),
        };
        self.watchers.follow(pod, &view, self.last.as_ref(), true);
        if view.running().next().is_some() {
            self.publish(pod, &view, false);
            let grace = order.grace();
            let stopped = tokio::select! {
                stopped = terminate::stop_all(&self.context, pod, &view, grace, &self.hooked) => stopped,
                () = shorter_grace(self.orders.clone(), grace) => return Next::Now,
            };
            return stopped.map_or_else(|error| self.trouble(&error), |()| Next::Now);
        }
        self.context.cluster.unfollow(&self.key.uid);
        // 2. Release the network, and tell how it ended.
        if let Err(error) = cleanup::stop_sandboxes(&self.context, &self.key.uid).await {
            return self.trouble(&error);
        }
        self.publish(pod, &view, true);
        if !order.ends() {
            return match cleanup::release(&self.context, &self.key.uid).await {
                Ok(()) => {
                    self.released = true;
                    Next::Now
                }
                Err(error) => self.trouble(&error),
            };
        }
        // 3. The API object goes when nothing runs or is held any more; only what nobody sees is removed after it.
        let told = async {
            let mut orders = self.orders.clone();
            tokio::select! {
                () = self.publisher.flush() => {}
                // Nobody is left to be told.
                _ = orders.wait_for(|o| o.gone) => {}
            }
        };
        let ((), released) = tokio::join!(told, cleanup::release(&self.context, &self.key.uid));
        let removed = async {
            released?;
            if !order.gone {
                self.context.cluster.remove_pod(&self.key).await?;
            }
            cleanup::remove_sandboxes(&self.context, &self.key.uid).await?;
            cleanup::remove_logs(&self.context, &self.key)
        };
        match removed.await {
            Ok(()) => {
                tracing::info!(pod = %self.key, "pod removed");
                Next::Done
            }
            Err(error) => self.trouble(&error),
        }
    }

    fn publish(&mut self, pod: &Arc<Pod>, view: &PodView, over: bool) {
        let mut waiting = self.held.clone();
        waiting.extend(self.failures.iter().map(|(name, failed)| (name.clone(), failed.waiting.clone())));
        let base = self.with_last_status(pod);
        let status = compute::status(&compute::Inputs {
            pod: &base,
            view,
            health: &self.watchers.board.snapshot(),
            waiting: &waiting,
            host_ips: &self.context.config.host_ips(),
            over,
            failed: self.failed.as_ref(),
            start_time: self.first_seen,
            now: Timestamp::now(),
        });
        // Somebody else may have written over it, as the node's controller does while it hears nothing.
        let shown = pod.status.as_ref().is_some_and(|shown| same(shown, &status));
        if !shown || self.last.as_ref().is_some_and(|last| *last != status) {
            self.publisher.submit(pod.clone(), status.clone());
        }
        self.last = Some(status);
    }

    /// The pod with the status that this worker last made: the API's own copy may be older. Conditions of others come from the API.
    fn with_last_status(&self, pod: &Pod) -> Pod {
        let mut made = pod.clone();
        if let Some(mut last) = self.last.clone() {
            let api = pod.status.clone().unwrap_or_default();
            if matches!(api.phase.as_deref(), Some("Succeeded" | "Failed")) {
                (last.phase, last.reason, last.message) = (api.phase, api.reason, api.message);
            }
            let conditions = last.conditions.get_or_insert_default();
            conditions.retain(|c| is_own(&c.type_));
            conditions.extend(api.conditions.into_iter().flatten().filter(|c| !is_own(&c.type_)));
            made.status = Some(last);
        }
        made
    }

    fn deadline(&self, pod: &Pod) -> Option<Timestamp> {
        let seconds = pod.spec.as_ref()?.active_deadline_seconds?;
        let began = self.last.as_ref().or(pod.status.as_ref()).and_then(|s| s.start_time.as_ref()).map_or(self.first_seen, |t| t.0);
        began.checked_add(SignedDuration::from_secs(seconds)).ok()
    }

    fn note_back_off(&self, pod: &Pod, plan: &Plan) {
        for name in plan.held.keys().filter(|name| !self.held.contains_key(*name)) {
            let message = format!("Back-off restarting failed container {name} in pod {}", self.key);
            self.context.note_container(pod, name, true, "BackOff", message);
        }
    }

    fn trouble(&mut self, cause: &dyn std::fmt::Display) -> Next {
        let pause = self.longer_retry();
        tracing::warn!(pod = %self.key, %cause, retry_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX), "pod not brought forward");
        Next::After(pause)
    }

    fn longer_retry(&mut self) -> Duration {
        let pause = self.retry;
        self.retry = (self.retry * 2).min(LONGEST_RETRY);
        pause
    }
}

/// Ends when the pod must stop.
async fn must_end(mut orders: watch::Receiver<Order>) {
    if orders.wait_for(Order::ends).await.is_err() {
        // The manager is gone, and this worker with it.
        std::future::pending().await
    }
}

/// Ends when the pod's grace period has become shorter than `grace`, counted from now.
async fn shorter_grace(mut orders: watch::Receiver<Order>, grace: Duration) {
    let begun = Instant::now();
    let shorter = |order: &Order| order.ends() && order.grace() < grace.saturating_sub(begun.elapsed());
    if orders.wait_for(shorter).await.is_err() {
        std::future::pending().await
    }
}

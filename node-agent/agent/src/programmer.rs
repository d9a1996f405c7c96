//! The one writer of the maps: takes what is queued, has it compiled, applies the plan, answers those who waited for it.
//!
//! It runs on a thread of its own, since the data plane blocks. There are no timers for batching: while one plan is being written,
//! the next changes queue up and become the next plan. Services are written only after the first complete lists, so that a restart
//! never removes what it has merely not seen yet.

use crate::dataplane::{Dataplane, FailedStep};
use crate::metrics::Metrics;
use orknet_abi::{Address, Pod, PodKey, RangeKey};
use orknet_cni::protocol::{self, AgentStatus, AttachmentName, Reason, Refusal};
use orknet_compiler::{Attachment, Change, ObjectName, Plan, State, Step};
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// Most messages that one plan takes.
const BATCH: usize = 4096;
/// Failed steps that are logged of one plan.
const LOGGED_FAILURES: usize = 5;
/// Time before a failed plan is tried again, doubled up to the resync interval.
const FIRST_RETRY: Duration = Duration::from_millis(100);

/// The answer to a request about a pod.
pub type Reply = oneshot::Sender<Result<(), Refusal>>;

/// What the programmer is told.
#[derive(Debug)]
pub enum Message {
    /// A fact changed; `seen` is when the event came in.
    Change { change: Change, seen: Instant },
    /// The Services have been listed completely.
    ServicesListed(HashSet<ObjectName>),
    /// The slices have been listed completely.
    SlicesListed(HashSet<ObjectName>),
    /// A pod is to be programmed.
    Attach(protocol::Attachment, Reply),
    /// Is it programmed?
    Check(AttachmentName, Reply),
    /// A pod is to be forgotten.
    Detach(AttachmentName, Reply),
    /// How is it going?
    Status(oneshot::Sender<AgentStatus>),
}

/// State, kernel, and what has been seen of the cluster.
pub struct Programmer {
    state: State,
    dataplane: Arc<dyn Dataplane>,
    metrics: Arc<Metrics>,
    services_listed: bool,
    slices_listed: bool,
    node_known: bool,
    /// Every plan since the last failure is in the kernel.
    is_applied: bool,
    was_synced: bool,
    resync: Duration,
    retry: Duration,
}

/// Those who wait for the plan in the making.
#[derive(Default)]
struct Waiting {
    attached: Vec<(AttachmentName, Reply)>,
    detached: Vec<(Option<u32>, Reply)>,
    seen: Vec<Instant>,
}

impl Programmer {
    /// Begins with what the kernel holds, the pods that the CNI plugin's records name, and the ranges from which Services get their
    /// addresses.
    pub fn new(
        dataplane: Arc<dyn Dataplane>,
        metrics: Arc<Metrics>,
        records: &[protocol::Attachment],
        ranges: BTreeSet<RangeKey>,
        resync: Duration,
    ) -> Result<Self, crate::Error> {
        let mut state = State::default();
        state.adopt(dataplane.image()?);
        state.note(Change::Ranges(ranges));
        let mut programmer = Self {
            state,
            dataplane,
            metrics,
            services_listed: false,
            slices_listed: false,
            node_known: false,
            is_applied: true,
            was_synced: false,
            resync,
            retry: FIRST_RETRY,
        };
        for record in records {
            programmer.state.note(Change::Attachment(key(&record.attachment), Some(attachment(record))));
        }
        // Maps first: over new maps (another version's, after an upgrade) programs would take what these pods send for a stranger's.
        programmer.program(Waiting::default());
        programmer.restore_devices();
        Ok(programmer)
    }

    /// Works until the shutdown or until nobody can send any more.
    pub async fn run(mut self, mut messages: mpsc::Receiver<Message>, shutdown: CancellationToken) {
        let mut batch = Vec::new();
        let mut next_resync = tokio::time::Instant::now() + self.resync;
        loop {
            let wake = if self.is_applied { next_resync } else { next_resync.min(tokio::time::Instant::now() + self.retry) };
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                count = messages.recv_many(&mut batch, BATCH) => {
                    if count == 0 {
                        return;
                    }
                    let waiting = self.take(batch.drain(..));
                    self.program(waiting);
                }
                () = tokio::time::sleep_until(wake) => {
                    if self.is_applied {
                        self.compare();
                        next_resync = tokio::time::Instant::now() + self.resync;
                    } else {
                        self.retry = (self.retry * 2).min(self.resync);
                        self.program(Waiting::default());
                    }
                }
            }
        }
    }

    fn take(&mut self, messages: impl Iterator<Item = Message>) -> Waiting {
        let mut waiting = Waiting::default();
        for message in messages {
            match message {
                Message::Change { change, seen } => {
                    self.node_known |= matches!(change, Change::Node(_));
                    self.state.note(change);
                    waiting.seen.push(seen);
                }
                Message::ServicesListed(names) => {
                    self.state.retain_services(&names);
                    self.services_listed = true;
                }
                Message::SlicesListed(names) => {
                    self.state.retain_slices(&names);
                    self.slices_listed = true;
                }
                Message::Attach(record, reply) => self.attach(&record, reply, &mut waiting),
                Message::Detach(name, reply) => {
                    let device = self.device_of(&name);
                    self.state.note(Change::Attachment(key(&name), None));
                    waiting.detached.push((device, reply));
                }
                Message::Check(name, reply) => answer(reply, self.check(&name)),
                Message::Status(reply) => drop(reply.send(self.status())),
            }
        }
        waiting
    }

    fn attach(&mut self, record: &protocol::Attachment, reply: Reply, waiting: &mut Waiting) {
        // Programs first: once the maps lead to the device, packets must already be checked.
        match self.dataplane.attach_pod(record.host_ifindex) {
            Ok(()) => {
                self.state.note(Change::Attachment(key(&record.attachment), Some(attachment(record))));
                waiting.attached.push((record.attachment.clone(), reply));
            }
            Err(failure) => answer(reply, Err(refusal(Reason::Failed, failure))),
        }
    }

    fn check(&self, name: &AttachmentName) -> Result<(), Refusal> {
        let name = key(name);
        let known = self.state.attachments().find(|(known, _)| **known == name).map(|(_, attachment)| attachment);
        let known = known.ok_or_else(|| refusal(Reason::NotFound, "the pod is not attached"))?;
        let devices = self.dataplane.pod_devices().map_err(|failure| refusal(Reason::Failed, failure))?;
        if !devices.contains(&known.pod.ifindex) {
            return Err(refusal(Reason::NotFound, "the pod's device has no programs"));
        }
        match known.addresses.iter().all(|&address| self.state.image().pods.get(&PodKey { address }) == Some(&known.pod)) {
            true => Ok(()),
            false => Err(refusal(Reason::NotFound, "the maps do not lead to the pod")),
        }
    }

    fn status(&self) -> AgentStatus {
        AgentStatus {
            synced: self.is_synced(),
            programmed: self.is_synced() && self.is_applied,
            addressed: self.node_known,
            attachments: self.state.attachments().count(),
        }
    }

    fn is_synced(&self) -> bool {
        self.services_listed && self.slices_listed && self.node_known
    }

    /// Compiles and writes, then answers.
    fn program(&mut self, waiting: Waiting) {
        let plan = if self.is_synced() { self.state.plan() } else { self.state.plan_attachments() };
        let failures = self.write(&plan);
        let now = Instant::now();
        if self.is_synced() {
            waiting.seen.iter().for_each(|seen| self.metrics.programming.observe((now - *seen).as_secs_f64()));
            if !std::mem::replace(&mut self.was_synced, true) {
                tracing::info!(services = self.state.service_count(), steps = plan.steps.len(), "the maps hold what the cluster wants");
                if let Err(failure) = self.dataplane.retire_other_versions() {
                    tracing::warn!(%failure, "cannot remove the pins of another version");
                }
            }
        }
        for (name, reply) in waiting.attached {
            answer(reply, self.outcome_of(&name, &failures));
        }
        for (device, reply) in waiting.detached {
            // Only now: until here packets could still be sent to the device.
            let detached = device.map_or(Ok(()), |device| self.dataplane.detach_pod(device));
            answer(reply, detached.map_err(|failure| refusal(Reason::Failed, failure)));
        }
        self.metrics.services.set(self.state.service_count() as i64);
        self.metrics.attachments.set(self.state.attachments().count() as i64);
        self.metrics.synced.set(i64::from(self.is_synced() && self.is_applied));
    }

    /// After a failure the kernel's contents are the truth again; the next plan starts from there.
    fn write(&mut self, plan: &Plan) -> Vec<FailedStep> {
        let failures = if plan.is_empty() { Vec::new() } else { self.dataplane.apply(plan) };
        self.metrics.steps.inc_by((plan.steps.len() - failures.len().min(plan.steps.len())) as u64);
        self.metrics.failures.inc_by(failures.len() as u64);
        for failure in failures.iter().take(LOGGED_FAILURES) {
            tracing::error!(why = failure.why, "a map was not written");
        }
        if failures.is_empty() {
            (self.is_applied, self.retry) = (true, FIRST_RETRY);
            return failures;
        }
        tracing::error!(failed = failures.len(), steps = plan.steps.len(), "the maps are not complete; trying again");
        self.is_applied = false;
        match self.dataplane.image() {
            Ok(image) => self.state.adopt(image),
            Err(failure) => tracing::error!(%failure, "cannot read the maps"),
        }
        failures
    }

    fn outcome_of(&self, name: &AttachmentName, failures: &[FailedStep]) -> Result<(), Refusal> {
        let name = key(name);
        let (_, known) = self.state.attachments().find(|(known, _)| **known == name).ok_or_else(|| {
            // A detach of the same pod was in the same batch.
            refusal(Reason::NotFound, "the pod was detached meanwhile")
        })?;
        let own = |failure: &&FailedStep| matches!(failure.step, Step::PutPod(key, _) if known.addresses.contains(&key.address));
        failures.iter().find(own).map_or(Ok(()), |failure| Err(refusal(Reason::Failed, &failure.why)))
    }

    /// Level-triggered: what the kernel holds is compared with what it should hold, whatever may have happened to it.
    fn compare(&mut self) {
        self.restore_devices();
        match self.dataplane.holds(self.state.image()) {
            Ok(true) => {}
            Ok(false) => self.repair(),
            Err(failure) => tracing::error!(%failure, "cannot read the maps"),
        }
    }

    fn repair(&mut self) {
        tracing::warn!("the maps differ from what was written; repairing");
        self.metrics.repairs.inc();
        match self.dataplane.image() {
            Ok(image) => {
                self.state.adopt(image);
                self.program(Waiting::default());
            }
            Err(failure) => tracing::error!(%failure, "cannot read the maps"),
        }
    }

    /// Every attachment has its programs, and nothing else has.
    fn restore_devices(&self) {
        let wanted: BTreeSet<u32> = self.state.attachments().map(|(_, attachment)| attachment.pod.ifindex).collect();
        for &device in &wanted {
            if let Err(failure) = self.dataplane.attach_pod(device) {
                tracing::warn!(device, %failure, "cannot attach the programs of a pod");
            }
        }
        let found = self.dataplane.pod_devices().and_then(|devices| Ok((devices, self.dataplane.stale_devices()?)));
        let (attached, stale) = match found {
            Ok(found) => found,
            Err(failure) => return tracing::warn!(%failure, "cannot read which devices have programs"),
        };
        for &device in attached.union(&stale).filter(|device| !wanted.contains(device)) {
            match self.dataplane.detach_pod(device) {
                Ok(()) => tracing::info!(device, "detached a device that is no pod's"),
                Err(failure) => tracing::warn!(device, %failure, "cannot detach a device"),
            }
        }
    }

    fn device_of(&self, name: &AttachmentName) -> Option<u32> {
        let name = key(name);
        self.state.attachments().find(|(known, _)| **known == name).map(|(_, attachment)| attachment.pod.ifindex)
    }
}

fn key(name: &AttachmentName) -> Arc<str> {
    format!("{}/{}", name.container_id, name.ifname).into()
}

fn attachment(record: &protocol::Attachment) -> Attachment {
    Attachment {
        addresses: record.addresses.iter().map(|address| Address::from(*address)).collect(),
        pod: Pod { ifindex: record.host_ifindex, pod_mac: record.pod_mac.0, host_mac: record.host_mac.0 },
    }
}

fn refusal(reason: Reason, message: impl ToString) -> Refusal {
    Refusal { reason, message: message.to_string() }
}

/// The one who asked may have gone; that is its own business.
fn answer(reply: Reply, outcome: Result<(), Refusal>) {
    let _ = reply.send(outcome);
}

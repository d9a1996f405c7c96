//! The one writer of the maps: takes what is queued, has it compiled, applies the plan, answers those who waited for it.
//!
//! It runs on a thread of its own, since the data plane blocks. There are no timers for batching: while one plan is being written,
//! the next changes queue up and become the next plan. Services are written only after the first complete lists, so that a restart
//! never removes what it has merely not seen yet.

use crate::attachments::{self, Record};
use crate::collector::Alarm;
use crate::dataplane::{Dataplane, FailedStep, Failure};
use crate::health_check::Health;
use crate::metrics::Metrics;
use crate::room::{self, Room};
use orknet_cni::protocol::{self, AgentStatus, AttachmentName, Reason, Refusal};
use orknet_compiler::{Attachment, Change, ObjectName, Options, Plan, State, Step};
use orknet_dataplane::Use;
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

/// Most messages that one plan takes.
const BATCH: usize = 4096;
/// Failed steps that are logged of one plan.
const LOGGED_FAILURES: usize = 5;
/// Why a pod is not programmed, where no step says why.
const NO_ENTRIES: &str = "the maps do not lead to the pod";
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
    /// The devices that lead to the network.
    Network(BTreeSet<u32>),
    /// Which of these lead to backends that are gone?
    AskGone(BTreeSet<Use>, oneshot::Sender<BTreeSet<Use>>),
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
    /// Rung when endpoints may be gone.
    alarm: Alarm,
    health: watch::Sender<Health>,
    room: watch::Sender<Room>,
    services_listed: bool,
    slices_listed: bool,
    node_known: bool,
    /// What all Nodes mean for the programs is known.
    settings_known: bool,
    /// The devices that lead to the network, once they are known.
    network: Option<BTreeSet<u32>>,
    /// Every plan since the last failure is in the kernel.
    is_applied: bool,
    /// The state knows what the kernel holds. After a failure it does not, until the maps have been read.
    is_image_known: bool,
    was_synced: bool,
    /// No hooks of another version are left.
    others_retired: bool,
    resync: Duration,
    retry: Duration,
}

/// Who hears from the programmer without having asked.
pub struct Listeners {
    pub alarm: Alarm,
    pub health: watch::Sender<Health>,
    pub room: watch::Sender<Room>,
}

/// Those who wait for the plan in the making.
#[derive(Default)]
struct Waiting {
    attached: Vec<(AttachmentName, Reply)>,
    detached: Vec<(BTreeSet<u32>, Reply)>,
    /// Devices of pods that had to go without being detached.
    abandoned: BTreeSet<u32>,
    seen: Vec<Instant>,
    /// An endpoint may be gone.
    is_alarming: bool,
}

impl Programmer {
    /// Begins with what the kernel holds and the pods that the CNI plugin's records name.
    pub fn new(
        dataplane: Arc<dyn Dataplane>,
        metrics: Arc<Metrics>,
        records: &[Record],
        options: Options,
        listeners: Listeners,
        resync: Duration,
    ) -> Result<Self, crate::Error> {
        let mut state = State::default();
        state.note(Change::Options(options));
        state.adopt(dataplane.image()?);
        let mut programmer = Self {
            state,
            dataplane,
            metrics,
            alarm: listeners.alarm,
            health: listeners.health,
            room: listeners.room,
            settings_known: false,
            network: None,
            services_listed: false,
            slices_listed: false,
            node_known: false,
            is_applied: true,
            is_image_known: true,
            was_synced: false,
            others_retired: false,
            resync,
            retry: FIRST_RETRY,
        };
        for record in records {
            let facts = record.facts(programmer.state.image());
            programmer.state.note(Change::Attachment(key(record.name()), Some(facts)));
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
                    if !self.is_applied {
                        self.retry = (self.retry * 2).min(self.resync);
                        self.program(Waiting::default());
                    }
                    if tokio::time::Instant::now() >= next_resync {
                        self.compare();
                        next_resync = tokio::time::Instant::now() + self.resync;
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
                    self.settings_known |= matches!(change, Change::Settings(_));
                    waiting.is_alarming |= matches!(change, Change::Service(..) | Change::Slice(..));
                    self.state.note(change);
                    waiting.seen.push(seen);
                }
                Message::ServicesListed(names) => {
                    self.state.retain_services(&names);
                    self.services_listed = true;
                    waiting.is_alarming = true;
                }
                Message::SlicesListed(names) => {
                    self.state.retain_slices(&names);
                    self.slices_listed = true;
                    waiting.is_alarming = true;
                }
                Message::Network(devices) => {
                    let is_new = self.network.as_ref() != Some(&devices);
                    self.network = Some(devices);
                    if is_new {
                        self.keep_network();
                    }
                }
                Message::AskGone(uses, reply) => drop(reply.send(self.gone(uses))),
                Message::Attach(record, reply) => self.attach(&record, reply, &mut waiting),
                Message::Detach(name, reply) => {
                    let devices = self.note_pod(&name, None);
                    waiting.detached.push((devices, reply));
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
                // The plugin gives an address to one pod at a time: who had it before is gone, even if nobody told us.
                let abandoned = self.note_pod(&record.attachment, Some(attachments::facts(record)));
                waiting.abandoned.extend(abandoned);
                waiting.attached.push((record.attachment.clone(), reply));
            }
            Err(failure) => answer(reply, Err(refusal(Reason::Failed, failure))),
        }
    }

    /// Takes note of a pod; the devices that are no pod's from now on.
    fn note_pod(&mut self, name: &AttachmentName, facts: Option<Attachment>) -> BTreeSet<u32> {
        let before = self.devices();
        self.state.note(Change::Attachment(key(name), facts));
        before.difference(&self.devices()).copied().collect()
    }

    fn check(&self, name: &AttachmentName) -> Result<(), Refusal> {
        let known = self.state.attachment(&key(name)).ok_or_else(|| refusal(Reason::NotFound, "the pod is not attached"))?;
        let devices = self.dataplane.pod_devices().map_err(|failure| refusal(Reason::Failed, failure))?;
        if !devices.contains(&known.pod.ifindex) {
            return Err(refusal(Reason::NotFound, "the pod's device has no programs"));
        }
        if self.leads_to(known) { Ok(()) } else { Err(refusal(Reason::NotFound, NO_ENTRIES)) }
    }

    /// Whether the kernel is known to hold what a pod needs.
    fn leads_to(&self, pod: &Attachment) -> bool {
        let pods = &self.state.image().pods;
        self.is_image_known && !pod.addresses.is_empty() && pod.entries().all(|(key, value)| pods.get(&key) == Some(&value))
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
        self.services_listed && self.slices_listed && self.node_known && self.settings_known
    }

    /// Which of these lead to backends that are no endpoints of their Service any more. Before all endpoints are known, none.
    fn gone(&self, uses: BTreeSet<Use>) -> BTreeSet<Use> {
        if !self.is_synced() {
            return BTreeSet::new();
        }
        uses.into_iter().filter(|used| !self.state.leads(used.front, used.front_port_be, used.protocol, used.backend)).collect()
    }

    /// Tells which maps are full, once everything that should be in them has been tried.
    fn tell_room(&self, failures: &[FailedStep]) {
        if !self.is_synced() {
            return;
        }
        let full = room::missing(failures, |key| self.state.service_of(key).cloned());
        self.metrics.count_missing(&full);
        self.room.send_if_modified(|room| {
            let is_new = room.as_ref() != Some(&full);
            *room = Some(full);
            is_new
        });
    }

    /// Tells whoever answers health checks what has changed.
    fn tell_health(&mut self) {
        let is_healthy = self.is_synced() && self.is_applied;
        let checks = self.state.take_health_checks();
        self.health.send_if_modified(|health| {
            let was = std::mem::replace(&mut health.is_healthy, is_healthy);
            let is_new = checks.is_some();
            health.checks = checks.unwrap_or_else(|| std::mem::take(&mut health.checks));
            is_new || was != is_healthy
        });
    }

    /// Packets from the network meet programs only when the maps are complete: then these decide about all of them.
    fn keep_network(&self) {
        let Some(devices) = self.network.as_ref().filter(|_| self.was_synced) else { return };
        for failure in self.dataplane.keep_network_devices(devices) {
            tracing::warn!(%failure, "the programs for the network are not where they should be; trying again");
        }
    }

    /// Compiles and writes, then answers.
    fn program(&mut self, waiting: Waiting) {
        match self.read_back() {
            Ok(()) => {
                let plan = if self.is_synced() { self.state.plan() } else { self.state.plan_attachments() };
                let failures = self.write(&plan);
                self.tell_room(&failures);
                self.settle(waiting, &plan, &failures);
            }
            Err(failure) => waiting.refuse(&failure),
        }
        self.metrics.services.set(self.state.service_count() as i64);
        self.metrics.attachments.set(self.state.attachments().count() as i64);
        self.metrics.synced.set(i64::from(self.is_synced() && self.is_applied));
        self.tell_health();
    }

    /// After a failure only the kernel knows what it holds, and nothing is planned before it has said so.
    fn read_back(&mut self) -> Result<(), Failure> {
        if !self.is_image_known {
            let image = self.dataplane.image().inspect_err(|failure| tracing::error!(%failure, "cannot read the maps; trying again"))?;
            self.state.adopt(image);
            self.is_image_known = true;
        }
        Ok(())
    }

    /// Answers those who waited for a plan that has been written.
    fn settle(&mut self, waiting: Waiting, plan: &Plan, failures: &[FailedStep]) {
        let now = Instant::now();
        if self.is_synced() {
            waiting.seen.iter().for_each(|seen| self.metrics.programming.observe((now - *seen).as_secs_f64()));
            if !std::mem::replace(&mut self.was_synced, true) {
                let (services, steps, failed) = (self.state.service_count(), plan.steps.len(), failures.len());
                tracing::info!(services, steps, failed, "all Services are known; the maps follow them");
                self.keep_network();
                self.retire_other_versions();
                // What a former run left may lead to what is gone since.
                self.alarm.ring();
            }
            if waiting.is_alarming {
                self.alarm.ring();
            }
        }
        for (name, reply) in waiting.attached {
            answer(reply, self.outcome_of(&name, failures));
        }
        if let Err(failure) = self.release(&waiting.abandoned) {
            tracing::warn!(%failure, "cannot detach a device that is no pod's any more");
        }
        for (devices, reply) in waiting.detached {
            answer(reply, self.release(&devices).map_err(|failure| refusal(Reason::Failed, failure)));
        }
    }

    /// Takes the programs from devices that are no pod's, once the maps no longer send packets to them.
    fn release(&self, devices: &BTreeSet<u32>) -> Result<(), Failure> {
        let is_target = |device: u32| self.state.image().pods.values().any(|pod| pod.ifindex == device);
        for &device in devices.difference(&self.devices()) {
            if !self.is_image_known || is_target(device) {
                return Err(Failure(format!("the maps may still lead to device {device}")));
            }
            self.dataplane.detach_pod(device)?;
        }
        Ok(())
    }

    /// Hooks of another version translate by maps that nobody writes any more.
    fn retire_other_versions(&mut self) {
        match self.dataplane.retire_other_versions() {
            Ok(()) => self.others_retired = true,
            Err(failure) => tracing::warn!(%failure, "cannot remove the pins of another version; trying again"),
        }
    }

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
        (self.is_applied, self.is_image_known) = (false, false);
        // At once, for those who wait. If it fails, the next plan tries again.
        let _ = self.read_back();
        failures
    }

    fn outcome_of(&self, name: &AttachmentName, failures: &[FailedStep]) -> Result<(), Refusal> {
        let known = self.state.attachment(&key(name)).ok_or_else(|| {
            // A detach of the same pod, or another pod with its address, was in the same batch.
            refusal(Reason::NotFound, "the pod was detached meanwhile")
        })?;
        if self.leads_to(known) {
            return Ok(());
        }
        let own = |failure: &&FailedStep| matches!(failure.step, Step::PutPod(key, _) if known.addresses.contains(&key.address));
        Err(refusal(Reason::Failed, failures.iter().find(own).map_or(NO_ENTRIES, |failure| &failure.why)))
    }

    /// Level-triggered: what the kernel holds is compared with what it should hold, whatever may have happened to it.
    fn compare(&mut self) {
        if self.was_synced && !self.others_retired {
            self.retire_other_versions();
        }
        self.forget_gone_pods();
        self.restore_devices();
        self.keep_network();
        if !self.is_applied {
            // They are being written anyway.
            return;
        }
        match self.dataplane.holds(self.state.image()) {
            Ok(true) => {}
            Ok(false) => self.repair(),
            Err(failure) => tracing::error!(%failure, "cannot read the maps"),
        }
    }

    fn repair(&mut self) {
        tracing::warn!("the maps differ from what was written; repairing");
        self.metrics.repairs.inc();
        (self.is_applied, self.is_image_known) = (false, false);
        self.program(Waiting::default());
    }

    /// A pod whose device is gone is gone with it, even if nobody could tell us: its DEL may have come while no agent was there.
    fn forget_gone_pods(&mut self) {
        let present = match attachments::device_indices() {
            Ok(present) => present,
            Err(error) => return tracing::warn!(%error, "cannot read which devices there are"),
        };
        let gone = self.state.attachments().filter(|(_, pod)| !present.contains(&pod.pod.ifindex));
        let gone: Vec<_> = gone.map(|(name, _)| Arc::clone(name)).collect();
        if gone.is_empty() {
            return;
        }
        for name in gone {
            tracing::info!(pod = &*name, "the device of a pod is gone; forgetting the pod");
            self.state.note(Change::Attachment(name, None));
        }
        self.program(Waiting::default());
    }

    /// Every attachment has its programs, and nothing else has.
    fn restore_devices(&self) {
        let wanted = self.devices();
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

    /// The pods' devices.
    fn devices(&self) -> BTreeSet<u32> {
        self.state.attachments().map(|(_, attachment)| attachment.pod.ifindex).collect()
    }
}

impl Waiting {
    /// Nothing could be planned for them. (What happened is tried again all the same.)
    fn refuse(self, failure: &Failure) {
        let attached = self.attached.into_iter().map(|(_, reply)| reply);
        for reply in attached.chain(self.detached.into_iter().map(|(_, reply)| reply)) {
            answer(reply, Err(refusal(Reason::Failed, failure)));
        }
    }
}

fn key(name: &AttachmentName) -> Arc<str> {
    format!("{}/{}", name.container_id, name.ifname).into()
}

fn refusal(reason: Reason, message: impl ToString) -> Refusal {
    Refusal { reason, message: message.to_string() }
}

/// The one who asked may have gone; that is its own business.
fn answer(reply: Reply, outcome: Result<(), Refusal>) {
    let _ = reply.send(outcome);
}

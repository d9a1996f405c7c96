//! The one writer of the maps: takes what is queued, has it compiled, applies the plan, answers those who waited for it.
//!
//! It runs on a thread of its own, since the data plane blocks. There are no timers for batching: while one plan is being written,
//! the next changes queue up and become the next plan. Services are written only after the first complete lists, so that a restart
//! never removes what it has merely not seen yet.

mod first_rules;
mod held;
mod known;
mod opened;
mod pods;
mod tell;

use crate::attachments::Record;
use crate::dataplane::{Cause, Dataplane, FailedStep, Failure};
use crate::metrics::Metrics;
use crate::monitor::{self, Explainer, Happened, RuleName, Seen};
use crate::progress::{Failed, Kind, OF_POLICIES, OF_SERVICES, Versions};
use crate::purger::Purger;
use orknet_abi::policy_kind;
use orknet_cni::protocol::{self, AgentStatus, AttachmentName, Reason, Refusal};
use orknet_compiler::{Change, Options, Plan, State, Step};
use orknet_dataplane::Use;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use first_rules::Ruled;
use held::HeldPods;
pub use known::Listed;
use known::{Part, Unseen};
use opened::OpenFlows;
pub use tell::Listeners;

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
    /// A fact changed; `seen` is when the event came in. With it all of its kind is known up to `version`, unless that is 0.
    Change { change: Change, seen: Instant, version: u64 },
    /// The objects of a kind have been listed completely; the highest version among them.
    Listed(Listed, u64),
    /// Watching a kind failed: until it goes on, there may be objects of it that nobody has seen.
    Behind(Kind),
    /// It goes on: all that there is has been seen, or comes now.
    Abreast(Kind),
    /// The devices that lead to the network.
    Network(BTreeSet<u32>),
    /// Which of these lead to backends that are gone?
    AskGone(BTreeSet<Use>, oneshot::Sender<BTreeSet<Use>>),
    /// What do these events of the named node mean?
    Explain(Vec<Seen>, Arc<str>, oneshot::Sender<Vec<Happened>>),
    /// Which rules are in the maps?
    NameRules(oneshot::Sender<BTreeMap<u32, RuleName>>),
    /// A pod is to be programmed.
    Attach(protocol::Attachment, Reply),
    /// Is it programmed?
    Check(AttachmentName, Reply),
    /// A pod is to be forgotten.
    Detach(AttachmentName, Reply),
    /// How is it going?
    Status(oneshot::Sender<AgentStatus>),
    /// What is it that has not been seen, or written, since the agent started? In words.
    Missing(oneshot::Sender<String>),
}

impl Message {
    /// Whether it only asks: nothing is to be written for it. Such questions come as often as packets are dropped.
    fn is_question(&self) -> bool {
        matches!(self, Self::Explain(..) | Self::NameRules(_) | Self::AskGone(..) | Self::Check(..) | Self::Status(_) | Self::Missing(_))
    }

    /// Whether there may be something to write for it. (That a watch fails, or goes on, is told.)
    fn is_news(&self, state: &State) -> bool {
        match self {
            Self::Change { change, .. } => !state.knows(change),
            Self::Behind(_) | Self::Abreast(_) => false,
            _ => !self.is_question(),
        }
    }
}

/// State, kernel, and what has been seen of the cluster.
pub struct Programmer {
    state: State,
    dataplane: Arc<dyn Dataplane>,
    metrics: Arc<Metrics>,
    listeners: Listeners,
    unseen: Unseen,
    /// Kinds that policies depend on and whose watch fails.
    behind: BTreeSet<Kind>,
    /// Network policies count on this node.
    has_policies: bool,
    /// Pods that are to be attached once it is known which policies hold for them.
    held: HeldPods,
    /// What has been taken note of, by kind.
    noted: Versions,
    /// The versions of lists that were lower than what had been noted, until that is told.
    lowered: Versions,
    /// The devices that lead to the network, once they are known.
    network: Option<BTreeSet<u32>>,
    /// Every plan since the last failure is in the kernel.
    is_applied: bool,
    /// The kernel refused what it has room for.
    is_refused: bool,
    /// The state knows what the kernel holds. After a failure for anything but want of room it does not, until the maps have been read.
    is_image_known: bool,
    was_synced: bool,
    /// No hooks of another version are left.
    others_retired: bool,
    /// Pods whose records cannot be read.
    broken: BTreeSet<Arc<str>>,
    /// The pods' devices that have no programs of ours, or not all, and why.
    bare: BTreeMap<u32, String>,
    /// The pods that have rules in the kernel.
    ruled: Ruled,
    /// The files of pods' network namespaces, by device.
    namespaces: BTreeMap<u32, PathBuf>,
    purger: Purger,
    open_flows: OpenFlows,
    explainer: Explainer,
    resync: Duration,
    retry: Duration,
    /// When what failed is tried again although nothing is new.
    retry_at: Option<Instant>,
    /// The objects that are not in force since the last plan.
    failed: Failed,
}

/// Those who wait for the plan in the making.
#[derive(Default)]
struct Waiting {
    attached: Vec<(AttachmentName, Reply)>,
    detached: Vec<(BTreeSet<u32>, Reply)>,
    /// Devices of pods that are being attached.
    new_devices: BTreeSet<u32>,
    /// Devices of pods that had to go without being detached.
    abandoned: BTreeSet<u32>,
    seen: Vec<Instant>,
    /// The same of policies, and of those whom they speak of.
    policies_seen: Vec<Instant>,
    /// An endpoint may be gone.
    is_alarming: bool,
    /// Something may have to be written for it.
    has_news: bool,
}

impl Programmer {
    /// Begins with what the kernel holds and the pods that the CNI plugin's records name.
    pub fn new(
        dataplane: Arc<dyn Dataplane>,
        metrics: Arc<Metrics>,
        records: &[Record],
        options: Options,
        has_policies: bool,
        listeners: Listeners,
        resync: Duration,
    ) -> Result<Self, crate::Error> {
        let mut state = State::default();
        state.note(Change::Options(options));
        if !has_policies {
            state.policies_known();
        }
        state.adopt(dataplane.image()?);
        let (of_flows, counts) = (Arc::clone(&dataplane), Arc::clone(&metrics));
        let (of_sockets, of_datagrams) = (Arc::clone(&dataplane), Arc::clone(&dataplane));
        let mut programmer = Self {
            broken: records.iter().filter(|record| matches!(record, Record::Broken { .. })).map(|record| key(record.name())).collect(),
            bare: BTreeMap::new(),
            ruled: first_rules::ruled(state.image()),
            namespaces: records.iter().filter_map(|record| Some((record.device(), record.namespace()?))).collect(),
            purger: Purger::start(move |addresses| of_flows.forget_flows_of(addresses).inspect(|entries| counts.count_purged(*entries))),
            open_flows: OpenFlows::start(
                Box::new(move |pod, rules| of_sockets.note_open_flows(pod, rules)),
                Box::new(move |pods| of_datagrams.hold_datagrams(pods)),
                opened::HELD_FOR,
            ),
            state,
            dataplane,
            metrics,
            listeners,
            unseen: Unseen::new(has_policies),
            behind: BTreeSet::new(),
            has_policies,
            held: HeldPods::default(),
            noted: Versions::new(),
            lowered: Versions::new(),
            explainer: Explainer::default(),
            network: None,
            is_applied: true,
            is_refused: false,
            is_image_known: true,
            was_synced: false,
            others_retired: false,
            resync,
            retry: FIRST_RETRY,
            retry_at: None,
            failed: Failed::default(),
        };
        for record in records {
            let facts = record.facts(programmer.state.image(), has_policies);
            programmer.state.note(Change::Attachment(key(record.name()), Some(facts)));
        }
        // Maps first: over new maps (another version's, after an upgrade) programs would take what these pods send for a stranger's.
        programmer.program(Waiting::default());
        programmer.restore_devices();
        Ok(programmer)
    }

    /// Whether there are rules of ClusterNetworkPolicies in the maps.
    pub fn holds_cluster_policies(&self) -> bool {
        self.state.image().rules.values().any(|rule| rule.kind == policy_kind::CLUSTER_NETWORK_POLICY)
    }

    /// Works until the shutdown or until nobody can send any more.
    pub async fn run(mut self, mut messages: mpsc::Receiver<Message>, shutdown: CancellationToken) {
        let mut batch = Vec::new();
        let mut next_resync = tokio::time::Instant::now() + self.resync;
        loop {
            let retry_at = self.retry_at.map(tokio::time::Instant::from_std);
            let held_until = self.held.until().map(tokio::time::Instant::from_std);
            let wake = [retry_at, held_until].into_iter().flatten().fold(next_resync, tokio::time::Instant::min);
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                count = messages.recv_many(&mut batch, BATCH) => {
                    if count == 0 {
                        return;
                    }
                    let asks_only = batch.iter().all(Message::is_question);
                    let waiting = self.take(batch.drain(..));
                    // What failed is tried again with everything that is new, but else not before its time: it may cost a look at all maps.
                    if waiting.has_news || self.retry_at.is_some_and(|at| at <= Instant::now()) {
                        self.program(waiting);
                    } else if !asks_only {
                        self.settle_known();
                    }
                }
                () = tokio::time::sleep_until(wake) => {
                    let now = tokio::time::Instant::now();
                    if held_until.is_some_and(|until| until <= now) {
                        let mut waiting = Waiting::default();
                        self.settle_held(now.into_std(), &mut waiting);
                        self.program(waiting);
                    }
                    if self.retry_at.is_some_and(|at| at <= now.into_std()) {
                        self.program(Waiting::default());
                    }
                    if now >= next_resync {
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
            let is_news = message.is_news(&self.state);
            waiting.has_news |= is_news;
            match message {
                Message::Change { change, seen, version } => {
                    self.note_change(change, is_news.then_some(seen), version, &mut waiting);
                }
                Message::Listed(listed, version) => {
                    waiting.is_alarming |= matches!(listed, Listed::Services(_) | Listed::Slices(_));
                    self.note_list_version(listed.kind(), version);
                    self.note_listed(listed);
                }
                Message::Behind(kind) => {
                    if self.behind.insert(kind) {
                        tracing::warn!(kind = kind.name(), "no newer policy counts as programmed on this node while watching fails");
                    }
                }
                Message::Abreast(kind) => _ = self.behind.remove(&kind),
                Message::Network(devices) => {
                    let is_new = self.network.as_ref() != Some(&devices);
                    self.network = Some(devices);
                    if is_new {
                        self.keep_network();
                    }
                }
                Message::AskGone(uses, reply) => drop(reply.send(self.gone(uses))),
                Message::Explain(seen, node, reply) => {
                    let ask = |files: &[PathBuf]| self.dataplane.namespace_cookies(files);
                    let explained = self.explainer.explain(&seen, &self.state, &node, &self.namespaces, &ask);
                    drop(reply.send(explained));
                }
                Message::NameRules(reply) => drop(reply.send(monitor::name_rules(&self.state))),
                Message::Attach(record, reply) => self.attach_once_known(record, reply, &mut waiting),
                Message::Detach(name, reply) => {
                    self.drop_held(&name);
                    let devices = self.note_pod(&name, None);
                    waiting.detached.push((devices, reply));
                }
                Message::Check(name, reply) => answer(reply, self.check(&name)),
                Message::Status(reply) => drop(reply.send(self.status())),
                Message::Missing(reply) => drop(reply.send(self.unseen.words())),
            }
        }
        self.settle_held(Instant::now(), &mut waiting);
        // Until all has been seen, what is no news may be the last of it.
        waiting.has_news |= !self.was_synced || !waiting.attached.is_empty() || !waiting.abandoned.is_empty();
        waiting
    }

    /// `seen` is `None` of what changes nothing: how long that takes, nobody waits for.
    fn note_change(&mut self, change: Change, seen: Option<Instant>, version: u64, waiting: &mut Waiting) {
        match &change {
            Change::Node(_) => self.unseen.see(Part::Node),
            Change::Settings(_) => self.unseen.see(Part::Settings),
            Change::Service(..) | Change::Slice(..) => {
                waiting.is_alarming = true;
                self.explainer.forget_services();
            }
            _ => {}
        }
        let kind = Kind::of(&change);
        let is_of_policy = !matches!(kind, None | Some(Kind::Service | Kind::EndpointSlice));
        if is_of_policy { &mut waiting.policies_seen } else { &mut waiting.seen }.extend(seen);
        self.note_version(kind, version);
        self.state.note(change);
    }

    /// What a kind's changes say of its version, which grows with them.
    fn note_version(&mut self, kind: Option<Kind>, version: u64) {
        if let Some(kind) = kind.filter(|_| version > 0) {
            let noted = self.noted.entry(kind).or_default();
            *noted = version.max(*noted);
        }
    }

    /// A list is the whole truth of its kind, so its version counts alone (0: nothing is known of it). It is lower than what was seen after
    /// the server's data was set back, or from a server that lags behind: versions above it are given to other changes then.
    fn note_list_version(&mut self, kind: Option<Kind>, version: u64) {
        let Some(kind) = kind else { return };
        let before = if version > 0 { self.noted.insert(kind, version) } else { self.noted.remove(&kind) };
        if before.is_some_and(|before| version < before) {
            let lowered = self.lowered.entry(kind).or_insert(version);
            *lowered = version.min(*lowered);
        }
    }

    fn status(&self) -> AgentStatus {
        AgentStatus {
            synced: self.is_synced(),
            programmed: self.is_synced() && self.is_applied && self.bare.is_empty(),
            addressed: self.unseen.is_known(Part::Node),
            attachments: self.state.attachments().count(),
        }
    }

    fn is_synced(&self) -> bool {
        self.unseen.is_empty()
    }

    /// Compiles and writes, then answers.
    fn program(&mut self, waiting: Waiting) {
        match self.read_back() {
            Ok(()) => {
                let plan = if self.is_synced() { self.state.plan() } else { self.state.plan_attachments() };
                let mut ruled = self.pods_with_first_rules(&plan, &waiting.new_devices);
                self.open_flows.prepare(&mut ruled, opened::PATIENCE);
                let failures = self.write(&plan);
                self.open_flows.follow(ruled);
                self.tell_room(&failures);
                self.tell_fronts(&plan);
                // Pods' devices get their programs over the first complete plan.
                self.settle(waiting, &plan, &failures);
                self.tell_progress();
            }
            Err(failure) => {
                self.put_off();
                waiting.refuse(&failure);
                // Whatever came in is in no plan.
                self.failed.hold_up(OF_SERVICES.into_iter().chain(OF_POLICIES), Some(&format!("the maps cannot be read: {failure}")));
                self.tell_progress();
            }
        }
        self.metrics.services.set(self.state.service_count() as i64);
        self.metrics.attachments.set(self.state.attachments().count() as i64);
        self.metrics.synced.set(i64::from(self.is_synced() && self.is_applied));
        self.tell_health();
    }

    /// Where only the kernel knows what it holds, nothing is planned before it has said so.
    fn read_back(&mut self) -> Result<(), Failure> {
        if !self.is_image_known {
            let image = self.dataplane.image().inspect_err(|failure| tracing::error!(%failure, "cannot read the maps; trying again"))?;
            self.state.adopt(image);
            self.ruled = first_rules::ruled(self.state.image());
            self.is_image_known = true;
        }
        Ok(())
    }

    /// What came in says nothing new, so it is in the maps as far as that which was known is. (That was planned, unless the maps cannot be read.)
    fn settle_known(&mut self) {
        if self.is_synced() && self.is_image_known {
            self.tell_progress();
        }
    }

    fn observe(&self, waiting: &Waiting) {
        let now = Instant::now();
        let seconds = |seen: &Instant| (now - *seen).as_secs_f64();
        waiting.seen.iter().for_each(|seen| self.metrics.programming.observe(seconds(seen)));
        waiting.policies_seen.iter().for_each(|seen| self.metrics.policy_programming.observe(seconds(seen)));
    }

    /// Answers those who waited for a plan that has been written.
    fn settle(&mut self, waiting: Waiting, plan: &Plan, failures: &[FailedStep]) {
        if self.is_synced() {
            self.observe(&waiting);
            if !std::mem::replace(&mut self.was_synced, true) {
                let (services, steps, failed) = (self.state.service_count(), plan.steps.len(), failures.len());
                tracing::info!(services, steps, failed, "all Services are known; the maps follow them");
                // Those that had to wait for their entries, before other programs go.
                self.restore_devices();
                self.keep_network();
                // What a former run left may lead to what is gone since.
                self.listeners.alarm.ring();
                self.listeners.synced.send_replace(true);
            }
            if waiting.is_alarming {
                self.listeners.alarm.ring();
            }
        }
        for (name, reply) in waiting.attached {
            match self.outcome_of(&name, failures) {
                Ok(addresses) => self.purge_then_answer(addresses, reply),
                Err(refusal) => answer(reply, Err(refusal)),
            }
        }
        if let Err(failure) = self.release(&waiting.abandoned) {
            tracing::warn!(%failure, "cannot detach a device that is no pod's any more");
        }
        for (devices, reply) in waiting.detached {
            answer(reply, self.release(&devices).map_err(|failure| refusal(Reason::Failed, failure)));
        }
    }

    fn write(&mut self, plan: &Plan) -> Vec<FailedStep> {
        let failures = if plan.is_empty() { Vec::new() } else { self.dataplane.apply(plan) };
        self.metrics.steps.inc_by((plan.steps.len() - failures.len().min(plan.steps.len())) as u64);
        self.metrics.failures.inc_by(failures.len() as u64);
        for failure in failures.iter().take(LOGGED_FAILURES) {
            tracing::error!(why = failure.why, "a map was not written");
        }
        self.is_refused = failures.iter().any(|failure| failure.cause == Cause::Refused);
        self.failed = self.failed_objects(&failures);
        if failures.is_empty() {
            (self.is_applied, self.retry, self.retry_at) = (true, FIRST_RETRY, None);
            self.follow_ruled(plan);
            return failures;
        }
        tracing::error!(failed = failures.len(), steps = plan.steps.len(), "the maps are not complete; trying again");
        self.is_applied = false;
        self.put_off();
        // What finds no room finds none for long. Meanwhile changes must not cost a look at all of the maps.
        self.is_image_known = !self.is_refused && self.state.take_back(failures.iter().map(|failure| &failure.step));
        self.follow_ruled(plan);
        // At once, for those who wait. If it fails, the next plan tries again.
        let _ = self.read_back();
        failures
    }

    /// Which pods have rules, after a plan as far as it is in the kernel.
    fn follow_ruled(&mut self, plan: &Plan) {
        if plan.steps.iter().any(|step| matches!(step, Step::PutPod(..) | Step::DeletePod(_))) {
            self.ruled = first_rules::ruled(self.state.image());
        }
    }

    /// Something failed: it has its time, however often it is tried before.
    fn put_off(&mut self) {
        let now = Instant::now();
        match self.retry_at {
            Some(at) if at > now => return,
            Some(_) => self.retry = (self.retry * 2).min(self.resync),
            None => {}
        }
        self.retry_at = Some(now + self.retry);
    }

    /// Level-triggered: what the kernel holds is compared with what it should hold, whatever may have happened to it.
    fn compare(&mut self) {
        self.forget_gone_pods();
        let bare = self.bare.clone();
        self.restore_devices();
        if self.bare != bare {
            self.tell_progress();
        }
        self.keep_network();
        if !self.is_image_known {
            // They are being read anyway.
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

//! Work that one process of several may do at a time: leader election by a Lease, as client-go's `leaderelection` does it, so that `kubectl get
//! leases -n kube-system` shows what people know. `elector.rs` decides, this file reads and writes, `gate.rs` holds the workers' writes back
//! when the term is over.
//!
//! What is not promised (nor by client-go): a write that a server had in hand when its sender's term ended may be carried out later. A term that
//! is lost rather than given back ends `lease_duration - renew_deadline` before the next one can begin, which is the time that such a write has.

mod elector;
mod gate;
#[cfg(test)]
mod simulation;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client};
use tokio_util::sync::CancellationToken;

use crate::{EventType, Recorder, SharedInformers, is_already_exists, is_conflict, is_not_found};
use elector::{Claim, Elector, Record};
use gate::{Deadline, Gate};

pub use elector::Timing;
pub use gate::Leadership;

/// Where the Leases of the control plane are.
const NAMESPACE: &str = "kube-system";
/// Most that is added to the pause between two tries to acquire, in parts of the pause: candidates do not all come at once.
const JITTER: f64 = 0.2;

/// One candidate of an election.
pub struct Election {
    /// The Lease's name, in `kube-system`; also the name in Events.
    pub lease: &'static str,
    /// No two candidates may have the same.
    pub identity: String,
    pub timing: Timing,
    /// Where others may ask whether this candidate leads.
    pub leadership: Leadership,
}

/// A name for a candidate, different each time: the host's with a random part, as the holder is called in Kubernetes.
pub fn identity() -> String {
    format!("{}_{:032x}", crate::recorder::host_name(), rand::random::<u128>())
}

impl Election {
    /// Does `work` whenever this candidate leads, until `shutdown`. `work` gets watches (and with them a client) of the term and a token that ends
    /// with it; it must end soon after the token, and begins anew with the next term: nothing that was read before another led is believed. At
    /// shutdown the Lease is given back when all writes of the term have ended.
    ///
    /// # Errors
    /// That of `work`, with which the candidate withdraws. Failures to reach the API are tried again for ever.
    pub async fn lead<E, F>(
        self,
        client: &Client,
        shutdown: CancellationToken,
        work: impl Fn(SharedInformers, CancellationToken) -> F,
    ) -> Result<(), E>
    where
        F: Future<Output = Result<(), E>>,
    {
        let recorder = Recorder::start(client.clone(), self.lease, shutdown.clone());
        let mut candidate = Candidate::new(client, self);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                () = candidate.acquire() => {}
            }
            candidate.begun(&recorder);
            let term = shutdown.child_token();
            let gate = Gate::new(candidate.deadline.clone());
            let informers = SharedInformers::new(gate.client(client), term.clone());
            let mut running = pin!(async {
                work(informers.clone(), term.clone()).await?;
                informers.stopped().await;
                Ok(())
            });
            let ended = tokio::select! {
                ended = &mut running => Some(ended),
                () = candidate.renew() => None,
                () = shutdown.cancelled() => None,
            };
            gate.close();
            term.cancel();
            let is_last = ended.is_some() || shutdown.is_cancelled();
            // Within what is left of the term, so that the Lease can be given back.
            let left = candidate.deadline.left();
            let mut stopping = pin!(async {
                let ended = match ended {
                    Some(ended) => ended,
                    None => running.await,
                };
                gate.drained().await;
                ended
            });
            let stopped = match tokio::time::timeout(left, &mut stopping).await {
                Ok(ended) => Some(ended),
                Err(_) => {
                    gate.give_up();
                    if is_last { None } else { Some(stopping.await) }
                }
            };
            candidate.ended(&recorder, is_last).await;
            match stopped {
                Some(Ok(())) | None if !is_last => {}
                stopped => return stopped.unwrap_or(Ok(())),
            }
        }
    }
}

/// A candidate with its way to the Lease.
struct Candidate {
    election: Election,
    api: Api<Lease>,
    elector: Elector,
    /// The Lease as last read or written.
    lease: Option<Lease>,
    deadline: Arc<Deadline>,
    /// Who was last logged to lead.
    reported: String,
}

impl Candidate {
    fn new(client: &Client, election: Election) -> Self {
        let elector = Elector::new(election.identity.clone(), election.timing);
        let api = Api::namespaced(client.clone(), NAMESPACE);
        let deadline = election.leadership.deadline.clone();
        Self { election, api, elector, lease: None, deadline, reported: String::new() }
    }

    /// Tries until this candidate leads.
    async fn acquire(&mut self) {
        loop {
            self.attempt().await;
            if self.elector.leads(self.deadline.now()) {
                return;
            }
            self.report();
            tokio::time::sleep(self.election.timing.retry_period.mul_f64(1.0 + JITTER * rand::random::<f64>())).await;
        }
    }

    /// Renews until this candidate leads no more.
    async fn renew(&mut self) {
        while !self.deadline.left().is_zero() {
            tokio::time::sleep(self.election.timing.retry_period.min(self.deadline.left())).await;
            // An answer that comes after the deadline is of no use.
            let _: Result<(), _> = tokio::time::timeout(self.deadline.left(), self.attempt()).await;
        }
    }

    /// One try to acquire or to renew.
    async fn attempt(&mut self) {
        if let Some(claim) = self.elector.renewal(self.deadline.now())
            && self.write(claim).await
        {
            return;
        }
        match self.patiently(self.api.get_opt(self.election.lease)).await {
            Ok(found) => {
                self.elector.observe(found.as_ref().map(record), self.deadline.now());
                self.deadline.set(self.elector.leads_until());
                self.lease = found;
            }
            Err(error) => {
                tracing::warn!(lease = self.election.lease, error, "lease not read");
                return;
            }
        }
        if let Some(claim) = self.elector.decide(self.deadline.now()) {
            self.write(claim).await;
        }
    }

    /// Writes this candidate as the holder; whether it succeeded.
    async fn write(&mut self, claim: Claim) -> bool {
        let (timing, now) = (self.election.timing, MicroTime(Timestamp::now()));
        let mut lease = self.lease.clone().filter(|_| claim.over.is_some()).unwrap_or_else(|| Lease {
            metadata: ObjectMeta { name: Some(self.election.lease.into()), namespace: Some(NAMESPACE.into()), ..ObjectMeta::default() },
            spec: None,
        });
        lease.metadata.resource_version = claim.over;
        lease.metadata.managed_fields = None;
        let spec = lease.spec.get_or_insert_default();
        spec.holder_identity = Some(self.election.identity.clone());
        spec.lease_duration_seconds = i32::try_from(timing.lease_duration.as_secs()).ok();
        spec.lease_transitions = Some(claim.transitions);
        spec.renew_time = Some(now.clone());
        if claim.acquires || spec.acquire_time.is_none() {
            spec.acquire_time = Some(now);
        }
        let sent = self.deadline.now();
        match self.put(&lease).await {
            Ok(written) => {
                self.elector.written(record(&written), sent, self.deadline.now());
                self.deadline.set(self.elector.leads_until());
                self.lease = Some(written);
                true
            }
            Err(error) => {
                tracing::info!(lease = self.election.lease, error, "lease not written");
                false
            }
        }
    }

    /// Creates the Lease, or replaces the version that it names.
    async fn put(&self, lease: &Lease) -> Result<Lease, String> {
        let parameters = PostParams::default();
        if lease.metadata.resource_version.is_some() {
            self.patiently(self.api.replace(self.election.lease, &parameters, lease)).await
        } else {
            self.patiently(self.api.create(&parameters, lease)).await
        }
    }

    /// A request, for half of the time that there is to renew: an answer that was lost leaves time for another try.
    async fn patiently<T>(&self, request: impl Future<Output = Result<T, kube::Error>>) -> Result<T, String> {
        match tokio::time::timeout(self.election.timing.renew_deadline / 2, request).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) if is_conflict(&error) || is_already_exists(&error) || is_not_found(&error) => Err("another was faster".into()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("no answer in time".into()),
        }
    }

    fn begun(&mut self, recorder: &Recorder) {
        self.report();
        if let Some(lease) = &self.lease {
            recorder.record(lease, EventType::Normal, "LeaderElection", format!("{} became leader", self.election.identity));
        }
    }

    /// After the last of the term's work: gives the Lease back where this was the last term.
    async fn ended(&mut self, recorder: &Recorder, is_last: bool) {
        let now = self.deadline.now();
        let in_time = self.elector.leads(now);
        let resigned = self.elector.resign(now).filter(|_| is_last);
        self.deadline.set(None);
        self.reported.clear();
        let lease = self.election.lease;
        if in_time {
            tracing::info!(lease, "stopped leading");
        } else {
            tracing::warn!(lease, "stopped leading: the lease was not renewed in time");
        }
        if let Some(lease) = &self.lease {
            recorder.record(lease, EventType::Normal, "LeaderElection", format!("{} stopped leading", self.election.identity));
        }
        let (Some((version, transitions)), Some(mut lease)) = (resigned, self.lease.take()) else { return };
        let now = Some(MicroTime(Timestamp::now()));
        lease.metadata.resource_version = Some(version);
        lease.metadata.managed_fields = None;
        lease.spec = Some(LeaseSpec {
            holder_identity: Some(String::new()),
            lease_duration_seconds: Some(1),
            lease_transitions: Some(transitions),
            acquire_time: now.clone(),
            renew_time: now,
            ..LeaseSpec::default()
        });
        match tokio::time::timeout(self.election.timing.retry_period, self.put(&lease)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::warn!(lease = self.election.lease, error, "lease not given back"),
            Err(_) => tracing::warn!(lease = self.election.lease, "lease not given back: no answer in time"),
        }
    }

    /// Logs who leads, once.
    fn report(&mut self) {
        let holder = self.elector.holder();
        if self.reported != holder {
            tracing::info!(lease = self.election.lease, holder, is_self = holder == self.election.identity, "new leader");
            self.reported = holder.into();
        }
    }
}

/// What the decision needs of a Lease. One without a duration is held for the default one.
fn record(lease: &Lease) -> Record {
    let spec = lease.spec.as_ref();
    let seconds = spec.and_then(|spec| spec.lease_duration_seconds).and_then(|seconds| u64::try_from(seconds).ok());
    Record {
        holder: spec.and_then(|spec| spec.holder_identity.clone()).unwrap_or_default(),
        duration: seconds.map_or(Timing::default().lease_duration, Duration::from_secs),
        transitions: spec.and_then(|spec| spec.lease_transitions).unwrap_or_default(),
        version: lease.metadata.resource_version.clone().unwrap_or_default(),
    }
}

//! The decision of one candidate, pure: what it has seen of the Lease, what it may write now, and until when it leads. The rules are those of
//! client-go's `leaderelection`, with three that are stricter: a term is counted from when its request was sent; whoever sees another holder
//! leads no more; and a Lease that somebody deleted is held for as long as its holder had been promised.
//!
//! Every time is of the candidate's own clock, counted from an instant of its own: clocks are never compared, and the Lease's `renewTime` is for people.
//! A leader stops `renew_deadline` after it sent the last write that succeeded; another waits for the holder's whole duration after it saw a
//! write for the first time. Hence two never lead at a time as long as no clock runs faster than another by more than the ratio of the two.

use std::time::Duration;

/// How long a term lasts, and how often it is renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// How long others leave a Lease alone that is not written any more. Whole seconds.
    pub lease_duration: Duration,
    /// How long a leader leads on after the last renewal.
    pub renew_deadline: Duration,
    /// Between two tries to acquire or to renew.
    pub retry_period: Duration,
}

impl Default for Timing {
    /// As the control plane of Kubernetes has it.
    fn default() -> Self {
        Self { lease_duration: Duration::from_secs(15), renew_deadline: Duration::from_secs(10), retry_period: Duration::from_secs(2) }
    }
}

/// What the decision needs of a Lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    /// Empty: given back.
    pub holder: String,
    pub duration: Duration,
    pub transitions: i32,
    /// Another one after every write.
    pub version: String,
}

/// What to write into the Lease: this candidate as its holder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claim {
    /// A new term, rather than a longer one.
    pub acquires: bool,
    pub transitions: i32,
    /// The version that it takes the place of; None: there must be no Lease.
    pub over: Option<String>,
}

/// One candidate.
#[derive(Debug)]
pub(super) struct Elector {
    identity: String,
    timing: Timing,
    /// The newest record, and when this candidate first saw it.
    seen: Option<(Record, Duration)>,
    /// Whether the last look found no Lease.
    is_absent: bool,
    leads_until: Option<Duration>,
}

impl Elector {
    pub fn new(identity: String, timing: Timing) -> Self {
        Self { identity, timing, seen: None, is_absent: false, leads_until: None }
    }

    /// The end of the present term, unless it is renewed.
    pub fn leads_until(&self) -> Option<Duration> {
        self.leads_until
    }

    pub fn leads(&self, now: Duration) -> bool {
        self.leads_until.is_some_and(|end| now < end)
    }

    /// Who was last seen to hold the Lease; empty: nobody.
    pub fn holder(&self) -> &str {
        self.seen.as_ref().map_or("", |(record, _)| &record.holder)
    }

    /// Takes what a read found that was answered at `now`.
    pub fn observe(&mut self, found: Option<Record>, now: Duration) {
        self.is_absent = found.is_none();
        let Some(record) = found else { return };
        if record.holder != self.identity {
            self.leads_until = None;
        }
        if self.seen.as_ref().is_none_or(|(seen, _)| seen.version != record.version) {
            self.seen = Some((record, now));
        }
    }

    /// A longer term, where this candidate leads and knows of no write after its own.
    pub fn renewal(&self, now: Duration) -> Option<Claim> {
        let (record, _) = self.seen.as_ref().filter(|(record, _)| record.holder == self.identity)?;
        let renews = self.leads(now) && !self.is_absent;
        renews.then(|| Claim { acquires: false, transitions: record.transitions, over: Some(record.version.clone()) })
    }

    /// What this candidate may write at `now`, after a look. None: another holds the Lease, or nobody has looked yet.
    pub fn decide(&self, now: Duration) -> Option<Claim> {
        let Some((record, at)) = &self.seen else {
            return self.is_absent.then_some(Claim { acquires: true, transitions: 0, over: None });
        };
        let is_own = record.holder == self.identity;
        let is_held = !is_own && !record.holder.is_empty();
        if is_held && now < at.saturating_add(record.duration) {
            return None;
        }
        let transitions = if is_own { record.transitions } else { record.transitions.saturating_add(1) };
        Some(Claim { acquires: !is_own, transitions, over: (!self.is_absent).then(|| record.version.clone()) })
    }

    /// A claim that was sent at `sent` was written, as `record`; its answer came at `now`.
    pub fn written(&mut self, record: Record, sent: Duration, now: Duration) {
        self.is_absent = false;
        self.seen = Some((record, now));
        self.leads_until = Some(sent.saturating_add(self.timing.renew_deadline));
    }

    /// Ends the term. Gives what may be written to hand the Lease to whoever asks first: the version and the transitions.
    pub fn resign(&mut self, now: Duration) -> Option<(String, i32)> {
        let led = self.leads(now);
        self.leads_until = None;
        let (record, _) = self.seen.as_ref().filter(|(record, _)| led && !self.is_absent && record.holder == self.identity)?;
        Some((record.version.clone(), record.transitions))
    }
}

//! Garbage collection of flows: a walk over the map, a batch at a time, that removes what [`judge`] says is over and what leads to
//! backends that are gone. Live flows are never touched: the map refuses new flows when it is full, it does not forget old ones.

mod judge;
mod probe;
mod purge;
#[cfg(test)]
mod tests;

use crate::{
    Dataplane, Error,
    kernel::{Walk, When},
    pace::{BATCH, Pace},
    table::Table,
};
use judge::{Verdict, is_reset_when_gone, judge, stays_alone};
use orknet_abi::{Address, Backend, Flow, FlowKey, Way, flow_state};
use probe::Prober;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::{Duration, Instant},
};

/// Answers about backends that are kept in one pass.
const ANSWERS: usize = 65_536;

/// A Service's front and a backend that something in the kernel leads to from there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Use {
    /// What the client speaks to.
    pub front: Address,
    /// Its port, network order.
    pub front_port_be: u16,
    /// See [`orknet_abi::protocol`].
    pub protocol: u8,
    /// Where that leads.
    pub backend: Backend,
}

/// Tells which of these uses lead to a backend that is no endpoint of the Service any more, not even one that terminates.
pub type AskGone<'a> = dyn FnMut(&BTreeSet<Use>) -> BTreeSet<Use> + 'a;

/// What a pass over the flows found and did. Flows, not entries: a flow has two.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Flows that are left, by protocol.
    pub flows: BTreeMap<u8, u64>,
    /// Flows that were removed because they were silent for too long.
    pub expired: u64,
    /// Flows that were removed, or over TCP marked, because their backend is gone.
    pub gone: u64,
    /// Entries without a pair that were removed.
    pub halves: u64,
    /// Entries seen.
    pub entries: u32,
    /// Entries that the map can hold.
    pub capacity: u32,
    /// Time until the next flow can expire; `None` without any.
    pub next_expiry: Option<Duration>,
    /// Time that the pass took, without the caller's pauses.
    pub took: Duration,
}

impl Dataplane {
    /// One pass over the flows. `ask_gone` is asked once per pass for each use; `pace` after each batch of about a thousand entries.
    /// Blocks for about 0.3 µs per entry that stays and a few µs per flow that goes, and for as long as the two closures do.
    /// Sends packets from the calling thread's network namespace, which is the node's: to both ends of connections whose backend is gone.
    ///
    /// # Errors
    /// A map that can't be read or written. What was done until then is done.
    pub fn sweep_flows(&self, ask_gone: &mut AskGone<'_>, pace: &mut Pace<'_>) -> Result<Swept, Error> {
        let mut prober = Prober::default();
        sweep(&self.reader().tables().flows, ask_gone, pace, &mut |key| prober.probe(key))
    }
}

/// Makes the sender of an entry's packets speak.
type Probe<'a> = dyn FnMut(&FlowKey) + 'a;

fn sweep(table: &Table<FlowKey, Flow>, ask_gone: &mut AskGone<'_>, pace: &mut Pace<'_>, probe: &mut Probe<'_>) -> Result<Swept, Error> {
    let mut pass = Pass { table, ask_gone, probe, answers: HashMap::new(), now: 0, swept: Swept::default() };
    pass.swept.capacity = table.capacity();
    let mut walk = Walk::new(BATCH);
    loop {
        let started = Instant::now();
        let entries: Vec<(FlowKey, Flow)> = match table.next_batch(&mut walk)? {
            None => return Ok(pass.swept),
            Some((keys, flows)) => keys.iter().copied().zip(flows.iter().copied()).collect(),
        };
        pass.now = monotonic_seconds();
        pass.take(&entries)?;
        let took = started.elapsed();
        pass.swept.took += took;
        if pace(took).is_break() {
            return Ok(pass.swept);
        }
    }
}

struct Pass<'a, 'b> {
    table: &'a Table<FlowKey, Flow>,
    ask_gone: &'a mut AskGone<'b>,
    probe: &'a mut Probe<'b>,
    /// Whether a use's backend is gone.
    answers: HashMap<Use, bool>,
    now: u32,
    swept: Swept,
}

impl Pass<'_, '_> {
    fn take(&mut self, entries: &[(FlowKey, Flow)]) -> Result<(), Error> {
        self.ask(entries);
        for (key, flow) in entries {
            self.swept.entries += 1;
            let is_gone = use_of(key, flow).is_some_and(|used| self.answers.get(&used) == Some(&true));
            if is_gone {
                self.end_gone(key, flow)?;
                continue;
            }
            if flow.state & flow_state::GONE != 0 {
                // Perhaps it was not heard: who has been reset only says so again.
                (self.probe)(key);
            }
            if let Some(left) = stays_alone(key, flow, self.now) {
                self.keep(key, flow, left);
            } else {
                self.settle(key)?;
            }
        }
        Ok(())
    }

    /// Learns of the uses in these entries which have lost their backend.
    fn ask(&mut self, entries: &[(FlowKey, Flow)]) {
        if self.answers.len() > ANSWERS {
            self.answers.clear();
        }
        let uses = entries.iter().filter_map(|(key, flow)| use_of(key, flow));
        let unknown: BTreeSet<Use> = uses.filter(|used| !self.answers.contains_key(used)).collect();
        if !unknown.is_empty() {
            let gone = (self.ask_gone)(&unknown);
            self.answers.extend(unknown.into_iter().map(|used| (used, gone.contains(&used))));
        }
    }

    fn keep(&mut self, key: &FlowKey, flow: &Flow, left: u32) {
        if flow.state & flow_state::FORWARD != 0 {
            *self.swept.flows.entry(key.protocol).or_default() += 1;
        }
        let left = Duration::from_secs(left.into());
        self.swept.next_expiry = Some(self.swept.next_expiry.map_or(left, |next| next.min(left)));
    }

    /// Judges an entry by its pair, both as they are now, not as they were when the batch was read.
    fn settle(&mut self, key: &FlowKey) -> Result<(), Error> {
        let Some(flow) = self.table.get_single(key)? else { return Ok(()) };
        let pair_key = flow.becomes.reversed();
        let pair = self.table.get_single(&pair_key)?;
        match (judge(key, &flow, pair.as_ref(), self.now), pair) {
            (Verdict::Keep(left), _) => self.keep(key, &flow, left),
            (Verdict::Expired, Some(pair)) => {
                if self.remove(key, &flow, Some((&pair_key, &pair)))? {
                    self.swept.expired += 1;
                } else {
                    self.keep(key, &flow, 1);
                }
            }
            (Verdict::Expired | Verdict::Alone, _) => self.swept.halves += u64::from(self.remove(key, &flow, None)?),
        }
        Ok(())
    }

    /// Ends a flow whose backend is gone. `flow` is the direction to the backend. Both ends of a connection learn of it, whoever of them
    /// would have spoken next.
    fn end_gone(&mut self, key: &FlowKey, flow: &Flow) -> Result<(), Error> {
        self.swept.gone += 1;
        let pair_key = flow.becomes.reversed();
        if !is_reset_when_gone(key) {
            self.table.take(key)?;
            self.table.take(&pair_key)?;
            return Ok(());
        }
        for key in [*key, pair_key] {
            if let Some(flow) = self.table.get_single(&key)? {
                self.table.put_when(&key, Flow { state: flow.state | flow_state::GONE, way: Way::default(), ..flow }, When::Present)?;
            }
        }
        (self.probe)(key);
        (self.probe)(&pair_key);
        self.keep(key, flow, 1);
        Ok(())
    }

    /// Removes an entry and its pair, as they were judged; if a packet came in between, all stays. Whether they are removed.
    ///
    /// The direction that opens flows goes first: without it the next packet makes a new flow, while without the other one its
    /// answers would be lost.
    fn remove(&self, key: &FlowKey, flow: &Flow, pair: Option<(&FlowKey, &Flow)>) -> Result<bool, Error> {
        let mut halves = vec![(key, flow)];
        halves.extend(pair);
        halves.sort_by_key(|(_, flow)| flow.state & flow_state::FORWARD == 0);
        let mut taken = Vec::new();
        for (key, judged) in halves {
            let Some(found) = self.table.take(key)? else { continue };
            taken.push((key, found));
            if found != *judged {
                for (key, flow) in taken {
                    self.table.put_when(key, Flow { way: Way::default(), ..flow }, When::Absent)?;
                }
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// From which front to which backend an entry leads, if it does: the other direction, flows out of the cluster or of no Service, and what
/// has been marked already lead to none.
fn use_of(key: &FlowKey, flow: &Flow) -> Option<Use> {
    const ELSEWHERE: u32 = flow_state::MASQUERADE | flow_state::GONE | flow_state::PLAIN;
    let leads = flow.state & flow_state::FORWARD != 0 && flow.state & ELSEWHERE == 0;
    leads.then_some(Use {
        front: key.destination,
        front_port_be: key.destination_port_be,
        protocol: key.protocol,
        backend: Backend { address: flow.becomes.destination, port_be: flow.becomes.destination_port_be, reserved: 0 },
    })
}

/// Seconds of the clock that programs write into flows (`bpf_ktime_get_coarse_ns`).
pub(crate) fn monotonic_seconds() -> u32 {
    let clock = nix::time::ClockId::CLOCK_MONOTONIC_COARSE;
    // The clock is always there, and 136 years fit.
    clock.now().map_or(0, |now| u32::try_from(now.tv_sec()).unwrap_or(u32::MAX))
}

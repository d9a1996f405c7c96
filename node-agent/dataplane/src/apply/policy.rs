//! Rules of pods: what is incomplete is never switched to, and what is still judged by is never removed.
//!
//! A failure closes, and never opens: a verdict without its whole table of ports is not written, an address does not change to a peer set
//! that rules do not know yet, and a pod keeps its entry, or gets none, until its rules are there and can see whom they refuse.

use super::{FailureCause, Run, write_cause};
use orknet_abi::{Count, Pod, PodKey, PortKey, RangeKey, Verdict, VerdictKey, action};
use orknet_compiler::Step;
use std::collections::{BTreeMap, BTreeSet};

/// What could not be switched, and what must stay because of it.
#[derive(Debug, Default)]
pub(super) struct Unswitched {
    /// Tables of ports of which something is missing.
    tables: BTreeSet<u32>,
    /// Sets of rules of which a verdict is missing.
    sets: BTreeSet<u32>,
    /// Peer sets of which some set's verdict is missing.
    peers: BTreeSet<u32>,
    /// Addresses that are not of the peer set that they should have (0 for none).
    addresses: BTreeMap<RangeKey, u32>,
    /// Addresses that are of a peer set, and should be of none once the pods' entries are written.
    leaving: Vec<RangeKey>,
    /// Pods' entries that the plan will write.
    coming: Vec<(PodKey, Pod)>,
    /// Pods whose entry is there, and not the new one.
    pods: BTreeSet<PodKey>,
    /// Verdicts that stay as they are.
    verdicts: BTreeSet<VerdictKey>,
    /// Tables of ports that stay.
    kept_tables: BTreeSet<u32>,
    /// Rules that stay.
    kept_rules: BTreeSet<u32>,
    /// What the kernel judges by; read when the first verdict is to be removed since somebody was not switched.
    judged_by: Option<JudgedBy>,
}

/// What the kernel judges by.
#[derive(Debug, Default, PartialEq, Eq)]
struct JudgedBy {
    /// Sets of pods.
    sets: BTreeSet<u32>,
    /// Those of pods that could not be switched.
    unswitched_sets: BTreeSet<u32>,
    /// Peer sets of addresses that could not be switched.
    unswitched_peers: BTreeSet<u32>,
}

impl JudgedBy {
    fn new(pods: &[(PodKey, Pod)], unswitched: &BTreeSet<PodKey>, unswitched_peers: BTreeSet<u32>) -> Self {
        let of =
            |is_wanted: &dyn Fn(&PodKey) -> bool| pods.iter().filter(|(key, _)| is_wanted(key)).flat_map(|(_, pod)| sets(pod)).collect();
        Self { sets: of(&|_| true), unswitched_sets: of(&|key| unswitched.contains(key)), unswitched_peers }
    }

    /// Whether a connection may be judged by a verdict although the plan removes it.
    fn needs(&self, key: &VerdictKey) -> bool {
        self.unswitched_sets.contains(&key.set) || (self.sets.contains(&key.set) && self.unswitched_peers.contains(&key.peers))
    }
}

/// A pod's sets of rules.
fn sets(pod: &Pod) -> impl Iterator<Item = u32> {
    [pod.ingress, pod.egress, pod.own_ingress, pod.own_egress].into_iter().filter(|set| *set > 0)
}

/// Whether what is judged by `is` may be let through although `wanted` refuses it. Tables are not compared.
fn opens(is: Option<Verdict>, wanted: Option<Verdict>) -> bool {
    let may = |verdict: Option<Verdict>, what| verdict.map_or(what == action::DENY, |it| it.table > 0 || it.otherwise.action == what);
    is != wanted && may(is, action::ALLOW) && may(wanted, action::DENY)
}

impl Unswitched {
    /// Nothing has been tried yet.
    pub(super) fn before(steps: &[Step]) -> Self {
        let leaving = steps.iter().filter_map(|step| if let Step::DeletePeer(key) = step { Some(*key) } else { None });
        let coming = steps.iter().filter_map(|step| if let Step::PutPod(key, pod) = step { Some((*key, *pod)) } else { None });
        Self { leaving: leaving.collect(), coming: coming.collect(), ..Self::default() }
    }
}

impl Run<'_> {
    /// A rule comes with its counter, from zero: a counter without a rule is nobody's.
    pub(super) fn put_rules(&mut self, steps: &[Step]) {
        let tables = self.tables;
        let mut ready = Vec::with_capacity(steps.len());
        for step in steps {
            let begun = if let Step::PutRule(rule, _) = step { tables.rule_counts.put_each(rule, Count::default()) } else { Ok(()) };
            match begun {
                Ok(()) => ready.push(step.clone()),
                Err(error) => self.fail_in(tables.rule_counts.name(), step.clone(), write_cause(&tables.rule_counts, error)),
            }
        }
        self.put(&tables.rules, &ready, |step| match *step {
            Step::PutRule(key, value) => Some((key, value)),
            _ => None,
        });
    }

    /// Of a table that is incomplete nothing is left: half of it only takes room from others.
    pub(super) fn put_ports(&mut self, steps: &[Step]) {
        let tables = self.tables;
        self.put(&tables.ports, steps, |step| match *step {
            Step::PutPort(key, value) => Some((key, value)),
            _ => None,
        });
        let half: Vec<PortKey> = steps
            .iter()
            .filter_map(|step| match step {
                Step::PutPort(key, _) if self.policy.tables.contains(&key.table) => Some(*key),
                _ => None,
            })
            .collect();
        // What stays is nobody's, and goes when the maps are next read back.
        tables.ports.delete(&half, |_, _| {});
    }

    pub(super) fn put_verdicts(&mut self, steps: &[Step]) {
        let ready = self.hold_back(steps, |run, step| match step {
            Step::PutVerdict(_, verdict) if run.policy.tables.contains(&verdict.table) => Some(FailureCause::Incomplete),
            _ => None,
        });
        self.put(&self.tables.verdicts, &ready, |step| match *step {
            Step::PutVerdict(key, value) => Some((key, value)),
            _ => None,
        });
    }

    /// What rules that a pod goes on with say about other peer sets than those that there are, may never have been written: an address that is
    /// nobody's may get one, and is the same to them.
    pub(super) fn put_peers(&mut self, steps: &[Step]) {
        let is_seen = self.is_seen_by_unswitched() || self.will_be_seen_by_unswitched();
        let ready = self.hold_back(steps, |run, step| match step {
            Step::PutPeer(_, peer) if run.policy.peers.contains(&peer.peers) => Some(FailureCause::Incomplete),
            Step::PutPeer(key, _) if is_seen && !run.is_nobodys(key) => Some(FailureCause::InUse),
            _ => None,
        });
        self.put(&self.tables.peers, &ready, |step| match *step {
            Step::PutPeer(key, value) => Some((key, value)),
            _ => None,
        });
    }

    pub(super) fn delete_peers(&mut self, steps: &[Step]) {
        let free = self.hold_back(steps, |run, _| run.is_seen_by_unswitched().then_some(FailureCause::InUse));
        self.delete(&self.tables.peers, &free, |step| match *step {
            Step::DeletePeer(key) => Some(key),
            _ => None,
        });
    }

    /// Whether a pod goes on with rules that the plan meant it to leave: what addresses are after that is what other rules ask.
    fn is_seen_by_unswitched(&self) -> bool {
        !self.policy.pods.is_empty()
    }

    /// The same of one that will: what is incomplete is known before the pods' entries are written.
    fn will_be_seen_by_unswitched(&self) -> bool {
        let stays = |(key, pod): &(PodKey, Pod)| {
            sets(pod).any(|set| self.policy.sets.contains(&set))
                && self.tables.pods.get_single(key).is_ok_and(|held| held.is_some_and(|held| sets(&held).next().is_some()))
        };
        self.policy.coming.iter().any(stays)
    }

    /// Whether an address is of no peer set, by its own entry or one around.
    fn is_nobodys(&self, key: &RangeKey) -> bool {
        self.tables.peers.get_single(key).is_ok_and(|peer| peer.unwrap_or_default().peers == 0)
    }

    pub(super) fn put_pods(&mut self, steps: &[Step]) {
        let pods = steps.iter().filter_map(|step| if let Step::PutPod(_, pod) = step { Some(pod) } else { None });
        let wanted: BTreeSet<u32> = pods.flat_map(sets).collect();
        let mut unfit = self.unfit(&wanted, &self.policy.addresses);
        if !unfit.is_empty() {
            // For the pods that are not switched, addresses stay what they are.
            let stay = self.policy.leaving.iter().map(|key| (*key, 0));
            unfit = self.unfit(&wanted, &self.policy.addresses.clone().into_iter().chain(stay).collect());
        }
        let ready = self.hold_back(steps, |_, step| match step {
            Step::PutPod(_, pod) if sets(pod).any(|set| unfit.contains(&set)) => Some(FailureCause::Incomplete),
            _ => None,
        });
        self.put(&self.tables.pods, &ready, |step| match *step {
            Step::PutPod(key, value) => Some((key, value)),
            _ => None,
        });
        self.policy.judged_by = None;
    }

    /// Sets of rules that are incomplete, or would open something as long as these addresses are not what they should be.
    fn unfit(&self, sets: &BTreeSet<u32>, addresses: &BTreeMap<RangeKey, u32>) -> BTreeSet<u32> {
        let misjudged = self.misjudged(addresses);
        sets.iter().copied().filter(|set| self.policy.sets.contains(set) || self.would_open(*set, &misjudged)).collect()
    }

    /// Pairs of peer sets: which one an address is judged by now, and which one it should be judged by. An address of which the kernel can't
    /// say how it is judged is left out: nothing else works then, either.
    fn misjudged(&self, addresses: &BTreeMap<RangeKey, u32>) -> BTreeSet<(u32, u32)> {
        let now = |key: &RangeKey| self.tables.peers.get_single(key).ok().map(|peer| peer.unwrap_or_default().peers);
        addresses.iter().filter_map(|(key, wanted)| Some((now(key)?, *wanted))).filter(|(now, wanted)| now != wanted).collect()
    }

    /// Whether a set of rules would let in or out whom it refuses, because an address is not of the peer set that it should have.
    fn would_open(&self, set: u32, misjudged: &BTreeSet<(u32, u32)>) -> bool {
        let verdict = |peers| {
            let one = |peers| self.tables.verdicts.get_single(&VerdictKey { set, peers }).ok().flatten();
            one(peers).or_else(|| one(0))
        };
        misjudged.iter().any(|(now, wanted)| opens(verdict(*now), verdict(*wanted)))
    }

    pub(super) fn delete_verdicts(&mut self, steps: &[Step]) {
        if self.policy.judged_by.is_none() {
            self.policy.judged_by = self.judged_by();
        }
        let free = self.hold_back(steps, |run, step| match step {
            Step::DeleteVerdict(key) => run.policy.judged_by.as_ref().is_none_or(|by| by.needs(key)).then_some(FailureCause::InUse),
            _ => None,
        });
        self.delete(&self.tables.verdicts, &free, |step| match *step {
            Step::DeleteVerdict(key) => Some(key),
            _ => None,
        });
    }

    /// `None` if the kernel can't be asked.
    fn judged_by(&self) -> Option<JudgedBy> {
        let Unswitched { pods: unswitched, addresses, .. } = &self.policy;
        if unswitched.is_empty() && addresses.is_empty() {
            return Some(JudgedBy::default());
        }
        let mut pods = Vec::new();
        self.tables.pods.read_single(|key, pod| pods.push((key, pod))).ok()?;
        let now = |key: &RangeKey| self.tables.peers.get_single(key).map(|peer| peer.unwrap_or_default().peers);
        let peers: Result<BTreeSet<u32>, _> = addresses.keys().map(now).collect();
        Some(JudgedBy::new(&pods, unswitched, peers.ok()?))
    }

    pub(super) fn delete_ports(&mut self, steps: &[Step]) {
        self.keep_parts_of_verdicts();
        let free = self.hold_back(steps, |run, step| match step {
            Step::DeletePort(key) => run.policy.kept_tables.contains(&key.table).then_some(FailureCause::InUse),
            _ => None,
        });
        self.delete(&self.tables.ports, &free, |step| match *step {
            Step::DeletePort(key) => Some(key),
            _ => None,
        });
    }

    /// What is judged by must be told by its name.
    pub(super) fn delete_rules(&mut self, steps: &[Step]) {
        self.keep_parts_of_verdicts();
        let free = self.hold_back(steps, |run, step| match step {
            Step::DeleteRule(rule) => run.policy.kept_rules.contains(rule).then_some(FailureCause::InUse),
            _ => None,
        });
        self.delete(&self.tables.rules, &free, |step| match *step {
            Step::DeleteRule(rule) => Some(rule),
            _ => None,
        });
        let counts: Vec<u32> = free.iter().filter_map(|step| if let Step::DeleteRule(rule) = step { Some(*rule) } else { None }).collect();
        // A counter that stays is nobody's; the rule that gets its number next begins it anew.
        self.tables.rule_counts.delete(&counts, |_, _| {});
    }

    /// Tables and rules of the verdicts that stay.
    fn keep_parts_of_verdicts(&mut self) {
        for key in std::mem::take(&mut self.policy.verdicts) {
            let Ok(Some(verdict)) = self.tables.verdicts.get_single(&key) else { continue };
            self.policy.kept_tables.extend((verdict.table > 0).then_some(verdict.table));
            self.policy.kept_rules.insert(verdict.otherwise.rule);
        }
    }

    /// Takes note of a step that was not taken.
    pub(super) fn note_policy(&mut self, step: &Step) {
        let policy = &mut self.policy;
        if matches!(step, Step::PutPeer(..) | Step::DeletePeer(_) | Step::PutPod(..) | Step::DeletePod(_)) {
            policy.judged_by = None;
        }
        match step {
            Step::PutRule(rule, _) => self.tables.rule_counts.delete(&[*rule], |_, _| {}),
            Step::PutPort(key, _) => _ = policy.tables.insert(key.table),
            Step::PutVerdict(key, _) => {
                policy.sets.insert(key.set);
                policy.peers.insert(key.peers);
                policy.verdicts.insert(*key);
            }
            Step::PutPeer(key, peer) => _ = policy.addresses.insert(*key, peer.peers),
            Step::DeletePeer(key) => _ = policy.addresses.insert(*key, 0),
            // One without an entry reaches nobody, by whatever rules.
            Step::PutPod(key, _) if matches!(self.tables.pods.get_single(key), Ok(None)) => {}
            Step::PutPod(key, _) | Step::DeletePod(key) => _ = policy.pods.insert(*key),
            Step::DeleteVerdict(key) => _ = policy.verdicts.insert(*key),
            Step::DeletePort(key) => {
                policy.kept_tables.insert(key.table);
                if let Ok(Some(judgement)) = self.tables.ports.get_single(key) {
                    self.policy.kept_rules.insert(judgement.rule);
                }
            }
            _ => {}
        }
    }
}

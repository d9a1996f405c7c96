//! What is wrong, needless or numbered otherwise in the maps of policies.

use super::{Flaw, MapImage, Step};
use orknet_abi::{Judgement, Peer, Pod, PodKey, PortKey, Rule, Verdict, VerdictKey};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A pod's sets, in the order of its fields.
pub(crate) fn sets_of(pod: &Pod) -> [u32; 4] {
    [pod.ingress, pod.egress, pod.own_ingress, pod.own_egress]
}

/// The same pod with other sets.
pub(crate) fn with_sets(pod: Pod, [ingress, egress, own_ingress, own_egress]: [u32; 4]) -> Pod {
    Pod { ingress, egress, own_ingress, own_egress, ..pod }
}

impl MapImage {
    /// What a set says, in the order of the peer sets.
    pub fn set(&self, set: u32) -> impl Iterator<Item = (VerdictKey, Verdict)> + '_ {
        let range = VerdictKey { set, peers: 0 }..=VerdictKey { set, peers: u32::MAX };
        self.verdicts.range(range).map(|(key, verdict)| (*key, *verdict))
    }

    /// All tables of ports, by number, with the number left out of their keys.
    pub(crate) fn port_tables(&self) -> BTreeMap<u32, Vec<(PortKey, Judgement)>> {
        let mut tables: BTreeMap<u32, Vec<_>> = BTreeMap::new();
        for (key, judgement) in &self.ports {
            tables.entry(key.table).or_default().push((PortKey { table: 0, ..*key }, *judgement));
        }
        tables.values_mut().for_each(|entries| entries.sort_unstable());
        tables
    }

    pub(super) fn policy_flaw(&self) -> Option<Flaw> {
        let has_rule = |judgement: &Judgement| judgement.rule == 0 || self.rules.contains_key(&judgement.rule);
        let missing_set = |(key, pod): (&PodKey, &Pod)| {
            let missing = |set: &u32| *set != 0 && !self.verdicts.contains_key(&VerdictKey { set: *set, peers: 0 });
            sets_of(pod).into_iter().find(missing).map(|set| Flaw::MissingSet(*key, set))
        };
        let tables: BTreeSet<u32> = self.ports.keys().map(|key| key.table).collect();
        let missing_part = |(key, verdict): (&VerdictKey, &Verdict)| {
            let lacks_table = verdict.table != 0 && !tables.contains(&verdict.table);
            let lacks_rule = !has_rule(&verdict.otherwise);
            lacks_table.then_some(Flaw::MissingPorts(*key)).or(lacks_rule.then_some(Flaw::MissingRule(verdict.otherwise.rule)))
        };
        let missing_rule = |judgement: &Judgement| (!has_rule(judgement)).then_some(Flaw::MissingRule(judgement.rule));
        let of_pods = self.pods.iter().find_map(missing_set);
        of_pods.or_else(|| self.verdicts.iter().find_map(missing_part)).or_else(|| self.ports.values().find_map(missing_rule))
    }

    /// Whatever no pod and no address reaches. Rules are held by sets as a whole, which does not show here: only without any set is a
    /// rule needless for sure.
    pub(super) fn policy_orphans(&self) -> Vec<Step> {
        let sets: BTreeSet<u32> = self.pods.values().flat_map(sets_of).filter(|set| *set != 0).collect();
        let peers: BTreeSet<u32> = self.peers.values().map(|peer| peer.peers).chain([0]).collect();
        let tables: BTreeSet<u32> = self.verdicts.values().map(|verdict| verdict.table).filter(|table| *table != 0).collect();
        let is_reached = |key: &VerdictKey| sets.contains(&key.set) && peers.contains(&key.peers);
        let verdicts = self.verdicts.keys().filter(|key| !is_reached(key)).map(|key| Step::DeleteVerdict(*key));
        let ports = self.ports.keys().filter(|key| !tables.contains(&key.table)).map(|key| Step::DeletePort(*key));
        let rules = self.rules.keys().filter(|_| sets.is_empty()).map(|rule| Step::DeleteRule(*rule));
        verdicts.chain(ports).chain(rules).collect()
    }

    /// Puts the same maps into `canonical`, numbered from 1: rules in the order of their contents, peer sets in that of their addresses,
    /// sets of rules in that of their pods, tables of ports in that of the verdicts.
    pub(super) fn put_canonical_policies(&self, canonical: &mut Self) {
        let written: BTreeSet<Rule> = self.rules.values().copied().collect();
        canonical.rules = (1..).zip(written).collect();
        let by_rule: HashMap<Rule, u32> = canonical.rules.iter().map(|(number, rule)| (*rule, *number)).collect();
        let judgement = |judgement: Judgement| {
            let rule = self.rules.get(&judgement.rule).and_then(|rule| by_rule.get(rule)).copied();
            Judgement { rule: rule.unwrap_or(0), ..judgement }
        };
        let mut peers: BTreeMap<u32, u32> = BTreeMap::from([(0, 0)]);
        for (range, peer) in &self.peers {
            let next = peers.len() as u32;
            canonical.peers.insert(*range, Peer { peers: *peers.entry(peer.peers).or_insert(next) });
        }
        let mut sets: BTreeMap<u32, u32> = BTreeMap::from([(0, 0)]);
        for (key, pod) in &self.pods {
            let numbered = sets_of(pod).map(|set| {
                let next = sets.len() as u32;
                *sets.entry(set).or_insert(next)
            });
            canonical.pods.insert(*key, with_sets(*pod, numbered));
        }
        let contents = self.port_tables();
        for (key, verdict) in &self.verdicts {
            if let (Some(&set), Some(&peers)) = (sets.get(&key.set), peers.get(&key.peers)) {
                canonical.verdicts.insert(VerdictKey { set, peers }, *verdict);
            }
        }
        let mut tables: HashMap<Vec<(PortKey, Judgement)>, u32> = HashMap::new();
        for verdict in canonical.verdicts.values_mut() {
            verdict.otherwise = judgement(verdict.otherwise);
            if verdict.table != 0 {
                let entries = contents.get(&verdict.table).map(Vec::as_slice).unwrap_or_default();
                let entries: Vec<_> = entries.iter().map(|(key, said)| (*key, judgement(*said))).collect();
                let next = tables.len() as u32 + 1;
                verdict.table = *tables.entry(entries.clone()).or_insert(next);
                canonical.ports.extend(entries.into_iter().map(|(key, said)| (PortKey { table: verdict.table, ..key }, said)));
            }
        }
    }
}

//! Sets of rules and what they say about peer sets.

use super::Policies;
use super::locals::Resolved;
use crate::image::{MapImage, Step};
use crate::policy::atoms::{Answer, atom_of};
use crate::policy::flatten::flatten;
use crate::policy::ports::{Table, numbered, table};
use crate::policy::rules::{Indexed, RuleSet};
use crate::state::draft::Draft;
use orknet_abi::{Judgement, PortKey, Rule, Verdict, VerdictKey};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// A set that is in the maps, or is being written.
#[derive(Debug)]
pub(super) struct Set {
    pub indexed: Indexed,
    /// What its rules ask, ascending.
    pub atoms: Vec<u32>,
    /// What it says about peer set 0.
    pub of_nobody: Said,
}

/// A verdict before its table has a number.
pub(super) type Said = (Option<Table>, Judgement);

impl Set {
    pub fn new(content: &Arc<RuleSet>, number: impl FnMut(&Rule) -> u32) -> Self {
        let indexed = Indexed::new(Arc::clone(content), number);
        Self { atoms: indexed.atoms(), of_nobody: table(&flatten(&indexed, &[])), indexed }
    }

    pub fn say(&self, answers: &[Answer]) -> Said {
        table(&flatten(&self.indexed, answers))
    }
}

impl Policies {
    /// Attachments' pods get these sets. Those that are new are written with all that they say.
    pub(super) fn switch(&mut self, resolved: Resolved, image: &mut MapImage, draft: &mut Draft) {
        // The same need not be compared with itself.
        let mut known: HashMap<*const RuleSet, u32> = HashMap::new();
        for (name, contents) in &resolved {
            let sets = contents.each_ref().map(|content| {
                *known
                    .entry(Arc::as_ptr(content))
                    .or_insert_with(|| if content.is_empty() { 0 } else { self.set_of(content, image, draft) })
            });
            sets.into_iter().filter(|set| *set != 0).for_each(|set| self.sets.hold(set));
            let old = self.locals.switch(name, sets);
            old.into_iter().flatten().filter(|set| *set != 0).for_each(|set| self.sets.release(set));
        }
    }

    fn set_of(&mut self, content: &Arc<RuleSet>, image: &mut MapImage, draft: &mut Draft) -> u32 {
        if let Some(number) = self.sets.number(content) {
            return number;
        }
        let number = self.sets.insert(Arc::clone(content));
        let set = self.prepare(content, image, draft);
        self.add_set(number, set, image, draft);
        number
    }

    /// Gives the rules of a set their numbers.
    pub(super) fn prepare(&mut self, content: &Arc<RuleSet>, image: &mut MapImage, draft: &mut Draft) -> Set {
        let rules = &mut self.rules;
        Set::new(content, |rule| {
            rules.number(rule).unwrap_or_else(|| {
                let number = rules.insert(*rule);
                image.rules.insert(number, *rule);
                draft.put_rules.push(Step::PutRule(number, *rule));
                number
            })
        })
    }

    /// Writes what a set says, as far as the image has it not.
    pub(super) fn add_set(&mut self, number: u32, set: Set, image: &mut MapImage, draft: &mut Draft) {
        set.indexed.numbers().for_each(|rule| self.rules.hold(rule));
        for atom in &set.atoms {
            self.atoms.hold(*atom);
            self.sets_asking.entry(*atom).or_default().insert(number);
        }
        self.put_verdict(VerdictKey { set: number, peers: 0 }, set.of_nobody.clone(), image, draft);
        for peers in self.peers_of_interest(&set) {
            let Some(answers) = self.peers.content(peers).cloned() else { continue };
            let said = set.say(&answers);
            if said != set.of_nobody {
                self.put_verdict(VerdictKey { set: number, peers }, said, image, draft);
            }
        }
        self.by_set.insert(number, set);
    }

    /// Peer sets that answer something that the set asks.
    pub(super) fn peers_of_interest(&self, set: &Set) -> BTreeSet<u32> {
        set.atoms.iter().filter_map(|atom| self.peers_answering.get(atom)).flatten().copied().collect()
    }

    /// The sets that are there say what they have to say about peer sets that are new.
    pub(super) fn speak_of_new_peers(&mut self, image: &mut MapImage, draft: &mut Draft) {
        for peers in std::mem::take(&mut self.new_peers) {
            let Some(answers) = self.peers.content(peers).cloned() else { continue };
            for number in self.sets_interested(&answers) {
                let Some(set) = self.by_set.get(&number) else { continue };
                let said = set.say(&answers);
                if said != set.of_nobody {
                    self.put_verdict(VerdictKey { set: number, peers }, said, image, draft);
                }
            }
        }
    }

    fn sets_interested(&self, answers: &[Answer]) -> BTreeSet<u32> {
        answers.iter().filter_map(|answer| self.sets_asking.get(&atom_of(*answer))).flatten().copied().collect()
    }

    pub(super) fn put_verdict(&mut self, key: VerdictKey, (content, otherwise): Said, image: &mut MapImage, draft: &mut Draft) {
        let table = content.map_or(0, |content| self.table_of(content, image, draft));
        let new = Verdict { table, otherwise };
        let old = image.verdicts.insert(key, new);
        if old == Some(new) {
            return;
        }
        if old.is_some() {
            self.before.verdicts.insert(key);
        }
        draft.put_verdicts.push(Step::PutVerdict(key, new));
        if table != 0 {
            self.tables.hold(table);
        }
        old.filter(|old| old.table != 0).into_iter().for_each(|old| self.tables.release(old.table));
    }

    fn table_of(&mut self, content: Table, image: &mut MapImage, draft: &mut Draft) -> u32 {
        self.tables.number(&content).unwrap_or_else(|| {
            let table = self.tables.insert(Arc::clone(&content));
            for (key, judgement) in numbered(&content, table) {
                image.ports.insert(key, judgement);
                draft.put_ports.push(Step::PutPort(key, judgement));
            }
            table
        })
    }

    fn delete_verdict(&mut self, key: VerdictKey, image: &mut MapImage, draft: &mut Draft) {
        if let Some(old) = image.verdicts.remove(&key) {
            draft.delete_verdicts.push(Step::DeleteVerdict(key));
            if old.table != 0 {
                self.tables.release(old.table);
            }
        }
    }

    /// Removes the sets that no pod has.
    pub(super) fn retire_sets(&mut self, image: &mut MapImage, draft: &mut Draft) {
        for number in self.sets.retire() {
            let keys: Vec<VerdictKey> = image.set(number).map(|(key, _)| key).collect();
            keys.into_iter().for_each(|key| self.delete_verdict(key, image, draft));
            self.kept.remove(&number).into_iter().flatten().for_each(|rule| self.rules.release(rule));
            let Some(set) = self.by_set.remove(&number) else { continue };
            set.indexed.numbers().for_each(|rule| self.rules.release(rule));
            for atom in set.atoms {
                self.atoms.release(atom);
                if let Some(asking) = self.sets_asking.get_mut(&atom) {
                    asking.remove(&number);
                    if asking.is_empty() {
                        self.sets_asking.remove(&atom);
                    }
                }
            }
        }
    }

    /// Removes what is said about peer sets that no address has.
    pub(super) fn retire_peers(&mut self, image: &mut MapImage, draft: &mut Draft) {
        let mut strange = BTreeSet::new();
        for peers in self.peers.retire() {
            let Some(answers) = self.peers.retired(peers).cloned() else {
                strange.insert(peers);
                continue;
            };
            for atom in answers.iter().map(|answer| atom_of(*answer)) {
                if let Some(answering) = self.peers_answering.get_mut(&atom) {
                    answering.remove(&peers);
                    if answering.is_empty() {
                        self.peers_answering.remove(&atom);
                    }
                }
            }
            for set in self.sets_interested(&answers).into_iter().chain(self.kept.keys().copied().collect::<Vec<_>>()) {
                self.delete_verdict(VerdictKey { set, peers }, image, draft);
            }
        }
        strange.remove(&0);
        if !strange.is_empty() {
            let keys: Vec<VerdictKey> = image.verdicts.keys().filter(|key| strange.contains(&key.peers)).copied().collect();
            keys.into_iter().for_each(|key| self.delete_verdict(key, image, draft));
        }
    }

    /// Removes tables and rules that nothing needs.
    pub(super) fn retire_parts(&mut self, image: &mut MapImage, draft: &mut Draft) {
        for number in self.tables.retire() {
            let keys: Vec<PortKey> = match self.tables.retired(number) {
                Some(content) => numbered(content, number).map(|(key, _)| key).collect(),
                None => image.ports.keys().filter(|key| key.table == number).copied().collect(),
            };
            for key in keys.into_iter().filter(|key| image.ports.remove(key).is_some()) {
                draft.delete_ports.push(Step::DeletePort(key));
            }
        }
        for rule in self.rules.retire() {
            if image.rules.remove(&rule).is_some() {
                draft.delete_rules.push(Step::DeleteRule(rule));
            }
        }
    }
}

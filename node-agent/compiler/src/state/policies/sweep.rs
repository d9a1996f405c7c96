//! What an image that was read back holds already. It tells neither what a peer set answers nor which rules a set is made of; but what
//! addresses and pods should have now tells it: what says the same is the same.

use super::locals::{Local, Resolved};
use super::sets::Set;
use super::take_back::Missing;
use super::{Policies, kept};
use crate::facts::Attachment;
use crate::image::{MapImage, sets_of};
use crate::policy::rules::RuleSet;
use crate::state::draft::Draft;
use orknet_abi::{Pod, PodKey, RangeKey, Verdict};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

impl Policies {
    /// Forgets what was in the maps, and takes note of what is.
    pub(super) fn take_stock(&mut self, attachments: &BTreeMap<Arc<str>, Attachment>, image: &MapImage) {
        for set in std::mem::take(&mut self.by_set).into_values() {
            set.atoms.iter().for_each(|atom| self.atoms.release(*atom));
        }
        self.kept.clear();
        self.sets_asking.clear();
        self.peers_answering.clear();
        self.new_peers.clear();
        self.missing = Missing::default();
        self.rules.adopt(image.rules.iter().map(|(number, rule)| (*number, Some(*rule))));
        self.tables.adopt(image.port_tables().into_iter().map(|(number, entries)| (number, Some(entries.into()))));
        let in_use: BTreeSet<u32> = image.peers.values().map(|peer| peer.peers).chain(image.verdicts.keys().map(|key| key.peers)).collect();
        self.peers.adopt(in_use.into_iter().map(|peers| (peers, None)));
        image.peers.values().for_each(|peer| self.peers.hold(peer.peers));
        let sets: BTreeSet<u32> = image.verdicts.keys().map(|key| key.set).collect();
        self.sets.adopt(sets.into_iter().map(|set| (set, None)));
        image.verdicts.values().filter(|verdict| verdict.table != 0).for_each(|verdict| self.tables.hold(verdict.table));
        let is_first = !std::mem::replace(&mut self.has_stock, true);
        let keeps = |local: &Local| local.is_unknown() && (is_first || local.has_sets());
        let keeping: BTreeSet<Arc<str>> = self.locals.iter().filter(|(_, local)| keeps(local)).map(|(name, _)| Arc::clone(name)).collect();
        self.locals.forget_sets();
        self.keep(attachments, &keeping, image);
    }

    /// Pods of which nothing is known, but that they have been here since before the start, and what is no pod of the API, keep what they have,
    /// with all that it needs.
    fn keep(&mut self, attachments: &BTreeMap<Arc<str>, Attachment>, keeping: &BTreeSet<Arc<str>>, image: &MapImage) {
        for (name, attachment) in attachments.iter().filter(|(name, _)| keeping.contains(*name)) {
            let held = attachment.addresses.iter().find_map(|address| kept(attachment, &PodKey { address: *address }, image));
            held.into_iter().for_each(|sets| _ = self.locals.switch(name, sets));
        }
        let frozen: Vec<u32> = self.locals.iter().flat_map(|(_, local)| local.sets()).collect();
        if frozen.is_empty() {
            return;
        }
        frozen.iter().for_each(|set| self.sets.hold(*set));
        let tables = image.port_tables();
        for set in frozen.into_iter().collect::<BTreeSet<u32>>() {
            let said = image.set(set).flat_map(|(_, verdict)| {
                let of_table = tables.get(&verdict.table).into_iter().flatten().map(|(_, judgement)| judgement.rule);
                of_table.chain([verdict.otherwise.rule]).collect::<Vec<_>>()
            });
            let rules: Vec<u32> = said.filter(|rule| *rule != 0).collect();
            rules.iter().for_each(|rule| self.rules.hold(*rule));
            self.kept.insert(set, rules);
        }
    }

    /// An entry that has a number nobody has taken yet shows what it stands for.
    pub(super) fn recognise_peers(&mut self, ranges: &[RangeKey], image: &MapImage) {
        for range in ranges {
            let (Some(held), Some(answers)) = (image.peers.get(range), self.wanted(range)) else { continue };
            if self.peers.recognise(held.peers, &answers) {
                self.index_peers(held.peers, &answers);
            }
        }
    }

    /// A pod's set that says all that the pod's rules say, and nothing else, is the set of these rules.
    pub(super) fn recognise_sets(&mut self, resolved: &Resolved, image: &mut MapImage, draft: &mut Draft) {
        for (name, contents) in resolved {
            let address = self.locals.get(name).and_then(|local| local.addresses().first().copied());
            let Some(pod) = address.and_then(|address| image.pods.get(&PodKey { address })).copied() else { continue };
            self.recognise_sets_of(&pod, contents, image, draft);
        }
    }

    fn recognise_sets_of(&mut self, pod: &Pod, contents: &[Arc<RuleSet>; 4], image: &mut MapImage, draft: &mut Draft) {
        for (held, content) in sets_of(pod).into_iter().zip(contents) {
            if held == 0 || content.is_empty() || self.sets.number(content).is_some() || self.by_set.contains_key(&held) {
                continue;
            }
            let set = self.prepare(content, image, draft);
            // What is said about peer sets that are nobody's any more goes with these.
            let is_known = |peers: u32| peers == 0 || self.peers.content(peers).is_some();
            let says = image.set(held).filter(|(key, _)| is_known(key.peers)).map(|(key, verdict)| (key.peers, verdict)).collect();
            if self.expected(&set) == Some(says) && self.sets.recognise(held, content) {
                self.add_set(held, set, image, draft);
            }
        }
    }

    /// All that a set should say; `None` if something in it is new.
    fn expected(&self, set: &Set) -> Option<BTreeMap<u32, Verdict>> {
        let numbered = |(content, otherwise): super::sets::Said| {
            let table = content.map_or(Some(0), |content| self.tables.number(&content))?;
            Some(Verdict { table, otherwise })
        };
        let mut all = BTreeMap::from([(0, numbered(set.of_nobody.clone())?)]);
        for peers in self.peers_of_interest(set) {
            let said = set.say(self.peers.content(peers)?);
            if said != set.of_nobody {
                all.insert(peers, numbered(said)?);
            }
        }
        Some(all)
    }
}

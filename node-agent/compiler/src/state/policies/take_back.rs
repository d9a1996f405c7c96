//! Writes for policies that found no room: what they were for is planned again, from what the kernel holds.

use super::Policies;
use crate::image::{MapImage, Step};
use crate::state::draft::Draft;
use orknet_abi::{Peer, PortKey, RangeKey, Verdict, VerdictKey};
use std::collections::{BTreeMap, BTreeSet};

/// What the last plan replaced.
#[derive(Debug, Default)]
pub(super) struct Before {
    /// Entries that it wrote or removed, by what they were; how often.
    pub peers: BTreeMap<RangeKey, (Option<Peer>, usize)>,
    /// Verdicts that it wrote over others.
    pub verdicts: BTreeSet<VerdictKey>,
}

impl Before {
    pub fn note_peer(&mut self, range: RangeKey, old: Option<Peer>) {
        self.peers.entry(range).or_insert((old, 0)).1 += 1;
    }
}

/// What found no room.
#[derive(Debug, Default)]
pub(super) struct Missing {
    /// Addresses without the peer set that they should have.
    pub ranges: BTreeSet<RangeKey>,
    verdicts: BTreeSet<VerdictKey>,
    rules: BTreeSet<u32>,
}

impl Policies {
    /// Takes a step out of the image. `false` if it cannot be told what the kernel holds, as where something was to be removed: what is
    /// judged by stays, with all that it needs.
    pub(in crate::state) fn take_back(&mut self, step: &Step, image: &mut MapImage) -> bool {
        match step {
            Step::PutPeer(range, new) => self.take_back_peer(*range, *new, image),
            Step::PutVerdict(key, new) => self.take_back_verdict(*key, *new, image),
            // Nothing is left of a table of which something is missing, and no verdict leads to it.
            Step::PutPort(key, _) => {
                let of_table: Vec<PortKey> = match self.tables.content(key.table) {
                    Some(content) => crate::policy::ports::numbered(content, key.table).map(|(key, _)| key).collect(),
                    None => Vec::new(),
                };
                of_table.iter().for_each(|key| _ = image.ports.remove(key));
                self.tables.spoil(key.table);
                !image.ports.contains_key(key)
            }
            // What it says counts, without its name.
            Step::PutRule(number, _) => {
                self.missing.rules.insert(*number);
                image.rules.remove(number).is_some()
            }
            _ => false,
        }
    }

    fn take_back_peer(&mut self, range: RangeKey, new: Peer, image: &mut MapImage) -> bool {
        let Some((old, 1)) = self.before.peers.remove(&range) else { return false };
        if image.peers.remove(&range) != Some(new) || old.is_some_and(|old| !self.peers.is_known(old.peers)) {
            return false;
        }
        if let Some(old) = old {
            self.peers.hold(old.peers);
            image.peers.insert(range, old);
        }
        self.peers.release(new.peers);
        self.missing.ranges.insert(range)
    }

    fn take_back_verdict(&mut self, key: VerdictKey, new: Verdict, image: &mut MapImage) -> bool {
        if self.before.verdicts.contains(&key) || image.verdicts.remove(&key) != Some(new) {
            return false;
        }
        if new.table != 0 {
            self.tables.release(new.table);
        }
        self.missing.verdicts.insert(key)
    }

    /// Writes again what found no room, of that which is still in use. (Addresses are looked at with those of which something changed.)
    pub(super) fn put_missing(&mut self, image: &mut MapImage, draft: &mut Draft) {
        for number in std::mem::take(&mut self.missing.rules) {
            let Some(rule) = self.rules.content(number).copied().filter(|_| !self.rules.is_idle(number)) else { continue };
            if image.rules.insert(number, rule).is_none() {
                draft.put_rules.push(Step::PutRule(number, rule));
            }
        }
        for key in std::mem::take(&mut self.missing.verdicts) {
            if self.sets.is_idle(key.set) || image.verdicts.contains_key(&key) {
                continue;
            }
            let Some(set) = self.by_set.get(&key.set) else { continue };
            let said = if key.peers == 0 {
                set.of_nobody.clone()
            } else {
                let answers = self.peers.content(key.peers).filter(|_| !self.peers.is_idle(key.peers));
                let Some(answers) = answers else { continue };
                set.say(answers)
            };
            if key.peers == 0 || said != set.of_nobody {
                self.put_verdict(key, said, image, draft);
            }
        }
    }
}

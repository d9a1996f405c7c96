//! Addresses and their peer sets.

use super::{Policies, whole};
use crate::facts::Block;
use crate::image::{MapImage, Step};
use crate::policy::atoms::{Answer, Atom, answer, atom_of, family};
use crate::policy::blocks::Prefixes;
use crate::state::draft::Draft;
use orknet_abi::{Address, Peer, RangeKey};
use std::sync::Arc;

/// With more new atoms at once, all are asked again of everybody.
const FEW: usize = 64;

impl Policies {
    /// Asks pods, nodes and blocks what has not been asked.
    pub(super) fn ask(&mut self) {
        let new = self.atoms.take_new();
        for atom in &new {
            match self.atoms.get(*atom) {
                Some(Atom::Block(_)) => {
                    self.blocks_dirty = true;
                    self.new_blocks.push(*atom);
                }
                Some(Atom::Unknown) => (self.blocks_dirty, self.unknown_dirty) = (true, true),
                Some(Atom::Nodes(_)) => self.nodes_dirty = true,
                _ => {}
            }
        }
        if new.len() > FEW {
            self.pods.look_again(None);
        } else if !new.is_empty() {
            self.pods.ask_new(&new, &self.atoms, &self.namespaces);
        }
        self.pods.ask_dirty(&self.atoms, &self.namespaces);
    }

    /// Entries that may have changed, each once, in their order: what is outside before what is inside; or `all` of the image and all addresses.
    pub(super) fn take_dirty_ranges(&mut self, image: &MapImage, all: bool) -> Vec<RangeKey> {
        let mut dirty = Vec::new();
        let new_blocks = std::mem::take(&mut self.new_blocks);
        if std::mem::take(&mut self.blocks_dirty) || all {
            let new = Prefixes::new(self.ranges_asked());
            let old = std::mem::replace(&mut self.prefixes, new);
            let changed = |one: &Prefixes, other: &Prefixes| -> Vec<RangeKey> {
                one.iter().filter(|(range, blocks)| other.get(range) != Some(*blocks)).map(|(range, _)| *range).collect()
            };
            let mut ranges = changed(&old, &self.prefixes);
            ranges.extend(changed(&self.prefixes, &old));
            if std::mem::take(&mut self.unknown_dirty) || new_blocks.len() > FEW {
                ranges.iter().for_each(|range| self.touch_in(range));
            } else if !all {
                self.enter(&new_blocks, image);
            }
            dirty = ranges;
        }
        if std::mem::take(&mut self.nodes_dirty) || all {
            self.pods.dirty.extend(self.node_addresses.keys());
        }
        if all {
            dirty.extend(image.peers.keys());
            // What the kernel should have had, and has not.
            dirty.extend(self.prefixes.iter().map(|(range, _)| *range));
            self.pods.touch_in(Address([0; 16]), Address([u8::MAX; 16]));
        }
        dirty.extend(std::mem::take(&mut self.missing.ranges));
        dirty.append(&mut self.strangers);
        dirty.extend(std::mem::take(&mut self.pods.dirty).into_iter().map(whole));
        dirty.sort_unstable();
        dirty.dedup();
        dirty
    }

    /// Addresses in a range may have changed.
    fn touch_in(&mut self, range: &RangeKey) {
        let (first, last) = ends(range);
        self.pods.touch_in(first, last);
        let nodes: Vec<Address> = self.node_addresses.range(first..=last).map(|(address, _)| *address).collect();
        self.pods.dirty.extend(nodes);
    }

    /// Ranges of addresses that atoms ask for, with the atom.
    fn ranges_asked(&self) -> impl Iterator<Item = (u32, &Block)> {
        let of_pods = self.atoms.unknown().into_iter().flat_map(|unknown| self.pod_ranges.iter().map(move |block| (unknown, block)));
        self.atoms.blocks().into_iter().chain(of_pods)
    }

    /// What an entry should answer; `None` for no entry.
    pub(super) fn wanted(&self, range: &RangeKey) -> Option<Arc<[Answer]>> {
        let of_blocks = |blocks: &[u32]| blocks.iter().map(|block| answer(*block, 0)).collect::<Vec<_>>();
        let by_block = || self.prefixes.get(range).map(|blocks| of_blocks(blocks).into());
        if range.prefix_bits < 128 {
            return by_block();
        }
        let nodes = self.node_addresses.get(&range.address);
        let is_known = nodes.is_some() || self.pods.is_known(range.address);
        let of_nodes = nodes.into_iter().flatten().filter_map(|name| self.nodes.get(name));
        let mut answers: Vec<Answer> = of_nodes.flat_map(|node| self.atoms.ask_node(&node.labels)).collect();
        answers.extend(self.pods.answers(range.address));
        let blocks = self.prefixes.at(range.address);
        let is_unknown = |block: &u32| self.atoms.unknown() == Some(*block);
        if answers.is_empty() && !(is_known && blocks.iter().any(is_unknown)) {
            return by_block();
        }
        let blocks: Vec<u32> = blocks.iter().copied().filter(|block| !(is_known && is_unknown(block))).collect();
        answers.extend(of_blocks(&blocks));
        answers.push(family(range.address));
        answers.sort_unstable();
        answers.dedup();
        Some(answers.into())
    }

    /// Gives an entry the peer set that it should have.
    pub(super) fn put_peer(&mut self, range: RangeKey, image: &mut MapImage, draft: &mut Draft) {
        let old = image.peers.get(&range).copied();
        let new = self.wanted(&range).map(|answers| Peer { peers: self.peers_of(&answers) });
        if old == new {
            return;
        }
        self.before.note_peer(range, old);
        match new {
            Some(new) => {
                self.peers.hold(new.peers);
                image.peers.insert(range, new);
                draft.put_peers.push(Step::PutPeer(range, new));
            }
            None => {
                image.peers.remove(&range);
                draft.delete_peers.push(Step::DeletePeer(range));
            }
        }
        old.into_iter().for_each(|old| self.peers.release(old.peers));
    }

    fn peers_of(&mut self, answers: &Arc<[Answer]>) -> u32 {
        if let Some(number) = self.peers.number(answers) {
            return number;
        }
        let number = self.peers.insert(Arc::clone(answers));
        self.index_peers(number, answers);
        self.new_peers.push(number);
        number
    }

    /// A peer set can be found by what it answers.
    pub(super) fn index_peers(&mut self, number: u32, answers: &[Answer]) {
        for answer in answers {
            self.peers_answering.entry(atom_of(*answer)).or_default().insert(number);
        }
    }

    /// Frees answers of what nobody asks any more. Whether there was something.
    pub(super) fn forget_atoms(&mut self, image: &MapImage) -> bool {
        let (blocks, unknown) = (self.ranges_asked().count(), self.atoms.unknown());
        let gone = self.atoms.retire();
        if gone.is_empty() {
            return false;
        }
        self.blocks_dirty |= self.ranges_asked().count() != blocks;
        self.unknown_dirty |= self.atoms.unknown() != unknown;
        self.nodes_dirty = true;
        self.pods.forget(|answer| gone.contains_key(&atom_of(answer)));
        self.leave(&gone, image);
        true
    }
}

/// The first address of a range and the last.
pub(super) fn ends(range: &RangeKey) -> (Address, Address) {
    let open = u128::MAX.checked_shr(range.prefix_bits).unwrap_or(0);
    (range.address, Address((u128::from_be_bytes(range.address.0) | open).to_be_bytes()))
}

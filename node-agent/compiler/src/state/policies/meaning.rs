//! What peer sets stand for, as questions come and go. By the answer to a new one nobody has judged yet, and by that to one which is gone nobody does:
//! what a set of rules says to a number is the same with it and without. So where all addresses of a number give such an answer, the number stands
//! for that too, or no more, and none of them is written: a block around all pods is not written at each of them.

use super::Policies;
use super::addresses::ends;
use crate::facts::Block;
use crate::image::MapImage;
use crate::policy::atoms::{Answer, Atom, answer, atom_of};
use orknet_abi::{Address, Peer, RangeKey};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

impl Policies {
    /// New blocks. A peer set most of whose entries are in one stands for that from now on; entries that differ from most of theirs are to be looked
    /// at.
    pub(super) fn enter(&mut self, blocks: &[u32], image: &MapImage) {
        for number in blocks {
            let Some(Atom::Block(block)) = self.atoms.get(*number) else { continue };
            let block = block.clone();
            let mut inside: HashMap<u32, usize> = HashMap::new();
            entries_in(&block, image).for_each(|(_, peer)| *inside.entry(peer.peers).or_default() += 1);
            let all = inside.len();
            inside.retain(|peers, count| 2 * *count > self.peers.users(*peers) && self.peers.content(*peers).is_some());
            if inside.len() < all {
                let alone = |(_, peer): &(&RangeKey, &Peer)| !inside.contains_key(&peer.peers);
                self.strangers.extend(entries_in(&block, image).filter(alone).map(|(range, _)| *range));
            }
            for peers in inside.keys() {
                let Some(old) = self.peers.content(*peers) else { continue };
                let mut answers: Vec<Answer> = old.iter().copied().chain([answer(*number, 0)]).collect();
                answers.sort_unstable();
                self.stand_for(*peers, answers.into());
            }
            inside.retain(|peers, count| *count < self.peers.users(*peers));
            if !inside.is_empty() {
                let outside = |(range, peer): &(&RangeKey, &Peer)| inside.contains_key(&peer.peers) && !block.holds(range);
                self.strangers.extend(image.peers.iter().filter(outside).map(|(range, _)| *range));
            }
        }
    }

    /// Atoms that nobody asks any more. Of two peer sets that differed in these alone, the smaller one's entries are to be looked at, and so are those
    /// of one that answers nothing else.
    pub(super) fn leave(&mut self, gone: &BTreeMap<u32, Arc<Atom>>, image: &MapImage) {
        let concerned: BTreeSet<u32> = gone.keys().filter_map(|atom| self.peers_answering.get(atom)).flatten().copied().collect();
        let mut moving: HashSet<u32> = HashSet::new();
        for peers in concerned {
            let Some(old) = self.peers.content(peers).cloned() else { continue };
            let (lost, left): (Vec<Answer>, Vec<Answer>) = old.iter().partition(|answer| gone.contains_key(&atom_of(**answer)));
            let is_block = |atom: Option<&Atom>| matches!(atom, None | Some(Atom::Block(_)));
            if lost.iter().any(|answer| !is_block(gone.get(&atom_of(*answer)).map(|atom| &**atom)))
                && left.iter().all(|answer| is_block(self.atoms.get(atom_of(*answer))))
            {
                moving.insert(peers);
            }
            let left: Arc<[Answer]> = left.into();
            match self.peers.number(&left) {
                Some(other) if self.peers.users(other) >= self.peers.users(peers) => _ = moving.insert(peers),
                other => {
                    moving.extend(other);
                    self.stand_for(peers, left);
                }
            }
        }
        if !moving.is_empty() {
            self.strangers.extend(image.peers.iter().filter(|(_, peer)| moving.contains(&peer.peers)).map(|(range, _)| *range));
        }
    }

    /// The number stands for these answers from now on.
    fn stand_for(&mut self, peers: u32, answers: Arc<[Answer]>) {
        for atom in self.peers.content(peers).into_iter().flat_map(|old| old.iter()).map(|answer| atom_of(*answer)) {
            if let Some(answering) = self.peers_answering.get_mut(&atom) {
                answering.remove(&peers);
                if answering.is_empty() {
                    self.peers_answering.remove(&atom);
                }
            }
        }
        self.index_peers(peers, &answers);
        self.peers.change(peers, answers);
    }
}

/// Entries of the image that are in a block.
fn entries_in<'a>(block: &'a Block, image: &'a MapImage) -> impl Iterator<Item = (&'a RangeKey, &'a Peer)> {
    let (first, last) = ends(&block.range);
    let whole = |address: Address| RangeKey { prefix_bits: 128, address };
    let of_prefixes = image.peers.range(..whole(Address([0; 16])));
    of_prefixes.chain(image.peers.range(whole(first)..=whole(last))).filter(|(range, _)| block.holds(range))
}

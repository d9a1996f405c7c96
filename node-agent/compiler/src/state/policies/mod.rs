//! Policies kept up to date: what is known of them and of those whom they speak of, and what of it is in the maps.
//!
//! [`notes`] takes changes, [`pods`] knows the pods of the cluster, [`locals`] those of this node and which rules hold for them ([`selecting`]: by
//! which policies), [`atoms`] what these rules ask. [`addresses`] gives addresses their peer sets, [`meaning`] changes what these stand for, [`sets`] writes what sets of rules say
//! about them; [`sweep`] finds both in an image that was read back. [`take_back`] is for what found no room.

mod addresses;
mod atoms;
mod explain;
mod locals;
mod meaning;
mod notes;
mod pods;
mod query;
mod selecting;
mod sets;
mod sweep;
mod take_back;

pub use explain::{PodAt, PolicyName};

use super::draft::Draft;
use crate::facts::{Attachment, Block, ClusterPolicyFacts, NamespaceFacts, ObjectName, PeerNodeFacts, PolicyFacts, Uid};
use crate::image::{MapImage, with_sets};
use crate::policy::atoms::Answer;
use crate::policy::blocks::Prefixes;
use crate::policy::ports::Table;
use crate::policy::resolve::Direction;
use crate::policy::rules::{RuleSet, Section};
use crate::pool::Pool;
use atoms::Atoms;
use locals::Locals;
use orknet_abi::{Address, Pod, PodKey, RangeKey, Rule};
use pods::Pods;
use sets::Set;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use take_back::{Before, Missing};

/// Namespace (none of a ClusterNetworkPolicy), name, and direction.
type SectionKey = (Option<Arc<str>>, Arc<str>, Direction);

/// All about policies.
#[derive(Debug)]
pub(super) struct Policies {
    is_known: bool,
    policies: HashMap<Arc<str>, BTreeMap<Arc<str>, PolicyFacts>>,
    cluster_policies: BTreeMap<Arc<str>, ClusterPolicyFacts>,
    namespaces: HashMap<Arc<str>, NamespaceFacts>,
    nodes: BTreeMap<Arc<str>, PeerNodeFacts>,
    node_addresses: BTreeMap<Address, BTreeSet<Arc<str>>>,
    names: HashMap<Uid, PolicyName>,
    /// What of policies is not understood.
    troubles: BTreeMap<PolicyName, Box<str>>,
    pods: Pods,
    locals: Locals,
    atoms: Atoms,
    /// Rules of policies that do not depend on the pod.
    sections: HashMap<SectionKey, Section>,
    prefixes: Prefixes,
    /// Where pods have their addresses.
    pod_ranges: Vec<Block>,
    blocks_dirty: bool,
    /// Who is not known may be elsewhere than the prefixes say.
    unknown_dirty: bool,
    /// Atoms of blocks that are not in the prefixes yet.
    new_blocks: Vec<u32>,
    /// Entries that may not be of the peer set that they should have.
    strangers: Vec<RangeKey>,
    nodes_dirty: bool,
    rules: Pool<Rule>,
    tables: Pool<Table>,
    peers: Pool<Arc<[Answer]>>,
    sets: Pool<Arc<RuleSet>>,
    by_set: HashMap<u32, Set>,
    /// Sets of which nothing is known but what they say, and the rules that they say it by.
    kept: HashMap<u32, Vec<u32>>,
    /// Sets of rules that ask an atom.
    sets_asking: HashMap<u32, BTreeSet<u32>>,
    /// Peer sets that answer an atom.
    peers_answering: HashMap<u32, BTreeSet<u32>>,
    /// Peer sets that no set of rules has spoken of.
    new_peers: Vec<u32>,
    /// The image may hold what is not known here.
    sweep: bool,
    /// An image has been looked at since all is known: what it holds of pods' entries since then was planned here.
    has_stock: bool,
    before: Before,
    missing: Missing,
}

impl Default for Policies {
    fn default() -> Self {
        Self {
            is_known: false,
            policies: HashMap::new(),
            cluster_policies: BTreeMap::new(),
            namespaces: HashMap::new(),
            nodes: BTreeMap::new(),
            node_addresses: BTreeMap::new(),
            names: HashMap::new(),
            troubles: BTreeMap::new(),
            pods: Pods::default(),
            locals: Locals::default(),
            atoms: Atoms::default(),
            sections: HashMap::new(),
            prefixes: Prefixes::default(),
            pod_ranges: Vec::new(),
            blocks_dirty: false,
            unknown_dirty: false,
            new_blocks: Vec::new(),
            strangers: Vec::new(),
            nodes_dirty: false,
            rules: Pool::default(),
            tables: Pool::default(),
            peers: Pool::default(),
            sets: Pool::default(),
            by_set: HashMap::new(),
            kept: HashMap::new(),
            sets_asking: HashMap::new(),
            peers_answering: HashMap::new(),
            new_peers: Vec::new(),
            sweep: true,
            has_stock: false,
            before: Before::default(),
            missing: Missing::default(),
        }
    }
}

impl Policies {
    /// The image was replaced by one that was read back.
    pub fn adopt(&mut self) {
        self.sweep = true;
    }

    /// A new plan is made: the last one is in the kernel.
    pub fn forget_before(&mut self) {
        self.rules.forget_retired();
        self.tables.forget_retired();
        self.peers.forget_retired();
        self.sets.forget_retired();
        self.before = Before::default();
        // What no set has may ask atoms that are gone.
        self.sections.retain(|_, section| section.is_shared());
    }

    /// Plans all but the pods' entries and what goes after them. Whether some of these may have changed.
    pub fn plan(&mut self, attachments: &BTreeMap<Arc<str>, Attachment>, image: &mut MapImage, draft: &mut Draft) -> bool {
        if !self.is_known {
            return false;
        }
        let is_sweep = std::mem::take(&mut self.sweep);
        if is_sweep {
            self.take_stock(attachments, image);
        }
        let resolved = self.resolve_dirty();
        self.ask();
        let dirty = self.take_dirty_ranges(image, is_sweep);
        if is_sweep {
            self.recognise_peers(&dirty, image);
            self.recognise_sets(&resolved, image, draft);
        }
        dirty.into_iter().for_each(|range| self.put_peer(range, image, draft));
        self.speak_of_new_peers(image, draft);
        let pods_changed = is_sweep || !resolved.is_empty();
        self.switch(resolved, image, draft);
        self.put_missing(image, draft);
        pods_changed
    }

    /// Plans what goes once the pods' entries are written. Whether that makes another round: addresses are freed of what nobody asks
    /// any more when no pod depends on it.
    pub fn retire(&mut self, image: &mut MapImage, draft: &mut Draft) -> bool {
        if !self.is_known {
            return false;
        }
        self.retire_sets(image, draft);
        self.retire_peers(image, draft);
        self.retire_parts(image, draft);
        self.forget_atoms(image)
    }

    /// The entry of an attachment's address; `None` if it must not have one yet. See [`State::policies_known`](super::State::policies_known).
    pub fn entry(&self, name: &str, attachment: &Attachment, key: &PodKey, image: &MapImage) -> Option<Pod> {
        if attachment.owner.is_none() {
            return Some(attachment.pod);
        }
        if let Some(sets) = self.locals.sets(name).filter(|_| self.is_known) {
            return Some(with_sets(attachment.pod, sets));
        }
        if self.is_known {
            return None;
        }
        kept(attachment, key, image).map(|sets| with_sets(attachment.pod, sets))
    }
}

/// The sets that the kernel has for an address of an attachment.
fn kept(attachment: &Attachment, key: &PodKey, image: &MapImage) -> Option<[u32; 4]> {
    image.pods.get(key).filter(|held| held.ifindex == attachment.pod.ifindex).map(crate::image::sets_of)
}

fn whole(address: Address) -> RangeKey {
    RangeKey { prefix_bits: 128, address }
}

/// The policy of a name.
fn policy_name(namespace: &Arc<str>, name: &Arc<str>) -> PolicyName {
    PolicyName::Namespaced(ObjectName { namespace: Arc::clone(namespace), name: Arc::clone(name) })
}

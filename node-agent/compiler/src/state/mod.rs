//! The compiler kept up to date: changes in, plans out, touching only what a change touches.
//!
//! Here is what is known of the objects; [`plan`] holds how it becomes writes, [`take_back`] what becomes of writes that fail, [`known`] what is
//! no news, [`query`] what others ask about it.

mod draft;
mod known;
mod plan;
mod policies;
mod query;
mod take_back;

use crate::claims::{Claim, Claims, claims_of};
use crate::demand::Demand;
use crate::facts::{
    Attachment, ClusterPolicyFacts, NamespaceFacts, NodeFacts, ObjectName, Options, PeerNodeFacts, PodFacts, PolicyFacts, ServiceFacts,
    SliceFacts,
};
use crate::image::MapImage;
use crate::maglev::is_table_size;
use crate::pool::Pool;
use crate::tables::Addresses;
use orknet_abi::{Backend, Node, Range, RangeKey, ServiceKey};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use policies::Policies;
use take_back::Before;

pub use policies::{PodAt, PolicyName};
pub use query::{HealthCheck, Lead, WithoutTable};

/// One fact that changed. A change is the whole new value, never a difference; `None` means that the object is gone.
#[derive(Clone, Debug)]
pub enum Change {
    Service(ObjectName, Option<ServiceFacts>),
    Slice(ObjectName, Option<SliceFacts>),
    Node(NodeFacts),
    /// The name is unique on the node: container and interface. Others that claim one of its addresses are forgotten.
    Attachment(Arc<str>, Option<Attachment>),
    /// All ranges of addresses that are known.
    Ranges(BTreeMap<RangeKey, Range>),
    /// What programs must know of this node; all zero for a node that is not known.
    Settings(Node),
    /// What is set about Services.
    Options(Options),
    Policy(ObjectName, Option<PolicyFacts>),
    ClusterPolicy(Arc<str>, Option<ClusterPolicyFacts>),
    Namespace(Arc<str>, Option<NamespaceFacts>),
    /// A pod of the cluster, of this node or another.
    PeerPod(ObjectName, Option<PodFacts>),
    /// A node of the cluster, this one or another.
    PeerNode(Arc<str>, Option<PeerNodeFacts>),
}

/// What is wanted, and what the kernel holds as far as we know.
#[derive(Debug, Default)]
pub struct State {
    node: NodeFacts,
    options: Options,
    settings: Option<Node>,
    services: HashMap<ObjectName, Entry>,
    /// How many of these have the Service itself, not only slices for one.
    service_count: usize,
    /// Which Service a slice belongs to, by the slice's name.
    owner_of_slice: HashMap<ObjectName, Arc<str>>,
    claims: Claims,
    attachments: BTreeMap<Arc<str>, Attachment>,
    ranges: BTreeMap<RangeKey, Range>,
    ranges_dirty: bool,
    /// Services to look at again.
    dirty: BTreeSet<ObjectName>,
    pods_dirty: bool,
    /// Entries of host ports in the image.
    host_keys: Vec<ServiceKey>,
    /// The image was read back: it may hold what is nobody's.
    sweep: bool,
    lists: Pool<Arc<[Backend]>>,
    tables: Pool<Addresses>,
    sources: Pool<Arc<[RangeKey]>>,
    demand: Demand,
    /// Entries that wait for tables to go before theirs has room.
    waiting: BTreeSet<ServiceKey>,
    health: BTreeMap<ObjectName, HealthCheck>,
    health_changed: bool,
    policies: Policies,
    image: MapImage,
    /// What the last plan replaced and removed.
    before: Before,
}

/// A Service as far as it is known: slices may come before it and outlive it.
#[derive(Debug, Default)]
struct Entry {
    service: Option<ServiceFacts>,
    slices: Vec<(Arc<str>, SliceFacts)>,
    /// Entries that it has in the image.
    keys: Vec<ServiceKey>,
}

impl State {
    /// Nothing known, an empty kernel.
    pub fn new(node: NodeFacts) -> Self {
        Self { node, ..Self::default() }
    }

    /// What the kernel holds when every plan up to now has been applied.
    pub fn image(&self) -> &MapImage {
        &self.image
    }

    /// Takes `image` for what the kernel really holds: at a restart, after a write that failed, or when the maps turned out to differ.
    /// The next plan leads from there to what is wanted and rewrites nothing that is already so.
    pub fn adopt(&mut self, image: MapImage) {
        self.image = image;
        self.sweep = true;
        self.pods_dirty = true;
        self.ranges_dirty = true;
        self.policies.adopt();
        self.look_at_all_again();
    }

    /// Takes note of a change. Nothing is computed before [`Self::plan`], so that a burst costs one computation per Service.
    pub fn note(&mut self, change: Change) {
        match change {
            Change::Service(name, facts) => self.note_service(name, facts),
            Change::Slice(name, facts) => self.note_slice(name, facts),
            Change::Node(facts) if facts == self.node => {}
            Change::Node(facts) => {
                self.node = facts;
                self.look_at_all_again();
            }
            Change::Attachment(name, Some(facts)) => {
                if self.attachments.get(&name) == Some(&facts) {
                    return;
                }
                self.pods_dirty = true;
                let rivals = self.attachments.iter().filter(|(other, known)| **other != name && known.collides_with(&facts));
                for rival in rivals.map(|(rival, _)| Arc::clone(rival)).collect::<Vec<_>>() {
                    self.attachments.remove(&rival);
                    self.policies.note_attachment(&rival, None);
                }
                self.policies.note_attachment(&name, Some(&facts));
                self.attachments.insert(name, facts);
            }
            Change::Attachment(name, None) => {
                self.pods_dirty |= self.attachments.remove(&name).is_some();
                self.policies.note_attachment(&name, None);
            }
            Change::Ranges(ranges) => {
                self.ranges_dirty |= self.ranges != ranges;
                self.policies.note_ranges(&ranges);
                self.ranges = ranges;
            }
            Change::Settings(node) => {
                let before = self.table_size();
                self.settings = (node != Node::default()).then_some(node);
                if self.table_size() != before {
                    self.look_at_all_again();
                }
            }
            Change::Options(options) if options == self.options => {}
            Change::Options(options) => {
                self.options = options;
                self.look_at_all_again();
            }
            Change::Policy(name, facts) => self.note_policy(name, facts),
            Change::ClusterPolicy(name, facts) => self.note_cluster_policy(name, facts),
            Change::Namespace(name, facts) => self.note_namespace(name, facts),
            Change::PeerPod(name, facts) => self.note_peer_pod(name, facts),
            Change::PeerNode(name, facts) => self.note_peer_node(name, facts),
        }
    }

    /// Forgets Services that are not in `listed`: the end of a new list, which shows no deletions.
    pub fn retain_services(&mut self, listed: &HashSet<ObjectName>) {
        let known = self.services.iter().filter(|(_, entry)| entry.service.is_some());
        let gone: Vec<_> = known.map(|(name, _)| name).filter(|name| !listed.contains(*name)).cloned().collect();
        gone.into_iter().for_each(|name| self.note_service(name, None));
    }

    /// Forgets slices that are not in `listed`.
    pub fn retain_slices(&mut self, listed: &HashSet<ObjectName>) {
        let gone: Vec<_> = self.owner_of_slice.keys().filter(|name| !listed.contains(*name)).cloned().collect();
        gone.into_iter().for_each(|name| self.note_slice(name, None));
    }

    fn look_at_all_again(&mut self) {
        self.dirty.extend(self.services.keys().cloned());
    }

    /// Positions of the tables that are wanted; 0 for no tables, when the node is not known or wants what cannot be.
    fn table_size(&self) -> u32 {
        self.settings.map(|node| node.table_size).filter(|size| is_table_size(*size)).unwrap_or(0)
    }

    fn note_service(&mut self, name: ObjectName, facts: Option<ServiceFacts>) {
        if facts.is_none() && !self.services.contains_key(&name) {
            return;
        }
        let entry = self.services.entry(name.clone()).or_default();
        if entry.service == facts {
            return;
        }
        self.service_count = self.service_count + usize::from(facts.is_some()) - usize::from(entry.service.is_some());
        let new = facts.as_ref().map(claims_of).unwrap_or_default();
        let old = std::mem::replace(&mut entry.service, facts).as_ref().map(claims_of).unwrap_or_default();
        for claim in old.difference(&new) {
            self.change_claim(*claim, |claims| claims.remove(*claim, &name));
        }
        for claim in new.difference(&old) {
            self.change_claim(*claim, |claims| claims.add(*claim, &name));
        }
        self.dirty.insert(name);
    }

    /// Those who had or get what is claimed are looked at again, and those who meet it in another form.
    fn change_claim(&mut self, claim: Claim, change: impl FnOnce(&mut Claims) -> bool) {
        let before = self.claims.owner(&claim).cloned();
        if !change(&mut self.claims) {
            return;
        }
        let after = self.claims.owner(&claim).cloned();
        let appears_or_goes = before.is_some() != after.is_some();
        self.dirty.extend(before.into_iter().chain(after));
        let rivals: Vec<Claim> = match claim {
            // All ports of the address are concerned; whoever wants one wants the address.
            Claim::Cluster(address) if appears_or_goes => return self.dirty.extend(self.claims.claimants(&Claim::External(address))),
            Claim::Cluster(_) | Claim::External(_) => Vec::new(),
            Claim::Port(_, port, protocol) => vec![Claim::NodePort(port, protocol)],
            Claim::NodePort(port, protocol) => self.node.listed().map(|address| Claim::Port(address, port, protocol)).collect(),
        };
        self.dirty.extend(rivals.iter().filter_map(|rival| self.claims.owner(rival)).cloned());
    }

    fn note_slice(&mut self, name: ObjectName, facts: Option<SliceFacts>) {
        let service = facts.as_ref().map(|facts| facts.service.clone());
        let former = match &service {
            Some(service) => self.owner_of_slice.insert(name.clone(), service.clone()),
            None => self.owner_of_slice.remove(&name),
        };
        if let Some(former) = former.filter(|former| Some(former) != service.as_ref()) {
            let owner = ObjectName { namespace: name.namespace.clone(), name: former };
            if let Some(entry) = self.services.get_mut(&owner) {
                entry.slices.retain(|(slice, _)| *slice != name.name);
            }
            self.dirty.insert(owner);
        }
        if let (Some(facts), Some(service)) = (facts, service) {
            let owner = ObjectName { namespace: name.namespace, name: service };
            let slices = &mut self.services.entry(owner.clone()).or_default().slices;
            match slices.iter_mut().find(|(slice, _)| *slice == name.name) {
                Some((_, known)) if *known == facts => return,
                Some((_, known)) => *known = facts,
                None => slices.push((name.name, facts)),
            }
            self.dirty.insert(owner);
        }
    }
}

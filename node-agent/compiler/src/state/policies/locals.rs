//! The pods of this node, and the sets of rules that hold for them.

use super::Policies;
use super::pods::Pods;
use super::selecting::{Moving, Selecting, Shared};
use crate::facts::{Attachment, Labels, NamedPort, NamespaceFacts, NamespacedPods, ObjectName, Owner, PodFacts, Selector};
use crate::image::sets_of;
use crate::policy::resolve::{self, Direction, Subject};
use crate::policy::rules::{RuleSet, Section};
use orknet_abi::{Address, direction};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// By the name of the attachment.
#[derive(Debug, Default)]
pub(super) struct Locals {
    all: BTreeMap<Arc<str>, Local>,
    by_pod: HashMap<ObjectName, BTreeSet<Arc<str>>>,
    by_namespace: HashMap<Arc<str>, BTreeSet<Arc<str>>>,
    dirty: BTreeSet<Arc<str>>,
}

#[derive(Debug)]
pub(super) struct Local {
    owner: Option<Owner>,
    /// What is known of its pod, or was when it still was there.
    facts: Option<PodFacts>,
    addresses: Box<[Address]>,
    /// Where the cluster's pods have it.
    slot: u32,
    /// NetworkPolicies of its namespace that select it; `None` if that has to be found out. Pods that are selected by the same share them.
    policies: Option<Arc<Selecting>>,
    /// Ingress, egress, and the same for what comes from itself; `None` as long as they are not known.
    sets: Option<[u32; 4]>,
}

/// What pods' sets depend on: policies of both kinds (NetworkPolicies by where they are kept, which tells the namespace as well), and what the
/// pod calls its ports, where a policy asks that.
type Alike = (*const Selecting, Vec<Arc<str>>, Option<Arc<[NamedPort]>>);

/// What has been found out about pods in one look at several.
#[derive(Default)]
struct Found {
    shared: Shared,
    /// With what keeps the place from being another's.
    alike: HashMap<Alike, (Arc<Selecting>, [Arc<RuleSet>; 4])>,
}

/// For attachments that have to be looked at again: which rules hold. Equal ones are mostly the same.
pub(super) type Resolved = Vec<(Arc<str>, [Arc<RuleSet>; 4])>;

impl Locals {
    /// The sets that hold for an attachment's pod, if it is known.
    pub fn sets(&self, name: &str) -> Option<[u32; 4]> {
        self.all.get(name)?.sets
    }

    pub fn get(&self, name: &str) -> Option<&Local> {
        self.all.get(name)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Local)> {
        self.all.iter()
    }

    /// Its pod has other sets from now on; answers those that it had.
    pub fn switch(&mut self, name: &str, sets: [u32; 4]) -> Option<[u32; 4]> {
        self.all.get_mut(name)?.sets.replace(sets)
    }

    /// Forgets the sets: they are not in the image.
    pub fn forget_sets(&mut self) {
        self.all.values_mut().filter(|local| local.owner.is_some()).for_each(|local| local.sets = None);
        self.dirty.extend(self.all.keys().cloned());
    }

    /// Adds an attachment. What is known of its pod is found among all, unless it is there already.
    pub fn insert(&mut self, name: &Arc<str>, attachment: &Attachment, pods: &mut Pods) {
        let former = self.all.remove(name).and_then(|local| local.facts);
        let owner = attachment.owner.clone();
        let known = owner.as_ref().and_then(|owner| pods.get(&owner.pod).filter(|facts| facts.uid == owner.uid)).cloned();
        let addresses: Box<[Address]> = attachment.addresses.iter().copied().collect();
        // What is no pod of the API keeps what it has.
        let sets = owner.is_none().then(|| sets_of(&attachment.pod));
        let local = Local { owner, facts: known.or(former), slot: 0, addresses, policies: None, sets };
        let slot = pods.insert_local(local.name(), local.claims());
        if let Some(owner) = &local.owner {
            self.by_pod.entry(owner.pod.clone()).or_default().insert(Arc::clone(name));
            self.by_namespace.entry(Arc::clone(&owner.pod.namespace)).or_default().insert(Arc::clone(name));
        }
        self.all.insert(Arc::clone(name), Local { slot, ..local });
        self.dirty.insert(Arc::clone(name));
    }

    /// Takes an attachment away, and answers the sets that it had. One that is replaced by another of the same pod leaves what is known.
    pub fn remove(&mut self, name: &Arc<str>, next: Option<&Attachment>, pods: &mut Pods) -> Vec<u32> {
        let Some(local) = self.all.remove(name) else { return Vec::new() };
        pods.remove(local.slot);
        if let Some(owner) = &local.owner {
            unlink(&mut self.by_pod, &owner.pod, name);
            unlink(&mut self.by_namespace, &owner.pod.namespace, name);
        }
        self.dirty.remove(name);
        let sets = local.sets.iter().flatten().copied().filter(|set| *set != 0).collect();
        if local.owner.is_some() && next.is_some_and(|next| next.owner == local.owner) {
            self.all.insert(Arc::clone(name), Local { sets: None, ..local });
        }
        sets
    }

    /// Something else is known of a pod.
    pub fn pod_changed(&mut self, pod: &ObjectName, facts: &PodFacts, pods: &mut Pods) {
        for name in self.by_pod.get(pod).into_iter().flatten() {
            let Some(local) = self.all.get_mut(name) else { continue };
            if local.owner.as_ref().is_some_and(|owner| owner.uid == facts.uid) {
                local.facts = Some(facts.clone());
                local.policies = None;
                pods.remove(local.slot);
                local.slot = pods.insert_local(local.name(), local.claims());
                self.dirty.insert(Arc::clone(name));
            }
        }
    }

    /// A NetworkPolicy selects by another selector, or in another way.
    pub fn policy_changed(&mut self, policy: &ObjectName, old: Option<&Selector>, new: Option<&Selector>) {
        let (mut comes, mut goes) = (Moving::default(), Moving::default());
        for name in self.by_namespace.get(&policy.namespace).into_iter().flatten() {
            let Some(local) = self.all.get_mut(name) else { continue };
            let Some(labels) = local.facts.as_ref().map(|facts| &facts.labels) else { continue };
            let selects = |selector: Option<&Selector>| selector.is_some_and(|selector| selector.selects(labels));
            let (was, is) = (selects(old), selects(new));
            if was || is {
                self.dirty.insert(Arc::clone(name));
            }
            if was != is {
                let moving = if is { &mut comes } else { &mut goes };
                local.policies.take().into_iter().for_each(|selecting| moving.take(name, selecting));
            }
        }
        for (name, selecting) in comes.set(&policy.name, true).chain(goes.set(&policy.name, false)) {
            self.all.get_mut(&name).into_iter().for_each(|local| local.policies = Some(Arc::clone(&selecting)));
        }
    }

    /// What selects the pods of a namespace, as far as it is known.
    pub fn selecting_in(&self, namespace: &str) -> impl Iterator<Item = &Arc<Selecting>> {
        self.by_namespace.get(namespace).into_iter().flatten().filter_map(|name| self.all.get(name)?.policies.as_ref())
    }

    /// A ClusterNetworkPolicy selects, or did, by any of these.
    pub fn cluster_policy_changed(&mut self, subjects: &[NamespacedPods], namespaces: &HashMap<Arc<str>, NamespaceFacts>) {
        for (namespace, names) in &self.by_namespace {
            let unseen = NamespaceFacts::unseen(namespace);
            let labels = namespaces.get(namespace).map_or(&unseen.labels, |facts| &facts.labels);
            let selects = |local: &Local| {
                local.facts.as_ref().is_some_and(|facts| subjects.iter().any(|subject| subject.selects(labels, &facts.labels)))
            };
            self.dirty.extend(names.iter().filter(|name| self.all.get(*name).is_some_and(selects)).cloned());
        }
    }

    /// A namespace has other labels.
    pub fn namespace_changed(&mut self, namespace: &str) {
        self.dirty.extend(self.by_namespace.get(namespace).into_iter().flatten().cloned());
    }
}

fn unlink<K: Eq + std::hash::Hash>(index: &mut HashMap<K, BTreeSet<Arc<str>>>, key: &K, name: &Arc<str>) {
    if let Some(names) = index.get_mut(key) {
        names.remove(name);
        if names.is_empty() {
            index.remove(key);
        }
    }
}

impl Local {
    /// Of its pod; empty for what is no pod of the API.
    fn name(&self) -> ObjectName {
        let nobody = || ObjectName { namespace: "".into(), name: "".into() };
        self.owner.as_ref().map_or_else(nobody, |owner| owner.pod.clone())
    }

    /// Its pod, at the addresses that it really has.
    fn claims(&self) -> PodFacts {
        let addresses = self.addresses.clone();
        match &self.facts {
            Some(facts) => PodFacts { addresses, ..facts.clone() },
            None => PodFacts {
                uid: self.owner.as_ref().map_or_else(Default::default, |owner| owner.uid),
                labels: Labels::default(),
                addresses,
                ports: Arc::from([]),
                is_peer: false,
                created: 0,
            },
        }
    }

    /// The sets that it has.
    pub fn sets(&self) -> impl Iterator<Item = u32> {
        self.sets.into_iter().flatten().filter(|set| *set != 0)
    }

    /// Whether nothing is known of its pod, but that it is one.
    pub fn is_unknown(&self) -> bool {
        self.owner.is_some() && self.facts.is_none()
    }

    /// Whether its pod has an entry, or is to have one.
    pub fn has_sets(&self) -> bool {
        self.sets.is_some()
    }

    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }
}

impl Policies {
    /// Looks at the attachments that something concerns.
    pub(super) fn resolve_dirty(&mut self) -> Resolved {
        let dirty = std::mem::take(&mut self.locals.dirty);
        let mut found = Found::default();
        dirty.into_iter().filter_map(|name| Some((Arc::clone(&name), self.resolve(&name, &mut found)?))).collect()
    }

    fn resolve(&mut self, name: &Arc<str>, found: &mut Found) -> Option<[Arc<RuleSet>; 4]> {
        let local = self.locals.all.get(name)?;
        let (owner, facts) = (local.owner.clone()?, local.facts.clone()?);
        if local.addresses.is_empty() {
            return Some(Default::default());
        }
        let namespace = &owner.pod.namespace;
        let selecting = local.policies.clone().unwrap_or_else(|| {
            let own = self.policies.get(namespace).into_iter().flatten();
            Arc::new(own.filter(|(_, policy)| policy.pods.selects(&facts.labels)).map(|(name, _)| Arc::clone(name)).collect())
        });
        let selecting = found.shared.of(namespace, selecting, &self.locals);
        self.locals.all.get_mut(name)?.policies = Some(Arc::clone(&selecting));
        let labels = self.namespaces.get(namespace).cloned().unwrap_or_else(|| NamespaceFacts::unseen(namespace)).labels;
        let cluster = self.cluster_policies_of(&labels, &facts.labels);
        let alike = |ports: Option<&Arc<[NamedPort]>>| (Arc::as_ptr(&selecting), cluster.clone(), ports.cloned());
        let known = [None, Some(&facts.ports)].into_iter().find_map(|ports| found.alike.get(&alike(ports)));
        if let Some((_, sets)) = known {
            return Some(sets.clone());
        }
        let subject = Subject { namespace, ports: &facts.ports };
        let mut asks_ports = false;
        let sets = self.sets_by(&selecting, &cluster, &subject, &mut asks_ports);
        found.alike.insert(alike(asks_ports.then_some(&facts.ports)), (Arc::clone(&selecting), sets.clone()));
        Some(sets)
    }

    /// The sets that these policies make for a pod. `asks_ports` is set where they depend on what it calls its ports.
    fn sets_by(&mut self, selecting: &Selecting, cluster: &[Arc<str>], subject: &Subject<'_>, asks_ports: &mut bool) -> [Arc<RuleSet>; 4] {
        let mut both = |way: Direction| {
            let mut of = |section: Option<(Section, bool)>| {
                section.map(|(section, asks)| {
                    *asks_ports |= asks;
                    section
                })
            };
            let tier = |policies: &Self, name: &Arc<str>| policies.cluster_policies.get(name).map(|facts| facts.tier);
            let cluster: Vec<_> =
                cluster.iter().filter_map(|name| Some((tier(self, name)?, of(self.cluster_section(name, way, subject))?))).collect();
            let sections: Vec<_> = selecting.names().filter_map(|name| of(self.section(name, way, subject))).collect();
            let isolates = (!sections.is_empty()).then_some(sections.as_slice());
            (Arc::new(resolve::rule_set(&cluster, isolates)), Arc::new(resolve::own_rule_set(&cluster, isolates.is_some())))
        };
        let ((ingress, own_ingress), (egress, own_egress)) = (both(direction::INGRESS), both(direction::EGRESS));
        [ingress, egress, own_ingress, own_egress]
    }

    /// The ClusterNetworkPolicies that select a pod, in their order.
    pub(super) fn cluster_policies_of(&self, namespace_labels: &Labels, labels: &Labels) -> Vec<Arc<str>> {
        let mut all: Vec<_> = self.cluster_policies.iter().filter(|(_, facts)| facts.subject.selects(namespace_labels, labels)).collect();
        all.sort_by_key(|(name, facts)| (facts.tier, facts.priority, Arc::clone(name)));
        all.into_iter().map(|(name, _)| Arc::clone(name)).collect()
    }

    /// Of a NetworkPolicy, and whether it depends on what the pod calls its ports.
    fn section(&mut self, name: &Arc<str>, way: Direction, subject: &Subject<'_>) -> Option<(Section, bool)> {
        let key = (Some(Arc::clone(subject.namespace)), Arc::clone(name), way);
        if let Some(section) = self.sections.get(&key) {
            return Some((section.clone(), false));
        }
        let policy = self.policies.get(subject.namespace)?.get(name)?;
        let section = resolve::section(policy, way, subject, &mut |atom| self.atoms.intern(atom))?;
        let asks_ports = way == direction::INGRESS && resolve::names_ports(policy.ingress.iter().flatten());
        if !asks_ports {
            self.sections.insert(key, section.clone());
        }
        Some((section, asks_ports))
    }

    /// The same of a ClusterNetworkPolicy.
    fn cluster_section(&mut self, name: &Arc<str>, way: Direction, subject: &Subject<'_>) -> Option<(Section, bool)> {
        let key = (None, Arc::clone(name), way);
        if let Some(section) = self.sections.get(&key) {
            return Some((section.clone(), false));
        }
        let policy = self.cluster_policies.get(name)?;
        let section = resolve::cluster_section(policy, way, subject, &mut |atom| self.atoms.intern(atom))?;
        let asks_ports = way == direction::INGRESS && resolve::names_ports(policy.ingress.iter().map(|rule| &rule.rule));
        if !asks_ports {
            self.sections.insert(key, section.clone());
        }
        Some((section, asks_ports))
    }

    /// What is known of the pod of an attachment, and the policies that select it: NetworkPolicies, then ClusterNetworkPolicies in their
    /// order.
    pub(super) fn policies_of(&self, name: &str) -> Option<(Vec<ObjectName>, Vec<Arc<str>>)> {
        let local = self.locals.all.get(name)?;
        let (owner, facts) = (local.owner.as_ref()?, local.facts.as_ref()?);
        let namespace = &owner.pod.namespace;
        let own = self.policies.get(namespace).into_iter().flatten();
        let selected = own.filter(|(_, policy)| policy.pods.selects(&facts.labels));
        let names = selected.map(|(name, _)| ObjectName { namespace: Arc::clone(namespace), name: Arc::clone(name) }).collect();
        let labels = self.namespaces.get(namespace).cloned().unwrap_or_else(|| NamespaceFacts::unseen(namespace)).labels;
        Some((names, self.cluster_policies_of(&labels, &facts.labels)))
    }
}

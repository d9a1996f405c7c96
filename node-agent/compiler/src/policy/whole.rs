//! All policies at once: the yardstick.

use super::atoms::{Answer, Atom, NamespaceLabels, PodView, answer, family};
use super::blocks::{Prefixes, pod_ranges};
use super::flatten::flatten;
use super::ports::{Table, numbered, table};
use super::resolve::{Direction, Subject, cluster_section, own_rule_set, rule_set, section};
use super::rules::{Indexed, RuleSet};
use crate::facts::{Attachment, ClusterPolicyFacts, Labels, NamespaceFacts, ObjectName, PeerNodeFacts, PodFacts, PolicyFacts};
use crate::image::MapImage;
use orknet_abi::{Address, Peer, Pod, PodKey, RangeKey, Rule, Verdict, VerdictKey, direction};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// All that policies' maps depend on, besides the attachments.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PolicyInputs {
    /// See [`State::policies_known`](crate::State::policies_known). Before, pods have no entries.
    pub known: bool,
    pub policies: BTreeMap<ObjectName, PolicyFacts>,
    pub cluster_policies: BTreeMap<Arc<str>, ClusterPolicyFacts>,
    pub namespaces: BTreeMap<Arc<str>, NamespaceFacts>,
    pub pods: BTreeMap<ObjectName, PodFacts>,
    pub nodes: BTreeMap<Arc<str>, PeerNodeFacts>,
    /// What was last known of the pod of an attachment, for those whose pod is not there any more.
    pub former: BTreeMap<Arc<str>, PodFacts>,
}

/// A pod of this node.
struct Local<'a> {
    namespace: &'a Arc<str>,
    facts: &'a PodFacts,
}

/// Puts pods, peers, verdicts, ports and rules into an image that has none.
pub(crate) fn put(attachments: &BTreeMap<Arc<str>, Attachment>, inputs: &PolicyInputs, image: &mut MapImage) {
    let mut atoms: BTreeMap<Atom, u32> = BTreeMap::new();
    let mut intern = |atom: Atom| {
        let next = atoms.len() as u32 + 1;
        *atoms.entry(atom).or_insert(next)
    };
    let mut wanted: Vec<(PodKey, Pod, [RuleSet; 4])> = Vec::new();
    for (name, attachment) in attachments {
        let sets = match (&attachment.owner, local(name, attachment, inputs)) {
            (None, _) => Default::default(),
            (Some(_), Some(local)) if inputs.known && !attachment.addresses.is_empty() => sets(&local, inputs, &mut intern),
            (Some(_), _) => continue,
        };
        wanted.extend(attachment.entries().map(|(key, pod)| (key, pod, sets.clone())));
    }
    wanted.sort_by_key(|(key, ..)| *key);
    let mut rules: Vec<Rule> =
        wanted.iter().flat_map(|(.., sets)| sets).flat_map(|set| set.rules().map(|(_, rule)| rule.rule).collect::<Vec<_>>()).collect();
    rules.sort_unstable();
    rules.dedup();
    image.rules = (1..).zip(rules.iter().copied()).collect();
    let peers = put_peers(&atoms, attachments, inputs, image);
    let number = |rule: &Rule| rules.binary_search(rule).map_or(0, |place| place as u32 + 1);
    let (mut numbers, mut tables): (HashMap<RuleSet, u32>, HashMap<Table, u32>) = (HashMap::new(), HashMap::new());
    for (key, pod, sets) in wanted {
        let [ingress, egress, own_ingress, own_egress] = sets.map(|set| {
            if set.is_empty() {
                return 0;
            }
            let next = numbers.len() as u32 + 1;
            *numbers.entry(set.clone()).or_insert_with(|| {
                put_set(next, &Indexed::new(Arc::new(set), number), &peers, &mut tables, image);
                next
            })
        });
        let sets = Pod { ingress, egress, own_ingress, own_egress, ..pod };
        image.pods.insert(key, if ingress | egress | own_ingress | own_egress == 0 { pod } else { sets });
    }
}

/// The pod of an attachment, as far as it is known.
fn local<'a>(name: &Arc<str>, attachment: &'a Attachment, inputs: &'a PolicyInputs) -> Option<Local<'a>> {
    let owner = attachment.owner.as_ref()?;
    let facts = inputs.pods.get(&owner.pod).filter(|facts| facts.uid == owner.uid).or_else(|| inputs.former.get(name))?;
    Some(Local { namespace: &owner.pod.namespace, facts })
}

/// Ingress, egress, and both for what comes from the pod itself.
fn sets(local: &Local<'_>, inputs: &PolicyInputs, intern: &mut impl FnMut(Atom) -> u32) -> [RuleSet; 4] {
    let unseen = NamespaceFacts::unseen(local.namespace);
    let namespace_labels = labels_of(local.namespace, inputs).unwrap_or(&unseen.labels);
    let subject = Subject { namespace: local.namespace, ports: &local.facts.ports };
    let labels = &local.facts.labels;
    let mut cluster: Vec<_> = inputs.cluster_policies.iter().filter(|(_, facts)| facts.subject.selects(namespace_labels, labels)).collect();
    cluster.sort_by_key(|(name, facts)| (facts.tier, facts.priority, Arc::clone(name)));
    let own = inputs.policies.iter().filter(|(name, facts)| name.namespace == *local.namespace && facts.pods.selects(labels));
    let own: Vec<&PolicyFacts> = own.map(|(_, facts)| facts).collect();
    let mut both = |way: Direction| {
        let of = |(_, facts): &(&Arc<str>, &ClusterPolicyFacts)| Some((facts.tier, cluster_section(facts, way, &subject, intern)?));
        let cluster: Vec<_> = cluster.iter().filter_map(of).collect();
        let sections: Vec<_> = own.iter().filter_map(|facts| section(facts, way, &subject, intern)).collect();
        let isolates = (!sections.is_empty()).then_some(sections.as_slice());
        (rule_set(&cluster, isolates), own_rule_set(&cluster, isolates.is_some()))
    };
    let ((ingress, own_ingress), (egress, own_egress)) = (both(direction::INGRESS), both(direction::EGRESS));
    [ingress, egress, own_ingress, own_egress]
}

fn labels_of<'a>(namespace: &Arc<str>, inputs: &'a PolicyInputs) -> Option<&'a Labels> {
    inputs.namespaces.get(namespace).map(|facts| &facts.labels)
}

/// Puts the addresses, and answers which peer sets there are, by number.
fn put_peers(
    atoms: &BTreeMap<Atom, u32>,
    attachments: &BTreeMap<Arc<str>, Attachment>,
    inputs: &PolicyInputs,
    image: &mut MapImage,
) -> Vec<Vec<Answer>> {
    let blocks = atoms.iter().filter_map(|(atom, number)| if let Atom::Block(block) = atom { Some((*number, block)) } else { None });
    let unknown = atoms.get(&Atom::Unknown).copied();
    let of_pods: Vec<_> = pod_ranges(&image.ranges).collect();
    let of_pods = unknown.into_iter().flat_map(|unknown| of_pods.iter().map(move |block| (unknown, block)));
    let prefixes = Prefixes::new(blocks.chain(of_pods));
    let mut addresses: BTreeMap<Address, Vec<Answer>> = BTreeMap::new();
    for (address, pod) in pods_by_address(attachments, inputs) {
        let Some(pod) = pod else {
            addresses.entry(address).or_default();
            continue;
        };
        let unseen = NamespaceFacts::unseen(pod.namespace);
        let seen = labels_of(pod.namespace, inputs).map(NamespaceLabels::All);
        let namespace_labels = seen.unwrap_or(NamespaceLabels::Some(&unseen.labels));
        let view = PodView { namespace: pod.namespace, namespace_labels, labels: &pod.facts.labels, ports: &pod.facts.ports };
        addresses.entry(address).or_default().extend(atoms.iter().filter_map(|(atom, number)| atom.ask_pod(*number, &view)));
    }
    for node in inputs.nodes.values() {
        for address in &node.addresses {
            let answers = atoms.iter().filter_map(|(atom, number)| atom.ask_node(*number, &node.labels));
            addresses.entry(*address).or_default().extend(answers);
        }
    }
    let is_unknown = |block: &u32| unknown == Some(*block);
    addresses.retain(|address, answers| !answers.is_empty() || prefixes.at(*address).iter().any(is_unknown));
    let of_blocks = |blocks: &[u32]| blocks.iter().map(|block| answer(*block, 0)).collect::<Vec<_>>();
    let mut entries: BTreeMap<RangeKey, Vec<Answer>> = prefixes.iter().map(|(range, blocks)| (*range, of_blocks(blocks))).collect();
    for (address, mut answers) in addresses {
        let blocks: Vec<u32> = prefixes.at(address).iter().copied().filter(|block| !is_unknown(block)).collect();
        answers.extend(of_blocks(&blocks));
        answers.push(family(address));
        entries.insert(RangeKey { prefix_bits: 128, address }, answers);
    }
    let (mut numbers, mut sets): (HashMap<Vec<Answer>, u32>, Vec<Vec<Answer>>) = (HashMap::new(), Vec::new());
    for (range, mut answers) in entries {
        answers.sort_unstable();
        answers.dedup();
        let next = sets.len() as u32 + 1;
        let peers = *numbers.entry(answers.clone()).or_insert(next);
        if peers == next {
            sets.push(answers);
        }
        image.peers.insert(range, Peer { peers });
    }
    sets
}

/// Which pod an address is: what is attached here has it, then the youngest that claims it. `None` for what is no pod of the API.
fn pods_by_address<'a>(attachments: &'a BTreeMap<Arc<str>, Attachment>, inputs: &'a PolicyInputs) -> BTreeMap<Address, Option<Local<'a>>> {
    let mut claims: Vec<_> = inputs.pods.iter().filter(|(_, facts)| facts.is_peer).collect();
    claims.sort_by_key(|(name, facts)| (facts.created, *name));
    let mut found = BTreeMap::new();
    for (name, facts) in claims {
        found.extend(facts.addresses.iter().map(|address| (*address, Some(Local { namespace: &name.namespace, facts }))));
    }
    for (name, attachment) in attachments {
        for address in &attachment.addresses {
            found.remove(address);
            let local = local(name, attachment, inputs).filter(|local| local.facts.is_peer);
            if attachment.owner.is_none() || local.is_some() {
                found.insert(*address, local);
            }
        }
    }
    found
}

/// Puts what a set says about peer set 0, and about every other of which it says something else.
fn put_set(number: u32, set: &Indexed, peers: &[Vec<Answer>], tables: &mut HashMap<Table, u32>, image: &mut MapImage) {
    let mut verdict = |answers: &[Answer]| {
        let (content, otherwise) = table(&flatten(set, answers));
        let table = content.map_or(0, |content| {
            let next = tables.len() as u32 + 1;
            let table = *tables.entry(Arc::clone(&content)).or_insert(next);
            image.ports.extend(numbered(&content, table));
            table
        });
        Verdict { table, otherwise }
    };
    let of_nobody = verdict(&[]);
    image.verdicts.insert(VerdictKey { set: number, peers: 0 }, of_nobody);
    for (answers, peers) in peers.iter().zip(1..) {
        let said = verdict(answers);
        if said != of_nobody {
            image.verdicts.insert(VerdictKey { set: number, peers }, said);
        }
    }
}

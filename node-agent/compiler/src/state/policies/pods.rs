//! The pods of the cluster, by name, by what they are alike in, and by address.

use super::PodAt;
use super::atoms::Atoms;
use crate::facts::{Labels, NamedPort, NamespaceFacts, ObjectName, PodFacts};
use crate::policy::atoms::{Answer, NamespaceLabels, PodView};
use orknet_abi::Address;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

/// All pods. Those that no rule can tell from each other are of one class, and rules are asked once for all of them.
#[derive(Debug, Default)]
pub(super) struct Pods {
    by_name: HashMap<ObjectName, u32>,
    slots: Vec<Option<Pod>>,
    free: Vec<u32>,
    classes: Vec<Option<Class>>,
    free_classes: Vec<u32>,
    by_kind: HashMap<Kind, u32>,
    by_namespace: HashMap<Arc<str>, HashSet<u32>>,
    addresses: BTreeMap<Address, Holders>,
    /// Classes that have to be asked again.
    dirty_classes: Vec<u32>,
    /// Addresses of which something may have changed.
    pub dirty: Vec<Address>,
}

/// A pod, or an attachment of this node, which has its addresses whatever pods say.
#[derive(Debug)]
struct Pod {
    name: ObjectName,
    facts: PodFacts,
    is_local: bool,
    /// `None` for one that no rule means.
    class: Option<u32>,
    /// In the class' list of members.
    place: u32,
}

/// What rules can tell of a pod.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Kind {
    namespace: Arc<str>,
    labels: Labels,
    ports: Arc<[NamedPort]>,
}

#[derive(Debug)]
struct Class {
    kind: Kind,
    members: Vec<u32>,
    answers: Arc<[Answer]>,
    is_dirty: bool,
}

/// Nearly always there is one.
#[derive(Debug)]
enum Holders {
    One(u32),
    Many(Vec<u32>),
}

impl Holders {
    fn all(&self) -> &[u32] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}

impl Pods {
    /// What is known of a pod.
    pub fn get(&self, name: &ObjectName) -> Option<&PodFacts> {
        self.slots[*self.by_name.get(name)? as usize].as_ref().map(|pod| &pod.facts)
    }

    pub fn names(&self) -> impl Iterator<Item = &ObjectName> {
        self.by_name.keys()
    }

    /// What is now known of a pod. Whether that is something else.
    pub fn put(&mut self, name: ObjectName, facts: Option<PodFacts>) -> bool {
        if self.get(&name) == facts.as_ref() {
            return false;
        }
        if let Some(slot) = self.by_name.remove(&name) {
            self.remove(slot);
        }
        if let Some(facts) = facts {
            let slot = self.insert(name.clone(), facts, false);
            self.by_name.insert(name, slot);
        }
        true
    }

    /// Adds an attachment; the addresses are its own.
    pub fn insert_local(&mut self, name: ObjectName, facts: PodFacts) -> u32 {
        self.insert(name, facts, true)
    }

    fn insert(&mut self, name: ObjectName, facts: PodFacts, is_local: bool) -> u32 {
        let slot = self.free.pop().unwrap_or(self.slots.len() as u32);
        for address in &facts.addresses {
            let holders = self.addresses.entry(*address).or_insert(Holders::One(slot));
            if !holders.all().contains(&slot) {
                *holders = Holders::Many(holders.all().iter().copied().chain([slot]).collect());
            }
        }
        self.dirty.extend(&facts.addresses);
        let (class, place) = if facts.is_peer { self.join(slot, &name, &facts) } else { (None, 0) };
        let pod = Some(Pod { name, facts, is_local, class, place });
        match self.slots.get_mut(slot as usize) {
            Some(free) => *free = pod,
            None => self.slots.push(pod),
        }
        slot
    }

    pub fn remove(&mut self, slot: u32) {
        let Some(pod) = self.slots[slot as usize].take() else { return };
        self.free.push(slot);
        for address in &pod.facts.addresses {
            let left: Vec<u32> =
                self.addresses.get(address).into_iter().flat_map(|known| known.all()).copied().filter(|known| *known != slot).collect();
            match left.as_slice() {
                [] => drop(self.addresses.remove(address)),
                [one] => drop(self.addresses.insert(*address, Holders::One(*one))),
                _ => drop(self.addresses.insert(*address, Holders::Many(left))),
            }
        }
        self.dirty.extend(&pod.facts.addresses);
        if let Some(class) = pod.class {
            self.leave(class, pod.place);
        }
    }

    fn join(&mut self, slot: u32, name: &ObjectName, facts: &PodFacts) -> (Option<u32>, u32) {
        let kind = Kind { namespace: Arc::clone(&name.namespace), labels: facts.labels.clone(), ports: Arc::clone(&facts.ports) };
        let number = match self.by_kind.get(&kind) {
            Some(number) => *number,
            None => {
                let number = self.free_classes.pop().unwrap_or(self.classes.len() as u32);
                let class = Some(Class { kind: kind.clone(), members: Vec::new(), answers: Arc::from([]), is_dirty: true });
                match self.classes.get_mut(number as usize) {
                    Some(free) => *free = class,
                    None => self.classes.push(class),
                }
                self.by_namespace.entry(Arc::clone(&kind.namespace)).or_default().insert(number);
                self.by_kind.insert(kind, number);
                self.dirty_classes.push(number);
                number
            }
        };
        let Some(class) = &mut self.classes[number as usize] else { return (None, 0) };
        class.members.push(slot);
        (Some(number), class.members.len() as u32 - 1)
    }

    fn leave(&mut self, number: u32, place: u32) {
        let Some(class) = &mut self.classes[number as usize] else { return };
        class.members.swap_remove(place as usize);
        if let Some(moved) = class.members.get(place as usize) {
            self.slots[*moved as usize].iter_mut().for_each(|pod| pod.place = place);
        }
        if class.members.is_empty() {
            let kind = class.kind.clone();
            self.classes[number as usize] = None;
            self.free_classes.push(number);
            self.by_kind.remove(&kind);
            if let Some(others) = self.by_namespace.get_mut(&kind.namespace) {
                others.remove(&number);
                if others.is_empty() {
                    self.by_namespace.remove(&kind.namespace);
                }
            }
        }
    }

    /// All classes have to be asked again, or those of one namespace.
    pub fn look_again(&mut self, namespace: Option<&str>) {
        let all: Vec<u32> = match namespace {
            Some(namespace) => self.by_namespace.get(namespace).into_iter().flatten().copied().collect(),
            None => (0..self.classes.len() as u32).collect(),
        };
        for number in all {
            if let Some(class) = self.classes[number as usize].as_mut().filter(|class| !class.is_dirty) {
                class.is_dirty = true;
                self.dirty_classes.push(number);
            }
        }
    }

    /// Asks the classes that have to be.
    pub fn ask_dirty(&mut self, atoms: &Atoms, namespaces: &HashMap<Arc<str>, NamespaceFacts>) {
        for number in std::mem::take(&mut self.dirty_classes) {
            let Some(class) = self.classes[number as usize].as_mut().filter(|class| class.is_dirty) else { continue };
            class.is_dirty = false;
            let unseen = NamespaceFacts::unseen(&class.kind.namespace);
            let namespace_labels = labels_of(namespaces.get(&class.kind.namespace), &unseen);
            let answers = atoms.ask(&class.kind.view(namespace_labels));
            if *answers != *class.answers {
                class.answers = answers.into();
                self.touch(number);
            }
        }
    }

    /// Asks all classes about new atoms alone.
    pub fn ask_new(&mut self, new: &[u32], atoms: &Atoms, namespaces: &HashMap<Arc<str>, NamespaceFacts>) {
        for (namespace, numbers) in &self.by_namespace {
            let unseen = NamespaceFacts::unseen(namespace);
            let namespace_labels = labels_of(namespaces.get(namespace), &unseen);
            let asked: Vec<u32> = new.iter().copied().filter(|atom| atoms.may_select(*atom, namespace, namespace_labels)).collect();
            if asked.is_empty() {
                continue;
            }
            for number in numbers {
                let Some(class) = self.classes[*number as usize].as_mut().filter(|class| !class.is_dirty) else { continue };
                let view = class.kind.view(namespace_labels);
                let more: Vec<Answer> = asked.iter().filter_map(|atom| atoms.ask_one(*atom, &view)).collect();
                if !more.is_empty() {
                    let mut all: Vec<Answer> = class.answers.iter().copied().chain(more).collect();
                    all.sort_unstable();
                    all.dedup();
                    class.answers = all.into();
                    touch(&mut self.dirty, &self.slots, class);
                }
            }
        }
    }

    /// Takes atoms that nobody asks any more out of the classes' answers. What becomes of the addresses is told by their peer sets.
    pub fn forget(&mut self, is_gone: impl Fn(Answer) -> bool) {
        for class in self.classes.iter_mut().flatten() {
            if class.answers.iter().any(|answer| is_gone(*answer)) {
                class.answers = class.answers.iter().copied().filter(|answer| !is_gone(*answer)).collect();
            }
        }
    }

    fn touch(&mut self, number: u32) {
        if let Some(class) = &self.classes[number as usize] {
            touch(&mut self.dirty, &self.slots, class);
        }
    }

    /// What the pod that has an address answers: that of this node, or the youngest.
    pub fn answers(&self, address: Address) -> &[Answer] {
        let Some(pod) = self.at(address) else { return &[] };
        let class = pod.class.and_then(|class| self.classes[class as usize].as_ref());
        class.map(|class| &*class.answers).unwrap_or_default()
    }

    /// Whether it is known who has an address: a pod that rules may mean, or what is attached here and no pod of the API.
    pub fn is_known(&self, address: Address) -> bool {
        self.at(address).is_some_and(|pod| pod.class.is_some() || pod.name.name.is_empty())
    }

    /// Whose an address is; nobody's, where something is attached that is no pod of the API.
    pub fn named_at(&self, address: Address) -> Option<PodAt> {
        let pod = self.at(address).filter(|pod| !pod.name.name.is_empty())?;
        Some(PodAt { name: pod.name.clone(), uid: pod.facts.uid, is_local: pod.is_local })
    }

    fn at(&self, address: Address) -> Option<&Pod> {
        let holders = self.addresses.get(&address)?.all().iter().filter_map(|slot| self.slots[*slot as usize].as_ref());
        holders.filter(|pod| pod.is_local || pod.facts.is_peer).max_by_key(|pod| (pod.is_local, pod.facts.created, &pod.name))
    }

    /// Addresses from one to another, both included, may have changed.
    pub fn touch_in(&mut self, first: Address, last: Address) {
        self.dirty.extend(self.addresses.range(first..=last).map(|(address, _)| *address));
    }
}

fn labels_of<'a>(seen: Option<&'a NamespaceFacts>, unseen: &'a NamespaceFacts) -> NamespaceLabels<'a> {
    seen.map_or(NamespaceLabels::Some(&unseen.labels), |facts| NamespaceLabels::All(&facts.labels))
}

fn touch(dirty: &mut Vec<Address>, slots: &[Option<Pod>], class: &Class) {
    for pod in class.members.iter().filter_map(|slot| slots[*slot as usize].as_ref()) {
        dirty.extend(&pod.facts.addresses);
    }
}

impl Kind {
    fn view<'a>(&'a self, namespace_labels: NamespaceLabels<'a>) -> PodView<'a> {
        PodView { namespace: &self.namespace, namespace_labels, labels: &self.labels, ports: &self.ports }
    }
}

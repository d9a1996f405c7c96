//! The atoms that sets of rules ask, by number, and which of them a pod has to be asked.

use crate::facts::{Block, Labels, Requirement, Selector};
use crate::policy::atoms::{Answer, Atom, NamespaceLabels, PodView};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// Numbers are never used again.
#[derive(Debug, Default)]
pub(super) struct Atoms {
    numbers: HashMap<Arc<Atom>, u32>,
    known: HashMap<u32, Known>,
    last: u32,
    /// Not asked yet.
    new: BTreeSet<u32>,
    /// Without a user.
    idle: BTreeSet<u32>,
    /// Of pods, by what they must have.
    by_need: HashMap<Need, BTreeSet<u32>>,
    nodes: BTreeSet<u32>,
    blocks: BTreeSet<u32>,
    unknown: Option<u32>,
}

#[derive(Debug)]
struct Known {
    atom: Arc<Atom>,
    users: u32,
}

/// What a pod must have so that an atom can select it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Need {
    Nothing,
    Namespace(Arc<str>),
    Label(Arc<str>, Arc<str>),
    Port(Arc<str>),
}

impl Atoms {
    /// The number of an atom. One that is new has no user yet.
    pub fn intern(&mut self, atom: Atom) -> u32 {
        if let Some(number) = self.numbers.get(&atom) {
            return *number;
        }
        self.last += 1;
        let (number, atom) = (self.last, Arc::new(atom));
        self.place(number, &atom, true);
        self.numbers.insert(Arc::clone(&atom), number);
        self.known.insert(number, Known { atom, users: 0 });
        self.new.insert(number);
        self.idle.insert(number);
        number
    }

    /// Puts an atom where it is found, or takes it away.
    fn place(&mut self, number: u32, atom: &Atom, is_there: bool) {
        let change = |list: &mut BTreeSet<u32>| _ = if is_there { list.insert(number) } else { list.remove(&number) };
        match atom {
            Atom::Nodes(_) => change(&mut self.nodes),
            Atom::Block(_) => change(&mut self.blocks),
            _ => {
                if *atom == Atom::Unknown {
                    self.unknown = is_there.then_some(number);
                }
                for need in needs(atom) {
                    let list = self.by_need.entry(need.clone()).or_default();
                    change(list);
                    if list.is_empty() {
                        self.by_need.remove(&need);
                    }
                }
            }
        }
    }

    pub fn hold(&mut self, number: u32) {
        if let Some(known) = self.known.get_mut(&number) {
            known.users += 1;
            self.idle.remove(&number);
        }
    }

    pub fn release(&mut self, number: u32) {
        if let Some(known) = self.known.get_mut(&number) {
            known.users = known.users.saturating_sub(1);
            if known.users == 0 {
                self.idle.insert(number);
            }
        }
    }

    /// Those that have not been asked.
    pub fn take_new(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.new).into_iter().collect()
    }

    /// Forgets those that nobody asks, and answers which.
    pub fn retire(&mut self) -> BTreeMap<u32, Arc<Atom>> {
        let mut gone = BTreeMap::new();
        for number in std::mem::take(&mut self.idle) {
            if let Some(known) = self.known.remove(&number) {
                self.place(number, &known.atom, false);
                self.numbers.remove(&known.atom);
                self.new.remove(&number);
                gone.insert(number, known.atom);
            }
        }
        gone
    }

    /// What a pod answers to all of them.
    pub fn ask(&self, pod: &PodView<'_>) -> Vec<Answer> {
        if self.by_need.is_empty() {
            return Vec::new();
        }
        let labels = pod.labels.shared().map(|(key, value)| Need::Label(key, value));
        let ports = pod.ports.iter().map(|port| Need::Port(Arc::clone(&port.name)));
        let needs = [Need::Nothing, Need::Namespace(pod.namespace.into())].into_iter().chain(labels).chain(ports);
        let candidates = needs.filter_map(|need| self.by_need.get(&need)).flatten();
        let mut answers: Vec<Answer> = candidates.filter_map(|number| self.ask_one(*number, pod)).collect();
        answers.sort_unstable();
        answers.dedup();
        answers
    }

    /// What a pod answers to one of them.
    pub fn ask_one(&self, number: u32, pod: &PodView<'_>) -> Option<Answer> {
        self.known.get(&number)?.atom.ask_pod(number, pod)
    }

    /// Whether it can select a pod of a namespace.
    pub fn may_select(&self, number: u32, name: &str, labels: NamespaceLabels<'_>) -> bool {
        self.get(number).is_some_and(|atom| may_select(atom, name, labels))
    }

    /// What a node answers to all of them.
    pub fn ask_node(&self, labels: &Labels) -> Vec<Answer> {
        self.nodes.iter().filter_map(|number| self.known.get(number)?.atom.ask_node(*number, labels)).collect()
    }

    pub fn blocks(&self) -> BTreeMap<u32, &Block> {
        let block = |number: &u32| if let Atom::Block(block) = &*self.known.get(number)?.atom { Some((*number, block)) } else { None };
        self.blocks.iter().filter_map(block).collect()
    }

    /// The one that asks who nothing is known of.
    pub fn unknown(&self) -> Option<u32> {
        self.unknown
    }

    pub fn get(&self, number: u32) -> Option<&Atom> {
        self.known.get(&number).map(|known| &*known.atom)
    }
}

fn may_select(atom: &Atom, name: &str, labels: NamespaceLabels<'_>) -> bool {
    match atom {
        Atom::OwnPods(namespace, _) => **namespace == *name,
        Atom::Pods { namespaces, .. } => labels.are_selected_by(namespaces),
        Atom::Unknown => matches!(labels, NamespaceLabels::Some(_)),
        Atom::Port { of, .. } => of.as_ref().is_none_or(|of| of.iter().any(|atom| may_select(atom, name, labels))),
        Atom::Nodes(_) | Atom::Block(_) => false,
    }
}

/// A pod that has none of these is not selected.
fn needs(atom: &Atom) -> Vec<Need> {
    match atom {
        Atom::OwnPods(namespace, _) => vec![Need::Namespace(Arc::clone(namespace))],
        Atom::Port { of: Some(of), .. } => of.iter().flat_map(needs).collect(),
        Atom::Port { name, .. } => vec![Need::Port(Arc::clone(name))],
        Atom::Unknown => vec![Need::Nothing],
        Atom::Pods { pods, .. } => label(pods).unwrap_or_else(|| vec![Need::Nothing]),
        Atom::Nodes(_) | Atom::Block(_) => Vec::new(),
    }
}

fn label(selector: &Selector) -> Option<Vec<Need>> {
    selector.requirements().iter().find_map(|requirement| match requirement {
        Requirement::In(key, values) => Some(values.iter().map(|value| Need::Label(Arc::clone(key), Arc::clone(value))).collect()),
        _ => None,
    })
}

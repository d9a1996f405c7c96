//! Atoms: the questions that rules on this node ask about the other end. What an address answers is its peer set.

use crate::facts::{Block, Labels, NamedPort, Selector, port_named};
use orknet_abi::Address;
use std::sync::Arc;

/// One question.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Atom {
    /// Is it a pod of this namespace that the selector selects?
    OwnPods(Arc<str>, Selector),
    /// The same of namespaces and pods.
    Pods { namespaces: Selector, pods: Selector },
    /// Is it an address of such a node?
    Nodes(Selector),
    /// Is it in there?
    Block(Block),
    /// May it be a pod of which nothing is known? An address of pods that nobody is known to have, or a pod whose namespace has not been seen.
    Unknown,
    /// Which port does the pod call so? An answer is a number. Asked of pods that one of these selects alone, or of all without any.
    Port { protocol: u8, name: Arc<str>, of: Option<Box<[Atom]>> },
}

/// An answer that is not no: the atom's number, and after it 16 bits of a port, 0 but for [`Atom::Port`]. A peer set is a list of them, ascending.
pub(crate) type Answer = u64;

/// What an atom is answered with; `port` in native byte order.
pub(crate) fn answer(atom: u32, port: u16) -> Answer {
    (u64::from(atom) << 16) | u64::from(port)
}

/// What each address with an entry of its own answers: its family. So a block, which is of one family, has all of a peer set in it or none, but for
/// those that it cuts through.
pub(crate) fn family(address: Address) -> Answer {
    answer(0, if address.is_v4() { 4 } else { 6 })
}

/// The atom that is answered; 0, which nobody asks, for the family.
pub(crate) fn atom_of(answer: Answer) -> u32 {
    (answer >> 16) as u32
}

/// The port that an atom is answered with, native byte order.
pub(crate) fn port_of(answer: Answer) -> u16 {
    (answer & 0xffff) as u16
}

/// What is known of a namespace's labels.
#[derive(Clone, Copy, Debug)]
pub(crate) enum NamespaceLabels<'a> {
    All(&'a Labels),
    /// It has not been seen: these and perhaps others.
    Some(&'a Labels),
}

impl NamespaceLabels<'_> {
    /// Whether a selector selects the namespace, whatever labels it may have.
    pub fn are_selected_by(self, namespaces: &Selector) -> bool {
        match self {
            Self::All(labels) => namespaces.selects(labels),
            Self::Some(labels) => namespaces.selects_all_with(labels),
        }
    }
}

/// What of a pod atoms depend on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PodView<'a> {
    pub namespace: &'a str,
    pub namespace_labels: NamespaceLabels<'a>,
    pub labels: &'a Labels,
    pub ports: &'a [NamedPort],
}

impl Atom {
    /// What a pod answers to the atom with this number.
    pub fn ask_pod(&self, number: u32, pod: &PodView<'_>) -> Option<Answer> {
        let is_selected = match self {
            Self::OwnPods(namespace, pods) => **namespace == *pod.namespace && pods.selects(pod.labels),
            Self::Pods { namespaces, pods } => pod.namespace_labels.are_selected_by(namespaces) && pods.selects(pod.labels),
            Self::Unknown => matches!(pod.namespace_labels, NamespaceLabels::Some(_)),
            Self::Port { protocol, name, of } => {
                let is_asked = || of.as_ref().is_none_or(|of| of.iter().any(|atom| atom.ask_pod(number, pod).is_some()));
                return port_named(pod.ports, name, *protocol).filter(|_| is_asked()).map(|port| answer(number, port));
            }
            Self::Nodes(_) | Self::Block(_) => false,
        };
        is_selected.then(|| answer(number, 0))
    }

    /// What a node answers.
    pub fn ask_node(&self, number: u32, labels: &Labels) -> Option<Answer> {
        matches!(self, Self::Nodes(nodes) if nodes.selects(labels)).then(|| answer(number, 0))
    }
}

//! A set of rules: all that holds for a pod in one direction. Pods with equal ones share them.

use super::atoms::{Answer, atom_of};
use crate::facts::Action;
use orknet_abi::Rule;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

/// One rule; whom it matches is said by atoms' numbers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SetRule {
    /// Where it is written.
    pub rule: Rule,
    pub action: Action,
    /// Ascending; `None` for everybody.
    pub peers: Option<Box<[u32]>>,
    /// `None` for everything.
    pub ports: Option<Box<[PortMatch]>>,
}

/// Ports that a rule matches, native byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum PortMatch {
    Range {
        protocol: u8,
        first: u16,
        last: u16,
    },
    /// The one that the other end answers to this atom.
    Answered {
        protocol: u8,
        atom: u32,
    },
}

/// The rules of one policy in one direction, in their order. Sets of thousands of them are looked for often, so each knows its hash.
#[derive(Clone, Debug)]
pub(crate) struct Section {
    rules: Arc<[SetRule]>,
    print: u64,
}

impl Section {
    /// Whether somebody else has it, too.
    pub fn is_shared(&self) -> bool {
        Arc::strong_count(&self.rules) > 1
    }
}

impl FromIterator<SetRule> for Section {
    fn from_iter<I: IntoIterator<Item = SetRule>>(rules: I) -> Self {
        let rules: Arc<[SetRule]> = rules.into_iter().collect();
        let mut hasher = DefaultHasher::new();
        rules.hash(&mut hasher);
        Self { print: hasher.finish(), rules }
    }
}

impl Deref for Section {
    type Target = [SetRule];

    fn deref(&self) -> &[SetRule] {
        &self.rules
    }
}

impl PartialEq for Section {
    fn eq(&self, other: &Self) -> bool {
        self.print == other.print && (Arc::ptr_eq(&self.rules, &other.rules) || self.rules == other.rules)
    }
}

impl Eq for Section {}

impl Hash for Section {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.print);
    }
}

/// All that holds for a pod in one direction, in the order in which it is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct RuleSet {
    pub admin: Box<[Section]>,
    /// `None` if no NetworkPolicy isolates the pod.
    pub policies: Option<Box<[Section]>>,
    pub baseline: Box<[Section]>,
}

/// Part of a set in which a rule stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    Admin,
    Policies,
    Baseline,
}

impl RuleSet {
    /// Whether it says nothing, which is set 0.
    pub fn is_empty(&self) -> bool {
        self.admin.is_empty() && self.policies.is_none() && self.baseline.is_empty()
    }

    /// All rules, in their order.
    pub fn rules(&self) -> impl Iterator<Item = (Part, &SetRule)> {
        let all = self.parts().into_iter();
        all.flat_map(|(part, sections)| sections.iter().flat_map(|section| section.iter()).map(move |rule| (part, rule)))
    }

    fn parts(&self) -> [(Part, &[Section]); 3] {
        let policies = self.policies.as_deref().unwrap_or_default();
        [(Part::Admin, &self.admin), (Part::Policies, policies), (Part::Baseline, &self.baseline)]
    }
}

/// A set with what makes looking things up in it quick.
#[derive(Debug)]
pub(crate) struct Indexed {
    pub content: Arc<RuleSet>,
    /// In their order.
    rules: Box<[Place]>,
    /// Rules by the atoms that they ask, ascending.
    by_atom: Box<[(u32, u32)]>,
    /// Rules that match everybody.
    of_all: Box<[u32]>,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    part: Part,
    section: u32,
    rule: u32,
    number: u32,
}

impl Indexed {
    /// `number` says by which number a rule is known.
    pub fn new(content: Arc<RuleSet>, mut number: impl FnMut(&Rule) -> u32) -> Self {
        let (mut rules, mut by_atom, mut of_all) = (Vec::new(), Vec::new(), Vec::new());
        for (part, sections) in content.parts() {
            for (section, place) in sections.iter().zip(0..) {
                for (rule, index) in section.iter().zip(0..) {
                    let position = rules.len() as u32;
                    rules.push(Place { part, section: place, rule: index, number: number(&rule.rule) });
                    match &rule.peers {
                        None => of_all.push(position),
                        Some(peers) => by_atom.extend(peers.iter().map(|atom| (*atom, position))),
                    }
                }
            }
        }
        by_atom.sort_unstable();
        Self { content, rules: rules.into(), by_atom: by_atom.into(), of_all: of_all.into() }
    }

    /// The numbers of its rules, of each as often as it stands there.
    pub fn numbers(&self) -> impl Iterator<Item = u32> {
        self.rules.iter().map(|place| place.number)
    }

    /// The rules that match an end with these answers, in their order.
    pub fn matching(&self, answers: &[Answer]) -> impl Iterator<Item = (Part, u32, &SetRule)> {
        let mut positions = self.of_all.to_vec();
        for atom in answers.iter().map(|answer| atom_of(*answer)) {
            let first = self.by_atom.partition_point(|(known, _)| *known < atom);
            positions.extend(self.by_atom[first..].iter().take_while(|(known, _)| *known == atom).map(|(_, position)| *position));
        }
        positions.sort_unstable();
        positions.dedup();
        positions.into_iter().map(|position| {
            let place = self.rules[position as usize];
            let (_, sections) = self.content.parts()[place.part as usize];
            (place.part, place.number, &sections[place.section as usize][place.rule as usize])
        })
    }

    /// The atoms that its rules ask, each once, ascending.
    pub fn atoms(&self) -> Vec<u32> {
        let ports = self.content.rules().flat_map(|(_, rule)| rule.ports.as_deref().unwrap_or_default()).filter_map(PortMatch::atom);
        let mut atoms: Vec<u32> = self.by_atom.iter().map(|(atom, _)| *atom).chain(ports).collect();
        atoms.sort_unstable();
        atoms.dedup();
        atoms
    }
}

impl PortMatch {
    fn atom(&self) -> Option<u32> {
        match self {
            Self::Range { .. } => None,
            Self::Answered { atom, .. } => Some(*atom),
        }
    }
}

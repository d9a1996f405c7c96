//! What a set of rules says about an end that gives certain answers: for every protocol and port the one rule that counts.

use super::atoms::{Answer, answer, atom_of, port_of};
use super::rules::{Indexed, Part, PortMatch};
use crate::facts::Action;
use orknet_abi::{Judgement, action, protocol};

/// The protocols that have ports; all others are one.
pub(crate) const PROTOCOLS: [u8; 3] = [protocol::TCP, protocol::UDP, protocol::SCTP];

/// A complete answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Flat {
    /// For protocols without ports.
    pub other: Judgement,
    /// For each of [`PROTOCOLS`]: what holds from a port on (native byte order), to the next. The first is 0.
    pub ports: [Vec<(u16, Judgement)>; 3],
}

/// Ports that share what is known of them.
#[derive(Clone, Copy, Debug)]
struct Cell {
    first: u16,
    verdict: Known,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    /// No rule has said anything.
    Open,
    /// A rule has said that this part says nothing.
    Passed,
    Said(Judgement),
}

/// All ports of a protocol, ascending, the first from 0 on.
struct Cells(Vec<Cell>);

impl Cells {
    fn new() -> Self {
        Self(vec![Cell { first: 0, verdict: Known::Open }])
    }

    /// What is open from `first` to `last` is so from now on.
    fn say(&mut self, first: u16, last: u16, verdict: Known) {
        let begin = self.cut(first);
        let end = if last == u16::MAX { self.0.len() } else { self.cut(last + 1) };
        self.0[begin..end].iter_mut().filter(|cell| cell.verdict == Known::Open).for_each(|cell| cell.verdict = verdict);
    }

    /// The place of the cell that begins there, made if there is none.
    fn cut(&mut self, first: u16) -> usize {
        let place = self.0.partition_point(|cell| cell.first < first);
        if self.0.get(place).is_none_or(|cell| cell.first != first) {
            let verdict = self.0[place - 1].verdict;
            self.0.insert(place, Cell { first, verdict });
        }
        place
    }

    fn replace(&mut self, old: Known, new: Known) {
        self.0.iter_mut().filter(|cell| cell.verdict == old).for_each(|cell| cell.verdict = new);
    }

    fn into_ranges(self) -> Vec<(u16, Judgement)> {
        let said = |cell: Cell| match cell.verdict {
            Known::Said(judgement) => (cell.first, judgement),
            Known::Open | Known::Passed => (cell.first, ALLOWED),
        };
        let mut ranges: Vec<_> = self.0.into_iter().map(said).collect();
        ranges.dedup_by_key(|(_, judgement)| *judgement);
        ranges
    }
}

/// By no rule.
const ALLOWED: Judgement = Judgement { action: action::ALLOW, rule: 0 };
/// By isolation alone.
const DENIED: Judgement = Judgement { action: action::DENY, rule: 0 };

/// The first three have ports.
type Domains = [Cells; 4];

/// What the set says.
pub(crate) fn flatten(set: &Indexed, answers: &[Answer]) -> Flat {
    let mut domains: Domains = std::array::from_fn(|_| Cells::new());
    let isolates = set.content.policies.is_some();
    let mut part = Part::Admin;
    for (place, number, rule) in set.matching(answers) {
        if place == Part::Baseline && isolates {
            break;
        }
        if place != part {
            leave_tier(&mut domains);
            part = place;
        }
        let verdict = match rule.action {
            Action::Accept => Known::Said(Judgement { action: action::ALLOW, rule: number }),
            Action::Deny => Known::Said(Judgement { action: action::DENY, rule: number }),
            Action::Pass => Known::Passed,
        };
        match &rule.ports {
            None => domains.iter_mut().for_each(|cells| cells.say(0, u16::MAX, verdict)),
            Some(ports) => ports.iter().for_each(|port| say(&mut domains, port, answers, verdict)),
        }
    }
    leave_tier(&mut domains);
    if isolates {
        domains.iter_mut().for_each(|cells| cells.replace(Known::Open, Known::Said(DENIED)));
    }
    let [first, second, third, other] = domains.map(Cells::into_ranges);
    Flat { other: other[0].1, ports: [first, second, third] }
}

/// What was passed is open again in the next tier.
fn leave_tier(domains: &mut Domains) {
    domains.iter_mut().for_each(|cells| cells.replace(Known::Passed, Known::Open));
}

fn say(domains: &mut Domains, port: &PortMatch, answers: &[Answer], verdict: Known) {
    let domain = |protocol: u8| PROTOCOLS.iter().position(|known| *known == protocol);
    match *port {
        PortMatch::Range { protocol, first, last } => {
            domain(protocol).into_iter().for_each(|domain| domains[domain].say(first, last, verdict));
        }
        PortMatch::Answered { protocol, atom } => {
            let place = answers.partition_point(|given| *given < answer(atom, 0));
            let given = answers.get(place).filter(|given| atom_of(**given) == atom).map(|given| port_of(*given));
            if let (Some(domain), Some(port)) = (domain(protocol), given) {
                domains[domain].say(port, port, verdict);
            }
        }
    }
}

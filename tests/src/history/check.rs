//! Whether clients were told the truth. Pure.
//!
//! The truth is the store's own sequence of changes. Against it: every acknowledged write is in it, where it was said to be and under the condition
//! that it was sent with; nothing is in it that nobody asked for; who was answered before another asked comes before him; a read is of a moment
//! between its question and its answer; and a watch is the sequence itself, without a gap, a repetition or another order.

use super::{Change, History, Operation, Outcome, Revision, Seen, Watched, What};
use std::collections::{BTreeMap, HashMap};
use std::fmt;

/// What must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// The store's own changes are not in order.
    Disordered(Revision),
    /// An acknowledged write is not in the store, or at another revision than was said.
    Lost(Operation),
    /// A write took effect that was refused, or more than once.
    Unasked(Change),
    /// A write took effect although the object was not what it was sent for.
    Precondition { operation: Operation, found: Option<Revision> },
    /// A write that was sent after another was answered comes before it in the store.
    Overtaken { operation: Operation, at: Revision, by: Revision },
    /// A read of what was no longer, or never, the newest; what was known to have happened before it was sent is `known`.
    Stale { operation: Operation, known: Revision },
    /// A watch told something else than what came next.
    Watch { watch: usize, at: usize, told: Option<Seen>, instead_of: Option<Change> },
    /// A watch said that it had told everything up to a revision, and had not.
    Bookmark { watch: usize, said: Revision, missing: Revision },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disordered(at) => write!(f, "the store's change at {at} is not after the one before it"),
            Self::Lost(operation) => write!(f, "an acknowledged write was lost: {operation:?}"),
            Self::Unasked(change) => write!(f, "nobody asked for, or not twice: {change:?}"),
            Self::Precondition { operation, found } => write!(f, "done although the version was {found:?}: {operation:?}"),
            Self::Overtaken { operation, at, by } => {
                write!(f, "at {at}, before {by}, which had been acknowledged when it was sent: {operation:?}")
            }
            Self::Stale { operation, known } => write!(f, "not the state at {known} or later: {operation:?}"),
            Self::Watch { watch, at, told, instead_of } => {
                write!(f, "watch {watch} told as its item {at} {told:?} where the store has {instead_of:?}")
            }
            Self::Bookmark { watch, said, missing } => write!(f, "watch {watch} had told everything up to {said}, but not {missing}"),
        }
    }
}

/// Everything that is wrong with a history. `truth` is all that the store has of the objects from before the recording to its end, and every watch
/// is expected to have reached its end.
pub fn check(truth: &[Change], history: &History) -> Vec<Violation> {
    let mut violations: Vec<Violation> =
        truth.windows(2).filter(|pair| pair[1].revision <= pair[0].revision).map(|pair| Violation::Disordered(pair[1].revision)).collect();
    if !violations.is_empty() {
        return violations;
    }
    let store = Store::of(truth);
    let revisions = effects(&store, truth, history, &mut violations);
    let known = Known::of(&history.operations, &revisions);
    for (operation, at) in history.operations.iter().zip(&revisions) {
        real_time(&store, &known, operation, *at, &mut violations);
    }
    for (number, watched) in history.watches.iter().enumerate() {
        watch(truth, &store, number, watched, &mut violations);
    }
    violations
}

/// The truth by object.
struct Store<'a> {
    by_key: BTreeMap<&'a str, Vec<&'a Change>>,
}

impl<'a> Store<'a> {
    fn of(truth: &'a [Change]) -> Self {
        let mut by_key: BTreeMap<&str, Vec<&Change>> = BTreeMap::new();
        truth.iter().for_each(|change| by_key.entry(&change.key).or_default().push(change));
        Self { by_key }
    }

    fn of_key(&self, key: &str) -> &[&'a Change] {
        self.by_key.get(key).map_or(&[], Vec::as_slice)
    }

    /// The object as it was just before `revision`; `None` when it was not there.
    fn before(&self, key: &str, revision: Revision) -> Option<&'a Change> {
        let changes = self.of_key(key);
        let at = changes.partition_point(|change| change.revision < revision);
        at.checked_sub(1).map(|at| changes[at]).filter(|change| change.value.is_some())
    }

    /// Whether this is all that there was at `revision`.
    fn is_state(&self, revision: Revision, found: &[(String, Revision, String)]) -> bool {
        let there = self.by_key.keys().filter_map(|key| self.before(key, revision + 1));
        let there = there.filter_map(|change| Some((change.key.as_str(), change.revision, change.value.as_deref()?)));
        there.eq(found.iter().map(|(key, revision, value)| (key.as_str(), *revision, value.as_str())))
    }

    /// The object's next change after `revision`.
    fn after(&self, key: &str, revision: Revision) -> Option<&'a Change> {
        let changes = self.of_key(key);
        changes.get(changes.partition_point(|change| change.revision <= revision)).copied()
    }
}

/// Finds the change that each write made, and each change's write; the answer is in the order of the operations.
fn effects(store: &Store<'_>, truth: &[Change], history: &History, violations: &mut Vec<Violation>) -> Vec<Option<Revision>> {
    let mut puts: HashMap<&str, usize> = HashMap::new();
    let mut deletes: HashMap<(&str, Revision), Vec<usize>> = HashMap::new();
    for (number, operation) in history.operations.iter().enumerate() {
        match &operation.what {
            What::Put { value, .. } => drop(puts.insert(value, number)),
            What::Delete { key, before, .. } => deletes.entry((key, *before)).or_default().push(number),
            What::Get { .. } | What::List { .. } => {}
        }
    }
    let mut revisions = vec![None; history.operations.len()];
    for change in truth {
        let found = store.before(&change.key, change.revision).map(|found| found.revision);
        let number = match &change.value {
            Some(value) => puts.get(value.as_str()).copied(),
            // Of several that wanted to delete the same version the one that was told so did.
            None => found.and_then(|found| deletes.get(&(change.key.as_str(), found))).and_then(|numbers| {
                let outcome = |number: &&usize| match history.operations[**number].what {
                    What::Delete { outcome, .. } => outcome,
                    _ => Outcome::Refused,
                };
                let done = numbers.iter().find(|number| matches!(outcome(number), Outcome::Done(_)));
                done.or_else(|| numbers.iter().find(|number| outcome(number) == Outcome::Unknown)).copied()
            }),
        };
        let Some(number) = number.filter(|number| revisions[*number].is_none()) else {
            violations.push(Violation::Unasked(change.clone()));
            continue;
        };
        revisions[number] = Some(change.revision);
        let operation = &history.operations[number];
        let (key, before, outcome) = match &operation.what {
            What::Put { key, before, outcome, .. } => (key, *before, outcome),
            What::Delete { key, before, outcome } => (key, Some(*before), outcome),
            What::Get { .. } | What::List { .. } => continue,
        };
        if *outcome == Outcome::Refused || *key != change.key {
            violations.push(Violation::Unasked(change.clone()));
        }
        if before != found {
            violations.push(Violation::Precondition { operation: operation.clone(), found });
        }
    }
    for (operation, revision) in history.operations.iter().zip(&revisions) {
        let (What::Put { outcome, .. } | What::Delete { outcome, .. }) = &operation.what else { continue };
        let is_kept = match outcome {
            Outcome::Done(Some(said)) => *revision == Some(*said),
            Outcome::Done(None) => revision.is_some(),
            Outcome::Refused | Outcome::Unknown => true,
        };
        if !is_kept {
            violations.push(Violation::Lost(operation.clone()));
        }
    }
    revisions
}

/// The newest revision that somebody had been told of by a time.
struct Known(Vec<(u64, Revision)>);

impl Known {
    fn of(operations: &[Operation], revisions: &[Option<Revision>]) -> Self {
        let mut told: Vec<(u64, Revision)> = Vec::new();
        for (operation, revision) in operations.iter().zip(revisions) {
            let known = match &operation.what {
                What::Put { outcome: Outcome::Done(_), .. } | What::Delete { outcome: Outcome::Done(_), .. } => *revision,
                What::Get { found, .. } => found.as_ref().map(|(revision, _)| *revision),
                What::List { at, .. } => Some(*at),
                What::Put { .. } | What::Delete { .. } => None,
            };
            told.extend(known.map(|known| (operation.answered, known)));
        }
        told.sort_unstable();
        let mut newest = 0;
        for (_, revision) in &mut told {
            newest = newest.max(*revision);
            *revision = newest;
        }
        Self(told)
    }

    fn before(&self, time: u64) -> Revision {
        let at = self.0.partition_point(|(answered, _)| *answered < time);
        at.checked_sub(1).map_or(0, |at| self.0[at].1)
    }
}

fn real_time(store: &Store<'_>, known: &Known, operation: &Operation, at: Option<Revision>, violations: &mut Vec<Violation>) {
    let earliest = known.before(operation.sent);
    let is_stale = match &operation.what {
        What::Put { .. } | What::Delete { .. } => {
            if let Some(at) = at.filter(|at| *at <= earliest) {
                violations.push(Violation::Overtaken { operation: operation.clone(), at, by: earliest });
            }
            return;
        }
        What::Get { key, found: Some((revision, value)) } => {
            let change = store.of_key(key).iter().find(|change| change.revision == *revision);
            let is_true = change.is_some_and(|change| change.value.as_deref() == Some(value));
            !is_true || store.after(key, *revision).is_some_and(|next| next.revision <= earliest)
        }
        // It was not there at `earliest`, or went later.
        What::Get { key, found: None } => {
            let was_there = store.before(key, earliest + 1).is_some();
            let went = store.of_key(key).iter().any(|change| change.revision > earliest && change.value.is_none());
            was_there && !went
        }
        What::List { at, found } => !store.is_state(*at, found) || *at < earliest,
    };
    if is_stale {
        violations.push(Violation::Stale { operation: operation.clone(), known: earliest });
    }
}

fn watch(truth: &[Change], store: &Store<'_>, number: usize, watched: &Watched, violations: &mut Vec<Violation>) {
    let mut rest = truth[truth.partition_point(|change| change.revision <= watched.after)..].iter().peekable();
    let mut position = watched.after;
    for (at, seen) in watched.seen.iter().enumerate() {
        if let Seen::Bookmark(said) = seen {
            if let Some(next) = rest.peek().filter(|next| next.revision <= *said) {
                violations.push(Violation::Bookmark { watch: number, said: *said, missing: next.revision });
                return;
            }
            continue;
        }
        if let Seen::Listed { at: moment, found } = seen {
            if !store.is_state(*moment, found) || *moment < position {
                violations.push(Violation::Watch { watch: number, at, told: Some(seen.clone()), instead_of: rest.next().cloned() });
                return;
            }
            while rest.next_if(|next| next.revision <= *moment).is_some() {}
            position = *moment;
            continue;
        }
        let next = rest.next();
        position = next.map_or(position, |next| next.revision);
        // Of one that differs nothing more can be said.
        if next.map(|next| expected(store, next)).as_ref() != Some(seen) {
            violations.push(Violation::Watch { watch: number, at, told: Some(seen.clone()), instead_of: next.cloned() });
            return;
        }
    }
    if let Some(missing) = rest.next() {
        violations.push(Violation::Watch { watch: number, at: watched.seen.len(), told: None, instead_of: Some(missing.clone()) });
    }
}

/// How a watch tells of a change.
fn expected(store: &Store<'_>, change: &Change) -> Seen {
    let before = store.before(&change.key, change.revision);
    match (&change.value, before) {
        (Some(_), None) => Seen::Added(change.clone()),
        (Some(_), Some(_)) => Seen::Modified(change.clone()),
        (None, before) => {
            let held = before.and_then(|before| before.value.clone()).unwrap_or_default();
            Seen::Deleted { revision: change.revision, key: change.key.clone(), held }
        }
    }
}

//! The checker passes what is true, and each way of being wrong is caught, wherever in a history it is.

use super::model;
use super::random::Random;
use super::{Change, History, Outcome, Seen, Violation, What, check};

/// Makes one thing wrong; false where the history has no place for it.
type Mutant = fn(&mut Vec<Change>, &mut History, &mut Random) -> bool;

#[test]
fn true_histories_pass() {
    for seed in 1..200 {
        let (truth, history) = model::run(seed, 60);
        assert_eq!(check(&truth, &history), [], "seed {seed}");
    }
}

/// Applies the mutant to many histories: every one is caught, by a violation of the kind that is expected.
fn caught(mutant: Mutant, expected: fn(&Violation) -> bool) {
    let mut applied = 0;
    for seed in 1..200 {
        let (mut truth, mut history) = model::run(seed, 60);
        if mutant(&mut truth, &mut history, &mut Random(seed * 7 + 1)) {
            applied += 1;
            let found = check(&truth, &history);
            assert!(found.iter().any(expected), "seed {seed}: {found:?}");
        }
    }
    assert!(applied > 40, "the mutant was applied {applied} times");
}

/// One of those that are wanted, by chance.
fn one<T>(all: &mut [T], random: &mut Random, wanted: impl Fn(&T) -> bool) -> Option<usize> {
    let places: Vec<usize> = (0..all.len()).filter(|at| wanted(&all[*at])).collect();
    (!places.is_empty()).then(|| places[random.below(places.len() as u64) as usize])
}

fn is_put(outcome: impl Fn(Outcome) -> bool) -> impl Fn(&super::Operation) -> bool {
    move |operation| matches!(&operation.what, What::Put { outcome: said, .. } if outcome(*said))
}

#[test]
fn an_acknowledged_write_that_the_store_has_not_is_caught() {
    let lose: Mutant = |truth, history, random| {
        let Some(at) = one(&mut history.operations, random, is_put(|said| matches!(said, Outcome::Done(_)))) else { return false };
        let What::Put { value, .. } = &history.operations[at].what else { return false };
        truth.retain(|change| change.value.as_ref() != Some(value));
        true
    };
    caught(lose, |violation| matches!(violation, Violation::Lost(_)));
    let lose_deletion: Mutant = |truth, history, random| {
        let done = |operation: &super::Operation| matches!(operation.what, What::Delete { outcome: Outcome::Done(_), .. });
        let Some(at) = one(&mut history.operations, random, done) else { return false };
        let What::Delete { key, before, .. } = &history.operations[at].what else { return false };
        let Some(place) = truth.iter().position(|change| change.key == *key && change.revision > *before) else { return false };
        truth.remove(place);
        true
    };
    caught(lose_deletion, |violation| matches!(violation, Violation::Lost(_)));
}

#[test]
fn a_write_at_another_revision_than_was_said_is_caught() {
    let shift: Mutant = |_, history, random| {
        let Some(at) = one(&mut history.operations, random, is_put(|said| matches!(said, Outcome::Done(_)))) else { return false };
        let What::Put { outcome: Outcome::Done(Some(revision)), .. } = &mut history.operations[at].what else { return false };
        *revision += 1;
        true
    };
    caught(shift, |violation| matches!(violation, Violation::Lost(_)));
}

#[test]
fn a_refused_write_that_took_effect_is_caught() {
    let refuse: Mutant = |_, history, random| {
        let Some(at) = one(&mut history.operations, random, is_put(|said| matches!(said, Outcome::Done(_)))) else { return false };
        let What::Put { outcome, .. } = &mut history.operations[at].what else { return false };
        *outcome = Outcome::Refused;
        true
    };
    caught(refuse, |violation| matches!(violation, Violation::Unasked(_)));
}

#[test]
fn a_write_that_took_effect_twice_or_was_never_sent_is_caught() {
    let twice: Mutant = |truth, _, random| {
        let Some(at) = one(truth, random, |change| change.value.is_some()) else { return false };
        let newest = truth.last().map_or(0, |last| last.revision);
        truth.push(Change { revision: newest + 1, ..truth[at].clone() });
        true
    };
    caught(twice, |violation| matches!(violation, Violation::Unasked(_)));
    let stranger: Mutant = |truth, _, _| {
        let newest = truth.last().map_or(0, |last| last.revision);
        truth.push(Change { revision: newest + 1, key: "key0".into(), value: Some("a stranger's".into()) });
        true
    };
    caught(stranger, |violation| matches!(violation, Violation::Unasked(_)));
}

#[test]
fn a_write_under_a_condition_that_did_not_hold_is_caught() {
    let other: Mutant = |_, history, random| {
        let update = |operation: &super::Operation| {
            matches!(&operation.what, What::Put { before: Some(_), outcome: Outcome::Done(_) | Outcome::Unknown, .. })
        };
        let Some(at) = one(&mut history.operations, random, update) else { return false };
        let What::Put { before, .. } = &mut history.operations[at].what else { return false };
        *before = None;
        // One that nobody was told of may never have taken effect.
        let What::Put { outcome, .. } = &history.operations[at].what else { return false };
        matches!(outcome, Outcome::Done(_))
    };
    caught(other, |violation| matches!(violation, Violation::Precondition { .. }));
}

#[test]
fn a_write_that_comes_before_what_was_acknowledged_is_caught() {
    let late: Mutant = |_, history, random| {
        let Some(at) = one(&mut history.operations, random, is_put(|said| matches!(said, Outcome::Done(_)))) else { return false };
        let later = |operation: &super::Operation| {
            let What::Put { outcome: Outcome::Done(Some(revision)), .. } = operation.what else { return false };
            let What::Put { outcome: Outcome::Done(Some(own)), .. } = history.operations[at].what else { return false };
            revision > own
        };
        let Some(newer) = history.operations.iter().find(|operation| later(operation)) else { return false };
        let answered = newer.answered;
        history.operations[at].sent = answered + 1;
        history.operations[at].answered = answered + 2;
        true
    };
    caught(late, |violation| matches!(violation, Violation::Overtaken { .. }));
}

#[test]
fn a_read_of_the_past_is_caught() {
    let get: Mutant = |truth, history, random| {
        let reads = |operation: &super::Operation| matches!(operation.what, What::Get { .. });
        let Some(at) = one(&mut history.operations, random, reads) else { return false };
        let What::Get { key, .. } = history.operations[at].what.clone() else { return false };
        // What a later change replaced, asked for after that was acknowledged.
        let of_key: Vec<&Change> = truth.iter().filter(|change| change.key == key).collect();
        let Some(pair) = of_key.windows(2).find(|pair| pair[0].value.is_some()) else { return false };
        let acknowledged = history.operations.iter().find(|operation| match &operation.what {
            What::Put { value, outcome: Outcome::Done(_), .. } => pair[1].value.as_ref() == Some(value),
            _ => false,
        });
        let Some(time) = acknowledged.map(|operation| operation.answered) else { return false };
        let found = pair[0].value.clone().map(|value| (pair[0].revision, value));
        let operation = &mut history.operations[at];
        (operation.sent, operation.answered) = (time + 1, time + 2);
        operation.what = What::Get { key, found };
        true
    };
    caught(get, |violation| matches!(violation, Violation::Stale { .. }));
    let absent: Mutant = |truth, history, random| {
        let newest = truth.last().map_or(0, |last| last.revision);
        // Nothing comes after it.
        let last = history.operations.iter().map(|operation| operation.answered).max().unwrap_or(0);
        let there = |change: &Change| {
            change.value.is_some() && !truth.iter().any(|other| other.key == change.key && other.revision > change.revision)
        };
        let key = truth.iter().find(|change| there(change)).map(|change| change.key.clone());
        let (Some(key), Some(at)) = (key, one(&mut history.operations, random, |operation| matches!(operation.what, What::Get { .. })))
        else {
            return false;
        };
        history.operations.push(super::Operation {
            sent: last + 1,
            answered: last + 2,
            what: What::List { at: newest, found: list(truth) },
        });
        let operation = &mut history.operations[at];
        (operation.sent, operation.answered) = (last + 3, last + 4);
        operation.what = What::Get { key, found: None };
        true
    };
    caught(absent, |violation| matches!(violation, Violation::Stale { .. }));
}

/// All that is there at the end.
fn list(truth: &[Change]) -> Vec<(String, u64, String)> {
    let mut newest = std::collections::BTreeMap::new();
    for change in truth {
        newest.insert(change.key.clone(), (change.revision, change.value.clone()));
    }
    newest.into_iter().filter_map(|(key, (revision, value))| Some((key, revision, value?))).collect()
}

#[test]
fn a_list_that_lacks_something_or_is_of_no_moment_is_caught() {
    let lack: Mutant = |_, history, random| {
        let full = |operation: &super::Operation| matches!(&operation.what, What::List { found, .. } if !found.is_empty());
        let Some(at) = one(&mut history.operations, random, full) else { return false };
        let What::List { found, .. } = &mut history.operations[at].what else { return false };
        found.pop();
        true
    };
    caught(lack, |violation| matches!(violation, Violation::Stale { .. }));
    let mixed: Mutant = |_, history, random| {
        let full = |operation: &super::Operation| matches!(&operation.what, What::List { found, .. } if !found.is_empty());
        let Some(at) = one(&mut history.operations, random, full) else { return false };
        let What::List { found, .. } = &mut history.operations[at].what else { return false };
        found[0].2 = "of another moment".into();
        true
    };
    caught(mixed, |violation| matches!(violation, Violation::Stale { .. }));
    let old: Mutant = |truth, history, random| {
        let Some(at) = one(&mut history.operations, random, |operation| matches!(operation.what, What::List { .. })) else { return false };
        let time = history.operations.iter().map(|operation| operation.answered).max().unwrap_or(0);
        let What::List { at: said, .. } = history.operations[at].what else { return false };
        // It is true, and old: what came after it had been acknowledged.
        let acknowledged = |operation: &super::Operation| matches!(operation.what, What::Put { outcome: Outcome::Done(Some(revision)), .. } if revision > said);
        let is_old = history.operations.iter().any(acknowledged) && truth.last().is_some_and(|last| last.revision > said);
        (history.operations[at].sent, history.operations[at].answered) = (time + 1, time + 2);
        is_old
    };
    caught(old, |violation| matches!(violation, Violation::Stale { .. }));
}

fn is_event(seen: &Seen) -> bool {
    !matches!(seen, Seen::Bookmark(_) | Seen::Listed { .. })
}

#[test]
fn a_watch_that_misses_repeats_or_reorders_is_caught() {
    let is_watch = |violation: &Violation| matches!(violation, Violation::Watch { .. } | Violation::Bookmark { .. });
    let miss: Mutant = |_, history, random| {
        let seen = &mut history.watches[0].seen;
        one(seen, random, is_event).map(|at| seen.remove(at)).is_some()
    };
    caught(miss, is_watch);
    let repeat: Mutant = |_, history, random| {
        let seen = &mut history.watches[0].seen;
        one(seen, random, is_event).map(|at| seen.insert(at, seen[at].clone())).is_some()
    };
    caught(repeat, is_watch);
    let swap: Mutant = |_, history, random| {
        let seen = &mut history.watches[0].seen;
        let places: Vec<usize> = (1..seen.len()).filter(|at| is_event(&seen[*at]) && is_event(&seen[*at - 1])).collect();
        if places.is_empty() {
            return false;
        }
        let at = places[random.below(places.len() as u64) as usize];
        seen.swap(at, at - 1);
        true
    };
    caught(swap, is_watch);
    let end_early: Mutant = |_, history, _| {
        let seen = &mut history.watches[0].seen;
        let Some(last) = seen.iter().rposition(is_event) else { return false };
        seen.truncate(last);
        true
    };
    caught(end_early, is_watch);
    let go_on_late: Mutant = |truth, history, random| {
        // As one that goes on after an outage with the newest revision instead of the one that it had seen.
        let seen = &mut history.watches[0].seen;
        let Some(from) = one(seen, random, is_event) else { return false };
        let until = (from + 1 + random.below(5) as usize).min(seen.len());
        seen.drain(from..until);
        truth.len() > 1
    };
    caught(go_on_late, is_watch);
}

/// A watch of everything, with a list in the place of its first events.
fn listed(truth: &[Change], random: &mut Random) -> Option<super::Watched> {
    let until = 1 + random.below(truth.len() as u64 / 2) as usize;
    let (at, rest) = (truth[until - 1].revision, &truth[until..]);
    let whole = model::watch(truth, 0, &mut Random(1));
    let later = whole.seen.into_iter().filter(|seen| match seen {
        Seen::Added(change) | Seen::Modified(change) => rest.contains(change),
        Seen::Deleted { revision, .. } => *revision > at,
        Seen::Bookmark(_) | Seen::Listed { .. } => false,
    });
    let seen = [Seen::Listed { at, found: list(&truth[..until]) }].into_iter().chain(later).collect();
    Some(super::Watched { after: 0, seen })
}

#[test]
fn a_watch_that_goes_on_from_a_list_passes_and_from_a_wrong_one_is_caught() {
    for seed in 1..200 {
        let (truth, mut history) = model::run(seed, 60);
        history.watches = listed(&truth, &mut Random(seed)).into_iter().collect();
        assert_eq!(check(&truth, &history), [], "seed {seed}");
    }
    let is_watch = |violation: &Violation| matches!(violation, Violation::Watch { .. });
    let wrong: Mutant = |truth, history, random| {
        history.watches = listed(truth, random).into_iter().collect();
        let Seen::Listed { found, .. } = &mut history.watches[0].seen[0] else { return false };
        found.pop().is_some()
    };
    caught(wrong, is_watch);
    // The revision is one later than what was listed, as if the watch went on after a change that was in neither.
    let late: Mutant = |truth, history, random| {
        history.watches = listed(truth, random).into_iter().collect();
        let watched = &mut history.watches[0];
        let next = watched.seen.get(1).cloned();
        let (Some(Seen::Added(change) | Seen::Modified(change)), Seen::Listed { at, .. }) = (next, &mut watched.seen[0]) else {
            return false;
        };
        *at = change.revision;
        watched.seen.remove(1);
        true
    };
    caught(late, is_watch);
    let back: Mutant = |truth, history, random| {
        let watched = listed(truth, random);
        let Some(Seen::Listed { at, found }) = watched.and_then(|watched| watched.seen.into_iter().next()) else { return false };
        history.watches[0].seen.push(Seen::Listed { at, found });
        truth.last().is_some_and(|last| last.revision > at)
    };
    caught(back, is_watch);
}

#[test]
fn a_watch_that_tells_something_else_is_caught() {
    let is_watch = |violation: &Violation| matches!(violation, Violation::Watch { .. });
    let value: Mutant = |_, history, random| {
        let seen = &mut history.watches[0].seen;
        let Some(at) = one(seen, random, is_event) else { return false };
        match &mut seen[at] {
            Seen::Added(change) | Seen::Modified(change) => change.value = Some("another".into()),
            Seen::Deleted { held, .. } => *held = "another".into(),
            Seen::Bookmark(_) | Seen::Listed { .. } => return false,
        }
        true
    };
    caught(value, is_watch);
    let kind: Mutant = |_, history, random| {
        let seen = &mut history.watches[0].seen;
        let Some(at) = one(seen, random, |seen| matches!(seen, Seen::Added(_))) else { return false };
        let Seen::Added(change) = seen[at].clone() else { return false };
        seen[at] = Seen::Modified(change);
        true
    };
    caught(kind, is_watch);
    let revision: Mutant = |_, history, random| {
        let seen = &mut history.watches[0].seen;
        let Some(at) = one(seen, random, |seen| matches!(seen, Seen::Deleted { .. })) else { return false };
        let Seen::Deleted { revision, .. } = &mut seen[at] else { return false };
        *revision -= 1;
        true
    };
    caught(revision, is_watch);
}

#[test]
fn a_bookmark_before_its_time_is_caught() {
    let early: Mutant = |truth, history, random| {
        let seen = &mut history.watches[0].seen;
        let Some(at) = one(seen, random, is_event) else { return false };
        seen.insert(at, Seen::Bookmark(truth.last().map_or(0, |last| last.revision)));
        true
    };
    caught(early, |violation| matches!(violation, Violation::Bookmark { .. }));
}

#[test]
fn a_store_whose_changes_are_not_in_order_is_caught() {
    let swap: Mutant = |truth, _, random| {
        if truth.len() < 2 {
            return false;
        }
        let at = 1 + random.below(truth.len() as u64 - 1) as usize;
        truth.swap(at, at - 1);
        true
    };
    caught(swap, |violation| matches!(violation, Violation::Disordered(_)));
}

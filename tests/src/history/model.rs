//! Histories that are right by construction, for tests of the checker: clients of a store that is one map under one lock.

use super::random::Random;
use super::{Change, History, Operation, Outcome, Revision, Seen, Watched, What};
use std::collections::BTreeMap;

/// A true history of this many requests; the same for the same seed.
pub fn run(seed: u64, requests: u64) -> (Vec<Change>, History) {
    let mut random = Random(seed | 1);
    let mut now: BTreeMap<String, (Revision, String)> = BTreeMap::new();
    let (mut truth, mut history) = (Vec::<Change>::new(), History::default());
    let mut revision = 100;
    let mut answered = [0u64; 4];
    for number in 0..requests {
        // It takes effect at `time`, between its question and its answer; the next question of the same client comes after that.
        let (client, time) = (random.below(4) as usize, 100 * (number + 1));
        let sent = (time - random.below(250).min(time - 1)).max(answered[client] + 1).min(time);
        answered[client] = time + random.below(250);
        let key = format!("key{}", random.below(5));
        let value = format!("value{number}");
        let found = now.get(&key).cloned();
        let what = match random.below(10) {
            0..=4 => {
                let stale = random.below(6) == 0;
                let before = found.as_ref().map(|(revision, _)| *revision - u64::from(stale));
                let is_done = before == found.as_ref().map(|(revision, _)| *revision);
                let outcome = outcome(&mut random, is_done, Some(revision + 3));
                if is_done && outcome != Outcome::Refused {
                    revision += 3;
                    now.insert(key.clone(), (revision, value.clone()));
                    truth.push(Change { revision, key: key.clone(), value: Some(value.clone()) });
                }
                What::Put { key, value, before, outcome }
            }
            5..=6 if found.is_some() => {
                let before = found.map_or(0, |(revision, _)| revision);
                let outcome = outcome(&mut random, true, None);
                if outcome != Outcome::Refused {
                    revision += 1;
                    now.remove(&key);
                    truth.push(Change { revision, key: key.clone(), value: None });
                }
                What::Delete { key, before, outcome }
            }
            7 => {
                let found = now.iter().map(|(key, (revision, value))| (key.clone(), *revision, value.clone())).collect();
                What::List { at: revision, found }
            }
            _ => What::Get { key, found },
        };
        history.operations.push(Operation { sent, answered: answered[client], what });
    }
    for after in [0, 100 + revision / 3, revision] {
        history.watches.push(watch(&truth, after, &mut random));
    }
    (truth, history)
}

/// One that is done is acknowledged, or nobody knows.
fn outcome(random: &mut Random, is_done: bool, at: Option<Revision>) -> Outcome {
    match (is_done, random.below(8)) {
        (false, _) => Outcome::Refused,
        (true, 0) => Outcome::Unknown,
        (true, _) => Outcome::Done(at),
    }
}

/// A true watch.
pub fn watch(truth: &[Change], after: Revision, random: &mut Random) -> Watched {
    let mut held: BTreeMap<&str, &str> = BTreeMap::new();
    let mut seen = Vec::new();
    for change in truth {
        let before = match &change.value {
            Some(value) => held.insert(&change.key, value),
            None => held.remove(change.key.as_str()),
        };
        if change.revision <= after {
            continue;
        }
        seen.push(match (&change.value, before) {
            (Some(_), None) => Seen::Added(change.clone()),
            (Some(_), Some(_)) => Seen::Modified(change.clone()),
            (None, before) => {
                Seen::Deleted { revision: change.revision, key: change.key.clone(), held: before.unwrap_or_default().to_owned() }
            }
        });
        if random.below(5) == 0 {
            seen.push(Seen::Bookmark(change.revision));
        }
    }
    Watched { after, seen }
}

//! Random histories against a model that keeps every state there ever was.

use crate::backend::Fixture;
use crate::{events, everything};
use bytes::Bytes;
use orknet_store::{Commit, Compare, Entry, EventKind, KeyRange, Op, Revision, Store, StoreError};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use std::collections::BTreeMap;

type State = BTreeMap<Bytes, Entry>;

#[derive(Clone, Debug)]
enum Step {
    /// Writes keys by number; the compares say whether to guess their revisions right.
    Commit { compares: Vec<(u8, bool)>, ops: BTreeMap<u8, Option<u16>> },
    /// Compacts to this part (of 16) of the revisions kept.
    Compact(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let commit = (proptest::collection::vec((0..12u8, proptest::bool::weighted(0.9)), 0..3), ops())
        .prop_map(|(compares, ops)| Step::Commit { compares, ops });
    prop_oneof![30 => commit, 1 => (0..16u8).prop_map(Step::Compact)]
}

fn ops() -> impl Strategy<Value = BTreeMap<u8, Option<u16>>> {
    proptest::collection::btree_map(0..12u8, proptest::option::weighted(0.7, 0..2000u16), 0..5)
}

fn key(number: u8) -> Bytes {
    format!("key/{number:02}").into()
}

/// Keeps the state at every revision.
struct Model {
    states: BTreeMap<Revision, State>,
    revision: Revision,
    compacted: Revision,
}

impl Model {
    fn current(&self) -> &State {
        &self.states[&self.revision]
    }

    fn commit(&mut self, compares: &[Compare], ops: &[Op]) -> Commit {
        let state = self.current();
        let current: Vec<Option<Entry>> = compares.iter().map(|compare| state.get(compare.key()).cloned()).collect();
        let holds = compares.iter().zip(&current).all(|(compare, entry)| match (compare, entry) {
            (Compare::Absent(_), None) => true,
            (Compare::ModRevision(_, revision), Some(entry)) => entry.mod_revision == *revision,
            _ => false,
        });
        if !holds {
            return Commit::Failed { current, revision: self.revision };
        }
        let mut next = state.clone();
        let revision = self.revision + 1;
        for op in ops {
            match op {
                Op::Put { key, value, .. } => {
                    let create_revision = next.get(key).map_or(revision, |entry| entry.create_revision);
                    let entry = Entry { key: key.clone(), value: value.clone(), create_revision, mod_revision: revision };
                    next.insert(key.clone(), entry);
                }
                Op::Delete { key } => {
                    next.remove(key);
                }
            }
        }
        if next != *state {
            self.revision = revision;
            self.states.insert(revision, next);
        }
        Commit::Done(self.revision)
    }
}

pub async fn random_histories_agree_with_a_model(fixture: Fixture) {
    let mut runner = TestRunner::default();
    let steps = proptest::collection::vec(step(), 300).new_tree(&mut runner).unwrap().current();
    println!("history: {steps:?}");
    let start = fixture.store.current_revision().await.unwrap();
    let mut model = Model { states: BTreeMap::from([(start, State::new())]), revision: start, compacted: start };
    let mut fixture = fixture;
    let mut watch_from = start;
    for (at, step) in steps.into_iter().enumerate() {
        match step {
            Step::Commit { compares, ops } => {
                let compares: Vec<Compare> = compares
                    .into_iter()
                    .map(|(number, right)| match model.current().get(&key(number)) {
                        Some(entry) if right => Compare::ModRevision(key(number), entry.mod_revision),
                        None if !right => Compare::ModRevision(key(number), model.revision),
                        _ => Compare::Absent(key(number)),
                    })
                    .collect();
                let ops: Vec<Op> = ops
                    .into_iter()
                    .map(|(number, size)| match size {
                        Some(size) => Op::Put { key: key(number), value: vec![number; size.into()].into(), ttl: None },
                        None => Op::Delete { key: key(number) },
                    })
                    .collect();
                let expected = model.commit(&compares, &ops);
                assert_eq!(fixture.store.commit(compares, ops).await.unwrap(), expected);
            }
            Step::Compact(part) => {
                // What is about to go is watched first.
                check_watch(&*fixture.store, &model, watch_from).await;
                let revision = model.compacted + (model.revision - model.compacted) * u64::from(part) / 16;
                fixture.store.compact(revision).await.unwrap();
                if revision > model.compacted {
                    model.compacted = revision;
                }
                watch_from = watch_from.max(model.compacted);
            }
        }
        if at == 150 {
            fixture = fixture.reopen().await;
        }
        if at % 10 == 0 {
            check_states(&*fixture.store, &model, start).await;
        }
    }
    check_states(&*fixture.store, &model, start).await;
    check_watch(&*fixture.store, &model, watch_from).await;
}

async fn check_states(store: &dyn Store, model: &Model, start: Revision) {
    assert_eq!(store.current_revision().await.unwrap(), model.revision);
    for revision in [model.revision, model.compacted, (model.revision + model.compacted) / 2] {
        let found = store.range(everything(), Some(revision), 0).await.unwrap();
        assert_eq!(found.entries, model.states[&revision].values().cloned().collect::<Vec<_>>(), "at revision {revision}");
    }
    let part = KeyRange { start: key(3), end: key(9) };
    let found = store.range(part.clone(), None, 2).await.unwrap();
    let expected: Vec<Entry> = model.current().values().filter(|entry| part.contains(&entry.key)).cloned().collect();
    assert_eq!((found.entries.len(), found.more), (expected.len().min(2), expected.len() > 2));
    if model.compacted > start {
        let refused = store.range(everything(), Some(model.compacted - 1), 0).await;
        assert!(matches!(refused, Err(StoreError::Compacted { .. })), "{refused:?}");
    }
}

/// Plays the watched events onto the state they begin from and compares with every state on the way.
async fn check_watch(store: &dyn Store, model: &Model, after: Revision) {
    let mut watch = store.watch(everything(), after).await.unwrap();
    let mut state = model.states[&after].clone();
    for revision in after + 1..=model.revision {
        for event in events(&mut watch).await {
            assert_eq!(event.revision, revision);
            assert_eq!(event.previous, state.get(&event.key).cloned(), "before revision {revision}");
            match event.kind {
                EventKind::Put { value, create_revision } => {
                    let entry = Entry { key: event.key.clone(), value, create_revision, mod_revision: revision };
                    state.insert(event.key, entry);
                }
                EventKind::Delete => {
                    state.remove(&event.key);
                }
            }
        }
        assert_eq!(state, model.states[&revision], "after revision {revision}");
    }
}

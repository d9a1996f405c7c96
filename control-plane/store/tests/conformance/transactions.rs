//! Reads and commits.

use crate::backend::Fixture;
use crate::{absent, delete, everything, get, put, write};
use orknet_store::{Commit, Compare, Entry, KeyRange, MAX_VALUE, StoreError};
use std::collections::HashSet;

pub async fn a_key_written_is_read_back(fixture: Fixture) {
    let store = &*fixture.store;
    assert_eq!(get(store, "a").await, None);
    let first = write(store, vec![put("a", "1")]).await;
    let second = write(store, vec![put("a", "2")]).await;
    assert!(second > first);
    let expected = Entry { key: "a".into(), value: "2".into(), create_revision: first, mod_revision: second };
    assert_eq!(get(store, "a").await, Some(expected));
    assert_eq!(store.current_revision().await.unwrap(), second);
    let third = write(store, vec![delete("a")]).await;
    assert_eq!(get(store, "a").await, None);
    let fourth = write(store, vec![put("a", "3")]).await;
    assert!(fourth > third);
    assert_eq!(get(store, "a").await.unwrap().create_revision, fourth);
    assert!(store.size().await.unwrap() > 0);
}

pub async fn concurrent_writers_take_distinct_revisions(fixture: Fixture) {
    let store = fixture.store.clone();
    let before = store.current_revision().await.unwrap();
    let writers = (0..16).map(|writer| {
        let store = store.clone();
        tokio::spawn(async move {
            let mut taken = Vec::new();
            for at in 0..10 {
                taken.push(write(&*store, vec![put(format!("{writer}/{at}"), "v")]).await);
            }
            assert!(taken.is_sorted());
            taken
        })
    });
    let mut revisions = HashSet::new();
    for writer in writers.collect::<Vec<_>>() {
        for revision in writer.await.unwrap() {
            assert!(revision > before);
            assert!(revisions.insert(revision), "revision {revision} was given twice");
        }
    }
    assert_eq!(revisions.len(), 160);
    assert_eq!(store.current_revision().await.unwrap(), before + 160);
}

pub async fn of_concurrent_compare_and_swaps_one_wins(fixture: Fixture) {
    let store = fixture.store.clone();
    for round in 0..10 {
        let current = get(&*store, "a").await.map(|entry| entry.mod_revision);
        let compare = current.map_or(absent("a"), |revision| Compare::ModRevision("a".into(), revision));
        let swaps: Vec<_> = (0..8)
            .map(|swapper| {
                let (store, compare) = (store.clone(), compare.clone());
                tokio::spawn(async move {
                    let value = format!("{round}/{swapper}");
                    (value.clone(), store.commit(vec![compare], vec![put("a", value)]).await.unwrap())
                })
            })
            .collect();
        let mut winners = Vec::new();
        for swap in swaps {
            let (value, commit) = swap.await.unwrap();
            match commit {
                Commit::Done(revision) => winners.push((value, revision)),
                Commit::Failed { current, .. } => assert!(current[0].is_some()),
            }
        }
        assert_eq!(winners.len(), 1, "{winners:?}");
        let entry = get(&*store, "a").await.unwrap();
        assert_eq!((entry.value, entry.mod_revision), (winners[0].0.clone().into(), winners[0].1));
    }
}

pub async fn a_failed_compare_returns_the_current_entries_and_changes_nothing(fixture: Fixture) {
    let store = &*fixture.store;
    let first = write(store, vec![put("a", "1")]).await;
    let second = write(store, vec![put("c", "3")]).await;
    let compares = vec![Compare::ModRevision("c".into(), first), absent("b"), Compare::ModRevision("a".into(), first)];
    let answer = store.commit(compares, vec![put("a", "x"), put("b", "x"), delete("c")]).await.unwrap();
    let Commit::Failed { current, revision } = answer else { panic!("{answer:?}") };
    assert_eq!(revision, second);
    assert_eq!(
        current,
        [
            Some(Entry { key: "c".into(), value: "3".into(), create_revision: second, mod_revision: second }),
            None,
            Some(Entry { key: "a".into(), value: "1".into(), create_revision: first, mod_revision: first }),
        ]
    );
    let all = store.range(everything(), None, 0).await.unwrap();
    assert_eq!((all.entries.len(), all.revision), (2, second));
    assert_eq!(store.commit(vec![Compare::ModRevision("a".into(), first)], vec![]).await.unwrap(), Commit::Done(second));
}

pub async fn a_revision_of_zero_is_not_absence(fixture: Fixture) {
    let store = &*fixture.store;
    let answer = store.commit(vec![Compare::ModRevision("a".into(), 0)], vec![put("a", "1")]).await.unwrap();
    assert!(matches!(&answer, Commit::Failed { current, .. } if current == &[None]), "{answer:?}");
}

pub async fn deleting_nothing_takes_no_revision(fixture: Fixture) {
    let store = &*fixture.store;
    let revision = write(store, vec![put("a", "1")]).await;
    assert_eq!(write(store, vec![delete("b")]).await, revision);
    assert_eq!(store.current_revision().await.unwrap(), revision);
    assert_eq!(write(store, vec![delete("b"), delete("a")]).await, revision + 1);
    assert_eq!(write(store, vec![]).await, revision + 1);
}

pub async fn a_range_is_in_key_order_with_limit_more_and_count(fixture: Fixture) {
    let store = &*fixture.store;
    for key in ["p/c", "p/a", "q/a", "p/b", "o", "p/d"] {
        write(store, vec![put(key, key)]).await;
    }
    let keys = |range: KeyRange, limit: usize| async move {
        let found = store.range(range, None, limit).await.unwrap();
        let keys: Vec<String> = found.entries.iter().map(|entry| String::from_utf8(entry.key.to_vec()).unwrap()).collect();
        (keys.join(" "), found.more, found.count)
    };
    assert_eq!(keys(KeyRange::prefix("p/"), 0).await, ("p/a p/b p/c p/d".into(), false, Some(4)));
    assert_eq!(keys(KeyRange::prefix("p/"), 3).await, ("p/a p/b p/c".into(), true, Some(4)));
    assert_eq!(keys(KeyRange::prefix("p/"), 4).await, ("p/a p/b p/c p/d".into(), false, Some(4)));
    assert_eq!(keys(KeyRange { start: "p/b".into(), end: "p/d".into() }, 0).await.0, "p/b p/c");
    assert_eq!(keys(KeyRange { start: "p/c".into(), end: "".into() }, 0).await.0, "p/c p/d q/a");
    assert_eq!(keys(everything(), 0).await.0, "o p/a p/b p/c p/d q/a");
    assert_eq!(keys(KeyRange { start: "z".into(), end: "a".into() }, 0).await.0, "");
    assert_eq!(keys(KeyRange::single("p/a"), 0).await.0, "p/a");
}

pub async fn an_old_revision_reads_as_it_was_and_a_future_one_is_refused(fixture: Fixture) {
    let store = &*fixture.store;
    let first = write(store, vec![put("a", "1"), put("b", "1")]).await;
    let second = write(store, vec![put("a", "2"), delete("b")]).await;
    let third = write(store, vec![put("c", "3")]).await;
    let at = |revision| async move {
        let found = store.range(everything(), Some(revision), 0).await.unwrap();
        assert_eq!(found.revision, revision);
        found.entries.into_iter().map(|entry| (entry.key, entry.value)).collect::<Vec<_>>()
    };
    assert_eq!(at(first).await, [("a".into(), "1".into()), ("b".into(), "1".into())]);
    assert_eq!(at(second).await, [("a".into(), "2".into())]);
    assert_eq!(at(third).await, [("a".into(), "2".into()), ("c".into(), "3".into())]);
    let future = store.range(everything(), Some(third + 1), 0).await;
    assert!(
        matches!(future, Err(StoreError::FutureRevision { requested, newest }) if requested == third + 1 && newest == third),
        "{future:?}"
    );
}

pub async fn a_large_range_is_read_whole(fixture: Fixture) {
    let store = &*fixture.store;
    for chunk in 0..25 {
        let ops = (0..100).map(|at| put(format!("{:04}", chunk * 100 + at), vec![b'v'; 2000])).collect();
        write(store, ops).await;
    }
    let all = store.range(everything(), None, 0).await.unwrap();
    assert_eq!((all.entries.len(), all.more, all.count), (2500, false, Some(2500)));
    assert!(all.entries.is_sorted_by_key(|entry| entry.key.clone()));
    let some = store.range(everything(), None, 1500).await.unwrap();
    assert_eq!((some.entries.len(), some.more, some.count), (1500, true, Some(2500)));
}

pub async fn a_value_over_the_limit_is_refused_and_one_below_is_kept(fixture: Fixture) {
    let store = &*fixture.store;
    let before = store.current_revision().await.unwrap();
    let error = store.commit(vec![], vec![put("a", vec![0; MAX_VALUE + 1])]).await.unwrap_err();
    assert!(matches!(error, StoreError::TooLarge { size, .. } if size == MAX_VALUE + 1), "{error}");
    assert_eq!(store.current_revision().await.unwrap(), before);
    write(store, vec![put("a", vec![7; 1 << 20])]).await;
    assert_eq!(get(store, "a").await.unwrap().value, vec![7; 1 << 20]);
    let twice = store.commit(vec![], vec![put("b", "1"), delete("b")]).await;
    assert!(matches!(twice, Err(StoreError::Failed { .. })), "{twice:?}");
}

pub async fn what_was_acknowledged_is_there_after_a_restart(fixture: Fixture) {
    for at in 0..200 {
        write(&*fixture.store, vec![put(format!("{:03}", at % 50), format!("{at}/{}", "x".repeat(300)))]).await;
    }
    write(&*fixture.store, vec![delete("000")]).await;
    let before = fixture.store.range(everything(), None, 0).await.unwrap();
    let old = fixture.store.range(everything(), Some(before.revision - 100), 0).await.unwrap();
    let fixture = fixture.reopen().await;
    assert_eq!(fixture.store.range(everything(), None, 0).await.unwrap(), before);
    assert_eq!(fixture.store.range(everything(), Some(before.revision - 100), 0).await.unwrap(), old);
    assert_eq!(write(&*fixture.store, vec![put("000", "again")]).await, before.revision + 1);
}

//! Compaction.

use crate::backend::Fixture;
use crate::{PATIENCE, delete, events, everything, get, put, write};
use futures::StreamExt;
use orknet_store::{Revision, Store, StoreError};

/// The error that a watch after this revision ends with, at once or as an item.
async fn watch_error(store: &dyn Store, after: Revision) -> Option<StoreError> {
    match store.watch(everything(), after).await {
        Err(error) => Some(error),
        Ok(mut watch) => tokio::time::timeout(PATIENCE, watch.next()).await.expect("in time").expect("an item").err(),
    }
}

pub async fn a_compacted_revision_is_refused_by_range_and_watch(fixture: Fixture) {
    let store = &*fixture.store;
    let first = write(store, vec![put("a", "1")]).await;
    let second = write(store, vec![put("a", "2")]).await;
    let third = write(store, vec![delete("a")]).await;
    let fourth = write(store, vec![put("b", "4")]).await;
    store.compact(third).await.unwrap();
    for old in [0, first, second] {
        let range = store.range(everything(), Some(old), 0).await;
        assert!(matches!(range, Err(StoreError::Compacted { oldest, .. }) if oldest == third), "{old}: {range:?}");
        let error = watch_error(store, old).await;
        assert!(matches!(error, Some(StoreError::Compacted { oldest, .. }) if oldest == third), "{old}: {error:?}");
    }
    assert_eq!(store.range(everything(), Some(third), 0).await.unwrap().entries, []);
    assert_eq!(store.range(everything(), Some(fourth), 0).await.unwrap().entries.len(), 1);
    let mut watch = store.watch(everything(), third).await.unwrap();
    assert_eq!(events(&mut watch).await[0].revision, fourth);
}

pub async fn what_is_current_survives_compaction_and_a_restart(mut fixture: Fixture) {
    let mut expected = std::collections::BTreeMap::new();
    for round in 0..4 {
        for at in 0..150 {
            let key = format!("{:03}", (at * 7 + round) % 60);
            if at % 5 == 4 {
                write(&*fixture.store, vec![delete(key.clone())]).await;
                expected.remove(&key);
            } else {
                let value = format!("{round}/{at}/{}", "x".repeat(400));
                write(&*fixture.store, vec![put(key.clone(), value.clone())]).await;
                expected.insert(key, value);
            }
        }
        let newest = fixture.store.current_revision().await.unwrap();
        fixture.store.compact(newest - 10).await.unwrap();
        let before = fixture.store.range(everything(), Some(newest - 5), 0).await.unwrap();
        fixture = fixture.reopen().await;
        assert_eq!(fixture.store.range(everything(), Some(newest - 5), 0).await.unwrap(), before);
        let refused = fixture.store.range(everything(), Some(newest - 11), 0).await;
        assert!(matches!(refused, Err(StoreError::Compacted { .. })), "{refused:?}");
        let all = fixture.store.range(everything(), None, 0).await.unwrap();
        assert_eq!(all.revision, newest);
        let found: std::collections::BTreeMap<_, _> = all
            .entries
            .into_iter()
            .map(|entry| (String::from_utf8(entry.key.to_vec()).unwrap(), String::from_utf8(entry.value.to_vec()).unwrap()))
            .collect();
        assert_eq!(found, expected);
    }
}

pub async fn a_watch_that_fell_behind_a_compaction_ends_with_an_error(fixture: Fixture) {
    let store = &*fixture.store;
    let start = write(store, vec![put("a", "0")]).await;
    for at in 0..100 {
        write(store, vec![put("a", vec![at; 1000])]).await;
    }
    let newest = store.current_revision().await.unwrap();
    store.compact(newest).await.unwrap();
    let error = watch_error(store, start).await;
    assert!(matches!(error, Some(StoreError::Compacted { .. })), "{error:?}");
}

pub async fn compacting_backwards_does_nothing_and_into_the_future_is_refused(fixture: Fixture) {
    let store = &*fixture.store;
    write(store, vec![put("a", "1")]).await;
    let second = write(store, vec![put("a", "2")]).await;
    let third = write(store, vec![put("a", "3")]).await;
    store.compact(second).await.unwrap();
    store.compact(second).await.unwrap();
    store.compact(second - 1).await.unwrap();
    store.compact(0).await.unwrap();
    assert_eq!(store.range(everything(), Some(second), 0).await.unwrap().entries[0].value, "2");
    let future = store.compact(third + 1).await;
    assert!(matches!(future, Err(StoreError::FutureRevision { newest, .. }) if newest == third), "{future:?}");
    assert_eq!(get(store, "a").await.unwrap().value, "3");
}

pub async fn writers_and_watches_go_on_during_compactions(fixture: Fixture) {
    let store = fixture.store.clone();
    let start = store.current_revision().await.unwrap();
    let mut watch = store.watch(everything(), start).await.unwrap();
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let store = store.clone();
            tokio::spawn(async move {
                for at in 0..60 {
                    write(&*store, vec![put(format!("{writer}/{}", at % 7), format!("{at}/{}", "x".repeat(700)))]).await;
                }
            })
        })
        .collect();
    for expected in start + 1..=start + 240 {
        assert_eq!(events(&mut watch).await[0].revision, expected);
        if expected % 20 == 0 {
            store.compact(expected).await.unwrap();
        }
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let all = store.range(everything(), None, 0).await.unwrap();
    assert_eq!(all.entries.len(), 28);
    drop((store, watch));
    let fixture = fixture.reopen().await;
    assert_eq!(fixture.store.range(everything(), None, 0).await.unwrap(), all);
}

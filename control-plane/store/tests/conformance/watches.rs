//! Watches.

use crate::backend::{Fixture, Release};
use crate::{delete, events, everything, item, put, write};
use orknet_store::{EventKind, KeyRange, PROGRESS_INTERVAL, Watch, WatchItem};
use std::time::Instant;

pub async fn a_watch_sees_every_change_with_what_was_before(fixture: Fixture) {
    let store = &*fixture.store;
    let start = store.current_revision().await.unwrap();
    let mut live = store.watch(everything(), start).await.unwrap();
    let first = write(store, vec![put("a", "1")]).await;
    let second = write(store, vec![put("a", "2")]).await;
    let third = write(store, vec![delete("a")]).await;
    let mut replayed = store.watch(everything(), start).await.unwrap();
    for watch in [&mut live, &mut replayed] {
        let created = events(watch).await.remove(0);
        assert_eq!((created.revision, created.key.clone(), created.previous), (first, "a".into(), None));
        assert_eq!(created.kind, EventKind::Put { value: "1".into(), create_revision: first });
        let changed = events(watch).await.remove(0);
        assert_eq!(changed.kind, EventKind::Put { value: "2".into(), create_revision: first });
        let previous = changed.previous.unwrap();
        assert_eq!((changed.revision, previous.value, previous.mod_revision), (second, "1".into(), first));
        let deleted = events(watch).await.remove(0);
        assert_eq!((deleted.revision, deleted.kind), (third, EventKind::Delete));
        let previous = deleted.previous.unwrap();
        assert_eq!((previous.value, previous.mod_revision, previous.create_revision), ("2".into(), second, first));
    }
}

pub async fn a_transaction_reaches_a_watch_as_one_item(fixture: Fixture) {
    let store = &*fixture.store;
    let start = write(store, vec![put("x/gone", "1")]).await;
    let mut watch = store.watch(KeyRange::prefix("x/"), start).await.unwrap();
    let ops = vec![put("x/b", vec![1; 700 << 10]), put("x/a", vec![2; 700 << 10]), delete("x/gone"), put("y", "elsewhere")];
    let revision = write(store, ops).await;
    let events = events(&mut watch).await;
    assert!(events.iter().all(|event| event.revision == revision));
    assert_eq!(events.iter().map(|event| &event.key[..]).collect::<Vec<_>>(), [&b"x/b"[..], b"x/a", b"x/gone"]);
}

pub async fn a_watch_has_no_gap_and_no_duplicate_under_concurrent_writes(fixture: Fixture) {
    const WRITERS: usize = 8;
    const WRITES: usize = 40;
    let store = fixture.store.clone();
    let start = store.current_revision().await.unwrap();
    let mut watches = vec![store.watch(everything(), start).await.unwrap()];
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let store = store.clone();
            tokio::spawn(async move {
                for at in 0..WRITES {
                    write(&*store, vec![put(format!("{writer}"), format!("{at}/{}", "x".repeat(200)))]).await;
                }
            })
        })
        .collect();
    for _ in 0..3 {
        watches.push(store.watch(everything(), start).await.unwrap());
    }
    let total = (WRITERS * WRITES) as u64;
    for mut watch in watches {
        for expected in start + 1..=start + total {
            let events = events(&mut watch).await;
            assert_eq!((events.len(), events[0].revision), (1, expected));
        }
    }
    for writer in writers {
        writer.await.unwrap();
    }
}

pub async fn a_watch_resumes_after_the_last_revision_seen(fixture: Fixture) {
    let start = fixture.store.current_revision().await.unwrap();
    for at in 0..100 {
        write(&*fixture.store, vec![put(format!("{at}"), vec![b'x'; 500])]).await;
    }
    let mut watch = fixture.store.watch(everything(), start).await.unwrap();
    let mut seen = start;
    while seen < start + 37 {
        seen = events(&mut watch).await[0].revision;
    }
    drop(watch);
    let fixture = fixture.reopen().await;
    let mut watch = fixture.store.watch(everything(), seen).await.unwrap();
    for expected in seen + 1..=start + 100 {
        let event = events(&mut watch).await.remove(0);
        assert_eq!((event.revision, event.key), (expected, format!("{}", expected - start - 1).into()));
    }
    let next = write(&*fixture.store, vec![put("next", "1")]).await;
    assert_eq!(events(&mut watch).await[0].revision, next);
}

pub async fn a_watch_sees_only_its_range(fixture: Fixture) {
    let store = &*fixture.store;
    let start = store.current_revision().await.unwrap();
    let prefix = store.watch(KeyRange::prefix("b/"), start).await.unwrap();
    let single = store.watch(KeyRange::single("b/1"), start).await.unwrap();
    let open = store.watch(KeyRange { start: "b/2".into(), end: "".into() }, start).await.unwrap();
    for key in ["a", "b/1", "b", "b/2", "b0", "c"] {
        write(store, vec![put(key, "v")]).await;
    }
    let seen: [(Watch, &[&str]); 3] = [(prefix, &["b/1", "b/2"]), (single, &["b/1"]), (open, &["b/2", "b0", "c"])];
    for (mut watch, keys) in seen {
        for key in keys {
            assert_eq!(events(&mut watch).await[0].key, *key);
        }
    }
    assert!(store.watch(KeyRange { start: "z".into(), end: "a".into() }, start).await.is_err());
}

pub async fn progress_comes_when_asked_for_and_after_all_events(fixture: Fixture) {
    let store = &*fixture.store;
    let start = store.current_revision().await.unwrap();
    let mut watch = store.watch(KeyRange::prefix("in/"), start).await.unwrap();
    for round in 0..20 {
        let inside = write(store, vec![put(format!("in/{round}"), "v")]).await;
        let newest = write(store, vec![put("out", "v")]).await;
        store.request_progress().await.unwrap();
        let mut seen = 0;
        loop {
            match item(&mut watch).await.unwrap() {
                WatchItem::Events(events) => seen = events[0].revision,
                WatchItem::Progress(revision) => {
                    assert!(revision < inside || seen == inside, "progress {revision} before the event of {inside}");
                    if revision >= newest {
                        break;
                    }
                }
            }
        }
    }
}

pub async fn a_watch_from_the_future_waits_for_it(fixture: Fixture) {
    let store = &*fixture.store;
    let now = store.current_revision().await.unwrap();
    let mut watch = store.watch(everything(), now + 2).await.unwrap();
    for at in 0..3 {
        write(store, vec![put(format!("{at}"), "v")]).await;
    }
    let event = events(&mut watch).await.remove(0);
    assert_eq!((event.revision, event.key), (now + 3, "2".into()));
}

/// On all of them at once, since it waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_watch_says_where_it_is() {
    futures::join!(
        says_where_it_is(Fixture::embedded().await),
        says_where_it_is(Fixture::etcd().await),
        says_where_it_is(Fixture::etcd_of(Release::Next).await),
    );
}

async fn says_where_it_is(fixture: Fixture) {
    let store = &*fixture.store;
    let start = store.current_revision().await.unwrap();
    let mut watch = store.watch(KeyRange::prefix("in/"), start).await.unwrap();
    let newest = write(store, vec![put("out", "v")]).await;
    let began = Instant::now();
    loop {
        match item(&mut watch).await.unwrap() {
            WatchItem::Progress(revision) if revision >= newest => break,
            WatchItem::Progress(_) => {}
            WatchItem::Events(events) => panic!("{events:?} are not in the range"),
        }
    }
    assert!(began.elapsed() < PROGRESS_INTERVAL * 2, "{:?}", began.elapsed());
}

/// Where etcd can be asked, a watch that is new is told as well, and nothing is written for it: the store's revision is what it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn progress_of_an_etcd_that_keeps_the_order_is_asked_for_and_no_write() {
    let fixture = Fixture::etcd_of(Release::Next).await;
    let newest = write(&*fixture.store, vec![put("a", "v")]).await;
    let mut watch = fixture.store.watch(everything(), newest).await.unwrap();
    let began = Instant::now();
    fixture.store.request_progress().await.unwrap();
    let said = item(&mut watch).await.unwrap();
    assert!(matches!(said, WatchItem::Progress(revision) if revision == newest), "{said:?}");
    // That of an idle watch comes later.
    assert!(began.elapsed() < PROGRESS_INTERVAL / 2, "{:?}", began.elapsed());
    assert_eq!(fixture.store.current_revision().await.unwrap(), newest);
}

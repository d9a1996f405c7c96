//! Backup, restore and migration: of each backend, into each.

use crate::backend::{Fixture, Ground};
use crate::{PATIENCE, delete, events, everything, get, put, write};
use bytes::Bytes;
use orknet_store::snapshot::{self, Begin, KeptFile, SnapshotError, backup, check, migrate, restore};
use orknet_store::{Commit, EventKind, KeyRange, MAX_VALUE, Op, Revision, Store, StoreError};
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

fn begin(above: Revision) -> Begin {
    Begin { above, again: false, from: "a test".into() }
}

/// Keys and values at a revision.
async fn all(store: &dyn Store, revision: Option<Revision>) -> BTreeMap<Bytes, Bytes> {
    let found = store.range(everything(), revision, 0).await.expect("the read succeeds").entries;
    found.into_iter().map(|entry| (entry.key, entry.value)).collect()
}

async fn write_backup(fixture: &Fixture, path: &Path) -> snapshot::Written {
    backup(&*fixture.source().await, &[], &[], "cluster", "test", path).await.expect("the backup succeeds")
}

/// Restores into `ground` and opens it.
async fn restored(ground: &Ground, path: &Path, above: Revision) -> (Arc<dyn Store>, Revision) {
    let target = ground.restore(&begin(above)).await.expect("the restore begins");
    let revision = restore(path, &*target).await.expect("the restore succeeds");
    drop(target);
    (ground.open().await.expect("the restored store opens"), revision)
}

pub async fn a_backup_under_write_load_is_the_store_at_its_revision(fixture: Fixture) {
    let store = fixture.store.clone();
    for at in 0..150 {
        write(&*store, vec![put(format!("key/{at:03}"), "first"), put(format!("with/{at:03}"), "first")]).await;
    }
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..4usize)
        .map(|writer| {
            let (store, stop) = (store.clone(), stop.clone());
            tokio::spawn(async move {
                let mut at = writer;
                while !stop.load(Ordering::Relaxed) {
                    at += 7;
                    let (key, with) = (format!("key/{:03}", at % 200), format!("with/{:03}", at % 200));
                    // Both or none: what is of two revisions shows.
                    let ops = if at % 5 == 0 {
                        vec![delete(key), delete(with)]
                    } else {
                        vec![put(key, at.to_string()), put(with, at.to_string())]
                    };
                    write(&*store, ops).await;
                }
                at
            })
        })
        .collect();
    let directory = tempfile::tempdir().unwrap();
    let mut taken = Vec::new();
    for number in 0..3 {
        let before = store.current_revision().await.unwrap();
        let path = directory.path().join(number.to_string());
        let written = write_backup(&fixture, &path).await;
        assert!(written.header.revision >= before, "what was acknowledged before is in it");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::metadata(&path).unwrap().len(), written.bytes);
        taken.push((path, written.header));
    }
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        assert!(writer.await.unwrap() > 7, "the writers wrote meanwhile");
    }
    for (path, header) in taken {
        let expected = all(&*store, Some(header.revision)).await;
        assert_eq!(header.keys, expected.len() as u64);
        let ground = fixture.ground.empty_like();
        let (copy, _) = restored(&ground, &path, header.revision).await;
        let found = all(&*copy, None).await;
        assert_eq!(found, expected);
        for at in 0..200 {
            assert_eq!(found.get(format!("key/{at:03}").as_bytes()), found.get(format!("with/{at:03}").as_bytes()));
        }
    }
}

pub async fn a_restored_store_has_every_key_and_no_past(fixture: Fixture) {
    let store = &*fixture.store;
    write(store, vec![put("large", vec![b'x'; MAX_VALUE])]).await;
    write(store, vec![put("empty", ""), put(vec![0, 255, 7], vec![0; 9]), put("excluded/a", "1")]).await;
    for at in 0..700 {
        write(store, vec![put(format!("k/{at}"), format!("v{at}"))]).await;
    }
    write(store, vec![delete("k/7")]).await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("backup");
    std::fs::write(&path, "an older one").unwrap();
    let files = [KeptFile { name: "ca.key".into(), mode: 0o600, contents: "secret".into() }];
    let source = fixture.source().await;
    let written = backup(&*source, &[KeyRange::prefix("excluded/")], &files, "of a test", "test 1", &path).await.unwrap();
    let contents = check(&path).unwrap();
    assert_eq!((&contents.header, &contents.files[..]), (&written.header, &files[..]));
    assert_eq!((contents.header.cluster.as_str(), contents.header.keys), ("of a test", 702));

    // The cluster lives on after its backup.
    let last = write(store, vec![put("after", "1")]).await;
    let above = snapshot::never_reached(written.header.revision, SystemTime::now(), SystemTime::now());
    let mut expected = all(store, Some(written.header.revision)).await;
    expected.remove(&b"excluded/a"[..]);
    for ground in [fixture.ground.empty_like(), fixture.ground.empty_unlike()] {
        let (copy, revision) = restored(&ground, &path, above).await;
        assert!(revision > above && above > last, "{revision} is not above {above}");
        assert_eq!(all(&*copy, None).await, expected);
        let entries = copy.range(everything(), None, 0).await.unwrap().entries;
        assert!(entries.iter().all(|entry| entry.mod_revision > above && entry.create_revision == entry.mod_revision));
        let newest = copy.current_revision().await.unwrap();
        assert!(newest >= revision);
        // Nobody goes on from before, nor from the middle of the restore.
        for old in [0, 1, last, above, above + 1] {
            if old >= newest {
                continue;
            }
            let range = copy.range(everything(), Some(old), 0).await;
            let range = range.map(|found| found.entries.len());
            assert!(matches!(range, Err(StoreError::Compacted { requested, oldest }) if oldest > requested), "at {old}: {range:?}");
            assert!(matches!(copy.watch(everything(), old).await.err(), Some(StoreError::Compacted { .. })), "at {old}");
        }
        // It is a store like every other.
        let mut watch = copy.watch(everything(), newest).await.unwrap();
        let entry = get(&*copy, "k/8").await.unwrap();
        let swap = copy.commit(vec![orknet_store::Compare::ModRevision("k/8".into(), entry.mod_revision)], vec![put("k/8", "new")]).await;
        let Ok(Commit::Done(next)) = swap else { panic!("{swap:?}") };
        assert!(next > newest);
        let event = events(&mut watch).await.remove(0);
        assert_eq!((event.revision, event.key, event.previous.unwrap().value), (next, "k/8".into(), "v8".into()));
        drop((watch, copy));
        let again = ground.open().await.unwrap();
        assert!(again.current_revision().await.unwrap() >= next);
        assert_eq!(get(&*again, "k/8").await.unwrap().value, "new");
        assert!(matches!(again.range(everything(), Some(last), 0).await, Err(StoreError::Compacted { .. })));
    }
}

pub async fn keys_that_expire_have_the_time_that_they_had_left(fixture: Fixture) {
    let store = &*fixture.store;
    let mortal = |key: &'static str, seconds| Op::Put { key: key.into(), value: "v".into(), ttl: Some(Duration::from_secs(seconds)) };
    write(store, vec![mortal("long", 3600), mortal("short", 1), put("for good", "v")]).await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("backup");
    write_backup(&fixture, &path).await;
    for ground in [fixture.ground.empty_like(), fixture.ground.empty_unlike()] {
        let (copy, revision) = restored(&ground, &path, 1000).await;
        // It may have gone while the rest was restored.
        let is_there = copy.range(KeyRange::single("short"), Some(revision), 0).await.is_ok_and(|found| !found.entries.is_empty());
        if is_there && let Ok(mut watch) = copy.watch(everything(), revision).await {
            let event = events(&mut watch).await.remove(0);
            assert_eq!((event.key, event.kind), ("short".into(), EventKind::Delete));
        }
        let deadline = Instant::now() + PATIENCE;
        while get(&*copy, "short").await.is_some() {
            assert!(Instant::now() < deadline, "it lives for ever");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // What is left of the long one is seen in a backup of the copy.
        assert!(get(&*copy, "long").await.is_some() && get(&*copy, "for good").await.is_some());
        let left: BTreeMap<_, _> = ground
            .source(false)
            .await
            .unwrap()
            .page(Bytes::new(), 10)
            .await
            .unwrap()
            .into_iter()
            .map(|record| (record.key, record.ttl))
            .collect();
        let long = left[&b"long"[..]].expect("it expires");
        // A lease of etcd lasts up to a minute longer, each time.
        assert!((3400..3800).contains(&long.as_secs()), "{long:?}");
        assert_eq!(left[&b"for good"[..]], None);
    }
}

pub async fn a_restore_into_a_store_that_has_keys_is_refused_and_changes_nothing(fixture: Fixture) {
    write(&*fixture.store, vec![put("a", "1")]).await;
    let before = all(&*fixture.store, None).await;
    // By whom it is used comes first, where that is known.
    let open = fixture.ground.restore(&begin(1000)).await.err().expect("it is refused").to_string();
    assert!(open.contains("is in use by process") || open.contains("1 keys, the first of them a"), "{open}");
    let Fixture { store, ground } = fixture;
    drop(store);
    for again in [false, true] {
        let Err(SnapshotError::NotEmpty { found, .. }) = ground.restore(&Begin { again, ..begin(1000) }).await else {
            panic!("it was begun")
        };
        assert!(found.contains("1 keys"), "{found}");
    }
    let store = ground.open().await.unwrap();
    assert_eq!(all(&*store, None).await, before);
    write(&*store, vec![put("b", "2")]).await;
}

pub async fn a_restore_that_was_not_done_is_no_store_until_it_is_done_again(fixture: Fixture) {
    for at in 0..300 {
        write(&*fixture.store, vec![put(format!("{at:03}"), "v")]).await;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("backup");
    write_backup(&fixture, &path).await;
    let ground = fixture.ground.empty_like();
    // A server that was there before the restore.
    let early = if let Ground::Etcd { .. } = &ground { Some(ground.open().await.unwrap()) } else { None };
    let target = ground.restore(&begin(1000)).await.unwrap();
    write(&*target.store(), vec![put("000", "v"), put("half", "v")]).await;
    if let Some(early) = &early {
        let refused = early.commit(Vec::new(), vec![put("server", "v")]).await.unwrap_err();
        assert!(matches!(refused, StoreError::Replaced), "{refused}");
    }
    drop(target);

    let refused = ground.open().await.err().expect("a half is not opened").to_string();
    assert!(refused.contains("a restore of a test into") && refused.contains("do it again"), "{refused}");
    assert!(ground.source(false).await.is_err(), "a half is not backed up");
    let Err(error) = ground.restore(&begin(1000)).await else { panic!("it was begun") };
    assert!(matches!(&error, SnapshotError::Unfinished { from, .. } if from == "a test"), "{error}");
    assert!(error.to_string().contains("--again"), "{error}");

    let target = ground.restore(&Begin { again: true, ..begin(1000) }).await.unwrap();
    restore(&path, &*target).await.unwrap();
    drop(target);
    let copy = ground.open().await.unwrap();
    assert_eq!(all(&*copy, None).await, all(&*fixture.store, None).await);
    if let Some(early) = early {
        // Reads and watches as well: their revisions would be of another time.
        let refused = early.range(everything(), None, 0).await.unwrap_err();
        assert!(matches!(refused, StoreError::Replaced), "{refused}");
        let refused = early.watch(everything(), 1).await.err().expect("it is refused");
        assert!(matches!(refused, StoreError::Replaced), "{refused}");
    }
}

pub async fn a_store_is_migrated_to_the_other_backend_and_back(fixture: Fixture) {
    for at in 0..300 {
        write(&*fixture.store, vec![put(format!("{at:03}"), at.to_string())]).await;
    }
    let last = write(&*fixture.store, vec![delete("007")]).await;
    let expected = all(&*fixture.store, None).await;
    let Fixture { store, ground } = fixture;
    if let Ground::Embedded { .. } = &ground {
        let refused = ground.source(true).await.err().expect("it is in use").to_string();
        assert!(refused.contains("is in use by process"), "{refused}");
    }
    drop(store);
    let (other, back) = (ground.empty_unlike(), ground.empty_like());
    let mut newest = last;
    for (from, to) in [(&ground, &other), (&other, &back)] {
        let mut source = from.source(true).await.unwrap();
        source.leave("the other").await.unwrap();
        let target = to.restore(&begin(source.revision())).await.unwrap();
        let (keys, revision) = migrate(&*source, &[], &*target).await.unwrap();
        assert_eq!(keys, expected.len() as u64);
        assert!(revision > newest, "{revision} is not above {newest}");
        drop((source, target));
        let refused = from.open().await.err().expect("it went").to_string();
        assert!(refused.contains("was migrated to the other; remedy:"), "{refused}");
        let store = to.open().await.unwrap();
        assert_eq!(all(&*store, None).await, expected);
        newest = store.current_revision().await.unwrap();
    }
}

/// A server that was stopped or cut off when the store was migrated, and comes back.
pub async fn a_store_that_went_takes_no_writes_until_it_stays(fixture: Fixture) {
    write(&*fixture.store, vec![put("a", "1")]).await;
    let Fixture { store, ground } = fixture;
    // A directory is never shared.
    let late = Some(store).filter(|_| matches!(&ground, Ground::Etcd { .. }));
    let mut changes = match &late {
        Some(late) => Some(late.watch(everything(), late.current_revision().await.unwrap()).await.unwrap()),
        None => None,
    };
    let mut source = ground.source(true).await.unwrap();
    source.leave("the other").await.unwrap();
    source.leave("the other").await.unwrap();
    if let (Some(late), Some(changes)) = (&late, &mut changes) {
        // Its watch tells it although it writes nothing.
        let ended = crate::item(changes).await.unwrap_err();
        assert!(matches!(ended, StoreError::Replaced), "{ended}");
        for refused in [late.commit(Vec::new(), vec![put("b", "1")]).await.unwrap_err(), late.current_revision().await.unwrap_err()] {
            assert!(matches!(refused, StoreError::Replaced), "{refused}");
        }
    }
    assert!(ground.open().await.is_err(), "it went");
    assert_eq!(source.page(Bytes::new(), 10).await.unwrap().len(), 1, "what it held can be read");
    source.stay().await.unwrap();
    drop(source);
    let store = ground.open().await.expect("it stayed");
    assert_eq!(get(&*store, "a").await.unwrap().value, "1");
    write(&*store, vec![put("b", "1")]).await;
}

pub async fn a_store_that_is_written_to_while_it_is_migrated_is_refused(fixture: Fixture) {
    write(&*fixture.store, vec![put("a", "1")]).await;
    let source = fixture.source().await;
    let ground = fixture.ground.empty_unlike();
    let target = ground.restore(&begin(1000)).await.unwrap();
    write(&*fixture.store, vec![put("b", "1")]).await;
    let refused = migrate(&*source, &[], &*target).await.unwrap_err();
    assert!(matches!(refused, SnapshotError::Changed), "{refused}");
    drop(target);
    assert!(ground.open().await.is_err(), "what lacks a write is no store");
}

/// The files go and are cut while they are read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_beside_a_store_that_rewrites_its_log_is_of_one_revision() {
    let fixture = Fixture::embedded().await;
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..2usize)
        .map(|writer| {
            let (store, stop) = (fixture.store.clone(), stop.clone());
            tokio::spawn(async move {
                let mut at = 0;
                while !stop.load(Ordering::Relaxed) {
                    at += 1;
                    let value = format!("{at}/{}", "x".repeat(at * 31 % 900));
                    let key = |side: &str| format!("{side}/{writer}/{:02}", at % 37);
                    let revision = write(&*store, vec![put(key("left"), value.clone()), put(key("right"), value.clone())]).await;
                    if at % 40 == 0 {
                        store.compact(revision).await.unwrap();
                    }
                }
            })
        })
        .collect();
    let directory = tempfile::tempdir().unwrap();
    let mut newest = 0;
    for number in 0..60 {
        let acknowledged = fixture.store.current_revision().await.unwrap();
        let source = fixture.source().await;
        assert!(source.revision() >= acknowledged.max(newest), "{} after {acknowledged} and {newest}", source.revision());
        newest = source.revision();
        // Some of the files are gone by now.
        tokio::time::sleep(Duration::from_millis(number % 7 * 5)).await;
        let records = source.page(Bytes::new(), 1000).await.unwrap();
        let values: BTreeMap<_, _> = records.into_iter().map(|record| (record.key, record.value)).collect();
        assert_eq!(source.count(&everything()).await.unwrap(), values.len() as u64);
        for (key, value) in &values {
            let other = String::from_utf8_lossy(key).replace("left", "right");
            assert_eq!(values.get(other.as_bytes()), Some(value), "{other}");
        }
    }
    let path = directory.path().join("backup");
    write_backup(&fixture, &path).await;
    check(&path).unwrap();
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.unwrap();
    }
}

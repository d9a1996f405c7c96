//! The embedded store on a file system that fills up: a small tmpfs in a mount namespace of its own.

use crate::{PATIENCE, delete, events, everything, get, put, write};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use orknet_store::embedded::{Embedded, EmbeddedConfig};
use orknet_store::{Commit, Revision, Store, StoreError};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Runs the test in a thread that sees a tmpfs of this size; it is gone with the thread.
fn on_tmpfs<F: Future<Output = ()>>(size: &'static str, test: impl FnOnce(PathBuf) -> F + Send + 'static) {
    let thread = std::thread::spawn(move || {
        let directory = tempfile::tempdir().unwrap();
        unshare(CloneFlags::CLONE_NEWNS).expect("root may make a mount namespace");
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).unwrap();
        mount(Some("tmpfs"), directory.path(), Some("tmpfs"), MsFlags::empty(), Some(size)).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(test(directory.path().to_owned()));
        drop(runtime);
        nix::mount::umount(directory.path()).unwrap();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Writes until there is no room; answers the keys that were acknowledged, in order.
async fn fill(store: &Embedded, name: &str) -> Vec<(String, Revision)> {
    let mut kept = Vec::new();
    loop {
        let key = format!("{name}/{:04}", kept.len());
        match store.commit(vec![], vec![put(key.clone(), vec![b'x'; 50_000])]).await {
            Ok(Commit::Done(revision)) => kept.push((key, revision)),
            Ok(failed) => panic!("nothing was compared: {failed:?}"),
            Err(StoreError::NoSpace(_)) => return kept,
            Err(other) => panic!("{other}"),
        }
        assert!(kept.len() < 1000, "the file system does not fill up");
    }
}

async fn check(store: &Embedded, kept: &[(String, Revision)]) {
    let found = store.range(everything(), None, 0).await.unwrap();
    let found: Vec<_> =
        found.entries.into_iter().map(|entry| (String::from_utf8(entry.key.to_vec()).unwrap(), entry.mod_revision)).collect();
    assert_eq!(found, kept);
}

fn config(directory: &Path, reserve_bytes: u64) -> EmbeddedConfig {
    EmbeddedConfig { reserve_bytes, segment_bytes: 1 << 20, recent_bytes: 64 << 10, ..EmbeddedConfig::new(directory.join("store")) }
}

#[test]
fn root_below_the_reserve_values_are_refused_and_deletions_make_room() {
    on_tmpfs("size=16m", |directory| async move {
        let mut store = Embedded::open(config(&directory, 4 << 20)).unwrap();
        let mut kept = fill(&store, "a").await;
        assert!(kept.len() > 100, "{}", kept.len());
        check(&store, &kept).await;
        let mut watch = store.watch(everything(), 1).await.unwrap();
        for (key, revision) in &kept {
            let event = events(&mut watch).await.remove(0);
            assert_eq!((&event.key[..], event.revision), (key.as_bytes(), *revision));
        }
        let (gone, left): (Vec<_>, Vec<_>) = kept.into_iter().enumerate().partition(|(at, _)| at % 3 != 0);
        for (_, (key, _)) in gone {
            write(&*store, vec![delete(key)]).await;
        }
        kept = left.into_iter().map(|(_, entry)| entry).collect();
        check(&store, &kept).await;
        store.compact(store.current_revision().await.unwrap()).await.unwrap();
        let deadline = Instant::now() + PATIENCE;
        while matches!(store.commit(vec![], vec![put("b", "room again")]).await, Err(StoreError::NoSpace(_))) {
            assert!(Instant::now() < deadline, "compaction gave no room back");
            tokio::task::yield_now().await;
        }
        assert_eq!(get(&*store, "b").await.unwrap().value, "room again");
        write(&*store, vec![delete("b")]).await;
        check(&store, &kept).await;
        drop(watch);
        drop(store);
        store = Embedded::open(config(&directory, 4 << 20)).unwrap();
        check(&store, &kept).await;
        assert!(fill(&store, "c").await.len() > 20);
    });
}

#[test]
fn root_a_write_that_finds_the_disk_full_takes_nothing_with_it() {
    on_tmpfs("size=8m", |directory| async move {
        let ballast = directory.join("ballast");
        std::fs::write(&ballast, vec![0; 2 << 20]).unwrap();
        let store = Embedded::open(config(&directory, 0)).unwrap();
        let mut watch = store.watch(everything(), 1).await.unwrap();
        let mut kept = fill(&store, "a").await;
        for _ in 0..3 {
            let refused = store.commit(vec![], vec![put("b", vec![0; 100_000])]).await;
            assert!(matches!(refused, Err(StoreError::NoSpace(_))), "{refused:?}");
        }
        check(&store, &kept).await;
        drop(store);
        // Opening writes nothing that needs room.
        let store = Embedded::open(config(&directory, 0)).unwrap();
        check(&store, &kept).await;
        let newest = kept.last().unwrap().1;
        assert_eq!(store.current_revision().await.unwrap(), newest);
        let error = loop {
            match crate::item(&mut watch).await {
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert!(matches!(error, StoreError::Unavailable(_)), "the old store's watch ended with {error}");
        std::fs::remove_file(ballast).unwrap();
        let mut watch = store.watch(everything(), newest).await.unwrap();
        let more = fill(&store, "b").await;
        assert!(more.len() >= 30, "{}", more.len());
        assert_eq!(more[0].1, newest + 1, "a refused commit took a revision");
        for (key, revision) in &more {
            let event = events(&mut watch).await.remove(0);
            assert_eq!((&event.key[..], event.revision), (key.as_bytes(), *revision));
        }
        kept.extend(more);
        check(&store, &kept).await;
    });
}

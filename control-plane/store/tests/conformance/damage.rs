//! The embedded store's files as a crash, a second process or a bad disk leaves them.

use crate::backend::small;
use crate::{PATIENCE, delete, everything, put, write};
use orknet_store::embedded::{Embedded, EmbeddedConfig};
use orknet_store::{Store, StoreError};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Writes `count` keys; answers the log's segments, oldest first.
async fn written(directory: &Path, config: EmbeddedConfig, count: usize) -> Vec<PathBuf> {
    let store = Embedded::open(config).unwrap();
    for at in 0..count {
        write(&*store, vec![put(format!("{at:03}"), format!("{at}/{}", "x".repeat(at * 13 % 400)))]).await;
    }
    drop(store);
    segments(directory)
}

fn segments(directory: &Path) -> Vec<PathBuf> {
    let mut segments: Vec<PathBuf> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .collect();
    segments.sort();
    segments
}

#[tokio::test]
async fn a_log_cut_anywhere_opens_with_what_is_whole() {
    let directory = tempfile::tempdir().unwrap();
    let config = EmbeddedConfig::new(directory.path());
    let segment = written(directory.path(), config.clone(), 12).await.remove(0);
    let whole = std::fs::read(&segment).unwrap();
    let mut previous = 12;
    for length in (48..whole.len()).rev() {
        std::fs::write(&segment, &whole[..length]).unwrap();
        let store = Embedded::open(config.clone()).unwrap();
        let found = store.range(everything(), None, 0).await.unwrap().entries;
        assert!(found.len() == previous || found.len() + 1 == previous, "{} of {previous} at {length}", found.len());
        assert_eq!(store.current_revision().await.unwrap(), 1 + found.len() as u64);
        previous = found.len();
        drop(store);
    }
    assert_eq!(previous, 0);
}

#[tokio::test]
async fn damage_before_the_end_is_refused_not_swallowed() {
    let directory = tempfile::tempdir().unwrap();
    let segments = written(directory.path(), small(directory.path()), 150).await;
    assert!(segments.len() >= 2, "{segments:?}");
    for segment in [&segments[0], segments.last().unwrap()] {
        let whole = std::fs::read(segment).unwrap();
        for at in [5, 50, 64, 80, 300] {
            let mut damaged = whole.clone();
            damaged[at] ^= 0xff;
            std::fs::write(segment, damaged).unwrap();
            let Err(StoreError::Failed { source, .. }) = Embedded::open(small(directory.path())) else {
                panic!("byte {at} of {} was not missed", segment.display())
            };
            assert!(source.to_string().contains(segment.file_name().unwrap().to_str().unwrap()), "{source}");
        }
        std::fs::write(segment, whole).unwrap();
    }
    let moved = directory.path().join("elsewhere");
    std::fs::rename(&segments[0], &moved).unwrap();
    std::fs::rename(&segments[1], directory.path().join("0000000009.log")).unwrap();
    assert!(Embedded::open(small(directory.path())).is_err());
    std::fs::rename(directory.path().join("0000000009.log"), &segments[1]).unwrap();
    std::fs::rename(&moved, &segments[0]).unwrap();
    let store = Embedded::open(small(directory.path())).unwrap();
    assert_eq!(store.range(everything(), None, 0).await.unwrap().entries.len(), 150);
}

#[tokio::test]
async fn what_a_crash_in_the_middle_of_a_rewrite_leaves_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let store = Embedded::open(small(directory.path())).unwrap();
    for at in 0..400 {
        let key = format!("{:02}", at % 40);
        let op = if at % 7 == 6 { delete(key) } else { put(key, format!("{at}/{}", "x".repeat(300))) };
        write(&*store, vec![op]).await;
    }
    let expected = store.range(everything(), None, 0).await.unwrap();
    let before: Vec<(PathBuf, Vec<u8>)> =
        segments(directory.path()).into_iter().map(|path| (path.clone(), std::fs::read(path).unwrap())).collect();
    store.compact(expected.revision).await.unwrap();
    let deadline = Instant::now() + PATIENCE;
    while segments(directory.path()).len() > before.len() / 2 {
        assert!(Instant::now() < deadline, "nothing was rewritten");
        tokio::task::yield_now().await;
    }
    assert_eq!(store.range(everything(), None, 0).await.unwrap(), expected);
    drop(store);
    // As if it had been killed before the old segments were removed, and while it wrote another.
    let mut restored = 0;
    for (path, bytes) in before {
        if !path.exists() {
            std::fs::write(path, bytes).unwrap();
            restored += 1;
        }
    }
    assert!(restored > 0);
    let unfinished = directory.path().join("0000000002.tmp");
    std::fs::write(&unfinished, "half").unwrap();
    let store = Embedded::open(small(directory.path())).unwrap();
    assert_eq!(store.range(everything(), None, 0).await.unwrap(), expected);
    assert!(!unfinished.exists());
    assert_eq!(write(&*store, vec![put("new", "1")]).await, expected.revision + 1);
}

#[tokio::test]
async fn a_directory_is_open_once_and_the_error_names_it() {
    let directory = tempfile::tempdir().unwrap();
    let store = Embedded::open(EmbeddedConfig::new(directory.path())).unwrap();
    let Err(error) = Embedded::open(EmbeddedConfig::new(directory.path())) else { panic!("it was opened twice") };
    let expected = format!("{} is in use by process {}", directory.path().display(), std::process::id());
    assert!(error.to_string().contains(&expected), "{error}");
    drop(store);
    Embedded::open(EmbeddedConfig::new(directory.path())).unwrap();
}

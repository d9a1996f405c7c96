//! kill -9 in the middle of writes: no acknowledged write and no watch event is lost.

use crate::backend::{EtcdServer, small};
use crate::{events, everything, get, put};
use orknet_store::embedded::Embedded;
use orknet_store::{Commit, EventKind, Revision, Store};
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use tokio::sync::mpsc;

/// Set for the child: the store's directory, a slash-free round number and the revision up to which it may compact.
const CHILD: &str = "ORKNET_STORE_CRASH_CHILD";

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

#[test]
fn a_killed_embedded_store_loses_no_acknowledged_write_and_no_event() {
    if let Ok(task) = std::env::var(CHILD) {
        return child(&task);
    }
    let directory = tempfile::tempdir().unwrap();
    let mut since: Revision = 1;
    let mut expected: HashMap<String, (Revision, String)> = HashMap::new();
    for round in 0..6 {
        let acknowledged = run_and_kill(directory.path(), round, since);
        assert!(acknowledged.len() >= 100, "only {} writes were acknowledged", acknowledged.len());
        runtime().block_on(async {
            let store = Embedded::open(small(directory.path())).unwrap();
            let newest = store.current_revision().await.unwrap();
            let mut seen = HashMap::new();
            let mut watch = store.watch(everything(), since).await.unwrap();
            for revision in since + 1..=newest {
                let event = events(&mut watch).await.remove(0);
                assert_eq!(event.revision, revision, "an event is missing");
                let EventKind::Put { value, .. } = event.kind else { panic!("nothing was deleted") };
                let key = String::from_utf8(event.key.to_vec()).unwrap();
                let value = String::from_utf8(value.to_vec()).unwrap();
                expected.insert(key.clone(), (revision, value.clone()));
                seen.insert(revision, (key, value));
            }
            for (revision, key, value) in acknowledged {
                assert_eq!(seen.get(&revision), Some(&(key, value)), "the write of revision {revision}");
            }
            for (key, (revision, value)) in &expected {
                let entry = get(&*store, key).await.expect("a key that was written");
                assert_eq!((entry.mod_revision, &entry.value[..]), (*revision, value.as_bytes()));
            }
            since = newest;
        });
    }
}

/// Starts the child, waits for some acknowledgements, kills it; answers all that it acknowledged.
fn run_and_kill(directory: &Path, round: usize, compact_to: Revision) -> Vec<(Revision, String, String)> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::a_killed_embedded_store_loses_no_acknowledged_write_and_no_event", "--nocapture"])
        .env(CHILD, format!("{round} {compact_to} {}", directory.display()))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut acknowledged = Vec::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        // A line that was cut by the kill has no end mark.
        if let Some(parts) = line.strip_prefix("done ").and_then(|line| line.strip_suffix(" .")) {
            let mut parts = parts.splitn(3, ' ');
            let revision = parts.next().unwrap().parse().unwrap();
            acknowledged.push((revision, parts.next().unwrap().to_owned(), parts.next().unwrap().to_owned()));
        }
        if acknowledged.len() == 100 + round * 37 {
            child.kill().unwrap();
        }
    }
    assert!(!child.wait().unwrap().success(), "the child ended by itself");
    acknowledged
}

/// Writes without end and says what was acknowledged, one line each.
fn child(task: &str) {
    let mut parts = task.splitn(3, ' ');
    let round: usize = parts.next().unwrap().parse().unwrap();
    let compact_to: Revision = parts.next().unwrap().parse().unwrap();
    let store = Embedded::open(small(Path::new(parts.next().unwrap()))).unwrap();
    runtime().block_on(async {
        let writers = (0..8).map(|writer| {
            let store = store.clone();
            async move {
                for at in 0.. {
                    let (key, value) = (format!("{writer}/{}", at % 9), format!("{round}/{at}/{}", "x".repeat(at * 31 % 900)));
                    let Commit::Done(revision) = store.commit(vec![], vec![put(key.clone(), value.clone())]).await.unwrap() else {
                        panic!("nothing was compared")
                    };
                    let mut out = std::io::stdout().lock();
                    writeln!(out, "done {revision} {key} {value} .").unwrap();
                    out.flush().unwrap();
                }
            }
        });
        // Cleaning goes on while it is killed.
        store.compact(compact_to).await.unwrap();
        futures::future::join_all(writers).await;
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_etcd_loses_no_acknowledged_write_and_the_open_watch_no_event() {
    let mut server = EtcdServer::start(&[]);
    let store = server.connect("/orknet").await;
    let start = store.current_revision().await.unwrap();
    let mut watch = store.watch(everything(), start).await.unwrap();
    let (acknowledge, mut acknowledged) = mpsc::unbounded_channel();
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let (store, acknowledge) = (store.clone(), acknowledge.clone());
            tokio::spawn(write_until_nobody_listens(store, writer, acknowledge))
        })
        .collect();
    drop(acknowledge);
    let mut all = Vec::new();
    for kill in [60, 160] {
        while all.len() < kill {
            all.push(acknowledged.recv().await.unwrap());
        }
        server.kill();
        server.start_again();
    }
    while all.len() < 260 {
        all.push(acknowledged.recv().await.unwrap());
    }
    acknowledged.close();
    for writer in writers {
        writer.await.unwrap();
    }
    let newest = all.iter().map(|(revision, _)| *revision).max().unwrap();
    let mut seen = HashMap::new();
    let mut last = start;
    while last < newest {
        for event in events(&mut watch).await {
            assert!(event.revision > last, "revision {} came after {last}", event.revision);
            last = event.revision;
            seen.insert(event.revision, event.key);
        }
    }
    for (revision, key) in all {
        assert_eq!(seen.get(&revision).map(|key| &key[..]), Some(key.as_bytes()), "the event of revision {revision}");
        assert!(get(&*store, &key).await.is_some());
    }
}

/// A write that was acknowledged: its revision and its key.
pub type Acknowledged = (Revision, String);

/// Writes keys of its own, each once, and tells of those that were acknowledged.
pub async fn write_until_nobody_listens(store: Arc<dyn Store>, writer: usize, acknowledge: mpsc::UnboundedSender<Acknowledged>) {
    for at in 0.. {
        let key = format!("{writer}/{at}");
        // While etcd is down commits fail; they are not counted.
        match store.commit(vec![], vec![put(key.clone(), "v")]).await {
            Ok(Commit::Done(revision)) => {
                if acknowledge.send((revision, key)).is_err() {
                    return;
                }
            }
            Ok(failed) => panic!("nothing was compared: {failed:?}"),
            Err(_) if acknowledge.is_closed() => return,
            Err(_) => tokio::task::yield_now().await,
        }
    }
}

//! A store that is away or full: clear answers, reads from memory, and no half-written object.

use crate::harness::{CONFIG_MAPS, TestServer, config_map, open};
use async_trait::async_trait;
use futures::StreamExt;
use futures::future::BoxFuture;
use orknet_store::{Commit, Compare, KeyRange, Op, RangeResult, Revision, Store, StoreError, Watch};
use serde_json::json;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::watch;

const WELL: u8 = 0;
const AWAY: u8 = 1;
const FULL: u8 = 2;
/// The next watch is told that what it asks for is gone.
const FORGETFUL: u8 = 3;

/// A store that fails when told to.
struct Fragile {
    inner: Arc<dyn Store>,
    state: AtomicU8,
    /// Done once, just before a config map is written.
    meanwhile: Mutex<Option<BoxFuture<'static, ()>>>,
    /// Open watches end when this changes.
    cut: watch::Sender<u32>,
}

impl Fragile {
    fn over(inner: Arc<dyn Store>) -> Self {
        Self { inner, state: AtomicU8::new(WELL), meanwhile: Mutex::new(None), cut: watch::Sender::new(0) }
    }

    fn check(&self, writes: bool) -> Result<(), StoreError> {
        match self.state.load(Ordering::SeqCst) {
            AWAY => Err(StoreError::Unavailable("told to be away".into())),
            FULL if writes => Err(StoreError::NoSpace("told to be full".into())),
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl Store for Fragile {
    async fn range(&self, range: KeyRange, revision: Option<Revision>, limit: usize) -> Result<RangeResult, StoreError> {
        self.check(false)?;
        self.inner.range(range, revision, limit).await
    }

    async fn commit(&self, compares: Vec<Compare>, ops: Vec<Op>) -> Result<Commit, StoreError> {
        self.check(true)?;
        let is_config_map = |op: &Op| matches!(op, Op::Put { key, .. } if String::from_utf8_lossy(key).contains("/configmaps/"));
        let meanwhile = if ops.iter().any(is_config_map) { self.meanwhile.lock().expect("a lock").take() } else { None };
        if let Some(meanwhile) = meanwhile {
            meanwhile.await;
        }
        self.inner.commit(compares, ops).await
    }

    async fn watch(&self, range: KeyRange, after: Revision) -> Result<Watch, StoreError> {
        self.check(false)?;
        if self.state.compare_exchange(FORGETFUL, WELL, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
            return Err(StoreError::Compacted { requested: after, oldest: after + 1 });
        }
        let mut cut = self.cut.subscribe();
        let ended = async move { cut.changed().await.map_err(drop) };
        Ok(self.inner.watch(range, after).await?.take_until(Box::pin(ended)).boxed())
    }

    async fn request_progress(&self) -> Result<(), StoreError> {
        self.check(false)?;
        self.inner.request_progress().await
    }

    async fn current_revision(&self) -> Result<Revision, StoreError> {
        self.check(false)?;
        self.inner.current_revision().await
    }

    async fn compact(&self, revision: Revision) -> Result<(), StoreError> {
        self.inner.compact(revision).await
    }

    async fn size(&self) -> Result<u64, StoreError> {
        self.inner.size().await
    }
}

async fn fragile() -> (TestServer, Arc<Fragile>) {
    let directory = tempfile::tempdir().expect("a directory");
    let store = Arc::new(Fragile::over(open(directory.path()).await));
    (TestServer::start_on(directory, store.clone(), |_| {}).await, store)
}

#[tokio::test]
async fn without_its_store_the_server_reads_from_memory_and_says_so() {
    let (server, store) = fragile().await;
    server.admin.post(CONFIG_MAPS, config_map("a")).await.expect(201);
    server.admin.get(CONFIG_MAPS).await.expect(200);
    store.state.store(AWAY, Ordering::SeqCst);
    let answer = server.admin.post(CONFIG_MAPS, config_map("b")).await;
    assert_eq!(answer.headers["retry-after"], "1");
    assert_eq!(answer.refused(500, "ServerTimeout"), "the server cannot reach its store: told to be away");
    server.admin.get(CONFIG_MAPS).await.refused(500, "ServerTimeout");
    let cached = server.admin.get(&format!("{CONFIG_MAPS}?resourceVersion=0")).await.expect(200);
    assert_eq!(cached["items"].as_array().map(Vec::len), Some(1));
    store.state.store(WELL, Ordering::SeqCst);
    server.admin.post(CONFIG_MAPS, config_map("b")).await.expect(201);
    let list = server.admin.get(CONFIG_MAPS).await.expect(200);
    assert_eq!(list["items"].as_array().map(Vec::len), Some(2));
}

#[tokio::test]
async fn nothing_is_made_in_a_namespace_that_is_deleted_meanwhile() {
    let (server, store) = fragile().await;
    let namespace = "/api/v1/namespaces/n";
    let maps = format!("{namespace}/configmaps");
    server.admin.post("/api/v1/namespaces", json!({ "metadata": { "name": "n" } })).await.expect(201);
    let meanwhile = |admin: crate::client::Client, method: &'static str, body: &'static str| {
        let change =
            async move { drop(admin.send(method, "/api/v1/namespaces/n", "application/merge-patch+json", body).await.expect(200)) };
        *store.meanwhile.lock().expect("a lock") = Some(Box::pin(change));
    };
    // A change that leaves it open is no hindrance.
    meanwhile(server.admin.clone(), "PATCH", r#"{"metadata":{"labels":{"a":"b"}}}"#);
    server.admin.post(&maps, config_map("a")).await.expect(201);
    meanwhile(server.admin.clone(), "DELETE", "");
    server.admin.post(&maps, config_map("b")).await.refused(403, "Forbidden");
    let list = server.admin.get(&maps).await.expect(200);
    assert_eq!(list["items"].as_array().map(Vec::len), Some(1));
    assert_eq!(server.admin.get(namespace).await.expect(200)["status"]["phase"], "Terminating");
}

#[tokio::test]
async fn a_full_store_refuses_writes_and_keeps_nothing_of_them() {
    let (server, store) = fragile().await;
    store.state.store(FULL, Ordering::SeqCst);
    let message = server.admin.post(CONFIG_MAPS, config_map("a")).await.refused(507, "InternalError");
    assert!(message.starts_with("insufficient storage"), "{message}");
    server.admin.get(&format!("{CONFIG_MAPS}/a")).await.refused(404, "NotFound");
    store.state.store(WELL, Ordering::SeqCst);
    server.admin.post(CONFIG_MAPS, config_map("a")).await.expect(201);
}

/// Asks until the answer is as wanted.
async fn until(server: &TestServer, path: &str, wanted: impl Fn(&str) -> bool) {
    let ends = Instant::now() + Duration::from_secs(15);
    loop {
        let answer = server.stranger().get(path).await;
        if wanted(&answer.text) {
            return;
        }
        assert!(Instant::now() < ends, "{path}: {}", answer.text);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn readiness_names_the_store_that_is_away_and_comes_back_by_itself() {
    let (server, store) = fragile().await;
    store.state.store(AWAY, Ordering::SeqCst);
    store.cut.send_modify(|count| *count += 1);
    until(&server, "/readyz", |text| text.contains("[-]store failed: the store cannot be reached\n")).await;
    assert_eq!(server.stranger().get("/livez").await.text, "ok");
    store.state.store(WELL, Ordering::SeqCst);
    until(&server, "/readyz", |text| text == "ok").await;
    server.admin.post(CONFIG_MAPS, config_map("a")).await.expect(201);
    assert_eq!(server.admin.get(CONFIG_MAPS).await.expect(200)["items"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn a_watch_goes_on_without_a_gap_when_the_cache_was_cut_off_from_the_store() {
    let (server, store) = fragile().await;
    let mut watch = server.admin.watch(&format!("{CONFIG_MAPS}?watch=1")).await;
    server.admin.post(CONFIG_MAPS, config_map("a")).await.expect(201);
    assert_eq!(watch.next_named().await.1, "a");
    store.cut.send_modify(|count| *count += 1);
    for name in ["b", "c", "d"] {
        server.admin.post(CONFIG_MAPS, config_map(name)).await.expect(201);
    }
    for name in ["b", "c", "d"] {
        assert_eq!(watch.next_named().await, ("ADDED".to_owned(), name.to_owned()));
    }
}

#[tokio::test]
async fn a_cache_that_missed_something_is_loaded_anew_and_its_watchers_list_again() {
    let (server, store) = fragile().await;
    server.admin.post(CONFIG_MAPS, config_map("a")).await.expect(201);
    let mut watch = server.admin.watch(&format!("{CONFIG_MAPS}?watch=1")).await;
    assert_eq!(watch.next_named().await.1, "a");
    store.state.store(FORGETFUL, Ordering::SeqCst);
    store.cut.send_modify(|count| *count += 1);
    let event = watch.next().await.expect("an event");
    assert_eq!((&event["type"], &event["object"]["code"]), (&"ERROR".into(), &410.into()));
    server.admin.post(CONFIG_MAPS, config_map("b")).await.expect(201);
    assert_eq!(server.admin.get(CONFIG_MAPS).await.expect(200)["items"].as_array().map(Vec::len), Some(2));
}

#[tokio::test]
async fn before_its_store_was_read_the_server_answers_nothing_rather_than_nothing_there() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = Arc::new(Fragile::over(open(directory.path()).await));
    let first = TestServer::start_on(directory, store.clone(), |_| {}).await;
    first.admin.post(CONFIG_MAPS, config_map("a")).await.expect(201);
    let directory = first.stop().await;
    store.state.store(AWAY, Ordering::SeqCst);
    let server = TestServer::begin_on(directory, store.clone(), |_| {}).await;
    let any_version = format!("{CONFIG_MAPS}?resourceVersion=0");
    server.admin.get(&any_version).await.refused(503, "ServiceUnavailable");
    assert_eq!(server.stranger().get("/livez").await.text, "ok");
    store.state.store(WELL, Ordering::SeqCst);
    server.handle.ready().await;
    let list = server.admin.get(&any_version).await.expect(200);
    assert_eq!(list["items"].as_array().map(Vec::len), Some(1));
}

//! A store that is away or full: clear answers, reads from memory, and no half-written object.

use crate::harness::{CONFIG_MAPS, TestServer, config_map, open};
use async_trait::async_trait;
use orknet_store::{Commit, Compare, KeyRange, Op, RangeResult, Revision, Store, StoreError, Watch};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

const WELL: u8 = 0;
const AWAY: u8 = 1;
const FULL: u8 = 2;

/// A store that fails when told to.
struct Fragile {
    inner: Arc<dyn Store>,
    state: AtomicU8,
}

impl Fragile {
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
        self.inner.commit(compares, ops).await
    }

    async fn watch(&self, range: KeyRange, after: Revision) -> Result<Watch, StoreError> {
        self.check(false)?;
        self.inner.watch(range, after).await
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
    let store = Arc::new(Fragile { inner: open(directory.path()).await, state: AtomicU8::new(WELL) });
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
async fn a_full_store_refuses_writes_and_keeps_nothing_of_them() {
    let (server, store) = fragile().await;
    store.state.store(FULL, Ordering::SeqCst);
    let message = server.admin.post(CONFIG_MAPS, config_map("a")).await.refused(507, "InternalError");
    assert!(message.starts_with("insufficient storage"), "{message}");
    server.admin.get(&format!("{CONFIG_MAPS}/a")).await.refused(404, "NotFound");
    store.state.store(WELL, Ordering::SeqCst);
    server.admin.post(CONFIG_MAPS, config_map("a")).await.expect(201);
}

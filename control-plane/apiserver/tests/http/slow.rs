//! A store whose news come late, if told so: caches over it are behind what was written.

use async_trait::async_trait;
use futures::StreamExt;
use orknet_store::{Commit, Compare, KeyRange, Op, RangeResult, Revision, Store, StoreError, Watch};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Far more than a request takes.
const LATE: Duration = Duration::from_millis(300);

/// See the module.
pub struct Slow {
    inner: Arc<dyn Store>,
    /// What watches tell comes [`LATE`].
    pub is_slow: Arc<AtomicBool>,
    /// Nobody is told how new the store is.
    pub is_silent: AtomicBool,
}

impl Slow {
    /// As fast as the other until it is told to be slow.
    pub fn over(inner: Arc<dyn Store>) -> Self {
        Self { inner, is_slow: Arc::default(), is_silent: AtomicBool::new(false) }
    }
}

#[async_trait]
impl Store for Slow {
    async fn range(&self, range: KeyRange, revision: Option<Revision>, limit: usize) -> Result<RangeResult, StoreError> {
        self.inner.range(range, revision, limit).await
    }

    async fn commit(&self, compares: Vec<Compare>, ops: Vec<Op>) -> Result<Commit, StoreError> {
        self.inner.commit(compares, ops).await
    }

    async fn watch(&self, range: KeyRange, after: Revision) -> Result<Watch, StoreError> {
        let is_slow = self.is_slow.clone();
        let late = move |item| {
            let pause = if is_slow.load(Ordering::SeqCst) { LATE } else { Duration::ZERO };
            async move {
                tokio::time::sleep(pause).await;
                item
            }
        };
        Ok(self.inner.watch(range, after).await?.then(late).boxed())
    }

    async fn request_progress(&self) -> Result<(), StoreError> {
        self.inner.request_progress().await
    }

    async fn current_revision(&self) -> Result<Revision, StoreError> {
        if self.is_silent.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        self.inner.current_revision().await
    }

    async fn compact(&self, revision: Revision) -> Result<(), StoreError> {
        self.inner.compact(revision).await
    }

    async fn size(&self) -> Result<u64, StoreError> {
        self.inner.size().await
    }
}

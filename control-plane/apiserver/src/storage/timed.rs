//! The store with the time that its operations take, as kube-apiserver tells of its requests to etcd, whichever store it is.

use crate::metrics::StoreMetrics;
use async_trait::async_trait;
use orknet_store::{Commit, Compare, KeyRange, Op, RangeResult, Revision, Store, StoreError, Watch};
use std::sync::Arc;
use std::time::Instant;

/// See the module.
pub struct TimedStore {
    inner: Arc<dyn Store>,
    metrics: StoreMetrics,
}

impl TimedStore {
    pub fn new(inner: Arc<dyn Store>, metrics: StoreMetrics) -> Self {
        Self { inner, metrics }
    }

    async fn timed<T>(
        &self,
        (operation, folder): (&'static str, String),
        doing: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let started = Instant::now();
        let done = doing.await;
        self.metrics.request(operation, folder, started.elapsed(), done.is_err());
        done
    }
}

/// What a commit is, and of which kind's folder: that of its first operation, beside which are claims and the like.
fn commit_of(compares: &[Compare], ops: &[Op]) -> (&'static str, String) {
    match ops.first() {
        Some(Op::Put { key, .. }) => {
            let is_new = compares.iter().any(|compare| matches!(compare, Compare::Absent(absent) if absent == key));
            (if is_new { "create" } else { "update" }, folder_of(key))
        }
        Some(Op::Delete { key }) => ("delete", folder_of(key)),
        None => ("update", String::new()),
    }
}

/// `/registry/<group>/<plural>` of a key or the beginning of one; there are as many as there are kinds, and a few more.
fn folder_of(key: &[u8]) -> String {
    let text = String::from_utf8_lossy(key);
    let parts: Vec<&str> = text.trim_matches('/').splitn(4, '/').take(3).collect();
    format!("/{}", parts.join("/"))
}

/// One key is a get, all else a list.
fn range_of(range: &KeyRange) -> (&'static str, String) {
    let is_single = range.end.len() == range.start.len() + 1 && range.end.starts_with(&range.start) && range.end.ends_with(&[0]);
    (if is_single { "get" } else { "list" }, folder_of(&range.start))
}

#[async_trait]
impl Store for TimedStore {
    async fn range(&self, range: KeyRange, revision: Option<Revision>, limit: usize) -> Result<RangeResult, StoreError> {
        self.timed(range_of(&range), self.inner.range(range, revision, limit)).await
    }

    async fn commit(&self, compares: Vec<Compare>, ops: Vec<Op>) -> Result<Commit, StoreError> {
        self.timed(commit_of(&compares, &ops), self.inner.commit(compares, ops)).await
    }

    async fn watch(&self, range: KeyRange, after: Revision) -> Result<Watch, StoreError> {
        self.inner.watch(range, after).await
    }

    async fn request_progress(&self) -> Result<(), StoreError> {
        self.inner.request_progress().await
    }

    async fn current_revision(&self) -> Result<Revision, StoreError> {
        self.inner.current_revision().await
    }

    async fn compact(&self, revision: Revision) -> Result<(), StoreError> {
        self.inner.compact(revision).await
    }

    async fn size(&self) -> Result<u64, StoreError> {
        self.inner.size().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn operations_are_named_by_what_they_do_and_to_which_kind() {
        let key = Bytes::from_static(b"/registry/core/configmaps/default/a");
        let folder = "/registry/core/configmaps".to_owned();
        let put = Op::Put { key: key.clone(), value: Bytes::new(), ttl: None };
        assert_eq!(commit_of(&[Compare::Absent(key.clone())], std::slice::from_ref(&put)), ("create", folder.clone()));
        assert_eq!(commit_of(&[Compare::ModRevision(key.clone(), 7)], &[put]), ("update", folder.clone()));
        assert_eq!(commit_of(&[], &[Op::Delete { key: key.clone() }]), ("delete", folder.clone()));
        assert_eq!(range_of(&KeyRange::single(key.clone())), ("get", folder.clone()));
        assert_eq!(range_of(&KeyRange::prefix("/registry/core/configmaps/")), ("list", folder));
        assert_eq!(folder_of(b"/registry/"), "/registry");
    }
}

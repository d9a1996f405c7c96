//! What is in etcd at one revision, for a backup.

use super::client::Clients;
use super::origin::{self, Origin};
use super::{Etcd, EtcdConfig, errors};
use crate::snapshot::{Record, Source};
use crate::{EventKind, KeyRange, Revision, Store, StoreError, WatchItem};
use async_trait::async_trait;
use bytes::Bytes;
use etcd_client::{GetOptions, KeyValue};
use futures::StreamExt;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::time::Duration;

/// How long to wait for etcd to say what has changed.
const PATIENCE: Duration = Duration::from_secs(20);

/// The store at the revision at which this was opened.
pub struct Snapshot {
    etcd: Etcd,
    origin: Origin,
    config: EtcdConfig,
    revision: Revision,
    /// What leases had left when they were first asked for: keys share them.
    leases: Mutex<HashMap<i64, Duration>>,
}

impl Snapshot {
    /// Errors as [`Etcd::connect`], but one that was migrated to another place is read.
    pub async fn open(config: EtcdConfig) -> Result<Self, StoreError> {
        let (etcd, origin) = Etcd::enter(config.clone()).await?;
        let revision = etcd.current_revision().await?;
        Ok(Self { etcd, origin, config, revision, leases: Mutex::default() })
    }

    /// Writes where the store is, and opens it again as of then.
    async fn mark(&mut self, moved_to: Option<String>) -> Result<(), StoreError> {
        let origin = Origin { moved_to, ..self.origin.clone() };
        let connection = &self.etcd.shared.connection;
        if origin::replace(connection, connection.clock.fence, &origin, Vec::new(), Vec::new()).await?.is_none() {
            return Err(StoreError::Replaced);
        }
        *self = Self::open(self.config.clone()).await?;
        Ok(())
    }

    async fn get(&self, range: &KeyRange, options: GetOptions) -> Result<etcd_client::GetResponse, StoreError> {
        let connection = &self.etcd.shared.connection;
        let (start, end) = connection.keys.range(range);
        let options = options.with_range(end).with_revision(connection.clock.to_etcd(self.revision));
        let asked = connection.retried("read a range", |mut clients: Clients| {
            let (start, options) = (start.clone(), options.clone());
            async move { clients.kv.get(start, Some(options)).await }
        });
        match asked.await {
            Ok(answer) => Ok(answer),
            Err(error) => Err(self.etcd.explain(error, self.revision).await),
        }
    }

    /// What a lease has left, at least a second: one that is over takes its keys with it at any moment.
    async fn time_left(&self, lease: i64) -> Result<Duration, StoreError> {
        let known = self.leases.lock().get(&lease).copied();
        if let Some(left) = known {
            return Ok(left);
        }
        let ask = |mut clients: Clients| async move { clients.lease.time_to_live(lease, None).await };
        let answer = self.etcd.shared.connection.retried("read a lease", ask).await?;
        let left = Duration::from_secs(answer.ttl().max(1).unsigned_abs());
        self.leases.lock().insert(lease, left);
        Ok(left)
    }

    async fn record(&self, kv: KeyValue) -> Result<Record, StoreError> {
        let ttl = match kv.lease() {
            0 => None,
            lease => Some(self.time_left(lease).await?),
        };
        let (key, value) = kv.into_key_value();
        Ok(Record { key: Bytes::copy_from_slice(self.etcd.shared.connection.keys.decode(&key)), value: value.into(), ttl })
    }
}

#[async_trait]
impl Source for Snapshot {
    fn revision(&self) -> Revision {
        self.revision
    }

    async fn count(&self, range: &KeyRange) -> Result<u64, StoreError> {
        Ok(self.get(range, GetOptions::new().with_count_only()).await?.count().unsigned_abs())
    }

    async fn page(&self, start: Bytes, limit: usize) -> Result<Vec<Record>, StoreError> {
        let range = KeyRange { start, end: Bytes::new() };
        let found = self.get(&range, GetOptions::new().with_limit(limit as i64)).await?.take_kvs();
        let mut records = Vec::with_capacity(found.len());
        for kv in found {
            records.push(self.record(kv).await?);
        }
        Ok(records)
    }

    async fn is_unchanged(&self) -> Result<bool, StoreError> {
        let newest = self.etcd.current_revision().await?;
        let mut changes = self.etcd.watch(KeyRange::prefix(""), self.revision).await?;
        let look = async {
            self.etcd.request_progress().await?;
            while let Some(item) = changes.next().await {
                match item? {
                    WatchItem::Progress(revision) if revision >= newest => return Ok(true),
                    // Keys may expire.
                    WatchItem::Events(events) if events.iter().any(|event| event.kind != EventKind::Delete) => return Ok(false),
                    WatchItem::Progress(_) | WatchItem::Events(_) => {}
                }
            }
            Err(StoreError::Unavailable("etcd ended a watch".into()))
        };
        tokio::time::timeout(PATIENCE, look).await.unwrap_or_else(|_| Err(errors::too_slow("say what has changed", PATIENCE)))
    }

    /// etcd refuses what another store would not take.
    async fn largest(&self) -> Result<Option<(String, usize)>, StoreError> {
        Ok(None)
    }

    async fn leave(&mut self, to: &str) -> Result<(), StoreError> {
        self.mark(Some(to.to_owned())).await
    }

    async fn stay(&mut self) -> Result<(), StoreError> {
        if self.origin.moved_to.is_some() { self.mark(None).await } else { Ok(()) }
    }
}

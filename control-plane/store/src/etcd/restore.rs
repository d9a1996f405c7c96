//! Filling an etcd that has no store below the prefix with what a backup holds. The store's [`Origin`] marks it until all is there, and keeps
//! everybody else from writing: nobody takes a part for the whole.

use super::client::Connection;
use super::origin::{self, Clock, Origin};
use super::{Etcd, EtcdConfig, place};
use crate::snapshot::{Begin, SnapshotError, Target};
use crate::{KeyRange, Revision, Store, StoreError};
use async_trait::async_trait;
use etcd_client::{Compare, CompareOp, DeleteOptions, GetOptions, TxnOp};
use std::sync::Arc;

/// A store that is being filled; nobody else can open it.
pub struct Restore {
    etcd: Arc<Etcd>,
    offset: u64,
}

impl Restore {
    /// Begins: from now on until [`Target::finish`] there is a restore that is not done.
    /// Errors: there is a store, or a part of one that the caller does not say to remove.
    pub async fn begin(config: EtcdConfig, begin: &Begin) -> Result<Self, SnapshotError> {
        let mut connection = Connection::open(&config).await?;
        let (former, fence) = origin::read(&connection).await?;
        let is_unfinished = former.restoring.is_some();
        if let Some(from) = former.restoring.clone().filter(|_| !begin.again) {
            return Err(SnapshotError::Unfinished { place: place(&config), from });
        }
        let now = origin::now(&connection).await?;
        let above = begin.above.max(Clock::new(&former, fence).of_etcd(now));
        let mark =
            Origin { offset: above.saturating_sub(now.unsigned_abs()), floor: 0, restoring: Some(begin.from.clone()), moved_to: None };
        let (start, end) = connection.keys.range(&KeyRange::prefix(""));
        let mut conditions = Vec::new();
        let mut writes = Vec::new();
        if is_unfinished {
            writes.push(TxnOp::delete(start, Some(DeleteOptions::new().with_range(end))));
        } else {
            // A range without keys is to etcd a key that was never made.
            conditions.push(Compare::create_revision(start, CompareOp::Equal, 0).with_range(end));
        }
        let Some(fence) = origin::replace(&connection, fence, &mark, conditions, writes).await? else {
            return Err(SnapshotError::NotEmpty { place: place(&config), found: found(&connection).await? });
        };
        connection.clock = Clock::new(&mark, fence);
        Ok(Self { offset: mark.offset, etcd: Arc::new(Etcd::over(connection)) })
    }
}

#[async_trait]
impl Target for Restore {
    fn store(&self) -> Arc<dyn Store> {
        self.etcd.clone()
    }

    async fn finish(&self) -> Result<Revision, StoreError> {
        let connection = &self.etcd.shared.connection;
        let floor = origin::now(connection).await?;
        let origin = Origin { offset: self.offset, floor: floor.unsigned_abs(), ..Origin::default() };
        let ended = origin::replace(connection, connection.clock.fence, &origin, Vec::new(), Vec::new()).await?;
        let at =
            ended.ok_or_else(|| StoreError::Failed { operation: "end the restore", source: "another one was begun meanwhile".into() })?;
        Ok(connection.clock.of_etcd(at))
    }
}

/// What is there, in words.
async fn found(connection: &Connection) -> Result<String, StoreError> {
    let (start, end) = connection.keys.range(&KeyRange::prefix(""));
    let options = GetOptions::new().with_range(end).with_limit(1).with_keys_only();
    let asked = connection.retried("read a range", |mut clients| {
        let (start, options) = (start.clone(), options.clone());
        async move { clients.kv.get(start, Some(options)).await }
    });
    let answer = asked.await?;
    Ok(match answer.kvs().first() {
        Some(first) => {
            let key = String::from_utf8_lossy(connection.keys.decode(first.key())).into_owned();
            format!("a store with {} keys, the first of them {key}", answer.count())
        }
        None => "somebody else began a restore at this moment".to_owned(),
    })
}

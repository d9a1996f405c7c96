//! The etcd backend: the same contract over a real etcd 3.4 or newer. Its revisions are etcd's own, so that writes of others under other prefixes
//! are gaps in the numbers but never out of order.

mod client;
mod config;
mod errors;
mod keys;
mod leases;
mod members;
mod origin;
mod progress;
mod restore;
mod snapshot;
mod watch;

pub use config::EtcdConfig;
pub use restore::Restore;
pub use snapshot::Snapshot;

use crate::limits::{MAX_VALUE, check_commit};
use crate::{Commit, Compare, Entry, KeyRange, Op, RangeResult, Revision, Store, StoreError, Watch};
use async_trait::async_trait;
use bytes::Bytes;
use client::Connection;
use etcd_client::{CompareOp, GetOptions, GetResponse, KeyValue, PutOptions, Txn, TxnOp, TxnOpResponse};
use leases::Leases;
use origin::{Clock, Origin};
use progress::Progress;
use std::sync::Arc;

/// Entries asked for in one request: what bounds the size of an answer.
const PAGE: i64 = 1000;

/// A store in etcd.
pub struct Etcd {
    shared: Arc<Shared>,
    leases: Leases,
}

/// What the store and its watches share.
struct Shared {
    connection: Connection,
    progress: Progress,
    /// Whether the store is another's now: see [`origin`].
    replaced: tokio::sync::watch::Sender<bool>,
}

impl Shared {
    /// Ends the store for all that have it open.
    fn replaced(&self) -> StoreError {
        self.replaced.send_replace(true);
        StoreError::Replaced
    }

    /// An error once the store is another's.
    fn is_ours(&self) -> Result<(), StoreError> {
        if *self.replaced.borrow() { Err(StoreError::Replaced) } else { Ok(()) }
    }
}

impl Etcd {
    /// Connects, and waits at most the configured connect timeout for one of the endpoints to answer.
    /// Errors: [`StoreError::Unavailable`] naming the endpoints when none does, [`StoreError::Failed`] when a restore into it is not done, or it was
    /// migrated to another place.
    pub async fn connect(config: EtcdConfig) -> Result<Arc<Self>, StoreError> {
        let place = place(&config);
        let (etcd, origin) = Self::enter(config).await?;
        match origin.moved_to {
            None => Ok(Arc::new(etcd)),
            Some(to) => {
                let source = format!("{place} was migrated to {to}; {}", crate::snapshot::STAY);
                Err(StoreError::Failed { operation: "open the store", source: source.into() })
            }
        }
    }

    /// The same, also of a store that was migrated.
    async fn enter(config: EtcdConfig) -> Result<(Self, Origin), StoreError> {
        let mut connection = Connection::open(&config).await?;
        let (origin, fence) = origin::read(&connection).await?;
        if let Some(from) = &origin.restoring {
            let source = format!("a restore of {from} into {} is not done: wait for it, or do it again", place(&config));
            return Err(StoreError::Failed { operation: "open the store", source: source.into() });
        }
        connection.clock = Clock::new(&origin, fence);
        Ok((Self::over(connection), origin))
    }

    fn over(connection: Connection) -> Self {
        let progress = Progress::for_version(&connection.version);
        let replaced = tokio::sync::watch::Sender::new(false);
        Self { shared: Arc::new(Shared { connection, progress, replaced }), leases: Leases::default() }
    }

    async fn transact(&self, compares: &[Compare], ops: &[Op]) -> Result<Commit, StoreError> {
        let connection = &self.shared.connection;
        let mut actions = Vec::with_capacity(ops.len());
        for op in ops {
            actions.push(match op {
                Op::Put { key, value, ttl } => {
                    let options = match ttl {
                        Some(ttl) => Some(PutOptions::new().with_lease(self.leases.lease(connection, *ttl).await?)),
                        None => None,
                    };
                    TxnOp::put(connection.keys.encode(key), value.to_vec(), options)
                }
                Op::Delete { key } => TxnOp::delete(connection.keys.encode(key), None),
            });
        }
        let origin = connection.keys.origin();
        let mut gets: Vec<TxnOp> = compares.iter().map(|compare| TxnOp::get(connection.keys.encode(compare.key()), None)).collect();
        gets.push(TxnOp::get(origin.clone(), None));
        let mut conditions: Vec<_> = compares.iter().map(|compare| condition(connection, compare)).collect();
        conditions.push(etcd_client::Compare::mod_revision(origin, CompareOp::Equal, connection.clock.fence));
        let txn = Txn::new().when(conditions).and_then(actions).or_else(gets);
        let mut response = connection
            .once("commit", |mut client| {
                let txn = txn.clone();
                async move { client.kv.txn(txn).await }
            })
            .await?;
        let revision = connection.clock.of_etcd(errors::revision(response.take_header())?);
        if response.succeeded() {
            return Ok(Commit::Done(revision));
        }
        let mut current: Vec<Option<KeyValue>> = response.op_responses().into_iter().map(found).collect();
        if current.pop().flatten().map_or(0, |origin| origin.mod_revision()) != connection.clock.fence {
            return Err(self.shared.replaced());
        }
        let current = current.into_iter().map(|kv| kv.map(|kv| entry(connection, kv))).collect();
        Ok(Commit::Failed { current, revision })
    }

    /// Reads pages until `limit` (0: all) is reached, all as of the first page's revision.
    async fn pages(&self, range: &KeyRange, revision: Option<Revision>, limit: usize) -> Result<RangeResult, StoreError> {
        let connection = &self.shared.connection;
        let (mut start, end) = connection.keys.range(range);
        let mut result = RangeResult { entries: Vec::new(), revision: revision.unwrap_or(0), more: true, count: None };
        while result.more && (limit == 0 || result.entries.len() < limit) {
            let wanted = if limit == 0 { PAGE } else { PAGE.min((limit - result.entries.len()) as i64) };
            let at = if result.revision == 0 { 0 } else { connection.clock.to_etcd(result.revision) };
            let options = GetOptions::new().with_range(end.clone()).with_revision(at).with_limit(wanted);
            let mut page: GetResponse = connection
                .retried("read a range", |mut client| {
                    let (start, options) = (start.clone(), options.clone());
                    async move { client.kv.get(start, Some(options)).await }
                })
                .await?;
            if result.revision == 0 {
                result.revision = connection.clock.of_etcd(errors::revision(page.take_header())?);
            }
            result.count.get_or_insert(page.count().unsigned_abs());
            result.more = page.more();
            let kvs = page.take_kvs();
            match kvs.last() {
                Some(last) => start = [last.key(), &[0]].concat(),
                None => result.more = false,
            }
            result.entries.extend(kvs.into_iter().map(|kv| entry(connection, kv)));
        }
        Ok(result)
    }

    /// Completes what etcd's error leaves out: the revisions it compared with.
    async fn explain(&self, error: StoreError, requested: Revision) -> StoreError {
        match error {
            StoreError::FutureRevision { .. } => match self.current_revision().await {
                Ok(newest) => StoreError::FutureRevision { requested, newest },
                Err(error) => error,
            },
            StoreError::Compacted { .. } => {
                let oldest = watch::compacted_revision(&self.shared.connection, requested).await.unwrap_or(requested + 1);
                StoreError::Compacted { requested, oldest }
            }
            other => other,
        }
    }
}

#[async_trait]
impl Store for Etcd {
    async fn range(&self, range: KeyRange, revision: Option<Revision>, limit: usize) -> Result<RangeResult, StoreError> {
        self.shared.is_ours()?;
        let empty = !range.end.is_empty() && range.end <= range.start;
        // To etcd revision 0 is now; here it is before everything.
        let requested = revision.map(|revision| revision.max(1));
        let oldest = self.shared.connection.clock.oldest();
        if let Some(requested) = requested.filter(|requested| *requested < oldest) {
            // It may have been compacted further since.
            let oldest = match self.range(KeyRange::single("\0"), Some(oldest), 1).await {
                Err(StoreError::Compacted { oldest, .. }) => oldest,
                _ => oldest,
            };
            return Err(StoreError::Compacted { requested, oldest });
        }
        if empty && requested.is_none() {
            let revision = self.current_revision().await?;
            return Ok(RangeResult { entries: Vec::new(), revision, more: false, count: Some(0) });
        }
        let range = if empty { KeyRange { start: range.start.clone(), end: [&range.start[..], &[0]].concat().into() } } else { range };
        match self.pages(&range, requested, if empty { 1 } else { limit }).await {
            Ok(result) if empty => Ok(RangeResult { entries: Vec::new(), more: false, count: Some(0), ..result }),
            Ok(result) => Ok(result),
            // A compaction between two pages of a read of the present.
            Err(StoreError::Compacted { .. }) if requested.is_none() => self.pages(&range, None, limit).await,
            Err(error) => Err(self.explain(error, requested.unwrap_or(0)).await),
        }
    }

    async fn commit(&self, compares: Vec<Compare>, ops: Vec<Op>) -> Result<Commit, StoreError> {
        self.shared.is_ours()?;
        check_commit(&compares, &ops, MAX_VALUE)?;
        if compares.is_empty() && ops.is_empty() {
            return Ok(Commit::Done(self.current_revision().await?));
        }
        match self.transact(&compares, &ops).await {
            Err(error) if errors::is_lease_gone(&error) => {
                self.leases.forget();
                self.transact(&compares, &ops).await
            }
            other => other,
        }
    }

    async fn watch(&self, range: KeyRange, after: Revision) -> Result<Watch, StoreError> {
        if !range.end.is_empty() && range.end <= range.start {
            return Err(StoreError::Failed { operation: "watch", source: "the range is empty".into() });
        }
        match self.range(KeyRange::single("\0"), Some(after), 1).await {
            Ok(_) | Err(StoreError::FutureRevision { .. }) => {}
            Err(error) => return Err(error),
        }
        watch::open(self.shared.clone(), range, after).await
    }

    async fn request_progress(&self) -> Result<(), StoreError> {
        self.shared.progress.request(&self.shared.connection).await
    }

    async fn current_revision(&self) -> Result<Revision, StoreError> {
        self.shared.is_ours()?;
        let connection = &self.shared.connection;
        Ok(connection.clock.of_etcd(origin::now(connection).await?))
    }

    async fn compact(&self, revision: Revision) -> Result<(), StoreError> {
        let connection = &self.shared.connection;
        self.shared.is_ours()?;
        let at = connection.clock.to_etcd(revision);
        if at == 0 {
            return Ok(());
        }
        match connection.once("compact", |mut client| async move { client.kv.compact(at, None).await }).await {
            Ok(_) | Err(StoreError::Compacted { .. }) => Ok(()),
            Err(error) => Err(self.explain(error, revision).await),
        }
    }

    async fn size(&self) -> Result<u64, StoreError> {
        let status =
            self.shared.connection.retried("read the status", |mut client| async move { client.maintenance.status().await }).await?;
        Ok(status.db_size().unsigned_abs())
    }
}

/// To etcd the revision of a key that is absent is 0, which is no key's.
fn condition(connection: &Connection, compare: &Compare) -> etcd_client::Compare {
    let key = connection.keys.encode(compare.key());
    match compare {
        Compare::Absent(_) => etcd_client::Compare::version(key, CompareOp::Equal, 0),
        Compare::ModRevision(_, revision) => match connection.clock.to_etcd(*revision) {
            // Never true: no key was written then.
            0 => etcd_client::Compare::mod_revision(key, CompareOp::Less, 0),
            at => etcd_client::Compare::mod_revision(key, CompareOp::Equal, at),
        },
    }
}

fn found(answer: TxnOpResponse) -> Option<KeyValue> {
    if let TxnOpResponse::Get(mut found) = answer { found.take_kvs().pop() } else { None }
}

fn entry(connection: &Connection, kv: KeyValue) -> Entry {
    let clock = &connection.clock;
    let (create_revision, mod_revision) = (clock.of_etcd(kv.create_revision()), clock.of_etcd(kv.mod_revision()));
    let (key, value) = kv.into_key_value();
    Entry { key: Bytes::copy_from_slice(connection.keys.decode(&key)), value: value.into(), create_revision, mod_revision }
}

/// The store as people name it.
fn place(config: &EtcdConfig) -> String {
    format!("etcd at {} below {}", config.endpoints.join(", "), config.prefix)
}

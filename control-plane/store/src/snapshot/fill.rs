//! Filling an empty store, from a backup or from another store.

use super::format::Part;
use super::reader::Reader;
use super::{Pages, Record, SnapshotError, Source, Target};
use crate::{Commit, KeyRange, MAX_OPS, Op, Revision, Store, StoreError};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

/// Bytes of values in one commit: less than half of what etcd takes.
const COMMIT_BYTES: usize = 512 << 10;
/// Commits on their way at the same time.
const AT_ONCE: usize = 8;
/// How long a store that cannot be reached is tried again: what is written is the same each time, and nobody else writes.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two tries.
const RETRY: Duration = Duration::from_millis(500);

/// Writes what the backup holds into the store, and ends the restore when all of it is there. Answers the store's revision. What it finds damaged
/// it has not written; the caller has [`super::check`]ed the file before it began. Blocks on the file.
pub async fn restore(path: &Path, target: &dyn Target) -> Result<Revision, SnapshotError> {
    let mut reader = Reader::open(path)?;
    let mut fill = Fill::new(target.store());
    while let Some(part) = reader.next()? {
        if let Part::Keys(records) = part {
            for record in records {
                fill.put(record).await?;
            }
        }
    }
    fill.end().await?;
    Ok(target.finish().await?)
}

/// Writes what the source holds, without the keys in the ranges `without`, into the store. Answers how many keys, and the store's revision.
/// Errors: [`SnapshotError::Changed`] when somebody wrote into the source meanwhile.
pub async fn migrate(source: &dyn Source, without: &[KeyRange], target: &dyn Target) -> Result<(u64, Revision), SnapshotError> {
    let mut pages = Pages::new(source, without);
    let mut fill = Fill::new(target.store());
    let mut count = 0;
    while let Some(page) = pages.next().await? {
        for record in page {
            fill.put(record).await?;
            count += 1;
        }
    }
    fill.end().await?;
    if !source.is_unchanged().await? {
        return Err(SnapshotError::Changed);
    }
    Ok((count, target.finish().await?))
}

/// Commits being made.
struct Fill {
    store: Arc<dyn Store>,
    ops: Vec<Op>,
    bytes: usize,
    running: JoinSet<Result<Commit, StoreError>>,
}

impl Fill {
    fn new(store: Arc<dyn Store>) -> Self {
        Self { store, ops: Vec::new(), bytes: 0, running: JoinSet::new() }
    }

    async fn put(&mut self, record: Record) -> Result<(), StoreError> {
        if self.ops.len() == MAX_OPS || self.bytes + record.value.len() > COMMIT_BYTES {
            self.commit().await?;
        }
        self.bytes += record.value.len();
        self.ops.push(Op::Put { key: record.key, value: record.value, ttl: record.ttl });
        Ok(())
    }

    async fn commit(&mut self) -> Result<(), StoreError> {
        let (ops, store) = (std::mem::take(&mut self.ops), self.store.clone());
        self.bytes = 0;
        if ops.is_empty() {
            return Ok(());
        }
        while self.running.len() >= AT_ONCE {
            self.one_done().await?;
        }
        self.running.spawn(async move {
            let deadline = Instant::now() + PATIENCE;
            loop {
                match store.commit(Vec::new(), ops.clone()).await {
                    Err(StoreError::Unavailable(reason)) if Instant::now() < deadline => {
                        tracing::warn!(reason, "a part of the restore is written again");
                        sleep(RETRY).await;
                    }
                    done => return done,
                }
            }
        });
        Ok(())
    }

    async fn one_done(&mut self) -> Result<(), StoreError> {
        match self.running.join_next().await {
            Some(Ok(committed)) => committed.map(drop),
            Some(Err(error)) => Err(StoreError::Failed { operation: "commit", source: Box::new(error) }),
            None => Ok(()),
        }
    }

    async fn end(mut self) -> Result<(), StoreError> {
        self.commit().await?;
        while !self.running.is_empty() {
            self.one_done().await?;
        }
        Ok(())
    }
}

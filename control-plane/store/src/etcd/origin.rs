//! Where a store's revisions begin. etcd counts on its own and cannot be set, but whoever saw the store that a backup is of must never meet a
//! lower revision: so a restored store adds a number to etcd's revisions, which is kept beside its keys.
//!
//! The same key keeps two writers apart: every commit is made under the condition that it has not changed since the store was opened, so that a
//! server that was connected before a restore writes nothing into it, and nobody writes while one is going on, nor after a migration to another place.

use super::client::Connection;
use super::errors;
use crate::{Revision, StoreError};
use etcd_client::{Compare, CompareOp, Txn, TxnOp};
use serde::{Deserialize, Serialize};

/// The value of the key [`super::keys::Keys::origin`]; of a store that was never restored there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Origin {
    /// What is added to etcd's revisions.
    pub offset: u64,
    /// etcd's revision when the restore was done: what was before is none of this store's past.
    pub floor: u64,
    /// Of a restore that is not done: where it comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restoring: Option<String>,
    /// Of a store that was migrated: where to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moved_to: Option<String>,
}

/// Translates revisions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clock {
    offset: u64,
    floor: u64,
    /// etcd's revision of the origin's key; 0 without one.
    pub fence: i64,
}

impl Clock {
    pub fn new(origin: &Origin, fence: i64) -> Self {
        Self { offset: origin.offset, floor: origin.floor, fence }
    }

    /// The store's revision for one of etcd's.
    pub fn of_etcd(&self, revision: i64) -> Revision {
        revision.unsigned_abs().saturating_add(self.offset)
    }

    /// etcd's revision for one of the store's; 0 for those before etcd's first.
    pub fn to_etcd(self, revision: Revision) -> i64 {
        i64::try_from(revision.saturating_sub(self.offset)).unwrap_or(i64::MAX)
    }

    /// The oldest revision that is of this store.
    pub fn oldest(&self) -> Revision {
        if self.floor == 0 { 0 } else { self.floor.saturating_add(self.offset) }
    }
}

/// The origin that is kept, with etcd's revision of its key; the default one and 0 where there is none.
pub async fn read(connection: &Connection) -> Result<(Origin, i64), StoreError> {
    let mut answer = connection
        .retried("read the store's origin", |mut clients| async move { clients.kv.get(connection.keys.origin(), None).await })
        .await?;
    let Some(kv) = answer.take_kvs().pop() else { return Ok((Origin::default(), 0)) };
    let origin = serde_json::from_slice(kv.value())
        .map_err(|error| StoreError::Failed { operation: "read the store's origin", source: Box::new(error) })?;
    Ok((origin, kv.mod_revision()))
}

/// Writes the origin if it is still that of `fence` and the conditions hold; answers etcd's revision then. An answer that is lost is looked for.
pub async fn replace(
    connection: &Connection,
    fence: i64,
    origin: &Origin,
    mut conditions: Vec<Compare>,
    mut writes: Vec<TxnOp>,
) -> Result<Option<i64>, StoreError> {
    let key = connection.keys.origin();
    let value = serde_json::to_vec(origin)
        .map_err(|error| StoreError::Failed { operation: "write the store's origin", source: Box::new(error) })?;
    conditions.push(Compare::mod_revision(key.clone(), CompareOp::Equal, fence));
    writes.push(TxnOp::put(key, value, None));
    let txn = Txn::new().when(conditions).and_then(writes);
    let written = connection.once("write the store's origin", |mut clients| {
        let txn = txn.clone();
        async move { clients.kv.txn(txn).await }
    });
    match written.await {
        Ok(mut answer) => {
            let revision = errors::revision(answer.take_header())?;
            Ok(answer.succeeded().then_some(revision))
        }
        // Whoever led meanwhile: the origin is another one than before, and the one that was to be written, or it is not.
        Err(StoreError::Unavailable(reason)) => match read(connection).await? {
            (found, at) if at != fence && found == *origin => Ok(Some(at)),
            (_, at) if at != fence => Ok(None),
            _ => Err(StoreError::Unavailable(reason)),
        },
        Err(error) => Err(error),
    }
}

/// etcd's revision now.
pub async fn now(connection: &Connection) -> Result<i64, StoreError> {
    let mut answer =
        connection.retried("read the revision", |mut clients| async move { clients.kv.get(connection.keys.origin(), None).await }).await?;
    errors::revision(answer.take_header())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revisions_come_back_as_they_went_and_those_before_the_first_are_none() {
        let clock = Clock::new(&Origin { offset: 1000, floor: 7, ..Origin::default() }, 5);
        assert_eq!((clock.of_etcd(9), clock.to_etcd(1009)), (1009, 9));
        assert_eq!((clock.to_etcd(1000), clock.to_etcd(3), clock.oldest()), (0, 0, 1007));
        assert_eq!(Clock::default().oldest(), 0);
    }
}

//! Leases for keys with a time to live. Keys that expire at about the same time share one, since a lease costs etcd more than a key.

use super::client::Connection;
use crate::StoreError;
use std::collections::HashMap;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// Most keys on one lease: etcd deletes them all in one transaction.
const KEYS: u32 = 1000;

/// The leases that keys can still be put on, by time to live in seconds.
#[derive(Default)]
pub struct Leases {
    open: Mutex<HashMap<u64, Open>>,
    /// Raised when etcd no longer knows a lease.
    generation: std::sync::atomic::AtomicU64,
}

struct Open {
    id: i64,
    /// Keys put on it later would expire too early.
    until: Instant,
    keys: u32,
    generation: u64,
}

impl Leases {
    /// A lease that ends not before `ttl`, and not much after.
    pub async fn lease(&self, connection: &Connection, ttl: Duration) -> Result<i64, StoreError> {
        let seconds = ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0);
        let generation = self.generation.load(std::sync::atomic::Ordering::Acquire);
        let mut open = self.open.lock().await;
        let now = Instant::now();
        open.retain(|_, lease| lease.until > now && lease.generation == generation);
        if let Some(lease) = open.get_mut(&seconds).filter(|lease| lease.keys < KEYS) {
            lease.keys += 1;
            return Ok(lease.id);
        }
        let share = share(seconds);
        let length = i64::try_from(seconds + share).unwrap_or(i64::MAX);
        let granted = connection.once("grant a lease", |mut clients| async move { clients.lease.grant(length, None).await }).await?;
        open.insert(seconds, Open { id: granted.id(), until: now + Duration::from_secs(share), keys: 1, generation });
        Ok(granted.id())
    }

    /// Takes new leases from now on.
    pub fn forget(&self) {
        self.generation.fetch_add(1, std::sync::atomic::Ordering::AcqRel);
    }
}

/// Seconds for which keys are put on one lease: a twentieth of the time to live, from one second to one minute.
fn share(seconds: u64) -> u64 {
    (seconds / 20).clamp(1, 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_outlive_their_time_by_a_twentieth_at_most_a_minute() {
        assert_eq!((share(1), share(100), share(3600), share(1_000_000)), (1, 5, 60, 60));
    }
}

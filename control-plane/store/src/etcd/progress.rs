//! How a watch learns that it has seen everything up to a revision.
//!
//! etcd can be asked for it, but before 3.4.31 and 3.5.13 its answer could overtake events on their way (Kubernetes asks for the same versions before
//! it trusts it). With those a watch covers everything below the prefix, and a marker key is written there: when the marker's event arrives,
//! everything before it has.

use super::client::{Clients, Connection};
use crate::StoreError;
use std::time::Duration;
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;

/// Watches that become idle within this time share a marker.
const IDLE_TOGETHER: Duration = Duration::from_secs(2);

/// Which way is used, and the requests made.
pub struct Progress {
    pub by_marker: bool,
    requests: watch::Sender<u64>,
    /// When the last marker for idle watches was written.
    marked: Mutex<Option<Instant>>,
}

impl Progress {
    /// Chooses by etcd's version.
    pub fn for_version(version: &str) -> Self {
        Self { by_marker: !answers_in_order(version), requests: watch::Sender::new(0), marked: Mutex::new(None) }
    }

    /// Counts requests; only of use without markers.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.requests.subscribe()
    }

    /// Writes one marker for all the watches that are idle at about the same time.
    pub async fn mark_idle(&self, connection: &Connection) -> Result<(), StoreError> {
        let mut marked = self.marked.lock().await;
        if marked.is_some_and(|marked| marked.elapsed() < IDLE_TOGETHER) {
            return Ok(());
        }
        self.request(connection).await?;
        *marked = Some(Instant::now());
        Ok(())
    }

    /// Asks every watch to say where it is.
    pub async fn request(&self, connection: &Connection) -> Result<(), StoreError> {
        if self.by_marker {
            // Twice does no harm.
            let mark = |mut clients: Clients| async move { clients.kv.put(connection.keys.marker(), "", None).await };
            connection.retried("mark progress", mark).await?;
        } else {
            self.requests.send_modify(|requests| *requests += 1);
        }
        Ok(())
    }
}

fn answers_in_order(version: &str) -> bool {
    let mut parts = version.split(['.', '-', '+']).map(|part| part.parse::<u32>().unwrap_or(0));
    let version = (parts.next().unwrap_or(0), parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    match version {
        (3, 4, patch) => patch >= 31,
        (3, 5, patch) => patch >= 13,
        other => other >= (3, 6, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_versions_that_keep_the_order_are_asked() {
        for (version, trusted) in
            [("3.4.23", false), ("3.4.31", true), ("3.5.0", false), ("3.5.12", false), ("3.5.16", true), ("3.6.0-rc.1", true), ("", false)]
        {
            assert_eq!(answers_in_order(version), trusted, "{version}");
        }
    }
}

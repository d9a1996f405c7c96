//! Forgetting the past: superseded versions in the store are dropped some minutes after they were replaced (as kube-apiserver's compactor does).

use orknet_store::{Revision, Store};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// Compacts until `shutdown`, once in `interval`, up to where the store was one interval before: between one and two intervals of the past can
/// still be read. Failures are logged; the next round makes up for them.
pub async fn keep(store: Arc<dyn Store>, interval: Duration, shutdown: CancellationToken) {
    let mut rounds = tokio::time::interval(interval.max(Duration::from_millis(1)));
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut before: Option<Revision> = None;
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = rounds.tick() => {}
        }
        // A store that does not answer ends with the server, not after it.
        tokio::select! {
            () = shutdown.cancelled() => return,
            next = compact(&*store, before) => before = next.or(before),
        }
    }
}

/// Forgets what was superseded before `before`; answers the newest revision, where the next round may go to.
async fn compact(store: &dyn Store, before: Option<Revision>) -> Option<Revision> {
    if let Some(revision) = before {
        match store.compact(revision).await {
            Ok(()) => tracing::debug!(revision, "compacted the store"),
            Err(error) => tracing::warn!(revision, %error, "the store cannot be compacted"),
        }
    }
    store.current_revision().await.inspect_err(|error| tracing::warn!(%error, "the store does not tell its revision")).ok()
}

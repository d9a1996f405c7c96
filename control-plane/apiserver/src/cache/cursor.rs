//! A watcher's place in a kind's changes. It holds no buffer: a watcher that falls out of the window is cut and never delays others.

use super::{Change, KindCache};
use std::sync::Arc;
use tokio::sync::watch;

/// Most changes handed out at once.
const BATCH: usize = 128;
/// Most bytes of objects handed out at once, if it is more than one: what a watch holds while its client does not read.
const BATCH_BYTES: usize = 256 << 10;

/// Where a watcher is.
pub struct Cursor {
    cache: Arc<KindCache>,
    next: u64,
    woken: watch::Receiver<u64>,
}

/// Why a watcher gets no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fallen {
    /// It was too slow, or the cache was loaded anew: it must list again.
    Behind,
    /// The kind is no longer served, or no longer as it was.
    Ended,
}

impl Cursor {
    pub(super) fn new(cache: Arc<KindCache>, next: u64) -> Self {
        let woken = cache.subscribe();
        Self { cache, next, woken }
    }

    /// The changes that are there now; none when it has seen all.
    pub fn ready(&mut self) -> Result<Vec<Change>, Fallen> {
        self.woken.mark_unchanged();
        let changes = self.cache.read(self.next, BATCH, BATCH_BYTES)?;
        self.next += changes.len() as u64;
        Ok(changes)
    }

    /// Waits for a change. Cancel-safe. Tells nothing about what changed.
    pub async fn wait(&mut self) {
        // The cache holds the sender and the cursor holds the cache, so the wait cannot fail.
        let _ = self.woken.changed().await;
    }
}

//! The loop that turns queued keys into reconciles: bounded concurrency, one reconcile per key at a time, retries with back-off, also of
//! one that panicked.

use std::any::Any;
use std::fmt::Debug;
use std::future::Future;
use std::hash::Hash;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{Error, WorkQueue};

/// What a successful reconcile wants next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Nothing until something changes.
    Change,
    /// Another pass after this time even if nothing changes (a deadline that no event announces).
    After(Duration),
}

/// A reconciler: brings the cluster closer to what the object under a key wants. It is told a key, never what changed.
pub trait Reconciler: Send + Sync + 'static {
    /// What names one unit of work.
    type Key: Clone + Eq + Hash + Debug + Send + Sync + 'static;
    /// The name in logs and events.
    const NAME: &'static str;

    /// One pass. An error puts the key back with back-off. Dropped at shutdown at any await point.
    fn reconcile(&self, key: &Self::Key) -> impl Future<Output = Result<Next, Error>> + Send;
}

/// Works the queue until `shutdown`, at most `concurrency` keys at a time. Returns when the last reconcile has been dropped or ended.
pub async fn run_workers<R: Reconciler>(reconciler: Arc<R>, queue: WorkQueue<R::Key>, concurrency: usize, shutdown: CancellationToken) {
    let permits = Arc::new(Semaphore::new(concurrency));
    let mut running = JoinSet::new();
    loop {
        while running.try_join_next().is_some() {}
        let work = async {
            // The semaphore is never closed.
            let permit = permits.clone().acquire_owned().await.ok();
            (permit, queue.next().await)
        };
        let (permit, key) = tokio::select! {
            () = shutdown.cancelled() => break,
            work = work => work,
        };
        let (reconciler, queue) = (reconciler.clone(), queue.clone());
        running.spawn(async move {
            let _permit = permit;
            let work = InProgress { queue: &queue, key };
            // What a panic may have left half done is the reconciler's own: its next pass starts from what is stored.
            match AssertUnwindSafe(reconciler.reconcile(&work.key)).catch_unwind().await {
                Ok(result) => settle::<R>(result, &work),
                Err(panic) => {
                    tracing::error!(controller = R::NAME, key = ?work.key, panic = message_of(&*panic), "reconcile panicked");
                    work.queue.add_failed(work.key.clone());
                }
            }
        });
    }
    running.shutdown().await;
}

/// A key that a worker holds. Dropping it ends the work, also at shutdown.
struct InProgress<'a, T: Clone + Eq + Hash> {
    queue: &'a WorkQueue<T>,
    key: T,
}

impl<T: Clone + Eq + Hash> Drop for InProgress<'_, T> {
    fn drop(&mut self) {
        self.queue.done(&self.key);
    }
}

fn settle<R: Reconciler>(result: Result<Next, Error>, work: &InProgress<'_, R::Key>) {
    let (queue, key) = (work.queue, &work.key);
    match result {
        Ok(Next::Change) => queue.forget(key),
        Ok(Next::After(delay)) => {
            queue.forget(key);
            queue.add_after(key.clone(), delay);
        }
        Err(error) => {
            if error.is_race() {
                tracing::debug!(controller = R::NAME, ?key, error = &error as &dyn std::error::Error, "reconcile lost a race");
            } else {
                tracing::warn!(controller = R::NAME, ?key, error = &error as &dyn std::error::Error, "reconcile failed");
            }
            queue.add_failed(key.clone());
        }
    }
}

/// What was said in a panic.
fn message_of(panic: &(dyn Any + Send)) -> &str {
    let owned = panic.downcast_ref::<String>().map(String::as_str);
    owned.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    struct FailsTwice {
        calls: AtomicUsize,
        shutdown: CancellationToken,
    }

    impl Reconciler for FailsTwice {
        type Key = u8;
        const NAME: &'static str = "fails-twice";

        async fn reconcile(&self, _key: &u8) -> Result<Next, Error> {
            match self.calls.fetch_add(1, Ordering::SeqCst) {
                0 => return Err(Error::Malformed("not yet".into())),
                1 => panic!("not yet either"),
                _ => {}
            }
            self.shutdown.cancel();
            Ok(Next::Change)
        }
    }

    #[tokio::test]
    async fn a_key_that_failed_or_panicked_is_tried_again() {
        let shutdown = CancellationToken::new();
        let reconciler = Arc::new(FailsTwice { calls: AtomicUsize::new(0), shutdown: shutdown.clone() });
        let queue = WorkQueue::new();
        queue.add(1);
        run_workers(reconciler.clone(), queue, 2, shutdown).await;
        assert_eq!(reconciler.calls.load(Ordering::SeqCst), 3);
    }

    #[test]
    fn a_panics_message_is_found() {
        let caught = |panic: Box<dyn Any + Send>| message_of(&*panic).to_owned();
        assert_eq!(caught(Box::new("borrowed")), "borrowed");
        assert_eq!(caught(Box::new(String::from("owned"))), "owned");
        assert_eq!(caught(Box::new(5)), "no message");
    }
}

//! The kernel's ring of events, read by a thread of its own: waiting for it blocks.

use crate::dataplane::{EventSource, Failure};
use futures::FutureExt;
use futures::future::BoxFuture;
use orknet_dataplane::{Events, Told};
use std::io::{self, PipeWriter};
use std::os::fd::AsFd;
use std::thread::{self, JoinHandle};
use tokio::sync::mpsc;

/// Most events that are handed on at once.
const BATCH: usize = 256;
/// Events that are left out at the beginning, at most: programs may tell faster than anybody reads.
const FORMER: usize = 1 << 14;

/// The reader. When it is dropped, nobody reads any more.
pub struct Ring {
    batches: Option<mpsc::Receiver<Result<Vec<Told>, Failure>>>,
    /// Its end ends the thread.
    end: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
    left_out: u64,
}

impl Ring {
    /// Begins with what is told from now on: what is there was told to nobody, and may be about addresses that others have now.
    pub fn read(mut events: Events) -> io::Result<Self> {
        let (ended, end) = io::pipe()?;
        let (sender, batches) = mpsc::channel(1);
        let left_out = std::iter::from_fn(|| events.take()).take(FORMER).count() as u64;
        let work = move || {
            loop {
                let batch = match events.wait(ended.as_fd()) {
                    Ok(true) => Ok(std::iter::from_fn(|| events.take()).take(BATCH).collect::<Vec<_>>()),
                    Ok(false) => return,
                    Err(error) => Err(error.into()),
                };
                let is_last = batch.is_err();
                if batch.as_ref().is_ok_and(Vec::is_empty) {
                    continue;
                }
                if sender.blocking_send(batch).is_err() || is_last {
                    return;
                }
            }
        };
        let thread = thread::Builder::new().name("events".to_owned()).spawn(work)?;
        Ok(Self { batches: Some(batches), end: Some(end), thread: Some(thread), left_out })
    }
}

impl EventSource for Ring {
    fn take(&mut self) -> BoxFuture<'_, Result<Vec<Told>, Failure>> {
        let ended = || Failure("the reader of events has ended".to_owned());
        async move {
            match &mut self.batches {
                Some(batches) => batches.recv().await.unwrap_or_else(|| Err(ended())),
                None => Err(ended()),
            }
        }
        .boxed()
    }

    fn left_out(&self) -> u64 {
        self.left_out
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // Whether it waits for somebody to take events or for events, it ends at once.
        (self.batches, self.end) = (None, None);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

//! The one thread that changes the store: takes what is queued as one group, makes it durable with one sync, publishes it, then answers.
//! Expired keys are deleted here too, as ordinary commits.

use super::group::{Finished, Group};
use super::index::{Place, Version};
use super::log::Log;
use super::state::{State, failed, is_no_space};
use crate::{Commit, Compare, Op, Revision, StoreError};
use bytes::Bytes;
use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// Most commits in one group, and most bytes of values: what bounds the wait of the first of them.
const GROUP_COMMITS: usize = 1024;
const GROUP_BYTES: usize = 4 << 20;
/// Most keys that expire in one group.
const GROUP_EXPIRIES: usize = 256;
/// The clock is looked at again after this time, since it may be set.
const CLOCK_CHECK: Duration = Duration::from_secs(10);
/// After expired keys could not be deleted.
const EXPIRY_RETRY: Duration = Duration::from_secs(1);

/// What the writer is asked to do, and who waits for it.
pub struct Request {
    pub task: Task,
    pub answer: oneshot::Sender<Result<Commit, StoreError>>,
    /// Its place in the queue.
    pub permit: OwnedSemaphorePermit,
}

/// A change of the store.
pub enum Task {
    Commit {
        compares: Vec<Compare>,
        ops: Vec<Op>,
    },
    /// Sets the compacted revision; answered with [`Commit::Done`].
    Compact(Revision),
}

impl Task {
    fn stage(&self, group: &mut Group<'_>, compacted: Revision) -> Result<Commit, StoreError> {
        match self {
            Self::Commit { compares, ops } => group.commit(compares, ops),
            Self::Compact(revision) => group.compact(*revision, compacted).map(|()| Commit::Done(*revision)),
        }
    }

    /// Bytes of its values.
    fn size(&self) -> usize {
        match self {
            Self::Commit { ops, .. } => ops.iter().map(|op| if let Op::Put { value, .. } = op { value.len() } else { 0 }).sum(),
            Self::Compact(_) => 0,
        }
    }
}

/// When which key written at which revision expires, in milliseconds since 1970.
pub type Expiries = BTreeSet<(u64, Bytes, Revision)>;

/// The writer's own state.
pub struct Writer {
    pub state: Arc<State>,
    pub log: Log,
    pub expiries: Expiries,
    /// Wakes the cleaner.
    pub cleaner: Sender<()>,
}

impl Writer {
    /// Runs until every sender is gone and what they sent is done.
    pub fn run(mut self, requests: Receiver<Request>) {
        let mut expire_not_before = Instant::now();
        loop {
            let first = match requests.recv_timeout(self.wait(expire_not_before)) {
                Ok(request) => Some(request),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            let group = collect(first, &requests);
            let due = if Instant::now() >= expire_not_before { self.due() } else { Vec::new() };
            if group.is_empty() && due.is_empty() {
                continue;
            }
            if !self.commit(group, due) {
                expire_not_before = Instant::now() + EXPIRY_RETRY;
            }
        }
        self.log.close();
    }

    /// Time until a key expires.
    fn wait(&self, not_before: Instant) -> Duration {
        let Some((deadline, ..)) = self.expiries.first() else { return CLOCK_CHECK };
        Duration::from_millis(deadline.saturating_sub(now())).min(CLOCK_CHECK).max(not_before.saturating_duration_since(Instant::now()))
    }

    fn due(&self) -> Vec<(u64, Bytes, Revision)> {
        let now = now();
        self.expiries.iter().take_while(|(deadline, ..)| *deadline <= now).take(GROUP_EXPIRIES).cloned().collect()
    }

    /// Commits a group; answers whether the keys due are deleted.
    fn commit(&mut self, requests: Vec<Request>, due: Vec<(u64, Bytes, Revision)>) -> bool {
        let (revision, compacted) = {
            let index = self.state.index.read();
            (index.revision, index.compacted)
        };
        let mut puts_allowed = has_space(&self.state.config.directory, self.state.config.reserve_bytes);
        loop {
            let state = self.state.clone();
            let lookup = |key: &[u8]| state.current(key);
            let mut group = Group::new(&lookup, revision, now(), puts_allowed);
            let mut staged = true;
            for (_, key, revision) in &due {
                staged &=
                    group.expire(key, *revision).inspect_err(|error| tracing::warn!(%error, "an expired key was not deleted")).is_ok();
            }
            let outcomes: Vec<_> = requests.iter().map(|request| request.task.stage(&mut group, compacted)).collect();
            if group.is_empty() {
                self.forget(&due, staged);
                answer(requests, outcomes);
                return staged;
            }
            let finished = group.finish();
            match self.log.append(&self.state, &finished.frame, finished.first, finished.revision) {
                Ok((segment, offset)) => {
                    self.publish(finished, segment.slot, offset);
                    self.forget(&due, staged);
                    answer(requests, outcomes);
                    self.log.rotate_when_full(&self.state);
                    return staged;
                }
                // Deletions are small and may still fit.
                Err(error) if is_no_space(&error) && puts_allowed => puts_allowed = false,
                Err(error) => {
                    tracing::warn!(%error, commits = requests.len(), "a group of commits was not written");
                    refuse(requests, &error);
                    return false;
                }
            }
        }
    }

    fn publish(&mut self, finished: Finished, slot: u32, frame: u64) {
        {
            let mut index = self.state.index.write();
            for write in &finished.writes {
                let offset = if write.create_revision == 0 { 0 } else { (frame + write.offset as u64) as u32 };
                let place = Place { slot, offset, length: write.length as u32 };
                index.insert(&write.key, Version { mod_revision: write.revision, create_revision: write.create_revision, place });
            }
            index.revision = finished.revision;
            if let Some(compacted) = finished.compacted {
                index.compacted = compacted;
            }
        }
        self.expiries.extend(
            finished.writes.into_iter().filter(|write| write.deadline != 0).map(|write| (write.deadline, write.key, write.revision)),
        );
        self.state.feed.publish(finished.committed, finished.revision);
        if finished.compacted.is_some() {
            // The cleaner is gone only when the store closes.
            let _ = self.cleaner.send(());
        }
    }

    fn forget(&mut self, due: &[(u64, Bytes, Revision)], staged: bool) {
        if staged {
            for expiry in due {
                self.expiries.remove(expiry);
            }
        }
    }
}

/// Milliseconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

fn collect(first: Option<Request>, requests: &Receiver<Request>) -> Vec<Request> {
    let mut group: Vec<Request> = first.into_iter().collect();
    let mut bytes: usize = group.iter().map(|request| request.task.size()).sum();
    while !group.is_empty() && group.len() < GROUP_COMMITS && bytes < GROUP_BYTES {
        let Ok(request) = requests.try_recv() else { break };
        bytes += request.task.size();
        group.push(request);
    }
    group
}

/// Whoever no longer waits for an answer gets none.
fn answer(requests: Vec<Request>, outcomes: Vec<Result<Commit, StoreError>>) {
    for (request, outcome) in requests.into_iter().zip(outcomes) {
        drop(request.permit);
        let _ = request.answer.send(outcome);
    }
}

fn refuse(requests: Vec<Request>, error: &io::Error) {
    let refusals = requests.iter().map(|_| Err(failed("write the log", io::Error::new(error.kind(), error.to_string())))).collect();
    answer(requests, refusals);
}

/// Whether more than the reserve is free. When the file system does not say, the write itself tells.
fn has_space(directory: &Path, reserve: u64) -> bool {
    nix::sys::statvfs::statvfs(directory).map_or(true, |stat| {
        #[allow(clippy::unnecessary_cast)]
        let free = (stat.blocks_available() as u64).saturating_mul(stat.fragment_size() as u64);
        free >= reserve
    })
}

#[cfg(test)]
mod tests {
    use super::super::EmbeddedConfig;
    use super::super::frame::{self, Decoded};
    use super::super::recover::recover;
    use super::super::segment::HEADER;
    use super::*;
    use std::sync::mpsc;
    use tokio::sync::Semaphore;

    #[test]
    fn what_is_queued_together_is_one_frame_and_so_one_sync() {
        let directory = tempfile::tempdir().unwrap();
        let recovered = recover(EmbeddedConfig::new(directory.path())).unwrap();
        let (state, segment) = (Arc::new(recovered.state), recovered.active.clone());
        let (requests, queued) = mpsc::channel();
        let queue = Arc::new(Semaphore::new(100));
        let answers: Vec<_> = (0..100)
            .map(|at| {
                let (answer, answered) = oneshot::channel();
                let ops = vec![Op::Put { key: format!("{at}").into(), value: "v".into(), ttl: None }];
                let permit = queue.clone().try_acquire_owned().unwrap();
                requests.send(Request { task: Task::Commit { compares: Vec::new(), ops }, answer, permit }).unwrap();
                answered
            })
            .collect();
        drop(requests);
        let cleaner = mpsc::channel().0;
        Writer { state: state.clone(), log: Log::new(recovered.active), expiries: Expiries::new(), cleaner }.run(queued);
        for (at, answer) in answers.into_iter().enumerate() {
            assert_eq!(answer.blocking_recv().unwrap().unwrap(), Commit::Done(2 + at as u64));
        }
        let bytes = std::fs::read(segment.path()).unwrap();
        let frame = frame::decode(&bytes, HEADER).unwrap();
        assert_eq!(frame.end, bytes.len());
        assert!(matches!(&frame.commits[..], [Decoded::Commit { revision: 2, .. }, .., Decoded::Commit { revision: 101, .. }]));
        assert_eq!(frame.commits.len(), 100);
    }
}

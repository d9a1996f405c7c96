//! Watches: each follows its own position, from the log as far as it is behind and from the feed of recent commits after that.

use super::feed::{Committed, Signal};
use super::frame::{self, Decoded, FRAME_HEADER};
use super::segment::Segment;
use super::state::{State, failed};
use crate::{Event, EventKind, KeyRange, PROGRESS_INTERVAL, Revision, StoreError, Watch, WatchItem};
use bytes::Bytes;
use futures::StreamExt;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::time::Instant;

/// Commits taken from the feed at once.
const FEED_COMMITS: usize = 256;
/// A replay hands over after about so many bytes of log.
const REPLAY_BYTES: u64 = 1 << 20;

/// Opens a watch.
pub fn open(state: Arc<State>, range: KeyRange, after: Revision) -> Result<Watch, StoreError> {
    if !range.end.is_empty() && range.end <= range.start {
        return Err(StoreError::Failed { operation: "watch", source: "the range is empty".into() });
    }
    let signal = state.feed.subscribe();
    let asked = signal.borrow().progress_requests;
    check_compaction(&state, after)?;
    let follower = Follower { state, range, position: after, signal, asked, queue: VecDeque::new(), spoke: Instant::now() };
    let stream = futures::stream::unfold(Some(follower), |follower| async move {
        let mut follower = follower?;
        match follower.next().await {
            Ok(item) => Some((Ok(item), Some(follower))),
            Err(error) => Some((Err(error), None)),
        }
    });
    Ok(stream.boxed())
}

struct Follower {
    state: Arc<State>,
    range: KeyRange,
    /// Everything up to this revision is delivered or in the queue.
    position: Revision,
    signal: watch::Receiver<Signal>,
    /// Progress requests that were answered.
    asked: u64,
    queue: VecDeque<WatchItem>,
    spoke: Instant,
}

impl Follower {
    async fn next(&mut self) -> Result<WatchItem, StoreError> {
        loop {
            if let Some(item) = self.queue.pop_front() {
                self.spoke = Instant::now();
                return Ok(item);
            }
            tokio::task::consume_budget().await;
            // Taken before the position is compared: a request made later is answered later.
            let signal = *self.signal.borrow_and_update();
            if signal.closed {
                return Err(closed());
            }
            if self.position < signal.published {
                self.advance().await?;
                continue;
            }
            let idle = self.spoke.elapsed() >= PROGRESS_INTERVAL;
            if (signal.progress_requests > self.asked || idle) && self.position == signal.published {
                self.asked = signal.progress_requests;
                self.spoke = Instant::now();
                return Ok(WatchItem::Progress(self.position));
            }
            let deadline = self.spoke + PROGRESS_INTERVAL;
            tokio::select! {
                changed = self.signal.changed() => changed.map_err(|_| closed())?,
                () = tokio::time::sleep_until(deadline) => {
                    if self.position != signal.published {
                        self.spoke = Instant::now();
                    }
                }
            }
        }
    }

    async fn advance(&mut self) -> Result<(), StoreError> {
        if let Some(commits) = self.state.feed.following(self.position, FEED_COMMITS) {
            for commit in commits {
                self.position = commit.revision;
                let events: Vec<Event> = commit.events.iter().filter(|event| self.range.contains(&event.key)).cloned().collect();
                if !events.is_empty() {
                    self.queue.push_back(WatchItem::Events(events));
                }
            }
            return Ok(());
        }
        let (state, range, after) = (self.state.clone(), self.range.clone(), self.position);
        let replayed = tokio::task::spawn_blocking(move || replay(&state, &range, after)).await;
        let (commits, position) =
            replayed.map_err(|error| StoreError::Failed { operation: "replay the log", source: Box::new(error) })??;
        self.position = position;
        self.queue.extend(commits.into_iter().filter(|commit| !commit.events.is_empty()).map(|commit| WatchItem::Events(commit.events)));
        Ok(())
    }
}

/// Reads commits that follow `after` from the log, at least one, and answers the revision up to which they are complete. Blocks.
fn replay(state: &State, range: &KeyRange, after: Revision) -> Result<(Vec<Committed>, Revision), StoreError> {
    let (segments, published) = {
        let index = state.index.read();
        (state.segments.read().ordered.clone(), index.revision)
    };
    let mut commits = Vec::new();
    let mut position = after;
    let mut scanned = 0;
    for segment in segments.iter().filter(|segment| segment.newest() > after) {
        let mut at = segment.replay_from(after);
        // One frame may be longer than the limit: it does not end a replay that has found nothing yet.
        while at < segment.len() && (scanned < REPLAY_BYTES || position == after) {
            let bytes = read_frame(segment, at).map_err(|error| failed("replay the log", error))?;
            scanned += bytes.len() as u64;
            at += bytes.len() as u64;
            let damaged = || failed("replay the log", io::Error::new(io::ErrorKind::InvalidData, "a frame is damaged"));
            for commit in frame::decode(&bytes, 0).ok_or_else(damaged)?.commits {
                let Decoded::Commit { revision, records } = commit else { continue };
                if revision <= position || revision > published {
                    continue;
                }
                position = revision;
                let mut events = Vec::new();
                for record in records.iter().filter(|record| range.contains(record.key)) {
                    let kind = record.value.clone().map_or(EventKind::Delete, |value| EventKind::Put {
                        value: Bytes::copy_from_slice(&bytes[value]),
                        create_revision: record.create_revision,
                    });
                    let previous = state.before(record.key, revision)?;
                    events.push(Event { revision, key: Bytes::copy_from_slice(record.key), kind, previous });
                }
                commits.push(Committed { revision, events });
            }
        }
    }
    // Segments may have been rewritten meanwhile, which takes only what is compacted.
    check_compaction(state, after)?;
    if position == after && position < published {
        let source = format!("revision {} is not in the log", after + 1);
        return Err(StoreError::Failed { operation: "replay the log", source: source.into() });
    }
    Ok((commits, position))
}

fn read_frame(segment: &Segment, at: u64) -> io::Result<Vec<u8>> {
    let mut header = [0; FRAME_HEADER];
    segment.read(&mut header, at)?;
    let length = u32::from_le_bytes([header[4], header[5], header[6], header[7]]) as usize;
    let mut bytes = vec![0; FRAME_HEADER + length];
    segment.read(&mut bytes, at)?;
    Ok(bytes)
}

fn check_compaction(state: &State, after: Revision) -> Result<(), StoreError> {
    let compacted = state.index.read().compacted;
    if after < compacted { Err(StoreError::Compacted { requested: after, oldest: compacted }) } else { Ok(()) }
}

fn closed() -> StoreError {
    StoreError::Unavailable("the store is closed".into())
}

#[cfg(test)]
mod tests {
    use super::super::EmbeddedConfig;
    use super::super::frame::Builder;
    use super::super::log::Log;
    use super::super::recover::recover;
    use super::*;

    #[test]
    fn a_replay_passes_a_frame_longer_than_its_limit() {
        let directory = tempfile::tempdir().unwrap();
        let recovered = recover(EmbeddedConfig::new(directory.path())).unwrap();
        let (state, mut log) = (recovered.state, Log::new(recovered.active));
        for revision in 2..6 {
            let mut builder = Builder::new();
            builder.commit(revision, 1);
            builder.put(b"key", &vec![b'x'; REPLAY_BYTES as usize + 1], revision, 0);
            log.append(&state, &builder.finish(), revision, revision).unwrap();
            state.index.write().revision = revision;
        }
        for after in 1..5 {
            let (commits, position) = replay(&state, &KeyRange::single("key"), after).unwrap();
            assert_eq!(commits.first().map(|commit| commit.revision), Some(after + 1));
            assert!(position > after);
        }
    }
}

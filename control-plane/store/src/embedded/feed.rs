//! The newest commits, kept for watches: each watch pulls what follows its own position, so that a slow one holds up nobody and none can miss
//! or repeat a revision. What is older than the feed is replayed from the log by `watch`.

use crate::{Event, EventKind, Revision};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::watch;

/// All changes of one revision.
#[derive(Debug)]
pub struct Committed {
    pub revision: Revision,
    pub events: Vec<Event>,
}

impl Committed {
    fn bytes(&self) -> usize {
        let entries = |event: &Event| {
            let value = match &event.kind {
                EventKind::Put { value, .. } => value.len(),
                EventKind::Delete => 0,
            };
            let previous = event.previous.as_ref().map_or(0, |entry| entry.key.len() + entry.value.len());
            event.key.len() + value + previous + size_of::<Event>()
        };
        size_of::<Self>() + self.events.iter().map(entries).sum::<usize>()
    }
}

/// What watches wait for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signal {
    /// Newest revision that may be delivered.
    pub published: Revision,
    /// How often progress was asked for.
    pub progress_requests: u64,
    /// Whether the store is closed.
    pub closed: bool,
}

/// The feed; revisions in it have no gaps.
pub struct Feed {
    recent: Mutex<Recent>,
    signal: watch::Sender<Signal>,
    limit: usize,
}

#[derive(Default)]
struct Recent {
    commits: VecDeque<Arc<Committed>>,
    bytes: usize,
}

impl Feed {
    /// An empty feed of at most about `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { recent: Mutex::default(), signal: watch::Sender::default(), limit }
    }

    /// Tells watches of the commits, which follow those published before.
    pub fn publish(&self, commits: Vec<Committed>, revision: Revision) {
        {
            let mut recent = self.recent.lock();
            for commit in commits {
                recent.bytes += commit.bytes();
                recent.commits.push_back(Arc::new(commit));
            }
            while recent.bytes > self.limit {
                let Some(oldest) = recent.commits.pop_front() else { break };
                recent.bytes -= oldest.bytes();
            }
        }
        self.signal.send_modify(|signal| signal.published = revision);
    }

    pub fn request_progress(&self) {
        self.signal.send_modify(|signal| signal.progress_requests += 1);
    }

    pub fn close(&self) {
        self.signal.send_modify(|signal| signal.closed = true);
    }

    pub fn subscribe(&self) -> watch::Receiver<Signal> {
        self.signal.subscribe()
    }

    /// At most `limit` commits that follow `after`; `None` when the feed does not reach back that far.
    pub fn following(&self, after: Revision, limit: usize) -> Option<Vec<Arc<Committed>>> {
        let recent = self.recent.lock();
        let oldest = recent.commits.front()?.revision;
        let skip = usize::try_from((after + 1).checked_sub(oldest)?).ok()?;
        Some(recent.commits.iter().skip(skip).take(limit).cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(revision: Revision) -> Committed {
        let kind = EventKind::Put { value: vec![0; 100].into(), create_revision: revision };
        Committed { revision, events: vec![Event { revision, key: "k".into(), kind, previous: None }] }
    }

    #[test]
    fn the_feed_answers_from_any_position_it_reaches_and_says_when_it_does_not() {
        let feed = Feed::new(2000);
        assert!(feed.following(1, 10).is_none());
        for revision in 2..100 {
            feed.publish(vec![commit(revision)], revision);
        }
        assert!(feed.following(1, 10).is_none());
        let revisions = |after| feed.following(after, 3).unwrap().iter().map(|c| c.revision).collect::<Vec<_>>();
        assert_eq!(revisions(95), [96, 97, 98]);
        assert_eq!(revisions(98), [99]);
        assert!(revisions(99).is_empty());
        assert!(feed.recent.lock().bytes <= 2000);
    }
}

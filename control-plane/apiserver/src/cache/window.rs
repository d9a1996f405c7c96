//! The last changes of one kind, numbered without gaps, bounded in number, bytes and age. Pure.

use super::CachedObject;
use orknet_store::Revision;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Most changes that are kept.
const MOST_CHANGES: usize = 4096;
/// Most bytes of objects that are kept.
const MOST_BYTES: usize = 8 << 20;
/// Changes that are kept however large they are, so that a busy watcher of big objects is not cut at once.
const FEWEST_CHANGES: usize = 64;
/// What is older goes, to keep an idle server small.
const MOST_AGE: Duration = Duration::from_secs(300);

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    Put,
    Delete,
}

/// One change.
#[derive(Clone)]
pub struct Change {
    pub revision: Revision,
    pub kind: ChangeKind,
    /// The new state, or for a deletion the last state with the deletion's version.
    pub object: Arc<CachedObject>,
    /// The state before.
    pub previous: Option<Arc<CachedObject>>,
}

/// The changes kept.
pub struct Window {
    changes: VecDeque<(Change, Instant)>,
    /// Number of the first change kept; the numbers go on for ever.
    first: u64,
    /// Replay is possible after any revision from this one on.
    oldest: Revision,
    bytes: usize,
}

impl Window {
    /// Nothing kept; what came up to `revision` is unknown.
    pub fn new(first: u64, revision: Revision) -> Self {
        Self { changes: VecDeque::new(), first, oldest: revision, bytes: 0 }
    }

    /// Number that the next change gets.
    pub fn next(&self) -> u64 {
        self.first + self.changes.len() as u64
    }

    /// Oldest revision after which every change is still here.
    pub fn oldest(&self) -> Revision {
        self.oldest
    }

    /// Adds a change and drops what is too much or too old.
    pub fn push(&mut self, change: Change, now: Instant) {
        self.bytes += change.object.size();
        self.changes.push_back((change, now));
        while let Some((oldest, at)) = self.changes.front() {
            let over = self.changes.len() > MOST_CHANGES || self.bytes > MOST_BYTES || now.duration_since(*at) > MOST_AGE;
            if !over || self.changes.len() <= FEWEST_CHANGES {
                break;
            }
            self.oldest = oldest.revision;
            self.bytes = self.bytes.saturating_sub(oldest.object.size());
            self.changes.pop_front();
            self.first += 1;
        }
    }

    /// Number of the first change after `revision`; `None` when some after it are gone.
    pub fn seek(&self, revision: Revision) -> Option<u64> {
        let before = self.changes.partition_point(|(change, _)| change.revision <= revision);
        (revision >= self.oldest).then(|| self.first + before as u64)
    }

    /// At most `most` changes from number `from` on, of objects of about `bytes` together, but one if there is any; `None` when they are gone.
    pub fn read(&self, from: u64, most: usize, bytes: usize) -> Option<Vec<Change>> {
        let skip = usize::try_from(from.checked_sub(self.first)?).ok()?;
        let mut read = 0_usize;
        let fits = |(change, _): &&(Change, Instant)| {
            let before = read;
            read = before.saturating_add(change.object.size());
            before == 0 || read <= bytes
        };
        Some(self.changes.iter().skip(skip).take(most).take_while(fits).map(|(change, _)| change.clone()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn change(revision: Revision) -> Change {
        let object = Arc::new(CachedObject::new(&[], json!({ "metadata": { "name": "a" } }), revision));
        Change { revision, kind: ChangeKind::Put, object, previous: None }
    }

    fn filled(revisions: std::ops::RangeInclusive<Revision>) -> Window {
        let mut window = Window::new(1, 1);
        let now = Instant::now();
        revisions.for_each(|revision| window.push(change(revision), now));
        window
    }

    #[test]
    fn a_replay_begins_right_after_the_revision_asked_for() {
        let window = filled(10..=20);
        let from = window.seek(14).expect("kept");
        let revisions: Vec<_> = window.read(from, 3, usize::MAX).expect("kept").iter().map(|change| change.revision).collect();
        assert_eq!(revisions, [15, 16, 17]);
        assert_eq!(window.seek(20), Some(window.next()));
        assert_eq!(window.seek(0), None);
    }

    #[test]
    fn what_is_read_at_once_is_bounded_in_bytes_but_never_nothing() {
        let window = filled(2..=20);
        let size = change(2).object.size();
        let count = |bytes| window.read(1, 10, bytes).expect("kept").len();
        assert_eq!((count(0), count(size * 3), count(size * 100)), (1, 3, 10));
    }

    #[test]
    fn what_falls_out_of_the_window_is_too_old_not_missing() {
        let window = filled(2..=MOST_CHANGES as u64 + 101);
        assert_eq!(window.oldest(), 101);
        assert_eq!(window.seek(100), None);
        assert!(window.seek(101).is_some());
        assert!(window.read(1, 1, usize::MAX).is_none());
    }

    #[test]
    fn old_changes_go_but_a_few_stay() {
        let mut window = filled(2..=200);
        window.push(change(201), Instant::now() + MOST_AGE * 2);
        assert_eq!(window.next() - window.first, FEWEST_CHANGES as u64);
    }
}

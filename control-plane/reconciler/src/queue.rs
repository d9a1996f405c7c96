//! The work queue: each key at most once in line, never two workers on one key, delays, and exponential back-off per key.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

const FIRST_DELAY: Duration = Duration::from_millis(5);
const LONGEST_DELAY: Duration = Duration::from_secs(60);
/// How many overtaken entries may stay before they are swept out.
const OVERTAKEN_KEPT: usize = 64;

/// A queue of keys. Clones are handles to the same queue.
pub struct WorkQueue<T> {
    inner: Arc<Inner<T>>,
}

struct Inner<T> {
    state: Mutex<State<T>>,
    changed: Notify,
}

struct State<T> {
    ready: VecDeque<T>,
    /// Keys that wait for a worker, in line or until their present worker is done.
    dirty: HashSet<T>,
    processing: HashSet<T>,
    /// When each delayed key becomes ready: the earliest of the times it was put off to, so that a key is delayed once however often it is asked for.
    due: HashMap<T, Instant>,
    /// The same by time. An entry that is not in `due` with its time has been overtaken by an earlier one.
    delayed: BinaryHeap<Reverse<Delayed<T>>>,
    failures: HashMap<T, u32>,
    sequence: u64,
}

struct Delayed<T> {
    at: Instant,
    sequence: u64,
    key: T,
}

impl<T> Clone for WorkQueue<T> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

impl<T: Clone + Eq + Hash> Default for WorkQueue<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Clone + Eq + Hash> WorkQueue<T> {
    /// An empty queue.
    pub fn new() -> Self {
        let state = State {
            ready: VecDeque::new(),
            dirty: HashSet::new(),
            processing: HashSet::new(),
            due: HashMap::new(),
            delayed: BinaryHeap::new(),
            failures: HashMap::new(),
            sequence: 0,
        };
        Self { inner: Arc::new(Inner { state: Mutex::new(state), changed: Notify::new() }) }
    }

    /// Asks for one pass over `key`. A key that is being worked on runs once more afterwards.
    pub fn add(&self, key: T) {
        if self.inner.state.lock().add(key) {
            self.inner.changed.notify_one();
        }
    }

    /// Asks for a pass once `delay` has passed, or earlier when an earlier one is asked for already.
    pub fn add_after(&self, key: T, delay: Duration) {
        if delay.is_zero() {
            return self.add(key);
        }
        if self.inner.state.lock().delay(key, Instant::now() + delay) {
            self.inner.changed.notify_one();
        }
    }

    /// Asks for another try after a failure: 5 ms, doubled with each failure in a row, at most a minute.
    pub fn add_failed(&self, key: T) {
        let failures = {
            let mut state = self.inner.state.lock();
            let failures = state.failures.entry(key.clone()).or_insert(0);
            *failures += 1;
            *failures
        };
        self.add_after(key, back_off(failures));
    }

    /// Forgets the failures of `key`.
    pub fn forget(&self, key: &T) {
        self.inner.state.lock().failures.remove(key);
    }

    /// The next key to work on; the caller must call [`WorkQueue::done`] with it. Cancel-safe.
    pub async fn next(&self) -> T {
        loop {
            let changed = self.inner.changed.notified();
            let wake_at = {
                let mut state = self.inner.state.lock();
                state.release_due(Instant::now());
                if let Some(key) = state.take() {
                    if !state.ready.is_empty() {
                        self.inner.changed.notify_one();
                    }
                    return key;
                }
                state.delayed.peek().map(|Reverse(delayed)| delayed.at)
            };
            match wake_at {
                Some(at) => tokio::select! {
                    () = changed => {}
                    () = tokio::time::sleep_until(at) => {}
                },
                None => changed.await,
            }
        }
    }

    /// Ends the work on `key`; it goes back in line if it was added meanwhile.
    pub fn done(&self, key: &T) {
        let mut state = self.inner.state.lock();
        state.processing.remove(key);
        if state.dirty.contains(key) {
            state.ready.push_back(key.clone());
            drop(state);
            self.inner.changed.notify_one();
        }
    }

    /// How many keys are in line now, without the delayed ones.
    pub fn len(&self) -> usize {
        self.inner.state.lock().ready.len()
    }

    /// Whether no key is in line now.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T: Clone + Eq + Hash> State<T> {
    fn add(&mut self, key: T) -> bool {
        if !self.dirty.insert(key.clone()) || self.processing.contains(&key) {
            return false;
        }
        self.ready.push_back(key);
        true
    }

    fn delay(&mut self, key: T, at: Instant) -> bool {
        if self.due.get(&key).is_some_and(|due| *due <= at) {
            return false;
        }
        self.due.insert(key.clone(), at);
        self.sequence += 1;
        self.delayed.push(Reverse(Delayed { at, sequence: self.sequence, key }));
        if self.delayed.len() > 2 * self.due.len() + OVERTAKEN_KEPT {
            let due = &self.due;
            self.delayed.retain(|Reverse(delayed)| due.get(&delayed.key) == Some(&delayed.at));
        }
        true
    }

    fn release_due(&mut self, now: Instant) {
        while self.delayed.peek().is_some_and(|Reverse(delayed)| delayed.at <= now) {
            let Some(Reverse(delayed)) = self.delayed.pop() else { return };
            if self.due.get(&delayed.key) == Some(&delayed.at) {
                self.due.remove(&delayed.key);
                self.add(delayed.key);
            }
        }
    }

    fn take(&mut self) -> Option<T> {
        let key = self.ready.pop_front()?;
        self.dirty.remove(&key);
        self.processing.insert(key.clone());
        Some(key)
    }
}

impl<T> PartialEq for Delayed<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<T> Eq for Delayed<T> {}

impl<T> PartialOrd for Delayed<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Delayed<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.sequence).cmp(&(other.at, other.sequence))
    }
}

fn back_off(failures: u32) -> Duration {
    FIRST_DELAY.saturating_mul(1 << failures.saturating_sub(1).min(20)).min(LONGEST_DELAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_key_is_in_line_once() {
        let queue = WorkQueue::new();
        queue.add("a");
        queue.add("a");
        queue.add("b");
        assert_eq!(queue.len(), 2);
        assert_eq!(queue.next().await, "a");
        assert_eq!(queue.next().await, "b");
        assert!(queue.is_empty());
    }

    #[tokio::test]
    async fn a_key_added_while_it_is_worked_on_runs_once_more_and_not_at_the_same_time() {
        let queue = WorkQueue::new();
        queue.add("a");
        let key = queue.next().await;
        queue.add("a");
        queue.add("a");
        assert!(queue.is_empty());
        queue.done(&key);
        assert_eq!(queue.len(), 1);
        assert_eq!(queue.next().await, "a");
        queue.done(&key);
        assert!(queue.is_empty());
    }

    #[tokio::test]
    async fn delayed_keys_come_in_the_order_of_their_times_and_not_before() {
        let queue = WorkQueue::new();
        queue.add_after("late", Duration::from_millis(60));
        queue.add_after("soon", Duration::from_millis(30));
        let start = Instant::now();
        assert_eq!(queue.next().await, "soon");
        assert!(start.elapsed() >= Duration::from_millis(30));
        assert_eq!(queue.next().await, "late");
        assert!(start.elapsed() >= Duration::from_millis(60));
    }

    #[test]
    fn a_key_is_delayed_once_to_the_earliest_time() {
        let queue = WorkQueue::new();
        for seconds in (1..2000).rev() {
            queue.add_after("a", Duration::from_secs(seconds));
            queue.add_after("a", Duration::from_secs(seconds + 10));
        }
        let mut state = queue.inner.state.lock();
        assert!(state.delayed.len() <= 2 + OVERTAKEN_KEPT, "overtaken entries are swept out");
        state.release_due(Instant::now() + Duration::from_secs(2));
        assert_eq!(state.ready.len(), 1);
        state.take();
        state.release_due(Instant::now() + Duration::from_secs(4000));
        assert!(state.ready.is_empty() && state.due.is_empty());
    }

    #[test]
    fn back_off_doubles_up_to_a_minute() {
        assert_eq!(back_off(1), Duration::from_millis(5));
        assert_eq!(back_off(3), Duration::from_millis(20));
        assert_eq!(back_off(1000), LONGEST_DELAY);
    }

    #[test]
    fn forgetting_resets_the_back_off() {
        let queue = WorkQueue::new();
        (0..6).for_each(|_| queue.add_failed("a"));
        assert_eq!(queue.inner.state.lock().failures["a"], 6);
        queue.forget(&"a");
        assert!(queue.inner.state.lock().failures.is_empty());
    }
}

//! A watch that goes on where it was after a failure says nothing before there is something new. That it has not failed again for longer than
//! it waits between two attempts says so, too.

use std::time::Duration;
use tokio::time::Instant;

/// The longest pauses of kube's back-off, with all of its jitter: the first, doubled with every failure, and the last.
const FIRST: Duration = Duration::from_millis(1_600);
const LAST: Duration = Duration::from_secs(60);
/// For the attempt itself.
const ATTEMPT: Duration = Duration::from_secs(2);

/// What there is to wait for.
#[derive(Debug, Default)]
pub(super) struct Lull {
    failures: u32,
    over: Option<Instant>,
}

impl Lull {
    /// The watch has failed, and goes on by itself.
    pub(super) fn begin(&mut self) {
        self.begin_at(Instant::now());
    }

    fn begin_at(&mut self, now: Instant) {
        let pause = FIRST.saturating_mul(1 << self.failures.min(16)).min(LAST);
        self.failures = self.failures.saturating_add(1);
        self.over = Some(now + pause + ATTEMPT);
    }

    /// It has failed, and will say itself when it is over.
    pub(super) fn forget(&mut self) {
        self.over = None;
    }

    /// It showed something.
    pub(super) fn end(&mut self) {
        *self = Self::default();
    }

    /// Waits for what comes next; `None` if nothing comes for so long that the watch must be going on, once for each failure.
    pub(super) async fn wait<T>(&mut self, next: impl Future<Output = T>) -> Option<T> {
        let Some(over) = self.over else { return Some(next.await) };
        let outcome = tokio::time::timeout_at(over, next).await.ok();
        if outcome.is_none() {
            self.over = None;
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::{pending, ready};

    #[test]
    fn a_watch_is_waited_for_the_longer_the_oftener_it_has_failed_since_it_showed_something() {
        let (mut lull, now) = (Lull::default(), Instant::now());
        let tenths = |lull: &mut Lull| {
            lull.begin_at(now);
            (lull.over.unwrap() - now).as_millis() / 100
        };
        let mut waits = vec![];
        for _ in 0..8 {
            waits.push(tenths(&mut lull));
        }
        assert_eq!(waits, [36, 52, 84, 148, 276, 532, 620, 620]);
        lull.forget();
        assert_eq!(lull.over, None);
        assert_eq!(tenths(&mut lull), 620, "nothing was shown");
        lull.end();
        assert_eq!(tenths(&mut lull), 36);
    }

    #[tokio::test]
    async fn what_comes_first_is_answered_and_a_lull_once() {
        let mut lull = Lull::default();
        assert_eq!(lull.wait(ready(1)).await, Some(1));
        lull.begin_at(Instant::now() - LAST - ATTEMPT);
        assert_eq!(lull.wait(pending::<()>()).await, None);
        assert_eq!(lull.wait(ready(2)).await, Some(2));
        assert_eq!(lull.over, None);
    }
}

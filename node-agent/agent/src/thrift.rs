//! A thread's share of a processor: work is told here as it is done, and pauses make up for it. What the pauses are for, others decide.

use std::cell::Cell;
use std::ops::ControlFlow;
use std::time::Duration;

/// Pauses that are shorter wait until more work is done.
const SHORTEST_PAUSE: Duration = Duration::from_millis(5);

/// Keeps work to a share of one processor.
pub struct Thrift<S> {
    /// Pauses that are owed for work that has been done.
    debt: Cell<Duration>,
    sleep: S,
}

impl<S: Fn(Duration)> Thrift<S> {
    /// `sleep` is how it pauses.
    pub fn new(sleep: S) -> Self {
        Self { debt: Cell::new(Duration::ZERO), sleep }
    }

    /// Makes up for work that took so long and may take this share of a processor, from 0 to 1.
    pub fn spend(&self, work: Duration, share: f64) {
        let debt = self.debt.get() + pause_after(work, share);
        if debt < SHORTEST_PAUSE {
            return self.debt.set(debt);
        }
        self.debt.set(Duration::ZERO);
        (self.sleep)(debt);
    }

    /// A pace that keeps to a share, and ends the work once it `is_over`.
    pub fn pace(&self, share: impl Fn() -> f64, is_over: impl Fn() -> bool) -> impl FnMut(Duration) -> ControlFlow<()> {
        move |work| {
            self.spend(work, share());
            if is_over() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
    }
}

/// The pause that keeps work to its share.
fn pause_after(work: Duration, share: f64) -> Duration {
    work.mul_f64(1.0 / share - 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_keeps_to_its_share_of_a_processor() {
        for share in [0.05, 0.25, 0.5, 1.0] {
            let (work, pause) = (Duration::from_millis(10), pause_after(Duration::from_millis(10), share));
            assert!((work.as_secs_f64() / (work + pause).as_secs_f64() - share).abs() < 1e-6);
        }
    }

    #[test]
    fn short_pauses_are_owed_until_they_are_worth_it_and_none_is_lost() {
        let slept = Cell::new(Duration::ZERO);
        let times = Cell::new(0);
        let thrift = Thrift::new(|pause| {
            slept.set(slept.get() + pause);
            times.set(times.get() + 1);
        });
        let is_over = Cell::new(false);
        let mut pace = thrift.pace(|| 0.25, || is_over.get());
        // 3 ms of pause for each millisecond: every second time.
        for _ in 0..10 {
            assert!(pace(Duration::from_millis(1)).is_continue());
        }
        assert_eq!((slept.get(), times.get()), (Duration::from_millis(30), 5));
        is_over.set(true);
        assert!(pace(Duration::ZERO).is_break());
    }
}

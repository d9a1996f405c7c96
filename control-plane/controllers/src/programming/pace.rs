//! A bound on writes per second: a burst at once, then one after the other at a steady rate. When many objects change state together (a node
//! joined), others of the API server's clients are not held up.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Between two writes of a long row: 200 a second.
const GAP: Duration = Duration::from_millis(5);
const BURST: u32 = 50;

/// Whose turn it is.
#[derive(Default)]
pub(super) struct Pace {
    /// When the row of writes so far is over, were they made at the steady rate.
    over: Mutex<Option<Instant>>,
}

impl Pace {
    /// What is wanted, if anything, when its turn has come: as it is then, for the turn may be long in coming. Cancel-safe; a turn that is not used
    /// is lost.
    pub async fn in_turn<W>(&self, wanted: impl Fn() -> Option<W>) -> Option<W> {
        wanted()?;
        let wait = self.take(Instant::now());
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        wanted()
    }

    fn take(&self, now: Instant) -> Duration {
        let mut over = self.over.lock();
        let start = over.map_or(now, |over| over.max(now));
        *over = Some(start + GAP);
        (start - now).saturating_sub(GAP * BURST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_free_and_a_row_is_steady() {
        let (pace, now) = (Pace::default(), Instant::now());
        let waits: Vec<Duration> = (0..=BURST + 2).map(|_| pace.take(now)).collect();
        assert!(waits[..=BURST as usize].iter().all(Duration::is_zero));
        assert_eq!(waits[BURST as usize + 1..], [GAP, GAP * 2]);
        assert_eq!(pace.take(now + GAP * 200), Duration::ZERO);
    }
}

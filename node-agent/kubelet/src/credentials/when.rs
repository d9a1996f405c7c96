//! When a certificate is to be renewed. Pure: times in, decisions out.

use std::time::Duration;

/// Between these parts of a certificate's life it is renewed, at a moment that each picks for itself: nodes that were made together do not ask
/// together, and a tenth of the life is left for whatever keeps the renewal from succeeding (as the kubelet of Kubernetes does it).
const EARLIEST: f64 = 0.7;
const LATEST: f64 = 0.9;

/// The first pause after a failure, and the longest.
const FIRST_RETRY: Duration = Duration::from_secs(2);
const LONGEST_RETRY: Duration = Duration::from_secs(300);

/// From when until when a certificate is good, in Unix seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    pub not_before: i64,
    pub not_after: i64,
}

/// What is to be done about a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing for this long.
    Wait(Duration),
    /// Renew it; it can still be used for that.
    Renew,
    /// It has ended.
    Over,
}

/// The moment of renewal in Unix seconds. `share` of 0 is the earliest, 1 the latest one.
pub fn due(validity: Validity, share: f64) -> i64 {
    let life = validity.not_after.saturating_sub(validity.not_before).max(0);
    // Lives are far below 2^52 seconds.
    let part = life as f64 * (EARLIEST + (LATEST - EARLIEST) * share.clamp(0.0, 1.0));
    validity.not_before.saturating_add(part as i64)
}

/// What is to be done at `now` (Unix seconds). A certificate is over in the second in which it ends. A clock that was put back changes nothing but
/// the wait: who judges the certificate has a clock of its own.
pub fn step(validity: Validity, share: f64, now: i64) -> Step {
    let due = due(validity, share);
    if now >= validity.not_after {
        Step::Over
    } else if now >= due {
        Step::Renew
    } else {
        Step::Wait(Duration::from_secs(due.saturating_sub(now).unsigned_abs()))
    }
}

/// How long to wait after this many failures in a row: twice as long each time, up to five minutes, less up to a half by `share` (0 to 1).
pub fn retry(failures: u32, share: f64) -> Duration {
    let full = FIRST_RETRY.saturating_mul(2u32.saturating_pow(failures.saturating_sub(1).min(16))).min(LONGEST_RETRY);
    full.mul_f64(1.0 - share.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DAY: Validity = Validity { not_before: 1_000_000, not_after: 1_100_000 };

    #[test]
    fn a_certificate_is_renewed_between_seven_and_nine_tenths_of_its_life() {
        assert_eq!(due(DAY, 0.0), 1_070_000);
        assert_eq!(due(DAY, 1.0), 1_090_000);
        assert_eq!(step(DAY, 0.0, 1_000_000), Step::Wait(Duration::from_secs(70_000)));
        assert_eq!(step(DAY, 0.0, 1_069_999), Step::Wait(Duration::from_secs(1)));
        assert_eq!(step(DAY, 0.0, 1_070_000), Step::Renew);
        assert_eq!(step(DAY, 1.0, 1_089_000), Step::Wait(Duration::from_secs(1000)));
        assert_eq!(step(DAY, 1.0, 1_099_999), Step::Renew);
        assert_eq!(step(DAY, 1.0, 1_100_000), Step::Over);
    }

    #[test]
    fn a_clock_that_was_put_back_waits_and_one_far_ahead_ends() {
        assert_eq!(step(DAY, 0.0, 0), Step::Wait(Duration::from_secs(1_070_000)));
        assert_eq!(step(DAY, 0.5, i64::MAX), Step::Over);
        let empty = Validity { not_before: 5, not_after: 5 };
        assert_eq!(step(empty, 0.5, 5), Step::Over);
    }

    #[test]
    fn failures_are_retried_ever_more_slowly() {
        let seconds: Vec<u64> = [0, 1, 2, 3, 8, 9, u32::MAX].map(|failures| retry(failures, 0.0).as_secs()).into();
        assert_eq!(seconds, [2, 2, 4, 8, 256, 300, 300]);
        assert_eq!(retry(1, 1.0), Duration::from_secs(1));
    }

    proptest! {
        #[test]
        fn the_moment_is_always_within_the_bounds(start in 0i64..4_000_000_000, life in 1i64..400_000_000, share in 0.0f64..1.0) {
            let validity = Validity { not_before: start, not_after: start + life };
            let at = due(validity, share);
            prop_assert!(at >= start + life * 7 / 10 - 1 && at <= start + life * 9 / 10 + 1);
            prop_assert!(at < validity.not_after || life < 10);
        }
    }
}

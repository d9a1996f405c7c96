//! How long a failed daemon pod stays before it is replaced, so that a node which fails every pod at once is not flooded with them.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(15 * 60);
/// Without a failure for so long, the count starts anew.
const FORGIVEN: Duration = Duration::from_secs(30 * 60);

/// Failures by DaemonSet uid and node.
#[derive(Default)]
pub(super) struct Backoff {
    failures: Mutex<HashMap<(String, String), Failure>>,
}

struct Failure {
    wait: Duration,
    since: Instant,
}

impl Backoff {
    /// Zero when a failed pod may be replaced at once, which counts as one more failure; else how long to wait.
    pub fn replace(&self, uid: &str, node: &str, now: Instant) -> Duration {
        let mut failures = self.failures.lock();
        failures.retain(|_, failure| now.duration_since(failure.since) < FORGIVEN);
        let key = (uid.to_owned(), node.to_owned());
        let Some(failure) = failures.get_mut(&key) else {
            failures.insert(key, Failure { wait: FIRST, since: now });
            return Duration::ZERO;
        };
        let left = failure.wait.saturating_sub(now.duration_since(failure.since));
        if left.is_zero() {
            *failure = Failure { wait: (failure.wait * 2).min(LONGEST), since: now };
        }
        left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_in_a_row_waits_twice_as_long() {
        let (backoff, start) = (Backoff::default(), Instant::now());
        let at = |millis: u64| backoff.replace("u", "n", start + Duration::from_millis(millis));
        assert_eq!(at(0), Duration::ZERO);
        assert_eq!(at(400), Duration::from_millis(600));
        assert_eq!(at(1000), Duration::ZERO);
        assert_eq!(at(1500), Duration::from_millis(1500));
        assert_eq!(backoff.replace("u", "other", start), Duration::ZERO);
        assert_eq!(at(3_600_000), Duration::ZERO);
    }
}

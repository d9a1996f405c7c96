//! Delays that double, for restarts of containers and pulls of images: 10 s, 20 s, … 300 s, forgotten after twice the longest delay
//! without a failure. Pure: time comes in as a value.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::jiff::{SignedDuration, Timestamp};

/// The first delay.
pub const FIRST: Duration = Duration::from_secs(10);
/// The longest delay.
pub const LONGEST: Duration = Duration::from_secs(300);

/// Delays by key.
#[derive(Clone, Debug, Default)]
pub struct Backoff {
    entries: BTreeMap<String, Entry>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    delay: Duration,
    updated: Timestamp,
}

impl Backoff {
    /// When the next try after an event (a container's end, a failed pull) is due, if that is still in the future; with the delay.
    pub fn held(&self, key: &str, event: Timestamp, now: Timestamp) -> Option<(Timestamp, Duration)> {
        let entry = self.entries.get(key)?;
        if entry.expired(event) {
            return None;
        }
        let due = event.checked_add(signed(entry.delay)).ok()?;
        (due > now).then_some((due, entry.delay))
    }

    /// Records a try after the event: the next delay is twice as long, or the first one again after a long quiet time.
    pub fn advance(&mut self, key: &str, event: Timestamp, now: Timestamp) {
        let delay = match self.entries.get(key) {
            Some(entry) if !entry.expired(event) => (entry.delay * 2).min(LONGEST),
            _ => FIRST,
        };
        self.entries.insert(key.to_owned(), Entry { delay, updated: now });
    }

    /// The delay after the next failure, if there was a failure before.
    pub fn delay(&self, key: &str) -> Option<Duration> {
        self.entries.get(key).map(|entry| entry.delay)
    }

    /// Takes over a delay that was in force at `updated`, from before this process began; what is known already stays.
    pub fn recall(&mut self, key: &str, delay: Duration, updated: Timestamp) {
        self.entries.entry(key.to_owned()).or_insert(Entry { delay: delay.clamp(FIRST, LONGEST), updated });
    }

    /// Forgets a key after a success.
    pub fn forget(&mut self, key: &str) {
        self.entries.remove(key);
    }
}

impl Entry {
    fn expired(&self, event: Timestamp) -> bool {
        event.duration_since(self.updated) > signed(LONGEST * 2)
    }
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn the_first_restart_is_immediate_and_delays_double_up_to_the_longest() {
        let mut backoff = Backoff::default();
        let mut now = 1000;
        assert_eq!(backoff.held("c", at(now), at(now)), None);
        for want in [10, 20, 40, 80, 160, 300, 300] {
            backoff.advance("c", at(now), at(now));
            let (due, delay) = backoff.held("c", at(now + 1), at(now + 1)).unwrap();
            assert_eq!(delay, Duration::from_secs(want));
            assert_eq!(due, at(now + 1 + want as i64));
            now += 1 + want as i64;
            assert_eq!(backoff.held("c", at(now - want as i64), at(now)), None, "due now");
        }
    }

    #[test]
    fn ten_quiet_minutes_reset_the_delay() {
        let mut backoff = Backoff::default();
        backoff.advance("c", at(0), at(0));
        backoff.advance("c", at(20), at(20));
        assert_eq!(backoff.held("c", at(20 + 601), at(20 + 601)), None);
        backoff.advance("c", at(20 + 601), at(20 + 601));
        assert_eq!(backoff.held("c", at(622), at(622)).unwrap().1, FIRST);
    }

    #[test]
    fn a_recalled_delay_goes_on_where_it_was() {
        let mut backoff = Backoff::default();
        backoff.recall("c", Duration::from_secs(40), at(100));
        backoff.recall("c", Duration::from_secs(10), at(100));
        assert_eq!(backoff.held("c", at(101), at(102)), Some((at(141), Duration::from_secs(40))));
        backoff.advance("c", at(141), at(141));
        assert_eq!(backoff.delay("c"), Some(Duration::from_secs(80)));
    }

    proptest! {
        #[test]
        fn a_delay_is_never_outside_of_its_bounds(steps in prop::collection::vec(0i64..2000, 1..40)) {
            let mut backoff = Backoff::default();
            let mut now = 0;
            for step in steps {
                now += step;
                backoff.advance("c", at(now), at(now));
                if let Some((_, delay)) = backoff.held("c", at(now), at(now)) {
                    prop_assert!(delay >= FIRST && delay <= LONGEST);
                }
            }
        }
    }
}

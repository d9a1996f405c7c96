//! Pure: how long each quota is left alone after a count, so that counting takes a fifth of the time at most, whatever wakes it.

use std::collections::HashMap;
use std::time::Duration;

use orknet_reconciler::ObjectKey;
use parking_lot::Mutex;
use tokio::time::Instant;

/// Rest after a count, in times of what it took.
const REST: u32 = 4;
/// The longest rest: what went is free again after that much and a count.
const LONGEST_REST: Duration = Duration::from_secs(30);

/// When each quota may be counted next.
#[derive(Default)]
pub(super) struct Paces(Mutex<HashMap<ObjectKey, Instant>>);

impl Paces {
    /// How long to wait with the next count; `None`: not at all.
    pub fn rest(&self, key: &ObjectKey, now: Instant) -> Option<Duration> {
        let next = *self.0.lock().get(key)?;
        Some(next.saturating_duration_since(now)).filter(|rest| !rest.is_zero())
    }

    /// A count has ended, well or not.
    pub fn counted(&self, key: &ObjectKey, began: Instant, ended: Instant) {
        let rest = ended.saturating_duration_since(began).saturating_mul(REST).min(LONGEST_REST);
        self.0.lock().insert(key.clone(), ended + rest);
    }

    /// The quota is no more.
    pub fn forget(&self, key: &ObjectKey) {
        self.0.lock().remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_long_is_done_seldom() {
        let (paces, start) = (Paces::default(), Instant::now());
        let key = ObjectKey { namespace: "n".into(), name: "q".into() };
        let (at, second) = (|millis: u64| start + Duration::from_millis(millis), Duration::from_secs(1));
        assert_eq!(paces.rest(&key, start), None);
        paces.counted(&key, start, at(250));
        assert_eq!(paces.rest(&key, at(250)), Some(second));
        assert_eq!(paces.rest(&key, at(750)), Some(second / 2));
        assert_eq!(paces.rest(&key, at(1250)), None);
        // A server that hangs for minutes does not make a quota wait for as many.
        paces.counted(&key, at(2000), at(602_000));
        assert_eq!(paces.rest(&key, at(602_000)), Some(LONGEST_REST));
        paces.forget(&key);
        assert_eq!(paces.rest(&key, at(602_000)), None);
    }
}

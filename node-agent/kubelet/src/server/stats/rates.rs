//! From counters of processor time to a rate: remembers what was read before. Time is given by the caller.

use std::collections::HashMap;

use parking_lot::Mutex;

/// Readings nearer to each other than this say nothing; the rate before stands. In nanoseconds.
const SHORTEST: u64 = 1_000_000_000;
/// A reading older than this is no start of a window any more.
const LONGEST: u64 = 120_000_000_000;

/// What was read last, by cgroup.
#[derive(Default)]
pub struct Rates(Mutex<HashMap<String, Known>>);

#[derive(Clone, Copy)]
struct Known {
    at: u64,
    cpu: u64,
    rate: Option<u64>,
}

impl Rates {
    /// The rate since the reading before, in billionths of a CPU; none at first, after a long time, and when the counter began anew. `at` and `cpu` in
    /// nanoseconds.
    pub fn rate(&self, id: &str, at: u64, cpu: u64) -> Option<u64> {
        let mut known = self.0.lock();
        let before = known.get(id).copied();
        if let Some(before) = before.filter(|before| at.saturating_sub(before.at) < SHORTEST && cpu >= before.cpu) {
            return before.rate;
        }
        let usable = before.filter(|before| cpu >= before.cpu && at.saturating_sub(before.at) <= LONGEST);
        let rate = usable.and_then(|before| {
            let rate = u128::from(cpu - before.cpu) * 1_000_000_000 / u128::from(at.saturating_sub(before.at).max(1));
            u64::try_from(rate).ok()
        });
        known.insert(id.to_owned(), Known { at, cpu, rate });
        rate
    }

    /// Forgets what was not read for so long that it is of no use.
    pub fn forget_before(&self, at: u64) {
        self.0.lock().retain(|_, known| at.saturating_sub(known.at) <= LONGEST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_rate_is_over_the_time_between_readings() {
        let rates = Rates::default();
        assert_eq!(rates.rate("a", 100 * SECOND, 5 * SECOND), None);
        assert_eq!(rates.rate("a", 110 * SECOND, 10 * SECOND), Some(SECOND / 2));
        assert_eq!(rates.rate("a", 110 * SECOND + 5, 11 * SECOND), Some(SECOND / 2), "too near");
        assert_eq!(rates.rate("a", 120 * SECOND, 10 * SECOND), Some(0));
        assert_eq!(rates.rate("b", 120 * SECOND, 10 * SECOND), None, "another");
        assert_eq!(rates.rate("a", 121 * SECOND, SECOND), None, "began anew");
        assert_eq!(rates.rate("a", 123 * SECOND, 2 * SECOND), Some(SECOND / 2));
        assert_eq!(rates.rate("a", 1123 * SECOND, 3 * SECOND), None, "too long ago");
        rates.forget_before(2000 * SECOND);
        assert_eq!(rates.rate("a", 2001 * SECOND, 4 * SECOND), None, "forgotten");
    }
}

//! Counts a probe's results until a threshold turns its verdict. Pure.

use std::time::Duration;

use k8s_openapi::api::core::v1::Probe;

/// What a probe is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ProbeKind {
    /// Until it succeeds, the other probes wait.
    Startup,
    /// Its failure restarts the container.
    Liveness,
    /// Its verdict is the container's readiness.
    Readiness,
}

impl ProbeKind {
    /// Lower-case name, as in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Startup => "startup",
            Self::Liveness => "liveness",
            Self::Readiness => "readiness",
        }
    }

    /// Capitalised name, as events begin.
    pub fn title(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Liveness => "Liveness",
            Self::Readiness => "Readiness",
        }
    }
}

/// One result, with what to tell people on failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It answered well.
    Success,
    /// It answered badly or not at all.
    Failure(String),
    /// It could not be asked, as when the runtime is away: that says nothing about the container.
    Unknown(String),
}

impl From<Result<(), String>> for Outcome {
    fn from(asked: Result<(), String>) -> Self {
        asked.map_or_else(Self::Failure, |()| Self::Success)
    }
}

/// Timing and thresholds of a probe, with the API's defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Time from the container's start to the first probe.
    pub initial_delay: Duration,
    /// Time between probes.
    pub period: Duration,
    /// Time limit of one probe.
    pub timeout: Duration,
    /// Successes in a row that turn the verdict.
    pub success_threshold: u32,
    /// Failures in a row that turn the verdict.
    pub failure_threshold: u32,
}

impl Settings {
    /// The settings of a declared probe.
    pub fn of(probe: &Probe) -> Self {
        let seconds = |value: Option<i32>, default: u64| {
            Duration::from_secs(value.and_then(|v| u64::try_from(v).ok()).filter(|v| *v > 0).unwrap_or(default))
        };
        let count = |value: Option<i32>, default: u32| value.and_then(|v| u32::try_from(v).ok()).filter(|v| *v > 0).unwrap_or(default);
        Self {
            initial_delay: seconds(probe.initial_delay_seconds, 0),
            period: seconds(probe.period_seconds, 10),
            timeout: seconds(probe.timeout_seconds, 1),
            success_threshold: count(probe.success_threshold, 1),
            failure_threshold: count(probe.failure_threshold, 3),
        }
    }
}

/// Results in a row.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tracker {
    good: bool,
    run: u32,
}

impl Tracker {
    /// Counts a result; answers with the verdict when the row is long enough for one.
    pub fn observe(&mut self, good: bool, settings: &Settings) -> Option<bool> {
        self.run = if self.run > 0 && self.good == good { self.run.saturating_add(1) } else { 1 };
        self.good = good;
        let threshold = if good { settings.success_threshold } else { settings.failure_threshold };
        (self.run >= threshold).then_some(good)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn settings(success_threshold: u32, failure_threshold: u32) -> Settings {
        Settings { success_threshold, failure_threshold, ..Settings::of(&Probe::default()) }
    }

    #[test]
    fn verdicts_turn_at_their_thresholds() {
        let settings = settings(2, 3);
        let mut tracker = Tracker::default();
        let results = [true, true, false, false, true, false, false, false, false, true, true];
        let verdicts: Vec<_> = results.iter().map(|r| tracker.observe(*r, &settings)).collect();
        let (yes, no) = (Some(true), Some(false));
        assert_eq!(verdicts, [None, yes, None, None, None, None, None, no, no, None, yes]);
    }

    #[test]
    fn absent_and_senseless_settings_have_the_defaults() {
        let probe = Probe { period_seconds: Some(0), timeout_seconds: Some(-1), ..Probe::default() };
        let made = Settings::of(&probe);
        assert_eq!((made.period, made.timeout), (Duration::from_secs(10), Duration::from_secs(1)));
        assert_eq!((made.success_threshold, made.failure_threshold), (1, 3));
    }

    proptest! {
        #[test]
        fn a_verdict_needs_a_full_row(results in prop::collection::vec(any::<bool>(), 1..60), s in 1u32..5, f in 1u32..5) {
            let settings = settings(s, f);
            let mut tracker = Tracker::default();
            for (index, result) in results.iter().enumerate() {
                let verdict = tracker.observe(*result, &settings);
                let row = results[..=index].iter().rev().take_while(|r| *r == result).count() as u32;
                prop_assert_eq!(verdict.is_some(), row >= if *result { s } else { f });
            }
        }
    }
}

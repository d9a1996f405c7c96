//! What became of the tests of a suite, in few lines at its very end: of a long log, often only the last part is kept.

use libtest_mimic::Failed;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How many of the slowest tests are named.
const SLOWEST: usize = 8;
/// Lines of a failure that tell its cause, and characters of these: a failed command's first line is the command.
const LINES: usize = 4;
const CHARACTERS: usize = 500;

/// Tests that have begun.
#[derive(Debug, Default)]
pub struct Record {
    tests: Mutex<Vec<Followed>>,
}

#[derive(Debug)]
struct Followed {
    name: &'static str,
    took: Duration,
    /// Why it failed; until it has ended, it has panicked.
    failure: Option<String>,
}

impl Record {
    /// Runs a test, and remembers how long it took and what it failed of.
    ///
    /// # Errors
    /// The test's own.
    pub fn follow(&self, name: &'static str, run: impl FnOnce() -> Result<(), Failed>) -> Result<(), Failed> {
        let start = Instant::now();
        let place = {
            let mut tests = self.tests.lock().unwrap_or_else(PoisonError::into_inner);
            tests.push(Followed { name, took: Duration::ZERO, failure: Some("panicked".to_owned()) });
            tests.len() - 1
        };
        let outcome = run();
        let failure = outcome.as_ref().err().map(|failed| cause(failed.message().unwrap_or_default()));
        self.tests.lock().unwrap_or_else(PoisonError::into_inner)[place] = Followed { name, took: start.elapsed(), failure };
        outcome
    }

    /// A line with the slowest tests, and one for each that failed.
    pub fn summary(&self) -> String {
        let mut tests = self.tests.lock().unwrap_or_else(PoisonError::into_inner);
        tests.sort_by_key(|test| std::cmp::Reverse(test.took));
        let slowest: Vec<String> =
            tests.iter().take(SLOWEST).map(|test| format!("{} {:.1} s", test.name, test.took.as_secs_f32())).collect();
        let failed = tests.iter().filter_map(|test| Some(format!("FAILED {}: {}\n", test.name, test.failure.as_ref()?)));
        format!("slowest: {}\n{}", slowest.join(", "), failed.collect::<String>())
    }
}

/// The beginning of a failure's message, in a line.
fn cause(message: &str) -> String {
    let lines: Vec<&str> = message.lines().map(str::trim).filter(|line| !line.is_empty()).take(LINES).collect();
    lines.join(" | ").chars().take(CHARACTERS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_names_every_failed_test_with_the_beginning_of_its_cause() {
        let record = Record::default();
        record.follow("good", || Ok(())).unwrap();
        let long = format!("waited for it:\n\n  it is away\na\nb\nc{}", "x".repeat(CHARACTERS));
        record.follow("bad", || Err(long.into())).unwrap_err();
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| record.follow("worse", || panic!("no"))));
        assert!(panicked.is_err());
        let summary = record.summary();
        let mut failed: Vec<&str> = summary.lines().skip(1).collect();
        failed.sort_unstable();
        assert_eq!(failed, ["FAILED bad: waited for it: | it is away | a | b", "FAILED worse: panicked"]);
        assert!(summary.starts_with("slowest: ") && summary.contains("good 0.0 s"), "{summary}");
        assert_eq!(cause(&"x".repeat(CHARACTERS + 1)).len(), CHARACTERS);
    }
}

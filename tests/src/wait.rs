//! Waiting for a condition with a deadline, in place of sleeping for luck.

use anyhow::{Result, bail};
use std::time::{Duration, Instant};

/// One deadline for all: long enough that a busy machine never reaches it. How fast something is is a question for benchmarks.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

/// Repeats `check` until it gives a value. What it failed with last is part of the error when three minutes are over.
pub fn eventually<T>(what: &str, mut check: impl FnMut() -> Result<T>) -> Result<T> {
    let end = Instant::now() + PATIENCE;
    loop {
        match check() {
            Ok(value) => return Ok(value),
            Err(error) if Instant::now() > end => bail!("waited {PATIENCE:?} for {what}: {error:#}"),
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}

//! Waiting for a condition with a deadline, in place of sleeping for luck.

use anyhow::{Result, bail};
use std::time::{Duration, Instant};

/// Repeats `check` until it gives a value. What it failed with last is part of the error when `seconds` are over.
pub fn eventually<T>(what: &str, seconds: u64, mut check: impl FnMut() -> Result<T>) -> Result<T> {
    let end = Instant::now() + Duration::from_secs(seconds);
    loop {
        match check() {
            Ok(value) => return Ok(value),
            Err(error) if Instant::now() > end => bail!("waited {seconds} s for {what}: {error:#}"),
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}

//! Panics that parts of Orknet tell of in their logs. None may, whatever a test does; a run in which one did has failed.

use std::sync::{Mutex, PoisonError};

static FOUND: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Remembers the lines of a log that tell of a panic.
pub fn note(source: &str, log: &str) {
    let lines = log.lines().filter(|line| line.contains("panicked")).map(|line| format!("{source}: {line}"));
    FOUND.lock().unwrap_or_else(PoisonError::into_inner).extend(lines);
}

/// What was remembered since this program began.
pub fn found() -> Vec<String> {
    FOUND.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_that_tell_of_a_panic_are_remembered() {
        note("server", "all is well\nthread 'main' panicked at src/main.rs:1:2:\nno\n");
        assert_eq!(found(), ["server: thread 'main' panicked at src/main.rs:1:2:"]);
    }
}

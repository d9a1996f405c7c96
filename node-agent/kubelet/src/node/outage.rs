//! What is tried again and again and fails: told when it begins and when it is over, not each time.

use std::fmt::Display;

/// Whether one kind of work fails at present.
pub(super) struct Outage {
    /// For the log, as in `lease not renewed`.
    what: &'static str,
    failing: bool,
}

impl Outage {
    pub(super) fn new(what: &'static str) -> Self {
        Self { what, failing: false }
    }

    /// It failed once more.
    pub(super) fn failed(&mut self, error: &dyn Display) {
        if std::mem::replace(&mut self.failing, true) {
            tracing::debug!(%error, "still: {}", self.what);
        } else {
            tracing::warn!(%error, "{}; trying again until it works", self.what);
        }
    }

    /// It worked.
    pub(super) fn over(&mut self) {
        if std::mem::replace(&mut self.failing, false) {
            tracing::info!("over: {}", self.what);
        }
    }
}

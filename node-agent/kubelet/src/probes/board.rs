//! What is known about the health of every running container, shared by probers (which write) and pod workers (which read).

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::tracker::ProbeKind;

/// A container's health.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Its startup probe has succeeded, or it has none.
    pub started: bool,
    /// Its readiness probe says so, or it has none.
    pub ready: bool,
    /// A probe demands a restart.
    pub failed: Option<Failure>,
}

/// A verdict that demands a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The probe.
    pub probe: ProbeKind,
    /// The probe's own grace period for the stop.
    pub grace_seconds: Option<i64>,
}

/// The health of one pod's containers, by container id.
#[derive(Clone, Debug)]
pub struct Board {
    entries: Arc<Mutex<HashMap<String, Health>>>,
    changed: watch::Sender<u64>,
}

impl Default for Board {
    fn default() -> Self {
        Self { entries: Arc::default(), changed: watch::Sender::new(0) }
    }
}

impl Board {
    /// A copy of all entries.
    pub fn snapshot(&self) -> HashMap<String, Health> {
        self.entries.lock().clone()
    }

    /// One entry.
    pub fn get(&self, id: &str) -> Option<Health> {
        self.entries.lock().get(id).cloned()
    }

    /// Adds an entry; an existing one stays.
    pub fn add(&self, id: &str, health: Health) {
        self.entries.lock().entry(id.to_owned()).or_insert(health);
    }

    /// Keeps only the entries for which `keep` holds.
    pub fn retain(&self, keep: impl Fn(&str) -> bool) {
        self.entries.lock().retain(|id, _| keep(id));
    }

    /// Changes an entry, and tells everyone who waits if it is another one now.
    pub fn update(&self, id: &str, change: impl FnOnce(&mut Health)) {
        let moved = {
            let mut entries = self.entries.lock();
            let Some(entry) = entries.get_mut(id) else { return };
            let before = entry.clone();
            change(entry);
            *entry != before
        };
        if moved {
            self.changed.send_modify(|version| *version += 1);
        }
    }

    /// A receiver that sees every change from now on.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}

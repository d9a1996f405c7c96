//! Which Services lead to a backend: what a client may have asked for whose packets show the backend alone.

use orknet_abi::Backend;
use orknet_compiler::{ObjectName, State};
use std::collections::{HashMap, HashSet};

/// A protocol (IANA) and a backend.
pub type Target = (u8, Backend);

/// Targets that are remembered.
const MOST: usize = 4_096;

/// What was asked of the state lately: each question takes a look at all endpoints, and what is refused is refused again and again.
#[derive(Debug, Default)]
pub struct Leads {
    known: HashMap<Target, Vec<ObjectName>>,
}

impl Leads {
    /// Services or their endpoints have changed.
    pub fn forget(&mut self) {
        self.known.clear();
    }

    /// Sees to it that these are known, with one look at all endpoints at most.
    pub fn ask(&mut self, targets: HashSet<Target>, state: &State) {
        let unknown: HashSet<_> = targets.into_iter().filter(|target| !self.known.contains_key(target)).collect();
        if unknown.is_empty() {
            return;
        }
        if self.known.len() + unknown.len() > MOST {
            self.forget();
        }
        let mut found = state.services_leading_to(&unknown);
        self.known.extend(unknown.into_iter().map(|target| (target, found.remove(&target).unwrap_or_default())));
    }

    /// The Services that lead to a target that was asked for, ascending by name.
    pub fn of(&self, target: &Target) -> &[ObjectName] {
        self.known.get(target).map_or(&[], Vec::as_slice)
    }
}

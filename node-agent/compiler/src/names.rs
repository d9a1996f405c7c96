//! One copy of every string that repeats: node names, zones, port names, namespaces.

use crate::facts::{Labels, NamedPort};
use std::collections::HashSet;
use std::sync::Arc;

/// Strings seen so far. Equal strings share one allocation.
#[derive(Debug, Default)]
pub struct Names {
    known: HashSet<Arc<str>>,
    sweep_at: usize,
    labels: HashSet<Labels>,
    sweep_labels_at: usize,
    ports: HashSet<Arc<[NamedPort]>>,
}

impl Names {
    /// The shared copy of `text`.
    pub fn intern(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.known.get(text) {
            return Arc::clone(known);
        }
        if self.known.len() >= self.sweep_at {
            self.known.retain(|name| Arc::strong_count(name) > 1);
            self.sweep_at = 2 * self.known.len().max(512);
        }
        let name: Arc<str> = text.into();
        self.known.insert(Arc::clone(&name));
        name
    }

    /// The shared copy of a set of labels.
    pub fn labels<'a>(&mut self, pairs: impl IntoIterator<Item = (&'a String, &'a String)>) -> Labels {
        let labels = Labels::new(pairs.into_iter().map(|(key, value)| (self.intern(key), self.intern(value))));
        if let Some(known) = self.labels.get(&labels) {
            return known.clone();
        }
        if self.labels.len() >= self.sweep_labels_at {
            self.labels.retain(|labels| labels.sharers() > 1);
            self.sweep_labels_at = 2 * self.labels.len().max(512);
        }
        self.labels.insert(labels.clone());
        labels
    }

    /// The shared copy of a pod's ports. Few differ.
    pub(crate) fn ports(&mut self, ports: Vec<NamedPort>) -> Arc<[NamedPort]> {
        if let Some(known) = self.ports.get(ports.as_slice()) {
            return Arc::clone(known);
        }
        if self.ports.len() >= 4_096 {
            self.ports.retain(|ports| Arc::strong_count(ports) > 1);
        }
        let ports: Arc<[NamedPort]> = ports.into();
        self.ports.insert(Arc::clone(&ports));
        ports
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_strings_share_one_allocation() {
        let mut names = Names::default();
        assert!(Arc::ptr_eq(&names.intern("zone-a"), &names.intern("zone-a")));
    }

    #[test]
    fn strings_that_nobody_uses_are_let_go() {
        let mut names = Names::default();
        let kept = names.intern("kept");
        for number in 0..10_000 {
            names.intern(&number.to_string());
        }
        assert!(names.known.len() <= 2048, "{} strings are held", names.known.len());
        assert!(Arc::ptr_eq(&kept, &names.intern("kept")));
    }
}

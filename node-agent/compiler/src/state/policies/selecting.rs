//! Which NetworkPolicies select a pod, kept once for all pods of which the same is so: a policy that selects a hundred pods as ten thousand others do
//! is put in or taken out once.

use super::locals::Locals;
use std::collections::hash_map::{DefaultHasher, Entry};
use std::collections::{BTreeSet, HashMap};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// Names of NetworkPolicies of one namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Selecting {
    /// Of the names: what differs in it differs. It spares most comparisons.
    print: u64,
    names: BTreeSet<Arc<str>>,
}

impl Selecting {
    pub fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.names.iter()
    }

    fn set(&mut self, name: &Arc<str>, is_in: bool) {
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        if is_in && self.names.insert(Arc::clone(name)) {
            self.print = self.print.wrapping_add(hasher.finish());
        } else if !is_in && self.names.remove(name) {
            self.print = self.print.wrapping_sub(hasher.finish());
        }
    }
}

impl FromIterator<Arc<str>> for Selecting {
    fn from_iter<I: IntoIterator<Item = Arc<str>>>(names: I) -> Self {
        let mut all = Self::default();
        names.into_iter().for_each(|name| all.set(&name, true));
        all
    }
}

/// A policy that begins or ceases to select pods: those that share what selects them go on doing so.
#[derive(Default)]
pub(super) struct Moving(HashMap<*const Selecting, (Arc<Selecting>, Vec<Arc<str>>)>);

impl Moving {
    /// An attachment's pod is one of these.
    pub fn take(&mut self, name: &Arc<str>, selecting: Arc<Selecting>) {
        // As long as the first is kept, its place is nobody else's.
        let (_, names) = self.0.entry(Arc::as_ptr(&selecting)).or_insert_with(|| (selecting, Vec::new()));
        names.push(Arc::clone(name));
    }

    /// What selects them now. Only what pods that are not concerned share too is copied.
    pub fn set(self, policy: &Arc<str>, is_in: bool) -> impl Iterator<Item = (Arc<str>, Arc<Selecting>)> {
        self.0.into_values().flat_map(move |(mut selecting, names)| {
            Arc::make_mut(&mut selecting).set(policy, is_in);
            names.into_iter().map(move |name| (name, Arc::clone(&selecting)))
        })
    }
}

/// What selects pods, by namespace and print, to be found by those that are alike: after changes these may be so again.
#[derive(Default)]
pub(super) struct Shared {
    known: HashMap<(Arc<str>, u64), Arc<Selecting>>,
    namespaces: BTreeSet<Arc<str>>,
}

impl Shared {
    /// The one that is kept of what is equal to this.
    pub fn of(&mut self, namespace: &Arc<str>, selecting: Arc<Selecting>, locals: &Locals) -> Arc<Selecting> {
        if self.namespaces.insert(Arc::clone(namespace)) {
            locals.selecting_in(namespace).for_each(|known| drop(self.keep(namespace, Arc::clone(known))));
        }
        self.keep(namespace, selecting)
    }

    fn keep(&mut self, namespace: &Arc<str>, selecting: Arc<Selecting>) -> Arc<Selecting> {
        match self.known.entry((Arc::clone(namespace), selecting.print)) {
            Entry::Occupied(known) if Arc::ptr_eq(known.get(), &selecting) || **known.get() == *selecting => Arc::clone(known.get()),
            // Two prints that are equal by chance.
            Entry::Occupied(_) => selecting,
            Entry::Vacant(free) => Arc::clone(free.insert(selecting)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(names: &[&str]) -> Arc<Selecting> {
        Arc::new(names.iter().map(|name| Arc::from(*name)).collect())
    }

    #[test]
    fn what_all_share_is_changed_in_its_place_and_what_others_share_is_copied() {
        let (common, kept) = (of(&["a", "b"]), of(&["b"]));
        let place = Arc::as_ptr(&common);
        let mut moving = Moving::default();
        moving.take(&"first".into(), Arc::clone(&common));
        moving.take(&"second".into(), common);
        moving.take(&"third".into(), Arc::clone(&kept));
        let moved: HashMap<_, _> = moving.set(&"c".into(), true).collect();
        assert!(["first", "second"].iter().all(|name| std::ptr::eq(Arc::as_ptr(&moved[*name]), place)));
        assert_eq!((&moved["first"], &moved["third"], &kept), (&of(&["a", "b", "c"]), &of(&["b", "c"]), &of(&["b"])));
    }

    #[test]
    fn a_print_is_that_of_the_names_however_they_came() {
        let mut one = Selecting::clone(&of(&["a", "b"]));
        one.set(&"c".into(), true);
        one.set(&"c".into(), true);
        one.set(&"a".into(), false);
        one.set(&"x".into(), false);
        assert_eq!(one, *of(&["c", "b"]));
        assert_ne!(one.print, of(&["c", "a"]).print);
    }
}

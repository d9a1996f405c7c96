//! The kinds that are served, looked up by group, version and plural, and what may be done to each. Knows no kind by name.

use orknet_resources::{Descriptor, Resource, Scope};
use std::collections::{BTreeMap, HashMap};

/// A kind of the registry.
pub type Kind = &'static dyn Resource;

/// Group and plural that objects are stored under.
pub type StoredAs = (&'static str, &'static str);

/// Every kind of this server.
pub struct Kinds {
    by_path: HashMap<(&'static str, &'static str, &'static str), Kind>,
    /// By the place of the objects that they are companions of.
    companions: HashMap<StoredAs, Kind>,
    all: Vec<Kind>,
}

impl Kinds {
    /// Indexes the registry.
    pub fn new(registry: &[Kind]) -> Self {
        let by_path = registry.iter().map(|kind| {
            let names = kind.descriptor();
            ((names.group, names.version, names.plural), *kind)
        });
        let companions = registry.iter().filter_map(|kind| Some((kind.descriptor().companion_of?, *kind)));
        Self { by_path: by_path.collect(), companions: companions.collect(), all: registry.to_vec() }
    }

    /// The kind served at `/apis/<group>/<version>/…/<plural>`.
    pub fn find(&self, group: &str, version: &str, plural: &str) -> Option<Kind> {
        self.by_path.get(&(group, version, plural)).copied()
    }

    /// The kind of a group, whichever version.
    pub fn find_any_version(&self, group: &str, plural: &str) -> Option<Kind> {
        self.all.iter().copied().find(|kind| kind.descriptor().group == group && kind.descriptor().plural == plural)
    }

    /// The kind of the companions of the objects that are stored at a place.
    pub fn companions_of(&self, stored_as: StoredAs) -> Option<Kind> {
        self.companions.get(&stored_as).copied()
    }

    /// All, in the registry's order.
    pub fn iter(&self) -> impl Iterator<Item = Kind> + '_ {
        self.all.iter().copied()
    }

    /// The kinds that are kept in the store, one for each place where objects are stored: the kind that owns the place.
    pub fn stored(&self) -> BTreeMap<StoredAs, Kind> {
        let mut stored = BTreeMap::new();
        for kind in self.iter().filter(|kind| is_stored(kind.descriptor())) {
            let names = kind.descriptor();
            let owns = names.stored_as == (names.group, names.plural);
            if owns || !stored.contains_key(&names.stored_as) {
                stored.insert(names.stored_as, kind);
            }
        }
        stored
    }

    /// Groups with their versions, in the registry's order.
    pub fn groups(&self) -> Vec<(&'static str, Vec<&'static str>)> {
        let mut groups: Vec<(&str, Vec<&str>)> = Vec::new();
        for names in self.iter().map(|kind| kind.descriptor()) {
            match groups.iter_mut().find(|(group, _)| *group == names.group) {
                Some((_, versions)) if versions.contains(&names.version) => {}
                Some((_, versions)) => versions.push(names.version),
                None => groups.push((names.group, vec![names.version])),
            }
        }
        groups
    }
}

/// Whether objects of the kind are kept. Review kinds are only created.
pub fn is_stored(names: &Descriptor) -> bool {
    names.verbs.contains(&"get")
}

/// Whether objects are stored in the kind's own form.
pub fn has_own_form(names: &Descriptor) -> bool {
    names.stored_as == (names.group, names.plural)
}

/// Whether objects live in namespaces.
pub fn is_namespaced(names: &Descriptor) -> bool {
    names.scope == Scope::Namespaced
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A descriptor for tests that only need names.
    pub fn descriptor(group: &'static str, kind: &'static str, plural: &'static str) -> &'static Descriptor {
        Box::leak(Box::new(Descriptor {
            group,
            version: "v1",
            kind,
            plural,
            singular: plural,
            short_names: &[],
            categories: &[],
            scope: Scope::Namespaced,
            verbs: &["create", "get", "list", "watch", "update", "patch", "delete"],
            subresources: &[],
            has_generation: true,
            stored_as: (group, plural),
            companion_of: None,
            read_newest: false,
            deprecated: None,
        }))
    }

    #[test]
    fn every_stored_place_has_the_kind_that_owns_it() {
        let kinds = Kinds::new(orknet_resources::registry());
        for ((group, plural), kind) in kinds.stored() {
            assert_eq!((kind.descriptor().group, kind.descriptor().plural), (group, plural));
        }
        assert!(kinds.find("", "v1", "pods").is_some());
        assert!(kinds.find("", "v1", "nothing").is_none());
    }
}

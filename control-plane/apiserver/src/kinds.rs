//! The kinds that are served, looked up by group, version and plural, and what may be done to each. Knows no kind by name.

use crate::custom::Kept;
use crate::discovery::Documents;
use orknet_patch::Schema;
use orknet_patch::schema::SchemaError;
use orknet_resources::{Descriptor, Resource, Scope, openapi};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Deref;
use std::sync::{Arc, LazyLock};

/// Group and plural that objects are stored under.
pub type StoredAs = (&'static str, &'static str);

/// Group, version and plural that a kind is served under.
pub type Path = (&'static str, &'static str, &'static str);

/// The server's own kinds, in the order of discovery: those of the registry, and the one that defines others.
pub fn own() -> &'static [&'static dyn Resource] {
    static OWN: LazyLock<Vec<&'static dyn Resource>> =
        LazyLock::new(|| orknet_resources::registry().iter().copied().chain([&orknet_custom::definition::KIND as &dyn Resource]).collect());
    &OWN
}

/// A kind: one of the registry, which stays, or one that came at run time, which goes with its last user. Free to clone.
#[derive(Clone)]
pub struct Kind(Origin);

#[derive(Clone)]
enum Origin {
    BuiltIn(&'static dyn Resource),
    Added(Arc<Added>),
}

struct Added {
    resource: Arc<dyn Resource>,
    /// The kind's own; those of the registry share one.
    structure: Schema,
    /// Of its objects, where a webhook converts them.
    converted: Kept,
}

impl From<&'static dyn Resource> for Kind {
    fn from(resource: &'static dyn Resource) -> Self {
        Self(Origin::BuiltIn(resource))
    }
}

impl Deref for Kind {
    type Target = dyn Resource;

    fn deref(&self) -> &Self::Target {
        match &self.0 {
            Origin::BuiltIn(resource) => *resource,
            Origin::Added(added) => &*added.resource,
        }
    }
}

impl Kind {
    /// A kind that comes at run time. Compiles its schema for patches.
    pub fn added(resource: Arc<dyn Resource>) -> Result<Self, SchemaError> {
        let structure = Schema::from_definitions(&openapi::definitions_of(&*resource))?;
        Ok(Self(Origin::Added(Arc::new(Added { resource, structure, converted: Kept::default() }))))
    }

    /// Objects that have been converted for a kind that came at run time.
    pub fn converted(&self) -> Option<&Kept> {
        match &self.0 {
            Origin::BuiltIn(_) => None,
            Origin::Added(added) => Some(&added.converted),
        }
    }

    /// Whether the kind came at run time.
    pub fn is_added(&self) -> bool {
        matches!(self.0, Origin::Added(_))
    }

    /// The structure of a kind that came at run time.
    pub fn structure(&self) -> Option<&Schema> {
        match &self.0 {
            Origin::BuiltIn(_) => None,
            Origin::Added(added) => Some(&added.structure),
        }
    }

    /// Where it is served.
    pub fn path(&self) -> Path {
        let names = self.descriptor();
        (names.group, names.version, names.plural)
    }

    /// Whether both are the very same kind, not one that took the other's place.
    pub fn is(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Origin::Added(own), Origin::Added(other)) => Arc::ptr_eq(own, other),
            // Kinds of the registry stay what they are.
            (Origin::BuiltIn(_), Origin::BuiltIn(_)) => self.path() == other.path(),
            _ => false,
        }
    }
}

/// Why kinds cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    #[error("{version}/{plural} of group {group:?} is one of the server's own kinds")]
    BuiltIn { group: &'static str, version: &'static str, plural: &'static str },
    #[error("{version}/{plural} of group {group:?} is given twice")]
    Twice { group: &'static str, version: &'static str, plural: &'static str },
    #[error("the kind's schema cannot be used for patches")]
    Schema(#[from] SchemaError),
    #[error("the server is stopping")]
    Stopping,
}

/// Every kind that is served at one time. Does not change: another set takes its place ([`Kinds::changed`]).
pub struct Kinds {
    by_path: HashMap<Path, Kind>,
    /// By the place of the objects that they are companions of.
    companions: HashMap<StoredAs, Kind>,
    all: Vec<Kind>,
    pub documents: Documents,
}

impl Kinds {
    /// Indexes the registry.
    pub fn new(registry: &[&'static dyn Resource]) -> Self {
        Self::of(registry.iter().map(|resource| Kind::from(*resource)).collect(), Documents::default())
    }

    fn of(all: Vec<Kind>, documents: Documents) -> Self {
        let by_path = all.iter().map(|kind| (kind.path(), kind.clone())).collect();
        let companions = all.iter().filter_map(|kind| Some((kind.descriptor().companion_of?, kind.clone()))).collect();
        Self { by_path, companions, all, documents }
    }

    /// The set after a change: without those of `remove` (what is not there is passed over), and with those of `add`, in place of those at their
    /// paths. The registry's kinds stay, and stand first; others follow by group, version (as Kubernetes orders them) and plural, whenever they came.
    pub fn changed(&self, add: &[Kind], remove: &[Path]) -> Result<Self, ChangeError> {
        let mut paths = BTreeSet::new();
        for (group, version, plural) in add.iter().map(Kind::path).chain(remove.iter().copied()) {
            if self.by_path.get(&(group, version, plural)).is_some_and(|kind| !kind.is_added()) {
                return Err(ChangeError::BuiltIn { group, version, plural });
            }
            paths.insert((group, version, plural));
        }
        let mut seen = BTreeSet::new();
        if let Some((group, version, plural)) = add.iter().map(Kind::path).find(|path| !seen.insert(*path)) {
            return Err(ChangeError::Twice { group, version, plural });
        }
        let stays = |kind: &&Kind| !paths.contains(&kind.path());
        let mut all: Vec<Kind> = self.all.iter().filter(stays).chain(add).cloned().collect();
        // Stable: the registry keeps its order.
        all.sort_by(|one, other| match (one.is_added(), other.is_added()) {
            (true, true) => order(one.path()).cmp(&order(other.path())),
            (one, other) => one.cmp(&other),
        });
        let touched = paths.iter().map(|(group, version, _)| group_version(group, version)).collect();
        let documents = self.documents.after(&all, &touched);
        Ok(Self::of(all, documents))
    }

    /// The kind served at `/apis/<group>/<version>/…/<plural>`.
    pub fn find(&self, group: &str, version: &str, plural: &str) -> Option<Kind> {
        self.by_path.get(&(group, version, plural)).cloned()
    }

    /// Whether this very kind is served.
    pub fn serves(&self, kind: &Kind) -> bool {
        self.by_path.get(&kind.path()).is_some_and(|served| served.is(kind))
    }

    /// The kind of a group, whichever version.
    pub fn find_any_version(&self, group: &str, plural: &str) -> Option<Kind> {
        self.iter().find(|kind| kind.descriptor().group == group && kind.descriptor().plural == plural).cloned()
    }

    /// The kind of the companions of the objects that are stored at a place.
    pub fn companions_of(&self, stored_as: StoredAs) -> Option<Kind> {
        self.companions.get(&stored_as).cloned()
    }

    /// All, in the order of discovery.
    pub fn iter(&self) -> impl Iterator<Item = &Kind> {
        self.all.iter()
    }

    /// Where objects are kept, each place with the kinds that are served from it.
    pub fn stored(&self) -> BTreeMap<StoredAs, Vec<Kind>> {
        let mut stored: BTreeMap<StoredAs, Vec<Kind>> = BTreeMap::new();
        for kind in self.iter().filter(|kind| is_stored(kind.descriptor())) {
            stored.entry(kind.descriptor().stored_as).or_default().push(kind.clone());
        }
        stored
    }

    /// Groups with their versions, in the order of discovery.
    pub fn groups(&self) -> Vec<(&'static str, Vec<&'static str>)> {
        let mut groups: Vec<(&str, Vec<&str>)> = Vec::new();
        let mut at = HashMap::new();
        for names in self.iter().map(|kind| kind.descriptor()) {
            let index = *at.entry(names.group).or_insert(groups.len());
            match groups.get_mut(index) {
                Some((_, versions)) if versions.contains(&names.version) => {}
                Some((_, versions)) => versions.push(names.version),
                None => groups.push((names.group, vec![names.version])),
            }
        }
        groups
    }
}

/// `v1`, or `group/version`.
pub fn group_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

/// What kinds that came at run time are ordered by.
fn order((group, version, plural): Path) -> (&'static str, VersionOrder, &'static str) {
    (group, version_order(version), plural)
}

/// What versions of a group are ordered by.
pub type VersionOrder = (Reverse<Priority>, String);

/// The order of Kubernetes: versions that do not have the usual form follow, by name.
pub fn version_order(version: &str) -> VersionOrder {
    (Reverse(Priority::of(version)), version.to_owned())
}

/// How well a version is to be liked: stable ones before betas before alphas, and the newer before the older, as Kubernetes orders the versions of a
/// CustomResourceDefinition. Those of another form come last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Priority(u8, u64, u64);

impl Priority {
    fn of(version: &str) -> Self {
        Self::parse(version).unwrap_or_default()
    }

    /// `v2`, `v2beta1`, `v2alpha1`.
    fn parse(version: &str) -> Option<Self> {
        let number =
            |text: &str| text.parse::<u64>().ok().filter(|_| text.bytes().all(|digit| digit.is_ascii_digit()) && !text.starts_with('0'));
        let rest = version.strip_prefix('v')?;
        for (level, word) in [(2, "beta"), (1, "alpha")] {
            if let Some((major, minor)) = rest.split_once(word) {
                return Some(Self(level, number(major)?, number(minor)?));
            }
        }
        Some(Self(3, number(rest)?, 0))
    }
}

/// Whether objects of the kind are kept: then they can be watched. Review kinds are only created, metrics and component statuses only read.
pub fn is_stored(names: &Descriptor) -> bool {
    names.verbs.contains(&"watch")
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
        let kinds = Kinds::new(own());
        for ((group, plural), served) in kinds.stored() {
            let owns = |kind: &&Kind| (kind.descriptor().group, kind.descriptor().plural) == (group, plural);
            assert!(served.iter().any(|kind| owns(&kind) && kind.has_own_form()), "{plural}");
        }
        assert!(kinds.find("", "v1", "pods").is_some());
        assert!(kinds.find("", "v1", "nothing").is_none());
    }

    #[test]
    fn versions_are_in_kubernetes_order() {
        let mut versions = ["foo1", "v1alpha1", "v2beta2", "v1", "v10", "foo10", "v3beta1", "v11alpha2", "v2", "v1beta01", "v11beta2"];
        versions.sort_by_key(|version| order(("g", version, "p")));
        assert_eq!(versions, ["v10", "v2", "v1", "v11beta2", "v3beta1", "v2beta2", "v11alpha2", "v1alpha1", "foo1", "foo10", "v1beta01"]);
    }
}

//! Descriptors from the typed forms: group, version and kind are the type's, the rest has the usual values for a stored kind.

use crate::contract::{Descriptor, Scope};
use k8s_openapi::Resource;

const STORED_VERBS: &[&str] = &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

/// A stored kind inside namespaces.
pub const fn namespaced<T: Resource>(plural: &'static str, singular: &'static str) -> Descriptor {
    stored::<T>(plural, singular, Scope::Namespaced)
}

/// A stored kind outside of namespaces.
pub const fn cluster<T: Resource>(plural: &'static str, singular: &'static str) -> Descriptor {
    stored::<T>(plural, singular, Scope::Cluster)
}

/// A kind that is only asked, never stored.
pub const fn review<T: Resource>(plural: &'static str, singular: &'static str, scope: Scope) -> Descriptor {
    Descriptor { verbs: &["create"], ..stored::<T>(plural, singular, scope) }
}

const fn stored<T: Resource>(plural: &'static str, singular: &'static str, scope: Scope) -> Descriptor {
    Descriptor {
        group: T::GROUP,
        version: T::VERSION,
        kind: T::KIND,
        plural,
        singular,
        short_names: &[],
        categories: &[],
        scope,
        verbs: STORED_VERBS,
        subresources: &[],
        has_generation: false,
        stored_as: (T::GROUP, plural),
        companion_of: None,
        read_newest: false,
        deprecated: None,
    }
}

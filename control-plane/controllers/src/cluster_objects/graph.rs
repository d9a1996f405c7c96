//! Pure: objects by uid, with the edges from owners to dependents.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use orknet_reconciler::ObjectKey;

use super::Kind;

/// An object's uid.
pub(crate) type Uid = Arc<str>;

/// The finalizer of a deletion that waits for dependents.
pub(crate) const FOREGROUND: &str = "foregroundDeletion";
/// The finalizer of a deletion that lets dependents go free.
pub(crate) const ORPHAN: &str = "orphan";

/// What is kept of an object.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub uid: Uid,
    pub kind: Arc<Kind>,
    pub key: ObjectKey,
    pub resource_version: Option<String>,
    pub owners: Vec<Owner>,
    pub deleting: bool,
    /// Carries the finalizer [`FOREGROUND`].
    pub foreground: bool,
    /// Carries the finalizer [`ORPHAN`].
    pub orphan: bool,
}

/// An owner reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Owner {
    pub uid: Uid,
    pub api_version: String,
    pub kind: String,
    pub name: String,
    /// Whether the owner's foreground deletion waits for this dependent.
    pub blocks: bool,
}

impl Node {
    /// `None` for an object without uid.
    pub fn new(kind: &Arc<Kind>, meta: &ObjectMeta) -> Option<Self> {
        let has = |name: &str| meta.finalizers.iter().flatten().any(|finalizer| finalizer == name);
        let owners = meta.owner_references.iter().flatten().map(|owner| Owner {
            uid: owner.uid.as_str().into(),
            api_version: owner.api_version.clone(),
            kind: owner.kind.clone(),
            name: owner.name.clone(),
            blocks: owner.block_owner_deletion == Some(true),
        });
        Some(Self {
            uid: meta.uid.as_deref()?.into(),
            kind: kind.clone(),
            key: ObjectKey::of(meta),
            resource_version: meta.resource_version.clone(),
            owners: owners.collect(),
            deleting: meta.deletion_timestamp.is_some(),
            foreground: has(FOREGROUND),
            orphan: has(ORPHAN),
        })
    }
}

/// Objects and ownership.
#[derive(Default)]
pub(crate) struct Graph {
    nodes: HashMap<Uid, Node>,
    dependents: HashMap<Uid, HashSet<Uid>>,
}

impl Graph {
    pub fn get(&self, uid: &Uid) -> Option<&Node> {
        self.nodes.get(uid)
    }

    /// The present objects that name this one as an owner.
    pub fn dependents(&self, uid: &Uid) -> impl Iterator<Item = &Node> {
        self.dependents.get(uid).into_iter().flatten().filter_map(|dependent| self.nodes.get(dependent))
    }

    /// Uids of all objects of a kind, by the kind's id.
    pub fn of_kind(&self, id: &str) -> Vec<Uid> {
        self.nodes.values().filter(|node| node.kind.id() == id).map(|node| node.uid.clone()).collect()
    }

    /// Returns what was known before.
    pub fn upsert(&mut self, node: Node) -> Option<Node> {
        self.unlink(&node.uid);
        for owner in &node.owners {
            self.dependents.entry(owner.uid.clone()).or_default().insert(node.uid.clone());
        }
        self.nodes.insert(node.uid.clone(), node)
    }

    pub fn remove(&mut self, uid: &Uid) -> Option<Node> {
        self.unlink(uid);
        self.nodes.remove(uid)
    }

    fn unlink(&mut self, uid: &Uid) {
        let Some(node) = self.nodes.get(uid) else { return };
        for owner in &node.owners {
            if let Some(dependents) = self.dependents.get_mut(&owner.uid) {
                dependents.remove(uid);
                if dependents.is_empty() {
                    self.dependents.remove(&owner.uid);
                }
            }
        }
    }
}

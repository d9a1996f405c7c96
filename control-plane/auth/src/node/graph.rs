//! Which objects a node's pods refer to, kept by node: each look-up asks one node's part, whatever the size of the cluster. Pure.

use super::references::{Kind, Reference};
use std::collections::{BTreeSet, HashMap};

/// An object by whose way to a node is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Object<'a> {
    Pod {
        namespace: &'a str,
        name: &'a str,
    },
    Secret {
        namespace: &'a str,
        name: &'a str,
    },
    ConfigMap {
        namespace: &'a str,
        name: &'a str,
    },
    ServiceAccount {
        namespace: &'a str,
        name: &'a str,
    },
    /// A PersistentVolumeClaim.
    Claim {
        namespace: &'a str,
        name: &'a str,
    },
    /// A PersistentVolume: that of a claim.
    Volume {
        name: &'a str,
    },
    /// A VolumeAttachment.
    Attachment {
        name: &'a str,
    },
}

/// A pod that is bound to a node, and what its kubelet needs for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    pub node: Box<str>,
    pub references: Vec<Reference>,
}

/// A PersistentVolume that belongs to a claim. Names are `namespace/name`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    pub claim: Box<str>,
    /// The Secrets that a kubelet reads to mount it.
    pub secrets: Vec<Box<str>>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Graph {
    pods: HashMap<Box<str>, Bound>,
    nodes: HashMap<Box<str>, Node>,
    volumes: HashMap<Box<str>, Volume>,
    volumes_of_claim: HashMap<Box<str>, BTreeSet<Box<str>>>,
    /// Node by the attachment's name.
    attachments: HashMap<Box<str>, Box<str>>,
}

/// How many of a node's pods refer to each object, by `namespace/name`. Never zero.
type Uses = HashMap<Box<str>, u32>;

#[derive(Debug, Default)]
struct Node {
    uses: [Uses; Kind::COUNT],
}

impl Graph {
    /// States what is known of the pod `namespace/name` now; `None` when it is gone or bound to no node.
    pub fn set_pod(&mut self, pod: &str, bound: Option<Bound>) {
        if let Some(old) = self.pods.remove(pod) {
            self.release(&old);
        }
        let Some(bound) = bound else { return };
        let node = self.nodes.entry(bound.node.clone()).or_default();
        for Reference { kind, object } in &bound.references {
            *node.uses[*kind as usize].entry(object.clone()).or_default() += 1;
        }
        self.pods.insert(pod.into(), bound);
    }

    fn release(&mut self, old: &Bound) {
        let Some(node) = self.nodes.get_mut(&old.node) else { return };
        for Reference { kind, object } in &old.references {
            let uses = &mut node.uses[*kind as usize];
            match uses.get_mut(object) {
                Some(count) if *count > 1 => *count -= 1,
                _ => drop(uses.remove(object)),
            }
        }
        if node.uses.iter().all(HashMap::is_empty) {
            self.nodes.remove(&old.node);
        }
    }

    /// States what is known of a PersistentVolume now; `None` when it is gone or belongs to no claim.
    pub fn set_volume(&mut self, name: &str, volume: Option<Volume>) {
        if let Some(old) = self.volumes.remove(name)
            && let Some(names) = self.volumes_of_claim.get_mut(&old.claim)
        {
            names.remove(name);
            if names.is_empty() {
                self.volumes_of_claim.remove(&old.claim);
            }
        }
        let Some(volume) = volume else { return };
        self.volumes_of_claim.entry(volume.claim.clone()).or_default().insert(name.into());
        self.volumes.insert(name.into(), volume);
    }

    /// States the node of a VolumeAttachment now; `None` when it is gone.
    pub fn set_attachment(&mut self, name: &str, node: Option<&str>) {
        match node {
            Some(node) => drop(self.attachments.insert(name.into(), node.into())),
            None => drop(self.attachments.remove(name)),
        }
    }

    /// Whether a pod of the node leads to the object.
    pub fn reaches(&self, node: &str, object: &Object<'_>) -> bool {
        let tail = |namespace: &str, name: &str| format!("{namespace}/{name}");
        let Some(of_node) = self.nodes.get(node) else {
            // Without a pod that refers to anything there are the pods themselves, and what is attached.
            return match object {
                Object::Pod { namespace, name } => self.is_bound(&tail(namespace, name), node),
                Object::Attachment { name } => self.is_attached(name, node),
                _ => false,
            };
        };
        let uses = |kind: Kind, object: &str| of_node.uses[kind as usize].contains_key(object);
        match object {
            Object::Pod { namespace, name } => self.is_bound(&tail(namespace, name), node),
            Object::ConfigMap { namespace, name } => uses(Kind::ConfigMap, &tail(namespace, name)),
            Object::ServiceAccount { namespace, name } => uses(Kind::ServiceAccount, &tail(namespace, name)),
            Object::Claim { namespace, name } => uses(Kind::Claim, &tail(namespace, name)),
            Object::Secret { namespace, name } => {
                let secret = tail(namespace, name);
                // One Secret may serve the volumes of a whole cluster: the claims of one node are fewer.
                uses(Kind::Secret, &secret) || self.volumes_of(of_node).any(|volume| volume.secrets.iter().any(|own| **own == *secret))
            }
            Object::Volume { name } => self.volumes.get(*name).is_some_and(|volume| uses(Kind::Claim, &volume.claim)),
            Object::Attachment { name } => self.is_attached(name, node),
        }
    }

    fn is_bound(&self, pod: &str, node: &str) -> bool {
        self.pods.get(pod).is_some_and(|bound| &*bound.node == node)
    }

    fn is_attached(&self, attachment: &str, node: &str) -> bool {
        self.attachments.get(attachment).is_some_and(|own| &**own == node)
    }

    fn volumes_of<'a>(&'a self, node: &'a Node) -> impl Iterator<Item = &'a Volume> {
        let names = node.uses[Kind::Claim as usize].keys().filter_map(|claim| self.volumes_of_claim.get(claim)).flatten();
        names.filter_map(|name| self.volumes.get(name))
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.pods.is_empty()
            && self.nodes.is_empty()
            && self.volumes.is_empty()
            && self.volumes_of_claim.is_empty()
            && self.attachments.is_empty()
    }
}

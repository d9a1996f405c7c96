//! Policies that are not understood in part. They never open what they would have closed, but are not what somebody meant, either.

use crate::progress::{FailedObjects, Kind, Object};
use orknet_compiler::{Change, ObjectName};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

/// What is not understood, in words.
#[derive(Debug, Default)]
pub(super) struct PolicyTroubles {
    policies: BTreeMap<ObjectName, Box<str>>,
    cluster_policies: BTreeMap<Arc<str>, Box<str>>,
}

impl PolicyTroubles {
    /// Takes note of a change, and logs what is wrong with it.
    pub(super) fn follow(&mut self, change: &Change) {
        match change {
            Change::Policy(name, facts) => {
                let trouble = facts.as_ref().and_then(|facts| facts.trouble.clone());
                note(&mut self.policies, name, trouble, &format!("NetworkPolicy {}/{}", name.namespace, name.name));
            }
            Change::ClusterPolicy(name, facts) => {
                let trouble = facts.as_ref().and_then(|facts| facts.trouble.clone());
                note(&mut self.cluster_policies, name, trouble, &format!("ClusterNetworkPolicy {name}"));
            }
            _ => {}
        }
    }

    /// The end of a list.
    pub(super) fn retain_policies(&mut self, listed: &HashSet<ObjectName>) {
        self.policies.retain(|name, _| listed.contains(name));
    }

    /// The same.
    pub(super) fn retain_cluster_policies(&mut self, listed: &HashSet<Arc<str>>) {
        self.cluster_policies.retain(|name, _| listed.contains(name));
    }

    /// The policies that are not in force as they are written.
    pub(super) fn failed(&self) -> FailedObjects {
        let text = |trouble: &str| format!("not understood, and closed where it might have opened: {trouble}");
        let namespaced = self.policies.iter().map(|(name, trouble)| (Object::named(Kind::NetworkPolicy, name), text(trouble)));
        let of_cluster =
            self.cluster_policies.iter().map(|(name, trouble)| (Object::of_cluster(Kind::ClusterNetworkPolicy, name), text(trouble)));
        namespaced.chain(of_cluster).collect()
    }
}

fn note<N: Clone + Ord>(known: &mut BTreeMap<N, Box<str>>, name: &N, trouble: Option<Box<str>>, policy: &str) {
    match trouble {
        Some(trouble) => {
            let before = known.insert(name.clone(), trouble.clone());
            if before.as_ref() != Some(&trouble) {
                tracing::warn!(policy, %trouble, "a policy is not understood in part; it opens nothing there");
            }
        }
        None => drop(known.remove(name)),
    }
}

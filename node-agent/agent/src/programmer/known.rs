//! What has been seen of the cluster since the agent started. Before all of it has been, nothing is taken for gone, and nothing for allowed.

use super::Programmer;
use crate::progress::Kind;
use orknet_compiler::facts::Uid;
use orknet_compiler::{Attachment, Change, ObjectName, Owner};
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

/// A part of what must be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    Services,
    Slices,
    /// Our own Node.
    Node,
    /// What all Nodes mean for the programs.
    Settings,
    Policies,
    ClusterPolicies,
    Namespaces,
    Pods,
    /// All Nodes, as the other end of connections.
    Nodes,
}

impl Part {
    /// For people.
    fn name(self) -> &'static str {
        match self {
            Self::Services => "Services",
            Self::Slices => "EndpointSlices",
            Self::Node => "the own Node",
            Self::Settings => "what all Nodes mean for Services",
            Self::Policies => "NetworkPolicies",
            Self::ClusterPolicies => "ClusterNetworkPolicies",
            Self::Namespaces => "Namespaces",
            Self::Pods => "Pods",
            Self::Nodes => "Nodes",
        }
    }
}

/// What policies say depends on these.
const OF_POLICIES: [Part; 5] = [Part::Policies, Part::ClusterPolicies, Part::Namespaces, Part::Pods, Part::Nodes];
const OF_SERVICES: [Part; 4] = [Part::Services, Part::Slices, Part::Node, Part::Settings];

/// A complete list of the objects of one kind, by their names.
#[derive(Debug)]
pub enum Listed {
    Services(HashSet<ObjectName>),
    Slices(HashSet<ObjectName>),
    Policies(HashSet<ObjectName>),
    ClusterPolicies(HashSet<Arc<str>>),
    Namespaces(HashSet<Arc<str>>),
    Pods(HashSet<ObjectName>),
    Nodes(HashSet<Arc<str>>),
}

impl Listed {
    /// The kind, if its versions are told.
    pub(super) fn kind(&self) -> Option<Kind> {
        match self {
            Self::Services(_) => Some(Kind::Service),
            Self::Slices(_) => Some(Kind::EndpointSlice),
            Self::Policies(_) => Some(Kind::NetworkPolicy),
            Self::ClusterPolicies(_) => Some(Kind::ClusterNetworkPolicy),
            Self::Namespaces(_) => Some(Kind::Namespace),
            Self::Pods(_) => Some(Kind::Pod),
            Self::Nodes(_) => None,
        }
    }
}

/// The parts that have not been seen yet.
#[derive(Debug)]
pub(super) struct Unseen(BTreeSet<Part>);

impl Unseen {
    /// Nothing has been seen. Without policies, what they depend on need not be.
    pub(super) fn new(has_policies: bool) -> Self {
        let of_policies: &[Part] = if has_policies { &OF_POLICIES } else { &[] };
        Self(OF_SERVICES.iter().chain(of_policies).copied().collect())
    }

    pub(super) fn see(&mut self, part: Part) {
        self.0.remove(&part);
    }

    pub(super) fn is_known(&self, part: Part) -> bool {
        !self.0.contains(&part)
    }

    /// All has been seen.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Why nothing can be said of a pod yet.
    pub(super) fn words(&self) -> String {
        if self.is_empty() {
            return "the agent has seen all of the cluster, but not yet written it into the maps".to_owned();
        }
        let names: Vec<_> = self.0.iter().map(|part| part.name()).collect();
        format!("the agent has not yet seen all of the cluster (missing: {})", names.join(", "))
    }

    /// Everything that policies depend on has been.
    pub(super) fn knows_policies(&self) -> bool {
        OF_POLICIES.iter().all(|part| self.is_known(*part))
    }
}

impl Programmer {
    /// Takes note of the end of a list.
    pub(super) fn note_listed(&mut self, listed: Listed) {
        let part = match listed {
            Listed::Services(names) => {
                self.state.retain_services(&names);
                self.explainer.forget_services();
                Part::Services
            }
            Listed::Slices(names) => {
                self.state.retain_slices(&names);
                self.explainer.forget_services();
                Part::Slices
            }
            Listed::Policies(names) => {
                self.state.retain_policies(&names);
                Part::Policies
            }
            Listed::ClusterPolicies(names) => {
                self.state.retain_cluster_policies(&names);
                Part::ClusterPolicies
            }
            Listed::Namespaces(names) => {
                self.state.retain_namespaces(&names);
                Part::Namespaces
            }
            Listed::Pods(names) => {
                self.state.retain_peer_pods(&names);
                Part::Pods
            }
            Listed::Nodes(names) => {
                self.state.retain_peer_nodes(&names);
                Part::Nodes
            }
        };
        let knew = self.unseen.knows_policies();
        self.unseen.see(part);
        if OF_POLICIES.contains(&part) && self.unseen.knows_policies() {
            if !knew {
                self.find_owners();
            }
            self.state.policies_known();
        }
    }

    /// Records of a runtime that gives no uids mean the pods of their names that there are, as at ADD. Later ones of these names are other
    /// pods.
    fn find_owners(&mut self) {
        let found = self.state.attachments().filter_map(|(name, attachment)| {
            let owner = attachment.owner.as_ref().filter(|owner| owner.uid == Uid::of(""))?;
            let owner = Owner { uid: self.state.pod_uid(&owner.pod)?, ..owner.clone() };
            Some((Arc::clone(name), Attachment { owner: Some(owner), ..attachment.clone() }))
        });
        for (name, attachment) in found.collect::<Vec<_>>() {
            self.state.note(Change::Attachment(name, Some(attachment)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        let mut unseen = Unseen::new(true);
        OF_POLICIES.into_iter().for_each(|part| unseen.see(part));
        [Part::Node, Part::Settings].into_iter().for_each(|part| unseen.see(part));
        assert!(unseen.words().ends_with("(missing: Services, EndpointSlices)"), "{}", unseen.words());
        OF_SERVICES.into_iter().for_each(|part| unseen.see(part));
        assert!(!unseen.words().contains("missing"));
    }

    #[test]
    fn policies_are_waited_for_where_they_count() {
        let mut without = Unseen::new(false);
        assert!(without.knows_policies() && !without.is_empty());
        OF_SERVICES.into_iter().for_each(|part| without.see(part));
        assert!(without.is_empty());
        for last in OF_POLICIES {
            let mut with = Unseen::new(true);
            OF_SERVICES.into_iter().chain(OF_POLICIES).filter(|part| *part != last).for_each(|part| with.see(part));
            assert!(!with.knows_policies() && !with.is_empty(), "{last:?}");
            with.see(last);
            assert!(with.knows_policies() && with.is_empty());
        }
    }
}

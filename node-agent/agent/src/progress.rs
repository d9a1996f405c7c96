//! What of the cluster is in this node's maps, as the node says it: for each kind up to which version, and which objects are not.

use orknet_compiler::{Change, ObjectName};
use std::collections::{BTreeMap, BTreeSet};

/// Kinds of objects that the maps depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Service,
    EndpointSlice,
    NetworkPolicy,
    ClusterNetworkPolicy,
    Namespace,
    Pod,
    /// Of these no version is told.
    Node,
}

impl Kind {
    /// As the API has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Service => "Service",
            Self::EndpointSlice => "EndpointSlice",
            Self::NetworkPolicy => "NetworkPolicy",
            Self::ClusterNetworkPolicy => "ClusterNetworkPolicy",
            Self::Namespace => "Namespace",
            Self::Pod => "Pod",
            Self::Node => "Node",
        }
    }

    /// Of what a change is; of this node's own affairs, and of Nodes, whose versions grow with every heartbeat, nobody is told.
    pub fn of(change: &Change) -> Option<Self> {
        match change {
            Change::Service(..) => Some(Self::Service),
            Change::Slice(..) => Some(Self::EndpointSlice),
            Change::Policy(..) => Some(Self::NetworkPolicy),
            Change::ClusterPolicy(..) => Some(Self::ClusterNetworkPolicy),
            Change::Namespace(..) => Some(Self::Namespace),
            Change::PeerPod(..) => Some(Self::Pod),
            _ => None,
        }
    }

    /// Whether no pod may start while changes of the kind may go unseen. A new pod itself is waited for, of the others policies speak, as of
    /// nodes: tens of thousands are not listed again for a failure.
    pub fn is_vital(self) -> bool {
        !matches!(self, Self::Pod | Self::Node)
    }

    /// Whether somebody may wait for an object of the kind to be in force. Of the others, pods first of all, there is always something new.
    pub fn is_awaited(self) -> bool {
        matches!(self, Self::Service | Self::NetworkPolicy | Self::ClusterNetworkPolicy)
    }
}

/// What Services are in the maps by.
pub const OF_SERVICES: [Kind; 2] = [Kind::Service, Kind::EndpointSlice];
/// The same of policies.
pub const OF_POLICIES: [Kind; 4] = [Kind::NetworkPolicy, Kind::ClusterNetworkPolicy, Kind::Namespace, Kind::Pod];

/// Objects that a report names; see the API.
pub const NAMED: usize = 1_000;

/// An object that somebody may ask about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Object {
    pub kind: Kind,
    /// Empty for one of the cluster.
    pub namespace: String,
    pub name: String,
}

impl Object {
    /// One of a namespace.
    pub fn named(kind: Kind, name: &ObjectName) -> Self {
        Self { kind, namespace: name.namespace.to_string(), name: name.name.to_string() }
    }

    /// One of the cluster.
    pub fn of_cluster(kind: Kind, name: &str) -> Self {
        Self { kind, namespace: String::new(), name: name.to_owned() }
    }
}

/// Objects that are not in force, and why.
pub type FailedObjects = BTreeMap<Object, String>;

/// Up to which version all objects of a kind are in the maps.
pub type Versions = BTreeMap<Kind, u64>;

/// What there is to tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    pub programmed: Versions,
    /// Whatever its version, an object that is in here is not in force.
    pub failed: FailedObjects,
}

/// What keeps objects from being in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failed {
    pub objects: FailedObjects,
    /// Kinds of which more may not be in force than can be named.
    pub behind: BTreeSet<Kind>,
}

impl Progress {
    /// After a plan with everything up to `noted`. Kinds of which not all that failed is named stay where they were.
    pub fn after(before: &Self, noted: &Versions, failed: Failed) -> Self {
        let Failed { objects, mut behind } = failed;
        behind.extend(objects.keys().skip(NAMED).map(|object| object.kind));
        let reached = |(kind, version): (&Kind, &u64)| {
            let version = if behind.contains(kind) { before.programmed.get(kind) } else { Some(version) };
            Some((*kind, *version?))
        };
        Self { programmed: noted.iter().filter_map(reached).collect(), failed: objects }
    }

    /// The same of a cluster whose versions have gone back to these.
    pub fn lowered_to(&self, versions: &Versions) -> Self {
        let lowered = |(kind, version): (&Kind, &u64)| (*kind, versions.get(kind).map_or(*version, |to| *version.min(to)));
        Self { programmed: self.programmed.iter().map(lowered).filter(|(_, version)| *version > 0).collect(), failed: self.failed.clone() }
    }

    /// Whether somebody may wait for the difference.
    pub fn is_awaited_after(&self, told: &Self) -> bool {
        let awaited = |progress: &Self| progress.programmed.iter().filter(|(kind, _)| kind.is_awaited()).map(|of| (*of.0, *of.1)).collect();
        let (now, before): (Versions, Versions) = (awaited(self), awaited(told));
        self.failed != told.failed || now != before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_services_and_failures_are_awaited_and_the_rest_is_not() {
        let told = Progress { programmed: [(Kind::Pod, 5), (Kind::NetworkPolicy, 3)].into(), failed: FailedObjects::new() };
        assert!(!told.is_awaited_after(&told));
        let mut new = told.clone();
        new.programmed.extend([(Kind::Pod, 7), (Kind::EndpointSlice, 1), (Kind::Namespace, 6)]);
        assert!(!new.is_awaited_after(&told));
        let failed = Progress { failed: [(Object::of_cluster(Kind::ClusterNetworkPolicy, "a"), "no".into())].into(), ..told.clone() };
        assert!(failed.is_awaited_after(&told) && told.is_awaited_after(&failed));
        new.programmed.insert(Kind::NetworkPolicy, 4);
        assert!(new.is_awaited_after(&told));
        new.programmed.remove(&Kind::NetworkPolicy);
        assert!(new.is_awaited_after(&told), "what was told is not so any more");
    }

    #[test]
    fn versions_that_have_gone_back_count_for_what_is_behind_too() {
        let before =
            Progress { programmed: [(Kind::Service, 90), (Kind::NetworkPolicy, 95), (Kind::Pod, 40)].into(), ..Progress::default() };
        let lowered = before.lowered_to(&[(Kind::Service, 0), (Kind::NetworkPolicy, 50), (Kind::Pod, 50)].into());
        assert_eq!(lowered.programmed, [(Kind::NetworkPolicy, 50), (Kind::Pod, 40)].into());
        // More has come since then.
        let noted = [(Kind::Service, 7), (Kind::NetworkPolicy, 60), (Kind::Pod, 61)].into();
        let behind = Failed { behind: OF_SERVICES.into_iter().chain(OF_POLICIES).collect(), ..Failed::default() };
        assert_eq!(Progress::after(&lowered, &noted, behind).programmed, lowered.programmed);
    }

    #[test]
    fn a_kind_of_which_not_all_that_failed_is_named_stays_where_it_was() {
        let before = Progress { programmed: [(Kind::Service, 3), (Kind::Pod, 4)].into(), ..Progress::default() };
        let noted = [(Kind::Service, 7), (Kind::NetworkPolicy, 8), (Kind::Pod, 9)].into();
        let service = |number: usize| (Object { kind: Kind::Service, namespace: "a".into(), name: format!("{number:05}") }, String::new());
        let reached = |failed: &Failed| Progress::after(&before, &noted, failed.clone()).programmed.into_values().collect::<Vec<_>>();
        let mut failed = Failed { objects: (0..NAMED).map(service).collect(), ..Failed::default() };
        assert_eq!(reached(&failed), [7, 8, 9], "all are named");
        failed.objects.extend([service(NAMED)]);
        assert_eq!(reached(&failed), [3, 8, 9], "one is not");
        // What comes after them finds no place.
        failed.objects.insert(Object::of_cluster(Kind::NetworkPolicy, "a"), String::new());
        assert_eq!(reached(&failed), [3, 9]);
        let failed = Failed { behind: OF_POLICIES.into(), ..Failed::default() };
        assert_eq!(reached(&failed), [7, 4]);
    }
}

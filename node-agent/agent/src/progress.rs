//! What of the cluster is in this node's maps, as the node says it: for each kind up to which version, and which objects are not.

use orknet_compiler::{Change, ObjectName};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

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

    /// What it means that an object of the kind is named as failed.
    pub fn effect_of_failure(self) -> &'static str {
        match self {
            Self::Pod => "no newer policy counts as programmed on this node because of a pod",
            _ => "an object is not in force on this node as it is written",
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
/// Reasons that it gives for a kind, and characters of each.
const REASONS: usize = 3;
const REASON: usize = 200;

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

/// `namespace/name`, or the name.
impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.namespace.as_str() {
            "" => f.write_str(&self.name),
            namespace => write!(f, "{namespace}/{}", self.name),
        }
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
    /// Kinds whose versions stay where they were, and why.
    pub behind: BTreeMap<Kind, String>,
}

/// What keeps objects from being in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failed {
    pub objects: FailedObjects,
    /// Kinds of which more may not be in force than can be named, with the reasons that are known.
    pub behind: BTreeMap<Kind, BTreeSet<String>>,
}

impl Failed {
    /// More of these kinds may not be in force than is named; the reason, unless it is another failure's consequence.
    pub fn hold_up(&mut self, kinds: impl IntoIterator<Item = Kind>, why: Option<&str>) {
        for kind in kinds {
            self.behind.entry(kind).or_default().extend(why.map(str::to_owned));
        }
    }
}

impl Progress {
    /// After a plan with everything up to `noted`. Kinds of which not all that failed is named stay where they were.
    pub fn after(before: &Self, noted: &Versions, failed: Failed) -> Self {
        let mut failed = failed;
        let unnamed: BTreeSet<Kind> = failed.objects.keys().skip(NAMED).map(|object| object.kind).collect();
        failed.hold_up(unnamed, Some("more objects are not in force than a report names"));
        let Failed { objects, behind } = failed;
        let reached = |(kind, version): (&Kind, &u64)| {
            let version = if behind.contains_key(kind) { before.programmed.get(kind) } else { Some(version) };
            Some((*kind, *version?))
        };
        Self {
            programmed: noted.iter().filter_map(reached).collect(),
            failed: objects,
            behind: behind.iter().map(|(kind, reasons)| (*kind, words(reasons))).collect(),
        }
    }

    /// The same of a cluster whose versions have gone back to these.
    pub fn lowered_to(&self, versions: &Versions) -> Self {
        let lowered = |(kind, version): (&Kind, &u64)| (*kind, versions.get(kind).map_or(*version, |to| *version.min(to)));
        Self { programmed: self.programmed.iter().map(lowered).filter(|(_, version)| *version > 0).collect(), ..self.clone() }
    }

    /// Whether somebody may wait for the difference.
    pub fn is_awaited_after(&self, told: &Self) -> bool {
        let awaited = |progress: &Self| progress.programmed.iter().filter(|(kind, _)| kind.is_awaited()).map(|of| (*of.0, *of.1)).collect();
        let (now, before): (Versions, Versions) = (awaited(self), awaited(told));
        self.failed != told.failed || self.behind != told.behind || now != before
    }
}

/// Some of the reasons for which a kind stays behind, and how many there are besides.
fn words(reasons: &BTreeSet<String>) -> String {
    let shortened = |why: &String| match why.char_indices().nth(REASON) {
        Some((end, _)) => format!("{}…", &why[..end]),
        None => why.clone(),
    };
    let text = reasons.iter().take(REASONS).map(shortened).collect::<Vec<_>>().join("; ");
    match reasons.len() {
        0 => "the maps are not complete".into(),
        1..=REASONS => text,
        count => format!("{text}; and {} more", count - REASONS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_services_and_failures_are_awaited_and_the_rest_is_not() {
        let told = Progress { programmed: [(Kind::Pod, 5), (Kind::NetworkPolicy, 3)].into(), ..Progress::default() };
        assert!(!told.is_awaited_after(&told));
        let mut new = told.clone();
        new.programmed.extend([(Kind::Pod, 7), (Kind::EndpointSlice, 1), (Kind::Namespace, 6)]);
        assert!(!new.is_awaited_after(&told));
        let failed = Progress { failed: [(Object::of_cluster(Kind::ClusterNetworkPolicy, "a"), "no".into())].into(), ..told.clone() };
        assert!(failed.is_awaited_after(&told) && told.is_awaited_after(&failed));
        let behind = Progress { behind: [(Kind::NetworkPolicy, "full".into())].into(), ..told.clone() };
        assert!(behind.is_awaited_after(&told) && told.is_awaited_after(&behind));
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
        let mut behind = Failed::default();
        behind.hold_up(OF_SERVICES.into_iter().chain(OF_POLICIES), None);
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
        let mut failed = Failed::default();
        failed.hold_up(OF_POLICIES, None);
        assert_eq!(reached(&failed), [7, 4]);
    }

    #[test]
    fn why_a_kind_stays_behind_is_told_in_few_words() {
        let (mut failed, noted) = (Failed::default(), Versions::from([(Kind::Service, 7)]));
        let said = |failed: &Failed| Progress::after(&Progress::default(), &noted, failed.clone()).behind;
        assert_eq!(said(&failed), [].into());
        failed.hold_up([Kind::Service], None);
        assert_eq!(said(&failed)[&Kind::Service], "the maps are not complete");
        for why in ["c", "a", "a", "b"] {
            failed.hold_up([Kind::Service], Some(why));
        }
        failed.hold_up([Kind::Service], None);
        assert_eq!(said(&failed)[&Kind::Service], "a; b; c");
        failed.hold_up([Kind::Service, Kind::Pod], Some(&"ß".repeat(201)));
        assert_eq!(said(&failed)[&Kind::Service], "a; b; c; and 1 more");
        assert_eq!(said(&failed)[&Kind::Pod], format!("{}…", "ß".repeat(200)));
        let many = (0..=NAMED).map(|number| (Object::of_cluster(Kind::Pod, &format!("{number}")), String::new()));
        let failed = Failed { objects: many.collect(), ..Failed::default() };
        assert_eq!(said(&failed), [(Kind::Pod, "more objects are not in force than a report names".to_owned())].into());
    }
}

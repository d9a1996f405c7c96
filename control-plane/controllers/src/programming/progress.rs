//! Pure: how far each node has come with the objects of one kind, and which objects a new report says something about. A report costs time by
//! the objects whose state it moves, not by all there are.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use k8s_openapi::api::core::v1::Node;
use orknet_reconciler::ObjectKey;
use orknet_resources::kinds::programming::NodeProgramming;

use super::plan::Mark;

/// What one node reports of one kind.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Report {
    /// Up to which resource version the kind's objects are in the kernel; `None` before the first report of it.
    pub version: Option<u64>,
    /// The objects that are not in force there all the same, with the reason.
    pub failed: BTreeMap<ObjectKey, String>,
    /// Why it comes no farther, if that is due to no single object of the kind.
    pub behind: Option<String>,
}

/// How far the nodes have come with one kind, and what its objects need.
#[derive(Default)]
pub(super) struct Progress {
    nodes: BTreeMap<String, Report>,
    marks: HashMap<ObjectKey, Mark>,
    by_version: BTreeSet<(u64, ObjectKey)>,
}

/// Whom a report is about.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Wake {
    /// Objects that are now in force everywhere, or failed somewhere.
    pub now: BTreeSet<ObjectKey>,
    /// Objects that came a step nearer or farther.
    pub later: BTreeSet<ObjectKey>,
}

/// How an object stands.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Verdict {
    /// How many nodes there are.
    pub nodes: usize,
    /// On how many of them the object is in force.
    pub programmed: usize,
    /// The nodes that have not come so far, by name, with the reason if they give one.
    pub waiting: Vec<(String, Option<String>)>,
    /// The nodes where it failed, with the reason.
    pub failed: Vec<(String, String)>,
}

impl Report {
    /// What `report` says of `kind`. One of an earlier node of the same name says nothing.
    pub fn of(kind: &str, node: &Node, report: Option<&NodeProgramming>) -> Self {
        let uid = node.metadata.uid.as_deref().unwrap_or_default();
        let is_own = |report: &&NodeProgramming| {
            report.metadata.owner_references.iter().flatten().all(|owner| owner.kind != "Node" || owner.uid == uid)
        };
        let Some(status) = report.filter(is_own).and_then(|report| report.status.as_ref()) else { return Self::default() };
        let programmed = status.programmed.iter().flatten().find(|entry| entry.kind == kind);
        let failed = status.failed.iter().flatten().filter(|entry| entry.kind == kind);
        let behind = status.behind.iter().flatten().find(|entry| entry.kind == kind && !entry.message.is_empty());
        Self {
            version: programmed.and_then(|entry| entry.resource_version.parse().ok()),
            failed: failed
                .map(|entry| (ObjectKey::new(entry.namespace.as_deref().unwrap_or_default(), &entry.name), entry.message.clone()))
                .collect(),
            behind: behind.map(|entry| entry.message.clone()),
        }
    }
}

impl Progress {
    /// Takes what a node reports; `None`: the node is gone.
    pub fn report(&mut self, node: &str, report: Option<Report>) -> Wake {
        let floor = self.floor();
        let before = match &report {
            Some(report) => self.nodes.insert(node.to_owned(), report.clone()),
            None => self.nodes.remove(node),
        };
        if before == report {
            return Wake::default();
        }
        let mut wake = Wake::default();
        let risen = self.floor();
        if risen > floor {
            wake.now.extend(self.between(floor, risen));
        }
        let counts_differ = before.is_some() != report.is_some();
        let (before, report) = (before.unwrap_or_default(), report.unwrap_or_default());
        let moved = |(key, message): &(&ObjectKey, &String), other: &Report| other.failed.get(*key) != Some(*message);
        wake.now.extend(before.failed.iter().filter(|failed| moved(failed, &report)).map(|(key, _)| key.clone()));
        wake.now.extend(report.failed.iter().filter(|failed| moved(failed, &before)).map(|(key, _)| key.clone()));
        // Another node: every object is in force on one of more, or of fewer.
        let nearer = if counts_differ { self.between(None, Some(u64::MAX)) } else { self.between(before.version, report.version) };
        // What waits for the node waits for another reason.
        let told_why = if before.behind == report.behind { Vec::new() } else { self.between(report.version, Some(u64::MAX)) };
        wake.later = nearer.into_iter().chain(told_why).filter(|key| !wake.now.contains(key)).collect();
        wake
    }

    /// What was last found of an object.
    pub fn mark(&self, key: &ObjectKey) -> Option<&Mark> {
        self.marks.get(key)
    }

    /// Notes what an object needs; from now on reports wake it.
    pub fn set_mark(&mut self, key: &ObjectKey, mark: Mark) {
        self.by_version.insert((mark.version, key.clone()));
        let version = mark.version;
        if let Some(before) = self.marks.insert(key.clone(), mark)
            && before.version != version
        {
            self.by_version.remove(&(before.version, key.clone()));
        }
    }

    /// An object is gone.
    pub fn forget(&mut self, key: &ObjectKey) {
        if let Some(before) = self.marks.remove(key) {
            self.by_version.remove(&(before.version, key.clone()));
        }
    }

    /// How an object that needs `version` stands.
    pub fn verdict(&self, key: &ObjectKey, version: u64) -> Verdict {
        let mut verdict = Verdict { nodes: self.nodes.len(), ..Verdict::default() };
        for (name, report) in &self.nodes {
            if let Some(message) = report.failed.get(key) {
                verdict.failed.push((name.clone(), message.clone()));
            } else if report.version.is_some_and(|reached| reached >= version) {
                verdict.programmed += 1;
            } else {
                verdict.waiting.push((name.clone(), report.behind.clone()));
            }
        }
        verdict
    }

    /// The version that every node has reached; `None` without nodes, and while one has reported none.
    fn floor(&self) -> Option<u64> {
        self.nodes.values().map(|report| report.version).min().flatten()
    }

    /// The objects that need a version above the lower and up to the higher of the two.
    fn between(&self, one: Option<u64>, other: Option<u64>) -> Vec<ObjectKey> {
        let (low, high) = (one.min(other), one.max(other));
        let (Some(high), first) = (high, low.map_or(0, |low| low.saturating_add(1))) else { return Vec::new() };
        let from = (first, ObjectKey::new("", ""));
        self.by_version.range(from..).take_while(|(version, _)| *version <= high).map(|(_, key)| key.clone()).collect()
    }
}

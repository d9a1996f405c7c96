//! The scheduler's view of the cluster: nodes and the pods on them, as watched, plus pods whose binding is on its way (assumed).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod};
use orknet_reconciler::selector::Labels;

use crate::node_info::NodeInfo;
use crate::pod_info::PodInfo;
use crate::snapshot::Snapshot;

/// Nodes and placed pods. A pod on a node that is not known (yet) is kept and counted once the node appears.
#[derive(Default)]
pub(crate) struct Cache {
    nodes: BTreeMap<String, Arc<NodeInfo>>,
    /// Every placed pod by uid, and its node.
    placed: HashMap<String, (String, Arc<PodInfo>)>,
    /// Pods without a node for which room was made on one, by uid.
    nominated: HashMap<String, (String, Arc<PodInfo>)>,
    namespaces: Arc<HashMap<String, Labels>>,
}

impl Cache {
    /// What a decision about `pod` sees. Room that was made for others of at least its priority is theirs: they count as if they were there.
    pub fn snapshot_for(&self, pod: &PodInfo) -> Snapshot {
        let mut nodes: BTreeMap<_, _> = self.nodes.iter().map(|(name, node)| (name.as_str(), node.clone())).collect();
        let ahead = |other: &PodInfo| other.priority() >= pod.priority() && other.uid() != pod.uid();
        for (node, other) in self.nominated.values().filter(|(_, other)| ahead(other)) {
            if let Some(node) = nodes.get_mut(node.as_str()) {
                Arc::make_mut(node).add(other.clone());
            }
        }
        Snapshot { nodes: nodes.into_values().collect(), namespaces: self.namespaces.clone() }
    }

    /// Room is being made for the pod on the node.
    pub fn nominate(&mut self, pod: Arc<PodInfo>, node: &str) {
        self.nominated.insert(pod.uid().to_string(), (node.to_string(), pod));
    }

    /// The pod waits for no node in particular any more.
    pub fn withdraw(&mut self, uid: &str) {
        self.nominated.remove(uid);
    }

    /// The node on which room is being made for the pod.
    pub fn nominated_node(&self, uid: &str) -> Option<String> {
        self.nominated.get(uid).map(|(node, _)| node.clone())
    }

    pub fn set_node(&mut self, node: Arc<Node>) {
        let name = node.metadata.name.clone().unwrap_or_default();
        if let Some(info) = self.nodes.get_mut(&name) {
            Arc::make_mut(info).set_node(node);
            return;
        }
        let mut info = NodeInfo::new(node);
        let own = self.placed.values().filter(|(node, _)| *node == name);
        own.for_each(|(_, pod)| info.add(pod.clone()));
        self.nodes.insert(name, Arc::new(info));
    }

    pub fn remove_node(&mut self, name: &str) {
        self.nodes.remove(name);
    }

    /// Returns whether the labels are other ones than before.
    pub fn set_namespace(&mut self, name: &str, labels: Option<&Labels>) -> bool {
        if self.namespaces.get(name) == labels {
            return false;
        }
        let namespaces = Arc::make_mut(&mut self.namespaces);
        match labels {
            Some(labels) => namespaces.insert(name.into(), labels.clone()),
            None => namespaces.remove(name),
        };
        true
    }

    /// Places a pod on a node, because the watch says so or because it is about to be bound. The latest call counts. Returns the pod as it was
    /// placed before.
    pub fn place(&mut self, pod: Arc<Pod>, node: &str) -> Option<Arc<PodInfo>> {
        let info = Arc::new(PodInfo::new(pod));
        let before = self.remove_pod(info.uid());
        if let Some(target) = self.nodes.get_mut(node) {
            Arc::make_mut(target).add(info.clone());
        }
        self.placed.insert(info.uid().to_string(), (node.to_string(), info));
        before
    }

    /// Takes a pod off: it has ended or is gone, or its binding failed. Returns it if it was placed.
    pub fn remove_pod(&mut self, uid: &str) -> Option<Arc<PodInfo>> {
        self.nominated.remove(uid);
        let (node, pod) = self.placed.remove(uid)?;
        if let Some(info) = self.nodes.get_mut(&node) {
            Arc::make_mut(info).remove(uid);
        }
        Some(pod)
    }

    /// Whether the pod is placed, by the watch or by assumption.
    pub fn is_placed(&self, uid: &str) -> bool {
        self.placed.contains_key(uid)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::requests;
    use crate::test_objects::{node, pod};

    fn snapshot(cache: &Cache) -> Snapshot {
        cache.snapshot_for(&PodInfo::new(pod("new", json!({"spec": {"priority": 5}}))))
    }

    fn requested(cache: &Cache) -> i64 {
        snapshot(cache).nodes.iter().map(|node| requests::get(&node.requested, "cpu")).sum()
    }

    #[test]
    fn an_assumed_pod_counts_once_when_the_watch_confirms_it() {
        let mut cache = Cache::default();
        cache.set_node(node("a", json!({})));
        let pod = pod("p", json!({}));
        cache.place(pod.clone(), "a");
        cache.place(pod, "a");
        assert_eq!(requested(&cache), 100);
        cache.remove_pod("p");
        assert_eq!(requested(&cache), 0);
    }

    #[test]
    fn pods_of_a_node_that_comes_later_are_counted() {
        let mut cache = Cache::default();
        cache.place(pod("p", json!({})), "a");
        cache.set_node(node("a", json!({})));
        assert_eq!(requested(&cache), 100);
        cache.remove_node("a");
        cache.set_node(node("a", json!({})));
        assert_eq!(requested(&cache), 100);
    }

    #[test]
    fn room_made_for_a_pod_is_taken_in_the_eyes_of_all_but_more_important_ones() {
        let mut cache = Cache::default();
        cache.set_node(node("a", json!({})));
        cache.nominate(Arc::new(PodInfo::new(pod("less", json!({"spec": {"priority": 4}})))), "a");
        assert_eq!(requested(&cache), 0);
        cache.nominate(Arc::new(PodInfo::new(pod("same", json!({"spec": {"priority": 5}})))), "a");
        assert_eq!(requested(&cache), 100);
        cache.place(pod("same", json!({"spec": {"priority": 5}})), "a");
        assert_eq!(requested(&cache), 100);
        assert_eq!((cache.nominated_node("same"), cache.nominated_node("less").as_deref()), (None, Some("a")));
        cache.nominate(Arc::new(PodInfo::new(pod("new", json!({"spec": {"priority": 5}})))), "a");
        assert_eq!(requested(&cache), 100);
    }

    #[test]
    fn a_snapshot_does_not_change_with_the_cache() {
        let mut cache = Cache::default();
        cache.set_node(node("a", json!({})));
        let before = snapshot(&cache);
        cache.place(pod("p", json!({})), "a");
        assert!(before.nodes[0].pods.is_empty());
    }
}

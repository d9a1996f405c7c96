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
    namespaces: Arc<HashMap<String, Labels>>,
}

impl Cache {
    pub fn snapshot(&self) -> Snapshot {
        Snapshot { nodes: self.nodes.values().cloned().collect(), namespaces: self.namespaces.clone() }
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

    pub fn set_namespace(&mut self, name: &str, labels: Option<&Labels>) {
        let namespaces = Arc::make_mut(&mut self.namespaces);
        match labels {
            Some(labels) => namespaces.insert(name.into(), labels.clone()),
            None => namespaces.remove(name),
        };
    }

    /// Places a pod on a node, because the watch says so or because it is about to be bound. The latest call counts.
    pub fn place(&mut self, pod: Arc<Pod>, node: &str) {
        let info = Arc::new(PodInfo::new(pod));
        self.remove_pod(info.uid());
        if let Some(target) = self.nodes.get_mut(node) {
            Arc::make_mut(target).add(info.clone());
        }
        self.placed.insert(info.uid().to_string(), (node.to_string(), info));
    }

    /// Takes a pod off: it has ended or is gone, or its binding failed.
    pub fn remove_pod(&mut self, uid: &str) {
        if let Some((node, _)) = self.placed.remove(uid)
            && let Some(info) = self.nodes.get_mut(&node)
        {
            Arc::make_mut(info).remove(uid);
        }
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

    fn requested(cache: &Cache) -> i64 {
        cache.snapshot().nodes.iter().map(|node| requests::get(&node.requested, "cpu")).sum()
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
    fn a_snapshot_does_not_change_with_the_cache() {
        let mut cache = Cache::default();
        cache.set_node(node("a", json!({})));
        let before = cache.snapshot();
        cache.place(pod("p", json!({})), "a");
        assert!(before.nodes[0].pods.is_empty());
    }
}

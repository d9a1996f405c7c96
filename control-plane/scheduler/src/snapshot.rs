//! What one decision sees: all nodes with their pods at one moment. Immutable and cheap to take (shared pointers).

use std::collections::HashMap;
use std::sync::Arc;

use orknet_reconciler::selector::Labels;

use crate::node_info::NodeInfo;

/// The cluster at one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Snapshot {
    /// By name.
    pub nodes: Vec<Arc<NodeInfo>>,
    /// Labels by namespace, for affinity terms with a namespace selector.
    pub namespaces: Arc<HashMap<String, Labels>>,
}

impl Snapshot {
    /// The same moment with one node replaced: what would be if its pods were others.
    pub fn with_node(&self, position: usize, node: Arc<NodeInfo>) -> Self {
        let mut nodes = self.nodes.clone();
        nodes[position] = node;
        Self { nodes, namespaces: self.namespaces.clone() }
    }
}

//! Steps by kind, put into their order at the end.

use crate::image::{Plan, Step};

/// A plan in the making.
#[derive(Default)]
pub(super) struct Draft {
    /// What nobody uses and nobody can use.
    pub delete_leftovers: Vec<Step>,
    /// Services that leave their tables before the tables change their size.
    pub leave_tables: Vec<Step>,
    pub put_node: Vec<Step>,
    pub put_tables: Vec<Step>,
    pub put_backends: Vec<Step>,
    pub put_sources: Vec<Step>,
    pub put_rules: Vec<Step>,
    pub put_ports: Vec<Step>,
    pub put_verdicts: Vec<Step>,
    /// In the order of their keys, as the services that go.
    pub put_peers: Vec<Step>,
    pub put_pods: Vec<Step>,
    pub put_services: Vec<Step>,
    pub put_ranges: Vec<Step>,
    pub delete_ranges: Vec<Step>,
    /// In the order of their keys: what is inside before what is outside.
    pub delete_services: Vec<Step>,
    pub delete_pods: Vec<Step>,
    pub delete_peers: Vec<Step>,
    pub delete_verdicts: Vec<Step>,
    pub delete_ports: Vec<Step>,
    pub delete_rules: Vec<Step>,
    pub delete_sources: Vec<Step>,
    pub delete_backends: Vec<Step>,
    pub delete_tables: Vec<Step>,
}

impl Draft {
    pub fn into_plan(mut self) -> Plan {
        // A front that is outside is never seen without the one that is inside.
        self.delete_services.reverse();
        // Nor is who is known ever taken for one of those around.
        self.put_peers.reverse();
        let kinds = [
            self.delete_leftovers,
            self.leave_tables,
            self.put_node,
            self.put_tables,
            self.put_backends,
            self.put_sources,
            self.put_rules,
            self.put_ports,
            self.put_verdicts,
            self.put_peers,
            self.put_pods,
            self.put_services,
            self.put_ranges,
            self.delete_ranges,
            self.delete_services,
            self.delete_pods,
            self.delete_peers,
            self.delete_verdicts,
            self.delete_ports,
            self.delete_rules,
            self.delete_sources,
            self.delete_backends,
            self.delete_tables,
        ];
        Plan { steps: kinds.into_iter().flatten().collect() }
    }
}

//! What the API server says of policies and of those whom they select; without it, everything goes by addresses and uids.

use crate::cluster::layout::Cluster;
use crate::names::{Pods, Server, has_ended, is_on_host, phase};
use anyhow::Result;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{Api, ApiResource, DynamicObject};
use orknet_abi::{Address, Rule, direction};
use orknet_compiler::clusternetworkpolicy::ClusterNetworkPolicy;
use orknet_compiler::facts::{Action, ClusterPolicyFacts, Labels, NamespaceFacts, ObjectName, PolicyFacts, RuleFacts, Tier, Uid};
use orknet_compiler::{Names, PolicyName};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// The objects.
#[derive(Debug, Default)]
pub struct Known {
    pods: Pods,
    namespaces: BTreeMap<Arc<str>, NamespaceFacts>,
    policies: BTreeMap<ObjectName, PolicyFacts>,
    cluster_policies: BTreeMap<Arc<str>, ClusterPolicyFacts>,
    whereabouts: BTreeMap<ObjectName, Whereabouts>,
    /// Their addresses, by their names.
    nodes: BTreeMap<String, Vec<Address>>,
}

/// Where a pod is to be looked for.
#[derive(Clone, Debug, Default)]
pub struct Whereabouts {
    /// `None` before it is scheduled.
    pub node: Option<String>,
    /// It has the network of its node, and no address of its own.
    pub is_on_host: bool,
    /// `Succeeded` or `Failed`: it has given its address back.
    pub ended: Option<String>,
}

/// What one policy says about a pod in one direction.
#[derive(Debug)]
pub struct Holding<'a> {
    pub policy: PolicyName,
    pub uid: Uid,
    /// `Admin`, `NetworkPolicy`, `Baseline`: in this order they are asked.
    pub tier: &'static str,
    /// In their order.
    pub rules: Vec<HeldRule<'a>>,
}

/// A rule of a policy.
#[derive(Debug)]
pub struct HeldRule<'a> {
    /// Its place, from 0.
    pub index: u32,
    /// Empty without one.
    pub name: &'a str,
    pub action: Action,
    pub facts: &'a RuleFacts,
}

impl Known {
    /// Asks the API server of a kubeconfig: the one named, the cluster's, that of `KUBECONFIG`, or `~/.kube/config`.
    pub fn load(kubeconfig: Option<PathBuf>, cluster: Option<&Cluster>) -> Result<Self> {
        let server = Server::open(kubeconfig, cluster)?;
        let mut names = Names::default();
        let mut known = Self::default();
        let pods: Vec<Pod> = server.all()?;
        known.whereabouts = pods.iter().map(|pod| (ObjectName::of(&pod.metadata, &mut names), Whereabouts::of(pod))).collect();
        known.pods = Pods::of(&pods, &mut names);
        // Who may not list nodes does without.
        for node in server.all::<Node>().unwrap_or_default() {
            let addresses = node.status.into_iter().flat_map(|status| status.addresses).flatten();
            let own = addresses.filter_map(|address| address.address.parse::<IpAddr>().ok()).map(Address::from).collect();
            known.nodes.insert(node.metadata.name.unwrap_or_default(), own);
        }
        for namespace in server.all::<Namespace>()? {
            let name = names.intern(namespace.metadata.name.as_deref().unwrap_or_default());
            known.namespaces.insert(name, NamespaceFacts::of(&namespace, &mut names));
        }
        let resource = ApiResource::erase::<NetworkPolicy>(&());
        for policy in server.list::<DynamicObject>(&resource.plural, |client| Api::all_with(client, &resource))? {
            let facts = PolicyFacts::read(&policy.metadata, &policy.data["spec"], &mut names);
            known.policies.insert(ObjectName::of(&policy.metadata, &mut names), facts);
        }
        for policy in server.all::<ClusterNetworkPolicy>()? {
            let name = names.intern(policy.metadata.name.as_deref().unwrap_or_default());
            known.cluster_policies.insert(name, ClusterPolicyFacts::of(&policy, &mut names));
        }
        Ok(known)
    }

    /// The addresses of a pod by its name.
    pub fn addresses(&self, pod: &ObjectName) -> Option<&[Address]> {
        self.pods.get(pod).map(|facts| &*facts.addresses)
    }

    /// Where a pod is.
    pub fn whereabouts(&self, pod: &ObjectName) -> Option<&Whereabouts> {
        self.whereabouts.get(pod)
    }

    /// The name of the node that has one of these addresses.
    pub fn node_at(&self, addresses: &[Address]) -> Option<&str> {
        let has = |(_, own): &(&String, &Vec<Address>)| own.iter().any(|address| addresses.contains(address));
        self.nodes.iter().find(has).map(|(name, _)| name.as_str())
    }

    /// The nodes of the cluster.
    pub fn nodes(&self) -> impl Iterator<Item = &str> {
        self.nodes.keys().map(String::as_str)
    }

    /// The pod that has an address of its own.
    pub fn pod_at(&self, address: Address) -> Option<&ObjectName> {
        self.pods.at(address)
    }

    /// The policy with a uid.
    pub fn policy_with(&self, uid: Uid) -> Option<PolicyName> {
        let own = self.policies.iter().find(|(_, facts)| facts.uid == uid).map(|(name, _)| PolicyName::Namespaced(name.clone()));
        let cluster =
            || self.cluster_policies.iter().find(|(_, facts)| facts.uid == uid).map(|(name, _)| PolicyName::Cluster(Arc::clone(name)));
        own.or_else(cluster)
    }

    /// The name of a rule; empty if it has none, or is not known.
    pub fn rule_name(&self, rule: &Rule) -> &str {
        let policy = self.cluster_policies.values().find(|policy| policy.uid.0 == rule.policy);
        let is_egress = u32::from(rule.direction) == direction::EGRESS;
        let rules = policy.map(|policy| if is_egress { &policy.egress } else { &policy.ingress });
        rules.and_then(|rules| rules.get(rule.index as usize)).map_or("", |rule| &rule.name)
    }

    /// The policies that select a pod and say something about a [`direction`], in the order in which they are asked.
    pub fn holding(&self, pod: &ObjectName, way: u32) -> Vec<Holding<'_>> {
        let Some(facts) = self.pods.get(pod) else { return Vec::new() };
        let unseen = Labels::default();
        let namespace_labels = self.namespaces.get(&pod.namespace).map_or(&unseen, |namespace| &namespace.labels);
        let mut cluster: Vec<_> = self
            .cluster_policies
            .iter()
            .filter(|(_, policy)| policy.subject.namespaces.selects(namespace_labels) && policy.subject.pods.selects(&facts.labels))
            .collect();
        cluster.sort_by_key(|(name, policy)| (policy.priority, Arc::clone(name)));
        let of_tier = |tier: Tier, tier_name: &'static str| {
            let rules =
                move |policy: &'_ ClusterPolicyFacts| if way == direction::EGRESS { policy.egress.len() } else { policy.ingress.len() };
            let of = cluster.iter().filter(move |(_, policy)| policy.tier == tier && rules(policy) > 0);
            of.map(move |(name, policy)| Holding {
                policy: PolicyName::Cluster(Arc::clone(name)),
                uid: policy.uid,
                tier: tier_name,
                rules: (0..)
                    .zip(if way == direction::EGRESS { &policy.egress } else { &policy.ingress })
                    .map(|(index, rule)| HeldRule { index, name: &rule.name, action: rule.action, facts: &rule.rule })
                    .collect(),
            })
            .collect::<Vec<_>>()
        };
        let own = self.policies.iter().filter(|(name, policy)| name.namespace == pod.namespace && policy.pods.selects(&facts.labels));
        let own = own.filter_map(|(name, policy)| {
            let rules = if way == direction::EGRESS { policy.egress.as_deref() } else { policy.ingress.as_deref() }?;
            let accepting = |(index, facts)| HeldRule { index, name: "", action: Action::Accept, facts };
            let rules = (0..).zip(rules).map(accepting).collect();
            Some(Holding { policy: PolicyName::Namespaced(name.clone()), uid: policy.uid, tier: "NetworkPolicy", rules })
        });
        let (admin, baseline) = (of_tier(Tier::Admin, "Admin"), of_tier(Tier::Baseline, "Baseline"));
        admin.into_iter().chain(own).chain(baseline).collect()
    }
}

impl Whereabouts {
    fn of(pod: &Pod) -> Self {
        let ended = phase(pod).filter(|_| has_ended(pod)).map(str::to_owned);
        Self { node: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()), is_on_host: is_on_host(pod), ended }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use orknet_abi::policy_kind;
    use serde_json::json;

    #[test]
    fn rules_of_cluster_policies_have_their_names() {
        let policy: ClusterNetworkPolicy = serde_json::from_value(json!({
            "apiVersion": "policy.networking.k8s.io/v1alpha2", "kind": "ClusterNetworkPolicy",
            "metadata": { "name": "tenants", "uid": "00112233-4455-6677-8899-aabbccddeeff" },
            "spec": {
                "tier": "Admin", "priority": 1, "subject": { "namespaces": {} },
                "ingress": [{ "action": "Deny", "from": [{ "namespaces": {} }] },
                    { "name": "monitoring", "action": "Accept", "from": [{ "namespaces": {} }] }],
            },
        }))
        .unwrap();
        let mut names = Names::default();
        let facts = ClusterPolicyFacts::of(&policy, &mut names);
        let policy = facts.uid.0;
        let pod = ObjectName { namespace: "shop".into(), name: "web".into() };
        let mut known = Known { cluster_policies: [("tenants".into(), facts)].into(), ..Known::default() };
        let object: Pod = serde_json::from_value(json!({ "metadata": { "namespace": "shop", "name": "web" } })).unwrap();
        known.pods = Pods::of([&object], &mut names);
        let rule = |way: u32, index| Rule { policy, index, direction: way as u8, kind: policy_kind::CLUSTER_NETWORK_POLICY, reserved: 0 };
        let named = [rule(direction::INGRESS, 0), rule(direction::INGRESS, 1), rule(direction::EGRESS, 1), rule(direction::INGRESS, 2)];
        assert_eq!(named.map(|rule| known.rule_name(&rule)), ["", "monitoring", "", ""]);
        let holding = known.holding(&pod, direction::INGRESS);
        assert_eq!(holding[0].rules.iter().map(|rule| (rule.index, rule.name)).collect::<Vec<_>>(), [(0, ""), (1, "monitoring")]);
    }
}

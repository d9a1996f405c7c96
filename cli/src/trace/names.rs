//! What the API server knows of names: pods, Services, nodes, policies. Asked for when first needed, and remembered; why something is not known
//! is told once.

use crate::cluster::layout::Cluster;
use crate::names::{Pods, Server, rule_text, service_addresses};
use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::Resource;
use kube::api::{Api, ApiResource, DynamicObject};
use orknet_abi::{Rule, direction};
use orknet_compiler::clusternetworkpolicy::ClusterNetworkPolicy;
use orknet_compiler::facts::{ObjectName, Uid};
use orknet_compiler::{Names as Interned, PolicyName};
use serde_json::Value;
use std::cell::{OnceCell, RefCell};
use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::path::PathBuf;

/// Asks the API server, and remembers what it said.
pub struct Names {
    server: Server,
    pods: OnceCell<Pods>,
    services: OnceCell<Vec<Service>>,
    policies: OnceCell<HashMap<Uid, Policy>>,
    /// Why names are not known, as was told.
    told: RefCell<BTreeSet<String>>,
}

/// What a policy is called.
struct Policy {
    name: PolicyName,
    /// The names of its rules for ingress and egress, empty where there is none; of those of NetworkPolicies there are none.
    rules: [Vec<String>; 2],
}

impl Names {
    /// Of the kubeconfig that is meant, if there is one.
    pub fn open(kubeconfig: Option<PathBuf>, cluster: Option<&Cluster>) -> Result<Self> {
        let server = Server::open(kubeconfig, cluster)?;
        Ok(Self { server, pods: OnceCell::new(), services: OnceCell::new(), policies: OnceCell::new(), told: RefCell::default() })
    }

    /// A pod by its name.
    pub fn pod(&self, namespace: &str, name: &str) -> Result<Pod> {
        self.server
            .ask(async |client| Api::namespaced(client, namespace).get(name).await)
            .with_context(|| format!("pod {namespace}/{name}"))
    }

    /// A Service by its name.
    pub fn service(&self, namespace: &str, name: &str) -> Result<Service> {
        let asked = self.server.ask(async |client| Api::namespaced(client, namespace).get(name).await);
        asked.with_context(|| format!("Service {namespace}/{name}"))
    }

    /// A node by its name.
    pub fn node(&self, name: &str) -> Result<Node> {
        self.server.ask(async |client| Api::all(client).get(name).await).with_context(|| format!("node {name}"))
    }

    /// What was answered; a failure goes for nothing, and is told.
    fn known<T: Default>(&self, answer: Result<T>) -> T {
        answer.unwrap_or_else(|error| {
            if let Some(why) = self.news(&error) {
                eprintln!("orknet: names are not known: {why}");
            }
            T::default()
        })
    }

    /// Why an answer is missing, unless that has been told.
    fn news(&self, error: &anyhow::Error) -> Option<String> {
        // Which objects were asked for says little where none can be.
        let why = error.root_cause().to_string();
        self.told.borrow_mut().insert(why).then(|| format!("{error:#}"))
    }

    /// The pod that has an address of its own, `namespace/name`.
    pub fn pod_at(&self, address: IpAddr) -> Option<String> {
        let list = || Pods::of(&self.known(self.server.all()), &mut Interned::default());
        self.pods.get_or_init(list).at(address.into()).map(|name| format!("{}/{}", name.namespace, name.name))
    }

    /// The Service that has an address, `namespace/name`.
    pub fn service_at(&self, address: IpAddr) -> Option<String> {
        let services = self.services.get_or_init(|| self.known(self.server.all()));
        let service = services.iter().find(|service| service_addresses(service).contains(&address))?;
        let meta = service.meta();
        Some(format!("{}/{}", meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default()))
    }

    /// A rule of a policy, as a person would name it.
    pub fn rule(&self, rule: &Rule) -> String {
        let policy = self.policies.get_or_init(|| self.all_policies()).get(&Uid(rule.policy));
        let rules = policy.map(|policy| &policy.rules[usize::from(u32::from(rule.direction) == direction::EGRESS)]);
        let name = rules.and_then(|rules| rules.get(rule.index as usize)).map_or("", String::as_str);
        rule_text(rule, policy.map(|policy| &policy.name), name)
    }

    /// By their uids. Nothing but names is read: those of policies of another form count, too.
    fn all_policies(&self) -> HashMap<Uid, Policy> {
        let list = |resource: ApiResource| -> Vec<DynamicObject> {
            self.known(self.server.list(&resource.plural, |client| Api::all_with(client, &resource)))
        };
        let mut names = Interned::default();
        let mut policies = HashMap::new();
        for policy in list(ApiResource::erase::<NetworkPolicy>(&())) {
            let uid = Uid::of(policy.metadata.uid.as_deref().unwrap_or_default());
            let name = PolicyName::Namespaced(ObjectName::of(&policy.metadata, &mut names));
            policies.insert(uid, Policy { name, rules: Default::default() });
        }
        for policy in list(ApiResource::erase::<ClusterNetworkPolicy>(&())) {
            let uid = Uid::of(policy.metadata.uid.as_deref().unwrap_or_default());
            let name = PolicyName::Cluster(names.intern(policy.metadata.name.as_deref().unwrap_or_default()));
            let rules = ["ingress", "egress"].map(|list| rule_names(&policy.data["spec"][list]));
            policies.insert(uid, Policy { name, rules });
        }
        policies
    }
}

/// The names of a list of rules in a ClusterNetworkPolicy, empty where there is none.
fn rule_names(rules: &Value) -> Vec<String> {
    rules.as_array().into_iter().flatten().map(|rule| rule["name"].as_str().unwrap_or_default().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use orknet_abi::policy_kind;

    #[test]
    fn rules_are_called_by_their_places_and_names() {
        let uid = Uid::of("00112233-4455-6677-8899-aabbccddeeff");
        let rules = [rule_names(&serde_json::json!([{}, { "name": "monitoring" }])), rule_names(&Value::Null)];
        let names = Names::open(Some("/nonexistent".into()), None).unwrap();
        let known = HashMap::from([(uid, Policy { name: PolicyName::Cluster("tenants".into()), rules })]);
        let names = Names { policies: OnceCell::from(known), ..names };
        let rule =
            |way: u32, index| Rule { policy: uid.0, index, direction: way as u8, kind: policy_kind::CLUSTER_NETWORK_POLICY, reserved: 0 };
        let told = [rule(direction::INGRESS, 0), rule(direction::INGRESS, 1), rule(direction::EGRESS, 1)].map(|rule| names.rule(&rule));
        let tenants = "ClusterNetworkPolicy tenants";
        assert_eq!(told, [format!("{tenants} ingress[0]"), format!("{tenants} ingress[1] \"monitoring\""), format!("{tenants} egress[1]")]);
    }

    #[test]
    fn without_a_kubeconfig_there_are_addresses_and_uids_and_that_is_told_once() {
        let directory = tempfile::tempdir().unwrap();
        let names = Names::open(Some(directory.path().join("none")), None).unwrap();
        assert_eq!(names.pod_at([10, 0, 0, 1].into()), None);
        assert_eq!(names.service_at([10, 0, 0, 1].into()), None);
        assert!(names.rule(&Rule { policy: [0; 16], index: 0, direction: 0, kind: 0, reserved: 0 }).contains("with uid"));
        assert_eq!(names.told.borrow().len(), 1, "{:?}", names.told);
        assert_eq!(names.news(&names.server.all::<Pod>().unwrap_err()), None);
    }

    #[test]
    fn each_reason_is_told() {
        let names = Names::open(Some("/nonexistent".into()), None).unwrap();
        let refused = |kind: &str| anyhow::anyhow!("{kind} is forbidden").context(format!("cannot list {kind}"));
        assert_eq!(names.news(&refused("services")).as_deref(), Some("cannot list services: services is forbidden"));
        assert_eq!(names.news(&refused("services")), None);
        assert!(names.news(&refused("pods")).is_some());
    }
}

//! What the API server knows of names: pods, Services, nodes, policies. Everything works without it, for addresses alone.

use crate::cluster::layout::Cluster;
use crate::commands::daemon;
use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, ListParams};
use kube::{Client, Resource};
use orknet_abi::{Rule, direction, policy_kind};
use orknet_compiler::facts::Uid;
use orknet_compiler::rows::rule_path;
use serde_json::Value;
use std::cell::OnceCell;
use std::net::IpAddr;
use std::path::PathBuf;
use tokio::runtime::Runtime;

/// Seconds that a question may take.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);

/// Asks the API server, and remembers what it said.
pub struct Names {
    runtime: Runtime,
    /// Or why there is none.
    client: Result<Client, String>,
    pods: OnceCell<Vec<Pod>>,
    services: OnceCell<Vec<Service>>,
    policies: OnceCell<Vec<Policy>>,
}

/// A policy's name.
struct Policy {
    uid: Uid,
    kind: u8,
    namespace: Option<String>,
    name: String,
    /// Names of its rules, for ingress and egress; of those of NetworkPolicies there are none.
    rules: [Vec<String>; 2],
}

impl Names {
    /// With a kubeconfig if there is one: the one named, the cluster's, that of `KUBECONFIG`, or `~/.kube/config`.
    pub fn open(kubeconfig: Option<PathBuf>, cluster: Option<&Cluster>) -> Result<Self> {
        let runtime = daemon::runtime()?;
        let client = match kubeconfig_path(kubeconfig, cluster) {
            None => Err("no kubeconfig; remedy: --kubeconfig FILE".to_owned()),
            Some(path) => runtime.block_on(daemon::client(&path, "orknet")).map_err(|error| format!("{error:#}")),
        };
        Ok(Self { runtime, client, pods: OnceCell::new(), services: OnceCell::new(), policies: OnceCell::new() })
    }

    fn ask<T>(&self, what: impl AsyncFnOnce(Client) -> kube::Result<T>) -> Result<T> {
        let client = self.client.clone().map_err(anyhow::Error::msg).context("names cannot be looked up")?;
        let answer = self.runtime.block_on(async { tokio::time::timeout(PATIENCE, what(client)).await });
        match answer.context("the API server does not answer")? {
            Err(kube::Error::Api(status)) => Err(anyhow::Error::msg(status.message.clone())),
            answer => answer.context("the API server cannot be asked"),
        }
    }

    /// A pod by its name.
    pub fn pod(&self, namespace: &str, name: &str) -> Result<Pod> {
        self.ask(async |client| Api::namespaced(client, namespace).get(name).await).with_context(|| format!("pod {namespace}/{name}"))
    }

    /// A Service by its name.
    pub fn service(&self, namespace: &str, name: &str) -> Result<Service> {
        self.ask(async |client| Api::namespaced(client, namespace).get(name).await).with_context(|| format!("Service {namespace}/{name}"))
    }

    /// A node by its name.
    pub fn node(&self, name: &str) -> Result<Node> {
        self.ask(async |client| Api::all(client).get(name).await).with_context(|| format!("node {name}"))
    }

    fn all<T>(&self) -> Vec<T>
    where
        T: Resource<DynamicType = ()> + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
    {
        self.ask(async |client| Api::<T>::all(client).list(&ListParams::default()).await).map(|list| list.items).unwrap_or_default()
    }

    /// The pod that has an address, `namespace/name`. Pods of the host's network, and those that have ended, have none of their own.
    pub fn pod_at(&self, address: IpAddr) -> Option<String> {
        let pods = self.pods.get_or_init(|| self.all());
        pods.iter().find(|pod| !is_on_host(pod) && !has_ended(pod) && addresses(pod).any(|own| own == address)).map(full_name)
    }

    /// The Service that has an address.
    pub fn service_at(&self, address: IpAddr) -> Option<String> {
        let services = self.services.get_or_init(|| self.all());
        services.iter().find(|service| service_addresses(service).contains(&address)).map(full_name)
    }

    /// A rule of a policy, as a person would name it.
    pub fn rule(&self, rule: &Rule) -> String {
        let policies = self.policies.get_or_init(|| self.all_policies());
        let kind = if rule.kind == policy_kind::CLUSTER_NETWORK_POLICY { "ClusterNetworkPolicy" } else { "NetworkPolicy" };
        let list = if u32::from(rule.direction) == direction::EGRESS { "egress" } else { "ingress" };
        let known = policies.iter().find(|policy| policy.kind == rule.kind && policy.uid.0 == rule.policy);
        let policy = match known {
            Some(Policy { namespace: Some(namespace), name, .. }) => format!("{namespace}/{name}"),
            Some(Policy { name, .. }) => name.clone(),
            None => format!("with uid {}", uid_text(&rule.policy)),
        };
        let rules = known.map(|policy| &policy.rules[usize::from(list == "egress")]);
        let name = rules.and_then(|rules| rules.get(rule.index as usize)).map_or("", String::as_str);
        rule_path(format_args!("{kind} {policy}"), list, rule.index, name)
    }

    fn all_policies(&self) -> Vec<Policy> {
        let own = self.all::<NetworkPolicy>().into_iter();
        let policies = own.map(|policy| (policy.metadata, policy_kind::NETWORK_POLICY, Default::default()));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("policy.networking.k8s.io", "v1alpha2", "ClusterNetworkPolicy"));
        let list = self.ask(async |client| Api::<DynamicObject>::all_with(client, &resource).list(&ListParams::default()).await);
        let cluster = list.map(|list| list.items).unwrap_or_default().into_iter();
        let rules = |policy: &DynamicObject| ["ingress", "egress"].map(|list| rule_names(&policy.data["spec"][list]));
        let cluster = cluster.map(|policy| {
            let rules = rules(&policy);
            (policy.metadata, policy_kind::CLUSTER_NETWORK_POLICY, rules)
        });
        let named = |(metadata, kind, rules): (kube::api::ObjectMeta, u8, _)| Policy {
            uid: Uid::of(metadata.uid.as_deref().unwrap_or_default()),
            kind,
            namespace: metadata.namespace,
            name: metadata.name.unwrap_or_default(),
            rules,
        };
        policies.chain(cluster).map(named).collect()
    }
}

/// The kubeconfig that is meant: the one named, the cluster's, that of `KUBECONFIG`, or `~/.kube/config`.
pub fn kubeconfig_path(named: Option<PathBuf>, cluster: Option<&Cluster>) -> Option<PathBuf> {
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".kube/config")).filter(|path| path.exists());
    let of_environment = || std::env::var_os("KUBECONFIG").map(PathBuf::from).or_else(home);
    named.or_else(|| cluster.map(Cluster::kubeconfig_path)).or_else(of_environment)
}

/// The names of a list of rules in a ClusterNetworkPolicy, empty where there is none.
fn rule_names(rules: &Value) -> Vec<String> {
    rules.as_array().into_iter().flatten().map(|rule| rule["name"].as_str().unwrap_or_default().to_owned()).collect()
}

/// `namespace/name`.
fn full_name<T: Resource<DynamicType = ()>>(object: &T) -> String {
    let meta = object.meta();
    format!("{}/{}", meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default())
}

/// The 16 bytes as a UUID is written.
fn uid_text(uid: &[u8; 16]) -> String {
    let hex: String = uid.iter().map(|byte| format!("{byte:02x}")).collect();
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

/// Whether a pod has the host's network.
pub fn is_on_host(pod: &Pod) -> bool {
    pod.spec.as_ref().and_then(|spec| spec.host_network).unwrap_or(false)
}

/// Whether a pod runs no more, and has given its address back.
pub fn has_ended(pod: &Pod) -> bool {
    matches!(phase(pod), Some("Succeeded" | "Failed"))
}

/// `status.phase`.
pub fn phase(pod: &Pod) -> Option<&str> {
    pod.status.as_ref().and_then(|status| status.phase.as_deref())
}

/// A pod's addresses.
pub fn addresses(pod: &Pod) -> impl Iterator<Item = IpAddr> + '_ {
    let status = pod.status.iter();
    let listed = status.clone().flat_map(|status| status.pod_ips.iter().flatten()).map(|ip| ip.ip.as_str());
    let one = status.filter(|status| status.pod_ips.is_none()).filter_map(|status| status.pod_ip.as_deref());
    listed.chain(one).filter_map(|text| text.parse().ok())
}

/// Addresses at which a Service is there: the cluster's first.
pub fn service_addresses(service: &Service) -> Vec<IpAddr> {
    let spec = service.spec.as_ref();
    let cluster = spec.and_then(|spec| spec.cluster_ips.clone().or_else(|| spec.cluster_ip.clone().map(|ip| vec![ip])));
    let external = spec.and_then(|spec| spec.external_ips.clone());
    let balancer =
        service.status.iter().filter_map(|status| status.load_balancer.as_ref()?.ingress.clone()).flatten().filter_map(|it| it.ip);
    cluster.into_iter().flatten().chain(external.into_iter().flatten()).chain(balancer).filter_map(|text| text.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_called_by_their_places_and_names() {
        let uid = Uid::of("00112233-4455-6677-8899-aabbccddeeff");
        let rules = [rule_names(&serde_json::json!([{}, { "name": "monitoring" }])), rule_names(&Value::Null)];
        let policy = Policy { uid, kind: policy_kind::CLUSTER_NETWORK_POLICY, namespace: None, name: "tenants".into(), rules };
        let names = Names {
            runtime: daemon::runtime().unwrap(),
            client: Err("none".into()),
            pods: OnceCell::new(),
            services: OnceCell::new(),
            policies: OnceCell::from(vec![policy]),
        };
        let rule =
            |way: u32, index| Rule { policy: uid.0, index, direction: way as u8, kind: policy_kind::CLUSTER_NETWORK_POLICY, reserved: 0 };
        let told = [rule(direction::INGRESS, 0), rule(direction::INGRESS, 1), rule(direction::EGRESS, 1)].map(|rule| names.rule(&rule));
        let tenants = "ClusterNetworkPolicy tenants";
        assert_eq!(told, [format!("{tenants} ingress[0]"), format!("{tenants} ingress[1] \"monitoring\""), format!("{tenants} egress[1]")]);
    }

    #[test]
    fn a_uid_is_shown_as_it_was_written() {
        let text = "6e4c3d2a-0102-4304-8506-0708090a0b0c";
        assert_eq!(uid_text(&Uid::of(text).0), text);
    }
}

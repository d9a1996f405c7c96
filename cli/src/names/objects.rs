//! What is read in objects of the API, and whose an address or a rule is.

use k8s_openapi::api::core::v1::{Pod, Service};
use orknet_abi::{Address, Rule, direction, policy_kind};
use orknet_compiler::facts::{ObjectName, PodFacts};
use orknet_compiler::rows::{rule_path, uid_text};
use orknet_compiler::{Names, PolicyName};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Pods by name.
#[derive(Debug, Default)]
pub struct Pods(BTreeMap<ObjectName, PodFacts>);

impl Pods {
    /// Those of a list.
    pub fn of<'a>(list: impl IntoIterator<Item = &'a Pod>, names: &mut Names) -> Self {
        Self(list.into_iter().map(|pod| (ObjectName::of(&pod.metadata, names), PodFacts::of(pod, names))).collect())
    }

    pub fn get(&self, name: &ObjectName) -> Option<&PodFacts> {
        self.0.get(name)
    }

    /// The pod that has an address of its own; of several the newest. Pods of the host's network, and those that have ended, have none.
    pub fn at(&self, address: Address) -> Option<&ObjectName> {
        let has = |(_, facts): &(&ObjectName, &PodFacts)| facts.is_peer && facts.addresses.contains(&address);
        self.0.iter().filter(has).max_by_key(|(_, facts)| facts.created).map(|(name, _)| name)
    }
}

/// A rule as a path leads to it: `NetworkPolicy default/web ingress[0]`, with its own name, unless that is empty. One whose policy is not known
/// has its uid.
pub fn rule_text(rule: &Rule, policy: Option<&PolicyName>, name: &str) -> String {
    let list = if u32::from(rule.direction) == direction::EGRESS { "egress" } else { "ingress" };
    match policy {
        Some(policy) => rule_path(policy, list, rule.index, name),
        None => rule_path(unknown_policy(rule), list, rule.index, name),
    }
}

/// The policy of a rule that nobody has a name for.
pub fn unknown_policy(rule: &Rule) -> String {
    let kind = if rule.kind == policy_kind::CLUSTER_NETWORK_POLICY { "ClusterNetworkPolicy" } else { "NetworkPolicy" };
    format!("{kind} with uid {}", uid_text(rule.policy))
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

/// A pod's addresses, those of its host among them.
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
    use orknet_compiler::facts::Uid;
    use serde_json::json;

    #[test]
    fn an_address_is_the_pods_that_has_it_of_itself_and_still() {
        let pod = |name: &str, created: &str, more: serde_json::Value| -> Pod {
            let mut pod = json!({"metadata": {"namespace": "a", "name": name, "creationTimestamp": created},
                "status": {"podIP": "10.0.0.1", "phase": "Running"}});
            more.as_object().unwrap().iter().for_each(|(field, value)| pod[field] = value.clone());
            serde_json::from_value(pod).unwrap()
        };
        let list = [
            pod("host", "2026-01-04T00:00:00Z", json!({"spec": {"hostNetwork": true, "containers": []}})),
            pod("ended", "2026-01-03T00:00:00Z", json!({"status": {"podIP": "10.0.0.1", "phase": "Failed"}})),
            pod("new", "2026-01-02T00:00:00Z", json!({})),
            pod("old", "2026-01-01T00:00:00Z", json!({})),
        ];
        let pods = Pods::of(&list, &mut Names::default());
        let at = |address: &str| pods.at(address.parse::<IpAddr>().unwrap().into()).map(|name| &*name.name);
        assert_eq!(at("10.0.0.1"), Some("new"));
        assert_eq!(at("10.0.0.2"), None);
    }

    #[test]
    fn a_rule_has_its_policys_name_or_uid() {
        let text = "6e4c3d2a-0102-4304-8506-0708090a0b0c";
        let rule = |kind, way: u32| Rule { policy: Uid::of(text).0, index: 2, direction: way as u8, kind, reserved: 0 };
        let own = PolicyName::Namespaced(ObjectName { namespace: "default".into(), name: "web".into() });
        assert_eq!(
            rule_text(&rule(policy_kind::NETWORK_POLICY, direction::INGRESS), Some(&own), ""),
            "NetworkPolicy default/web ingress[2]"
        );
        let cluster = rule(policy_kind::CLUSTER_NETWORK_POLICY, direction::EGRESS);
        let all = PolicyName::Cluster("all".into());
        assert_eq!(rule_text(&cluster, Some(&all), "dns"), "ClusterNetworkPolicy all egress[2] \"dns\"");
        assert_eq!(rule_text(&cluster, None, ""), format!("ClusterNetworkPolicy with uid {text} egress[2]"));
    }
}

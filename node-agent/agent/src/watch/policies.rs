//! Policies, and those whom they speak of, for the programmer. Of the cluster's pods, tens of thousands, only facts are kept.

use super::{Feed, follow, follow_if_served};
use crate::programmer::{Listed, Message};
use crate::progress::Kind;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{ApiResource, DynamicObject};
use kube::{Api, Client};
use orknet_compiler::clusternetworkpolicy::ClusterNetworkPolicy;
use orknet_compiler::{Change, ClusterPolicyFacts, Names, NamespaceFacts, ObjectName, PodFacts, PolicyFacts};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// The NetworkPolicies. One that cannot be read must not keep the others from being seen: it isolates its namespace.
pub async fn policies(client: Client, sender: mpsc::Sender<Message>) {
    let convert = |policy: &DynamicObject, names: &mut Names| {
        let name = ObjectName::of(&policy.metadata, names);
        (name, Some(policy_facts(policy, names)))
    };
    let api = Api::all_with(client, &ApiResource::erase::<NetworkPolicy>(&()));
    let feed = Feed::new(sender, convert, Change::Policy, Listed::Policies).sighted(Kind::NetworkPolicy);
    follow(api, "NetworkPolicy", feed).await;
}

fn policy_facts(policy: &DynamicObject, names: &mut Names) -> PolicyFacts {
    PolicyFacts::read(&policy.metadata, &policy.data["spec"], names)
}

/// The ClusterNetworkPolicies, where the cluster has the kind. If the maps hold rules of such (`in_maps`), there were some, and a server that does
/// not know the kind may only have lost sight of it.
pub async fn cluster_policies(client: Client, sender: mpsc::Sender<Message>, in_maps: oneshot::Receiver<bool>) {
    let convert = |policy: &ClusterNetworkPolicy, names: &mut Names| {
        let name = name_of(&policy.metadata, names);
        (name, Some(ClusterPolicyFacts::of(policy, names)))
    };
    let feed = Feed::new(sender, convert, Change::ClusterPolicy, Listed::ClusterPolicies).sighted(Kind::ClusterNetworkPolicy);
    follow_if_served(Api::all(client), "ClusterNetworkPolicy", feed, in_maps).await;
}

/// The namespaces.
pub async fn namespaces(client: Client, sender: mpsc::Sender<Message>) {
    let convert = |namespace: &Namespace, names: &mut Names| {
        let name = name_of(&namespace.metadata, names);
        (name, Some(NamespaceFacts::of(namespace, names)))
    };
    let feed = Feed::new(sender, convert, Change::Namespace, Listed::Namespaces).sighted(Kind::Namespace);
    follow(Api::all(client), "Namespace", feed).await;
}

/// All pods of the cluster. Tens of thousands are not listed again for a failure: a new pod is waited for until it is seen itself.
pub async fn pods(client: Client, sender: mpsc::Sender<Message>) {
    let convert = |pod: &Pod, names: &mut Names| {
        let name = ObjectName::of(&pod.metadata, names);
        (name, Some(PodFacts::of(pod, names)))
    };
    let feed = Feed::new(sender, convert, Change::PeerPod, Listed::Pods).sighted(Kind::Pod);
    follow(Api::all(client), "Pod", feed).await;
}

/// Of an object without a namespace.
fn name_of(meta: &ObjectMeta, names: &mut Names) -> Arc<str> {
    names.intern(meta.name.as_deref().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn facts(spec: serde_json::Value) -> PolicyFacts {
        let object = json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "spec": spec,
            "metadata": { "name": "a", "namespace": "default", "uid": "00112233-4455-6677-8899-aabbccddeeff" },
        });
        policy_facts(&serde_json::from_value(object).unwrap(), &mut Names::default())
    }

    #[test]
    fn a_policy_that_cannot_be_read_isolates_its_namespace_and_any_other_says_what_it_says() {
        let read = facts(json!({ "podSelector": {}, "policyTypes": ["Egress"] }));
        assert_eq!((read.ingress.is_some(), read.egress.is_some(), read.trouble.as_deref()), (false, true, None));
        let broken = facts(json!({ "podSelector": "all", "policyTypes": ["Egress"] }));
        assert_eq!(broken.uid, read.uid);
        assert_eq!((broken.ingress.as_deref(), broken.egress.as_deref()), (Some(&[][..]), Some(&[][..])));
        assert!(broken.trouble.unwrap().contains("cannot be read"));
    }
}

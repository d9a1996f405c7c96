//! A ClusterNetworkPolicy as far as its condition goes. Its spec is not read: one of a form that this version does not understand keeps nobody
//! from telling of the others, and is told of itself.

use std::borrow::Cow;

use k8s_openapi::ClusterResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use orknet_reconciler::Cached;
use orknet_resources::kinds::cluster_network_policy::{ClusterNetworkPolicy, ClusterNetworkPolicyStatus};
use serde::Deserialize;

/// Metadata and status.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct ConditionedPolicy {
    pub metadata: ObjectMeta,
    #[serde(default)]
    pub status: Option<ClusterNetworkPolicyStatus>,
}

impl Resource for ConditionedPolicy {
    type DynamicType = ();
    type Scope = ClusterResourceScope;

    fn kind(_: &()) -> Cow<'_, str> {
        ClusterNetworkPolicy::kind(&())
    }

    fn group(_: &()) -> Cow<'_, str> {
        ClusterNetworkPolicy::group(&())
    }

    fn version(_: &()) -> Cow<'_, str> {
        ClusterNetworkPolicy::version(&())
    }

    fn plural(_: &()) -> Cow<'_, str> {
        ClusterNetworkPolicy::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

impl Cached for ConditionedPolicy {}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::ObjectList;
    use serde_json::json;

    #[test]
    fn a_list_is_read_whatever_specs_say() {
        let condition = json!({"type": "Programmed", "status": "True", "reason": "Programmed", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z"});
        let list = json!({
            "apiVersion": "policy.networking.k8s.io/v1alpha2", "kind": "ClusterNetworkPolicyList", "metadata": {},
            "items": [
                {"metadata": {"name": "odd"}, "spec": {"tier": 1, "priority": "high", "subject": [], "ingress": "all"}},
                {"metadata": {"name": "good"}, "spec": {"tier": "Admin"}, "status": {"conditions": [condition]}},
            ],
        });
        assert!(serde_json::from_value::<ObjectList<ClusterNetworkPolicy>>(list.clone()).is_err(), "what is to be avoided");
        let list: ObjectList<ConditionedPolicy> = serde_json::from_value(list).unwrap();
        let [odd, good] = list.items.as_slice() else { panic!("{list:?}") };
        assert!(odd.status.is_none());
        assert_eq!(good.status.as_ref().unwrap().conditions.as_ref().unwrap()[0].type_, "Programmed");
        assert_eq!(ConditionedPolicy::url_path(&(), None), ClusterNetworkPolicy::url_path(&(), None));
    }
}

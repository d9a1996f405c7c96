//! Who controls what: owner references, and the rule by which a workload claims objects through its selector. Pure.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};
use kube::Resource;
use orknet_reconciler::pod_state::controller_of;
use orknet_reconciler::selector;
use serde_json::{Value, json};

/// How the objects in a workload's namespace relate to it.
pub(crate) struct Claim<K> {
    /// Controlled by the workload and matching its selector.
    pub owned: Vec<Arc<K>>,
    /// Without a controller, but matching: to be adopted.
    pub adopt: Vec<Arc<K>>,
    /// Controlled by the workload but no longer matching: to be released.
    pub release: Vec<Arc<K>>,
}

/// Sorts `objects` by their relation to the workload with this metadata and selector. A workload that is being deleted claims nothing new.
pub(crate) fn claim<K>(owner: &ObjectMeta, selector: &LabelSelector, objects: impl IntoIterator<Item = Arc<K>>) -> Claim<K>
where
    K: Resource<DynamicType = ()>,
{
    let mut claim = Claim { owned: Vec::new(), adopt: Vec::new(), release: Vec::new() };
    let uid = owner.uid.as_deref().unwrap_or_default();
    let claims = owner.deletion_timestamp.is_none();
    for object in objects {
        let meta = object.meta();
        let matches = selector::matches(selector, meta.labels.as_ref());
        let deleting = meta.deletion_timestamp.is_some();
        match controller_of(meta) {
            Some(controller) if controller.uid == uid && matches => claim.owned.push(object),
            Some(controller) if controller.uid == uid && claims && !deleting => claim.release.push(object),
            None if matches && claims && !deleting => claim.adopt.push(object),
            _ => {}
        }
    }
    claim
}

/// The reference that makes `owner` the controller of an object.
pub(crate) fn controller_reference<K: Resource<DynamicType = ()>>(owner: &K) -> OwnerReference {
    OwnerReference {
        api_version: K::api_version(&()).into_owned(),
        kind: K::kind(&()).into_owned(),
        name: owner.meta().name.clone().unwrap_or_default(),
        uid: owner.meta().uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// The merge patch that adds `reference` to an object. It fails with a conflict when the object has changed since it was read.
pub(crate) fn adoption(meta: &ObjectMeta, reference: OwnerReference) -> Value {
    let mut references = meta.owner_references.clone().unwrap_or_default();
    references.push(reference);
    ownership_patch(meta, &references)
}

/// The merge patch that takes the owner with this uid off an object. It fails with a conflict when the object has changed.
pub(crate) fn release(meta: &ObjectMeta, uid: &str) -> Value {
    let mut references = meta.owner_references.clone().unwrap_or_default();
    references.retain(|reference| reference.uid != uid);
    ownership_patch(meta, &references)
}

fn ownership_patch(meta: &ObjectMeta, references: &[OwnerReference]) -> Value {
    json!({ "metadata": { "uid": meta.uid, "resourceVersion": meta.resource_version, "ownerReferences": references } })
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use k8s_openapi::jiff::Timestamp;

    use super::*;

    fn pod(name: &str, label: &str, controller: Option<&str>) -> Arc<Pod> {
        let owner = controller.map(|uid| OwnerReference { uid: uid.into(), controller: Some(true), ..OwnerReference::default() });
        let metadata = ObjectMeta {
            name: Some(name.into()),
            labels: Some([("app".to_string(), label.to_string())].into()),
            owner_references: owner.map(|owner| vec![owner]),
            ..ObjectMeta::default()
        };
        Arc::new(Pod { metadata, ..Pod::default() })
    }

    fn names(pods: &[Arc<Pod>]) -> Vec<&str> {
        pods.iter().filter_map(|pod| pod.metadata.name.as_deref()).collect()
    }

    #[test]
    fn orphans_are_adopted_strangers_left_and_lost_ones_released() {
        let selector = LabelSelector { match_labels: Some([("app".to_string(), "web".to_string())].into()), ..LabelSelector::default() };
        let mut owner = ObjectMeta { uid: Some("me".into()), ..ObjectMeta::default() };
        let pods = || {
            [
                pod("mine", "web", Some("me")),
                pod("lost", "other", Some("me")),
                pod("orphan", "web", None),
                pod("theirs", "web", Some("you")),
            ]
        };
        let result = claim(&owner, &selector, pods());
        assert_eq!((names(&result.owned), names(&result.adopt), names(&result.release)), (vec!["mine"], vec!["orphan"], vec!["lost"]));
        owner.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
        let result = claim(&owner, &selector, pods());
        assert_eq!((names(&result.owned), names(&result.adopt), names(&result.release)), (vec!["mine"], vec![], vec![]));
    }
}

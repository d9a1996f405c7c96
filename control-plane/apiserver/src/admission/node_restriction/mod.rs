//! A kubelet or agent writes about its own node, the pods that are bound to it, and nothing else (NodeRestriction). What it reads is RBAC's.

mod own_node;
mod own_pod;
mod own_request;

use crate::error::ApiError;
use crate::kinds::Kind;
use crate::object;
use orknet_auth::Identity;
use orknet_auth::authn::GROUP_NODES;
use serde_json::Value;

const PREFIX: &str = "system:node:";

/// The node that `who` is the kubelet of; `None` for all others. 403 for members of the nodes' group that name no node.
fn node_of<'a>(who: &'a Identity, kind: &Kind, name: &str) -> Result<Option<&'a str>, ApiError> {
    if !who.is_in(GROUP_NODES) {
        return Ok(None);
    }
    let refuse = || ApiError::forbidden(kind.descriptor(), name, format!("could not determine node from user {:?}", who.username));
    who.username.strip_prefix(PREFIX).filter(|node| !node.is_empty()).map(Some).ok_or_else(refuse)
}

/// What is being done to an object.
#[derive(Clone, Copy)]
pub enum Change<'a> {
    Create(&'a Value),
    Update { new: &'a Value, old: &'a Value, subresource: Option<&'a str> },
    Delete(&'a Value),
}

/// 403 when a kubelet makes, changes or deletes what is not its own. `uid_of` tells the uid of a node that is there.
pub fn check(who: &Identity, kind: &Kind, change: Change<'_>, uid_of: impl Fn(&str) -> Option<String>) -> Result<(), ApiError> {
    let (Change::Create(object) | Change::Update { new: object, .. } | Change::Delete(object)) = change;
    let name = object::name(object);
    let Some(node) = node_of(who, kind, name)? else { return Ok(()) };
    let refusal = match (kind.descriptor().stored_as, change) {
        (("", "nodes"), _) if name != node => Some(format!("node {node:?} is not allowed to modify node {name:?}")),
        (("", "nodes"), Change::Create(new)) => own_node::refusal(node, new, None),
        (("", "nodes"), Change::Update { new, old, .. }) => own_node::refusal(node, new, Some(old)),
        (("", "pods"), Change::Create(pod)) => own_pod::creation(node, pod, uid_of),
        (("", "pods"), Change::Update { new, old, subresource }) => own_pod::update(node, new, old, subresource),
        (("", "pods"), Change::Delete(pod)) => own_pod::deletion(node, pod),
        (("certificates.k8s.io", "certificatesigningrequests"), Change::Create(asked)) => own_request::creation(node, asked),
        (("", "persistentvolumeclaims"), Change::Update { subresource: Some("status"), .. }) => None,
        (("", "persistentvolumeclaims"), _) => Some("may only update PVC status".into()),
        (("coordination.k8s.io", "leases"), _) if object::namespace(object) != "kube-node-lease" || name != node => {
            Some(format!("node {node:?} can only write the lease \"kube-node-lease/{node}\""))
        }
        (("networking.orknet.io", "nodeprogrammings"), _) if name != node => {
            Some(format!("node {node:?} can only write its own report, \"{node}\""))
        }
        _ => None,
    };
    refusal.map_or(Ok(()), |why| Err(ApiError::forbidden(kind.descriptor(), name, why)))
}

/// 403 when a kubelet asks for a token that is not bound to a pod of its node: to that very pod (`uid` as it was asked for), not to one of its name.
pub fn check_token(who: &Identity, accounts: &Kind, account: &str, bound_pod: Option<&Value>, uid: &str) -> Result<(), ApiError> {
    let Some(node) = node_of(who, accounts, account)? else { return Ok(()) };
    match bound_pod {
        Some(_) if uid.is_empty() => {
            Err(ApiError::forbidden(accounts.descriptor(), account, "node requested token with a pod binding without a uid"))
        }
        None => Err(ApiError::forbidden(accounts.descriptor(), account, "node requested token not bound to a pod")),
        Some(pod) if object::text(pod, "/spec/nodeName") != node => {
            Err(ApiError::forbidden(accounts.descriptor(), account, "node requested token bound to a pod scheduled on a different node"))
        }
        Some(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn kind(plural: &str) -> Kind {
        orknet_resources::registry().iter().copied().find(|kind| kind.descriptor().plural == plural).expect("registered").into()
    }

    fn kubelet(name: &str) -> Identity {
        Identity::authenticated(name, [GROUP_NODES.to_owned()])
    }

    fn status(object: &Value) -> Change<'_> {
        Change::Update { new: object, old: object, subresource: Some("status") }
    }

    fn pod(node: &str) -> Value {
        json!({ "metadata": { "name": "p" }, "spec": { "nodeName": node } })
    }

    #[test]
    fn a_kubelet_writes_about_its_own_node_and_pods_only() {
        let who = kubelet("system:node:n1");
        let check =
            |who: &Identity, plural: &str, change: Change<'_>| check(who, &kind(plural), change, |_| None).map_err(|error| error.code());
        let named = |name: &str| json!({ "metadata": { "name": name, "namespace": "kube-node-lease" } });
        for (plural, own, other) in [
            ("nodes", named("n1"), named("n2")),
            ("pods", pod("n1"), pod("n2")),
            ("leases", named("n1"), named("n2")),
            ("nodeprogrammings", named("n1"), named("n2")),
        ] {
            assert_eq!(check(&who, plural, status(&own)), Ok(()), "{plural}");
            assert_eq!(check(&who, plural, Change::Delete(&own)), Ok(()), "{plural}");
            for change in [status(&other), Change::Delete(&other), Change::Create(&other)] {
                assert_eq!(check(&who, plural, change), Err(403), "{plural}");
                assert_eq!(check(&Identity::authenticated("ann", []), plural, change), Ok(()), "{plural}");
            }
        }
        assert_eq!(check(&who, "events", Change::Create(&named("x"))), Ok(()));
        assert_eq!(check(&kubelet("ann"), "nodes", Change::Create(&named("ann"))), Err(403));
        assert_eq!(check(&who, "persistentvolumeclaims", Change::Delete(&named("x"))), Err(403));
    }

    #[test]
    fn a_kubelet_gets_tokens_for_its_own_pods_only() {
        let token =
            |pod: Option<&Value>, uid: &str| check_token(&kubelet("system:node:n1"), &kind("serviceaccounts"), "a", pod, uid).is_ok();
        assert!(token(Some(&pod("n1")), "1") && !token(Some(&pod("n2")), "1") && !token(Some(&pod("n1")), "") && !token(None, ""));
        assert!(check_token(&Identity::authenticated("ann", []), &kind("serviceaccounts"), "a", None, "").is_ok());
    }
}

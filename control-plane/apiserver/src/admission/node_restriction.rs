//! A kubelet writes about its own node, the pods that are bound to it, and nothing else (NodeRestriction). What it reads is RBAC's.

use crate::error::ApiError;
use crate::kinds::Kind;
use crate::object;
use orknet_auth::Identity;
use orknet_auth::authn::GROUP_NODES;
use serde_json::Value;

const PREFIX: &str = "system:node:";

/// The node that `who` is the kubelet of; `None` for all others. 403 for members of the nodes' group that name no node.
fn node_of<'a>(who: &'a Identity, kind: Kind, name: &str) -> Result<Option<&'a str>, ApiError> {
    if !who.is_in(GROUP_NODES) {
        return Ok(None);
    }
    let refuse = || ApiError::forbidden(kind.descriptor(), name, format!("could not determine node from user {:?}", who.username));
    who.username.strip_prefix(PREFIX).filter(|node| !node.is_empty()).map(Some).ok_or_else(refuse)
}

/// 403 when a kubelet makes (`old`: `None`), changes or deletes (`new`: `None`) what is not its own.
pub fn check(who: &Identity, kind: Kind, new: Option<&Value>, old: Option<&Value>) -> Result<(), ApiError> {
    let name = new.or(old).map(object::name).unwrap_or_default();
    let Some(node) = node_of(who, kind, name)? else { return Ok(()) };
    let refuse = |why: String| Err(ApiError::forbidden(kind.descriptor(), name, why));
    match kind.descriptor().stored_as {
        ("", "nodes") if name != node => refuse(format!("node {node:?} is not allowed to modify node {name:?}")),
        ("", "pods") => {
            let is_bound = |pod: &Value| object::text(pod, "/spec/nodeName") == node;
            if ![new, old].into_iter().flatten().all(is_bound) {
                return refuse(format!("node {node:?} can only modify pods with spec.nodeName set to itself"));
            }
            match new {
                Some(pod) if old.is_none() && !is_mirror(pod) => {
                    refuse("pod does not have \"kubernetes.io/config.mirror\" annotation, node can only create mirror pods".into())
                }
                _ => Ok(()),
            }
        }
        ("coordination.k8s.io", "leases") => {
            let own = new.or(old).is_some_and(|lease| object::namespace(lease) == "kube-node-lease") && name == node;
            if own { Ok(()) } else { refuse(format!("node {node:?} can only write the lease \"kube-node-lease/{node}\"")) }
        }
        _ => Ok(()),
    }
}

/// 403 when a kubelet asks for a token that is not bound to a pod of its node.
pub fn check_token(who: &Identity, accounts: Kind, account: &str, bound_pod: Option<&Value>) -> Result<(), ApiError> {
    let Some(node) = node_of(who, accounts, account)? else { return Ok(()) };
    match bound_pod {
        None => Err(ApiError::forbidden(accounts.descriptor(), account, "node requested token not bound to a pod")),
        Some(pod) if object::text(pod, "/spec/nodeName") != node => {
            Err(ApiError::forbidden(accounts.descriptor(), account, "node requested token bound to a pod scheduled on a different node"))
        }
        Some(_) => Ok(()),
    }
}

fn is_mirror(pod: &Value) -> bool {
    pod.pointer("/metadata/annotations/kubernetes.io~1config.mirror").is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn kind(plural: &str) -> Kind {
        orknet_resources::registry().iter().copied().find(|kind| kind.descriptor().plural == plural).expect("registered")
    }

    fn kubelet(name: &str) -> Identity {
        Identity::authenticated(name, [GROUP_NODES.to_owned()])
    }

    fn pod(node: &str) -> Value {
        json!({ "metadata": { "name": "p" }, "spec": { "nodeName": node } })
    }

    #[test]
    fn a_kubelet_writes_about_its_own_node_and_pods_only() {
        let who = kubelet("system:node:n1");
        let named = |name: &str| json!({ "metadata": { "name": name, "namespace": "kube-node-lease" } });
        for (plural, own, other) in
            [("nodes", named("n1"), named("n2")), ("pods", pod("n1"), pod("n2")), ("leases", named("n1"), named("n2"))]
        {
            let kind = kind(plural);
            assert!(check(&who, kind, Some(&own), Some(&own)).is_ok(), "{plural}");
            assert!(check(&who, kind, None, Some(&own)).is_ok(), "{plural}");
            for (new, old) in [(Some(&other), Some(&other)), (None, Some(&other)), (Some(&other), Some(&own))] {
                assert_eq!(check(&who, kind, new, old).map_err(|error| error.code()), Err(403), "{plural}");
            }
            let anybody = Identity::authenticated("ann", []);
            assert!(check(&anybody, kind, Some(&other), None).is_ok());
        }
        assert!(check(&who, kind("events"), Some(&named("x")), None).is_ok());
        assert!(check(&kubelet("ann"), kind("nodes"), Some(&named("ann")), None).is_err());
    }

    #[test]
    fn a_kubelet_makes_mirror_pods_only() {
        let who = kubelet("system:node:n1");
        assert!(check(&who, kind("pods"), Some(&pod("n1")), None).is_err());
        let mut mirror = pod("n1");
        mirror["metadata"]["annotations"] = json!({ "kubernetes.io/config.mirror": "x" });
        assert!(check(&who, kind("pods"), Some(&mirror), None).is_ok());
    }

    #[test]
    fn a_kubelet_gets_tokens_for_its_own_pods_only() {
        let token = |pod: Option<&Value>| check_token(&kubelet("system:node:n1"), kind("serviceaccounts"), "a", pod).is_ok();
        assert!(token(Some(&pod("n1"))) && !token(Some(&pod("n2"))) && !token(None));
        assert!(check_token(&Identity::authenticated("ann", []), kind("serviceaccounts"), "a", None).is_ok());
    }
}

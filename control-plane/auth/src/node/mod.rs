//! What a kubelet may do (Kubernetes' Node authorizer, in its 1.33 form with field selectors): fixed rules for every node, and for objects that belong to
//! pods only those that a pod of its own node refers to. What a node writes is judged further by the admission check NodeRestriction. Pure.

mod graph;
pub mod references;
#[cfg(test)]
mod tests;

pub use graph::{Bound, Graph, Object, Volume};

use crate::authn::{GROUP_NODES, Identity};
use crate::authz::{Attributes, Target, rule_allows};
use crate::bootstrap;
use k8s_openapi::api::rbac::v1::PolicyRule;
use std::borrow::Cow;
use std::sync::LazyLock;

const PREFIX: &str = "system:node:";
const LEASES: &str = "kube-node-lease";

/// The rules of the role `system:node`.
static RULES: LazyLock<Vec<PolicyRule>> = LazyLock::new(|| {
    // A rule that could not be read would allow nothing; a test reads them all.
    bootstrap::node_rules().into_iter().filter_map(|rule| serde_json::from_value(rule).ok()).collect()
});

/// Why a request is not allowed here; others may allow it. Empty where there is nothing to say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NoOpinion {
    pub reason: Cow<'static, str>,
    /// The graph has no way from the object to the node: a newer one may have.
    pub unrelated: bool,
}

impl<T: Into<Cow<'static, str>>> From<T> for NoOpinion {
    fn from(reason: T) -> Self {
        Self { reason: reason.into(), unrelated: false }
    }
}

/// The node whose kubelet or agent this is: a user `system:node:NAME` in the group `system:nodes`. The name may be empty.
pub fn node_of(who: &Identity) -> Option<&str> {
    who.username.strip_prefix(PREFIX).filter(|_| who.is_in(GROUP_NODES))
}

/// Whether `who`, the identity of `node`, may. `selected` tells the value that a list or watch demands of a field. The messages are Kubernetes'.
pub fn authorize(
    node: &str,
    who: &Identity,
    what: &Attributes<'_>,
    selected: impl Fn(&str) -> Option<String>,
    graph: &Graph,
) -> Result<(), NoOpinion> {
    if node.is_empty() {
        return Err(format!("unknown node for user {:?}", who.username).into());
    }
    let Target::Resource { group, resource, subresource, namespace, name } = what.target else { return Err(NoOpinion::default()) };
    let verb = what.verb;
    let related = |object: Object<'_>| {
        if graph.reaches(node, &object) {
            return Ok(());
        }
        let reason = format!("no relationship found between node '{node}' and this object").into();
        Err(NoOpinion { reason, unrelated: true })
    };
    let named = |object: Object<'_>| if name.is_empty() { Err("No Object name found".into()) } else { related(object) };
    let get = |object: Object<'_>| match (verb, subresource) {
        ("get", "") => named(object),
        ("get", _) => Err("cannot get subresource".into()),
        _ => Err("can only get individual resources of this type".into()),
    };
    let read = |object: Object<'_>| match (verb, subresource, namespace) {
        ("get" | "list" | "watch", "", "") => Err("can only read namespaced object of this type".into()),
        ("get" | "list" | "watch", "", _) => named(object),
        ("get" | "list" | "watch", _, _) => Err("cannot read subresource".into()),
        _ => Err("can only read resources of this type".into()),
    };
    match (group, resource) {
        ("", "secrets") => read(Object::Secret { namespace, name }),
        ("", "configmaps") => read(Object::ConfigMap { namespace, name }),
        ("", "persistentvolumeclaims") if subresource == "status" => match verb {
            "update" | "patch" => named(Object::Claim { namespace, name }),
            _ => Err("can only get/update/patch this type".into()),
        },
        ("", "persistentvolumeclaims") => get(Object::Claim { namespace, name }),
        ("", "persistentvolumes") => get(Object::Volume { name }),
        ("storage.k8s.io", "volumeattachments") => get(Object::Attachment { name }),
        ("", "serviceaccounts") => match (verb, subresource) {
            ("create", "token") if !name.is_empty() => related(Object::ServiceAccount { namespace, name }),
            ("create", _) if !name.is_empty() => Err("can only create token subresource of serviceaccount".into()),
            _ => Err("can only create tokens for individual service accounts".into()),
        },
        ("coordination.k8s.io", "leases") => lease(node, verb, namespace, name),
        ("storage.k8s.io", "csinodes") => csi_node(node, verb, subresource, name),
        ("", "nodes") => own_node(node, verb, subresource, name),
        ("", "pods") => match (subresource, verb) {
            ("", "get") => get(Object::Pod { namespace, name }),
            ("", "list" | "watch") if selected("spec.nodeName").as_deref() == Some(node) => Ok(()),
            ("", "list" | "watch") if !name.is_empty() => related(Object::Pod { namespace, name }),
            ("", "list" | "watch") => Err("can only list/watch pods with spec.nodeName field selector".into()),
            // Of its own pods alone, and only mirrors are made: NodeRestriction.
            ("", "create" | "delete") | ("status", "update" | "patch") | ("eviction", "create") => Ok(()),
            _ => Err(NoOpinion::default()),
        },
        _ if RULES.iter().any(|rule| rule_allows(rule, what)) => Ok(()),
        _ => Err(NoOpinion::default()),
    }
}

/// The name is not known when one is made; NodeRestriction looks at it then.
fn lease(node: &str, verb: &str, namespace: &str, name: &str) -> Result<(), NoOpinion> {
    if !["get", "create", "update", "patch", "delete"].contains(&verb) {
        return Err("can only get, create, update, patch, or delete a node lease".into());
    }
    if namespace != LEASES {
        return Err(format!("can only access leases in the {LEASES:?} system namespace").into());
    }
    if verb != "create" && name != node {
        return Err("can only access node lease with the same name as the requesting node".into());
    }
    Ok(())
}

fn csi_node(node: &str, verb: &str, subresource: &str, name: &str) -> Result<(), NoOpinion> {
    if !["get", "create", "update", "patch", "delete"].contains(&verb) {
        return Err("can only get, create, update, patch, or delete a CSINode".into());
    }
    if !subresource.is_empty() {
        return Err("cannot authorize CSINode subresources".into());
    }
    if verb != "create" && name != node {
        return Err("can only access CSINode with the same name as the requesting node".into());
    }
    Ok(())
}

/// By name, not by the graph: a kubelet looks for its Node before there is one.
fn own_node(node: &str, verb: &str, subresource: &str, name: &str) -> Result<(), NoOpinion> {
    match (subresource, verb) {
        ("", "create" | "update" | "patch") | ("status", "update" | "patch") => Ok(()),
        ("", "get" | "list" | "watch") if name == node => Ok(()),
        ("", "get" | "list" | "watch") if name.is_empty() => {
            Err(format!("node '{node}' cannot read all nodes, only its own Node object").into())
        }
        ("", "get" | "list" | "watch") => Err(format!("node '{node}' cannot read '{name}', only its own Node object").into()),
        _ => Err(NoOpinion::default()),
    }
}

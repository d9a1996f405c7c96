//! Who makes roles or bindings may give no more than he has, unless he may `escalate` or `bind` (RBAC, privilege escalation prevention).

use crate::error::ApiError;
use crate::kinds::Kind;
use crate::object;
use crate::server::Server;
use k8s_openapi::api::rbac::v1::{PolicyRule, RoleRef};
use orknet_auth::Identity;
use orknet_auth::authz::{Attributes, Rbac, Target};
use orknet_auth::escalation::not_held;
use serde_json::Value;

const GROUP: &str = "rbac.authorization.k8s.io";

/// 403 when the new role or binding grants what `who` has not. Asked of every change, also of one that leaves what is granted: a role's labels say which
/// others it is summed up in. Only what lets an object be collected may change without.
pub fn check(server: &Server, who: &Identity, kind: &Kind, object: &Value, old: Option<&Value>) -> Result<(), ApiError> {
    let names = kind.descriptor();
    let unchanged = old.is_some_and(|old| apart_from_collection(object) == apart_from_collection(old));
    if names.group != GROUP || who.is_in(orknet_auth::authn::GROUP_MASTERS) || unchanged {
        return Ok(());
    }
    let rbac = server.access.rules.current();
    let namespace = object::namespace(object);
    let wanted = match names.plural {
        "roles" | "clusterroles" => {
            if may(&rbac, who, "escalate", names.plural, namespace, object::name(object)) {
                return Ok(());
            }
            // A role that sums others up, or did, may come to hold anything.
            let sums_up = |role: &Value| role.get("aggregationRule").is_some_and(|rule| !rule.is_null());
            if sums_up(object) || old.is_some_and(sums_up) { vec![everything()] } else { parsed(object.get("rules")) }
        }
        "rolebindings" | "clusterrolebindings" => {
            let role: RoleRef = parsed(object.get("roleRef"));
            let plural = if role.kind == "ClusterRole" { "clusterroles" } else { "roles" };
            if may(&rbac, who, "bind", plural, namespace, &role.name) {
                return Ok(());
            }
            let Some(rules) = rbac.rules_of(&role, namespace) else { return Err(ApiError::not_found_resource(GROUP, plural, &role.name)) };
            rules.to_vec()
        }
        _ => return Ok(()),
    };
    let missing = not_held(&rbac.rules_for(who, namespace), &wanted);
    if missing.is_empty() {
        return Ok(());
    }
    let groups: Vec<String> = who.groups.iter().map(|group| format!("{group:?}")).collect();
    let why = format!(
        "user {:?} (groups=[{}]) is attempting to grant RBAC permissions not currently held:\n{missing}",
        who.username,
        groups.join(" ")
    );
    Err(ApiError::forbidden(names, object::name(object), why))
}

fn may(rbac: &Rbac, who: &Identity, verb: &str, resource: &str, namespace: &str, name: &str) -> bool {
    rbac.allows(who, &Attributes { verb, target: Target::Resource { group: GROUP, resource, subresource: "", namespace, name } })
}

/// The object without what the garbage collector changes and what follows from a write.
fn apart_from_collection(object: &Value) -> Value {
    let mut object = object.clone();
    for field in ["ownerReferences", "finalizers", "managedFields", "resourceVersion"] {
        object::meta_mut(&mut object).remove(field);
    }
    object
}

fn everything() -> PolicyRule {
    let all = || Some(vec!["*".to_owned()]);
    PolicyRule { api_groups: all(), resources: all(), verbs: vec!["*".into()], ..PolicyRule::default() }
}

/// The object has been decoded as its kind before: its parts have their form.
fn parsed<T: serde::de::DeserializeOwned + Default>(value: Option<&Value>) -> T {
    value.and_then(|value| serde_json::from_value(value.clone()).ok()).unwrap_or_default()
}

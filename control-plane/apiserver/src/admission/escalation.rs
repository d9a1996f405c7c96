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

/// 403 when the new role or binding grants what `who` has not. What was granted before may stay.
pub fn check(server: &Server, who: &Identity, kind: Kind, object: &Value, old: Option<&Value>) -> Result<(), ApiError> {
    let names = kind.descriptor();
    if names.group != GROUP || who.is_in(orknet_auth::authn::GROUP_MASTERS) {
        return Ok(());
    }
    let rbac = server.access.rules.current();
    let namespace = object::namespace(object);
    let wanted = match names.plural {
        "roles" | "clusterroles" => {
            if old.is_some_and(|old| old.get("rules") == object.get("rules") && old.get("aggregationRule") == object.get("aggregationRule"))
                || may(&rbac, who, "escalate", names.plural, namespace, object::name(object))
            {
                return Ok(());
            }
            // A role that sums others up may come to hold anything.
            if object.get("aggregationRule").is_some_and(|rule| !rule.is_null()) { vec![everything()] } else { parsed(object.get("rules")) }
        }
        "rolebindings" | "clusterrolebindings" => {
            if old.is_some_and(|old| old.get("subjects") == object.get("subjects") && old.get("roleRef") == object.get("roleRef")) {
                return Ok(());
            }
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

fn everything() -> PolicyRule {
    let all = || Some(vec!["*".to_owned()]);
    PolicyRule { api_groups: all(), resources: all(), verbs: vec!["*".into()], ..PolicyRule::default() }
}

/// The object has been decoded as its kind before: its parts have their form.
fn parsed<T: serde::de::DeserializeOwned + Default>(value: Option<&Value>) -> T {
    value.and_then(|value| serde_json::from_value(value.clone()).ok()).unwrap_or_default()
}

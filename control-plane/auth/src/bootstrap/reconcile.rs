//! What a default role or binding that is already there lacks of what it should have (Kubernetes' "auto-reconciliation"): it is added, and what others have
//! added stays. The annotation `rbac.authorization.kubernetes.io/autoupdate: "false"` leaves an object as it is. Pure.

use crate::authn::GROUP_NODES;
use crate::escalation::not_held;
use k8s_openapi::api::rbac::v1::PolicyRule;
use serde_json::{Map, Value, json};

/// The annotation that says whether an object may be brought up to date.
pub const AUTOUPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";
/// Bindings, and the groups that earlier versions gave what the Node authorizer decides object by object.
const WITHDRAWN: [(&str, &str); 1] = [("system:node", GROUP_NODES)];

/// `found` with what it lacks of `wanted`; `None` when it lacks nothing or is not to be touched. Both are roles, or both are bindings.
pub fn reconciled(wanted: &Value, found: &Value) -> Option<Value> {
    let mut new = found.clone();
    if found["metadata"]["annotations"][AUTOUPDATE] == "false" || !new.is_object() {
        return None;
    }
    for field in ["labels", "annotations"] {
        let own = object(&mut new["metadata"][field]);
        for (key, value) in wanted["metadata"][field].as_object().into_iter().flatten() {
            own.entry(key).or_insert(value.clone());
        }
    }
    if let Some(selectors) = wanted.pointer("/aggregationRule/clusterRoleSelectors") {
        add_missing(selectors, list(object(&mut new["aggregationRule"]).entry("clusterRoleSelectors").or_insert(Value::Null)), same);
    } else if let Some(rules) = wanted.get("rules") {
        let held: Vec<PolicyRule> = serde_json::from_value(found["rules"].clone()).unwrap_or_default();
        let is_held = |rule: &Value| {
            // A default rule has the form of one.
            serde_json::from_value::<PolicyRule>(rule.clone()).is_ok_and(|rule| not_held(&held, &[rule]).is_empty())
        };
        let missing: Vec<Value> = rules.as_array().into_iter().flatten().filter(|rule| !is_held(rule)).cloned().collect();
        if !missing.is_empty() {
            list(&mut new["rules"]).extend(missing);
        }
    }
    if let Some(role) = wanted.get("roleRef") {
        new["roleRef"] = role.clone();
        let none = json!([]);
        let mut subjects = new.get("subjects").and_then(Value::as_array).cloned().unwrap_or_default();
        add_missing(wanted.get("subjects").unwrap_or(&none), &mut subjects, same_subject);
        let withdrawn = |subject: &Value| {
            WITHDRAWN
                .iter()
                .any(|(name, group)| found["metadata"]["name"] == *name && subject["kind"] == "Group" && subject["name"] == *group)
        };
        subjects.retain(|subject| !withdrawn(subject));
        if subjects.is_empty() { drop(object(&mut new).remove("subjects")) } else { new["subjects"] = subjects.into() }
    }
    let untouched = |value: &Value| {
        let mut value = value.clone();
        drop_empty(&mut value);
        value
    };
    (untouched(&new) != untouched(found)).then_some(new)
}

fn add_missing(wanted: &Value, own: &mut Vec<Value>, same: fn(&Value, &Value) -> bool) {
    for item in wanted.as_array().into_iter().flatten() {
        if !own.iter().any(|known| same(known, item)) {
            own.push(item.clone());
        }
    }
}

fn same(one: &Value, other: &Value) -> bool {
    one == other
}

/// The group of a subject follows from its kind.
fn same_subject(one: &Value, other: &Value) -> bool {
    ["kind", "name", "namespace"].iter().all(|field| one.get(field) == other.get(field))
}

/// The value as an object, made one if it is none.
fn object(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = json!({});
    }
    value.as_object_mut().expect("it is one now")
}

/// The value as a list, made one if it is none.
fn list(value: &mut Value) -> &mut Vec<Value> {
    if !value.is_array() {
        *value = json!([]);
    }
    value.as_array_mut().expect("it is one now")
}

/// Absent, null and empty are one.
fn drop_empty(value: &mut Value) {
    let Some(map) = value.as_object_mut() else { return };
    map.values_mut().for_each(drop_empty);
    map.retain(|_, value| match value {
        Value::Null => false,
        Value::Object(map) => !map.is_empty(),
        Value::Array(list) => !list.is_empty(),
        _ => true,
    });
}

#[cfg(test)]
mod tests {
    use super::super::{cluster_role_bindings, cluster_roles};
    use super::*;

    fn named(objects: Vec<Value>, name: &str) -> Value {
        objects.into_iter().find(|object| object["metadata"]["name"] == name).unwrap()
    }

    #[test]
    fn what_is_as_it_should_be_is_left_alone() {
        for object in cluster_roles().into_iter().chain(cluster_role_bindings()) {
            assert_eq!(reconciled(&object, &object), None, "{object}");
        }
        let mut more = named(cluster_roles(), "system:basic-user");
        more["metadata"]["labels"]["own"] = "x".into();
        more["rules"].as_array_mut().unwrap().push(json!({ "apiGroups": ["a"], "resources": ["b"], "verbs": ["get"] }));
        assert_eq!(reconciled(&named(cluster_roles(), "system:basic-user"), &more), None);
        let mut wider = named(cluster_roles(), "system:basic-user");
        wider["rules"] = json!([{ "apiGroups": ["*"], "resources": ["*"], "verbs": ["*"] }]);
        assert_eq!(reconciled(&named(cluster_roles(), "system:basic-user"), &wider), None);
    }

    #[test]
    fn what_is_missing_is_added_unless_the_object_is_somebodys_own() {
        let wanted = named(cluster_roles(), "system:basic-user");
        let mut found = wanted.clone();
        found["metadata"]["labels"] = json!({ "own": "x" });
        let kept = json!({ "apiGroups": ["a"], "resources": ["b"], "verbs": ["get"] });
        found["rules"] = json!([wanted["rules"][0], kept]);
        let new = reconciled(&wanted, &found).unwrap();
        assert_eq!(new["metadata"]["labels"], json!({ "own": "x", "kubernetes.io/bootstrapping": "rbac-defaults" }));
        assert_eq!(new["rules"], json!([wanted["rules"][0], kept, wanted["rules"][1]]));
        found["metadata"]["annotations"][AUTOUPDATE] = "false".into();
        assert_eq!(reconciled(&wanted, &found), None);

        let wanted = named(cluster_roles(), "edit");
        let mut found = wanted.clone();
        found["aggregationRule"] = json!({ "clusterRoleSelectors": [{ "matchLabels": { "own": "x" } }] });
        found["rules"] = json!([kept]);
        let new = reconciled(&wanted, &found).unwrap();
        assert_eq!(new["aggregationRule"]["clusterRoleSelectors"].as_array().map(Vec::len), Some(2));
        assert_eq!(new["rules"], found["rules"], "a controller's");
    }

    #[test]
    fn subjects_are_added_and_only_nodes_are_taken_away() {
        let wanted = named(cluster_role_bindings(), "system:discovery");
        let ann = json!({ "kind": "User", "name": "ann", "apiGroup": "rbac.authorization.k8s.io" });
        let mut found = wanted.clone();
        found["subjects"] = json!([ann]);
        assert_eq!(reconciled(&wanted, &found).unwrap()["subjects"], json!([ann, wanted["subjects"][0]]));

        let wanted = named(cluster_role_bindings(), "system:node");
        let mut found = wanted.clone();
        found["subjects"] = json!([{ "kind": "Group", "name": GROUP_NODES, "apiGroup": "rbac.authorization.k8s.io" }, ann]);
        assert_eq!(reconciled(&wanted, &found).unwrap()["subjects"], json!([ann]));
        found["subjects"] = json!([found["subjects"][0]]);
        assert_eq!(reconciled(&wanted, &found).unwrap().get("subjects"), None);
        found["metadata"]["annotations"][AUTOUPDATE] = "false".into();
        assert_eq!(reconciled(&wanted, &found), None);
    }
}

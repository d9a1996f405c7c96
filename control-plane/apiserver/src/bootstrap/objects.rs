//! Namespaces, roles, bindings, priority classes, flow schemas and priority levels of a new cluster. Facts, no I/O.

use crate::object;
use orknet_auth::bootstrap::{cluster_role_bindings, cluster_roles, role_bindings, roles};
use orknet_resources::kinds::flow_schema::first;
use serde_json::{Map, Value, json};

/// The group of roles and bindings.
pub const RBAC: &str = "rbac.authorization.k8s.io";

/// Group, plural and object of each.
pub fn all() -> Vec<(&'static str, &'static str, Value)> {
    let namespaces = ["default", "kube-system", "kube-public", "kube-node-lease"];
    let mut all: Vec<_> = namespaces.iter().map(|name| ("", "namespaces", json!({ "metadata": { "name": name } }))).collect();
    all.extend(cluster_roles().into_iter().map(|role| (RBAC, "clusterroles", role)));
    all.extend(cluster_role_bindings().into_iter().map(|binding| (RBAC, "clusterrolebindings", binding)));
    all.extend(roles().into_iter().map(|role| (RBAC, "roles", role)));
    all.extend(role_bindings().into_iter().map(|binding| (RBAC, "rolebindings", binding)));
    for (name, value, what) in [
        ("system-node-critical", 2_000_001_000, "Used for system critical pods that must not be moved from their current node."),
        (
            "system-cluster-critical",
            2_000_000_000,
            "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
        ),
    ] {
        let class =
            json!({ "metadata": { "name": name }, "value": value, "description": what, "preemptionPolicy": "PreemptLowerPriority" });
        all.push(("scheduling.k8s.io", "priorityclasses", class));
    }
    all.extend(first::all());
    all
}

/// A FlowSchema or PriorityLevelConfiguration of the start with the spec that it should have; `None` when it has it, or is somebody's own. Source:
/// `pkg/registry/flowcontrol/ensurer`: two are always the server's, the others unless the annotation says no, or they were changed without it.
pub fn kept_flow_object(wanted: &Value, found: &Value) -> Option<Value> {
    let annotation = found.pointer("/metadata/annotations").and_then(|all| all.get(first::AUTO_UPDATE)).and_then(Value::as_str);
    let is_mandatory = first::MANDATORY.contains(&object::name(wanted));
    let is_ours = is_mandatory
        || annotation.and_then(boolean).unwrap_or_else(|| found.pointer("/metadata/generation").and_then(Value::as_i64) == Some(1));
    let annotated = annotation.and_then(boolean) == Some(is_ours);
    // Administrators say what the exempt level lends.
    let spec = |object: &Value| {
        let mut spec = object["spec"].clone();
        if is_mandatory && let Some(spec) = spec.as_object_mut() {
            spec.remove("exempt");
        }
        spec
    };
    let differs = is_ours && spec(wanted) != spec(found);
    if annotated && !differs {
        return None;
    }
    let mut kept = found.clone();
    if differs {
        kept["spec"] = wanted["spec"].clone();
    }
    let meta = object::meta_mut(&mut kept);
    if let Some(annotations) = meta.entry("annotations").or_insert_with(|| Map::new().into()).as_object_mut() {
        annotations.insert(first::AUTO_UPDATE.into(), is_ours.to_string().into());
    }
    Some(kept)
}

/// As Go's `strconv.ParseBool` reads it.
fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flow_objects_of_the_start_are_kept_unless_they_are_somebodys_own() {
        let all = first::all();
        let wanted = |name: &str| {
            &all.iter().find(|(_, plural, object)| *plural == "flowschemas" && object["metadata"]["name"] == name).expect("there").2
        };
        let changed = |name: &str, annotation: Option<&str>, generation: i64| {
            let mut found = wanted(name).clone();
            found["spec"]["matchingPrecedence"] = json!(77);
            found["metadata"]["generation"] = json!(generation);
            found["metadata"]["annotations"] = annotation.map_or(json!({}), |value| json!({ first::AUTO_UPDATE: value }));
            kept_flow_object(wanted(name), &found)
        };
        let same = wanted("probes").clone();
        assert_eq!(kept_flow_object(wanted("probes"), &same), None);
        let precedence = |kept: Option<Value>| {
            kept.map(|kept| (kept["spec"]["matchingPrecedence"].clone(), kept["metadata"]["annotations"][first::AUTO_UPDATE].clone()))
        };
        assert_eq!(precedence(changed("probes", Some("true"), 5)), Some((json!(2), json!("true"))));
        assert_eq!(precedence(changed("probes", Some("false"), 5)), None);
        // Without the word, one that was never changed is the server's; one that was is its owner's, and says so from then on.
        assert_eq!(precedence(changed("probes", None, 1)), Some((json!(2), json!("true"))));
        assert_eq!(precedence(changed("probes", None, 2)), Some((json!(77), json!("false"))));
        assert_eq!(precedence(changed("exempt", Some("false"), 5)), Some((json!(1), json!("true"))));
    }
}

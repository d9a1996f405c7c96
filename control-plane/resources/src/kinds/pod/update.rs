//! What may change in a pod that exists: images, the deadline (downwards), more tolerations, fewer scheduling gates.

use super::{Pod, resize, validate};
use crate::contract::Subresource;
use crate::field::{Errors, Path};
use crate::json;
use crate::names;
use crate::typed::Kind;
use k8s_openapi::api::core::v1;
use k8s_openapi::api::core::v1::{Container, PodSpec, Toleration};
use serde_json::Value;
use std::collections::HashSet;

const MAY_CHANGE: &str = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,\
`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),\
`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/// Leaves of `new` only what its way in may change.
pub fn prepare(new: &mut Value, old: &Value, subresource: Subresource<'_>) {
    match subresource {
        Some("status") => {
            json::keep_at(new, old, &["metadata", "ownerReferences"]);
            // A status written without the class keeps it: the class follows from the spec.
            if json::get(new, &["status", "qosClass"]).is_none()
                && let Some(class) = json::get(old, &["status", "qosClass"])
            {
                json::put(new, &["status", "qosClass"], class.clone());
            }
        }
        Some("ephemeralcontainers") => {
            let wanted = json::get(new, &["spec", "ephemeralContainers"]).cloned();
            json::keep(new, old, "spec");
            json::keep(new, old, "status");
            keep_metadata(new, old);
            if let Some(wanted) = wanted {
                json::put(new, &["spec", "ephemeralContainers"], wanted);
            }
        }
        Some("resize") => resize::prepare(new, old),
        _ => {}
    }
}

/// Keeps what a way in that is not about metadata may not change of it.
pub fn keep_metadata(new: &mut Value, old: &Value) {
    for field in ["labels", "annotations", "finalizers", "ownerReferences"] {
        json::keep_at(new, old, &["metadata", field]);
    }
}

/// The rules for a change of a running pod's ephemeral containers.
pub fn validate_ephemeral(new: &v1::Pod, old: &v1::Pod, errors: &mut Errors) {
    Pod::validate(new, errors);
    if let (Some(new), Some(old)) = (&new.spec, &old.spec) {
        validate::ephemeral::kept(new, old, &Path::Root.field("spec"), errors);
    }
}

/// The rules for a change through the pod itself.
pub fn validate(new: &v1::Pod, old: &v1::Pod, errors: &mut Errors) {
    Pod::validate(new, errors);
    let at = Path::Root.field("spec");
    let (Some(new), Some(old)) = (&new.spec, &old.spec) else { return };
    let same_count = new.containers.len() == old.containers.len();
    let (new_init, old_init) = (new.init_containers.as_deref().unwrap_or_default(), old.init_containers.as_deref().unwrap_or_default());
    if !same_count {
        errors.forbidden(&at.field("containers"), "pod updates may not add or remove containers");
    }
    if new_init.len() != old_init.len() {
        errors.forbidden(&at.field("initContainers"), "pod updates may not add or remove containers");
    }
    if !same_count || new_init.len() != old_init.len() {
        return;
    }
    deadline(new, old, &at, errors);
    tolerations(new, old, &at, errors);
    gates(new, old, &at, errors);
    if allowed(new, old) != *new {
        errors.forbidden(&at, MAY_CHANGE);
    }
}

pub fn validate_status(new: &v1::Pod, old: &v1::Pod, errors: &mut Errors) {
    let Some(status) = &new.status else { return };
    let at = Path::Root.field("status");
    if let (Some(before), Some(spec)) = (&old.status, &old.spec) {
        let policy = spec.restart_policy.as_deref().unwrap_or("Always");
        // Those that run beside the others are started again whatever the pod's policy says.
        let sidecars: Vec<&str> = (spec.init_containers.iter().flatten())
            .filter(|container| container.restart_policy.as_deref() == Some("Always"))
            .map(|container| &container.name[..])
            .collect();
        for (name, new, old, policy) in [
            ("initContainerStatuses", &status.init_container_statuses, &before.init_container_statuses, policy),
            ("containerStatuses", &status.container_statuses, &before.container_statuses, policy),
            ("ephemeralContainerStatuses", &status.ephemeral_container_statuses, &before.ephemeral_container_statuses, "Never"),
        ] {
            let lists = (new.as_deref().unwrap_or_default(), old.as_deref().unwrap_or_default());
            stay_terminated(lists, policy, &sidecars, &at.field(name), errors);
        }
    }
    if let Some(node) = status.nominated_node_name.as_deref().filter(|n| !n.is_empty()) {
        errors.format(&at.field("nominatedNodeName"), node, names::subdomain(node));
    }
    for (name, ips) in [
        ("podIPs", status.pod_ips.iter().flatten().map(|i| &i.ip).collect::<Vec<_>>()),
        ("hostIPs", status.host_ips.iter().flatten().map(|i| &i.ip).collect()),
    ] {
        let at = at.field(name);
        let mut seen = HashSet::new();
        for (i, ip) in ips.iter().enumerate() {
            match names::ip(ip) {
                Err(detail) => errors.invalid(&at.index(i), ip.as_str(), detail),
                Ok(_) if !seen.insert(ip) => errors.duplicate(&at.index(i), ip.as_str()),
                Ok(_) => {}
            }
        }
        if ips.len() > 2 {
            errors.invalid(&at, serde_json::to_value(&ips).unwrap_or_default(), "may specify no more than one IP for each IP family");
        }
    }
    validate::conditions(status.conditions.as_deref().unwrap_or_default(), &at.field("conditions"), errors);
}

/// A container that has ended, and is not to be started again, has ended for good.
fn stay_terminated(
    (new, old): (&[v1::ContainerStatus], &[v1::ContainerStatus]),
    policy: &str,
    sidecars: &[&str],
    at: &Path<'_>,
    errors: &mut Errors,
) {
    if policy == "Always" {
        return;
    }
    let terminated = |status: &v1::ContainerStatus| status.state.as_ref().and_then(|state| state.terminated.clone());
    for (i, status) in old.iter().enumerate().filter(|(_, status)| !sidecars.contains(&&status.name[..])) {
        let Some(ended) = terminated(status) else { continue };
        if policy == "OnFailure" && ended.exit_code != 0 {
            continue;
        }
        if new.iter().any(|now| now.name == status.name && terminated(now).is_none()) {
            errors.forbidden(&at.index(i).field("state"), "may not be transitioned to non-terminated state");
        }
    }
}

/// The old spec with those changes of the new one that are allowed.
fn allowed(new: &PodSpec, old: &PodSpec) -> PodSpec {
    let mut spec = old.clone();
    let take_images = |to: &mut [Container], from: &[Container]| {
        for (to, from) in to.iter_mut().zip(from) {
            to.image.clone_from(&from.image);
        }
    };
    take_images(&mut spec.containers, &new.containers);
    take_images(spec.init_containers.as_deref_mut().unwrap_or_default(), new.init_containers.as_deref().unwrap_or_default());
    spec.active_deadline_seconds = new.active_deadline_seconds;
    spec.tolerations.clone_from(&new.tolerations);
    spec.scheduling_gates.clone_from(&new.scheduling_gates);
    if old.termination_grace_period_seconds.is_some_and(|s| s < 0) && new.termination_grace_period_seconds == Some(1) {
        spec.termination_grace_period_seconds = Some(1);
    }
    // While gates hold the pod back, it may be directed more narrowly.
    if old.scheduling_gates.as_ref().is_some_and(|g| !g.is_empty()) {
        if keeps(old.node_selector.as_ref(), new.node_selector.as_ref()) {
            spec.node_selector.clone_from(&new.node_selector);
        }
        if old.affinity.as_ref().is_none_or(|a| a.node_affinity.is_none()) {
            let node = new.affinity.as_ref().and_then(|a| a.node_affinity.clone());
            if node.is_some() {
                spec.affinity.get_or_insert_default().node_affinity = node;
            }
        }
    }
    spec
}

fn keeps(old: Option<&crate::selector::Labels>, new: Option<&crate::selector::Labels>) -> bool {
    old.into_iter().flatten().all(|(key, value)| new.and_then(|n| n.get(key)) == Some(value))
}

fn deadline(new: &PodSpec, old: &PodSpec, at: &Path<'_>, errors: &mut Errors) {
    let at = at.field("activeDeadlineSeconds");
    match (new.active_deadline_seconds, old.active_deadline_seconds) {
        (Some(new), Some(old)) if new > old => errors.invalid(&at, new, "must be less than or equal to previous value"),
        (None, Some(_)) => errors.invalid(&at, serde_json::Value::Null, "must not update from a positive integer to nil value"),
        _ => {}
    }
}

fn tolerations(new: &PodSpec, old: &PodSpec, at: &Path<'_>, errors: &mut Errors) {
    let without_seconds = |t: &Toleration| Toleration { toleration_seconds: None, ..t.clone() };
    let kept = old.tolerations.iter().flatten().all(|had| {
        let had = without_seconds(had);
        new.tolerations.iter().flatten().any(|t| without_seconds(t) == had)
    });
    if !kept {
        errors.forbidden(&at.field("tolerations"), "existing toleration can not be modified except its tolerationSeconds");
    }
}

fn gates(new: &PodSpec, old: &PodSpec, at: &Path<'_>, errors: &mut Errors) {
    let at = at.field("schedulingGates");
    let had = old.scheduling_gates.as_deref().unwrap_or_default();
    for (i, gate) in new.scheduling_gates.iter().flatten().enumerate().filter(|(_, g)| !had.contains(g)) {
        errors.forbidden(&at.index(i), format!("only deletion is allowed, but found new scheduling gate '{}'", gate.name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Resource;
    use crate::typed::Typed;
    use serde_json::json;

    const KIND: Typed<Pod> = Typed::NEW;

    fn pod(change: impl FnOnce(&mut Value)) -> Value {
        let mut body = json!({"metadata": {"name": "p", "namespace": "d"}, "spec": {"containers": [{"name": "a", "image": "x:1"}],
            "activeDeadlineSeconds": 10, "tolerations": [{"key": "k", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}]}});
        change(&mut body);
        KIND.decode(body).unwrap().object
    }

    fn refused(change: impl FnOnce(&mut Value)) -> Vec<String> {
        KIND.validate_update(&pod(change), &pod(|_| {}), None).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn images_deadlines_and_more_tolerations_may_change() {
        let found = refused(|p| {
            p["spec"]["containers"][0]["image"] = "x:2".into();
            p["spec"]["activeDeadlineSeconds"] = 5.into();
            p["spec"]["tolerations"][0]["tolerationSeconds"] = 7.into();
            p["spec"]["tolerations"].as_array_mut().unwrap().push(json!({"key": "l", "operator": "Exists"}));
            p["metadata"]["labels"] = json!({"a": "b"});
        });
        assert_eq!(found, Vec::<String>::new());
    }

    #[test]
    fn nothing_else_may_change() {
        let found = refused(|p| p["spec"]["nodeName"] = "n".into());
        assert!(
            found.len() == 1
                && found[0].starts_with("spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`")
        );
        let found = refused(|p| p["spec"]["containers"].as_array_mut().unwrap().push(json!({"name": "b", "image": "x"})));
        assert_eq!(found, ["spec.containers: Forbidden: pod updates may not add or remove containers"]);
        let found = refused(|p| p["spec"]["activeDeadlineSeconds"] = 11.into());
        assert_eq!(found, ["spec.activeDeadlineSeconds: Invalid value: 11: must be less than or equal to previous value"]);
        let found = refused(|p| p["spec"]["tolerations"] = json!([]));
        assert_eq!(found, ["spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds"]);
        let found = refused(|p| p["spec"]["schedulingGates"] = json!([{"name": "a/b"}]));
        assert_eq!(found, ["spec.schedulingGates[0]: Forbidden: only deletion is allowed, but found new scheduling gate 'a/b'"]);
    }

    #[test]
    fn ephemeral_containers_are_added_and_stay() {
        let with = |names: &[&str]| {
            let list: Vec<Value> = names.iter().map(|n| json!({"name": n, "image": "x", "targetContainerName": "a"})).collect();
            pod(|p| p["spec"]["ephemeralContainers"] = json!(list))
        };
        let way = Some("ephemeralcontainers");
        let mut new = with(&["e", "f"]);
        new["spec"]["nodeName"] = "elsewhere".into();
        KIND.prepare_update(&mut new, &with(&["e"]), way);
        assert_eq!(new["spec"].get("nodeName"), None);
        assert!(KIND.validate_update(&new, &with(&["e"]), way).is_empty());
        assert!(
            KIND.validate_update(&with(&[]), &with(&["e"]), way)[0]
                .detail
                .starts_with("existing ephemeral containers \"e\" may not be removed")
        );
        assert_eq!(KIND.validate_update(&with(&["a"]), &with(&[]), way)[0].field, "spec.ephemeralContainers[0].name");
        assert!(KIND.validate_update(&with(&["e"]), &with(&[]), None)[0].detail.starts_with("pod updates may not change fields"));
    }

    #[test]
    fn other_ways_in_than_the_pod_itself_leave_its_metadata() {
        let meta = |owner: &str, label: &str| {
            json!({"name": "p", "namespace": "d", "labels": {"l": label}, "annotations": {"l": label}, "finalizers": [format!("a/{label}")],
                "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": owner, "uid": "1"}]})
        };
        let (old, new) = (pod(|p| p["metadata"] = meta("a", "x")), pod(|p| p["metadata"] = meta("b", "y")));
        for (way, expected) in [("status", meta("a", "y")), ("ephemeralcontainers", meta("a", "x")), ("resize", meta("a", "x"))] {
            let mut prepared = new.clone();
            KIND.prepare_update(&mut prepared, &old, Some(way));
            assert_eq!(prepared["metadata"], pod(|p| p["metadata"] = expected)["metadata"], "{way}");
        }
    }

    #[test]
    fn what_has_ended_for_good_stays_so() {
        let with = |restart: &str, field: &str, state: Value| {
            pod(|p| {
                p["spec"]["restartPolicy"] = restart.into();
                p["spec"]["initContainers"] = json!([{"name": "s", "image": "x", "restartPolicy": "Always"}]);
                let one =
                    |name: &str| json!({"name": name, "image": "x", "imageID": "", "ready": false, "restartCount": 0, "state": state});
                p["status"] = json!({});
                p["status"][field] = json!([one("a"), one("s")]);
            })
        };
        let (ended, runs) = (|code: i32| json!({"terminated": {"exitCode": code}}), json!({"running": {}}));
        let containers = "containerStatuses";
        for (restart, field, before, after, expected) in [
            ("Never", containers, ended(1), runs.clone(), true),
            ("Never", containers, runs.clone(), ended(0), false),
            ("Never", containers, ended(0), ended(1), false),
            ("OnFailure", containers, ended(0), runs.clone(), true),
            ("OnFailure", containers, ended(1), runs.clone(), false),
            ("Always", containers, ended(0), runs.clone(), false),
            ("Never", "initContainerStatuses", ended(0), runs.clone(), true),
            ("Always", "ephemeralContainerStatuses", ended(1), runs.clone(), true),
        ] {
            let (new, old) = (with(restart, field, after), with(restart, field, before));
            let found: Vec<String> = KIND.validate_update(&new, &old, Some("status")).iter().map(ToString::to_string).collect();
            let told = format!("status.{field}[0].state: Forbidden: may not be transitioned to non-terminated state");
            assert_eq!(found, Vec::from_iter(expected.then_some(told)), "{restart} {field}");
        }
    }

    #[test]
    fn binding_sets_the_node() {
        let bound = pod(|p| p["spec"]["nodeName"] = "n".into());
        assert!(KIND.validate_update(&bound, &pod(|_| {}), Some("binding")).is_empty());
    }

    #[test]
    fn a_status_has_right_addresses() {
        let with = |ips: Value| pod(|p| p["status"] = json!({"podIPs": ips}));
        assert!(KIND.validate_update(&with(json!([{"ip": "10.0.0.1"}, {"ip": "fd00::1"}])), &pod(|_| {}), Some("status")).is_empty());
        let found = KIND.validate_update(&with(json!([{"ip": "x"}])), &pod(|_| {}), Some("status"));
        assert_eq!(found[0].field, "status.podIPs[0]");
    }
}

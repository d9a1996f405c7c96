//! A pod's `resize` (KEP-1287): the amounts of CPU and memory of containers that run. Everything else stays.

use super::{Pod, qos_class, update};
use crate::field::{Errors, Path};
use crate::json;
use crate::quantity::Quantity;
use crate::typed::Kind;
use k8s_openapi::api::core::v1;
use k8s_openapi::api::core::v1::{Container, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Amount;
use serde_json::Value;
use std::collections::BTreeMap;

const LISTS: [&str; 2] = ["containers", "initContainers"];
const RESIZABLE: [&str; 2] = ["cpu", "memory"];
const MIRROR: &str = "kubernetes.io/config.mirror";

type Amounts = Option<BTreeMap<String, Amount>>;

/// Leaves of `new` only the resources of its containers. Where those are not the old ones in their order, all is left for the rules to refuse.
pub fn prepare(new: &mut Value, old: &Value) {
    if LISTS.iter().any(|list| names(new, list) != names(old, list)) {
        return;
    }
    let wanted = new.clone();
    json::keep(new, old, "spec");
    json::keep(new, old, "status");
    update::keep_metadata(new, old);
    for list in LISTS {
        let wanted = containers(&wanted, list);
        let kept = new.get_mut("spec").and_then(|spec| spec.get_mut(list)).and_then(Value::as_array_mut);
        for (container, wanted) in kept.into_iter().flatten().zip(wanted) {
            for key in ["resources", "resizePolicy"] {
                json::keep(container, wanted, key);
            }
        }
    }
}

/// The rules for a change of a running pod's resources.
pub fn validate(new: &v1::Pod, old: &v1::Pod, errors: &mut Errors) {
    Pod::validate(new, errors);
    if old.metadata.annotations.iter().flatten().any(|(key, _)| key == MIRROR) {
        errors.forbidden(&Path::Root, "static pods cannot be resized");
        return;
    }
    let at = Path::Root.field("spec");
    let (Some(new_spec), Some(old_spec)) = (&new.spec, &old.spec) else { return };
    if qos_class(new_spec) != qos_class(old_spec) {
        errors.invalid(&at, qos_class(new_spec), "Pod QOS Class may not change as a result of resizing");
    }
    if !may_be_resized_there(old) {
        errors.forbidden(&at, "Pod running on node without support for resize");
    }
    let init = |spec: &v1::PodSpec| spec.init_containers.clone().unwrap_or_default();
    let pairs = [(&new_spec.containers, &old_spec.containers), (&init(new_spec), &init(old_spec))];
    let mut ordered = true;
    for (list, (new, old)) in LISTS.into_iter().zip(pairs) {
        ordered &= in_order(new, old, list, &at.field(list), errors);
    }
    if !ordered {
        return;
    }
    for (list, (new, old)) in LISTS.into_iter().zip(pairs) {
        let is_init = list == "initContainers";
        let list_at = at.field(list);
        for (i, (new, old)) in new.iter().zip(old).enumerate() {
            let sidecar = is_init && old.restart_policy.as_deref() == Some("Always");
            if is_init && !sidecar {
                if new != old {
                    errors.forbidden(&at, "resources for non-sidecar init containers are immutable");
                }
                continue;
            }
            amounts(new, old, &list_at.index(i), errors);
            if without_amounts(new) != without_amounts(old) {
                let whose = if sidecar { " for sidecar containers" } else { "" };
                errors.forbidden(&at, format!("only cpu and memory resources{whose} are mutable"));
            }
        }
    }
}

/// Whether the node that runs the pod is one that resizes: it tells the resources of what runs. A pod that does not run yet may be resized.
fn may_be_resized_there(pod: &v1::Pod) -> bool {
    let statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    let mut running = statuses.filter(|status| status.state.as_ref().is_some_and(|state| state.running.is_some()));
    running.next().is_none_or(|status| status.resources.is_some())
}

fn in_order(new: &[Container], old: &[Container], list: &str, at: &Path<'_>, errors: &mut Errors) -> bool {
    if new.len() != old.len() {
        errors.forbidden(at, format!("{list} may not be added or removed on resize"));
        return false;
    }
    let mut ordered = true;
    for (i, _) in new.iter().zip(old).enumerate().filter(|(_, (new, old))| new.name != old.name) {
        errors.forbidden(&at.index(i).field("name"), format!("{list} may not be renamed or reordered on resize"));
        ordered = false;
    }
    ordered
}

/// Amounts may change and be added, not go; a limit of memory goes down only where the container is restarted for it.
fn amounts(new: &Container, old: &Container, at: &Path<'_>, errors: &mut Errors) {
    let at = at.field("resources");
    let [new_resources, old_resources] = [new, old].map(|container| container.resources.clone().unwrap_or_default());
    let removed = |new: &Amounts, old: &Amounts| {
        let has = |name: &String| new.as_ref().is_some_and(|new| new.contains_key(name));
        !old.iter().flat_map(BTreeMap::keys).all(has)
    };
    if removed(&new_resources.requests, &old_resources.requests) {
        errors.forbidden(&at.field("requests"), "resource requests cannot be removed");
    }
    if removed(&new_resources.limits, &old_resources.limits) {
        errors.forbidden(&at.field("limits"), "resource limits cannot be removed");
    }
    let restarts = (new.resize_policy.iter().flatten())
        .find(|policy| policy.resource_name == "memory")
        .is_some_and(|policy| policy.restart_policy == "RestartContainer");
    let memory = |resources: &ResourceRequirements| Quantity::parse(&resources.limits.as_ref()?.get("memory")?.0).ok();
    if let (Some(new), Some(old)) = (memory(&new_resources), memory(&old_resources))
        && new < old
        && !restarts
    {
        let detail = "memory limits cannot be decreased unless resizePolicy is RestartContainer";
        errors.forbidden(&at.field("limits").key("memory"), detail);
    }
}

/// The container without what may change.
fn without_amounts(container: &Container) -> Container {
    let mut container = container.clone();
    let mut resources = container.resources.take().unwrap_or_default();
    for amounts in [&mut resources.requests, &mut resources.limits] {
        let others = amounts.take().unwrap_or_default().into_iter().filter(|(name, _)| !RESIZABLE.contains(&&name[..]));
        *amounts = Some(others.collect());
    }
    container.resources = Some(resources);
    container
}

fn containers<'a>(pod: &'a Value, list: &str) -> impl Iterator<Item = &'a Value> {
    json::get(pod, &["spec", list]).and_then(Value::as_array).into_iter().flatten()
}

fn names<'a>(pod: &'a Value, list: &str) -> Vec<Option<&'a Value>> {
    containers(pod, list).map(|container| container.get("name")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Resource;
    use crate::typed::Typed;
    use serde_json::json;

    const KIND: Typed<Pod> = Typed::NEW;

    fn pod(change: impl FnOnce(&mut Value)) -> Value {
        let resources = json!({"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"memory": "2Gi", "ephemeral-storage": "1Gi"}});
        let mut body = json!({"metadata": {"name": "p", "namespace": "d", "labels": {"a": "b"}}, "spec": {
            "initContainers": [{"name": "i", "image": "x"}, {"name": "s", "image": "x", "restartPolicy": "Always", "resources": resources}],
            "containers": [{"name": "a", "image": "x:1", "resources": resources}, {"name": "b", "image": "x"}]}});
        change(&mut body);
        KIND.decode(body).unwrap().object
    }

    /// What is left of the change, and what is refused of it.
    fn resized(old: &Value, change: impl FnOnce(&mut Value)) -> (Value, Vec<String>) {
        let mut new = old.clone();
        change(&mut new);
        KIND.prepare_update(&mut new, old, Some("resize"));
        let errors = KIND.validate_update(&new, old, Some("resize")).iter().map(ToString::to_string).collect();
        (new, errors)
    }

    #[test]
    fn amounts_of_cpu_and_memory_change_and_nothing_beside_them() {
        let (new, errors) = resized(&pod(|_| {}), |pod| {
            pod["metadata"]["labels"] = json!({"a": "other"});
            pod["metadata"]["finalizers"] = json!(["a/b"]);
            pod["spec"]["nodeName"] = "elsewhere".into();
            pod["spec"]["containers"][0]["image"] = "other".into();
            pod["spec"]["containers"][0]["resources"]["requests"]["cpu"] = "2".into();
            pod["spec"]["initContainers"][1]["resources"]["limits"]["memory"] = "3Gi".into();
        });
        let expected = pod(|pod| {
            pod["spec"]["containers"][0]["resources"]["requests"]["cpu"] = "2".into();
            pod["spec"]["initContainers"][1]["resources"]["limits"]["memory"] = "3Gi".into();
        });
        assert_eq!((errors, new), (Vec::new(), expected));
    }

    #[test]
    fn what_is_no_resize_is_refused() {
        let refused = |change: fn(&mut Value), expected: &[&str]| assert_eq!(resized(&pod(|_| {}), change).1, expected);
        refused(
            |pod| pod["spec"]["containers"][0]["resources"]["limits"]["ephemeral-storage"] = "2Gi".into(),
            &["spec: Forbidden: only cpu and memory resources are mutable"],
        );
        refused(
            |pod| pod["spec"]["containers"][0]["resizePolicy"] = json!([{"resourceName": "cpu", "restartPolicy": "NotRequired"}]),
            &["spec: Forbidden: only cpu and memory resources are mutable"],
        );
        refused(
            |pod| drop(pod["spec"]["containers"][0]["resources"]["requests"].as_object_mut().unwrap().remove("memory")),
            &["spec.containers[0].resources.requests: Forbidden: resource requests cannot be removed"],
        );
        refused(
            |pod| pod["spec"]["containers"][0]["resources"]["limits"]["memory"] = "1Gi".into(),
            &[
                "spec.containers[0].resources.limits[memory]: Forbidden: memory limits cannot be decreased unless resizePolicy is RestartContainer",
            ],
        );
        refused(
            |pod| pod["spec"]["initContainers"][0]["resources"] = json!({"requests": {"cpu": "1"}}),
            &["spec: Forbidden: resources for non-sidecar init containers are immutable"],
        );
        refused(
            |pod| pod["spec"]["containers"].as_array_mut().unwrap().truncate(1),
            &["spec.containers: Forbidden: containers may not be added or removed on resize"],
        );
        refused(
            |pod| pod["spec"]["containers"].as_array_mut().unwrap().reverse(),
            &[
                "spec.containers[0].name: Forbidden: containers may not be renamed or reordered on resize",
                "spec.containers[1].name: Forbidden: containers may not be renamed or reordered on resize",
            ],
        );
    }

    #[test]
    fn a_pod_is_not_resized_where_its_node_cannot_or_its_class_would_change() {
        let more = |pod: &mut Value| pod["spec"]["containers"][0]["resources"]["requests"]["cpu"] = "2".into();
        let status = json!({"containerStatuses": [{"name": "a", "ready": true, "restartCount": 0, "image": "", "imageID": "",
            "state": {"running": {}}}]});
        let running = pod(|pod| pod["status"] = status);
        assert_eq!(resized(&running, more).1, ["spec: Forbidden: Pod running on node without support for resize"]);
        let mut capable = running;
        capable["status"]["containerStatuses"][0]["resources"] = json!({});
        assert_eq!(resized(&capable, more).1, Vec::<String>::new());
        let best_effort = pod(|pod| {
            pod["spec"]["containers"][0]["resources"] = json!({});
            pod["spec"]["initContainers"] = json!([]);
        });
        let found = resized(&best_effort, |pod| pod["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "1"}})).1;
        assert_eq!(found, ["spec: Invalid value: \"Burstable\": Pod QOS Class may not change as a result of resizing"]);
    }
}

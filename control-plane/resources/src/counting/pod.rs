//! What a pod asks for as a whole (KEP-753): what its containers need together, or what an init container needs while it runs beside the sidecars that
//! were started before it, whichever is more.

use super::Amounts;
use k8s_openapi::api::core::v1;

/// What is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// What the containers' specs say.
    Spec,
    /// Besides, what its containers have been given so far, while they are being resized (KEP-1287), and the pod's overhead.
    Charged,
}

/// What a pod requests.
pub fn requests(pod: &v1::Pod, basis: Basis) -> Amounts {
    let mut sum = together(pod, &|container| {
        let wanted = Amounts::read(container.resources.as_ref().and_then(|resources| resources.requests.as_ref()));
        let Some(status) = status_of(pod, container, basis) else { return wanted };
        let mut held = Amounts::read(status.resources.as_ref().and_then(|resources| resources.requests.as_ref()));
        held.raise(&Amounts::read(status.allocated_resources.as_ref()));
        if !is_infeasible(pod) {
            held.raise(&wanted);
        }
        held
    });
    if basis == Basis::Charged {
        sum.add(&overhead(pod));
    }
    sum
}

/// What a pod may use at most; what is not limited is not in it.
pub fn limits(pod: &v1::Pod, basis: Basis) -> Amounts {
    let mut sum = together(pod, &|container| {
        let wanted = Amounts::read(container.resources.as_ref().and_then(|resources| resources.limits.as_ref()));
        let Some(status) = status_of(pod, container, basis) else { return wanted };
        let mut held = Amounts::read(status.resources.as_ref().and_then(|resources| resources.limits.as_ref()));
        if !is_infeasible(pod) {
            held.raise(&wanted);
        }
        held
    });
    if basis == Basis::Charged {
        // Of what is not limited, an overhead is no limit.
        let limited = overhead(pod).only(|name| sum.get(name).is_some());
        sum.add(&limited);
    }
    sum
}

fn together(pod: &v1::Pod, of: &dyn Fn(&v1::Container) -> Amounts) -> Amounts {
    let Some(spec) = &pod.spec else { return Amounts::default() };
    let mut sum = Amounts::default();
    spec.containers.iter().for_each(|container| sum.add(&of(container)));
    let (mut sidecars, mut starting) = (Amounts::default(), Amounts::default());
    for container in spec.init_containers.iter().flatten() {
        let mut moment = of(container);
        if container.restart_policy.as_deref() == Some("Always") {
            sum.add(&moment);
            sidecars.add(&moment);
            moment = sidecars.clone();
        } else {
            moment.add(&sidecars);
        }
        starting.raise(&moment);
    }
    sum.raise(&starting);
    sum
}

fn overhead(pod: &v1::Pod) -> Amounts {
    Amounts::read(pod.spec.as_ref().and_then(|spec| spec.overhead.as_ref()))
}

/// A container's status, if that is looked at and tells of resources.
fn status_of<'a>(pod: &'a v1::Pod, container: &v1::Container, basis: Basis) -> Option<&'a v1::ContainerStatus> {
    let status = pod.status.as_ref().filter(|_| basis == Basis::Charged)?;
    let mut all = status.container_statuses.iter().chain(&status.init_container_statuses).flatten();
    all.find(|status| status.name == container.name && status.resources.is_some())
}

/// Whether the node cannot do what a resize asks for.
fn is_infeasible(pod: &v1::Pod) -> bool {
    let mut conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.any(|condition| condition.type_ == "PodResizePending" && condition.reason.as_deref() == Some("Infeasible"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod(value: Value) -> v1::Pod {
        serde_json::from_value(value).unwrap()
    }

    fn container(name: &str, cpu: &str) -> Value {
        json!({ "name": name, "resources": { "requests": { "cpu": cpu }, "limits": { "cpu": cpu } } })
    }

    #[test]
    fn containers_add_up_and_init_containers_take_turns_beside_their_sidecars() {
        let mut sidecar = container("s", "200m");
        sidecar["restartPolicy"] = "Always".into();
        for (containers, init, expected) in [
            (json!([container("a", "100m"), container("b", "100m")]), json!([]), "200m"),
            (json!([container("a", "100m")]), json!([container("i", "1"), container("j", "500m")]), "1"),
            (json!([container("a", "100m")]), json!([sidecar, container("i", "1")]), "1200m"),
            (json!([container("a", "100m")]), json!([container("i", "250m"), sidecar]), "300m"),
        ] {
            let pod =
                pod(json!({ "spec": { "containers": containers, "initContainers": init, "overhead": { "cpu": "1", "memory": "1" } } }));
            assert_eq!(requests(&pod, Basis::Spec).shown(), format!("cpu={expected}"));
            assert_eq!(limits(&pod, Basis::Spec).shown(), format!("cpu={expected}"));
        }
    }

    #[test]
    fn charged_is_what_a_container_still_has_and_the_overhead() {
        let with = |reason: &str, allocated: &str| {
            pod(json!({
                "spec": { "containers": [container("a", "300m")], "overhead": { "cpu": "1", "memory": "1Mi" } },
                "status": {
                    "conditions": [{ "type": "PodResizePending", "status": "True", "reason": reason }],
                    "containerStatuses": [{ "name": "a", "image": "", "imageID": "", "ready": true, "restartCount": 0,
                        "allocatedResources": { "cpu": allocated }, "resources": { "requests": { "cpu": "100m" }, "limits": { "cpu": "200m" } } }],
                },
            }))
        };
        for (pod, requested, limited) in [
            (with("Deferred", "200m"), "cpu=1300m,memory=1Mi", "cpu=1300m"),
            (with("Deferred", "400m"), "cpu=1400m,memory=1Mi", "cpu=1300m"),
            (with("Infeasible", "200m"), "cpu=1200m,memory=1Mi", "cpu=1200m"),
        ] {
            assert_eq!((requests(&pod, Basis::Charged).shown(), limits(&pod, Basis::Charged).shown()), (requested.into(), limited.into()));
            assert_eq!(requests(&pod, Basis::Spec).shown(), "cpu=300m");
        }
    }
}

//! Pure: what a pod asks of a node, and what a node offers. CPU in thousandths, memory and storage in bytes, all else in whole units.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, PodSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as ApiQuantity;
use orknet_resources::quantity::Quantity;

/// Amounts by resource name; an absent name is zero.
pub(crate) type Amounts = BTreeMap<String, i64>;

pub(crate) const CPU: &str = "cpu";
pub(crate) const MEMORY: &str = "memory";
pub(crate) const PODS: &str = "pods";

/// What a container without requests counts for when nodes are compared (never when they are filtered).
const SCORED_CPU: i64 = 100;
const SCORED_MEMORY: i64 = 200 * 1024 * 1024;

/// The pod's effective request: the larger of what its containers need together and what any init container needs while it runs beside the
/// sidecars started before it (KEP-753), plus overhead.
pub(crate) fn of_pod(spec: &PodSpec) -> Amounts {
    effective(spec, &|container| requests(container))
}

/// Like [`of_pod`], with a floor for CPU and memory of containers that name none, so that pods without requests spread too.
pub(crate) fn for_scoring(spec: &PodSpec) -> Amounts {
    effective(spec, &|container| {
        let mut amounts = requests(container);
        amounts.entry(CPU.into()).or_insert(SCORED_CPU);
        amounts.entry(MEMORY.into()).or_insert(SCORED_MEMORY);
        amounts
    })
}

/// A resource list of the API. A quantity that can't be read counts as nothing; the API server lets none through.
pub(crate) fn amounts(list: Option<&BTreeMap<String, ApiQuantity>>) -> Amounts {
    let read = |(name, quantity): (&String, &ApiQuantity)| {
        let quantity = Quantity::parse(&quantity.0).ok()?;
        Some((name.clone(), if name == CPU { quantity.milli() } else { quantity.units() }))
    };
    list.into_iter().flatten().filter_map(read).collect()
}

/// Adds `other` to `amounts`.
pub(crate) fn add(amounts: &mut Amounts, other: &Amounts) {
    for (name, amount) in other {
        let sum = amounts.get(name).copied().unwrap_or(0).saturating_add(*amount);
        amounts.insert(name.clone(), sum);
    }
}

/// Takes `other` off `amounts`.
pub(crate) fn subtract(amounts: &mut Amounts, other: &Amounts) {
    for (name, amount) in other {
        if let Some(left) = amounts.get_mut(name) {
            *left = left.saturating_sub(*amount);
        }
    }
}

/// The amount of a name.
pub(crate) fn get(amounts: &Amounts, name: &str) -> i64 {
    amounts.get(name).copied().unwrap_or(0)
}

fn requests(container: &Container) -> Amounts {
    amounts(container.resources.as_ref().and_then(|resources| resources.requests.as_ref()))
}

fn effective(spec: &PodSpec, of: &dyn Fn(&Container) -> Amounts) -> Amounts {
    let mut together = Amounts::new();
    spec.containers.iter().for_each(|container| add(&mut together, &of(container)));
    let (mut sidecars, mut starting) = (Amounts::new(), Amounts::new());
    for container in spec.init_containers.iter().flatten() {
        let own = of(container);
        if container.restart_policy.as_deref() == Some("Always") {
            add(&mut together, &own);
            add(&mut sidecars, &own);
            raise(&mut starting, &sidecars);
        } else {
            let mut moment = sidecars.clone();
            add(&mut moment, &own);
            raise(&mut starting, &moment);
        }
    }
    raise(&mut together, &starting);
    // Requests of the pod as a whole take the place of the containers' sum (KEP-2837).
    together.extend(amounts(spec.resources.as_ref().and_then(|resources| resources.requests.as_ref())));
    add(&mut together, &amounts(spec.overhead.as_ref()));
    together
}

fn raise(amounts: &mut Amounts, floor: &Amounts) {
    for (name, amount) in floor {
        let entry = amounts.entry(name.clone()).or_insert(0);
        *entry = (*entry).max(*amount);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn cpu(spec: Value) -> i64 {
        get(&of_pod(&serde_json::from_value(spec).unwrap()), CPU)
    }

    fn container(cpu: &str) -> Value {
        json!({"name": "c", "resources": {"requests": {"cpu": cpu}}})
    }

    #[test]
    fn containers_add_up_and_init_containers_take_turns() {
        assert_eq!(cpu(json!({"containers": [container("100m"), container("0.2")]})), 300);
        assert_eq!(cpu(json!({"containers": [container("100m")], "initContainers": [container("1"), container("500m")]})), 1000);
    }

    #[test]
    fn sidecars_stay_beside_everything_that_starts_after_them() {
        let sidecar = json!({"name": "s", "restartPolicy": "Always", "resources": {"requests": {"cpu": "200m"}}});
        assert_eq!(cpu(json!({"containers": [container("100m")], "initContainers": [sidecar, container("1")]})), 1200);
        assert_eq!(cpu(json!({"containers": [container("100m")], "initContainers": [container("250m"), sidecar]})), 300);
    }

    #[test]
    fn overhead_is_added_and_scoring_has_a_floor() {
        assert_eq!(cpu(json!({"containers": [container("100m")], "overhead": {"cpu": "50m"}})), 150);
        let empty = serde_json::from_value(json!({"containers": [{"name": "c"}]})).unwrap();
        assert_eq!((get(&of_pod(&empty), CPU), get(&for_scoring(&empty), CPU)), (0, 100));
    }
}

//! What a pod asks of a node and what a node has to give, by resource: cpu in thousandths, all else in whole units. Pure.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::cgroups::values::pod_request;
use crate::quantity;

/// Amounts by the resource's name.
pub type Amounts = BTreeMap<String, i64>;

/// What the node's pods may have: all that is advertised on the node, and of what the kubelet measures itself, what it has `measured`.
pub fn allocatable(node: &Node, measured: &BTreeMap<String, Quantity>) -> Amounts {
    let advertised = node.status.iter().filter_map(|status| status.allocatable.as_ref()).flatten();
    advertised.chain(measured).filter_map(|(name, quantity)| Some((name.clone(), amount(name, quantity)?))).collect()
}

/// What the whole pod asks for (KEP-753, KEP-2837), with what its runtime class adds.
pub fn requests(pod: &Pod) -> Amounts {
    let Some(spec) = pod.spec.as_ref() else { return Amounts::new() };
    let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let of_containers = containers.filter_map(|c| c.resources.as_ref()?.requests.as_ref());
    let of_pod = spec.resources.as_ref().and_then(|resources| resources.requests.as_ref());
    let names: BTreeSet<&String> = of_containers.chain(of_pod).chain(&spec.overhead).flat_map(BTreeMap::keys).collect();
    let named = |list: Option<&BTreeMap<String, Quantity>>, name: &str| list?.get(name).and_then(|quantity| amount(name, quantity));
    let one = |name: &String| {
        let asked = named(of_pod, name).unwrap_or_else(|| pod_request(pod, name));
        (name.clone(), asked.saturating_add(named(spec.overhead.as_ref(), name).unwrap_or(0)))
    };
    names.into_iter().map(one).collect()
}

fn amount(name: &str, quantity: &Quantity) -> Option<i64> {
    if name == "cpu" { quantity::milli(quantity) } else { quantity::value(quantity) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_the_kubelet_measures_wins_and_what_others_advertise_counts() {
        let node = serde_json::from_value(json!({"status": {"allocatable": {"cpu": "9", "a.b/c": "4"}}})).unwrap();
        let measured = BTreeMap::from([("cpu".to_owned(), Quantity("1500m".into())), ("pods".to_owned(), Quantity("110".into()))]);
        let want = [("a.b/c", 4), ("cpu", 1500), ("pods", 110)];
        assert_eq!(allocatable(&node, &measured), want.map(|(name, amount)| (name.to_owned(), amount)).into());
    }

    #[test]
    fn containers_the_pod_and_overhead_are_counted() {
        let pod = |more: serde_json::Value| {
            let container = json!({"name": "c", "resources": {"requests": {"cpu": "100m", "a.b/c": "1"}}});
            let mut spec = json!({"containers": [container, container], "overhead": {"memory": "1Ki", "cpu": "10m"}});
            spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            serde_json::from_value::<Pod>(json!({"spec": spec})).unwrap()
        };
        let amounts = |list: [(&str, i64); 3]| Amounts::from(list.map(|(name, amount)| (name.to_owned(), amount)));
        assert_eq!(requests(&pod(json!({}))), amounts([("a.b/c", 2), ("cpu", 210), ("memory", 1024)]));
        let whole = json!({"resources": {"requests": {"cpu": "1"}}});
        assert_eq!(requests(&pod(whole)), amounts([("a.b/c", 2), ("cpu", 1010), ("memory", 1024)]));
    }
}

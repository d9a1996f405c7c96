//! What of a quota an object counts against: which of the bounded names its kind has, and how much of each it uses (kube-apiserver's evaluators,
//! `pkg/quota/v1/evaluator/core`).

use super::Amounts;
use super::pod::{Basis, limits, requests};
use crate::kinds::resource_name;
use crate::quantity::Quantity;
use k8s_openapi::api::core::v1;
use k8s_openapi::jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// An object as it is counted.
#[derive(Clone, Copy, Debug)]
pub enum Counted<'a> {
    Pod(&'a v1::Pod),
    Service(&'a v1::Service),
    Claim(&'a v1::PersistentVolumeClaim),
    /// Of any other kind: only that it is there.
    Other,
}

/// What containers must say when a quota bounds it. Of nothing else Kubernetes asks that.
const MUST_BE_SAID: [&str; 6] = ["cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"];
/// Summed over pods.
const OF_PODS: [&str; 10] = [
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
];
const OF_CLAIMS: [&str; 2] = ["persistentvolumeclaims", "requests.storage"];
/// Counted under their own name as well as under `count/…`.
const ALIASES: [&str; 4] = ["configmaps", "resourcequotas", "replicationcontrollers", "secrets"];
/// Between the name of a StorageClass and what is bounded of its claims.
const OF_CLASS: &str = ".storageclass.storage.k8s.io/";

/// Whether objects of the kind are counted at all. Events are not.
pub fn is_counted(group: &str, plural: &str) -> bool {
    !(plural == "events" && (group.is_empty() || group == "events.k8s.io"))
}

/// Whether the name is one that objects of the kind use something of.
pub fn bounded(group: &str, plural: &str, name: &str) -> bool {
    if name == count_name(group, plural) {
        return true;
    }
    match (group, plural) {
        ("", "pods") => {
            let extended = !resource_name::is_native(name) && name.starts_with("requests.");
            OF_PODS.contains(&name) || name.starts_with("hugepages-") || name.starts_with("requests.hugepages-") || extended
        }
        ("", "services") => matches!(name, "services" | "services.nodeports" | "services.loadbalancers"),
        ("", "persistentvolumeclaims") => {
            let of_class = name.split_once(OF_CLASS).map(|(_, name)| name);
            OF_CLAIMS.contains(&of_class.unwrap_or(name))
        }
        ("", plural) => name == plural && ALIASES.contains(&plural),
        _ => false,
    }
}

/// What the object uses. A pod that has ended, or should have been gone for a while, only is there.
pub fn usage(group: &str, plural: &str, object: Counted<'_>, now: Timestamp) -> Amounts {
    let one = Quantity::of_units(1);
    let mut used: Amounts = [(count_name(group, plural), one)].into_iter().collect();
    match object {
        Counted::Pod(pod) if !is_over(pod, now) => {
            used.add(&of_amounts(&requests(pod, Basis::Charged), &limits(pod, Basis::Charged)));
            used.set("pods", one);
        }
        Counted::Pod(_) => {}
        Counted::Service(service) => used.add(&of_service(service)),
        Counted::Claim(claim) => used.add(&of_claim(claim)),
        Counted::Other => {
            if group.is_empty() && ALIASES.contains(&plural) {
                used.set(plural, one);
            }
        }
    }
    used
}

/// What containers of the pod do not say, though one of `names` bounds it: `limits.cpu for: a,b; limits.memory for: a`.
pub fn missing<'a>(pod: &v1::Pod, names: impl Iterator<Item = &'a str>) -> Option<String> {
    let names: BTreeSet<&str> = names.filter(|name| MUST_BE_SAID.contains(name)).collect();
    let spec = pod.spec.as_ref()?;
    let mut missing: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for container in spec.containers.iter().chain(spec.init_containers.iter().flatten()) {
        let resources = container.resources.as_ref();
        let said = of_amounts(
            &Amounts::read(resources.and_then(|resources| resources.requests.as_ref())),
            &Amounts::read(resources.and_then(|resources| resources.limits.as_ref())),
        );
        for name in names.iter().filter(|name| said.get(name).is_none()) {
            missing.entry(name).or_default().insert(&container.name);
        }
    }
    let shown = |(name, containers): (&str, BTreeSet<&str>)| format!("{name} for: {}", Vec::from_iter(containers).join(","));
    let parts: Vec<String> = missing.into_iter().map(shown).collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// Whether nothing but the pod's being there counts: it has ended, or should have been gone a grace period ago (its node may be lost).
pub fn is_over(pod: &v1::Pod, now: Timestamp) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    let (deleted, grace) = (&pod.metadata.deletion_timestamp, pod.metadata.deletion_grace_period_seconds);
    let overdue = deleted.as_ref().zip(grace).is_some_and(|(at, grace)| now.as_second() > at.0.as_second().saturating_add(grace));
    matches!(phase, Some("Failed" | "Succeeded")) || overdue
}

/// The name under which objects of a kind are counted.
fn count_name(group: &str, plural: &str) -> String {
    if group.is_empty() { format!("count/{plural}") } else { format!("count/{plural}.{group}") }
}

/// Requests and limits under the names of quotas.
fn of_amounts(requests: &Amounts, limits: &Amounts) -> Amounts {
    let mut used = Amounts::default();
    for (name, amount) in requests.iter() {
        let plain = matches!(name, "cpu" | "memory" | "ephemeral-storage") || name.starts_with("hugepages-");
        if plain {
            used.set(name, amount);
        }
        if plain || resource_name::is_extended(name) {
            used.set(format!("requests.{name}"), amount);
        }
    }
    for name in ["cpu", "memory", "ephemeral-storage"] {
        if let Some(amount) = limits.get(name) {
            used.set(format!("limits.{name}"), amount);
        }
    }
    used
}

/// Node ports are counted by what is meant: they may not have been given out yet.
fn of_service(service: &v1::Service) -> Amounts {
    let spec = service.spec.as_ref();
    let kind = spec.and_then(|spec| spec.type_.as_deref()).unwrap_or_default();
    let ports = || spec.iter().flat_map(|spec| spec.ports.iter().flatten());
    let own_ports_alone = spec.and_then(|spec| spec.allocate_load_balancer_node_ports) == Some(false);
    let node_ports = match kind {
        "LoadBalancer" if own_ports_alone => ports().filter(|port| port.node_port.is_some_and(|port| port != 0)).count(),
        "NodePort" | "LoadBalancer" => ports().count(),
        _ => 0,
    };
    let balancers = i64::from(kind == "LoadBalancer");
    let counts =
        [("services", 1), ("services.nodeports", i64::try_from(node_ports).unwrap_or(i64::MAX)), ("services.loadbalancers", balancers)];
    counts.into_iter().map(|(name, count)| (name, Quantity::of_units(count))).collect()
}

/// Storage in whole bytes, as much as is asked for or given already.
fn of_claim(claim: &v1::PersistentVolumeClaim) -> Amounts {
    let spec = claim.spec.as_ref();
    let requested = Amounts::read(spec.and_then(|spec| spec.resources.as_ref()?.requests.as_ref())).get("storage");
    let given = Amounts::read(claim.status.as_ref().and_then(|status| status.allocated_resources.as_ref())).get("storage");
    let storage = requested.map(|requested| given.map_or(requested, |given| given.max(requested)).whole());
    let old_place = claim.metadata.annotations.as_ref().and_then(|all| all.get("volume.beta.kubernetes.io/storage-class"));
    let class = old_place.or_else(|| spec.and_then(|spec| spec.storage_class_name.as_ref())).filter(|class| !class.is_empty());
    let mut used = Amounts::default();
    for (name, amount) in [(OF_CLAIMS[0], Some(Quantity::of_units(1))), (OF_CLAIMS[1], storage)] {
        let Some(amount) = amount else { continue };
        used.set(name, amount);
        if let Some(class) = class {
            used.set(format!("{class}{OF_CLASS}{name}"), amount);
        }
    }
    used
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::de::DeserializeOwned;
    use serde_json::{Value, json};

    fn typed<T: DeserializeOwned>(value: Value) -> T {
        serde_json::from_value(value).unwrap()
    }

    fn now() -> Timestamp {
        "2026-01-01T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn a_pod_counts_under_every_name_until_it_is_over() {
        let pod = |more: Value| -> v1::Pod {
            let mut pod = json!({ "metadata": {}, "spec": { "containers": [{ "name": "a", "resources": {
                "requests": { "cpu": "100m", "hugepages-2Mi": "2Mi", "example.com/gpu": "1", "ephemeral-storage": "1Gi" },
                "limits": { "cpu": "1", "memory": "1Gi", "example.com/gpu": "1" } } }] } });
            for (key, value) in more.as_object().unwrap() {
                pod[key] = value.clone();
            }
            typed(pod)
        };
        let used = |more: Value| usage("", "pods", Counted::Pod(&pod(more)), now()).shown();
        let whole = "count/pods=1,cpu=100m,ephemeral-storage=1Gi,hugepages-2Mi=2Mi,limits.cpu=1,limits.memory=1Gi,pods=1,requests.cpu=100m,\
            requests.ephemeral-storage=1Gi,requests.example.com/gpu=1,requests.hugepages-2Mi=2Mi";
        let going = |at: &str| json!({ "metadata": { "deletionTimestamp": at, "deletionGracePeriodSeconds": 30 } });
        assert_eq!(used(json!({})), whole);
        assert_eq!(used(json!({ "status": { "phase": "Running" } })), whole);
        assert_eq!(used(going("2026-01-01T11:59:31Z")), whole);
        for over in
            [json!({ "status": { "phase": "Failed" } }), json!({ "status": { "phase": "Succeeded" } }), going("2026-01-01T11:59:29Z")]
        {
            assert_eq!(used(over), "count/pods=1");
        }
    }

    #[test]
    fn services_count_the_node_ports_that_they_mean_to_have() {
        for (spec, expected) in [
            (json!({ "type": "ClusterIP", "ports": [{ "port": 1 }] }), (0, 0)),
            (json!({ "type": "NodePort", "ports": [{ "port": 1 }, { "port": 2 }] }), (2, 0)),
            (json!({ "type": "LoadBalancer", "ports": [{ "port": 1 }, { "port": 2 }] }), (2, 1)),
            (
                json!({ "type": "LoadBalancer", "allocateLoadBalancerNodePorts": false, "ports": [{ "port": 1 }, { "port": 2, "nodePort": 9 }] }),
                (1, 1),
            ),
        ] {
            let service = typed(json!({ "spec": spec }));
            let (ports, balancers) = expected;
            let expected = format!("count/services=1,services=1,services.loadbalancers={balancers},services.nodeports={ports}");
            assert_eq!(usage("", "services", Counted::Service(&service), now()).shown(), expected, "{spec}");
        }
    }

    #[test]
    fn claims_count_whole_bytes_also_for_their_class() {
        let claim = typed(json!({ "spec": { "storageClassName": "gold", "resources": { "requests": { "storage": "1500m" } } } }));
        assert_eq!(
            usage("", "persistentvolumeclaims", Counted::Claim(&claim), now()).shown(),
            "count/persistentvolumeclaims=1,gold.storageclass.storage.k8s.io/persistentvolumeclaims=1,\
            gold.storageclass.storage.k8s.io/requests.storage=2,persistentvolumeclaims=1,requests.storage=2"
        );
        let grown = typed(
            json!({ "spec": { "resources": { "requests": { "storage": "1Gi" } } }, "status": { "allocatedResources": { "storage": "2Gi" } } }),
        );
        assert_eq!(
            usage("", "persistentvolumeclaims", Counted::Claim(&grown), now()).shown(),
            "count/persistentvolumeclaims=1,persistentvolumeclaims=1,requests.storage=2Gi"
        );
    }

    #[test]
    fn other_things_are_counted() {
        for (group, plural, expected) in [
            ("", "secrets", "count/secrets=1,secrets=1"),
            ("", "endpoints", "count/endpoints=1"),
            ("apps", "deployments", "count/deployments.apps=1"),
            ("example.com", "secrets", "count/secrets.example.com=1"),
        ] {
            assert_eq!(usage(group, plural, Counted::Other, now()).shown(), expected);
        }
        assert!(!is_counted("", "events") && !is_counted("events.k8s.io", "events") && is_counted("example.com", "events"));
    }

    #[test]
    fn each_name_belongs_to_its_kind() {
        let kinds = [
            ("", "pods"),
            ("", "services"),
            ("", "persistentvolumeclaims"),
            ("", "secrets"),
            ("apps", "deployments"),
            ("example.com", "pods"),
        ];
        for (name, expected) in [
            ("cpu", vec!["pods"]),
            ("limits.memory", vec!["pods"]),
            ("requests.hugepages-1Gi", vec!["pods"]),
            ("requests.example.com/gpu", vec!["pods"]),
            ("example.com/gpu", vec![]),
            ("count/pods", vec!["pods"]),
            ("count/pods.example.com", vec!["pods.example.com"]),
            ("services.nodeports", vec!["services"]),
            ("requests.storage", vec!["persistentvolumeclaims"]),
            ("gold.storageclass.storage.k8s.io/requests.storage", vec!["persistentvolumeclaims"]),
            ("secrets", vec!["secrets"]),
            ("count/deployments.apps", vec!["deployments.apps"]),
            ("deployments", vec![]),
        ] {
            let found = kinds.iter().filter(|(group, plural)| bounded(group, plural, name));
            let found: Vec<String> =
                found.map(|(group, plural)| if group.is_empty() { plural.to_string() } else { format!("{plural}.{group}") }).collect();
            assert_eq!(found, expected, "{name}");
        }
    }

    #[test]
    fn containers_say_what_is_bounded() {
        let pod = typed(json!({ "spec": {
            "initContainers": [{ "name": "i" }],
            "containers": [{ "name": "b", "resources": { "requests": { "cpu": "1" } } }, { "name": "a", "resources": { "limits": { "cpu": "1" } } }],
        } }));
        let missing = |names: &[&str]| missing(&pod, names.iter().copied());
        assert_eq!(missing(&["limits.cpu", "requests.cpu"]).as_deref(), Some("limits.cpu for: b,i; requests.cpu for: a,i"));
        assert_eq!(missing(&["pods", "ephemeral-storage", "requests.example.com/gpu"]), None);
    }
}

//! The quality-of-service class that follows from requests and limits of CPU and memory.

use crate::quantity::Quantity;
use k8s_openapi::api::core::v1::{Container, PodSpec};

/// `Guaranteed`: every container has equal requests and limits of both; `BestEffort`: no container has any; else `Burstable`.
pub fn qos_class(spec: &PodSpec) -> &'static str {
    let containers = || spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let any = containers().any(|c| has_some(c, "cpu") || has_some(c, "memory"));
    let all = containers().all(|c| is_pinned(c, "cpu") && is_pinned(c, "memory"));
    match (any, all) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

fn has_some(container: &Container, resource: &str) -> bool {
    amount(container, resource, true).is_some() || amount(container, resource, false).is_some()
}

fn is_pinned(container: &Container, resource: &str) -> bool {
    match (amount(container, resource, true), amount(container, resource, false)) {
        (Some(limit), Some(request)) => limit == request,
        (Some(_), None) => true,
        (None, _) => false,
    }
}

/// A positive amount; nothing counts as not given.
fn amount(container: &Container, resource: &str, limit: bool) -> Option<Quantity> {
    let resources = container.resources.as_ref()?;
    let list = if limit { &resources.limits } else { &resources.requests };
    Quantity::parse(&list.as_ref()?.get(resource)?.0).ok().filter(|q| !q.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn the_class_follows_from_requests_and_limits() {
        let both = json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1000m", "memory": "1Gi"}});
        let cases: [(Vec<Value>, &str); 5] = [
            (vec![json!({}), json!({})], "BestEffort"),
            (vec![json!({"requests": {"x.y/z": "1"}})], "BestEffort"),
            (vec![both.clone(), both.clone()], "Guaranteed"),
            (vec![both, json!({})], "Burstable"),
            (vec![json!({"limits": {"cpu": "1"}})], "Burstable"),
        ];
        for (resources, class) in cases {
            let containers: Vec<Value> = resources.iter().map(|r| json!({"name": "a", "resources": r})).collect();
            let spec: PodSpec = serde_json::from_value(json!({"containers": containers})).unwrap();
            assert_eq!(qos_class(&spec), class, "{resources:?}");
        }
    }
}

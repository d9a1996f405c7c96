//! What a LimitRange complains of, in the words of Kubernetes, each complaint once. Amounts are compared exactly, the ratio of limit and request as
//! floating point numbers. Pure.

use k8s_openapi::api::core::v1::{Container, LimitRange, LimitRangeItem, PersistentVolumeClaim, Pod};
use k8s_openapi::apimachinery::pkg::api::resource;
use orknet_resources::counting::{Amounts, Basis, limits, requests};
use orknet_resources::quantity::Quantity;
use serde_json::Value;
use std::collections::BTreeMap;

/// About the pod's containers, and about the pod as a whole.
pub fn of_pod(range: &LimitRange, pod: &Value) -> Vec<String> {
    let Ok(pod) = serde_json::from_value::<Pod>(pod.clone()) else { return Vec::new() };
    let spec = pod.spec.as_ref();
    let containers = || spec.into_iter().flat_map(|spec| spec.containers.iter().chain(spec.init_containers.iter().flatten()));
    let mut found = Vec::new();
    for item in items(range) {
        match &item.type_[..] {
            "Container" => containers().for_each(|container| of_asked(item, &Asked::by(container), &mut found)),
            "Pod" => {
                let whole = Asked { requests: requests(&pod, Basis::Spec), limits: limits(&pod, Basis::Spec) };
                of_asked(item, &whole, &mut found);
            }
            _ => {}
        }
    }
    once(found)
}

/// About the storage that a claim requests; its limits say nothing.
pub fn of_claim(range: &LimitRange, claim: &Value) -> Vec<String> {
    let Ok(claim) = serde_json::from_value::<PersistentVolumeClaim>(claim.clone()) else { return Vec::new() };
    let resources = claim.spec.as_ref().and_then(|spec| spec.resources.as_ref());
    let requested = Amounts::read(resources.and_then(|resources| resources.requests.as_ref()));
    let asked = Asked { requests: requested, limits: Amounts::default() };
    let mut found = Vec::new();
    for item in items(range).filter(|item| item.type_ == "PersistentVolumeClaim") {
        each(&item.min).for_each(|bound| found.extend(below(item, bound, &asked)));
        each(&item.max).for_each(|bound| found.extend(request_above(item, bound, &asked)));
    }
    once(found)
}

/// What is asked for.
struct Asked {
    requests: Amounts,
    limits: Amounts,
}

impl Asked {
    fn by(container: &Container) -> Self {
        let resources = container.resources.as_ref();
        Self {
            requests: Amounts::read(resources.and_then(|resources| resources.requests.as_ref())),
            limits: Amounts::read(resources.and_then(|resources| resources.limits.as_ref())),
        }
    }
}

type Bound<'a> = (&'a str, Quantity);

fn items(range: &LimitRange) -> impl Iterator<Item = &LimitRangeItem> {
    range.spec.iter().flat_map(|spec| &spec.limits)
}

fn each(list: &Option<BTreeMap<String, resource::Quantity>>) -> impl Iterator<Item = Bound<'_>> {
    list.iter().flatten().filter_map(|(name, amount)| Some((name.as_str(), Quantity::parse(&amount.0).ok()?)))
}

fn of_asked(item: &LimitRangeItem, asked: &Asked, found: &mut Vec<String>) {
    each(&item.min).for_each(|bound| found.extend(below(item, bound, asked)));
    each(&item.max).for_each(|bound| found.extend(above(item, bound, asked)));
    each(&item.max_limit_request_ratio).for_each(|bound| found.extend(apart(item, bound, asked)));
}

fn below(item: &LimitRangeItem, (name, least): Bound<'_>, asked: &Asked) -> Option<String> {
    let why = match (asked.requests.get(name), asked.limits.get(name)) {
        (None, _) => ".  No request is specified".to_owned(),
        (Some(request), _) if request < least => format!(", but request is {}", request.text()),
        (_, Some(limit)) if limit < least => format!(", but limit is {}", limit.text()),
        _ => return None,
    };
    Some(format!("minimum {name} usage per {} is {}{why}", item.type_, least.text()))
}

fn above(item: &LimitRangeItem, (name, most): Bound<'_>, asked: &Asked) -> Option<String> {
    let why = match (asked.limits.get(name), asked.requests.get(name)) {
        (None, _) => ".  No limit is specified".to_owned(),
        (Some(limit), _) if limit > most => format!(", but limit is {}", limit.text()),
        (_, Some(request)) if request > most => format!(", but request is {}", request.text()),
        _ => return None,
    };
    Some(format!("maximum {name} usage per {} is {}{why}", item.type_, most.text()))
}

fn request_above(item: &LimitRangeItem, (name, most): Bound<'_>, asked: &Asked) -> Option<String> {
    let why = match asked.requests.get(name) {
        None => ".  No request is specified".to_owned(),
        Some(request) if request > most => format!(", but request is {}", request.text()),
        _ => return None,
    };
    Some(format!("maximum {name} usage per {} is {}{why}", item.type_, most.text()))
}

fn apart(item: &LimitRangeItem, (name, most): Bound<'_>, asked: &Asked) -> Option<String> {
    let some = |amount: Option<Quantity>| amount.filter(|amount| !amount.is_zero());
    let why = match (some(asked.requests.get(name)), some(asked.limits.get(name))) {
        (None, _) => "no request is specified or request is 0".to_owned(),
        (_, None) => "no limit is specified or limit is 0".to_owned(),
        (Some(request), Some(limit)) => {
            let ratio = limit.approximate() / request.approximate();
            if ratio <= most.approximate() {
                return None;
            }
            format!("provided ratio is {ratio:.6}")
        }
    };
    Some(format!("{name} max limit to request ratio per {} is {}, but {why}", item.type_, most.text()))
}

/// Each complaint where it comes first.
fn once(found: Vec<String>) -> Vec<String> {
    let mut kept: Vec<String> = Vec::new();
    for complaint in found {
        if !kept.contains(&complaint) {
            kept.push(complaint);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn range(item: Value) -> LimitRange {
        serde_json::from_value(json!({ "spec": { "limits": [item] } })).expect("a range")
    }

    fn resources(requests: Value, limits: Value) -> Value {
        json!({ "requests": requests, "limits": limits })
    }

    #[test]
    fn each_bound_of_a_container_has_its_words() {
        let (none, cpu) = (json!({}), |amount: &str| json!({ "cpu": amount }));
        let min = json!({ "type": "Container", "min": { "cpu": "100m" } });
        let max = json!({ "type": "Container", "max": { "cpu": "1" } });
        let ratio = json!({ "type": "Container", "maxLimitRequestRatio": { "cpu": "1500m" } });
        for (item, resources, expected) in [
            (&min, resources(cpu("100m"), none.clone()), None),
            (&min, resources(none.clone(), cpu("1")), Some("minimum cpu usage per Container is 100m.  No request is specified")),
            (&min, resources(cpu("50m"), cpu("1")), Some("minimum cpu usage per Container is 100m, but request is 50m")),
            (&min, resources(cpu("100m"), cpu("99m")), Some("minimum cpu usage per Container is 100m, but limit is 99m")),
            (&max, resources(cpu("1"), cpu("1")), None),
            (&max, resources(cpu("1"), none.clone()), Some("maximum cpu usage per Container is 1.  No limit is specified")),
            (&max, resources(none.clone(), cpu("2")), Some("maximum cpu usage per Container is 1, but limit is 2")),
            (&max, resources(cpu("1001m"), cpu("1")), Some("maximum cpu usage per Container is 1, but request is 1001m")),
            (&ratio, resources(cpu("200m"), cpu("300m")), None),
            (
                &ratio,
                resources(none.clone(), cpu("1")),
                Some("cpu max limit to request ratio per Container is 1500m, but no request is specified or request is 0"),
            ),
            (
                &ratio,
                resources(cpu("1"), cpu("0")),
                Some("cpu max limit to request ratio per Container is 1500m, but no limit is specified or limit is 0"),
            ),
            (
                &ratio,
                resources(cpu("300m"), cpu("1")),
                Some("cpu max limit to request ratio per Container is 1500m, but provided ratio is 3.333333"),
            ),
        ] {
            let good = json!({ "name": "good", "resources": self::resources(cpu("1"), cpu("1")) });
            let tested = json!({ "name": "c", "resources": resources });
            let expected = Vec::from_iter(expected.map(str::to_owned));
            for spec in [json!({ "containers": [tested] }), json!({ "containers": [good], "initContainers": [tested] })] {
                assert_eq!(of_pod(&range(item.clone()), &json!({ "spec": spec })), expected, "{item} {spec}");
            }
        }
    }

    #[test]
    fn a_pod_is_bounded_as_a_whole() {
        let container =
            |name: &str, cpu: &str| json!({ "name": name, "resources": resources(json!({ "cpu": cpu }), json!({ "cpu": cpu })) });
        let pod =
            json!({ "spec": { "containers": [container("a", "600m"), container("b", "600m")], "initContainers": [container("i", "1")] } });
        let range = range(json!({ "type": "Pod", "max": { "cpu": "1", "memory": "1Gi" }, "min": { "cpu": "2" } }));
        assert_eq!(
            of_pod(&range, &pod),
            [
                "minimum cpu usage per Pod is 2, but request is 1200m",
                "maximum cpu usage per Pod is 1, but limit is 1200m",
                "maximum memory usage per Pod is 1Gi.  No limit is specified",
            ]
        );
    }

    #[test]
    fn the_same_complaint_is_told_once() {
        let pod = json!({ "spec": { "containers": [{ "name": "a" }, { "name": "b" }] } });
        let found = of_pod(&range(json!({ "type": "Container", "min": { "cpu": "1" } })), &pod);
        assert_eq!(found, ["minimum cpu usage per Container is 1.  No request is specified"]);
    }

    #[test]
    fn a_claim_is_bounded_by_what_it_requests() {
        let range = range(json!({ "type": "PersistentVolumeClaim", "min": { "storage": "1Gi" }, "max": { "storage": "2Gi" } }));
        for (storage, expected) in [
            (json!("1Gi"), None),
            (json!("1"), Some("minimum storage usage per PersistentVolumeClaim is 1Gi, but request is 1")),
            (json!("3Gi"), Some("maximum storage usage per PersistentVolumeClaim is 2Gi, but request is 3Gi")),
        ] {
            let claim = json!({ "spec": { "resources": { "requests": { "storage": storage }, "limits": { "storage": "9Ti" } } } });
            assert_eq!(of_claim(&range, &claim), Vec::from_iter(expected.map(str::to_owned)));
        }
    }
}

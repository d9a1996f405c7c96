//! LimitRange: defaults and bounds of what containers of a namespace may ask for. Applying it is the server's admission.

use crate::contract::{Column, Descriptor};
use crate::field::{Errors, Path};
use crate::kinds::resource_name;
use crate::names;
use crate::quantity::Quantity;
use crate::table::{self, text};
use crate::typed::{Kind, namespaced};
use k8s_openapi::api::core::v1;
use k8s_openapi::apimachinery::pkg::api::resource;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashSet};

pub struct LimitRange;

type Amounts = BTreeMap<String, resource::Quantity>;

impl Kind for LimitRange {
    type Object = v1::LimitRange;

    const DESCRIPTOR: Descriptor = Descriptor { short_names: &["limits"], ..namespaced::<v1::LimitRange>("limitranges", "limitrange") };
    const CREATES_ON_UPDATE: bool = true;
    const COLUMNS: &'static [Column] = &[table::NAME, text("Created At", "When the object was created")];

    /// For containers: the default limit is the maximum, the default request the default limit, else the minimum.
    fn default(object: &mut v1::LimitRange) {
        for item in object.spec.iter_mut().flat_map(|s| &mut s.limits).filter(|item| item.type_ == "Container") {
            let fill = |to: &mut Option<Amounts>, from: &Option<Amounts>| {
                let to = to.get_or_insert_default();
                for (name, amount) in from.iter().flatten() {
                    to.entry(name.clone()).or_insert_with(|| amount.clone());
                }
            };
            fill(&mut item.default, &item.max);
            fill(&mut item.default_request, &item.default);
            fill(&mut item.default_request, &item.min);
            for list in [&mut item.default, &mut item.default_request] {
                if list.as_ref().is_some_and(BTreeMap::is_empty) {
                    *list = None;
                }
            }
        }
    }

    fn validate(object: &v1::LimitRange, errors: &mut Errors) {
        let at = Path::Root.field("spec");
        let list = at.field("limits");
        let items = object.spec.as_ref().map(|s| s.limits.as_slice()).unwrap_or_default();
        let mut types = HashSet::new();
        for (i, item) in items.iter().enumerate() {
            let at = list.index(i);
            limited_type(&item.type_, &at.field("type"), errors);
            if !types.insert(&item.type_) {
                errors.duplicate(&at.field("type"), item.type_.as_str());
            }
            self::item(item, &at, errors);
        }
    }

    fn cells(object: &v1::LimitRange, _: i64) -> Vec<Value> {
        let created = object.metadata.creation_timestamp.as_ref().and_then(|t| serde_json::to_value(t).ok());
        vec![table::name(&object.metadata), created.unwrap_or_else(|| "<unknown>".into())]
    }
}

/// Pods, containers, claims, or somebody else's type.
fn limited_type(name: &str, at: &Path<'_>, errors: &mut Errors) {
    let found = names::qualified_name(name);
    let qualified = found.is_empty();
    errors.format(at, name, found);
    if qualified && !name.contains('/') && !["Container", "PersistentVolumeClaim", "Pod"].contains(&name) {
        errors.invalid(at, name, "must be a standard limit type or fully qualified");
    }
}

/// The bounds of one type: of resources that the type has, and in order.
fn item(item: &v1::LimitRangeItem, at: &Path<'_>, errors: &mut Errors) {
    let is_pod = item.type_ == "Pod";
    let (mut default, mut request) = (item.default.as_ref(), item.default_request.as_ref());
    if is_pod {
        for (name, list) in [("default", &mut default), ("defaultRequest", &mut request)] {
            if list.take().is_some_and(|list| !list.is_empty()) {
                errors.forbidden(&at.field(name), "may not be specified when `type` is 'Pod'");
            }
        }
    }
    let (max, min, ratio) = (item.max.as_ref(), item.min.as_ref(), item.max_limit_request_ratio.as_ref());
    let mut keys = BTreeSet::new();
    for (field, list) in [("max", max), ("min", min), ("default", default), ("defaultRequest", request), ("maxLimitRequestRatio", ratio)] {
        let at = at.field(field);
        for name in list.into_iter().flat_map(|list| list.keys()) {
            if is_pod || item.type_ == "Container" {
                resource_name::of_container(name, &at.key(name), errors);
            } else {
                resource_name::any(name, &at.key(name), errors);
            }
            keys.insert(name.as_str());
        }
    }
    let has_size = |list: Option<&Amounts>| list.is_some_and(|list| list.contains_key("storage"));
    if item.type_ == "PersistentVolumeClaim" && !has_size(min) && !has_size(max) {
        errors.required(&at.field("limits"), "either minimum or maximum storage value is required, but neither was provided");
    }
    for name in keys {
        let of = |list| of(list, name);
        order(name, [of(min), of(request), of(default), of(max)], at, errors);
        if let Some(ratio) = of(ratio) {
            bounded_ratio(ratio, of(min), of(max), &at.field("maxLimitRequestRatio").key(name), errors);
        }
    }
}

fn of<'a>(list: Option<&'a Amounts>, name: &str) -> Option<&'a str> {
    list?.get(name).map(|amount| amount.0.as_str())
}

/// Smallest amount, default request, default limit, largest amount of a resource.
fn order(name: &str, [min, request, default, max]: [Option<&str>; 4], at: &Path<'_>, errors: &mut Errors) {
    let exceeds = |low: &str, high: &str| Quantity::parse(low).ok().zip(Quantity::parse(high).ok()).is_some_and(|(low, high)| low > high);
    // Low, its name, high, its name, field and value that are complained about.
    let pairs = [
        (min, "min value", max, "max value", "min", min),
        (min, "min value", request, "default request value", "defaultRequest", request),
        (request, "default request value", max, "max value", "defaultRequest", request),
        (request, "default request value", default, "default limit value", "defaultRequest", request),
        (min, "min value", default, "default value", "default", min),
        (default, "default value", max, "max value", "default", max),
    ];
    for (low, low_name, high, high_name, field, shown) in pairs {
        let (Some(low), Some(high), Some(shown)) = (low, high, shown) else { continue };
        if exceeds(low, high) {
            errors.invalid(&at.field(field).key(name), shown, format!("{low_name} {low} is greater than {high_name} {high}"));
        }
    }
    if let (Some(default), Some(request)) = (default, request)
        && !resource_name::is_overcommitted(name)
        && (exceeds(default, request) || exceeds(request, default))
    {
        let detail = format!("default value {default} must equal to defaultRequest value {request} in {name}");
        errors.invalid(&at.field("defaultRequest").key(name), request, detail);
    }
}

/// How many times its request a limit may be: at least once, and no more than the bounds allow anyway.
fn bounded_ratio(text: &str, min: Option<&str>, max: Option<&str>, at: &Path<'_>, errors: &mut Errors) {
    let milli = |text: &str| Quantity::parse(text).map(Quantity::milli).ok();
    let Some(ratio) = milli(text) else { return };
    if ratio < 1000 {
        errors.invalid(at, text, format!("ratio {text} is less than 1"));
    }
    if let (Some(min), Some(max)) = (min.and_then(milli), max.and_then(milli)) {
        #[allow(clippy::cast_precision_loss, reason = "the API compares and shows floating point numbers")]
        let (ratio, most) = (ratio as f64 / 1000.0, max as f64 / min as f64);
        if ratio > most {
            errors.invalid(at, text, format!("ratio {text} is greater than max/min = {most:.6}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Resource;
    use crate::typed::Typed;
    use serde_json::json;

    const KIND: Typed<LimitRange> = Typed::NEW;

    fn decoded(items: Value) -> Value {
        KIND.decode(json!({"metadata": {"name": "a", "namespace": "d"}, "spec": {"limits": items}})).unwrap().object
    }

    #[test]
    fn defaults_follow_from_the_bounds() {
        let object = decoded(json!([{"type": "Container", "max": {"cpu": "2"}, "min": {"memory": "1Mi"}}]));
        assert_eq!(object["spec"]["limits"][0]["default"], json!({"cpu": "2"}));
        assert_eq!(object["spec"]["limits"][0]["defaultRequest"], json!({"cpu": "2", "memory": "1Mi"}));
        assert!(KIND.validate_create(&object).is_empty());
    }

    #[test]
    fn bounds_are_of_known_resources_and_in_order() {
        let gpu = "example.com/gpu";
        for (item, expected) in [
            (json!({"type": "Pod", "max": {"cpu": "2"}, "min": {"cpu": "1"}, "maxLimitRequestRatio": {"cpu": "2"}}), vec![]),
            (json!({"type": "PersistentVolumeClaim", "max": {"storage": "1Gi"}}), vec![]),
            (json!({"type": "example.com/Thing", "max": {"storage": "1", "example.com/x": "1"}}), vec![]),
            (json!({"type": "Thing"}), vec![".type: Invalid value: \"Thing\": must be a standard limit type or fully qualified"]),
            (
                json!({"type": "Pod", "default": {"cpu": "1"}, "defaultRequest": {"cpu": "1"}}),
                vec![
                    ".default: Forbidden: may not be specified when `type` is 'Pod'",
                    ".defaultRequest: Forbidden: may not be specified when `type` is 'Pod'",
                ],
            ),
            (
                json!({"type": "Pod", "max": {"storage": "1"}}),
                vec![".max[storage]: Invalid value: \"storage\": must be a standard resource for containers"],
            ),
            (
                json!({"type": "PersistentVolumeClaim", "max": {"cpu": "1"}}),
                vec![".limits: Required value: either minimum or maximum storage value is required, but neither was provided"],
            ),
            (
                json!({"type": "Pod", "max": {"cpu": "1"}, "min": {"cpu": "2"}}),
                vec![".min[cpu]: Invalid value: \"2\": min value 2 is greater than max value 1"],
            ),
            (
                json!({"type": "Container", "min": {"cpu": "2"}, "defaultRequest": {"cpu": "1"}, "default": {"cpu": "3"}}),
                vec![".defaultRequest[cpu]: Invalid value: \"1\": min value 2 is greater than default request value 1"],
            ),
            (
                json!({"type": "Container", "defaultRequest": {"cpu": "2"}, "default": {"cpu": "1"}}),
                vec![".defaultRequest[cpu]: Invalid value: \"2\": default request value 2 is greater than default limit value 1"],
            ),
            (
                json!({"type": "Container", "max": {"cpu": "1"}, "defaultRequest": {"cpu": "1"}, "default": {"cpu": "2"}}),
                vec![".default[cpu]: Invalid value: \"1\": default value 2 is greater than max value 1"],
            ),
            (
                json!({"type": "Pod", "maxLimitRequestRatio": {"cpu": "800m"}}),
                vec![".maxLimitRequestRatio[cpu]: Invalid value: \"800m\": ratio 800m is less than 1"],
            ),
            (
                json!({"type": "Pod", "max": {"cpu": "2"}, "min": {"cpu": "1"}, "maxLimitRequestRatio": {"cpu": "3"}}),
                vec![".maxLimitRequestRatio[cpu]: Invalid value: \"3\": ratio 3 is greater than max/min = 2.000000"],
            ),
            (
                json!({"type": "Container", "default": {gpu: "2"}, "defaultRequest": {gpu: "1"}}),
                vec![
                    ".defaultRequest[example.com/gpu]: Invalid value: \"1\": default value 2 must equal to defaultRequest value 1 in example.com/gpu",
                ],
            ),
        ] {
            let expected: Vec<String> = expected.into_iter().map(|e| format!("spec.limits[0]{e}")).collect();
            let found: Vec<String> = KIND.validate_create(&decoded(json!([item]))).iter().map(ToString::to_string).collect();
            assert_eq!(found, expected, "{item}");
        }
        let twice = decoded(json!([{"type": "Pod"}, {"type": "Pod"}]));
        assert_eq!(KIND.validate_create(&twice)[0].to_string(), "spec.limits[1].type: Duplicate value: \"Pod\"");
    }
}

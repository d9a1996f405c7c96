//! LimitRange: defaults and bounds of what containers of a namespace may ask for. Applying it is the server's admission.

use crate::contract::{Column, Descriptor};
use crate::field::{Errors, Path};
use crate::quantity::Quantity;
use crate::table::{self, text};
use crate::typed::{Kind, namespaced};
use k8s_openapi::api::core::v1;
use k8s_openapi::apimachinery::pkg::api::resource;
use serde_json::Value;
use std::collections::{BTreeMap, HashSet};

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
            if item.type_.is_empty() {
                errors.required(&at.field("type"), "");
            }
            if !types.insert(&item.type_) {
                errors.duplicate(&at.field("type"), item.type_.as_str());
            }
            if item.type_ == "Pod" {
                for (name, set) in [("default", item.default.is_some()), ("defaultRequest", item.default_request.is_some())] {
                    if set {
                        errors.forbidden(&at.field(name), "may not be specified when `type` is 'Pod'");
                    }
                }
            }
            ordered(&item.min, &item.max, ("min", "min value", "max value"), &at, errors);
            ordered(&item.min, &item.default_request, ("defaultRequest", "min value", "default request value"), &at, errors);
            ordered(&item.default_request, &item.max, ("defaultRequest", "default request value", "max value"), &at, errors);
            ordered(&item.default_request, &item.default, ("defaultRequest", "default request value", "default limit value"), &at, errors);
            ordered(&item.default, &item.max, ("default", "default value", "max value"), &at, errors);
        }
    }

    fn cells(object: &v1::LimitRange, _: i64) -> Vec<Value> {
        let created = object.metadata.creation_timestamp.as_ref().and_then(|t| serde_json::to_value(t).ok());
        vec![table::name(&object.metadata), created.unwrap_or_else(|| "<unknown>".into())]
    }
}

fn ordered(low: &Option<Amounts>, high: &Option<Amounts>, words: (&str, &str, &str), at: &Path<'_>, errors: &mut Errors) {
    for (name, small) in low.iter().flatten() {
        let Some(large) = high.as_ref().and_then(|h| h.get(name)) else { continue };
        if let (Ok(a), Ok(b)) = (Quantity::parse(&small.0), Quantity::parse(&large.0))
            && a > b
        {
            let detail = format!("{} {} is greater than {} {}", words.1, small.0, words.2, large.0);
            errors.invalid(&at.field(words.0).key(name), small.0.as_str(), detail);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Resource;
    use crate::typed::Typed;
    use serde_json::json;

    #[test]
    fn defaults_follow_from_the_bounds() {
        let kind = Typed::<LimitRange>::NEW;
        let decoded =
            |item: Value| kind.decode(json!({"metadata": {"name": "a", "namespace": "d"}, "spec": {"limits": [item]}})).unwrap().object;
        let object = decoded(json!({"type": "Container", "max": {"cpu": "2"}, "min": {"memory": "1Mi"}}));
        assert_eq!(object["spec"]["limits"][0]["default"], json!({"cpu": "2"}));
        assert_eq!(object["spec"]["limits"][0]["defaultRequest"], json!({"cpu": "2", "memory": "1Mi"}));
        assert!(kind.validate_create(&object).is_empty());
        let wrong = decoded(
            json!({"type": "Container", "max": {"cpu": "1"}, "min": {"cpu": "2"}, "defaultRequest": {"cpu": "2"}, "default": {"cpu": "2"}}),
        );
        let found = kind.validate_create(&wrong);
        assert_eq!(found[0].to_string(), "spec.limits[0].min[cpu]: Invalid value: \"2\": min value 2 is greater than max value 1");
    }
}

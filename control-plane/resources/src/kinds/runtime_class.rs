//! RuntimeClass: a named handler of the container runtime.

use crate::contract::{Column, Descriptor, Subresource};
use crate::field::{Errors, Path};
use crate::kinds::pod;
use crate::kinds::pod::validate::resources;
use crate::table::{self, text};
use crate::typed::{Kind, cluster};
use crate::{meta, names};
use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::api::node::v1;
use serde_json::Value;
use std::collections::HashSet;

pub struct RuntimeClass;

impl Kind for RuntimeClass {
    type Object = v1::RuntimeClass;

    const DESCRIPTOR: Descriptor = cluster::<v1::RuntimeClass>("runtimeclasses", "runtimeclass");
    const COLUMNS: &'static [Column] = &[table::NAME, text("Handler", "Name of the handler in the runtime's configuration"), table::AGE];

    fn validate(object: &v1::RuntimeClass, errors: &mut Errors) {
        errors.format(&Path::Root.field("handler"), &object.handler, names::label(&object.handler));
        if let Some(overhead) = &object.overhead {
            let limits = ResourceRequirements { limits: overhead.pod_fixed.clone(), ..ResourceRequirements::default() };
            resources::container(&limits, &HashSet::new(), &Path::Root.field("overhead"), errors);
        }
        if let Some(scheduling) = &object.scheduling {
            let at = Path::Root.field("scheduling");
            if let Some(labels) = &scheduling.node_selector {
                meta::labels(labels, &at.field("nodeSelector"), errors);
            }
            let tolerations = scheduling.tolerations.as_deref().unwrap_or_default();
            pod::validate::tolerations(tolerations, &at.field("tolerations"), errors);
        }
    }

    fn validate_update(new: &v1::RuntimeClass, old: &v1::RuntimeClass, _: Subresource<'_>, errors: &mut Errors) {
        errors.immutable(&Path::Root.field("handler"), &new.handler, &old.handler);
    }

    fn cells(object: &v1::RuntimeClass, now: i64) -> Vec<Value> {
        vec![table::name(&object.metadata), object.handler.as_str().into(), table::age(&object.metadata, now)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Resource;
    use crate::typed::Typed;
    use serde_json::json;

    #[test]
    fn what_a_handler_costs_and_where_it_runs_has_rules() {
        let kind = Typed::<RuntimeClass>::NEW;
        for (change, expected) in [
            (json!({"overhead": {"podFixed": {"cpu": "10m", "memory": "1Mi"}}}), None),
            (
                json!({"overhead": {"podFixed": {"cpu": "-1"}}}),
                Some("overhead.limits[cpu]: Invalid value: \"-1\": must be greater than or equal to 0"),
            ),
            (
                json!({"overhead": {"podFixed": {"gpu": "1"}}}),
                Some("overhead.limits[gpu]: Invalid value: \"gpu\": must be a standard resource type or fully qualified"),
            ),
            (json!({"scheduling": {"nodeSelector": {"a": "b"}, "tolerations": [{"operator": "Exists"}]}}), None),
            (
                json!({"scheduling": {"nodeSelector": {"a": "b c"}}}),
                Some("scheduling.nodeSelector: Invalid value: \"b c\": a valid label must"),
            ),
            (
                json!({"scheduling": {"tolerations": [{"key": "a", "operator": "Is"}]}}),
                Some("scheduling.tolerations[0].operator: Unsupported value: \"Is\": supported values: \"Equal\", \"Exists\""),
            ),
            (json!({"handler": "A"}), Some("handler: Invalid value: \"A\": a lowercase RFC 1123 label")),
        ] {
            let mut body = json!({"metadata": {"name": "a"}, "handler": "h"});
            for (key, value) in change.as_object().unwrap() {
                body[key] = value.clone();
            }
            let found: Vec<String> = kind.validate_create(&kind.decode(body).unwrap().object).iter().map(ToString::to_string).collect();
            assert_eq!(found.is_empty(), expected.is_none(), "{change}: {found:?}");
            assert!(expected.is_none_or(|start| found[0].starts_with(start)), "{change}: {found:?}");
        }
    }
}

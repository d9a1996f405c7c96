//! ResourceQuota: how much a namespace may have. Counting is the server's admission.

use crate::contract::{Column, Descriptor};
use crate::field::{Errors, Path};
use crate::kinds::pod::validate::resources;
use crate::table::{self, text};
use crate::typed::{Kind, namespaced};
use k8s_openapi::api::core::v1;
use serde_json::Value;

pub struct ResourceQuota;

const SCOPES: &[&str] = &["BestEffort", "CrossNamespacePodAffinity", "NotBestEffort", "NotTerminating", "PriorityClass", "Terminating"];

impl Kind for ResourceQuota {
    type Object = v1::ResourceQuota;

    const DESCRIPTOR: Descriptor = Descriptor {
        short_names: &["quota"],
        subresources: &["status"],
        ..namespaced::<v1::ResourceQuota>("resourcequotas", "resourcequota")
    };
    const COLUMNS: &'static [Column] = &[
        table::NAME,
        text("Request", "Used and hard amounts of what is requested or counted"),
        text("Limit", "Used and hard amounts of limits"),
        table::AGE,
    ];

    fn validate(object: &v1::ResourceQuota, errors: &mut Errors) {
        let at = Path::Root.field("spec");
        let spec = object.spec.clone().unwrap_or_default();
        resources::amounts(spec.hard.as_ref(), &at.field("hard"), errors);
        for scope in spec.scopes.iter().flatten() {
            if !SCOPES.contains(&scope.as_str()) {
                errors.invalid(&at.field("scopes"), scope.as_str(), "unsupported scope");
            }
        }
        let expressions = at.field("scopeSelector");
        let expressions = expressions.field("matchExpressions");
        let list = spec.scope_selector.and_then(|s| s.match_expressions).unwrap_or_default();
        for (i, expression) in list.iter().enumerate() {
            let at = expressions.index(i);
            if !SCOPES.contains(&expression.scope_name.as_str()) {
                errors.invalid(&at.field("scopeName"), expression.scope_name.as_str(), "unsupported scope");
            }
            let values = expression.values.as_ref().map_or(0, Vec::len);
            match expression.operator.as_str() {
                "In" | "NotIn" if values == 0 => {
                    errors.required(&at.field("values"), "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector")
                }
                "Exists" | "DoesNotExist" if values > 0 => {
                    errors.invalid(
                        &at.field("values"),
                        values,
                        "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector",
                    );
                }
                "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
                other => errors.invalid(&at.field("operator"), other, "not a valid selector operator"),
            }
        }
    }

    fn cells(object: &v1::ResourceQuota, now: i64) -> Vec<Value> {
        let status = object.status.clone().unwrap_or_default();
        let (hard, used) = (status.hard.unwrap_or_default(), status.used.unwrap_or_default());
        let (mut requests, mut limits) = (Vec::new(), Vec::new());
        for (name, amount) in &hard {
            let used = used.get(name).map_or("0", |q| q.0.as_str());
            let list = if name.starts_with("limits") { &mut limits } else { &mut requests };
            list.push(format!("{name}: {used}/{}", amount.0));
        }
        vec![table::name(&object.metadata), requests.join(", ").into(), limits.join(", ").into(), table::age(&object.metadata, now)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Resource;
    use crate::typed::Typed;
    use serde_json::json;

    #[test]
    fn the_table_shows_used_of_hard() {
        let kind = Typed::<ResourceQuota>::NEW;
        let object = json!({"metadata": {"name": "a", "namespace": "d"}, "spec": {"hard": {"pods": "10", "limits.cpu": "-1"}, "scopes": ["X"]},
            "status": {"hard": {"pods": "10", "limits.cpu": "2"}, "used": {"pods": "3"}}});
        assert_eq!(kind.cells(&object, 0)[1..3], ["pods: 3/10", "limits.cpu: 0/2"]);
        let fields: Vec<String> = kind.validate_create(&object).into_iter().map(|e| e.field).collect();
        assert_eq!(fields, ["spec.hard[limits.cpu]", "spec.scopes"]);
    }
}

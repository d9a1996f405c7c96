//! PodDisruptionBudget: how many pods of a set may be evicted at once. The counting is the controller's, the refusing the eviction's.

use super::workload;
use crate::contract::{Column, Descriptor};
use crate::field::{Errors, Path};
use crate::selector;
use crate::table::{self, number, text};
use crate::typed::{Kind, namespaced};
use k8s_openapi::api::policy::v1;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::Value;

pub struct PodDisruptionBudget;

impl Kind for PodDisruptionBudget {
    type Object = v1::PodDisruptionBudget;

    const DESCRIPTOR: Descriptor = Descriptor {
        short_names: &["pdb"],
        subresources: &["status"],
        has_generation: true,
        ..namespaced::<v1::PodDisruptionBudget>("poddisruptionbudgets", "poddisruptionbudget")
    };
    const REPLACES_KNOWN_VERSIONS_ONLY: bool = true;
    const COLUMNS: &'static [Column] = &[
        table::NAME,
        text("Min Available", "The minimum number of pods that must be available."),
        text("Max Unavailable", "The maximum number of pods that may be unavailable."),
        number("Allowed Disruptions", "Calculated number of pods that may be disrupted at this time."),
        table::AGE,
    ];

    fn new_status() -> Value {
        serde_json::json!({"currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0})
    }

    fn validate(object: &v1::PodDisruptionBudget, errors: &mut Errors) {
        let at = Path::Root.field("spec");
        let Some(spec) = &object.spec else { return };
        if spec.min_available.is_some() && spec.max_unavailable.is_some() {
            let shown = serde_json::to_value(spec).unwrap_or_default();
            errors.invalid(&at, shown, "minAvailable and maxUnavailable cannot be both set");
        }
        for (name, value) in [("minAvailable", &spec.min_available), ("maxUnavailable", &spec.max_unavailable)] {
            if let Some(value) = value {
                workload::count_or_percent(value, &at.field(name), errors);
                workload::at_most_all(value, &at.field(name), errors);
            }
        }
        if let Some(chosen) = &spec.selector {
            selector::validate(chosen, &at.field("selector"), errors);
        }
        let policies = &["AlwaysAllow", "IfHealthyBudget"];
        errors.one_of_if_set(&at.field("unhealthyPodEvictionPolicy"), spec.unhealthy_pod_eviction_policy.as_deref(), policies);
    }

    fn cells(object: &v1::PodDisruptionBudget, now: i64) -> Vec<Value> {
        let spec = object.spec.clone().unwrap_or_default();
        let shown = |value: Option<IntOrString>| match value {
            None => "N/A".to_owned(),
            Some(IntOrString::Int(n)) => n.to_string(),
            Some(IntOrString::String(s)) => s,
        };
        vec![
            table::name(&object.metadata),
            shown(spec.min_available).into(),
            shown(spec.max_unavailable).into(),
            object.status.as_ref().map_or(0, |s| s.disruptions_allowed).into(),
            table::age(&object.metadata, now),
        ]
    }
}

//! HorizontalPodAutoscaler (autoscaling/v2): how many pods by which measure; `v1` has the same objects in autoscaling/v1.

mod flat;
#[cfg(test)]
mod tests;
pub mod v1;
mod validate;

use crate::contract::{Column, Descriptor, Subresource};
use crate::field::{Errors, Path};
use crate::table::{self, number, text};
use crate::typed::{Kind, namespaced, or_empty};
use k8s_openapi::api::autoscaling::v2;
use serde_json::Value;

pub struct HorizontalPodAutoscaler;

const DEFAULT_CPU_PERCENT: i32 = 80;
/// Of the policies that hold where none is given.
const PERIOD_SECONDS: i32 = 15;

impl Kind for HorizontalPodAutoscaler {
    type Object = v2::HorizontalPodAutoscaler;

    const DESCRIPTOR: Descriptor = Descriptor {
        short_names: &["hpa"],
        categories: &["all"],
        subresources: &["status"],
        ..namespaced::<v2::HorizontalPodAutoscaler>("horizontalpodautoscalers", "horizontalpodautoscaler")
    };
    const COLUMNS: &'static [Column] = &[
        table::NAME,
        text("Reference", "What is scaled"),
        text("Targets", "Measures now and wanted"),
        text("MinPods", "Fewest pods"),
        text("MaxPods", "Most pods"),
        number("Replicas", "Pods now"),
        table::AGE,
    ];

    fn new_status() -> Value {
        serde_json::json!({"currentMetrics": null, "desiredReplicas": 0})
    }

    fn default(object: &mut v2::HorizontalPodAutoscaler) {
        let Some(spec) = &mut object.spec else { return };
        spec.min_replicas.get_or_insert(1);
        if spec.metrics.as_ref().is_none_or(Vec::is_empty) {
            spec.metrics = Some(vec![v2::MetricSpec {
                type_: "Resource".to_owned(),
                resource: Some(v2::ResourceMetricSource {
                    name: "cpu".to_owned(),
                    target: v2::MetricTarget {
                        type_: "Utilization".to_owned(),
                        average_utilization: Some(DEFAULT_CPU_PERCENT),
                        ..v2::MetricTarget::default()
                    },
                }),
                ..v2::MetricSpec::default()
            }]);
        }
        if let Some(behavior) = &mut spec.behavior {
            let policy = |type_: &str, value| v2::HPAScalingPolicy { type_: type_.to_owned(), value, period_seconds: PERIOD_SECONDS };
            let up = behavior.scale_up.get_or_insert_default();
            up.stabilization_window_seconds.get_or_insert(0);
            up.policies.get_or_insert_with(|| vec![policy("Pods", 4), policy("Percent", 100)]);
            // How long going down waits is the controller's setting, unless it is said.
            let down = behavior.scale_down.get_or_insert_default();
            down.policies.get_or_insert_with(|| vec![policy("Percent", 100)]);
            for rules in [up, down] {
                rules.select_policy.get_or_insert_with(|| "Max".to_owned());
            }
        }
    }

    fn validate(object: &v2::HorizontalPodAutoscaler, errors: &mut Errors) {
        validate::spec(&or_empty(&object.spec), &Path::Root.field("spec"), errors);
    }

    fn validate_update(
        new: &v2::HorizontalPodAutoscaler,
        _: &v2::HorizontalPodAutoscaler,
        subresource: Subresource<'_>,
        errors: &mut Errors,
    ) {
        if subresource == Some("status") {
            validate::status(&or_empty(&new.status), errors);
        } else {
            Self::validate(new, errors);
        }
    }

    fn cells(object: &v2::HorizontalPodAutoscaler, now: i64) -> Vec<Value> {
        let spec = object.spec.clone().unwrap_or_default();
        let status = object.status.clone().unwrap_or_default();
        let current = status.current_metrics.unwrap_or_default();
        let targets = spec.metrics.iter().flatten().enumerate().map(|(i, metric)| target(metric, current.get(i)));
        let targets: Vec<String> = targets.collect();
        vec![
            table::name(&object.metadata),
            format!("{}/{}", spec.scale_target_ref.kind, spec.scale_target_ref.name).into(),
            table::joined(targets).replace(',', ", ").into(),
            spec.min_replicas.map_or_else(|| "<unset>".to_owned(), |n| n.to_string()).into(),
            spec.max_replicas.to_string().into(),
            status.current_replicas.unwrap_or_default().into(),
            table::age(&object.metadata, now),
        ]
    }
}

/// `cpu: 10%/80%` for resources, the kind of metric for others.
fn target(metric: &v2::MetricSpec, current: Option<&v2::MetricStatus>) -> String {
    let Some(resource) = &metric.resource else { return format!("<unknown>/<{}>", metric.type_) };
    let now = current.and_then(|c| c.resource.as_ref()).map(|r| &r.current);
    let unknown = || "<unknown>".to_owned();
    match (resource.target.average_utilization, &resource.target.average_value) {
        (Some(wanted), _) => {
            let now = now.and_then(|n| n.average_utilization).map_or_else(unknown, |p| format!("{p}%"));
            format!("{}: {now}/{wanted}%", resource.name)
        }
        (None, Some(wanted)) => {
            let now = now.and_then(|n| n.average_value.clone()).map_or_else(unknown, |q| q.0);
            format!("{}: {now}/{}", resource.name, wanted.0)
        }
        (None, None) => format!("{}: <unknown>/<auto>", resource.name),
    }
}

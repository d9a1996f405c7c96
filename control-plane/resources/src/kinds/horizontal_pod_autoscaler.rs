//! HorizontalPodAutoscaler (autoscaling/v2): how many pods by which measure. Kept for clients; nothing here measures.

use crate::contract::{Column, Descriptor};
use crate::field::{Errors, Path};
use crate::names;
use crate::table::{self, number, text};
use crate::typed::{Kind, namespaced};
use k8s_openapi::api::autoscaling::v2;
use serde_json::Value;

pub struct HorizontalPodAutoscaler;

const METRIC_TYPES: &[&str] = &["ContainerResource", "External", "Object", "Pods", "Resource"];
const DEFAULT_CPU_PERCENT: i32 = 80;

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
    }

    fn validate(object: &v2::HorizontalPodAutoscaler, errors: &mut Errors) {
        let at = Path::Root.field("spec");
        let spec = object.spec.clone().unwrap_or_default();
        let min = spec.min_replicas.unwrap_or(1);
        if min < 1 {
            errors.invalid(&at.field("minReplicas"), min, "must be greater than or equal to 1");
        }
        if spec.max_replicas < 1 {
            errors.invalid(&at.field("maxReplicas"), spec.max_replicas, "must be greater than 0");
        } else if spec.max_replicas < min {
            errors.invalid(&at.field("maxReplicas"), spec.max_replicas, "must be greater than or equal to `minReplicas`");
        }
        let target = at.field("scaleTargetRef");
        for (name, value) in [("kind", &spec.scale_target_ref.kind), ("name", &spec.scale_target_ref.name)] {
            if value.is_empty() {
                errors.required(&target.field(name), "");
            } else {
                errors.format(&target.field(name), value, names::path_segment(value, false));
            }
        }
        let metrics = at.field("metrics");
        for (i, metric) in spec.metrics.iter().flatten().enumerate() {
            errors.one_of(&metrics.index(i).field("type"), Some(&metric.type_), METRIC_TYPES);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Resource;
    use crate::typed::Typed;
    use serde_json::json;

    #[test]
    fn cpu_is_the_default_measure() {
        let kind = Typed::<HorizontalPodAutoscaler>::NEW;
        let body = json!({"metadata": {"name": "a", "namespace": "d"}, "spec": {"maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "x"}}});
        let object = kind.decode(body).unwrap().object;
        assert!(kind.validate_create(&object).is_empty());
        assert_eq!(kind.cells(&object, 0)[1..5], ["Deployment/x", "cpu: <unknown>/80%", "1", "3"]);
        let wrong = json!({"metadata": {"name": "a", "namespace": "d"}, "spec": {"minReplicas": 4, "maxReplicas": 3, "scaleTargetRef": {"kind": "D", "name": "x"}}});
        assert_eq!(kind.validate_create(&wrong)[0].field, "spec.maxReplicas");
    }
}

//! The rules for an autoscaler: the range, what is scaled, each measure with its target, how fast (`pkg/apis/autoscaling/validation` of 1.33).

use crate::field::{Errors, Path};
use crate::kinds::resource_name;
use crate::names;
use crate::quantity::Quantity;
use k8s_openapi::api::autoscaling::v2;
use k8s_openapi::apimachinery::pkg::api::resource;

const METRIC_TYPES: &[&str] = &["ContainerResource", "External", "Object", "Pods", "Resource"];
const MAX_PERIOD_SECONDS: i32 = 1800;
const MAX_STABILIZATION_SECONDS: i32 = 3600;
const NO_INFORMATION: &str = "must populate information for the given metric source";
const RAW_OR_UTILIZATION: &str = "must set either a target raw value or a target utilization";

/// The rules for a spec.
pub fn spec(spec: &v2::HorizontalPodAutoscalerSpec, at: &Path<'_>, errors: &mut Errors) {
    let min = spec.min_replicas.unwrap_or(1);
    if min < 1 {
        errors.invalid(&at.field("minReplicas"), min, "must be greater than or equal to 1");
    }
    if spec.max_replicas < 1 {
        errors.invalid(&at.field("maxReplicas"), spec.max_replicas, "must be greater than 0");
    }
    if spec.max_replicas < min {
        errors.invalid(&at.field("maxReplicas"), spec.max_replicas, "must be greater than or equal to `minReplicas`");
    }
    reference(&spec.scale_target_ref, &at.field("scaleTargetRef"), errors);
    let metrics = at.field("metrics");
    for (i, measure) in spec.metrics.iter().flatten().enumerate() {
        metric(measure, &metrics.index(i), errors);
    }
    if let Some(behavior) = &spec.behavior {
        let at = at.field("behavior");
        for (name, rules) in [("scaleUp", &behavior.scale_up), ("scaleDown", &behavior.scale_down)] {
            if let Some(rules) = rules {
                scaling(rules, &at.field(name), errors);
            }
        }
    }
}

/// The rules for a status: numbers that are not negative.
pub fn status(status: &v2::HorizontalPodAutoscalerStatus, errors: &mut Errors) {
    let at = Path::Root.field("status");
    errors.non_negative(&at.field("currentReplicas"), status.current_replicas.unwrap_or_default());
    errors.non_negative(&at.field("desiredReplicas"), status.desired_replicas);
}

fn reference(to: &v2::CrossVersionObjectReference, at: &Path<'_>, errors: &mut Errors) {
    for (name, value) in [("kind", &to.kind), ("name", &to.name)] {
        segment(value, "", &at.field(name), errors);
    }
}

/// A text that can be a part of a path; `missing` is said when there is none.
fn segment(value: &str, missing: &str, at: &Path<'_>, errors: &mut Errors) {
    if value.is_empty() {
        errors.required(at, missing);
    } else {
        errors.format(at, value, names::path_segment(value, false));
    }
}

fn metric(metric: &v2::MetricSpec, at: &Path<'_>, errors: &mut Errors) {
    if metric.type_.is_empty() {
        errors.required(&at.field("type"), "must specify a metric source type");
    }
    if !METRIC_TYPES.contains(&&*metric.type_) {
        errors.not_supported(&at.field("type"), &*metric.type_, METRIC_TYPES);
    }
    let sources = [
        ("object", metric.object.is_some()),
        ("external", metric.external.is_some()),
        ("pods", metric.pods.is_some()),
        ("resource", metric.resource.is_some()),
        ("containerResource", metric.container_resource.is_some()),
    ];
    let there: Vec<&str> = sources.into_iter().filter(|(_, there)| *there).map(|(name, _)| name).collect();
    // Only the first is looked into; the others are too many.
    match (metric, there.first().copied()) {
        (v2::MetricSpec { object: Some(source), .. }, Some("object")) => object(source, &at.field("object"), errors),
        (v2::MetricSpec { external: Some(source), .. }, Some("external")) => external(source, &at.field("external"), errors),
        (v2::MetricSpec { pods: Some(source), .. }, Some("pods")) => pods(source, &at.field("pods"), errors),
        (v2::MetricSpec { resource: Some(source), .. }, Some("resource")) => resource(source, &at.field("resource"), errors),
        (v2::MetricSpec { container_resource: Some(source), .. }, Some("containerResource")) => {
            container(source, &at.field("containerResource"), errors);
        }
        _ => {}
    }
    let wanted = match &*metric.type_ {
        "Object" => "object",
        "External" => "external",
        "Pods" => "pods",
        "Resource" => "resource",
        "ContainerResource" => "containerResource",
        _ => "",
    };
    if !wanted.is_empty() && !there.contains(&wanted) {
        errors.required(&at.field(wanted), NO_INFORMATION);
    }
    if there.len() > 1 {
        for name in there.iter().filter(|name| **name != wanted) {
            errors.forbidden(&at.field(name), "must populate the given metric source only");
        }
    }
}

fn object(source: &v2::ObjectMetricSource, at: &Path<'_>, errors: &mut Errors) {
    reference(&source.described_object, &at.field("describedObject"), errors);
    identifier(&source.metric, &at.field("metric"), errors);
    let at = at.field("target");
    target(&source.target, &at, errors);
    if source.target.value.is_none() && source.target.average_value.is_none() {
        errors.required(&at.field("averageValue"), "must set either a target value or averageValue");
    }
}

fn external(source: &v2::ExternalMetricSource, at: &Path<'_>, errors: &mut Errors) {
    identifier(&source.metric, &at.field("metric"), errors);
    let at = at.field("target");
    target(&source.target, &at, errors);
    match (&source.target.value, &source.target.average_value) {
        (None, None) => {
            errors.required(&at.field("averageValue"), "must set either a target value for metric or a per-pod target");
        }
        (Some(_), Some(_)) => errors.forbidden(&at.field("value"), "may not set both a target value for metric and a per-pod target"),
        _ => {}
    }
}

fn pods(source: &v2::PodsMetricSource, at: &Path<'_>, errors: &mut Errors) {
    identifier(&source.metric, &at.field("metric"), errors);
    let at = at.field("target");
    target(&source.target, &at, errors);
    if source.target.average_value.is_none() {
        errors.required(&at.field("averageValue"), "must specify a positive target averageValue");
    }
}

fn resource(source: &v2::ResourceMetricSource, at: &Path<'_>, errors: &mut Errors) {
    if source.name.is_empty() {
        errors.required(&at.field("name"), "must specify a resource name");
    }
    resource_target(&source.target, &at.field("target"), errors);
}

fn container(source: &v2::ContainerResourceMetricSource, at: &Path<'_>, errors: &mut Errors) {
    match &*source.name {
        "" => errors.required(&at.field("name"), "must specify a resource name"),
        name => resource_name::of_container(name, &at.field("name"), errors),
    }
    match &*source.container {
        "" => errors.required(&at.field("container"), "must specify a container"),
        name => errors.format(&at.field("container"), name, names::label(name)),
    }
    resource_target(&source.target, &at.field("target"), errors);
}

/// A share of what is requested, or an amount.
fn resource_target(target: &v2::MetricTarget, at: &Path<'_>, errors: &mut Errors) {
    self::target(target, at, errors);
    match (target.average_utilization, &target.average_value) {
        (None, None) => errors.required(&at.field("averageUtilization"), RAW_OR_UTILIZATION),
        (Some(_), Some(_)) => errors.forbidden(&at.field("averageValue"), "may not set both a target raw value and a target utilization"),
        _ => {}
    }
}

fn identifier(metric: &v2::MetricIdentifier, at: &Path<'_>, errors: &mut Errors) {
    segment(&metric.name, "must specify a metric name", &at.field("name"), errors);
}

fn target(target: &v2::MetricTarget, at: &Path<'_>, errors: &mut Errors) {
    if target.type_.is_empty() {
        errors.required(&at.field("type"), "must specify a metric target type");
    }
    if !["Utilization", "Value", "AverageValue"].contains(&&*target.type_) {
        errors.invalid(&at.field("type"), &*target.type_, "must be either Utilization, Value, or AverageValue");
    }
    let not_positive =
        |amount: &&resource::Quantity| Quantity::parse(&amount.0).is_ok_and(|amount| amount.is_zero() || amount.is_negative());
    for (name, amount) in [("value", &target.value), ("averageValue", &target.average_value)] {
        if let Some(amount) = amount.as_ref().filter(not_positive) {
            errors.invalid(&at.field(name), amount.0.as_str(), "must be positive");
        }
    }
    if let Some(share) = target.average_utilization.filter(|share| *share < 1) {
        errors.invalid(&at.field("averageUtilization"), share, "must be greater than 0");
    }
}

fn scaling(rules: &v2::HPAScalingRules, at: &Path<'_>, errors: &mut Errors) {
    let window = at.field("stabilizationWindowSeconds");
    match rules.stabilization_window_seconds {
        Some(seconds) if seconds < 0 => errors.invalid(&window, seconds, "must be greater than or equal to zero"),
        Some(seconds) if seconds > MAX_STABILIZATION_SECONDS => {
            errors.invalid(&window, seconds, format!("must be less than or equal to {MAX_STABILIZATION_SECONDS}"));
        }
        _ => {}
    }
    errors.one_of_if_set(&at.field("selectPolicy"), rules.select_policy.as_deref(), &["Disabled", "Max", "Min"]);
    let policies = at.field("policies");
    if rules.policies.as_ref().is_none_or(Vec::is_empty) {
        errors.required(&policies, "must specify at least one Policy");
    }
    for (i, policy) in rules.policies.iter().flatten().enumerate() {
        let at = policies.index(i);
        errors.one_of_if_set(&at.field("type"), Some(&policy.type_), &["Percent", "Pods"]);
        if policy.value <= 0 {
            errors.invalid(&at.field("value"), policy.value, "must be greater than zero");
        }
        let seconds = policy.period_seconds;
        if seconds <= 0 {
            errors.invalid(&at.field("periodSeconds"), seconds, "must be greater than zero");
        }
        if seconds > MAX_PERIOD_SECONDS {
            errors.invalid(&at.field("periodSeconds"), seconds, format!("must be less than or equal to {MAX_PERIOD_SECONDS}"));
        }
    }
}

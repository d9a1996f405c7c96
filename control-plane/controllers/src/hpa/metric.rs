//! One metric of a spec: what it proposes, its name and status, or why it proposes nothing. Pure.

use k8s_openapi::api::autoscaling::v2::{
    ContainerResourceMetricStatus, ExternalMetricStatus, MetricIdentifier, MetricSpec, MetricStatus, MetricTarget, MetricValueStatus,
    ObjectMetricStatus, PodsMetricStatus, ResourceMetricStatus,
};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::jiff::Timestamp;
use orknet_resources::quantity;

use super::plan::Scale;
use super::replicas::{self, PodMetrics, Proposal, Target};

/// What the metrics APIs told.
#[derive(Clone, Debug)]
pub(super) enum Measured {
    /// Of each pod.
    Pods(PodMetrics),
    /// Of an object, or the sum of what is outside.
    Value(i64),
}

#[derive(Debug)]
pub(super) struct Proposed {
    pub replicas: i32,
    pub name: String,
    pub status: MetricStatus,
}

#[derive(Debug)]
pub(super) struct Failure {
    /// Of condition and event.
    pub reason: &'static str,
    pub why: String,
    /// The same with what it failed.
    pub outer: String,
}

/// What a metric proposes.
pub(super) fn propose(
    spec: &MetricSpec,
    measured: &Result<Measured, String>,
    namespace: &str,
    scale: &Scale,
    pods: &[Pod],
    now: Timestamp,
) -> Result<Proposed, Failure> {
    let by_pods = |target: Target<'_>| match measured {
        Ok(Measured::Pods(metrics)) => replicas::by_pods(pods, metrics.clone(), target, scale.spec, now),
        Ok(Measured::Value(_)) => Err("the measure is not one of pods".to_owned()),
        Err(why) => Err(why.clone()),
    };
    let value = || match measured {
        Ok(Measured::Value(value)) => Ok(*value),
        Ok(Measured::Pods(_)) => Err("the measure is not one value".to_owned()),
        Err(why) => Err(why.clone()),
    };
    let status = |type_: &str| MetricStatus { type_: type_.to_owned(), ..MetricStatus::default() };
    if let Some(source) = &spec.resource {
        let (proposal, name) = resource(&source.name, None, &source.target, by_pods).map_err(|why| {
            failure("FailedGetResourceMetric", &why, format!("failed to get {} resource metric value: {why}", source.name))
        })?;
        let current = current(&proposal);
        let shown = MetricStatus { resource: Some(ResourceMetricStatus { name: source.name.clone(), current }), ..status("Resource") };
        return Ok(Proposed { replicas: proposal.replicas, name, status: shown });
    }
    if let Some(source) = &spec.container_resource {
        let (proposal, name) = resource(&source.name, Some(&source.container), &source.target, by_pods).map_err(|why| {
            failure("FailedGetContainerResourceMetric", &why, format!("failed to get {} container metric value: {why}", source.name))
        })?;
        let shown =
            ContainerResourceMetricStatus { name: source.name.clone(), container: source.container.clone(), current: current(&proposal) };
        let shown = MetricStatus { container_resource: Some(shown), ..status("ContainerResource") };
        return Ok(Proposed { replicas: proposal.replicas, name, status: shown });
    }
    if let Some(source) = &spec.pods {
        let target = Target::Average { value: source.target.average_value.as_ref().map_or(0, milli), resource: None };
        let proposal = by_pods(target).map_err(|why| {
            let why = if measured.is_err() { format!("unable to get metric {}: {why}", source.metric.name) } else { why };
            failure("FailedGetPodsMetric", &why, format!("failed to get pods metric value: {why}"))
        })?;
        let shown = PodsMetricStatus { metric: source.metric.clone(), current: current(&proposal) };
        let shown = MetricStatus { pods: Some(shown), ..status("Pods") };
        return Ok(Proposed { replicas: proposal.replicas, name: format!("pods metric {}", source.metric.name), status: shown });
    }
    if let Some(source) = &spec.object {
        let object = &source.described_object;
        let (proposal, current) = value().and_then(|value| one(value, &source.target, scale, pods, "object")).map_err(|why| {
            let (metric, kind, name) = (&source.metric.name, &object.kind, &object.name);
            let why = if measured.is_err() { format!("unable to get metric {metric}: {kind} on {namespace} {name}/{why}") } else { why };
            failure("FailedGetObjectMetric", &why, format!("failed to get object metric value: {why}"))
        })?;
        let name = match source.target.type_.as_str() {
            "Value" => format!("{} metric {}", object.kind, source.metric.name),
            _ => external_name(&source.metric),
        };
        let shown = ObjectMetricStatus { metric: source.metric.clone(), described_object: object.clone(), current };
        let shown = MetricStatus { object: Some(shown), ..status("Object") };
        return Ok(Proposed { replicas: proposal.replicas, name, status: shown });
    }
    if let Some(source) = &spec.external {
        let (proposal, current) = value().and_then(|value| one(value, &source.target, scale, pods, "external")).map_err(|why| {
            let (metric, selector) = (&source.metric.name, shown_selector(source.metric.selector.as_ref()));
            let why = if measured.is_err() { format!("unable to get external metric {namespace}/{metric}/{selector}: {why}") } else { why };
            failure("FailedGetExternalMetric", &why, format!("failed to get {metric} external metric value: {why}"))
        })?;
        let shown = ExternalMetricStatus { metric: source.metric.clone(), current };
        let shown = MetricStatus { external: Some(shown), ..status("External") };
        return Ok(Proposed { replicas: proposal.replicas, name: external_name(&source.metric), status: shown });
    }
    let why = format!("unknown metric source type {:?}", spec.type_);
    Err(failure("InvalidMetricSourceType", &why, why.clone()))
}

fn failure(reason: &'static str, why: &str, outer: String) -> Failure {
    Failure { reason, why: why.to_owned(), outer }
}

/// By use of a resource: of all containers of a pod, or of one.
fn resource(
    name: &str,
    container: Option<&str>,
    target: &MetricTarget,
    by_pods: impl Fn(Target<'_>) -> Result<Proposal, String>,
) -> Result<(Proposal, String), String> {
    if let Some(value) = &target.average_value {
        let proposal = by_pods(Target::Average { value: milli(value), resource: Some(name) });
        return proposal.map(|proposal| (proposal, format!("{name} resource"))).map_err(|why| format!("failed to get {name} usage: {why}"));
    }
    let Some(percent) = target.average_utilization else {
        return Err(
            "invalid resource metric source: neither an average utilization target nor an average value (usage) target was set".to_owned()
        );
    };
    by_pods(Target::Utilization { percent, resource: name, container })
        .map(|proposal| (proposal, format!("{name} resource utilization (percentage of request)")))
        .map_err(|why| format!("failed to get {name} utilization: {why}"))
}

/// By one value: as it is, or for each pod.
fn one(value: i64, target: &MetricTarget, scale: &Scale, pods: &[Pod], what: &str) -> Result<(Proposal, MetricValueStatus), String> {
    if let Some(average) = &target.average_value {
        let proposal = replicas::by_value_per_pod(value, milli(average), scale.status);
        return Ok((proposal, current(&proposal)));
    }
    let Some(wanted) = &target.value else {
        return Err(format!("invalid {what} metric source: neither a value target nor an average value target was set"));
    };
    let proposal = replicas::by_value(value, milli(wanted), scale.spec, replicas::ready(pods));
    Ok((proposal, MetricValueStatus { value: Some(amount(value)), ..MetricValueStatus::default() }))
}

fn current(proposal: &Proposal) -> MetricValueStatus {
    MetricValueStatus {
        average_utilization: proposal.utilization,
        average_value: Some(amount(proposal.average)),
        ..MetricValueStatus::default()
    }
}

fn milli(quantity: &Quantity) -> i64 {
    quantity::Quantity::parse(&quantity.0).map_or(0, quantity::Quantity::milli)
}

/// Thousandths as a quantity.
fn amount(milli: i64) -> Quantity {
    let text = format!("{milli}m");
    Quantity(quantity::canonical(&text).unwrap_or(text))
}

fn external_name(metric: &MetricIdentifier) -> String {
    format!("external metric {}({})", metric.name, shown_selector(metric.selector.as_ref()))
}

/// As Go prints it.
fn shown_selector(selector: Option<&LabelSelector>) -> String {
    let Some(selector) = selector else { return "nil".to_owned() };
    let labels: String = selector.match_labels.iter().flatten().map(|(key, value)| format!("{key}: {value},")).collect();
    let expressions = selector.match_expressions.iter().flatten().map(|expression| {
        let values = expression.values.iter().flatten().map(String::as_str).collect::<Vec<_>>().join(" ");
        format!("LabelSelectorRequirement{{Key:{},Operator:{},Values:[{values}],}},", expression.key, expression.operator)
    });
    let expressions: String = expressions.collect();
    format!("&LabelSelector{{MatchLabels:map[string]string{{{labels}}},MatchExpressions:[]LabelSelectorRequirement{{{expressions}}},}}")
}

//! Asks the metrics APIs: `metrics.k8s.io`, and `custom.metrics.k8s.io` and `external.metrics.k8s.io` where somebody serves them. Failures are told in
//! Kubernetes' words.

use http::Request;
use k8s_openapi::api::autoscaling::v2::{CrossVersionObjectReference, MetricIdentifier, MetricSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::Client;
use orknet_resources::quantity::Quantity;
use serde_json::Value;

use super::metric::Measured;
use super::replicas::{PodMetric, PodMetrics};
use super::target::Target;

const RESOURCE: &str = "/apis/metrics.k8s.io/v1beta1";
const CUSTOM: &str = "/apis/custom.metrics.k8s.io/v1beta2";
const EXTERNAL: &str = "/apis/external.metrics.k8s.io/v1beta1";
/// Of a measure of a pod that does not say over which time it was taken.
const WINDOW: SignedDuration = SignedDuration::from_mins(1);

/// The error as people read it.
pub(super) fn told(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

/// GET as JSON.
pub(super) async fn get(client: &Client, path: &str) -> Result<Value, String> {
    let request = Request::get(path).body(Vec::new()).map_err(|error| error.to_string())?;
    client.request(request).await.map_err(|error| told(&error))
}

/// Measures what a metric asks for, of the pods that `selector` selects.
pub(super) async fn measure(client: &Client, spec: &MetricSpec, namespace: &str, selector: &str) -> Result<Measured, String> {
    if let Some(source) = &spec.resource {
        return of_resource(client, &source.name, None, namespace, selector).await;
    }
    if let Some(source) = &spec.container_resource {
        return of_resource(client, &source.name, Some(&source.container), namespace, selector).await;
    }
    if let Some(source) = &spec.pods {
        let path = format!("{CUSTOM}/namespaces/{namespace}/pods/*/{}", source.metric.name);
        let list = custom(client, &path, Some(selector), &source.metric).await?;
        let metrics = list.iter().filter_map(|item| {
            let window = item["windowSeconds"].as_i64().map_or(WINDOW, SignedDuration::from_secs);
            let metric = PodMetric { at: time(&item["timestamp"])?, window, value: amount(&item["value"])? };
            Some((item.pointer("/describedObject/name")?.as_str()?.to_owned(), metric))
        });
        return Ok(Measured::Pods(metrics.collect()));
    }
    if let Some(source) = &spec.object {
        let path = of_object(client, &source.described_object, namespace).await?;
        let list = custom(client, &format!("{path}/{}", source.metric.name), None, &source.metric).await?;
        let value = list.first().and_then(|item| amount(&item["value"]));
        return value.map(Measured::Value).ok_or_else(|| "the custom metrics API answered without a value".to_owned());
    }
    if let Some(source) = &spec.external {
        let selector = text(source.metric.selector.as_ref())?;
        let path = format!("{EXTERNAL}/namespaces/{namespace}/{}?{}", source.metric.name, query(&[("labelSelector", &selector)]));
        let list = get(client, &path).await.map_err(|why| format!("unable to fetch metrics from external metrics API: {why}"))?;
        let items = list["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        if items.is_empty() {
            return Err("no metrics returned from external metrics API".to_owned());
        }
        return Ok(Measured::Value(items.iter().filter_map(|item| amount(&item["value"])).fold(0, i64::saturating_add)));
    }
    Ok(Measured::Value(0))
}

async fn of_resource(
    client: &Client,
    resource: &str,
    container: Option<&str>,
    namespace: &str,
    selector: &str,
) -> Result<Measured, String> {
    let wrap = |why: String| format!("unable to get metrics for resource {resource}: {why}");
    let path = format!("{RESOURCE}/namespaces/{namespace}/pods?{}", query(&[("labelSelector", selector)]));
    let list = get(client, &path).await.map_err(|why| wrap(format!("unable to fetch metrics from resource metrics API: {why}")))?;
    let items = list["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    if items.is_empty() {
        return Err(wrap("no metrics returned from resource metrics API".to_owned()));
    }
    resource_metrics(items, resource, container).map(Measured::Pods).map_err(wrap)
}

/// Of the pods' containers together, or of one; a pod without the resource in every container has no measure.
fn resource_metrics(items: &[Value], resource: &str, container: Option<&str>) -> Result<PodMetrics, String> {
    let mut metrics = PodMetrics::new();
    for item in items {
        let name = item.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        let containers = item["containers"].as_array().map(Vec::as_slice).unwrap_or_default();
        let used = |container: &Value| amount(container.pointer(&format!("/usage/{}", resource.replace('/', "~1")))?);
        let value = match container {
            None if containers.is_empty() => None,
            None => containers.iter().map(used).try_fold(0_i64, |sum, used| Some(sum.saturating_add(used?))),
            Some(wanted) => {
                let found = containers.iter().find(|container| container["name"] == wanted);
                let namespace = item.pointer("/metadata/namespace").and_then(Value::as_str).unwrap_or_default();
                let missing =
                    || format!("failed to get container metrics: container {wanted} not present in metrics for pod {namespace}/{name}");
                used(found.ok_or_else(missing)?)
            }
        };
        let window = item["window"].as_str().and_then(duration).unwrap_or(WINDOW);
        if let (Some(value), Some(at)) = (value, time(&item["timestamp"])) {
            metrics.insert(name.to_owned(), PodMetric { at, window, value });
        }
    }
    Ok(metrics)
}

async fn custom(client: &Client, path: &str, selector: Option<&str>, metric: &MetricIdentifier) -> Result<Vec<Value>, String> {
    let metric_selector = text(metric.selector.as_ref())?;
    let query = query(&[("labelSelector", selector.unwrap_or_default()), ("metricLabelSelector", &metric_selector)]);
    let list = get(client, &format!("{path}?{query}")).await;
    let mut list = list.map_err(|why| format!("unable to fetch metrics from custom metrics API: {why}"))?;
    match list["items"].take() {
        Value::Array(items) if !items.is_empty() => Ok(items),
        _ => Err("no metrics returned from custom metrics API".to_owned()),
    }
}

/// The path of an object's metrics. A namespace is its own: no other can be named.
async fn of_object(client: &Client, object: &CrossVersionObjectReference, namespace: &str) -> Result<String, String> {
    let api_version = object.api_version.as_deref().unwrap_or("v1");
    if object.kind == "Namespace" && !api_version.contains('/') {
        return Ok(format!("{CUSTOM}/namespaces/{namespace}/metrics"));
    }
    let target = Target::find(client, api_version, &object.kind).await?;
    Ok(format!("{CUSTOM}/namespaces/{namespace}/{}/{}", target.qualified(), object.name))
}

/// A selector's text; nothing for none.
fn text(selector: Option<&LabelSelector>) -> Result<String, String> {
    let Some(selector) = selector.cloned() else { return Ok(String::new()) };
    kube::core::Selector::try_from(selector).map(|selector| selector.to_string()).map_err(|error| error.to_string())
}

/// The parameters that are not empty, encoded.
pub(super) fn query(parameters: &[(&str, &str)]) -> String {
    let encoded = |text: &str| -> String {
        text.bytes()
            .map(|byte| match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
                _ => format!("%{byte:02X}"),
            })
            .collect()
    };
    let given = parameters.iter().filter(|(_, value)| !value.is_empty());
    given.map(|(name, value)| format!("{name}={}", encoded(value))).collect::<Vec<_>>().join("&")
}

/// Thousandths.
fn amount(value: &Value) -> Option<i64> {
    Quantity::parse(value.as_str()?).ok().map(Quantity::milli)
}

fn time(value: &Value) -> Option<Timestamp> {
    value.as_str()?.parse().ok()
}

/// A duration as Go writes it (`1m5.25s`), to the millisecond.
fn duration(text: &str) -> Option<SignedDuration> {
    let (mut rest, mut sum) = (text, 0.0);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest.get(..digits)?.parse().ok()?;
        let unit = rest.get(digits..)?;
        let (factor, length) = [("ms", 0.001), ("h", 3600.0), ("m", 60.0), ("s", 1.0)]
            .iter()
            .find_map(|(name, factor)| unit.starts_with(name).then_some((*factor, name.len())))?;
        sum += number * factor;
        rest = unit.get(length..)?;
    }
    SignedDuration::try_from_secs_f64(sum).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn durations_and_queries_are_read_and_written() {
        let millis = |text| duration(text).map(|duration| duration.as_millis());
        assert_eq!(["15s", "14.982s", "1m5.5s", "1h0m0s", "250ms"].map(millis), [15_000, 14_982, 65_500, 3_600_000, 250].map(Some));
        assert_eq!([millis("5"), millis("x"), millis("5d")], [None; 3]);
        assert_eq!(query(&[("labelSelector", "a in (b),c!=d"), ("x", "")]), "labelSelector=a%20in%20%28b%29%2Cc%21%3Dd");
    }

    #[test]
    fn a_pods_measure_is_of_all_its_containers_or_of_the_one_named() {
        let container = |name: &str, cpu: &str| json!({ "name": name, "usage": { "cpu": cpu } });
        let pod = |name: &str, containers: Value| json!({ "metadata": { "name": name, "namespace": "n" }, "timestamp": "2026-01-01T00:00:00Z", "window": "15s", "containers": containers });
        let both = [pod("a", json!([container("x", "100m"), container("y", "1500u")])), pod("b", json!([{ "name": "x", "usage": {} }]))];
        let metrics = resource_metrics(&both, "cpu", None).unwrap();
        assert_eq!(metrics.iter().map(|(name, metric)| (&name[..], metric.value)).collect::<Vec<_>>(), [("a", 102)]);
        assert_eq!(resource_metrics(&both, "cpu", Some("x")).unwrap()["a"].value, 100);
        let missing = "failed to get container metrics: container y not present in metrics for pod n/b";
        assert_eq!(resource_metrics(&both, "cpu", Some("y")), Err(missing.to_owned()));
    }
}

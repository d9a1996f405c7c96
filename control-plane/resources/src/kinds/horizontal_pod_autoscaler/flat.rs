//! Metrics as the annotations of autoscaling/v1 have them (the flat form of v2beta1), and as v2 does. What is neither becomes nothing.

use serde_json::{Map, Value, json};

/// A type's field, and where its parts are in v1 and v2. An object's `target` is the object in v1.
const SOURCES: [(&str, &str); 5] = [
    ("Resource", "resource"),
    ("ContainerResource", "containerResource"),
    ("Pods", "pods"),
    ("Object", "object"),
    ("External", "external"),
];

/// Where v1 has what v2 has in `target` (of a spec) or `current` (of a status): utilization, average, value.
type Amounts = [(&'static str, &'static str); 3];

fn amounts(field: &str, of_spec: bool) -> Amounts {
    let (value, average) = match (field, of_spec) {
        ("object", true) => ("targetValue", "averageValue"),
        ("object", false) => ("currentValue", "averageValue"),
        (_, true) => ("targetValue", "targetAverageValue"),
        (_, false) => ("currentValue", "currentAverageValue"),
    };
    let utilization = if of_spec { "targetAverageUtilization" } else { "currentAverageUtilization" };
    [(utilization, "averageUtilization"), (average, "averageValue"), (value, "value")]
}

fn field_of(metric: &Value) -> Option<(&'static str, &'static str)> {
    SOURCES.into_iter().find(|(type_, _)| metric["type"] == *type_)
}

fn selector_name(field: &str) -> &'static str {
    if field == "external" { "metricSelector" } else { "selector" }
}

/// v2 to v1, a spec's metric.
pub(super) fn spec_to_v1(metric: &Value) -> Option<Value> {
    to_v1(metric, "target", true)
}

/// v2 to v1, a status's metric.
pub(super) fn status_to_v1(metric: &Value) -> Option<Value> {
    to_v1(metric, "current", false)
}

/// v1 to v2, a spec's metric.
pub(super) fn spec_to_v2(metric: &Value) -> Option<Value> {
    let (_, field) = field_of(metric)?;
    let mut new = to_v2(metric, "target", true)?;
    let target = new.get_mut(field)?.get_mut("target")?.as_object_mut()?;
    // v1 cannot leave the value out; beside an average it says nothing.
    let kind = if target.contains_key("averageUtilization") {
        "Utilization"
    } else if target.contains_key("averageValue") {
        target.remove("value");
        "AverageValue"
    } else {
        "Value"
    };
    target.insert("type".to_owned(), kind.into());
    Some(new)
}

/// v1 to v2, a status's metric.
pub(super) fn status_to_v2(metric: &Value) -> Option<Value> {
    let (_, field) = field_of(metric)?;
    let mut new = to_v2(metric, "current", false)?;
    let current = new.get_mut(field)?.get_mut("current")?.as_object_mut()?;
    if current.contains_key("averageValue") && current.get("value").is_some_and(|value| value == "0") {
        current.remove("value");
    }
    Some(new)
}

fn to_v1(metric: &Value, measure: &str, of_spec: bool) -> Option<Value> {
    let (type_, field) = field_of(metric)?;
    let source = metric.get(field)?;
    let mut new = Map::new();
    let mut put = |name: &str, value: Option<&Value>| drop(value.map(|value| new.insert(name.to_owned(), value.clone())));
    put("name", source.get("name"));
    put("container", source.get("container"));
    put("metricName", source.pointer("/metric/name"));
    put(selector_name(field), source.pointer("/metric/selector"));
    put("target", source.get("describedObject"));
    for (here, there) in amounts(field, of_spec) {
        put(here, source.get(measure).and_then(|measure| measure.get(there)));
    }
    // What v1 cannot leave out.
    let required = match (field, of_spec) {
        ("object", true) => &["targetValue"][..],
        ("object" | "external", false) => &["currentValue"],
        _ => &[],
    };
    for name in required {
        new.entry((*name).to_owned()).or_insert(json!("0"));
    }
    Some(json!({ "type": type_, field: new }))
}

fn to_v2(metric: &Value, measure: &str, of_spec: bool) -> Option<Value> {
    let (type_, field) = field_of(metric)?;
    let source = metric.get(field)?;
    let mut new = Map::new();
    for name in ["name", "container"] {
        new.extend(source.get(name).map(|value| (name.to_owned(), value.clone())));
    }
    new.extend(source.get("target").map(|object| ("describedObject".to_owned(), object.clone())));
    if let Some(name) = source.get("metricName") {
        let mut identifier = json!({ "name": name });
        if let Some(selector) = source.get(selector_name(field)) {
            identifier["selector"] = selector.clone();
        }
        new.insert("metric".to_owned(), identifier);
    }
    let measures = amounts(field, of_spec).into_iter().filter_map(|(here, there)| Some((there.to_owned(), source.get(here)?.clone())));
    new.insert(measure.to_owned(), measures.collect::<Map<_, _>>().into());
    Some(json!({ "type": type_, field: new }))
}

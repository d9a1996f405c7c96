//! The rules for events, in the names of the core form, which complaints use for both (`ValidateEventCreate`, `…Update` of Kubernetes 1.33).

use crate::field::{Errors, Path};
use crate::names;
use k8s_openapi::api::core::v1;
use serde::Serialize;

const MAX_BYTES: usize = 128;
const MAX_MESSAGE_BYTES: usize = 1024;

/// What holds for every event. One with a time says who saw what, and what was done. `reporter`: the field's name in the form that was sent.
pub fn both(event: &v1::Event, reporter: &str, errors: &mut Errors) {
    let namespace = text(&event.metadata.namespace);
    let about = text(&event.involved_object.namespace);
    let has_time = event.event_time.is_some();
    // Events of cluster-wide objects live in the default or a system namespace.
    let fits = match about {
        "" => namespace == "default" || namespace.is_empty() && !has_time || namespace == "kube-system" && has_time,
        about => has_time || about == namespace,
    };
    if !fits {
        let at = Path::Root.field("involvedObject");
        errors.invalid(&at.field("namespace"), about, "does not match event.namespace");
    }
    if !has_time {
        return;
    }
    let root = Path::Root;
    let controller = text(&event.reporting_component);
    if controller.is_empty() {
        errors.required(&root.field(reporter), "");
    }
    errors.format(&root.field(reporter), controller, names::qualified_name(controller));
    for (name, value) in [("reportingInstance", &event.reporting_instance), ("action", &event.action), ("reason", &event.reason)] {
        if text(value).is_empty() {
            errors.required(&root.field(name), "");
        }
        bounded(name, text(value), MAX_BYTES, errors);
    }
    bounded("message", text(&event.message), MAX_MESSAGE_BYTES, errors);
}

/// What holds for those that are made through events.k8s.io: a time, a type, a series that is one, and nothing of what the core form had before.
pub fn strict(event: &v1::Event, errors: &mut Errors) {
    series(event, errors);
    if event.event_time.is_none() {
        errors.required(&Path::Root.field("eventTime"), "");
    }
    let type_ = text(&event.type_);
    if !["Normal", "Warning"].contains(&type_) {
        errors.invalid(&Path::Root.field("type"), "", format!("has invalid value: {type_}"));
    }
    let source = event.source.as_ref();
    for (name, is_set) in [
        ("firstTimestamp", event.first_timestamp.is_some()),
        ("lastTimestamp", event.last_timestamp.is_some()),
        ("count", event.count.unwrap_or_default() != 0),
        ("source", source.is_some_and(|s| !text(&s.component).is_empty() || !text(&s.host).is_empty())),
    ] {
        if is_set {
            errors.invalid(&Path::Root.field(name), "", "needs to be unset");
        }
    }
}

/// What changes through events.k8s.io: the series, nothing else that is told.
pub fn change(new: &v1::Event, old: &v1::Event, errors: &mut Errors) {
    if new.series != old.series {
        series(new, errors);
    }
    fixed("involvedObject", &new.involved_object, &old.involved_object, errors);
    fixed("reason", text(&new.reason), text(&old.reason), errors);
    fixed("message", text(&new.message), text(&old.message), errors);
    let (new_source, old_source) = (new.source.clone().unwrap_or_default(), old.source.clone().unwrap_or_default());
    fixed("source", &new_source, &old_source, errors);
    fixed("firstTimestamp", &new.first_timestamp, &old.first_timestamp, errors);
    fixed("lastTimestamp", &new.last_timestamp, &old.last_timestamp, errors);
    fixed("count", &new.count.unwrap_or_default(), &old.count.unwrap_or_default(), errors);
    fixed("type", text(&new.type_), text(&old.type_), errors);
    // Clients that are exact to the microsecond may send back what one that is more so wrote.
    let micros = |event: &v1::Event| event.event_time.as_ref().map(|time| time.0.as_microsecond());
    if micros(new) != micros(old) {
        fixed("eventTime", &new.event_time, &old.event_time, errors);
    }
    fixed("action", text(&new.action), text(&old.action), errors);
    fixed("related", &new.related, &old.related, errors);
    fixed("reportingController", text(&new.reporting_component), text(&old.reporting_component), errors);
    fixed("reportingInstance", text(&new.reporting_instance), text(&old.reporting_instance), errors);
}

fn series(event: &v1::Event, errors: &mut Errors) {
    let Some(series) = &event.series else { return };
    let at = Path::Root.field("series");
    if series.count.unwrap_or_default() < 2 {
        errors.invalid(&at.field("count"), "", "should be at least 2");
    }
    if series.last_observed_time.is_none() {
        errors.required(&at.field("lastObservedTime"), "");
    }
}

fn fixed<T: PartialEq + Serialize + ?Sized>(name: &str, new: &T, old: &T, errors: &mut Errors) {
    if new != old {
        let shown = serde_json::to_value(new).unwrap_or_default();
        errors.invalid(&Path::Root.field(name), shown, "field is immutable");
    }
}

/// The value that is too long is not shown.
fn bounded(name: &str, value: &str, max: usize, errors: &mut Errors) {
    if value.len() > max {
        errors.invalid(&Path::Root.field(name), "", format!("can have at most {max} characters"));
    }
}

fn text(text: &Option<String>) -> &str {
    text.as_deref().unwrap_or_default()
}

//! Event: what happened to an object. One kind under two names: core/v1 and events.k8s.io/v1; stored in the core form.
//!
//! Before (events.k8s.io): `{"note": "Pulled", "regarding": {…}, "reportingController": "kubelet"}`. Stored:
//! `{"message": "Pulled", "involvedObject": {…}, "reportingComponent": "kubelet"}`.

mod validate;

use crate::contract::{Column, Descriptor, Subresource};
use crate::field::Errors;
use crate::json;
use crate::names::NameRule;
use crate::table::{self, text, wide};
use crate::typed::{Kind, namespaced};
use k8s_openapi::api::core::v1;
use k8s_openapi::api::events::v1 as events;
use serde::Deserialize;
use serde_json::Value;

pub struct Event;

/// The events.k8s.io form.
pub struct EventsEvent;

/// Fields with another name in the two forms: events.k8s.io, core.
const RENAMED: &[(&str, &str)] = &[
    ("regarding", "involvedObject"),
    ("note", "message"),
    ("reportingController", "reportingComponent"),
    ("deprecatedSource", "source"),
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
    ("deprecatedCount", "count"),
];

const CORE_FIELDS: [&str; 11] = [
    "involvedObject.kind",
    "involvedObject.namespace",
    "involvedObject.name",
    "involvedObject.uid",
    "involvedObject.apiVersion",
    "involvedObject.resourceVersion",
    "involvedObject.fieldPath",
    "reason",
    "reportingComponent",
    "source",
    "type",
];
const EVENTS_FIELDS: [&str; 11] = [
    "regarding.kind",
    "regarding.namespace",
    "regarding.name",
    "regarding.uid",
    "regarding.apiVersion",
    "regarding.resourceVersion",
    "regarding.fieldPath",
    "reason",
    "reportingController",
    "source",
    "type",
];

const COLUMNS: &[Column] = &[
    text("Last Seen", "Time since the event was last seen"),
    text("Type", "Normal or Warning"),
    text("Reason", "Why the event was made, for machines"),
    text("Object", "What the event is about"),
    wide("Subobject", "The part of the object"),
    wide("Source", "Who saw it"),
    text("Message", "What happened, for people"),
    wide("First Seen", "Time since the event was first seen"),
    wide("Count", "How often it was seen"),
    table::column("Name", "string", "name", "Name of the event", 1),
];

impl Kind for Event {
    type Object = v1::Event;

    const DESCRIPTOR: Descriptor = Descriptor { short_names: &["ev"], ..namespaced::<v1::Event>("events", "event") };
    const NAME: NameRule = NameRule::PathSegment;
    const CREATES_ON_UPDATE: bool = true;
    const COLUMNS: &'static [Column] = COLUMNS;

    fn validate(object: &v1::Event, errors: &mut Errors) {
        validate::both(object, "reportingComponent", errors);
    }

    fn cells(object: &v1::Event, now: i64) -> Vec<Value> {
        let first = match &object.first_timestamp {
            Some(time) => table::since(Some(time), now),
            None => table::since_micro(object.event_time.as_ref(), now),
        };
        let mut last = object.last_timestamp.as_ref().map_or_else(|| first.clone(), |time| table::since(Some(time), now));
        let mut count = object.count.unwrap_or_default().max(1);
        if let Some(series) = &object.series {
            last = table::since_micro(series.last_observed_time.as_ref(), now);
            count = series.count.unwrap_or_default();
        }
        let involved = &object.involved_object;
        let mut target = involved.kind.as_deref().unwrap_or_default().to_ascii_lowercase();
        if let Some(name) = involved.name.as_deref().filter(|n| !n.is_empty()) {
            target = format!("{target}/{name}");
        }
        let text = |t: &Option<String>| Value::from(t.as_deref().unwrap_or_default());
        vec![
            last.into(),
            text(&object.type_),
            text(&object.reason),
            target.into(),
            text(&involved.field_path),
            source(object).into(),
            object.message.as_deref().unwrap_or_default().trim().into(),
            first.into(),
            count.to_string().into(),
            table::name(&object.metadata),
        ]
    }

    fn selectable_fields(object: &Value) -> Vec<(&'static str, String)> {
        fields(object, ["involvedObject", "reportingComponent", "source"], CORE_FIELDS)
    }
}

impl Kind for EventsEvent {
    type Object = events::Event;

    const DESCRIPTOR: Descriptor =
        Descriptor { short_names: &["ev"], stored_as: ("", "events"), ..namespaced::<events::Event>("events", "event") };
    const NAME: NameRule = NameRule::PathSegment;
    const CREATES_ON_UPDATE: bool = true;
    const COLUMNS: &'static [Column] = COLUMNS;

    fn validate(object: &events::Event, errors: &mut Errors) {
        if let Some(event) = core(object) {
            validate::both(&event, "reportingController", errors);
            validate::strict(&event, errors);
        }
    }

    fn validate_update(new: &events::Event, old: &events::Event, _: Subresource<'_>, errors: &mut Errors) {
        if let (Some(new), Some(old)) = (core(new), core(old)) {
            validate::both(&new, "reportingController", errors);
            validate::change(&new, &old, errors);
        }
    }

    fn cells(object: &events::Event, now: i64) -> Vec<Value> {
        core(object).map(|event| Event::cells(&event, now)).unwrap_or_default()
    }

    fn selectable_fields(object: &Value) -> Vec<(&'static str, String)> {
        fields(object, ["regarding", "reportingController", "deprecatedSource"], EVENTS_FIELDS)
    }

    fn to_stored(mut object: Value) -> Value {
        json::rename(&mut object, RENAMED.iter().copied());
        json::put(&mut object, &["apiVersion"], "v1".into());
        object
    }

    fn from_stored(mut stored: Value) -> Value {
        json::rename(&mut stored, RENAMED.iter().map(|(here, core)| (*core, *here)));
        json::put(&mut stored, &["apiVersion"], "events.k8s.io/v1".into());
        stored
    }
}

fn core(object: &events::Event) -> Option<v1::Event> {
    let stored = EventsEvent::to_stored(serde_json::to_value(object).ok()?);
    v1::Event::deserialize(stored).ok()
}

/// Values of the fields that can be selected: of the object concerned, then reason, who reported, the source and the type.
fn fields(object: &Value, [about, reporter, source]: [&str; 3], names: [&'static str; 11]) -> Vec<(&'static str, String)> {
    let about = |field| json::text(object, &[about, field]);
    let reporter = json::text(object, &[reporter]);
    let source = json::text_or(object, &[source, "component"], &reporter);
    let values = [
        about("kind"),
        about("namespace"),
        about("name"),
        about("uid"),
        about("apiVersion"),
        about("resourceVersion"),
        about("fieldPath"),
        json::text(object, &["reason"]),
        reporter,
        source,
        json::text(object, &["type"]),
    ];
    names.into_iter().zip(values).collect()
}

/// `component, host`
fn source(object: &v1::Event) -> String {
    let (component, host) = object.source.as_ref().map_or((None, None), |s| (s.component.as_deref(), s.host.as_deref()));
    let filled = |text: Option<&str>, other: &Option<String>| {
        text.filter(|t| !t.is_empty()).map(str::to_owned).or_else(|| other.clone()).unwrap_or_default()
    };
    let parts = [filled(component, &object.reporting_component), filled(host, &object.reporting_instance)];
    parts.into_iter().filter(|p| !p.is_empty()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Resource;
    use crate::typed::Typed;
    use serde_json::json;

    fn core_event() -> Value {
        json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": "p.1", "namespace": "d"},
            "involvedObject": {"kind": "Pod", "name": "p", "namespace": "d", "fieldPath": "spec.containers{a}"}, "reason": "Pulled", "message": "ok\n",
            "type": "Normal", "source": {"component": "kubelet", "host": "n"}, "count": 3,
            "firstTimestamp": "1970-01-01T00:00:00Z", "lastTimestamp": "1970-01-01T00:01:00Z"})
    }

    #[test]
    fn the_two_forms_convert_into_one_another() {
        let (core, events) = (Typed::<Event>::NEW, Typed::<EventsEvent>::NEW);
        let shown = events.from_stored(core_event());
        assert_eq!((&shown["note"], &shown["regarding"]["name"], &shown["deprecatedCount"]), (&json!("ok\n"), &json!("p"), &json!(3)));
        let decoded = events.decode(shown).unwrap();
        assert_eq!(decoded.unknown, Vec::<String>::new());
        assert_eq!(core.decode(events.to_stored(decoded.object)).unwrap().object, core.decode(core_event()).unwrap().object);
    }

    #[test]
    fn the_table_shows_when_what_and_who() {
        let cells = Typed::<Event>::NEW.cells(&core_event(), 100);
        assert_eq!(cells, ["40s", "Normal", "Pulled", "pod/p", "spec.containers{a}", "kubelet, n", "ok", "100s", "3", "p.1"]);
        let events = Typed::<EventsEvent>::NEW;
        assert_eq!(events.cells(&events.from_stored(core_event()), 100), cells);
    }

    /// `object` with `change`; `null` takes a field away.
    fn with(object: &Value, change: &Value) -> Value {
        let mut object = object.clone();
        for (key, value) in change.as_object().unwrap() {
            object[key] = value.clone();
        }
        object
    }

    fn texts(found: &[crate::contract::FieldError]) -> Vec<String> {
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_event_lives_with_its_object() {
        let kind = Typed::<Event>::NEW;
        let elsewhere = |name: &str| format!("involvedObject.namespace: Invalid value: {name:?}: does not match event.namespace");
        for (namespace, about, time, expected) in [
            ("d", "d", false, vec![]),
            ("d", "other", false, vec![elsewhere("other")]),
            ("default", "", false, vec![]),
            ("kube-system", "", false, vec![elsewhere("")]),
            ("kube-system", "", true, vec![]),
            ("d", "", true, vec![elsewhere("")]),
        ] {
            let mut event = with(&core_event(), &json!({"reportingComponent": "c", "reportingInstance": "i", "action": "a"}));
            event["metadata"]["namespace"] = namespace.into();
            event["involvedObject"]["namespace"] = about.into();
            if time {
                event["eventTime"] = "2026-01-01T00:00:00.000000Z".into();
            }
            assert_eq!(texts(&kind.validate_create(&event)), expected, "{namespace} {about}");
        }
    }

    #[test]
    fn an_event_with_a_time_says_who_did_what() {
        let kind = Typed::<Event>::NEW;
        let event = with(&core_event(), &json!({"eventTime": "2026-01-01T00:00:00.000000Z", "reason": "", "message": "x".repeat(1025)}));
        let found = texts(&kind.validate_create(&event));
        assert_eq!(
            found[..2],
            ["reportingComponent: Required value", "reportingComponent: Invalid value: \"\": name part must be non-empty"]
        );
        assert!(found[2].starts_with("reportingComponent: Invalid value: \"\": name part must consist of"), "{found:?}");
        assert_eq!(
            found[3..],
            [
                "reportingInstance: Required value",
                "action: Required value",
                "reason: Required value",
                "message: Invalid value: \"\": can have at most 1024 characters",
            ]
        );
    }

    fn new_event() -> Value {
        json!({"apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "p.1", "namespace": "d"}, "type": "Normal",
            "eventTime": "2026-01-01T00:00:00.000000Z", "reportingController": "example.com/c", "reportingInstance": "i", "action": "Do",
            "reason": "Done", "note": "n", "regarding": {"kind": "Pod", "name": "p", "namespace": "d"}})
    }

    #[test]
    fn new_events_are_held_to_more() {
        let kind = Typed::<EventsEvent>::NEW;
        let series = |count: i32| json!({"series": {"count": count, "lastObservedTime": "2026-01-01T00:00:00.000000Z"}});
        for (change, expected) in [
            (json!({}), vec![]),
            (series(2), vec![]),
            (series(1), vec!["series.count: Invalid value: \"\": should be at least 2"]),
            (json!({"eventTime": null}), vec!["eventTime: Required value"]),
            (json!({"type": "Bad"}), vec!["type: Invalid value: \"\": has invalid value: Bad"]),
            (json!({"deprecatedCount": 1}), vec!["count: Invalid value: \"\": needs to be unset"]),
            (
                json!({"deprecatedFirstTimestamp": "2026-01-01T00:00:00Z", "deprecatedLastTimestamp": "2026-01-01T00:00:00Z"}),
                vec!["firstTimestamp: Invalid value: \"\": needs to be unset", "lastTimestamp: Invalid value: \"\": needs to be unset"],
            ),
            (json!({"deprecatedSource": {"component": "c"}}), vec!["source: Invalid value: \"\": needs to be unset"]),
            (
                json!({"reportingInstance": "x".repeat(129)}),
                vec!["reportingInstance: Invalid value: \"\": can have at most 128 characters"],
            ),
        ] {
            let object = kind.decode(with(&new_event(), &change)).unwrap().object;
            assert_eq!(texts(&kind.validate_create(&object)), expected, "{change}");
        }
    }

    #[test]
    fn only_the_series_of_a_new_event_goes_on() {
        let kind = Typed::<EventsEvent>::NEW;
        let decoded = |object: Value| kind.decode(object).unwrap().object;
        let old = decoded(new_event());
        for (change, field) in [
            (json!({"series": {"count": 2, "lastObservedTime": "2026-01-01T00:00:00.000000Z"}}), None),
            (json!({"note": "m"}), Some("message")),
            (json!({"reason": "Other"}), Some("reason")),
            (json!({"type": "Warning"}), Some("type")),
            (json!({"action": "Else"}), Some("action")),
            (json!({"reportingInstance": "j"}), Some("reportingInstance")),
            (json!({"related": {"kind": "Node", "name": "n"}}), Some("related")),
            (json!({"eventTime": "2026-01-01T00:00:01.000000Z"}), Some("eventTime")),
            (json!({"deprecatedCount": 2}), Some("count")),
        ] {
            let found = kind.validate_update(&decoded(with(&new_event(), &change)), &old, None);
            assert_eq!(found.iter().map(|e| e.field.as_str()).collect::<Vec<_>>(), field.into_iter().collect::<Vec<_>>(), "{change}");
            assert!(found.iter().all(|e| e.detail == "field is immutable"));
        }
        // One that came as a core event may be touched, too.
        let core = decoded(kind.from_stored(core_event()));
        assert_eq!(kind.validate_update(&core, &core, None), []);
        let kind = Typed::<Event>::NEW;
        assert_eq!(kind.validate_update(&with(&core_event(), &json!({"count": 4})), &core_event(), None), []);
    }

    #[test]
    fn fields_can_be_selected_by_object() {
        let fields = Typed::<Event>::NEW.selectable_fields(&core_event());
        assert!(fields.contains(&("involvedObject.name", "p".to_owned())) && fields.contains(&("source", "kubelet".to_owned())));
    }
}

//! The way from client-side apply to server-side apply: the annotation that kubectl keeps its last configuration in.

use super::{collect, compare};
use crate::Place;
use crate::fields::FieldSet;
use serde_json::Value;

const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// The one manager that takes over from client-side apply; others opt out by their name.
pub(super) const KUBECTL: &str = "kubectl";

/// Fields that client-side apply set and that still have its values: kubectl may take these from whoever owns them.
pub(super) fn allowed(place: Place<'_>, live: &Value) -> FieldSet {
    let Some(Ok(applied)) = annotation(live).map(serde_json::from_str::<Value>) else { return FieldSet::new() };
    let changes = compare::compare(place, &applied, live);
    collect::fields_of(place, &applied).difference(&changes.modified).difference(&changes.added).difference(&changes.removed)
}

/// Keeps the annotation in step with what kubectl applies now, so that client-side apply can still follow.
pub(super) fn refresh(object: &mut Value, config: &Value) {
    if annotation(object).is_none() {
        return;
    }
    let mut config = config.clone();
    if let Some(metadata) = config.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.remove(ANNOTATION);
        }
    }
    if let Some(annotation) = object.pointer_mut("/metadata/annotations").and_then(|annotations| annotations.get_mut(ANNOTATION)) {
        *annotation = format!("{config}\n").into();
    }
}

fn annotation(object: &Value) -> Option<&str> {
    object.get("metadata")?.get("annotations")?.get(ANNOTATION)?.as_str()
}

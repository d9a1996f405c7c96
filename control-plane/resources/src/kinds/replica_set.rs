//! ReplicaSet: keeps a number of equal pods running; usually owned by a Deployment.

use super::workload;
use crate::contract::{Column, Descriptor, Subresource};
use crate::field::{Errors, Path};
use crate::selector;
use crate::typed::{Kind, namespaced, or_empty};
use k8s_openapi::api::apps::v1;
use serde_json::Value;

pub struct ReplicaSet;

impl Kind for ReplicaSet {
    type Object = v1::ReplicaSet;

    const DESCRIPTOR: Descriptor = Descriptor {
        short_names: &["rs"],
        categories: &["all"],
        subresources: &["scale", "status"],
        has_generation: true,
        ..namespaced::<v1::ReplicaSet>("replicasets", "replicaset")
    };
    const COLUMNS: &'static [Column] = workload::REPLICA_COLUMNS;

    fn new_status() -> Value {
        serde_json::json!({"replicas": 0})
    }

    fn default(object: &mut v1::ReplicaSet) {
        let spec = object.spec.get_or_insert_default();
        spec.replicas.get_or_insert(1);
        workload::default_template(spec.template.get_or_insert_default());
    }

    fn validate(object: &v1::ReplicaSet, errors: &mut Errors) {
        let at = Path::Root.field("spec");
        let spec = &*or_empty(&object.spec);
        workload::counts(&at, &[("replicas", spec.replicas), ("minReadySeconds", spec.min_ready_seconds)], errors);
        let template = &*or_empty(&spec.template);
        workload::selects_template("replicaset", &spec.selector, template, &at, errors);
        workload::long_running("ReplicaSet", template, &at.field("template"), errors);
    }

    fn validate_update(new: &v1::ReplicaSet, old: &v1::ReplicaSet, subresource: Subresource<'_>, errors: &mut Errors) {
        if subresource == Some("status") {
            status(new, errors);
            return;
        }
        Self::validate(new, errors);
        if let (Some(new), Some(old)) = (&new.spec, &old.spec) {
            workload::selector_stays(&new.selector, &old.selector, errors);
        }
    }

    fn warnings(object: &v1::ReplicaSet) -> Vec<String> {
        workload::template_warnings(object.spec.as_ref().and_then(|s| s.template.as_ref()))
    }

    fn cells(object: &v1::ReplicaSet, now: i64) -> Vec<Value> {
        let spec = or_empty(&object.spec);
        let status = or_empty(&object.status);
        let counts = [spec.replicas.unwrap_or_default(), status.replicas, status.ready_replicas.unwrap_or_default()];
        workload::replica_cells(&object.metadata, counts, spec.template.as_ref(), selector::shown(Some(&spec.selector)), now)
    }

    fn selectable_fields(object: &Value) -> Vec<(&'static str, String)> {
        workload::replica_fields(object)
    }
}

fn status(object: &v1::ReplicaSet, errors: &mut Errors) {
    let Some(status) = &object.status else { return };
    let at = Path::Root.field("status");
    for (name, value) in [
        ("fullyLabeledReplicas", status.fully_labeled_replicas),
        ("readyReplicas", status.ready_replicas),
        ("availableReplicas", status.available_replicas),
    ] {
        let value = value.unwrap_or_default();
        errors.non_negative(&at.field(name), value);
        if value > status.replicas {
            errors.invalid(&at.field(name), value, "cannot be greater than status.replicas");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Resource;
    use crate::typed::Typed;
    use serde_json::json;

    const KIND: Typed<ReplicaSet> = Typed::NEW;

    fn set(selector: Value) -> Value {
        let body = json!({"metadata": {"name": "a", "namespace": "d"}, "spec": {"selector": selector,
            "template": {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "a", "image": "x"}]}}}});
        KIND.decode(body).unwrap().object
    }

    #[test]
    fn one_replica_is_the_default_and_the_selector_fits_and_stays() {
        let right = set(json!({"matchLabels": {"app": "a"}}));
        assert_eq!(right["spec"]["replicas"], 1);
        assert!(KIND.validate_create(&right).is_empty());
        assert_eq!(KIND.validate_create(&set(json!({"matchLabels": {"app": "b"}})))[0].field, "spec.template.metadata.labels");
        let other = set(json!({"matchExpressions": [{"key": "app", "operator": "Exists"}]}));
        assert_eq!(KIND.validate_update(&other, &right, None)[0].detail, "field is immutable");
    }

    #[test]
    fn the_table_shows_desired_current_and_ready() {
        let mut object = set(json!({"matchLabels": {"app": "a"}}));
        object["status"] = json!({"replicas": 2, "readyReplicas": 1});
        assert_eq!(KIND.cells(&object, 0)[1..4], [json!(1), json!(2), json!(1)]);
        assert_eq!(KIND.selectable_fields(&object), [("status.replicas", "2".to_owned())]);
    }
}

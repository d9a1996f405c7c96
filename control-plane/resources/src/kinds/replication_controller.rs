//! ReplicationController: the older form of a ReplicaSet; its selector is a plain map and follows from the template.

use super::workload;
use crate::contract::{Column, Descriptor};
use crate::field::{Errors, Path};
use crate::selector;
use crate::typed::{Kind, namespaced, or_empty};
use k8s_openapi::api::core::v1;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde_json::Value;

pub struct ReplicationController;

impl Kind for ReplicationController {
    type Object = v1::ReplicationController;

    const DESCRIPTOR: Descriptor = Descriptor {
        short_names: &["rc"],
        categories: &["all"],
        subresources: &["scale", "status"],
        has_generation: true,
        ..namespaced::<v1::ReplicationController>("replicationcontrollers", "replicationcontroller")
    };
    const COLUMNS: &'static [Column] = workload::REPLICA_COLUMNS;

    fn new_status() -> Value {
        serde_json::json!({"replicas": 0})
    }

    fn default(object: &mut v1::ReplicationController) {
        let Some(spec) = &mut object.spec else { return };
        spec.replicas.get_or_insert(1);
        let Some(template) = &mut spec.template else { return };
        workload::default_template(template);
        let labels = template.metadata.as_ref().and_then(|m| m.labels.clone()).unwrap_or_default();
        if !labels.is_empty() {
            if spec.selector.as_ref().is_none_or(|s| s.is_empty()) {
                spec.selector = Some(labels.clone());
            }
            if object.metadata.labels.is_none() {
                object.metadata.labels = Some(labels);
            }
        }
    }

    fn validate(object: &v1::ReplicationController, errors: &mut Errors) {
        let at = Path::Root.field("spec");
        let spec = or_empty(&object.spec);
        workload::counts(&at, &[("replicas", spec.replicas), ("minReadySeconds", spec.min_ready_seconds)], errors);
        if spec.selector.as_ref().is_none_or(|s| s.is_empty()) {
            errors.required(&at.field("selector"), "");
        }
        match &spec.template {
            None => errors.required(&at.field("template"), ""),
            Some(template) => {
                if spec.selector.is_some() {
                    let chosen = LabelSelector { match_labels: spec.selector.clone(), ..LabelSelector::default() };
                    workload::selects_template("replicationcontroller", &chosen, template, &at, errors);
                }
                workload::long_running("ReplicationController", template, &at.field("template"), errors);
            }
        }
    }

    fn warnings(object: &v1::ReplicationController) -> Vec<String> {
        workload::template_warnings(object.spec.as_ref().and_then(|s| s.template.as_ref()))
    }

    fn cells(object: &v1::ReplicationController, now: i64) -> Vec<Value> {
        let spec = or_empty(&object.spec);
        let status = or_empty(&object.status);
        let counts = [spec.replicas.unwrap_or_default(), status.replicas, status.ready_replicas.unwrap_or_default()];
        workload::replica_cells(&object.metadata, counts, spec.template.as_ref(), selector::labels_shown(spec.selector.as_ref()), now)
    }

    fn selectable_fields(object: &Value) -> Vec<(&'static str, String)> {
        workload::replica_fields(object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Resource;
    use crate::typed::Typed;
    use serde_json::json;

    #[test]
    fn the_selector_follows_from_the_template() {
        let kind = Typed::<ReplicationController>::NEW;
        let body = json!({"metadata": {"name": "a", "namespace": "d"}, "spec": {
            "template": {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "a", "image": "x"}]}}}});
        let object = kind.decode(body).unwrap().object;
        assert_eq!((&object["spec"]["selector"], &object["metadata"]["labels"]), (&json!({"app": "a"}), &json!({"app": "a"})));
        assert!(kind.validate_create(&object).is_empty());
        assert_eq!(kind.cells(&object, 0)[7], "app=a");
    }
}

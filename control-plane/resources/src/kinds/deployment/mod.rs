//! Deployment: keeps a number of equal pods running and rolls changes of their template out.
//!
//! Before: `{"spec": {"selector": …, "template": …}}`. After: `replicas: 1`, `strategy: {type: RollingUpdate, rollingUpdate: {maxSurge: 25%,
//! maxUnavailable: 25%}}`, `revisionHistoryLimit: 10`, `progressDeadlineSeconds: 600`, and the template's own defaults.

mod default;
mod validate;

use super::workload;
use crate::contract::{Column, Descriptor, Subresource};
use crate::field::Errors;
use crate::json;
use crate::selector;
use crate::table::{self, number, text, wide};
use crate::typed::{Kind, namespaced, or_empty};
use k8s_openapi::api::apps::v1;
use serde_json::Value;

pub struct Deployment;

impl Kind for Deployment {
    type Object = v1::Deployment;

    const DESCRIPTOR: Descriptor = Descriptor {
        short_names: &["deploy"],
        categories: &["all"],
        subresources: &["scale", "status"],
        has_generation: true,
        ..namespaced::<v1::Deployment>("deployments", "deployment")
    };
    const RESET_BY_STATUS: &'static [&'static str] = &["spec", "metadata.labels"];
    const COLUMNS: &'static [Column] = &[
        table::NAME,
        text("Ready", "Number of the pod with ready state"),
        number("Up-to-date", "Pods of the current template"),
        number("Available", "Pods ready for long enough"),
        table::AGE,
        wide("Containers", "Names of each container in the template."),
        wide("Images", "Images referenced by each container in the template."),
        wide("Selector", "Labels that select the pods"),
    ];

    fn default(object: &mut v1::Deployment) {
        default::spec(object.spec.get_or_insert_default());
    }

    fn prepare_update(new: &mut Value, old: &Value, subresource: Subresource<'_>) {
        if subresource == Some("status") {
            json::keep_at(new, old, &["metadata", "labels"]);
        }
    }

    fn validate(object: &v1::Deployment, errors: &mut Errors) {
        validate::deployment(object, errors);
    }

    fn validate_update(new: &v1::Deployment, old: &v1::Deployment, subresource: Subresource<'_>, errors: &mut Errors) {
        if subresource == Some("status") {
            validate::status(new, errors);
            return;
        }
        Self::validate(new, errors);
        if let (Some(new), Some(old)) = (&new.spec, &old.spec) {
            workload::selector_stays(&new.selector, &old.selector, errors);
        }
    }

    fn warnings(object: &v1::Deployment) -> Vec<String> {
        workload::template_warnings(object.spec.as_ref().map(|s| &s.template))
    }

    fn cells(object: &v1::Deployment, now: i64) -> Vec<Value> {
        let spec = or_empty(&object.spec);
        let status = or_empty(&object.status);
        let [containers, images] = workload::containers_and_images(spec.template.spec.as_ref());
        vec![
            table::name(&object.metadata),
            format!("{}/{}", status.ready_replicas.unwrap_or_default(), spec.replicas.unwrap_or_default()).into(),
            status.updated_replicas.unwrap_or_default().into(),
            status.available_replicas.unwrap_or_default().into(),
            table::age(&object.metadata, now),
            containers,
            images,
            selector::shown(Some(&spec.selector)).into(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Resource;
    use crate::typed::Typed;
    use serde_json::json;

    const KIND: Typed<Deployment> = Typed::NEW;

    #[test]
    fn the_table_shows_progress_and_what_runs() {
        let object = json!({"metadata": {"name": "a"}, "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "a"}},
            "template": {"spec": {"containers": [{"name": "x", "image": "i:1"}, {"name": "y", "image": "j"}]}}},
            "status": {"readyReplicas": 2, "updatedReplicas": 3, "availableReplicas": 1}});
        assert_eq!(
            KIND.cells(&object, 0),
            [json!("a"), json!("2/3"), json!(3), json!(1), json!("<unknown>"), json!("x,y"), json!("i:1,j"), json!("app=a")]
        );
    }

    #[test]
    fn the_status_comes_and_goes_only_by_its_own_way() {
        let old = json!({"metadata": {"name": "a"}, "spec": {"replicas": 1}, "status": {"replicas": 1}});
        let meta = json!({"name": "a", "labels": {"a": "b"}});
        let changed = json!({"metadata": meta, "spec": {"replicas": 2}, "status": {"replicas": 2}});
        let (mut by_main, mut by_status, mut created) = (changed.clone(), changed.clone(), changed);
        KIND.prepare_update(&mut by_main, &old, None);
        assert_eq!((&by_main["spec"]["replicas"], &by_main["status"]["replicas"]), (&json!(2), &json!(1)));
        KIND.prepare_update(&mut by_status, &old, Some("status"));
        assert_eq!((&by_status["spec"]["replicas"], &by_status["status"]["replicas"]), (&json!(1), &json!(2)));
        assert_eq!((&by_main["metadata"]["labels"], by_status["metadata"].get("labels")), (&json!({"a": "b"}), None));
        KIND.prepare_create(&mut created);
        assert_eq!(created["status"], json!({}));
    }
}

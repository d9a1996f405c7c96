//! DaemonSet: one pod on every node.

use super::workload;
use crate::contract::{Column, Descriptor, Subresource};
use crate::field::{Errors, Path};
use crate::selector;
use crate::table::{self, number, text, wide};
use crate::typed::{Kind, namespaced, or_empty};
use k8s_openapi::api::apps::v1;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::Value;

pub struct DaemonSet;

impl Kind for DaemonSet {
    type Object = v1::DaemonSet;

    const DESCRIPTOR: Descriptor = Descriptor {
        short_names: &["ds"],
        categories: &["all"],
        subresources: &["status"],
        has_generation: true,
        ..namespaced::<v1::DaemonSet>("daemonsets", "daemonset")
    };
    const COLUMNS: &'static [Column] = &[
        table::NAME,
        number("Desired", "Nodes that should run the pod"),
        number("Current", "Nodes that run it"),
        number("Ready", "Nodes where it is ready"),
        number("Up-to-date", "Nodes with the current template"),
        number("Available", "Nodes where it is ready for long enough"),
        text("Node Selector", "Labels of the nodes"),
        table::AGE,
        wide("Containers", "Names of each container in the template."),
        wide("Images", "Images referenced by each container in the template."),
        wide("Selector", "Labels that select the pods"),
    ];

    fn new_status() -> Value {
        serde_json::json!({"currentNumberScheduled": 0, "desiredNumberScheduled": 0, "numberMisscheduled": 0, "numberReady": 0})
    }

    fn default(object: &mut v1::DaemonSet) {
        let spec = object.spec.get_or_insert_default();
        spec.revision_history_limit.get_or_insert(10);
        let strategy = spec.update_strategy.get_or_insert_default();
        if strategy.type_.get_or_insert_with(|| "RollingUpdate".to_owned()) == "RollingUpdate" {
            let rolling = strategy.rolling_update.get_or_insert_default();
            rolling.max_unavailable.get_or_insert(IntOrString::Int(1));
            rolling.max_surge.get_or_insert(IntOrString::Int(0));
        }
        workload::default_template(&mut spec.template);
    }

    fn validate(object: &v1::DaemonSet, errors: &mut Errors) {
        let at = Path::Root.field("spec");
        let spec = &*or_empty(&object.spec);
        workload::selects_template("daemonset", &spec.selector, &spec.template, &at, errors);
        workload::long_running("DaemonSet", &spec.template, &at.field("template"), errors);
        let limit = spec.revision_history_limit;
        workload::counts(&at, &[("minReadySeconds", spec.min_ready_seconds), ("revisionHistoryLimit", limit)], errors);
        let strategy = or_empty(&spec.update_strategy);
        let at = at.field("updateStrategy");
        errors.one_of(&at.field("type"), strategy.type_.as_deref(), &["OnDelete", "RollingUpdate"]);
        let Some(rolling) = strategy.rolling_update.as_ref().filter(|_| strategy.type_.as_deref() == Some("RollingUpdate")) else { return };
        let at = at.field("rollingUpdate");
        for (name, value) in [("maxUnavailable", &rolling.max_unavailable), ("maxSurge", &rolling.max_surge)] {
            if let Some(value) = value {
                workload::count_or_percent(value, &at.field(name), errors);
                workload::at_most_all(value, &at.field(name), errors);
            }
        }
        let (unavailable, surge) = (rolling.max_unavailable.as_ref(), rolling.max_surge.as_ref());
        match (workload::is_zero(unavailable), workload::is_zero(surge)) {
            (false, false) => {
                let shown = surge.map(workload::shown).unwrap_or_default();
                errors.invalid(&at.field("maxSurge"), shown, "may not be set when maxUnavailable is non-zero");
            }
            (true, true) => errors.required(&at.field("maxUnavailable"), "cannot be 0 when maxSurge is 0"),
            _ => {}
        }
    }

    fn validate_update(new: &v1::DaemonSet, old: &v1::DaemonSet, subresource: Subresource<'_>, errors: &mut Errors) {
        if subresource == Some("status") {
            return;
        }
        Self::validate(new, errors);
        if let (Some(new), Some(old)) = (&new.spec, &old.spec) {
            workload::selector_stays(&new.selector, &old.selector, errors);
        }
    }

    fn warnings(object: &v1::DaemonSet) -> Vec<String> {
        workload::template_warnings(object.spec.as_ref().map(|s| &s.template))
    }

    fn cells(object: &v1::DaemonSet, now: i64) -> Vec<Value> {
        let spec = or_empty(&object.spec);
        let status = or_empty(&object.status);
        let [containers, images] = workload::containers_and_images(spec.template.spec.as_ref());
        vec![
            table::name(&object.metadata),
            status.desired_number_scheduled.into(),
            status.current_number_scheduled.into(),
            status.number_ready.into(),
            status.updated_number_scheduled.unwrap_or_default().into(),
            status.number_available.unwrap_or_default().into(),
            selector::labels_shown(spec.template.spec.as_ref().and_then(|s| s.node_selector.as_ref())).into(),
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

    const KIND: Typed<DaemonSet> = Typed::NEW;

    fn set(strategy: Value) -> Value {
        let body = json!({"metadata": {"name": "a", "namespace": "d"}, "spec": {"selector": {"matchLabels": {"app": "a"}},
            "updateStrategy": strategy,
            "template": {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "a", "image": "x"}]}}}});
        KIND.decode(body).unwrap().object
    }

    #[test]
    fn one_node_at_a_time_is_the_default() {
        let object = set(Value::Null);
        assert_eq!(
            object["spec"]["updateStrategy"],
            json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}})
        );
        assert!(KIND.validate_create(&object).is_empty());
        assert_eq!(KIND.cells(&object, 0)[6], "<none>");
    }

    #[test]
    fn either_surge_or_unavailability() {
        for (rolling, field) in [
            (json!({"maxSurge": 1, "maxUnavailable": 1}), "spec.updateStrategy.rollingUpdate.maxSurge"),
            (json!({"maxSurge": 0, "maxUnavailable": "0%"}), "spec.updateStrategy.rollingUpdate.maxUnavailable"),
        ] {
            assert_eq!(KIND.validate_create(&set(json!({"rollingUpdate": rolling})))[0].field, field);
        }
    }
}

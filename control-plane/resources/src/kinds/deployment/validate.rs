//! The rules for deployments.

use crate::field::{Errors, Path};
use crate::kinds::workload;
use crate::typed::or_empty;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec};

pub fn deployment(object: &Deployment, errors: &mut Errors) {
    let at = Path::Root.field("spec");
    let spec = &*or_empty(&object.spec);
    errors.non_negative(&at.field("replicas"), spec.replicas.unwrap_or_default());
    workload::selects_template("deployment", &spec.selector, &spec.template, &at, errors);
    workload::long_running("ReplicaSet", &spec.template, &at.field("template"), errors);
    strategy(spec, &at.field("strategy"), errors);
    let min_ready = spec.min_ready_seconds.unwrap_or_default();
    errors.non_negative(&at.field("minReadySeconds"), min_ready);
    errors.non_negative(&at.field("revisionHistoryLimit"), spec.revision_history_limit.unwrap_or_default());
    if let Some(deadline) = spec.progress_deadline_seconds {
        errors.non_negative(&at.field("progressDeadlineSeconds"), deadline);
        if deadline <= min_ready {
            errors.invalid(&at.field("progressDeadlineSeconds"), deadline, "must be greater than minReadySeconds");
        }
    }
}

pub fn status(object: &Deployment, errors: &mut Errors) {
    let Some(status) = &object.status else { return };
    let at = Path::Root.field("status");
    let count = |n: Option<i32>| n.unwrap_or_default();
    let counts = [
        ("replicas", status.replicas),
        ("updatedReplicas", status.updated_replicas),
        ("readyReplicas", status.ready_replicas),
        ("availableReplicas", status.available_replicas),
        ("unavailableReplicas", status.unavailable_replicas),
    ];
    workload::counts(&at, &counts, errors);
    errors.non_negative(&at.field("observedGeneration"), status.observed_generation.unwrap_or_default());
    let (all, ready, available) = (count(status.replicas), count(status.ready_replicas), count(status.available_replicas));
    for (name, value) in [("updatedReplicas", count(status.updated_replicas)), ("readyReplicas", ready), ("availableReplicas", available)] {
        if value > all {
            errors.invalid(&at.field(name), value, "cannot be greater than status.replicas");
        }
    }
    if available > ready {
        errors.invalid(&at.field("availableReplicas"), available, "cannot be greater than readyReplicas");
    }
}

fn strategy(spec: &DeploymentSpec, at: &Path<'_>, errors: &mut Errors) {
    let strategy = or_empty(&spec.strategy);
    let rolling = at.field("rollingUpdate");
    match (strategy.type_.as_deref(), &strategy.rolling_update) {
        (Some("Recreate"), Some(_)) => errors.forbidden(&rolling, "may not be specified when strategy `type` is 'Recreate'"),
        (Some("RollingUpdate"), None) => errors.required(&rolling, "this should be defaulted and never be nil"),
        (Some("RollingUpdate"), Some(parts)) => {
            for (name, value) in [("maxUnavailable", &parts.max_unavailable), ("maxSurge", &parts.max_surge)] {
                if let Some(value) = value {
                    workload::count_or_percent(value, &rolling.field(name), errors);
                }
            }
            if let Some(value) = &parts.max_unavailable {
                workload::at_most_all(value, &rolling.field("maxUnavailable"), errors);
                if workload::is_zero(Some(value)) && workload::is_zero(parts.max_surge.as_ref()) {
                    let shown = workload::shown(value);
                    errors.invalid(&rolling.field("maxUnavailable"), shown, "may not be 0 when `maxSurge` is 0");
                }
            }
        }
        (kind, _) => errors.one_of(&at.field("type"), kind, &["Recreate", "RollingUpdate"]),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Deployment as Kind;
    use crate::contract::Resource;
    use crate::typed::Typed;
    use serde_json::{Value, json};

    const KIND: Typed<Kind> = Typed::NEW;

    fn deployment(change: Value) -> Value {
        let mut body = json!({"metadata": {"name": "a", "namespace": "d"}, "spec": {"selector": {"matchLabels": {"app": "a"}},
            "template": {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "a", "image": "x"}]}}}});
        for (key, value) in change.as_object().unwrap() {
            body["spec"][key] = value.clone();
        }
        KIND.decode(body).unwrap().object
    }

    #[test]
    fn deployments_have_their_rules() {
        let template = |labels: Value, spec: Value| {
            let mut pod = json!({"containers": [{"name": "a", "image": "x"}]});
            for (key, value) in spec.as_object().unwrap() {
                pod[key] = value.clone();
            }
            json!({"template": {"metadata": {"labels": labels}, "spec": pod}})
        };
        let app = json!({"app": "a"});
        for (change, expected) in [
            (json!({}), None),
            (json!({"replicas": -1}), Some("spec.replicas: Invalid value: -1: must be greater than or equal to 0")),
            (
                json!({"selector": {"matchLabels": {}}}),
                Some(
                    "spec.selector: Invalid value: v1.LabelSelector{MatchLabels:map[string]string{}, MatchExpressions:[]v1.LabelSelectorRequirement(nil)}: empty selector is invalid for deployment",
                ),
            ),
            (
                template(json!({"app": "b"}), json!({})),
                Some(
                    "spec.template.metadata.labels: Invalid value: map[string]string{\"app\":\"b\"}: `selector` does not match template `labels`",
                ),
            ),
            (
                template(app.clone(), json!({"restartPolicy": "Never"})),
                Some("spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\""),
            ),
            (template(app, json!({"containers": []})), Some("spec.template.spec.containers: Required value")),
            (
                json!({"strategy": {"type": "X"}}),
                Some("spec.strategy.type: Unsupported value: \"X\": supported values: \"Recreate\", \"RollingUpdate\""),
            ),
            (
                json!({"strategy": {"type": "Recreate", "rollingUpdate": {}}}),
                Some("spec.strategy.rollingUpdate: Forbidden: may not be specified when"),
            ),
            (
                json!({"strategy": {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": "0%"}}}),
                Some("spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0"),
            ),
            (
                json!({"strategy": {"rollingUpdate": {"maxUnavailable": "101%"}}}),
                Some("spec.strategy.rollingUpdate.maxUnavailable: Invalid value: \"101%\": must not be greater than 100%"),
            ),
            (
                json!({"strategy": {"rollingUpdate": {"maxSurge": "x"}}}),
                Some("spec.strategy.rollingUpdate.maxSurge: Invalid value: \"x\": a valid percent string"),
            ),
            (
                json!({"minReadySeconds": 700}),
                Some("spec.progressDeadlineSeconds: Invalid value: 600: must be greater than minReadySeconds"),
            ),
        ] {
            let found: Vec<String> = KIND.validate_create(&deployment(change.clone())).iter().map(ToString::to_string).collect();
            assert_eq!(found.len(), usize::from(expected.is_some()), "{change}: {found:?}");
            assert!(expected.is_none_or(|e| found[0].starts_with(e)), "{found:?}");
        }
    }

    #[test]
    fn without_a_spec_all_that_is_missing_is_told() {
        let object = KIND.decode(json!({"metadata": {"name": "a", "namespace": "d"}})).unwrap().object;
        let found: Vec<String> = KIND.validate_create(&object).iter().map(ToString::to_string).collect();
        assert_eq!(
            found,
            [
                "spec.selector: Required value",
                "spec.template.metadata.labels: Invalid value: map[string]string(nil): `selector` does not match template `labels`",
                "spec.template.spec.containers: Required value",
            ]
        );
    }

    #[test]
    fn the_selector_never_changes() {
        let changed = deployment(json!({"selector": {"matchExpressions": [{"key": "app", "operator": "Exists"}]}}));
        let found = KIND.validate_update(&changed, &deployment(json!({})), None);
        assert!(found[0].to_string().starts_with("spec.selector: Invalid value: ") && found[0].detail == "field is immutable");
        assert!(KIND.validate_update(&deployment(json!({"replicas": 9})), &deployment(json!({})), None).is_empty());
    }

    #[test]
    fn a_status_counts_right() {
        let with = |status: Value| {
            let mut object = deployment(json!({}));
            object["status"] = status;
            object
        };
        let found = KIND.validate_update(&with(json!({"replicas": 1, "readyReplicas": 2})), &with(json!({})), Some("status"));
        assert_eq!(found[0].to_string(), "status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas");
    }
}

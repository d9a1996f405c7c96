//! Defaults of deployments.

use crate::kinds::workload;
use k8s_openapi::api::apps::v1::DeploymentSpec;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

pub fn spec(spec: &mut DeploymentSpec) {
    spec.replicas.get_or_insert(1);
    spec.revision_history_limit.get_or_insert(10);
    spec.progress_deadline_seconds.get_or_insert(600);
    let strategy = spec.strategy.get_or_insert_default();
    if strategy.type_.as_ref().is_none_or(String::is_empty) {
        strategy.type_ = Some("RollingUpdate".to_owned());
    }
    if strategy.type_.as_deref() == Some("RollingUpdate") {
        let rolling = strategy.rolling_update.get_or_insert_default();
        let quarter = || IntOrString::String("25%".to_owned());
        rolling.max_unavailable.get_or_insert_with(quarter);
        rolling.max_surge.get_or_insert_with(quarter);
    }
    workload::default_template(&mut spec.template);
}

#[cfg(test)]
mod tests {
    use super::super::Deployment;
    use crate::contract::Resource;
    use crate::typed::Typed;
    use serde_json::json;

    #[test]
    fn the_smallest_deployment_gets_all_its_defaults() {
        let kind = Typed::<Deployment>::NEW;
        let spec = kind.decode(json!({"spec": {"template": {"spec": {"containers": [{"name": "a"}]}}}})).unwrap().object["spec"].clone();
        assert_eq!(
            (&spec["replicas"], &spec["revisionHistoryLimit"], &spec["progressDeadlineSeconds"]),
            (&json!(1), &json!(10), &json!(600))
        );
        assert_eq!(spec["strategy"], json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}}));
        assert_eq!(spec["selector"], json!({}));
        let template = &spec["template"]["spec"];
        assert_eq!((&template["restartPolicy"], template.get("enableServiceLinks")), (&json!("Always"), None));
        let recreate = kind.decode(json!({"spec": {"replicas": 0, "strategy": {"type": "Recreate"}}})).unwrap().object["spec"].clone();
        assert_eq!((&recreate["replicas"], &recreate["strategy"]), (&json!(0), &json!({"type": "Recreate"})));
    }
}

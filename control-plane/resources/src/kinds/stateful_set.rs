//! StatefulSet: pods with a name and storage of their own, made in order.

use super::workload;
use crate::contract::{Column, Descriptor, Subresource};
use crate::field::{Errors, Path};
use crate::names;
use crate::table::{self, text, wide};
use crate::typed::{Kind, namespaced, or_empty};
use k8s_openapi::api::apps::v1;
use k8s_openapi::api::core::v1::{PersistentVolumeClaimVolumeSource, PodTemplateSpec, Volume};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::Value;
use std::borrow::Cow;

pub struct StatefulSet;

const FIXED: &str = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', \
'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";

impl Kind for StatefulSet {
    type Object = v1::StatefulSet;

    const DESCRIPTOR: Descriptor = Descriptor {
        short_names: &["sts"],
        categories: &["all"],
        subresources: &["scale", "status"],
        has_generation: true,
        ..namespaced::<v1::StatefulSet>("statefulsets", "statefulset")
    };
    const COLUMNS: &'static [Column] = &[
        table::NAME,
        text("Ready", "Number of the pod with ready state"),
        table::AGE,
        wide("Containers", "Names of each container in the template."),
        wide("Images", "Images referenced by each container in the template."),
    ];

    fn new_status() -> Value {
        serde_json::json!({"replicas": 0, "availableReplicas": 0})
    }

    fn default(object: &mut v1::StatefulSet) {
        let spec = object.spec.get_or_insert_default();
        spec.replicas.get_or_insert(1);
        spec.revision_history_limit.get_or_insert(10);
        spec.pod_management_policy.get_or_insert_with(|| "OrderedReady".to_owned());
        let strategy = spec.update_strategy.get_or_insert_default();
        if strategy.type_.get_or_insert_with(|| "RollingUpdate".to_owned()) == "RollingUpdate" {
            strategy.rolling_update.get_or_insert_default().partition.get_or_insert(0);
        }
        let retention = spec.persistent_volume_claim_retention_policy.get_or_insert_default();
        for policy in [&mut retention.when_deleted, &mut retention.when_scaled] {
            policy.get_or_insert_with(|| "Retain".to_owned());
        }
        for claim in spec.volume_claim_templates.iter_mut().flatten() {
            if let Some(spec) = &mut claim.spec {
                spec.volume_mode.get_or_insert_with(|| "Filesystem".to_owned());
            }
            claim.status.get_or_insert_default().phase.get_or_insert_with(|| "Pending".to_owned());
        }
        workload::default_template(&mut spec.template);
    }

    fn validate(object: &v1::StatefulSet, errors: &mut Errors) {
        let at = Path::Root.field("spec");
        let spec = &*or_empty(&object.spec);
        workload::counts(&at, &[("replicas", spec.replicas), ("minReadySeconds", spec.min_ready_seconds)], errors);
        let policies = &["OrderedReady", "Parallel"];
        errors.one_of(&at.field("podManagementPolicy"), spec.pod_management_policy.as_deref(), policies);
        let strategy = or_empty(&spec.update_strategy);
        let at_strategy = at.field("updateStrategy");
        errors.one_of(&at_strategy.field("type"), strategy.type_.as_deref(), &["OnDelete", "RollingUpdate"]);
        if let Some(rolling) = &strategy.rolling_update {
            let at = at_strategy.field("rollingUpdate");
            if strategy.type_.as_deref() == Some("OnDelete") {
                errors.invalid(&at, "", "only allowed for updateStrategy 'RollingUpdate'");
            }
            errors.non_negative(&at.field("partition"), rolling.partition.unwrap_or_default());
            if rolling.max_unavailable == Some(IntOrString::Int(0)) {
                errors.invalid(&at.field("maxUnavailable"), 0, "cannot be 0");
            }
        }
        if let Some(name) = spec.service_name.as_deref().filter(|n| !n.is_empty()) {
            errors.format(&at.field("serviceName"), name, names::subdomain(name));
        }
        workload::selects_template("statefulset", &spec.selector, &spec.template, &at, errors);
        workload::long_running("StatefulSet", &with_claims(spec), &at.field("template"), errors);
    }

    fn validate_update(new: &v1::StatefulSet, old: &v1::StatefulSet, subresource: Subresource<'_>, errors: &mut Errors) {
        if subresource == Some("status") {
            return;
        }
        Self::validate(new, errors);
        let (Some(new), Some(old)) = (&new.spec, &old.spec) else { return };
        let allowed = v1::StatefulSetSpec {
            replicas: new.replicas,
            ordinals: new.ordinals.clone(),
            template: new.template.clone(),
            update_strategy: new.update_strategy.clone(),
            revision_history_limit: new.revision_history_limit,
            persistent_volume_claim_retention_policy: new.persistent_volume_claim_retention_policy.clone(),
            min_ready_seconds: new.min_ready_seconds,
            ..old.clone()
        };
        if allowed != *new {
            errors.forbidden(&Path::Root.field("spec"), FIXED);
        }
    }

    fn warnings(object: &v1::StatefulSet) -> Vec<String> {
        workload::template_warnings(object.spec.as_ref().map(|s| &s.template))
    }

    fn cells(object: &v1::StatefulSet, now: i64) -> Vec<Value> {
        let spec = or_empty(&object.spec);
        let ready = object.status.as_ref().and_then(|s| s.ready_replicas).unwrap_or_default();
        let [containers, images] = workload::containers_and_images(spec.template.spec.as_ref());
        vec![
            table::name(&object.metadata),
            format!("{ready}/{}", spec.replicas.unwrap_or_default()).into(),
            table::age(&object.metadata, now),
            containers,
            images,
        ]
    }
}

/// The template as its pods get it: each claim of `volumeClaimTemplates` is a volume of its name, which containers may mount.
fn with_claims(spec: &v1::StatefulSetSpec) -> Cow<'_, PodTemplateSpec> {
    let claims: Vec<&str> = spec.volume_claim_templates.iter().flatten().filter_map(|claim| claim.metadata.name.as_deref()).collect();
    let mut template = Cow::Borrowed(&spec.template);
    if claims.is_empty() || template.spec.is_none() {
        return template;
    }
    let volumes = template.to_mut().spec.get_or_insert_default().volumes.get_or_insert_default();
    for name in claims {
        if volumes.iter().all(|volume| volume.name != name) {
            let source = PersistentVolumeClaimVolumeSource { claim_name: name.to_owned(), read_only: None };
            volumes.push(Volume { name: name.to_owned(), persistent_volume_claim: Some(source), ..Volume::default() });
        }
    }
    template
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Resource;
    use crate::typed::Typed;
    use serde_json::json;

    #[test]
    fn defaults_and_what_may_change() {
        let kind = Typed::<StatefulSet>::NEW;
        let body = |service: &str, replicas| {
            json!({"metadata": {"name": "a", "namespace": "d"}, "spec": {"serviceName": service, "replicas": replicas,
            "selector": {"matchLabels": {"app": "a"}},
            "template": {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "a", "image": "x"}]}}}})
        };
        let old = kind.decode(body("s", 1)).unwrap().object;
        assert_eq!(old["spec"]["updateStrategy"], json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}));
        assert_eq!((&old["spec"]["podManagementPolicy"], &old["spec"]["revisionHistoryLimit"]), (&json!("OrderedReady"), &json!(10)));
        assert!(kind.validate_create(&old).is_empty());
        assert!(kind.validate_update(&kind.decode(body("s", 3)).unwrap().object, &old, None).is_empty());
        let found = kind.validate_update(&kind.decode(body("t", 1)).unwrap().object, &old, None);
        assert!(found[0].to_string().starts_with("spec: Forbidden: updates to statefulset spec for fields other than 'replicas'"));
        assert_eq!(kind.cells(&old, 0)[1], "0/1");
    }

    #[test]
    fn containers_may_mount_the_claims_of_their_set() {
        let kind = Typed::<StatefulSet>::NEW;
        let set = |claim: &str| {
            let body = json!({"metadata": {"name": "a", "namespace": "d"}, "spec": {"serviceName": "s",
            "selector": {"matchLabels": {"app": "a"}},
            "template": {"metadata": {"labels": {"app": "a"}}, "spec": {"containers":
                [{"name": "a", "image": "x", "volumeMounts": [{"name": "data", "mountPath": "/data"}]}]}},
            "volumeClaimTemplates": [{"metadata": {"name": claim}, "spec": {"accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": "1Gi"}}}}]}});
            kind.validate_create(&kind.decode(body).unwrap().object)
        };
        assert_eq!(set("data"), []);
        assert_eq!(set("other")[0].to_string(), "spec.template.spec.containers[0].volumeMounts[0].name: Not found: \"data\"");
    }
}

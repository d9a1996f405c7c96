//! All kinds, one line each. The order is the order of discovery.

use crate::contract::Resource;
use crate::kinds::{
    binding::Binding,
    config_map::ConfigMap,
    controller_revision::ControllerRevision,
    cron_job::CronJob,
    daemon_set::DaemonSet,
    deployment::Deployment,
    endpoint_slice::EndpointSlice,
    endpoints::Endpoints,
    event::{Event, EventsEvent},
    horizontal_pod_autoscaler::HorizontalPodAutoscaler,
    ingress::Ingress,
    ingress_class::IngressClass,
    job::Job,
    lease::Lease,
    limit_range::LimitRange,
    namespace::Namespace,
    network_policy::NetworkPolicy,
    node::Node,
    persistent_volume::PersistentVolume,
    persistent_volume_claim::PersistentVolumeClaim,
    pod::Pod,
    pod_disruption_budget::PodDisruptionBudget,
    pod_template::PodTemplate,
    priority_class::PriorityClass,
    rbac::{ClusterRole, ClusterRoleBinding, Role, RoleBinding},
    replica_set::ReplicaSet,
    replication_controller::ReplicationController,
    resource_quota::ResourceQuota,
    review::{
        LocalSubjectAccessReview, SelfSubjectAccessReview, SelfSubjectReview, SelfSubjectRulesReview, SubjectAccessReview, TokenReview,
    },
    runtime_class::RuntimeClass,
    secret::Secret,
    service::Service,
    service_account::ServiceAccount,
    stateful_set::StatefulSet,
    storage_class::StorageClass,
};
use crate::typed::Typed;

static KINDS: &[&dyn Resource] = &[
    &Typed::<Binding>::NEW,
    &Typed::<ConfigMap>::NEW,
    &Typed::<Endpoints>::NEW,
    &Typed::<Event>::NEW,
    &Typed::<LimitRange>::NEW,
    &Typed::<Namespace>::NEW,
    &Typed::<Node>::NEW,
    &Typed::<PersistentVolumeClaim>::NEW,
    &Typed::<PersistentVolume>::NEW,
    &Typed::<Pod>::NEW,
    &Typed::<PodTemplate>::NEW,
    &Typed::<ReplicationController>::NEW,
    &Typed::<ResourceQuota>::NEW,
    &Typed::<Secret>::NEW,
    &Typed::<ServiceAccount>::NEW,
    &Typed::<Service>::NEW,
    &Typed::<ControllerRevision>::NEW,
    &Typed::<DaemonSet>::NEW,
    &Typed::<Deployment>::NEW,
    &Typed::<ReplicaSet>::NEW,
    &Typed::<StatefulSet>::NEW,
    &Typed::<TokenReview>::NEW,
    &Typed::<SelfSubjectReview>::NEW,
    &Typed::<LocalSubjectAccessReview>::NEW,
    &Typed::<SelfSubjectAccessReview>::NEW,
    &Typed::<SelfSubjectRulesReview>::NEW,
    &Typed::<SubjectAccessReview>::NEW,
    &Typed::<HorizontalPodAutoscaler>::NEW,
    &Typed::<CronJob>::NEW,
    &Typed::<Job>::NEW,
    &Typed::<Lease>::NEW,
    &Typed::<EndpointSlice>::NEW,
    &Typed::<EventsEvent>::NEW,
    &Typed::<IngressClass>::NEW,
    &Typed::<Ingress>::NEW,
    &Typed::<NetworkPolicy>::NEW,
    &Typed::<RuntimeClass>::NEW,
    &Typed::<PodDisruptionBudget>::NEW,
    &Typed::<ClusterRoleBinding>::NEW,
    &Typed::<ClusterRole>::NEW,
    &Typed::<RoleBinding>::NEW,
    &Typed::<Role>::NEW,
    &Typed::<PriorityClass>::NEW,
    &Typed::<StorageClass>::NEW,
];

/// Every kind that the server knows by itself, in the order of discovery.
pub fn registry() -> &'static [&'static dyn Resource] {
    KINDS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Scope;
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};
    use std::collections::HashSet;

    #[test]
    fn names_are_unique_and_short_names_too() {
        let mut seen = HashSet::new();
        let mut short = HashSet::new();
        for kind in registry() {
            let d = kind.descriptor();
            assert!(seen.insert((d.group, d.plural)), "{} twice", d.plural);
            assert_eq!(d.singular, d.kind.to_ascii_lowercase());
            for name in d.short_names {
                assert!(short.insert(*name) || *name == "ev", "{name} twice");
            }
        }
    }

    #[test]
    fn every_row_has_a_cell_for_every_column() {
        for kind in registry() {
            for object in [
                json!({"metadata": {"name": "a"}}),
                json!({"metadata": {"name": "a"}, "spec": {}, "status": {}}),
                json!([]),
                json!({"spec": 1}),
            ] {
                assert_eq!(kind.cells(&object, 0).len(), kind.columns().len(), "{}", kind.descriptor().kind);
            }
        }
    }

    #[test]
    fn every_kind_refuses_another_kinds_body_and_notes_unknown_fields() {
        for kind in registry() {
            assert!(kind.decode(json!({"kind": "Other"})).is_err());
            assert!(kind.decode(json!({"apiVersion": "other/v1"})).is_err());
            assert_eq!(kind.decode(json!({"nope": 1})).unwrap().unknown, ["nope"]);
            assert!(kind.decode(json!("text")).is_err());
        }
    }

    #[test]
    fn stored_kinds_of_a_scope_want_its_namespace() {
        for kind in registry().iter().filter(|k| k.descriptor().verbs.contains(&"get")) {
            let found = kind.validate_create(&json!({"metadata": {"name": "a"}}));
            let wants = found.iter().any(|e| e.field == "metadata.namespace");
            assert_eq!(wants, kind.descriptor().scope == Scope::Namespaced, "{}", kind.descriptor().kind);
        }
    }

    /// Field names of the API, so that mutations reach deep, with values of all types.
    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (-5_i64..70_000).prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            prop::sample::select(vec![
                "",
                "a",
                "A b",
                "1Gi",
                "-5m",
                "50%",
                "10.0.0.1",
                "2024-01-02T03:04:05Z",
                "None",
                "Always",
                "../x",
                "eA==",
                "é"
            ])
            .prop_map(Value::from),
        ];
        leaf.prop_recursive(6, 60, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::vec((prop::sample::select(FIELDS), inner), 0..6)
                    .prop_map(|fields| Value::Object(fields.into_iter().map(|(k, v)| (k.to_owned(), v)).collect::<Map<_, _>>())),
            ]
        })
    }

    const FIELDS: &[&str] = &[
        "metadata",
        "spec",
        "status",
        "name",
        "namespace",
        "labels",
        "annotations",
        "finalizers",
        "ownerReferences",
        "containers",
        "initContainers",
        "volumes",
        "volumeMounts",
        "ports",
        "port",
        "targetPort",
        "protocol",
        "env",
        "valueFrom",
        "resources",
        "limits",
        "requests",
        "cpu",
        "memory",
        "selector",
        "matchLabels",
        "matchExpressions",
        "template",
        "strategy",
        "rollingUpdate",
        "type",
        "replicas",
        "image",
        "data",
        "stringData",
        "subsets",
        "addresses",
        "endpoints",
        "rules",
        "subjects",
        "roleRef",
        "jobTemplate",
        "tolerations",
        "affinity",
        "livenessProbe",
        "httpGet",
        "ingress",
        "egress",
        "from",
        "to",
        "ipBlock",
        "cidr",
        "clusterIP",
        "conditions",
        "creationTimestamp",
        "eventTime",
        "series",
        "involvedObject",
        "taints",
        "capacity",
        "minAvailable",
        "x",
    ];

    /// An object whose top-level parts are likely to have the right form.
    fn any_object() -> impl Strategy<Value = Value> {
        let fields = prop::collection::vec((prop::sample::select(FIELDS), any_value()), 0..8);
        (fields, any_value(), any_value()).prop_map(|(fields, metadata, spec)| {
            let mut map: Map<String, Value> = fields.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
            map.insert("metadata".to_owned(), metadata);
            map.insert("spec".to_owned(), spec);
            Value::Object(map)
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        #[test]
        fn no_json_makes_any_kind_panic(body in prop_oneof![any_object(), any_value()], other in any_object()) {
            for kind in registry() {
                let (mut new, mut created) = (body.clone(), body.clone());
                kind.prepare_create(&mut created);
                for subresource in [None, Some("status"), Some("scale"), Some("finalize"), Some("binding")] {
                    kind.prepare_update(&mut new, &other, subresource);
                    kind.validate_update(&new, &other, subresource);
                }
                for object in [&body, &created, &new] {
                    kind.validate_create(object);
                    kind.cells(object, i64::MIN);
                    kind.selectable_fields(object);
                    kind.warnings(object);
                    kind.from_stored(kind.to_stored(object.clone()));
                }
            }
        }

        #[test]
        fn decoding_what_was_decoded_changes_nothing(body in any_object()) {
            for kind in registry() {
                if let Ok(once) = kind.decode(body.clone()) {
                    let twice = kind.decode(once.object.clone());
                    prop_assert!(twice.is_ok(), "{}: {:?}", kind.descriptor().kind, twice);
                    let twice = twice.unwrap();
                    prop_assert_eq!(&twice.object, &once.object);
                    prop_assert!(twice.unknown.is_empty());
                    kind.validate_create(&once.object);
                }
            }
        }
    }
}

//! What holds for every kind of the registry and any object: it comes back from the protobuf form as it went in, and what is written is what
//! `k8s-pb` (structures that others made from Kubernetes' own protos) reads.

use super::*;
use k8s_pb::api;
use k8s_pb::apimachinery::pkg::runtime::Unknown;
use orknet_resources::{Resource, openapi};
use prost::Message as _;
use serde_json::json;

/// Kinds that are Kubernetes' own.
fn kinds() -> impl Iterator<Item = &'static dyn Resource> {
    orknet_resources::registry().iter().copied().filter(|kind| is_known(&kind.descriptor().api_version(), kind.descriptor().kind))
}

/// Numbers that look random and are always the same.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize]
    }
}

/// An object that a schema allows: with every field, or with some of them.
struct Sampler<'a> {
    definitions: &'a Value,
    dice: Dice,
    whole: bool,
}

impl Sampler<'_> {
    fn value(&mut self, name: &str, schema: &Value, depth: usize) -> Value {
        if let Some(target) = reference(schema) {
            let name = target.rsplit('/').next().unwrap_or_default().to_owned();
            let definitions = self.definitions;
            return self.value(&name, &definitions[&name[..]], depth);
        }
        match name.rsplit('.').next().unwrap_or_default() {
            "Quantity" => return self.dice.of(&["100m", "1Gi", "0", "5"]).into(),
            "IntOrString" => return if self.dice.below(2) == 0 { json!(self.dice.of(&[0, 80])) } else { "25%".into() },
            "Time" => return "2024-01-02T03:04:05Z".into(),
            "MicroTime" => return "2024-01-02T03:04:05.000006Z".into(),
            "FieldsV1" => return json!({ "f:metadata": { "f:name": {} } }),
            "RawExtension" => return json!({ "a": { "b": [1, "x", null] } }),
            _ => {}
        }
        let kind = schema["type"].as_str().or_else(|| schema["type"][0].as_str()).unwrap_or_default();
        match (kind, schema["format"].as_str()) {
            ("string", Some("byte")) => self.dice.of(&["AP8=", "eA=="]).into(),
            ("string", Some("date-time")) => "2024-01-02T03:04:05Z".into(),
            ("string", _) => self.dice.of(&["a", "Some text", "é", ""]).into(),
            ("integer", _) => self.dice.of(&[0, 1, 300, -1, 2_000_000_000]).into(),
            ("number", _) => self.dice.of(&[0.0, 1.5]).into(),
            ("boolean", _) => (self.dice.below(2) == 0).into(),
            ("array", _) => {
                let count = 1 + self.dice.below(2);
                (0..count).map(|_| self.value("", &schema["items"], depth + 1)).collect()
            }
            ("object", _) if schema["additionalProperties"].is_object() => {
                json!({ "b/key": self.value("", &schema["additionalProperties"], depth + 1), "a": self.value("", &schema["additionalProperties"], depth + 1) })
            }
            _ => {
                let mut object = Map::new();
                for (field, schema) in schema["properties"].as_object().into_iter().flatten() {
                    // Schemas of custom resources hold themselves.
                    let deep = depth > 12 && reference(schema).is_some_and(|target| target.ends_with("JSONSchemaProps"));
                    if !matches!(&field[..], "apiVersion" | "kind") && !deep && (self.whole || self.dice.below(3) > 0) {
                        object.insert(field.clone(), self.value("", schema, depth + 1));
                    }
                }
                object.into()
            }
        }
    }
}

fn reference(schema: &Value) -> Option<&str> {
    schema["$ref"].as_str().or_else(|| schema["allOf"][0]["$ref"].as_str())
}

/// Some object of a kind as it would be kept; `None` when the kind does not take it.
fn sample(kind: &dyn Resource, definitions: &Value, seed: u64, whole: bool) -> Option<Value> {
    let names = kind.descriptor();
    let is_its = |schema: &Value| {
        schema["x-kubernetes-group-version-kind"].as_array().into_iter().flatten().any(|gvk| {
            (gvk["group"].as_str(), gvk["version"].as_str(), gvk["kind"].as_str())
                == (Some(names.group), Some(names.version), Some(names.kind))
        })
    };
    let (name, schema) = definitions.as_object()?.iter().find(|(_, schema)| is_its(schema))?;
    let mut sampler = Sampler { definitions, dice: Dice(seed), whole };
    let mut object = sampler.value(name, schema, 0);
    object["apiVersion"] = names.api_version().into();
    object["kind"] = names.kind.into();
    Some(kind.decode(object).ok()?.object)
}

/// What is in `written` and not in `read`, but for zeros, which need not be told, and what is in `read` alone, but for the zeros that always are.
fn difference(path: &str, written: &Value, read: &Value) -> Option<String> {
    match (written, read) {
        (Value::Object(written), Value::Object(read)) => {
            let all: std::collections::BTreeSet<_> = written.keys().chain(read.keys()).collect();
            all.into_iter().find_map(|key| {
                let path = format!("{path}.{key}");
                match (written.get(key), read.get(key)) {
                    // An object in an object has no type there.
                    (Some(_), None) if path.contains(".volumeClaimTemplates[") && matches!(&key[..], "apiVersion" | "kind") => None,
                    (Some(written), Some(read)) => difference(&path, written, read),
                    (Some(Value::Object(_)), None) => Some(format!("{path} is lost")),
                    (Some(written), None) => (!is_zero(written)).then(|| format!("{path} is lost: {written}")),
                    (None, Some(read)) => (!is_zero(read)).then(|| format!("{path} came from nowhere: {read}")),
                    (None, None) => None,
                }
            })
        }
        (Value::Array(written), Value::Array(read)) if written.len() == read.len() => (written.iter().zip(read).enumerate())
            .find_map(|(index, (written, read))| difference(&format!("{path}[{index}]"), written, read)),
        _ => (written != read).then(|| format!("{path}: {written} became {read}")),
    }
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty() || text == "0",
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.values().all(is_zero),
    }
}

#[test]
fn every_object_of_every_kind_comes_back_as_it_was() {
    let mut samples = 0;
    for kind in kinds() {
        let definitions = openapi::definitions_of(kind);
        for seed in 0..12 {
            let Some(object) = sample(kind, &definitions, seed, seed == 0) else { continue };
            let read = from_protobuf(&to_protobuf(&object).expect("has the form")).expect("reads");
            assert_eq!(difference(kind.descriptor().kind, &object, &read), None, "{object}");
            assert_eq!(to_protobuf(&read), to_protobuf(&object), "{}", kind.descriptor().kind);
            samples += 1;
        }
    }
    assert!(samples > kinds().count() * 8, "only {samples} samples were objects");
}

#[test]
fn others_read_of_every_kind_what_is_written() {
    let mut compared = 0;
    for kind in kinds() {
        let definitions = openapi::definitions_of(kind);
        for seed in 0..4 {
            let Some(object) = sample(kind, &definitions, seed, seed == 0) else { continue };
            let bytes = to_protobuf(&object).expect("has the form");
            let unknown = Unknown::decode(&bytes[MAGIC.len()..]).expect("an envelope");
            let type_meta = unknown.type_meta.clone().expect("a type");
            let names = kind.descriptor();
            assert_eq!((type_meta.api_version(), type_meta.kind()), (&names.api_version()[..], names.kind));
            let Some(again) = reencoded(names.group, names.version, names.kind, unknown.raw()) else { panic!("{}", names.kind) };
            // What has another number or type there is refused or lost by now.
            let bytes = enveloped(&names.api_version(), names.kind, &again);
            assert_eq!(from_protobuf(&bytes), from_protobuf(&to_protobuf(&object).expect("written")), "{}", names.kind);
            compared += 1;
        }
    }
    assert!(compared > kinds().count() * 2);
}

/// A message as the other structures read and write it.
fn reencoded(group: &str, version: &str, kind: &str, raw: &[u8]) -> Option<Vec<u8>> {
    macro_rules! through {
        ($($group:literal $module:path: $($kind:ident)*;)*) => {
            match (group, version, kind) {
                $($(($group, _, stringify!($kind)) if stringify!($module).ends_with(version) => {
                    use $module as types;
                    Some(types::$kind::decode(raw).expect(kind).encode_to_vec())
                })*)*
                _ => None,
            }
        };
    }
    through! {
        "" api::core::v1: Binding ConfigMap Endpoints Event LimitRange Namespace Node PersistentVolume PersistentVolumeClaim Pod PodTemplate
            ReplicationController ResourceQuota Secret Service ServiceAccount ComponentStatus;
        "apps" api::apps::v1: ControllerRevision DaemonSet Deployment ReplicaSet StatefulSet;
        "admissionregistration.k8s.io" api::admissionregistration::v1: MutatingWebhookConfiguration ValidatingWebhookConfiguration
            ValidatingAdmissionPolicy ValidatingAdmissionPolicyBinding;
        "apiextensions.k8s.io" k8s_pb::apiextensions_apiserver::pkg::apis::apiextensions::v1: CustomResourceDefinition;
        "apiregistration.k8s.io" k8s_pb::kube_aggregator::pkg::apis::apiregistration::v1: APIService;
        "authentication.k8s.io" api::authentication::v1: TokenReview SelfSubjectReview TokenRequest;
        "authorization.k8s.io" api::authorization::v1: LocalSubjectAccessReview SelfSubjectAccessReview SelfSubjectRulesReview SubjectAccessReview;
        "autoscaling" api::autoscaling::v1: Scale HorizontalPodAutoscaler;
        "autoscaling" api::autoscaling::v2: HorizontalPodAutoscaler;
        "batch" api::batch::v1: CronJob Job;
        "certificates.k8s.io" api::certificates::v1: CertificateSigningRequest;
        "coordination.k8s.io" api::coordination::v1: Lease;
        "discovery.k8s.io" api::discovery::v1: EndpointSlice;
        "events.k8s.io" api::events::v1: Event;
        "flowcontrol.apiserver.k8s.io" api::flowcontrol::v1: FlowSchema PriorityLevelConfiguration;
        "networking.k8s.io" api::networking::v1: Ingress IngressClass NetworkPolicy IPAddress ServiceCIDR;
        "node.k8s.io" api::node::v1: RuntimeClass;
        "policy" api::policy::v1: Eviction PodDisruptionBudget;
        "rbac.authorization.k8s.io" api::rbac::v1: ClusterRole ClusterRoleBinding Role RoleBinding;
        "scheduling.k8s.io" api::scheduling::v1: PriorityClass;
        "storage.k8s.io" api::storage::v1: CSIDriver CSINode CSIStorageCapacity StorageClass VolumeAttachment;
    }
}

#[test]
fn a_zero_that_was_said_is_told() {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "a", "deletionGracePeriodSeconds": 0 },
        "spec": { "containers": [{ "name": "c", "env": [{ "name": "e", "valueFrom": { "configMapKeyRef": { "name": "m", "key": "k", "optional": false } } }] }],
            "volumes": [{ "name": "v", "emptyDir": {} }], "automountServiceAccountToken": false, "terminationGracePeriodSeconds": 0,
            "securityContext": { "runAsUser": 0 }, "hostUsers": false },
        "status": { "containerStatuses": [{ "name": "c", "ready": false, "restartCount": 0, "image": "", "imageID": "", "started": false }] },
    });
    let read = from_protobuf(&to_protobuf(&pod).expect("has the form")).expect("reads");
    for pointer in [
        "/metadata/deletionGracePeriodSeconds",
        "/spec/automountServiceAccountToken",
        "/spec/terminationGracePeriodSeconds",
        "/spec/hostUsers",
        "/spec/securityContext/runAsUser",
        "/spec/volumes/0/emptyDir",
        "/spec/containers/0/env/0/valueFrom/configMapKeyRef/optional",
        "/status/containerStatuses/0/started",
        "/status/containerStatuses/0/restartCount",
    ] {
        assert!(pod.pointer(pointer).is_some());
        assert_eq!(read.pointer(pointer), pod.pointer(pointer), "{pointer}");
    }
}

#[test]
fn what_is_no_pointer_is_written_even_when_it_is_zero() {
    let bytes = to_protobuf(&json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "a" } })).expect("has the form");
    let pod = api::core::v1::Pod::decode(Unknown::decode(&bytes[MAGIC.len()..]).expect("an envelope").raw()).expect("a pod");
    let (meta, spec) = (pod.metadata.expect("metadata"), pod.spec.expect("a spec"));
    assert_eq!((meta.namespace.as_deref(), meta.generation, meta.creation_timestamp.is_some()), (Some(""), Some(0), true));
    assert_eq!((meta.deletion_timestamp, meta.deletion_grace_period_seconds), (None, None));
    assert_eq!((spec.host_network, spec.node_name.as_deref(), spec.termination_grace_period_seconds), (Some(false), Some(""), None));
    assert!(pod.status.is_some() && spec.security_context.is_none());
}

#[test]
fn times_before_1970_and_parts_of_seconds_are_told() {
    for time in ["1969-12-31T23:59:58.500000Z", "2024-01-02T03:04:05.000006Z"] {
        let lease = json!({ "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": { "creationTimestamp": "1901-01-01T00:00:00Z" }, "spec": { "renewTime": time } });
        let read = from_protobuf(&to_protobuf(&lease).expect("has the form")).expect("reads");
        assert_eq!(
            (&read["spec"]["renewTime"], &read["metadata"]["creationTimestamp"]),
            (&lease["spec"]["renewTime"], &lease["metadata"]["creationTimestamp"])
        );
    }
}

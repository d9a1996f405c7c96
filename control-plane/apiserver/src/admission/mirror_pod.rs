//! Mirror pods show what a node runs of its own accord: they may refer to no other object, for the node could read it then. Pure.

use crate::object;
use serde_json::Value;

/// What a pod may refer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reference {
    ServiceAccount,
    Secret,
    ConfigMap,
    PersistentVolumeClaim,
    ClusterTrustBundle,
    ServiceAccountToken,
}

/// Whether the pod is the mirror of a static one.
pub fn is_mirror(pod: &Value) -> bool {
    pod.pointer("/metadata/annotations/kubernetes.io~1config.mirror").is_some()
}

/// Whether the pod's spec refers to such an object, in a volume, an environment or for pulling images.
pub fn refers_to(pod: &Value, what: Reference) -> bool {
    let fields: &[&str] = match what {
        Reference::ServiceAccount => {
            return ["/spec/serviceAccountName", "/spec/serviceAccount"].iter().any(|field| !object::text(pod, field).is_empty());
        }
        // Those of every kind of volume among them.
        Reference::Secret => &["secret", "secretKeyRef", "secretRef", "nodePublishSecretRef", "azureFile", "imagePullSecrets"],
        Reference::ConfigMap => &["configMap", "configMapKeyRef", "configMapRef"],
        Reference::PersistentVolumeClaim => &["persistentVolumeClaim"],
        Reference::ClusterTrustBundle => &["clusterTrustBundle"],
        Reference::ServiceAccountToken => &["serviceAccountToken"],
    };
    pod.get("spec").is_some_and(|spec| has_field(spec, fields))
}

/// Whether one of the fields is anywhere inside, as an object or a list that is not empty: values that users name freely are texts.
fn has_field(value: &Value, fields: &[&str]) -> bool {
    match value {
        Value::Object(map) => map.iter().any(|(key, value)| {
            let is_reference = value.is_object() || value.as_array().is_some_and(|list| !list.is_empty());
            (is_reference && fields.contains(&&key[..])) || has_field(value, fields)
        }),
        Value::Array(list) => list.iter().any(|item| has_field(item, fields)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn references_are_found_wherever_they_are() {
        let container = |part: Value| json!({ "spec": { "nodeSelector": { "secret": "x" }, "initContainers": [part] } });
        let volume = |part: Value| json!({ "spec": { "volumes": [{ "name": "configMap" }, part] } });
        let projected = |part: Value| volume(json!({ "projected": { "sources": [part] } }));
        let all = [
            Reference::ServiceAccount,
            Reference::Secret,
            Reference::ConfigMap,
            Reference::PersistentVolumeClaim,
            Reference::ClusterTrustBundle,
            Reference::ServiceAccountToken,
        ];
        for (pod, expected) in [
            (json!({ "spec": { "serviceAccountName": "a" } }), Some(Reference::ServiceAccount)),
            (volume(json!({ "secret": { "secretName": "s" } })), Some(Reference::Secret)),
            (volume(json!({ "csi": { "nodePublishSecretRef": { "name": "s" } } })), Some(Reference::Secret)),
            (container(json!({ "env": [{ "valueFrom": { "secretKeyRef": { "name": "s" } } }] })), Some(Reference::Secret)),
            (json!({ "spec": { "imagePullSecrets": [{ "name": "s" }] } }), Some(Reference::Secret)),
            (container(json!({ "envFrom": [{ "configMapRef": { "name": "c" } }] })), Some(Reference::ConfigMap)),
            (projected(json!({ "configMap": { "name": "c" } })), Some(Reference::ConfigMap)),
            (volume(json!({ "persistentVolumeClaim": { "claimName": "c" } })), Some(Reference::PersistentVolumeClaim)),
            (projected(json!({ "clusterTrustBundle": { "name": "b" } })), Some(Reference::ClusterTrustBundle)),
            (projected(json!({ "serviceAccountToken": { "path": "t" } })), Some(Reference::ServiceAccountToken)),
            (container(json!({ "env": [{ "name": "secretRef", "value": "x" }] })), None),
            (volume(json!({ "emptyDir": {} })), None),
        ] {
            let found: Vec<Reference> = all.into_iter().filter(|what| refers_to(&pod, *what)).collect();
            assert_eq!(found, Vec::from_iter(expected), "{pod}");
        }
    }
}

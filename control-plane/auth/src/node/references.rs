//! Which objects a pod or a PersistentVolume refers to, as their JSON tells (Kubernetes' visitors of pods' and volumes' Secrets and ConfigMaps). Pure.

use super::graph::{Bound, Volume};
use serde_json::Value;

/// What a pod refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Secret,
    ConfigMap,
    ServiceAccount,
    /// A PersistentVolumeClaim.
    Claim,
}

impl Kind {
    /// How many there are.
    pub const COUNT: usize = 4;
}

/// One object that a pod refers to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    pub kind: Kind,
    /// `namespace/name`.
    pub object: Box<str>,
}

/// Volumes whose `secretRef` names a Secret.
const BY_SECRET_REF: [&str; 7] = ["cephfs", "cinder", "flexVolume", "iscsi", "rbd", "scaleIO", "storageos"];
/// Those of them whose Secret in a PersistentVolume is always named with its namespace.
const WITH_NAMESPACE: [&str; 2] = ["cinder", "storageos"];
/// Secrets of a CSI volume that kubelets read; the controllers' are not theirs.
const OF_KUBELETS: [&str; 3] = ["nodePublishSecretRef", "nodeStageSecretRef", "nodeExpandSecretRef"];

/// The pod as the graph keeps it; `None` while it is bound to no node. A mirror pod leads to nothing: a node could make it.
pub fn of_pod(pod: &Value) -> Option<Bound> {
    let node = text(pod, "/spec/nodeName").filter(|node| !node.is_empty())?.into();
    let is_mirror = pod.pointer("/metadata/annotations/kubernetes.io~1config.mirror").is_some();
    Some(Bound { node, references: if is_mirror { Vec::new() } else { all_of_pod(pod) } })
}

/// Whatever a pod refers to, wherever it is.
pub fn all_of_pod(pod: &Value) -> Vec<Reference> {
    let namespace = text(pod, "/metadata/namespace").unwrap_or_default();
    let mut references = Vec::new();
    let mut add = |kind: Kind, name: Option<&str>| {
        if let Some(name) = name.filter(|name| !name.is_empty()) {
            references.push(Reference { kind, object: format!("{namespace}/{name}").into() });
        }
    };
    add(Kind::ServiceAccount, text(pod, "/spec/serviceAccountName"));
    for secret in list(pod, "/spec/imagePullSecrets") {
        add(Kind::Secret, text(secret, "/name"));
    }
    for containers in ["/spec/initContainers", "/spec/containers", "/spec/ephemeralContainers"] {
        for container in list(pod, containers) {
            for variable in list(container, "/env") {
                add(Kind::Secret, text(variable, "/valueFrom/secretKeyRef/name"));
                add(Kind::ConfigMap, text(variable, "/valueFrom/configMapKeyRef/name"));
            }
            for source in list(container, "/envFrom") {
                add(Kind::Secret, text(source, "/secretRef/name"));
                add(Kind::ConfigMap, text(source, "/configMapRef/name"));
            }
        }
    }
    for volume in list(pod, "/spec/volumes") {
        add(Kind::Secret, text(volume, "/secret/secretName"));
        add(Kind::Secret, text(volume, "/azureFile/secretName"));
        add(Kind::Secret, text(volume, "/csi/nodePublishSecretRef/name"));
        for source in BY_SECRET_REF {
            add(Kind::Secret, volume.get(source).and_then(|source| text(source, "/secretRef/name")));
        }
        add(Kind::ConfigMap, text(volume, "/configMap/name"));
        for source in list(volume, "/projected/sources") {
            add(Kind::Secret, text(source, "/secret/name"));
            add(Kind::ConfigMap, text(source, "/configMap/name"));
        }
        add(Kind::Claim, text(volume, "/persistentVolumeClaim/claimName"));
        // The claim of an ephemeral volume is called after pod and volume.
        if volume.get("ephemeral").is_some_and(Value::is_object)
            && let (Some(pod), Some(volume)) = (text(pod, "/metadata/name"), text(volume, "/name"))
        {
            add(Kind::Claim, Some(&format!("{pod}-{volume}")));
        }
    }
    references.sort_unstable();
    references.dedup();
    references
}

/// The PersistentVolume as the graph keeps it; `None` while it belongs to no claim.
pub fn of_volume(volume: &Value) -> Option<Volume> {
    let claim = volume.pointer("/spec/claimRef").filter(|claim| claim.is_object())?;
    let (home, name) = (text(claim, "/namespace").unwrap_or_default(), text(claim, "/name").unwrap_or_default());
    let mut secrets: Vec<Box<str>> = Vec::new();
    let mut add = |namespace: Option<&str>, default: &str, name: Option<&str>| {
        if let Some(name) = name.filter(|name| !name.is_empty()) {
            secrets.push(format!("{}/{name}", namespace.filter(|namespace| !namespace.is_empty()).unwrap_or(default)).into());
        }
    };
    let spec = &volume["spec"];
    add(text(spec, "/azureFile/secretNamespace"), home, text(spec, "/azureFile/secretName"));
    for source in BY_SECRET_REF {
        if let Some(reference) = spec.get(source).and_then(|source| source.get("secretRef")) {
            let default = if WITH_NAMESPACE.contains(&source) { "" } else { home };
            add(text(reference, "/namespace"), default, text(reference, "/name"));
        }
    }
    for field in OF_KUBELETS {
        if let Some(reference) = spec.get("csi").and_then(|csi| csi.get(field)) {
            add(text(reference, "/namespace"), "", text(reference, "/name"));
        }
    }
    Some(Volume { claim: format!("{home}/{name}").into(), secrets })
}

fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer)?.as_str()
}

fn list<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    value.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

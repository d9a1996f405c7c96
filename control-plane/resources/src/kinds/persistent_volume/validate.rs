//! The rules for a volume's spec and its changes (`ValidatePersistentVolumeSpec`, `ValidatePersistentVolumeUpdate` of Kubernetes 1.33).

use super::source;
use crate::field::{Errors, Path};
use crate::kinds::persistent_volume_claim as claim;
use crate::kinds::pod;
use crate::names;
use crate::quantity::Quantity;
use k8s_openapi::api::core::v1;
use serde_json::Value;

/// Fields of the spec that are not kinds of storage.
const OWN: &[&str] = &[
    "accessModes",
    "capacity",
    "claimRef",
    "mountOptions",
    "nodeAffinity",
    "persistentVolumeReclaimPolicy",
    "storageClassName",
    "volumeAttributesClassName",
    "volumeMode",
];

/// Labels that have become stable: a volume may change from the old to the new name.
const RENAMED_LABELS: &[(&str, &str)] = &[
    ("failure-domain.beta.kubernetes.io/zone", "topology.kubernetes.io/zone"),
    ("failure-domain.beta.kubernetes.io/region", "topology.kubernetes.io/region"),
    ("beta.kubernetes.io/os", "kubernetes.io/os"),
    ("beta.kubernetes.io/arch", "kubernetes.io/arch"),
    ("beta.kubernetes.io/instance-type", "node.kubernetes.io/instance-type"),
];

/// The rules for a volume named `volume`.
pub fn spec(spec: &v1::PersistentVolumeSpec, volume: &str, at: &Path<'_>, errors: &mut Errors) {
    if spec.access_modes.as_ref().is_none_or(Vec::is_empty) {
        errors.required(&at.field("accessModes"), "");
    }
    claim::access_modes(spec.access_modes.as_deref().unwrap_or_default(), &at.field("accessModes"), errors);
    capacity(spec, &at.field("capacity"), errors);
    let policy = spec.persistent_volume_reclaim_policy.as_deref().filter(|p| !p.is_empty());
    let at_policy = at.field("persistentVolumeReclaimPolicy");
    errors.one_of_if_set(&at_policy, policy, &["Delete", "Recycle", "Retain"]);
    if let Some(affinity) = &spec.node_affinity {
        let at = at.field("nodeAffinity");
        let at = at.field("required");
        match &affinity.required {
            None => errors.required(&at, "must specify required node constraints"),
            Some(selector) => pod::validate::node_selector(selector, &at, errors),
        }
    }
    if source::all(spec, volume, at, errors) == 0 {
        errors.required(at, "must specify a volume type");
    }
    let is_root = |path: &str| path.starts_with('/') && path.split('/').all(|part| matches!(part, "" | "."));
    if spec.host_path.as_ref().is_some_and(|h| is_root(&h.path)) && policy == Some("Recycle") {
        errors.forbidden(&at_policy, "may not be 'recycle' for a hostPath mount of '/'");
    }
    if let Some(class) = spec.storage_class_name.as_deref().filter(|c| !c.is_empty()) {
        errors.format(&at.field("storageClassName"), class, names::subdomain(class));
    }
    errors.one_of_if_set(&at.field("volumeMode"), spec.volume_mode.as_deref(), &["Block", "Filesystem"]);
}

/// The rules for a spec that stands inside of an attachment: a CSI volume, and nothing about claims, classes or size.
pub fn inline(spec: &v1::PersistentVolumeSpec, at: &Path<'_>, errors: &mut Errors) {
    const CONTEXT: &str = "in the context of inline volumes";
    let class = spec.storage_class_name.as_deref().unwrap_or_default();
    for (name, is_set) in [
        ("claimRef", spec.claim_ref.is_some()),
        ("capacity", spec.capacity.as_ref().is_some_and(|c| !c.is_empty())),
        ("nodeAffinity", spec.node_affinity.is_some()),
        ("storageClassName", !class.is_empty()),
    ] {
        if is_set {
            errors.forbidden(&at.field(name), format!("may not be specified {CONTEXT}"));
        }
    }
    if spec.csi.is_none() {
        errors.required(&at.field("csi"), format!("has to be specified {CONTEXT}"));
    }
    let modes = spec.access_modes.as_deref().unwrap_or_default();
    if modes.is_empty() {
        errors.required(&at.field("accessModes"), "");
    }
    claim::access_modes(modes, &at.field("accessModes"), errors);
    if !matches!(spec.persistent_volume_reclaim_policy.as_deref(), None | Some("" | "Retain")) {
        errors.forbidden(&at.field("persistentVolumeReclaimPolicy"), format!("may only be Retain {CONTEXT}"));
    }
    if source::all(spec, "", at, errors) == 0 {
        errors.required(at, "must specify a volume type");
    }
    if !matches!(spec.volume_mode.as_deref(), None | Some("Filesystem")) {
        errors.forbidden(&at.field("volumeMode"), format!("may not specify volumeMode other than Filesystem {CONTEXT}"));
    }
}

fn capacity(spec: &v1::PersistentVolumeSpec, at: &Path<'_>, errors: &mut Errors) {
    let capacity = spec.capacity.clone().unwrap_or_default();
    if capacity.is_empty() {
        errors.required(at, "");
    }
    if !capacity.contains_key("storage") || capacity.len() > 1 {
        errors.not_supported(at, serde_json::to_value(&capacity).unwrap_or_default(), &["storage"]);
    }
    for (name, amount) in &capacity {
        let Ok(parsed) = Quantity::parse(&amount.0) else { continue };
        if parsed.is_negative() {
            errors.invalid(&at.key(name), parsed.units(), "must be a valid resource quantity");
        }
        if parsed.is_negative() || parsed.is_zero() {
            errors.invalid(&at.key(name), amount.0.as_str(), "must be greater than zero");
        }
    }
}

/// What stays as it is: the storage, the mode, and where it can be reached once that was said. Fields are named as Kubernetes names them.
pub fn change(new: &v1::PersistentVolumeSpec, old: &v1::PersistentVolumeSpec, errors: &mut Errors) {
    let mut kept = new.clone();
    // The secret for growing may come later, once.
    if let (Some(new), Some(old)) = (&mut kept.csi, &old.csi)
        && old.controller_expand_secret_ref.is_none()
    {
        new.controller_expand_secret_ref = None;
    }
    if sources(&kept) != sources(old) {
        let at = Path::Root.field("spec");
        errors.forbidden(&at.field("persistentvolumesource"), "spec.persistentvolumesource is immutable after creation");
    }
    errors.immutable(&Path::Root.field("volumeMode"), &new.volume_mode, &old.volume_mode);
    if old.node_affinity.is_some() && stable(old.node_affinity.as_ref()) != stable(new.node_affinity.as_ref()) {
        let shown = serde_json::to_value(&new.node_affinity).unwrap_or_default();
        errors.invalid(&Path::Root.field("nodeAffinity"), shown, "field is immutable");
    } else if let (Some(new), Some(old)) = (&new.node_affinity, &old.node_affinity)
        && renamed_back(new, old)
    {
        let shown = serde_json::to_value(new).unwrap_or_default();
        errors.invalid(&Path::Root.field("nodeAffinity"), shown, "field is immutable");
    }
}

/// The kinds of storage that are named, as JSON.
fn sources(spec: &v1::PersistentVolumeSpec) -> Value {
    let mut spec = serde_json::to_value(spec).unwrap_or_default();
    if let Some(map) = spec.as_object_mut() {
        map.retain(|key, _| !OWN.contains(&key.as_str()));
    }
    spec
}

/// The affinity with the stable names of labels.
fn stable(affinity: Option<&v1::VolumeNodeAffinity>) -> Option<v1::VolumeNodeAffinity> {
    let mut affinity = affinity.cloned();
    for requirement in affinity.iter_mut().flat_map(requirements) {
        if let Some((_, name)) = RENAMED_LABELS.iter().find(|(old, _)| *old == requirement.key) {
            requirement.key = (*name).to_owned();
        }
    }
    affinity
}

/// Whether a label's stable name would give way to the old one. Both have the same requirements but for the names of labels.
fn renamed_back(new: &v1::VolumeNodeAffinity, old: &v1::VolumeNodeAffinity) -> bool {
    let (mut new, mut old) = (new.clone(), old.clone());
    let pairs = requirements(&mut new).zip(requirements(&mut old));
    pairs.filter(|(new, old)| new.key != old.key).any(|(new, _)| RENAMED_LABELS.iter().any(|(beta, _)| *beta == new.key))
}

fn requirements(affinity: &mut v1::VolumeNodeAffinity) -> impl Iterator<Item = &mut v1::NodeSelectorRequirement> {
    let terms = affinity.required.iter_mut().flat_map(|r| r.node_selector_terms.iter_mut());
    terms.flat_map(|term| term.match_expressions.iter_mut().flatten())
}

//! PersistentVolume: a piece of storage. Kept for clients; nothing here provisions or binds.

use crate::contract::{Column, Descriptor, Subresource};
use crate::field::{Errors, Path};
use crate::json;
use crate::kinds::persistent_volume_claim as claim;
use crate::kinds::pod::validate::resources;
use crate::table::{self, text, wide};
use crate::typed::{Kind, cluster};
use k8s_openapi::api::core::v1;
use serde_json::{Value, json};

pub struct PersistentVolume;

impl Kind for PersistentVolume {
    type Object = v1::PersistentVolume;

    const DESCRIPTOR: Descriptor = Descriptor {
        short_names: &["pv"],
        subresources: &["status"],
        ..cluster::<v1::PersistentVolume>("persistentvolumes", "persistentvolume")
    };
    const COLUMNS: &'static [Column] = &[
        table::NAME,
        text("Capacity", "Size of the volume"),
        text("Access Modes", "How the volume can be mounted"),
        text("Reclaim Policy", "What happens when the claim is gone"),
        text("Status", "Phase of the volume"),
        text("Claim", "The claim that has the volume"),
        text("StorageClass", "Class of the volume"),
        text("VolumeAttributesClass", "Class of the volume's attributes"),
        text("Reason", "Why the volume is in its phase"),
        table::AGE,
        wide("VolumeMode", "File system or block device"),
    ];

    fn default(object: &mut v1::PersistentVolume) {
        let Some(spec) = &mut object.spec else { return };
        spec.persistent_volume_reclaim_policy.get_or_insert_with(|| "Retain".to_owned());
        spec.volume_mode.get_or_insert_with(|| "Filesystem".to_owned());
        if let Some(path) = &mut spec.host_path {
            path.type_.get_or_insert_default();
        }
    }

    fn prepare_create(object: &mut Value) {
        json::put(object, &["status"], json!({"phase": "Pending"}));
    }

    fn validate(object: &v1::PersistentVolume, errors: &mut Errors) {
        let at = Path::Root.field("spec");
        let spec = object.spec.clone().unwrap_or_default();
        if spec.access_modes.as_ref().is_none_or(Vec::is_empty) {
            errors.required(&at.field("accessModes"), "");
        }
        claim::access_modes(spec.access_modes.as_deref().unwrap_or_default(), &at.field("accessModes"), errors);
        if spec.capacity.as_ref().is_none_or(|c| !c.contains_key("storage")) {
            errors.not_supported(&at.field("capacity"), serde_json::to_value(&spec.capacity).unwrap_or_default(), &["storage"]);
        }
        resources::amounts(spec.capacity.as_ref(), &at.field("capacity"), errors);
        let policies = &["Delete", "Recycle", "Retain"];
        errors.one_of(&at.field("persistentVolumeReclaimPolicy"), spec.persistent_volume_reclaim_policy.as_deref(), policies);
        errors.one_of_if_set(&at.field("volumeMode"), spec.volume_mode.as_deref(), &["Block", "Filesystem"]);
        match sources(&spec) {
            0 => errors.required(&at, "must specify a volume type"),
            1 => {}
            _ => errors.forbidden(&at, "may not specify more than 1 volume type"),
        }
    }

    fn validate_update(new: &v1::PersistentVolume, old: &v1::PersistentVolume, subresource: Subresource<'_>, errors: &mut Errors) {
        if subresource == Some("status") {
            return;
        }
        Self::validate(new, errors);
        let mode = |o: &v1::PersistentVolume| o.spec.as_ref().and_then(|s| s.volume_mode.clone());
        errors.immutable(&Path::Root.field("spec").field("volumeMode"), &mode(new), &mode(old));
    }

    fn cells(object: &v1::PersistentVolume, now: i64) -> Vec<Value> {
        let spec = object.spec.clone().unwrap_or_default();
        let status = object.status.clone().unwrap_or_default();
        let claim = spec
            .claim_ref
            .as_ref()
            .map(|c| format!("{}/{}", c.namespace.as_deref().unwrap_or_default(), c.name.as_deref().unwrap_or_default()));
        let phase = match object.metadata.deletion_timestamp {
            Some(_) => "Terminating".to_owned(),
            None => status.phase.unwrap_or_default(),
        };
        vec![
            table::name(&object.metadata),
            spec.capacity.as_ref().and_then(|c| c.get("storage")).map(|q| q.0.clone()).unwrap_or_default().into(),
            claim::short_modes(spec.access_modes.as_deref().unwrap_or_default()).into(),
            spec.persistent_volume_reclaim_policy.unwrap_or_default().into(),
            phase.into(),
            claim.unwrap_or_default().into(),
            spec.storage_class_name.unwrap_or_default().into(),
            spec.volume_attributes_class_name.unwrap_or_else(|| "<unset>".to_owned()).into(),
            status.reason.unwrap_or_default().into(),
            table::age(&object.metadata, now),
            spec.volume_mode.unwrap_or_else(|| "<unset>".to_owned()).into(),
        ]
    }
}

/// How many kinds of storage are named: the fields that are not about the volume itself.
fn sources(spec: &v1::PersistentVolumeSpec) -> usize {
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
    match serde_json::to_value(spec) {
        Ok(Value::Object(map)) => map.keys().filter(|key| !OWN.contains(&key.as_str())).count(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Resource;
    use crate::typed::Typed;

    #[test]
    fn a_volume_has_one_kind_of_storage_and_a_size() {
        let kind = Typed::<PersistentVolume>::NEW;
        let right = json!({"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/x"}});
        for (change, field) in [
            (json!({}), None),
            (json!({"accessModes": []}), Some("spec.accessModes")),
            (json!({"capacity": {}}), Some("spec.capacity")),
            (json!({"hostPath": null}), Some("spec")),
            (json!({"nfs": {"server": "s", "path": "/p"}}), Some("spec")),
        ] {
            let mut spec = right.clone();
            for (key, value) in change.as_object().unwrap() {
                spec[key] = value.clone();
            }
            let object = kind.decode(json!({"metadata": {"name": "a"}, "spec": spec})).unwrap().object;
            let found: Vec<String> = kind.validate_create(&object).into_iter().map(|e| e.field).collect();
            assert_eq!(found.first().map(String::as_str), field, "{change}");
        }
        let object = kind.decode(json!({"metadata": {"name": "a"}, "spec": right})).unwrap().object;
        assert_eq!(kind.cells(&object, 0)[1..4], ["1Gi", "RWO", "Retain"]);
    }
}

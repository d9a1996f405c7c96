//! PersistentVolume: a piece of storage. Kept for clients; nothing here provisions or binds.

pub mod source;
#[cfg(test)]
mod tests;
pub mod validate;

use crate::contract::{Column, Descriptor, Subresource};
use crate::field::{Errors, Path};
use crate::json;
use crate::kinds::persistent_volume_claim as claim;
use crate::table::{self, text, wide};
use crate::typed::{Kind, cluster, or_empty};
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
        fill(&mut spec.persistent_volume_reclaim_policy, "Retain");
        spec.volume_mode.get_or_insert_with(|| "Filesystem".to_owned());
        if let Some(path) = &mut spec.host_path {
            path.type_.get_or_insert_default();
        }
        if let Some(target) = &mut spec.iscsi {
            fill(&mut target.iscsi_interface, "default");
        }
        if let Some(rbd) = &mut spec.rbd {
            fill(&mut rbd.pool, "rbd");
            fill(&mut rbd.user, "admin");
            fill(&mut rbd.keyring, "/etc/ceph/keyring");
        }
        if let Some(disk) = &mut spec.azure_disk {
            disk.caching_mode.get_or_insert_with(|| "ReadWrite".to_owned());
            disk.kind.get_or_insert_with(|| "Shared".to_owned());
            disk.fs_type.get_or_insert_with(|| "ext4".to_owned());
            disk.read_only.get_or_insert_default();
        }
        if let Some(io) = &mut spec.scale_io {
            fill(&mut io.storage_mode, "ThinProvisioned");
            fill(&mut io.fs_type, "xfs");
        }
    }

    fn prepare_create(object: &mut Value) {
        json::put(object, &["status"], json!({"phase": "Pending"}));
    }

    fn validate(object: &v1::PersistentVolume, errors: &mut Errors) {
        let name = object.metadata.name.as_deref().unwrap_or_default();
        validate::spec(&or_empty(&object.spec), name, &Path::Root.field("spec"), errors);
    }

    fn validate_update(new: &v1::PersistentVolume, old: &v1::PersistentVolume, subresource: Subresource<'_>, errors: &mut Errors) {
        if subresource == Some("status") {
            return;
        }
        Self::validate(new, errors);
        validate::change(&or_empty(&new.spec), &or_empty(&old.spec), errors);
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

/// What is not said, or said with an empty text, is `value`.
fn fill(field: &mut Option<String>, value: &str) {
    if field.as_ref().is_none_or(String::is_empty) {
        *field = Some(value.to_owned());
    }
}

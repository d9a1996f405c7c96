//! PersistentVolumeClaim: a wish for storage. Kept for clients; nothing here provisions or binds.

#[cfg(test)]
mod tests;
mod validate;

use crate::contract::{Column, Descriptor, Subresource};
use crate::field::{Errors, Path};
use crate::json;
use crate::table::{self, text, wide};
use crate::typed::{Kind, namespaced, or_empty};
use k8s_openapi::api::core::v1;
use serde_json::{Value, json};

pub struct PersistentVolumeClaim;

pub const ACCESS_MODES: &[&str] = &["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];

impl Kind for PersistentVolumeClaim {
    type Object = v1::PersistentVolumeClaim;

    const DESCRIPTOR: Descriptor = Descriptor {
        short_names: &["pvc"],
        subresources: &["status"],
        ..namespaced::<v1::PersistentVolumeClaim>("persistentvolumeclaims", "persistentvolumeclaim")
    };
    const COLUMNS: &'static [Column] = &[
        table::NAME,
        text("Status", "Phase of the claim"),
        text("Volume", "The volume that the claim has"),
        text("Capacity", "Size of the volume"),
        text("Access Modes", "How the volume can be mounted"),
        text("StorageClass", "Class of the volume"),
        text("VolumeAttributesClass", "Class of the volume's attributes"),
        table::AGE,
        wide("VolumeMode", "File system or block device"),
    ];

    fn default(object: &mut v1::PersistentVolumeClaim) {
        if let Some(spec) = &mut object.spec {
            spec.volume_mode.get_or_insert_with(|| "Filesystem".to_owned());
        }
    }

    fn prepare_create(object: &mut Value) {
        json::put(object, &["status"], json!({"phase": "Pending"}));
        // The older of the two fields only ever named claims and snapshots.
        let kind = json::text(object, &["spec", "dataSource", "kind"]);
        let group = json::text(object, &["spec", "dataSource", "apiGroup"]);
        let old_kinds = [("", "PersistentVolumeClaim"), ("snapshot.storage.k8s.io", "VolumeSnapshot")];
        if !old_kinds.contains(&(&*group, &*kind))
            && let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut)
        {
            spec.remove("dataSource");
        }
        same_sources(object);
    }

    fn prepare_update(new: &mut Value, _: &Value, subresource: Subresource<'_>) {
        if subresource.is_none() {
            same_sources(new);
        }
    }

    fn validate(object: &v1::PersistentVolumeClaim, errors: &mut Errors) {
        validate::spec(&or_empty(&object.spec), &Path::Root.field("spec"), errors);
    }

    fn validate_update(
        new: &v1::PersistentVolumeClaim,
        old: &v1::PersistentVolumeClaim,
        subresource: Subresource<'_>,
        errors: &mut Errors,
    ) {
        if subresource == Some("status") {
            validate::status(new, errors);
        } else {
            Self::validate(new, errors);
            validate::change(new, old, errors);
        }
    }

    fn cells(object: &v1::PersistentVolumeClaim, now: i64) -> Vec<Value> {
        let spec = object.spec.clone().unwrap_or_default();
        let status = object.status.clone().unwrap_or_default();
        let phase = match object.metadata.deletion_timestamp {
            Some(_) => "Terminating".to_owned(),
            None => status.phase.unwrap_or_default(),
        };
        // Size and modes are the volume's: shown once there is one.
        let bound = spec.volume_name.as_ref().is_some_and(|v| !v.is_empty());
        let capacity = status.capacity.as_ref().and_then(|c| c.get("storage")).map(|q| q.0.clone()).filter(|_| bound);
        let modes = status.access_modes.filter(|_| bound).unwrap_or_default();
        vec![
            table::name(&object.metadata),
            phase.into(),
            spec.volume_name.unwrap_or_default().into(),
            capacity.unwrap_or_default().into(),
            short_modes(&modes).into(),
            spec.storage_class_name.unwrap_or_default().into(),
            spec.volume_attributes_class_name.unwrap_or_else(|| "<unset>".to_owned()).into(),
            table::age(&object.metadata, now),
            spec.volume_mode.unwrap_or_else(|| "<unset>".to_owned()).into(),
        ]
    }
}

/// Where the data comes from is said in two fields: one fills in the other, unless the source is in another namespace, which only one can say.
fn same_sources(object: &mut Value) {
    let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) else { return };
    let is_set = |value: Option<&Value>| value.is_some_and(|v| !v.is_null());
    match (is_set(spec.get("dataSource")), is_set(spec.get("dataSourceRef"))) {
        (true, false) => {
            let source = spec["dataSource"].clone();
            spec.insert("dataSourceRef".to_owned(), source);
        }
        (false, true) if spec["dataSourceRef"].get("namespace").and_then(Value::as_str).unwrap_or_default().is_empty() => {
            let mut source = spec["dataSourceRef"].clone();
            if let Some(map) = source.as_object_mut() {
                map.remove("namespace");
            }
            spec.insert("dataSource".to_owned(), source);
        }
        _ => {}
    }
}

/// The rules for a claim that comes with a pod.
pub fn validate_template(template: &v1::PersistentVolumeClaimTemplate, at: &Path<'_>, errors: &mut Errors) {
    validate::spec(&template.spec, &at.field("spec"), errors);
}

/// Known modes; the exclusive one stands alone.
pub fn access_modes(modes: &[String], at: &Path<'_>, errors: &mut Errors) {
    for mode in modes {
        errors.one_of_if_set(at, Some(mode), ACCESS_MODES);
    }
    if modes.len() > 1 && modes.iter().any(|m| m == "ReadWriteOncePod") {
        errors.forbidden(at, "may not use ReadWriteOncePod with other access modes");
    }
}

/// `RWO,ROX`
pub fn short_modes(modes: &[String]) -> String {
    let has = |mode: &str| modes.iter().any(|m| m == mode);
    let all = [("ReadWriteOnce", "RWO"), ("ReadOnlyMany", "ROX"), ("ReadWriteMany", "RWX"), ("ReadWriteOncePod", "RWOP")];
    all.iter().filter(|(long, _)| has(long)).map(|(_, short)| *short).collect::<Vec<_>>().join(",")
}

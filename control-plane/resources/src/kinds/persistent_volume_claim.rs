//! PersistentVolumeClaim: a wish for storage. Kept for clients; nothing here provisions or binds.

use crate::contract::{Column, Descriptor, Subresource};
use crate::field::{Errors, Path};
use crate::json;
use crate::kinds::pod::validate::resources;
use crate::quantity::Quantity;
use crate::table::{self, text, wide};
use crate::typed::{Kind, namespaced};
use crate::{names, selector};
use k8s_openapi::api::core::v1;
use serde_json::{Value, json};

pub struct PersistentVolumeClaim;

pub const ACCESS_MODES: &[&str] = &["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];
const FIXED: &str = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";

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
    }

    fn validate(object: &v1::PersistentVolumeClaim, errors: &mut Errors) {
        let at = Path::Root.field("spec");
        let spec = object.spec.clone().unwrap_or_default();
        let modes = spec.access_modes.as_deref().unwrap_or_default();
        if modes.is_empty() {
            errors.required(&at.field("accessModes"), "at least 1 access mode is required");
        }
        access_modes(modes, &at.field("accessModes"), errors);
        if let Some(chosen) = &spec.selector {
            selector::validate(chosen, &at.field("selector"), errors);
        }
        let at_requests = at.field("resources");
        let requests = spec.resources.as_ref().and_then(|r| r.requests.as_ref());
        match requests.and_then(|r| r.get("storage")) {
            None => errors.required(&at_requests.field("requests").key("storage"), ""),
            Some(size) if Quantity::parse(&size.0).is_ok_and(|q| q.is_zero() || q.is_negative()) => {
                errors.invalid(&at_requests.field("requests").key("storage"), size.0.as_str(), "must be greater than zero");
            }
            Some(_) => resources::amounts(requests, &at_requests.field("requests"), errors),
        }
        if let Some(class) = spec.storage_class_name.as_deref().filter(|c| !c.is_empty()) {
            errors.format(&at.field("storageClassName"), class, names::subdomain(class));
        }
        errors.one_of_if_set(&at.field("volumeMode"), spec.volume_mode.as_deref(), &["Block", "Filesystem"]);
    }

    fn validate_update(
        new: &v1::PersistentVolumeClaim,
        old: &v1::PersistentVolumeClaim,
        subresource: Subresource<'_>,
        errors: &mut Errors,
    ) {
        if subresource == Some("status") {
            return;
        }
        Self::validate(new, errors);
        let (Some(new), Some(old)) = (&new.spec, &old.spec) else { return };
        // The volume is named once; size and attributes may change later.
        let mut allowed = old.clone();
        if allowed.volume_name.as_ref().is_none_or(String::is_empty) {
            allowed.volume_name.clone_from(&new.volume_name);
        }
        if allowed.storage_class_name.is_none() {
            allowed.storage_class_name.clone_from(&new.storage_class_name);
        }
        allowed.resources.clone_from(&new.resources);
        allowed.volume_attributes_class_name.clone_from(&new.volume_attributes_class_name);
        if allowed != *new {
            errors.forbidden(&Path::Root.field("spec"), FIXED);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Resource;
    use crate::typed::Typed;

    const KIND: Typed<PersistentVolumeClaim> = Typed::NEW;

    fn claim(change: Value) -> Value {
        let mut body = json!({"metadata": {"name": "a", "namespace": "d"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
        for (key, value) in change.as_object().unwrap() {
            body["spec"][key] = value.clone();
        }
        KIND.decode(body).unwrap().object
    }

    #[test]
    fn a_claim_says_how_much_and_how() {
        for (change, field) in [
            (json!({}), None),
            (json!({"accessModes": []}), Some("spec.accessModes")),
            (json!({"accessModes": ["ReadWriteOncePod", "ReadWriteOnce"]}), Some("spec.accessModes")),
            (json!({"resources": {}}), Some("spec.resources.requests[storage]")),
            (json!({"resources": {"requests": {"storage": "0"}}}), Some("spec.resources.requests[storage]")),
        ] {
            let found: Vec<String> = KIND.validate_create(&claim(change)).into_iter().map(|e| e.field).collect();
            assert_eq!(found.first().map(String::as_str), field);
        }
    }

    #[test]
    fn only_size_and_volume_come_later() {
        let old = claim(json!({}));
        let grown = claim(json!({"resources": {"requests": {"storage": "2Gi"}}, "volumeName": "v"}));
        assert!(KIND.validate_update(&grown, &old, None).is_empty());
        assert_eq!(KIND.validate_update(&claim(json!({"volumeMode": "Block"})), &old, None)[0].field, "spec");
    }
}

//! StorageClass: how volumes are provisioned. Kept for clients; nothing here provisions.

use crate::contract::{Column, Descriptor, Subresource};
use crate::field::{Errors, Path};
use crate::names;
use crate::table::{self, text};
use crate::typed::{Kind, cluster};
use k8s_openapi::api::storage::v1;
use serde_json::Value;

pub struct StorageClass;

const IS_DEFAULT: &str = "storageclass.kubernetes.io/is-default-class";

impl Kind for StorageClass {
    type Object = v1::StorageClass;

    const DESCRIPTOR: Descriptor = Descriptor { short_names: &["sc"], ..cluster::<v1::StorageClass>("storageclasses", "storageclass") };
    const COLUMNS: &'static [Column] = &[
        table::NAME,
        text("Provisioner", "Provisioner indicates the type of the provisioner."),
        text("ReclaimPolicy", "Reclaim policy of volumes that the class makes"),
        text("VolumeBindingMode", "When claims are bound"),
        text("AllowVolumeExpansion", "Whether claims may grow"),
        table::AGE,
    ];

    fn default(object: &mut v1::StorageClass) {
        object.reclaim_policy.get_or_insert_with(|| "Delete".to_owned());
        object.volume_binding_mode.get_or_insert_with(|| "Immediate".to_owned());
    }

    fn validate(object: &v1::StorageClass, errors: &mut Errors) {
        let at = Path::Root.field("provisioner");
        if object.provisioner.is_empty() {
            errors.required(&at, "");
        } else {
            errors.format(&at, &object.provisioner, names::qualified_name(&object.provisioner.to_ascii_lowercase()));
        }
        errors.one_of(&Path::Root.field("reclaimPolicy"), object.reclaim_policy.as_deref(), &["Delete", "Retain"]);
        let modes = &["Immediate", "WaitForFirstConsumer"];
        errors.one_of(&Path::Root.field("volumeBindingMode"), object.volume_binding_mode.as_deref(), modes);
    }

    fn validate_update(new: &v1::StorageClass, old: &v1::StorageClass, _: Subresource<'_>, errors: &mut Errors) {
        Self::validate(new, errors);
        if new.parameters.clone().unwrap_or_default() != old.parameters.clone().unwrap_or_default() {
            errors.forbidden(&Path::Root.field("parameters"), "updates to parameters are forbidden.");
        }
        if new.provisioner != old.provisioner {
            errors.forbidden(&Path::Root.field("provisioner"), "updates to provisioner are forbidden.");
        }
        if new.reclaim_policy != old.reclaim_policy {
            errors.forbidden(&Path::Root.field("reclaimPolicy"), "updates to reclaimPolicy are forbidden.");
        }
        errors.immutable(&Path::Root.field("volumeBindingMode"), &new.volume_binding_mode, &old.volume_binding_mode);
    }

    fn cells(object: &v1::StorageClass, now: i64) -> Vec<Value> {
        let meta = &object.metadata;
        let default = meta.annotations.as_ref().and_then(|a| a.get(IS_DEFAULT)).is_some_and(|v| v == "true");
        let name = format!("{}{}", meta.name.as_deref().unwrap_or_default(), if default { " (default)" } else { "" });
        vec![
            name.into(),
            object.provisioner.as_str().into(),
            object.reclaim_policy.as_deref().unwrap_or("Delete").into(),
            object.volume_binding_mode.as_deref().unwrap_or("<unset>").into(),
            object.allow_volume_expansion.unwrap_or_default().to_string().into(),
            table::age(meta, now),
        ]
    }
}

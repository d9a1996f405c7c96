//! PersistentVolumeClaim.

use crate::contract::Descriptor;
use crate::typed::{Kind, namespaced};
use k8s_openapi::api::core::v1;

pub struct PersistentVolumeClaim;

impl Kind for PersistentVolumeClaim {
    type Object = v1::PersistentVolumeClaim;

    const DESCRIPTOR: Descriptor = Descriptor {
        short_names: &["pvc"],
        subresources: &["status"],
        ..namespaced::<v1::PersistentVolumeClaim>("persistentvolumeclaims", "persistentvolumeclaim")
    };
}

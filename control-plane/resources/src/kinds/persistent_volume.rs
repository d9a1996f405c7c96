//! PersistentVolume.

use crate::contract::Descriptor;
use crate::typed::{Kind, cluster};
use k8s_openapi::api::core::v1;

pub struct PersistentVolume;

impl Kind for PersistentVolume {
    type Object = v1::PersistentVolume;

    const DESCRIPTOR: Descriptor = Descriptor {
        short_names: &["pv"],
        subresources: &["status"],
        ..cluster::<v1::PersistentVolume>("persistentvolumes", "persistentvolume")
    };
}

//! ReplicationController.

use crate::contract::Descriptor;
use crate::typed::{Kind, namespaced};
use k8s_openapi::api::core::v1;

pub struct ReplicationController;

impl Kind for ReplicationController {
    type Object = v1::ReplicationController;

    const DESCRIPTOR: Descriptor = Descriptor {
        short_names: &["rc"],
        categories: &["all"],
        subresources: &["scale", "status"],
        has_generation: true,
        ..namespaced::<v1::ReplicationController>("replicationcontrollers", "replicationcontroller")
    };
}

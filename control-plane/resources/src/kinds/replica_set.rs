//! ReplicaSet.

use crate::contract::Descriptor;
use crate::typed::{Kind, namespaced};
use k8s_openapi::api::apps::v1;

pub struct ReplicaSet;

impl Kind for ReplicaSet {
    type Object = v1::ReplicaSet;

    const DESCRIPTOR: Descriptor = Descriptor {
        short_names: &["rs"],
        categories: &["all"],
        subresources: &["scale", "status"],
        has_generation: true,
        ..namespaced::<v1::ReplicaSet>("replicasets", "replicaset")
    };
}

//! StatefulSet.

use crate::contract::Descriptor;
use crate::typed::{Kind, namespaced};
use k8s_openapi::api::apps::v1;

pub struct StatefulSet;

impl Kind for StatefulSet {
    type Object = v1::StatefulSet;

    const DESCRIPTOR: Descriptor = Descriptor {
        short_names: &["sts"],
        categories: &["all"],
        subresources: &["scale", "status"],
        has_generation: true,
        ..namespaced::<v1::StatefulSet>("statefulsets", "statefulset")
    };
}

//! Pod.

use crate::contract::Descriptor;
use crate::typed::{Kind, namespaced};
use k8s_openapi::api::core::v1;

pub struct Pod;

impl Kind for Pod {
    type Object = v1::Pod;

    const DESCRIPTOR: Descriptor = Descriptor {
        short_names: &["po"],
        categories: &["all"],
        subresources: &["attach", "binding", "eviction", "exec", "log", "portforward", "status"],
        has_generation: true,
        ..namespaced::<v1::Pod>("pods", "pod")
    };
}

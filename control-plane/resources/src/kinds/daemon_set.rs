//! DaemonSet.

use crate::contract::Descriptor;
use crate::typed::{Kind, namespaced};
use k8s_openapi::api::apps::v1;

pub struct DaemonSet;

impl Kind for DaemonSet {
    type Object = v1::DaemonSet;

    const DESCRIPTOR: Descriptor = Descriptor {
        short_names: &["ds"],
        categories: &["all"],
        subresources: &["status"],
        has_generation: true,
        ..namespaced::<v1::DaemonSet>("daemonsets", "daemonset")
    };
}

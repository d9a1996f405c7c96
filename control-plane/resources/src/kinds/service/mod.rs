//! Service.

use crate::contract::Descriptor;
use crate::typed::{Kind, namespaced};
use k8s_openapi::api::core::v1;

pub struct Service;

impl Kind for Service {
    type Object = v1::Service;

    const DESCRIPTOR: Descriptor = Descriptor {
        short_names: &["svc"],
        categories: &["all"],
        subresources: &["status"],
        ..namespaced::<v1::Service>("services", "service")
    };
}

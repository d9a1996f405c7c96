//! Deployment.

use crate::contract::Descriptor;
use crate::typed::{Kind, namespaced};
use k8s_openapi::api::apps::v1;

pub struct Deployment;

impl Kind for Deployment {
    type Object = v1::Deployment;

    const DESCRIPTOR: Descriptor = Descriptor {
        short_names: &["deploy"],
        categories: &["all"],
        subresources: &["scale", "status"],
        has_generation: true,
        ..namespaced::<v1::Deployment>("deployments", "deployment")
    };
}

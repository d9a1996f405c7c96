//! Ingress.

use crate::contract::Descriptor;
use crate::typed::{Kind, namespaced};
use k8s_openapi::api::networking::v1;

pub struct Ingress;

impl Kind for Ingress {
    type Object = v1::Ingress;

    const DESCRIPTOR: Descriptor = Descriptor {
        short_names: &["ing"],
        subresources: &["status"],
        has_generation: true,
        ..namespaced::<v1::Ingress>("ingresses", "ingress")
    };
}

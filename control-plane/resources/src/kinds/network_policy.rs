//! NetworkPolicy.

use crate::contract::Descriptor;
use crate::typed::{Kind, namespaced};
use k8s_openapi::api::networking::v1;

pub struct NetworkPolicy;

impl Kind for NetworkPolicy {
    type Object = v1::NetworkPolicy;

    const DESCRIPTOR: Descriptor = Descriptor {
        short_names: &["netpol"],
        has_generation: true,
        ..namespaced::<v1::NetworkPolicy>("networkpolicies", "networkpolicy")
    };
}

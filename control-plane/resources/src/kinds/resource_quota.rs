//! ResourceQuota.

use crate::contract::Descriptor;
use crate::typed::{Kind, namespaced};
use k8s_openapi::api::core::v1;

pub struct ResourceQuota;

impl Kind for ResourceQuota {
    type Object = v1::ResourceQuota;

    const DESCRIPTOR: Descriptor = Descriptor {
        short_names: &["quota"],
        subresources: &["status"],
        ..namespaced::<v1::ResourceQuota>("resourcequotas", "resourcequota")
    };
}

//! LimitRange.

use crate::contract::Descriptor;
use crate::typed::{Kind, namespaced};
use k8s_openapi::api::core::v1;

pub struct LimitRange;

impl Kind for LimitRange {
    type Object = v1::LimitRange;

    const DESCRIPTOR: Descriptor = Descriptor { short_names: &["limits"], ..namespaced::<v1::LimitRange>("limitranges", "limitrange") };
}

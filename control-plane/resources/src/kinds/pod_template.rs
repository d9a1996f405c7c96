//! PodTemplate.

use crate::contract::Descriptor;
use crate::typed::{Kind, namespaced};
use k8s_openapi::api::core::v1;

pub struct PodTemplate;

impl Kind for PodTemplate {
    type Object = v1::PodTemplate;

    const DESCRIPTOR: Descriptor = Descriptor { has_generation: true, ..namespaced::<v1::PodTemplate>("podtemplates", "podtemplate") };
}

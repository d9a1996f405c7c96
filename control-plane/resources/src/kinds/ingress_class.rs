//! IngressClass.

use crate::contract::Descriptor;
use crate::typed::{Kind, cluster};
use k8s_openapi::api::networking::v1;

pub struct IngressClass;

impl Kind for IngressClass {
    type Object = v1::IngressClass;

    const DESCRIPTOR: Descriptor = Descriptor { ..cluster::<v1::IngressClass>("ingressclasses", "ingressclass") };
}

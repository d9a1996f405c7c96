//! Job.

use crate::contract::Descriptor;
use crate::typed::{Kind, namespaced};
use k8s_openapi::api::batch::v1;

pub struct Job;

impl Kind for Job {
    type Object = v1::Job;

    const DESCRIPTOR: Descriptor =
        Descriptor { categories: &["all"], subresources: &["status"], has_generation: true, ..namespaced::<v1::Job>("jobs", "job") };
}

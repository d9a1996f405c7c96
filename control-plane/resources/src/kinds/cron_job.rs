//! CronJob.

use crate::contract::Descriptor;
use crate::typed::{Kind, namespaced};
use k8s_openapi::api::batch::v1;

pub struct CronJob;

impl Kind for CronJob {
    type Object = v1::CronJob;

    const DESCRIPTOR: Descriptor = Descriptor {
        short_names: &["cj"],
        categories: &["all"],
        subresources: &["status"],
        has_generation: true,
        ..namespaced::<v1::CronJob>("cronjobs", "cronjob")
    };
}

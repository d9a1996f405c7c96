//! PodTemplate: a template kept by itself. Nothing here makes pods of it.

use super::{pod, workload};
use crate::contract::{Column, Descriptor};
use crate::field::{Errors, Path};
use crate::selector;
use crate::table::{self, text};
use crate::typed::{Kind, namespaced};
use k8s_openapi::api::core::v1;
use serde_json::Value;

pub struct PodTemplate;

impl Kind for PodTemplate {
    type Object = v1::PodTemplate;

    const DESCRIPTOR: Descriptor = Descriptor { has_generation: true, ..namespaced::<v1::PodTemplate>("podtemplates", "podtemplate") };
    const COLUMNS: &'static [Column] = &[
        table::NAME,
        text("Containers", "Names of each container in the template."),
        text("Images", "Images referenced by each container in the template."),
        text("Pod Labels", "The labels for the pod template."),
    ];

    fn default(object: &mut v1::PodTemplate) {
        if let Some(template) = &mut object.template {
            workload::default_template(template);
        }
    }

    fn validate(object: &v1::PodTemplate, errors: &mut Errors) {
        let template = object.template.clone().unwrap_or_default();
        workload::template(&template, pod::validate::RESTART_POLICIES, &Path::Root.field("template"), errors);
    }

    fn cells(object: &v1::PodTemplate, _: i64) -> Vec<Value> {
        let template = object.template.clone().unwrap_or_default();
        let [containers, images] = workload::containers_and_images(template.spec.as_ref());
        let labels = template.metadata.and_then(|m| m.labels);
        vec![table::name(&object.metadata), containers, images, selector::labels_shown(labels.as_ref()).into()]
    }
}

//! ControllerRevision: a frozen state of a StatefulSet or DaemonSet; its data never changes.

use crate::contract::{Column, Descriptor, Subresource};
use crate::field::{Errors, Path};
use crate::table::{self, number, text};
use crate::typed::{Kind, namespaced};
use k8s_openapi::api::apps::v1;
use serde_json::Value;

pub struct ControllerRevision;

impl Kind for ControllerRevision {
    type Object = v1::ControllerRevision;

    const DESCRIPTOR: Descriptor = namespaced::<v1::ControllerRevision>("controllerrevisions", "controllerrevision");
    const REPLACES_KNOWN_VERSIONS_ONLY: bool = true;
    const COLUMNS: &'static [Column] = &[
        table::NAME,
        text("Controller", "Controller of the object"),
        number("Revision", "Revision indicates the revision of the state represented by Data."),
        table::AGE,
    ];

    fn validate(object: &v1::ControllerRevision, errors: &mut Errors) {
        errors.non_negative(&Path::Root.field("revision"), object.revision);
        match &object.data {
            None => errors.required(&Path::Root.field("data"), "data is mandatory"),
            Some(data) if !data.0.is_object() => errors.invalid(&Path::Root.field("data"), data.0.clone(), "must be a valid JSON object"),
            Some(_) => {}
        }
    }

    fn validate_update(new: &v1::ControllerRevision, old: &v1::ControllerRevision, _: Subresource<'_>, errors: &mut Errors) {
        Self::validate(new, errors);
        let raw = |o: &v1::ControllerRevision| o.data.as_ref().map(|d| d.0.clone());
        errors.immutable(&Path::Root.field("data"), &raw(new), &raw(old));
    }

    fn cells(object: &v1::ControllerRevision, now: i64) -> Vec<Value> {
        let owner = object.metadata.owner_references.iter().flatten().find(|o| o.controller == Some(true));
        let controller = owner.map(|o| {
            let group = o.api_version.split_once('/').map(|(group, _)| format!(".{group}")).unwrap_or_default();
            format!("{}{group}/{}", o.kind.to_ascii_lowercase(), o.name)
        });
        vec![
            table::name(&object.metadata),
            table::or_none(controller.as_deref()),
            object.revision.into(),
            table::age(&object.metadata, now),
        ]
    }
}

//! CSIDriver: what a driver of volumes can do, and what it wants to be told.

use crate::contract::{Column, Descriptor, Subresource};
use crate::field::{Errors, Path};
use crate::table::{self, column, text};
use crate::typed::{Kind, cluster};
use k8s_openapi::api::storage::v1;
use serde_json::Value;
use std::collections::HashSet;

pub struct CSIDriver;

const MIN_TOKEN_SECONDS: i64 = 600;
const MAX_TOKEN_SECONDS: i64 = 1 << 32;
const MIN_UPDATE_SECONDS: i64 = 10;

impl Kind for CSIDriver {
    type Object = v1::CSIDriver;

    const DESCRIPTOR: Descriptor = cluster::<v1::CSIDriver>("csidrivers", "csidriver");
    const REPLACES_KNOWN_VERSIONS_ONLY: bool = true;
    const COLUMNS: &'static [Column] = &[
        table::NAME,
        flag("AttachRequired", "Whether volumes are attached before they are mounted"),
        flag("PodInfoOnMount", "Whether the driver is told of the pod"),
        flag("StorageCapacity", "Whether the scheduler looks at the room that is left"),
        text("TokenRequests", "For whom tokens of the pod's service account are"),
        flag("RequiresRepublish", "Whether volumes are mounted again from time to time"),
        text("Modes", "Persistent volumes, or ones that go with the pod"),
        table::AGE,
    ];

    fn default(object: &mut v1::CSIDriver) {
        let spec = &mut object.spec;
        spec.attach_required.get_or_insert(true);
        for flag in [&mut spec.pod_info_on_mount, &mut spec.storage_capacity, &mut spec.requires_republish, &mut spec.se_linux_mount] {
            flag.get_or_insert(false);
        }
        spec.fs_group_policy.get_or_insert_with(|| "ReadWriteOnceWithFSType".to_owned());
        if spec.volume_lifecycle_modes.as_ref().is_none_or(Vec::is_empty) {
            spec.volume_lifecycle_modes = Some(vec!["Persistent".to_owned()]);
        }
    }

    fn validate(object: &v1::CSIDriver, errors: &mut Errors) {
        let (at, spec) = (Path::Root.field("spec"), &object.spec);
        for (name, is_set) in [
            ("attachedRequired", spec.attach_required.is_some()),
            ("podInfoOnMount", spec.pod_info_on_mount.is_some()),
            ("storageCapacity", spec.storage_capacity.is_some()),
        ] {
            if !is_set {
                errors.required(&at.field(name), "");
            }
        }
        let policies = &["File", "None", "ReadWriteOnceWithFSType"];
        errors.one_of_if_set(&at.field("fsGroupPolicy"), spec.fs_group_policy.as_deref(), policies);
        tokens(spec.token_requests.as_deref().unwrap_or_default(), &at.field("tokenRequests"), errors);
        for mode in spec.volume_lifecycle_modes.iter().flatten() {
            errors.one_of_if_set(&at.field("volumeLifecycleModes"), Some(mode), &["Persistent", "Ephemeral"]);
        }
        if spec.se_linux_mount.is_none() {
            errors.required(&at.field("seLinuxMount"), "");
        }
        if let Some(period) = spec.node_allocatable_update_period_seconds.filter(|period| *period < MIN_UPDATE_SECONDS) {
            let detail = format!("must be greater than or equal to {MIN_UPDATE_SECONDS} seconds");
            errors.invalid(&at.field("nodeAllocatableUpdatePeriodSeconds"), period, detail);
        }
    }

    fn validate_update(new: &v1::CSIDriver, old: &v1::CSIDriver, _: Subresource<'_>, errors: &mut Errors) {
        Self::validate(new, errors);
        let at = Path::Root.field("spec");
        errors.immutable(&at.field("attachedRequired"), &new.spec.attach_required, &old.spec.attach_required);
        let at = at.field("volumeLifecycleModes");
        errors.immutable(&at, &new.spec.volume_lifecycle_modes, &old.spec.volume_lifecycle_modes);
    }

    fn cells(object: &v1::CSIDriver, now: i64) -> Vec<Value> {
        let spec = &object.spec;
        let audiences = spec.token_requests.as_ref().map(|list| list.iter().map(|request| request.audience.as_str()).collect::<Vec<_>>());
        vec![
            table::name(&object.metadata),
            spec.attach_required.unwrap_or(true).into(),
            spec.pod_info_on_mount.unwrap_or_default().into(),
            spec.storage_capacity.unwrap_or_default().into(),
            audiences.map_or_else(|| "<unset>".to_owned(), |list| list.join(",")).into(),
            spec.requires_republish.unwrap_or_default().into(),
            table::joined(spec.volume_lifecycle_modes.iter().flatten()).into(),
            table::age(&object.metadata, now),
        ]
    }
}

/// A column of yes and no.
pub const fn flag(name: &'static str, description: &'static str) -> Column {
    column(name, "boolean", "", description, 0)
}

/// One token for each audience, of a life that tokens can have.
fn tokens(list: &[v1::TokenRequest], at: &Path<'_>, errors: &mut Errors) {
    let mut audiences = HashSet::new();
    for (i, request) in list.iter().enumerate() {
        let at = at.index(i);
        if !audiences.insert(request.audience.as_str()) {
            errors.duplicate(&at.field("audience"), request.audience.as_str());
            continue;
        }
        let at = at.field("expirationSeconds");
        match request.expiration_seconds {
            Some(seconds) if seconds < MIN_TOKEN_SECONDS => {
                errors.invalid(&at, seconds, "may not specify a duration less than 10 minutes");
            }
            Some(seconds) if seconds > MAX_TOKEN_SECONDS => {
                errors.invalid(&at, seconds, "may not specify a duration larger than 2^32 seconds");
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Resource;
    use crate::typed::Typed;
    use serde_json::json;

    const KIND: Typed<CSIDriver> = Typed::NEW;

    fn driver(spec: &Value) -> Value {
        KIND.decode(json!({"metadata": {"name": "d.example"}, "spec": spec})).unwrap().object
    }

    #[test]
    fn a_driver_is_completed_and_shown() {
        let object = driver(&json!({"tokenRequests": [{"audience": "a"}, {"audience": "b"}]}));
        assert_eq!(KIND.validate_create(&object), []);
        assert_eq!(
            KIND.cells(&object, 0)[..7],
            [json!("d.example"), json!(true), json!(false), json!(false), json!("a,b"), json!(false), json!("Persistent")]
        );
        assert_eq!(object["spec"]["fsGroupPolicy"], "ReadWriteOnceWithFSType");
    }

    #[test]
    fn what_a_driver_says_has_rules_and_parts_of_it_stay() {
        for (spec, expected) in [
            (json!({"volumeLifecycleModes": ["Persistent", "Ephemeral"], "fsGroupPolicy": "File"}), vec![]),
            (
                json!({"fsGroupPolicy": "Some"}),
                vec!["spec.fsGroupPolicy: Unsupported value: \"Some\": supported values: \"File\", \"None\", \"ReadWriteOnceWithFSType\""],
            ),
            (
                json!({"volumeLifecycleModes": ["Brief"]}),
                vec!["spec.volumeLifecycleModes: Unsupported value: \"Brief\": supported values: \"Persistent\", \"Ephemeral\""],
            ),
            (
                json!({"tokenRequests": [{"audience": "a", "expirationSeconds": 599}, {"audience": "a"}]}),
                vec![
                    "spec.tokenRequests[0].expirationSeconds: Invalid value: 599: may not specify a duration less than 10 minutes",
                    "spec.tokenRequests[1].audience: Duplicate value: \"a\"",
                ],
            ),
            (
                json!({"nodeAllocatableUpdatePeriodSeconds": 9}),
                vec!["spec.nodeAllocatableUpdatePeriodSeconds: Invalid value: 9: must be greater than or equal to 10 seconds"],
            ),
        ] {
            let found: Vec<String> = KIND.validate_create(&driver(&spec)).iter().map(ToString::to_string).collect();
            assert_eq!(found, expected, "{spec}");
        }
        let change = |spec: Value| {
            let found = KIND.validate_update(&driver(&spec), &driver(&json!({})), None);
            found.into_iter().map(|e| (e.field, e.detail)).collect::<Vec<_>>()
        };
        assert_eq!(change(json!({"podInfoOnMount": true, "requiresRepublish": true})), []);
        let fixed = |field: &str| vec![(field.to_owned(), "field is immutable".to_owned())];
        assert_eq!(change(json!({"attachRequired": false})), fixed("spec.attachedRequired"));
        assert_eq!(change(json!({"volumeLifecycleModes": ["Ephemeral"]})), fixed("spec.volumeLifecycleModes"));
    }
}

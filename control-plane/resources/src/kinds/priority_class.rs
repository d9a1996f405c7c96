//! PriorityClass: a named priority of pods.

use crate::contract::{Column, Descriptor, Subresource};
use crate::field::{Errors, Path};
use crate::table::{self, number, text};
use crate::typed::{Kind, cluster};
use k8s_openapi::api::scheduling::v1;
use serde_json::Value;

pub struct PriorityClass;

/// The largest value that users may give; above are the system's own classes.
const MAX_USER_VALUE: i32 = 1_000_000_000;
const SYSTEM: &[(&str, i32)] = &[("system-node-critical", 2_000_001_000), ("system-cluster-critical", 2_000_000_000)];

impl Kind for PriorityClass {
    type Object = v1::PriorityClass;

    const DESCRIPTOR: Descriptor =
        Descriptor { short_names: &["pc"], has_generation: true, ..cluster::<v1::PriorityClass>("priorityclasses", "priorityclass") };
    const COLUMNS: &'static [Column] = &[
        table::NAME,
        number("Value", "Priority of pods of the class"),
        text("Global-Default", "Whether pods without a class get this one"),
        table::AGE,
        text("PreemptionPolicy", "Whether pods of the class preempt others"),
    ];

    fn default(object: &mut v1::PriorityClass) {
        object.preemption_policy.get_or_insert_with(|| "PreemptLowerPriority".to_owned());
    }

    fn validate(object: &v1::PriorityClass, errors: &mut Errors) {
        let name = object.metadata.name.as_deref().unwrap_or_default();
        if name.starts_with("system-") {
            if !SYSTEM.contains(&(name, object.value)) {
                let detail = "priority class names with 'system-' prefix are reserved for system use only";
                errors.forbidden(&Path::Root.field("metadata").field("name"), detail);
            }
        } else if object.value > MAX_USER_VALUE {
            let detail = format!("maximum allowed value of a user defined priority is {MAX_USER_VALUE}");
            errors.forbidden(&Path::Root.field("value"), detail);
        }
        let policies = &["Never", "PreemptLowerPriority"];
        errors.one_of_if_set(&Path::Root.field("preemptionPolicy"), object.preemption_policy.as_deref(), policies);
    }

    fn validate_update(new: &v1::PriorityClass, old: &v1::PriorityClass, _: Subresource<'_>, errors: &mut Errors) {
        if new.value != old.value {
            errors.forbidden(&Path::Root.field("value"), "may not be changed in an update.");
        }
        errors.immutable(&Path::Root.field("preemptionPolicy"), &new.preemption_policy, &old.preemption_policy);
    }

    fn cells(object: &v1::PriorityClass, now: i64) -> Vec<Value> {
        vec![
            table::name(&object.metadata),
            object.value.into(),
            object.global_default.unwrap_or_default().to_string().into(),
            table::age(&object.metadata, now),
            object.preemption_policy.as_deref().unwrap_or_default().into(),
        ]
    }
}

//! StorageClass: how volumes are provisioned. Kept for clients; nothing here provisions.

use crate::contract::{Column, Descriptor, Subresource};
use crate::field::{Errors, Path};
use crate::names;
use crate::table::{self, text};
use crate::typed::{Kind, cluster};
use k8s_openapi::api::core::v1::TopologySelectorTerm;
use k8s_openapi::api::storage::v1;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

pub struct StorageClass;

/// Most parameters, and bytes of all keys and values together.
const MAX_PARAMETERS: usize = 512;
const MAX_PARAMETERS_BYTES: usize = 256 * 1024;
const IS_DEFAULT: &str = "storageclass.kubernetes.io/is-default-class";

impl Kind for StorageClass {
    type Object = v1::StorageClass;

    const DESCRIPTOR: Descriptor = Descriptor { short_names: &["sc"], ..cluster::<v1::StorageClass>("storageclasses", "storageclass") };
    const COLUMNS: &'static [Column] = &[
        table::NAME,
        text("Provisioner", "Provisioner indicates the type of the provisioner."),
        text("ReclaimPolicy", "Reclaim policy of volumes that the class makes"),
        text("VolumeBindingMode", "When claims are bound"),
        text("AllowVolumeExpansion", "Whether claims may grow"),
        table::AGE,
    ];

    fn default(object: &mut v1::StorageClass) {
        object.reclaim_policy.get_or_insert_with(|| "Delete".to_owned());
        object.volume_binding_mode.get_or_insert_with(|| "Immediate".to_owned());
    }

    fn validate(object: &v1::StorageClass, errors: &mut Errors) {
        let at = Path::Root.field("provisioner");
        if object.provisioner.is_empty() {
            errors.required(&at, "");
        } else {
            errors.format(&at, &object.provisioner, names::qualified_name(&object.provisioner.to_ascii_lowercase()));
        }
        errors.one_of(&Path::Root.field("reclaimPolicy"), object.reclaim_policy.as_deref(), &["Delete", "Retain"]);
        let modes = &["Immediate", "WaitForFirstConsumer"];
        errors.one_of(&Path::Root.field("volumeBindingMode"), object.volume_binding_mode.as_deref(), modes);
        parameters(object.parameters.as_ref(), &Path::Root.field("parameters"), errors);
        topologies(object.allowed_topologies.as_deref().unwrap_or_default(), &Path::Root.field("allowedTopologies"), errors);
    }

    fn validate_update(new: &v1::StorageClass, old: &v1::StorageClass, _: Subresource<'_>, errors: &mut Errors) {
        Self::validate(new, errors);
        if new.parameters.clone().unwrap_or_default() != old.parameters.clone().unwrap_or_default() {
            errors.forbidden(&Path::Root.field("parameters"), "updates to parameters are forbidden.");
        }
        if new.provisioner != old.provisioner {
            errors.forbidden(&Path::Root.field("provisioner"), "updates to provisioner are forbidden.");
        }
        if new.reclaim_policy != old.reclaim_policy {
            errors.forbidden(&Path::Root.field("reclaimPolicy"), "updates to reclaimPolicy are forbidden.");
        }
        errors.immutable(&Path::Root.field("volumeBindingMode"), &new.volume_binding_mode, &old.volume_binding_mode);
    }

    fn cells(object: &v1::StorageClass, now: i64) -> Vec<Value> {
        let meta = &object.metadata;
        let default = meta.annotations.as_ref().and_then(|a| a.get(IS_DEFAULT)).is_some_and(|v| v == "true");
        let name = format!("{}{}", meta.name.as_deref().unwrap_or_default(), if default { " (default)" } else { "" });
        vec![
            name.into(),
            object.provisioner.as_str().into(),
            object.reclaim_policy.as_deref().unwrap_or("Delete").into(),
            object.volume_binding_mode.as_deref().unwrap_or("<unset>").into(),
            object.allow_volume_expansion.unwrap_or_default().to_string().into(),
            table::age(meta, now),
        ]
    }
}

fn parameters(list: Option<&BTreeMap<String, String>>, at: &Path<'_>, errors: &mut Errors) {
    let Some(list) = list else { return };
    if list.len() > MAX_PARAMETERS {
        errors.too_long(at, MAX_PARAMETERS);
        return;
    }
    if list.contains_key("") {
        errors.invalid(at, "", "field can not be empty.");
    }
    if list.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>() > MAX_PARAMETERS_BYTES {
        errors.too_long(at, MAX_PARAMETERS_BYTES);
    }
}

/// Alternatives of places; one that says nothing, or the same as one before, is one too many.
fn topologies(terms: &[TopologySelectorTerm], at: &Path<'_>, errors: &mut Errors) {
    let mut before: Vec<BTreeMap<&str, BTreeSet<&str>>> = vec![BTreeMap::new()];
    for (i, term) in terms.iter().enumerate() {
        let at = at.index(i);
        let at = at.field("matchLabelExpressions");
        let mut places = BTreeMap::new();
        for (i, requirement) in term.match_label_expressions.iter().flatten().enumerate() {
            let at = at.index(i);
            let at_values = at.field("values");
            let mut values = BTreeSet::new();
            if requirement.values.is_empty() {
                errors.required(&at_values, "");
            }
            for (i, value) in requirement.values.iter().enumerate() {
                if !values.insert(value.as_str()) {
                    errors.duplicate(&at_values.index(i), value.as_str());
                }
            }
            errors.format(&at.field("key"), &requirement.key, names::qualified_name(&requirement.key));
            if places.insert(requirement.key.as_str(), values).is_some() {
                errors.duplicate(&at.field("key"), requirement.key.as_str());
            }
        }
        if before.contains(&places) {
            errors.duplicate(&at, "");
        }
        before.push(places);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Resource;
    use crate::typed::Typed;
    use serde_json::json;

    #[test]
    fn parameters_and_places_have_bounds() {
        let kind = Typed::<StorageClass>::NEW;
        let many: BTreeMap<String, String> = (0..513).map(|i| (i.to_string(), String::new())).collect();
        let zone = |values: &[&str]| json!({"matchLabelExpressions": [{"key": "zone", "values": values}]});
        let at = "allowedTopologies[0].matchLabelExpressions";
        for (change, expected) in [
            (json!({"parameters": {"type": "fast"}, "allowedTopologies": [zone(&["a", "b"]), zone(&["c"])]}), vec![]),
            (json!({"parameters": many}), vec!["parameters: Too long: may not be more than 512 bytes".to_owned()]),
            (json!({"parameters": {"": "x"}}), vec!["parameters: Invalid value: \"\": field can not be empty.".to_owned()]),
            (
                json!({"parameters": {"a": "x".repeat(256 * 1024)}}),
                vec!["parameters: Too long: may not be more than 262144 bytes".to_owned()],
            ),
            (json!({"allowedTopologies": [zone(&[])]}), vec![format!("{at}[0].values: Required value")]),
            (json!({"allowedTopologies": [zone(&["a", "a"])]}), vec![format!("{at}[0].values[1]: Duplicate value: \"a\"")]),
            (json!({"allowedTopologies": [{}]}), vec![format!("{at}: Duplicate value: \"\"")]),
            (
                json!({"allowedTopologies": [zone(&["a", "b"]), zone(&["b", "a"])]}),
                vec!["allowedTopologies[1].matchLabelExpressions: Duplicate value: \"\"".to_owned()],
            ),
            (
                json!({"allowedTopologies": [{"matchLabelExpressions": [{"key": "z", "values": ["a"]}, {"key": "z", "values": ["b"]}]}]}),
                vec![format!("{at}[1].key: Duplicate value: \"z\"")],
            ),
        ] {
            let mut body = json!({"metadata": {"name": "a"}, "provisioner": "example.com/p"});
            for (key, value) in change.as_object().unwrap() {
                body[key] = value.clone();
            }
            let found: Vec<String> = kind.validate_create(&kind.decode(body).unwrap().object).iter().map(ToString::to_string).collect();
            assert_eq!(found, expected);
        }
    }
}

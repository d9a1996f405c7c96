//! ConfigMap: keys that can be file names, at most 1 MiB, optionally immutable.

use crate::contract::{Column, Descriptor, Subresource};
use crate::field::{Errors, Path};
use crate::names;
use crate::table::{self, text};
use crate::typed::{Kind, namespaced};
use k8s_openapi::api::core::v1;
use serde_json::Value;

pub struct ConfigMap;

/// Values of `data` and `binaryData` together; the same for Secrets.
pub const MAX_BYTES: usize = 1024 * 1024;
/// What an immutable object's fields are refused with.
pub const FROZEN: &str = "field is immutable when `immutable` is set";

impl Kind for ConfigMap {
    type Object = v1::ConfigMap;

    const DESCRIPTOR: Descriptor = Descriptor { short_names: &["cm"], ..namespaced::<v1::ConfigMap>("configmaps", "configmap") };
    const COLUMNS: &'static [Column] = &[table::NAME, text("Data", "Number of entries"), table::AGE];

    fn validate(object: &v1::ConfigMap, errors: &mut Errors) {
        let (data, binary) = (Path::Root.field("data"), Path::Root.field("binaryData"));
        let mut size = 0;
        for (key, value) in object.data.iter().flatten() {
            errors.format(&data.key(key), key, names::config_key(key));
            if object.binary_data.as_ref().is_some_and(|b| b.contains_key(key)) {
                errors.invalid(&data.key(key), key.as_str(), "duplicate of key present in binaryData");
            }
            size += value.len();
        }
        for (key, value) in object.binary_data.iter().flatten() {
            errors.format(&binary.key(key), key, names::config_key(key));
            size += value.0.len();
        }
        if size > MAX_BYTES {
            errors.too_long(&Path::Root.key(""), MAX_BYTES);
        }
    }

    fn validate_update(new: &v1::ConfigMap, old: &v1::ConfigMap, _: Subresource<'_>, errors: &mut Errors) {
        if old.immutable == Some(true) {
            if new.immutable != Some(true) {
                errors.forbidden(&Path::Root.field("immutable"), FROZEN);
            }
            if new.data.clone().unwrap_or_default() != old.data.clone().unwrap_or_default() {
                errors.forbidden(&Path::Root.field("data"), FROZEN);
            }
            if new.binary_data.clone().unwrap_or_default() != old.binary_data.clone().unwrap_or_default() {
                errors.forbidden(&Path::Root.field("binaryData"), FROZEN);
            }
        }
        Self::validate(new, errors);
    }

    fn cells(object: &v1::ConfigMap, now: i64) -> Vec<Value> {
        let entries = object.data.as_ref().map_or(0, |d| d.len()) + object.binary_data.as_ref().map_or(0, |d| d.len());
        vec![table::name(&object.metadata), entries.to_string().into(), table::age(&object.metadata, now)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Resource;
    use crate::typed::Typed;
    use serde_json::json;

    const KIND: Typed<ConfigMap> = Typed::NEW;

    fn with(fields: Value) -> Value {
        let mut object = json!({"metadata": {"name": "a", "namespace": "d"}});
        for (key, value) in fields.as_object().unwrap() {
            object[key] = value.clone();
        }
        object
    }

    #[test]
    fn keys_and_size_are_bounded() {
        for (fields, expected) in [
            (json!({"data": {"a.b_c-1": "x"}, "binaryData": {"d": "eA=="}}), None),
            (json!({"data": {"a/b": ""}}), Some("data[a/b]: Invalid value: \"a/b\": a valid config key must consist of")),
            (json!({"data": {"..": ""}}), Some("data[..]: Invalid value: \"..\": must not be '..'")),
            (
                json!({"data": {"a": "x"}, "binaryData": {"a": ""}}),
                Some("data[a]: Invalid value: \"a\": duplicate of key present in binaryData"),
            ),
            (json!({"data": {"a": "x".repeat(MAX_BYTES + 1)}}), Some("[]: Too long: may not be more than 1048576 bytes")),
        ] {
            let found: Vec<String> = KIND.validate_create(&with(fields)).iter().map(ToString::to_string).collect();
            assert_eq!(found.len(), usize::from(expected.is_some()), "{found:?}");
            assert!(expected.is_none_or(|e| found[0].starts_with(e)), "{found:?}");
        }
    }

    #[test]
    fn an_immutable_map_stays_as_it_is() {
        let old = with(json!({"immutable": true, "data": {"a": "1"}}));
        assert!(KIND.validate_update(&old, &old, None).is_empty());
        let changed = KIND.validate_update(&with(json!({"immutable": true, "data": {"a": "2"}})), &old, None);
        assert_eq!(changed[0].to_string(), "data: Forbidden: field is immutable when `immutable` is set");
        assert_eq!(KIND.validate_update(&with(json!({"data": {"a": "1"}})), &old, None)[0].field, "immutable");
    }

    #[test]
    fn the_table_counts_entries() {
        let cells = KIND.cells(&with(json!({"data": {"a": "", "b": ""}, "binaryData": {"c": ""}})), 0);
        assert_eq!(cells[1], "3");
    }
}

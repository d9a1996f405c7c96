//! Secret: `stringData` is folded into `data` on reading, and each well-known type has the keys it needs.
//!
//! Before: `{"stringData": {"a": "x"}}`. After: `{"data": {"a": "eA=="}, "type": "Opaque"}`.

use super::config_map::{FROZEN, MAX_BYTES};
use crate::contract::{Column, Descriptor, Subresource};
use crate::field::{Errors, Path};
use crate::json;
use crate::names;
use crate::table::{self, text};
use crate::typed::{Kind, namespaced};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1;
use serde_json::Value;

pub struct Secret;

const ACCOUNT_NAME: &str = "kubernetes.io/service-account.name";

impl Kind for Secret {
    type Object = v1::Secret;

    const DESCRIPTOR: Descriptor = namespaced::<v1::Secret>("secrets", "secret");
    const COLUMNS: &'static [Column] = &[
        table::NAME,
        text("Type", "Used to facilitate programmatic handling of secret data."),
        text("Data", "Number of entries"),
        table::AGE,
    ];

    fn default(object: &mut v1::Secret) {
        if object.type_.as_deref().unwrap_or_default().is_empty() {
            object.type_ = Some("Opaque".to_owned());
        }
        for (key, value) in object.string_data.take().into_iter().flatten() {
            object.data.get_or_insert_default().insert(key, ByteString(value.into_bytes()));
        }
    }

    fn validate(object: &v1::Secret, errors: &mut Errors) {
        let at = Path::Root.field("data");
        let mut size = 0;
        for (key, value) in object.data.iter().flatten() {
            errors.format(&at.key(key), key, names::config_key(key));
            size += value.0.len();
        }
        if size > MAX_BYTES {
            errors.too_long(&at, MAX_BYTES);
        }
        validate_type(object, &at, errors);
    }

    fn validate_update(new: &v1::Secret, old: &v1::Secret, _: Subresource<'_>, errors: &mut Errors) {
        errors.immutable(&Path::Root.field("type"), &new.type_, &old.type_);
        if old.immutable == Some(true) {
            if new.immutable != Some(true) {
                errors.forbidden(&Path::Root.field("immutable"), FROZEN);
            }
            if new.data.clone().unwrap_or_default() != old.data.clone().unwrap_or_default() {
                errors.forbidden(&Path::Root.field("data"), FROZEN);
            }
        }
        Self::validate(new, errors);
    }

    fn cells(object: &v1::Secret, now: i64) -> Vec<Value> {
        let entries = object.data.as_ref().map_or(0, |d| d.len()).to_string();
        vec![
            table::name(&object.metadata),
            object.type_.as_deref().unwrap_or_default().into(),
            entries.into(),
            table::age(&object.metadata, now),
        ]
    }

    fn selectable_fields(object: &Value) -> Vec<(&'static str, String)> {
        vec![("type", json::text(object, &["type"]))]
    }
}

fn validate_type(object: &v1::Secret, at: &Path<'_>, errors: &mut Errors) {
    let value = |key: &str| object.data.as_ref().and_then(|d| d.get(key));
    let json = |key: &'static str, errors: &mut Errors| match value(key) {
        None => errors.required(&at.key(key), ""),
        Some(bytes) if serde_json::from_slice::<serde_json::Map<String, Value>>(&bytes.0).is_err() => {
            // The content is a secret: it is not repeated.
            errors.invalid(&at.key(key), "<secret contents redacted>", "not a JSON object");
        }
        Some(_) => {}
    };
    match object.type_.as_deref().unwrap_or_default() {
        "kubernetes.io/service-account-token" => {
            let account = object.metadata.annotations.as_ref().and_then(|a| a.get(ACCOUNT_NAME));
            if account.is_none_or(String::is_empty) {
                let metadata = Path::Root.field("metadata");
                errors.required(&metadata.field("annotations").key(ACCOUNT_NAME), "");
            }
        }
        "kubernetes.io/dockercfg" => json(".dockercfg", errors),
        "kubernetes.io/dockerconfigjson" => json(".dockerconfigjson", errors),
        "kubernetes.io/basic-auth" if value("username").is_none() && value("password").is_none() => {
            errors.required(&at.key("username"), "");
            errors.required(&at.key("password"), "");
        }
        "kubernetes.io/ssh-auth" if value("ssh-privatekey").is_none_or(|v| v.0.is_empty()) => {
            errors.required(&at.key("ssh-privatekey"), "");
        }
        "kubernetes.io/tls" => {
            for key in ["tls.crt", "tls.key"] {
                if value(key).is_none() {
                    errors.required(&at.key(key), "");
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Resource;
    use crate::typed::Typed;
    use serde_json::json;

    const KIND: Typed<Secret> = Typed::NEW;

    #[test]
    fn string_data_is_folded_into_data_and_wins() {
        let object = KIND.decode(json!({"data": {"a": "b2xk", "b": "b2xk"}, "stringData": {"a": "new"}})).unwrap().object;
        assert_eq!(object["data"], json!({"a": "bmV3", "b": "b2xk"}));
        assert_eq!((object.get("stringData"), &object["type"]), (None, &json!("Opaque")));
    }

    #[test]
    fn types_need_their_keys() {
        for (kind, data, fields) in [
            ("Opaque", json!({}), &[][..]),
            ("kubernetes.io/tls", json!({"tls.crt": ""}), &["data[tls.key]"]),
            ("kubernetes.io/basic-auth", json!({}), &["data[username]", "data[password]"]),
            ("kubernetes.io/basic-auth", json!({"username": ""}), &[]),
            ("kubernetes.io/ssh-auth", json!({}), &["data[ssh-privatekey]"]),
            ("kubernetes.io/dockerconfigjson", json!({".dockerconfigjson": "e30="}), &[]),
            ("kubernetes.io/dockerconfigjson", json!({".dockerconfigjson": "eA=="}), &["data[.dockerconfigjson]"]),
            ("kubernetes.io/service-account-token", json!({}), &["metadata.annotations[kubernetes.io/service-account.name]"]),
        ] {
            let object = json!({"metadata": {"name": "a", "namespace": "d"}, "type": kind, "data": data});
            let found: Vec<String> = KIND.validate_create(&object).into_iter().map(|e| e.field).collect();
            assert_eq!(found, fields, "{kind}");
        }
    }

    #[test]
    fn the_type_never_changes() {
        let secret = |kind| json!({"metadata": {"name": "a", "namespace": "d"}, "type": kind});
        let found = KIND.validate_update(&secret("Opaque"), &secret("x/y"), None);
        assert_eq!(found[0].to_string(), "type: Invalid value: \"Opaque\": field is immutable");
    }
}

//! One object in the cache: its JSON, ready to be sent, and the few fields that selection asks for.

use crate::kinds::Kind;
use crate::object;
use bytes::Bytes;
use orknet_store::Revision;
use serde_json::Value;

/// An object as the client sees it, in as little memory as selection allows.
pub struct CachedObject {
    /// `namespace/name`, or `name` for cluster-wide kinds.
    pub tail: Box<str>,
    /// The whole object with its `resourceVersion`.
    pub json: Bytes,
    labels: Box<[(Box<str>, Box<str>)]>,
    fields: Box<[(&'static str, Box<str>)]>,
}

impl CachedObject {
    /// From a stored value (without `resourceVersion`). `kinds`: those served from this place, whose fields can be selected.
    pub fn new(kinds: &[Kind], mut value: Value, revision: Revision) -> Self {
        object::set_meta(&mut value, "resourceVersion", revision.to_string());
        Self::of(kinds, value)
    }

    /// From what is made for an answer and never stored: it has no version.
    pub fn computed(value: Value) -> Self {
        Self::of(&[], value)
    }

    fn of(kinds: &[Kind], value: Value) -> Self {
        let labels = value.pointer("/metadata/labels").and_then(Value::as_object).into_iter().flatten();
        let labels = labels.map(|(key, value)| (key.as_str().into(), value.as_str().unwrap_or_default().into())).collect();
        let mut fields: Vec<(&'static str, Box<str>)> = Vec::new();
        // A form that only a webhook knows is looked at when it is asked for.
        let form = object::text(&value, "/apiVersion").to_owned();
        for kind in kinds.iter().filter(|kind| kind.conversion().is_none() || kind.descriptor().api_version() == form) {
            let selectable =
                if kind.has_own_form() { kind.selectable_fields(&value) } else { kind.selectable_fields(&kind.from_stored(value.clone())) };
            for (field, text) in selectable {
                if !fields.iter().any(|(known, _)| *known == field) {
                    fields.push((field, text.into()));
                }
            }
        }
        Self {
            tail: crate::storage::keys::tail(object::namespace(&value), object::name(&value)).into(),
            // A value made of JSON always serialises.
            // In as many bytes as it has: a vector that grew keeps up to as many again.
            json: serde_json::to_vec(&value).unwrap_or_default().into_boxed_slice().into(),
            labels,
            fields: fields.into(),
        }
    }

    /// Of an object that is made for one answer: it has no version.
    pub fn unversioned(mut value: Value) -> Self {
        let made = Self::new(&[], value.clone(), 0);
        object::meta_mut(&mut value).remove("resourceVersion");
        // A value made of JSON always serialises.
        Self { json: serde_json::to_vec(&value).unwrap_or_default().into(), ..made }
    }

    /// Namespace (empty for cluster-wide kinds) and name.
    pub fn place(&self) -> (&str, &str) {
        self.tail.split_once('/').unwrap_or(("", &self.tail))
    }

    /// A label's value.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels.iter().find(|(name, _)| &**name == key).map(|(_, value)| &**value)
    }

    /// A selectable field's value.
    pub fn field(&self, field: &str) -> Option<&str> {
        match field {
            "metadata.name" => Some(self.place().1),
            "metadata.namespace" => Some(self.place().0),
            _ => self.fields.iter().find(|(name, _)| *name == field).map(|(_, value)| &**value),
        }
    }

    /// The object, parsed, in the form it is stored in.
    pub fn value(&self) -> Value {
        serde_json::from_slice(&self.json).unwrap_or_default()
    }

    /// The object, parsed, in a kind's own form.
    pub fn value_as(&self, kind: &Kind) -> Value {
        if kind.has_own_form() { self.value() } else { kind.from_stored(self.value()) }
    }

    /// The object's JSON in a kind's own form.
    pub fn json_as(&self, kind: &Kind) -> Bytes {
        if kind.has_own_form() {
            self.json.clone()
        } else {
            // A value made of JSON always serialises.
            serde_json::to_vec(&self.value_as(kind)).unwrap_or_default().into()
        }
    }

    /// The object as it was when it went: with the version of its deletion.
    pub fn deleted_at(&self, kinds: &[Kind], revision: Revision) -> Self {
        Self::new(kinds, self.value(), revision)
    }

    /// The same state, selectable as other kinds want it.
    pub fn refitted(&self, kinds: &[Kind]) -> Self {
        let value = self.value();
        // What this server made has a version that is a number.
        let revision = object::resource_version(&value).parse().unwrap_or_default();
        Self::new(kinds, value, revision)
    }

    /// Bytes that it takes, about.
    pub fn size(&self) -> usize {
        self.json.len() + 128
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_object_takes_no_more_bytes_than_its_json_has() {
        let value = json!({ "metadata": { "name": "a", "annotations": { "long": "x".repeat(1025) } } });
        let object = CachedObject::new(&[], value, 7);
        let length = object.json.len();
        assert_eq!(object.json.try_into_mut().expect("nobody else's").capacity(), length);
    }
}

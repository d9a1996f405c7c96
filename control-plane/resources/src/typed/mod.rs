//! From a typed kind to the contract: [`Kind`] is what a kind writes, [`Typed`] makes a [`Resource`] of it. The server's side is the contract.

pub mod decode;
mod describe;
mod go_type;
pub(crate) mod own;

use crate::contract::{Cause, Column, DecodeError, Decoded, Descriptor, FieldError, Resource, Scope, Subresource};
use crate::field::{Errors, Path};
use crate::json;
use crate::meta;
use crate::names::NameRule;
use k8s_openapi::Metadata;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::borrow::Cow;
use std::marker::PhantomData;

pub use describe::{cluster, namespaced, review};

/// One kind over its typed form. Everything but the description has a default that does nothing.
pub trait Kind: Send + Sync + 'static {
    type Object: k8s_openapi::Resource + Metadata<Ty = ObjectMeta> + Serialize + DeserializeOwned + JsonSchema;

    /// Names and abilities.
    const DESCRIPTOR: Descriptor;

    /// What `metadata.name` must look like.
    const NAME: NameRule = NameRule::Subdomain;

    /// Whether a create may carry a status (nodes).
    const CREATED_WITH_STATUS: bool = false;

    /// Whether a replacement must say which version of the object it is of.
    const REPLACES_KNOWN_VERSIONS_ONLY: bool = false;

    /// Whether a PUT of an object that is not there creates it.
    const CREATES_ON_UPDATE: bool = false;

    /// What `status` does not write (`Resource::reset_fields`): the dotted paths of Kubernetes' strategy.
    const RESET_BY_STATUS: &'static [&'static str] = &["spec"];

    /// Most levels of nesting in an object's JSON, for a type that refers to itself: each level takes stack when it is read.
    const MAX_DEPTH: usize = usize::MAX;

    /// The table's columns; `cells` fills as many.
    const COLUMNS: &'static [Column] = crate::table::NAME_AND_AGE;

    /// Fills in what the client left out. Must be idempotent.
    fn default(object: &mut Self::Object) {
        let _ = object;
    }

    /// Puts right what the type writes otherwise than the API does.
    fn canonical(object: &mut Value) {
        let _ = object;
    }

    /// The status of a new object, until somebody writes one: Go writes the zero of what is no pointer. `{}` where all of it may be absent.
    fn new_status() -> Value {
        serde_json::json!({})
    }

    /// Before a create, after the status was put back to [`Kind::new_status`].
    fn prepare_create(object: &mut Value) {
        let _ = object;
    }

    /// Before an update, after the generic split between `status` and the rest.
    fn prepare_update(new: &mut Value, old: &Value, subresource: Subresource<'_>) {
        let _ = (new, old, subresource);
    }

    /// Before a deletion begins.
    fn prepare_delete(object: &mut Value, now: &str) {
        let _ = (object, now);
    }

    /// The rules that hold for every stored object (metadata is checked already).
    fn validate(object: &Self::Object, errors: &mut Errors) {
        let _ = (object, errors);
    }

    /// The rules for a change. Runs instead of [`Kind::validate`], which it calls where the whole object is to be checked.
    fn validate_update(new: &Self::Object, old: &Self::Object, subresource: Subresource<'_>, errors: &mut Errors) {
        let _ = old;
        if subresource != Some("status") {
            Self::validate(new, errors);
        }
    }

    /// One cell per column.
    fn cells(object: &Self::Object, now_seconds: i64) -> Vec<Value> {
        crate::table::name_and_age(object.metadata(), now_seconds)
    }

    /// What `--field-selector` may name, with values. From the JSON as it is: watches ask for every object that changes.
    fn selectable_fields(object: &Value) -> Vec<(&'static str, String)> {
        let _ = object;
        Vec::new()
    }

    /// What the user should be told though the object is accepted.
    fn warnings(object: &Self::Object) -> Vec<String> {
        let _ = object;
        Vec::new()
    }

    /// The form in which the object is stored, for kinds served in two forms.
    fn to_stored(object: Value) -> Value {
        object
    }

    /// From the stored form.
    fn from_stored(stored: Value) -> Value {
        stored
    }

    /// Brings a companion into line with its object, for kinds that are companions.
    fn follow(companion: &mut Value, object: &Value, now: &str) {
        let _ = (companion, object, now);
    }
}

/// A [`Kind`] as the server sees it.
pub struct Typed<K>(PhantomData<K>);

impl<K> Typed<K> {
    pub const NEW: Self = Self(PhantomData);
}

impl<K: Kind> Typed<K> {
    const DESCRIPTOR: &'static Descriptor = &K::DESCRIPTOR;

    fn has_status() -> bool {
        Self::DESCRIPTOR.subresources.contains(&"status")
    }

    fn is_stored() -> bool {
        Self::DESCRIPTOR.verbs.contains(&"get")
    }
}

impl<K: Kind> Resource for Typed<K> {
    fn descriptor(&self) -> &Descriptor {
        Self::DESCRIPTOR
    }

    fn decode(&self, mut body: Value) -> Result<Decoded, DecodeError> {
        let descriptor = Self::DESCRIPTOR;
        check_type(&mut body, descriptor)?;
        if K::MAX_DEPTH < usize::MAX && json::is_deeper_than(&body, K::MAX_DEPTH) {
            let why = format!("it is nested deeper than {} levels", K::MAX_DEPTH);
            return Err(DecodeError(format!(
                "{kind} in version {:?} cannot be handled as a {kind}: {why}",
                descriptor.version,
                kind = descriptor.kind
            )));
        }
        let (mut object, unknown) = decode::read::<K::Object>(body).map_err(|e| {
            DecodeError(format!("{kind} in version {:?} cannot be handled as a {kind}: {e}", descriptor.version, kind = descriptor.kind))
        })?;
        meta::normalise(object.metadata_mut());
        K::default(&mut object);
        let mut object = serde_json::to_value(&object).map_err(|e| DecodeError(format!("{}: {e}", descriptor.kind)))?;
        K::canonical(&mut object);
        Ok(Decoded { object, unknown })
    }

    fn prepare_create(&self, object: &mut Value) {
        if Self::has_status()
            && !K::CREATED_WITH_STATUS
            && let Some(map) = object.as_object_mut()
        {
            map.insert("status".to_owned(), K::new_status());
        }
        K::prepare_create(object);
    }

    fn prepare_update(&self, new: &mut Value, old: &Value, subresource: Subresource<'_>) {
        if subresource.is_none() && Self::has_status() {
            json::keep(new, old, "status");
        }
        if subresource == Some("status")
            && let (Some(new), Some(old)) = (new.as_object_mut(), old.as_object())
        {
            new.retain(|key, _| matches!(key.as_str(), "status" | "metadata"));
            for (key, value) in old.iter().filter(|(key, _)| !matches!(key.as_str(), "status" | "metadata")) {
                new.insert(key.clone(), value.clone());
            }
        }
        K::prepare_update(new, old, subresource);
    }

    fn prepare_delete(&self, object: &mut Value, now: &str) {
        K::prepare_delete(object, now);
    }

    fn replaces_known_versions_only(&self) -> bool {
        K::REPLACES_KNOWN_VERSIONS_ONLY
    }

    fn creates_on_update(&self) -> bool {
        K::CREATES_ON_UPDATE
    }

    fn reset_fields(&self, subresource: Subresource<'_>) -> &'static [&'static str] {
        match subresource {
            None if Self::DESCRIPTOR.subresources.contains(&"status") => &["status"],
            Some("status") => K::RESET_BY_STATUS,
            _ => &[],
        }
    }

    fn validate_create(&self, object: &Value) -> Vec<FieldError> {
        let object = match typed::<K>(object) {
            Ok(object) => object,
            Err(error) => return vec![error],
        };
        let mut errors = Errors::default();
        if Self::is_stored() {
            meta::validate(object.metadata(), Self::DESCRIPTOR.scope, K::NAME, &Path::Root.field("metadata"), &mut errors);
        } else if Self::DESCRIPTOR.scope == Scope::Cluster && object.metadata().namespace.is_some() {
            errors.forbidden(&Path::Root.field("metadata").field("namespace"), "not allowed on this type");
        }
        K::validate(&object, &mut errors);
        errors.into_list()
    }

    fn validate_update(&self, new: &Value, old: &Value, subresource: Subresource<'_>) -> Vec<FieldError> {
        let (new, old) = match (typed::<K>(new), typed::<K>(old)) {
            (Ok(new), Ok(old)) => (new, old),
            (Err(error), _) | (_, Err(error)) => return vec![error],
        };
        let mut errors = Errors::default();
        let at = Path::Root.field("metadata");
        meta::validate(new.metadata(), Self::DESCRIPTOR.scope, K::NAME, &at, &mut errors);
        meta::validate_update(new.metadata(), old.metadata(), &at, &mut errors);
        K::validate_update(&new, &old, subresource, &mut errors);
        errors.into_list()
    }

    fn columns(&self) -> &[Column] {
        K::COLUMNS
    }

    fn cells(&self, object: &Value, now_seconds: i64) -> Vec<Value> {
        match typed::<K>(object) {
            Ok(object) => K::cells(&object, now_seconds),
            // A stored object of another form still has a row.
            Err(_) => {
                let mut cells = vec![Value::from(""); K::COLUMNS.len()];
                if let Some(first) = cells.first_mut() {
                    *first = object.pointer("/metadata/name").cloned().unwrap_or_default();
                }
                cells
            }
        }
    }

    fn selectable_fields(&self, object: &Value) -> Vec<(&'static str, String)> {
        K::selectable_fields(object)
    }

    fn warnings(&self, object: &Value) -> Vec<String> {
        typed::<K>(object).map(|object| K::warnings(&object)).unwrap_or_default()
    }

    fn to_stored(&self, object: Value) -> Value {
        K::to_stored(object)
    }

    fn from_stored(&self, stored: Value) -> Value {
        K::from_stored(stored)
    }

    fn follow(&self, companion: &mut Value, object: &Value, now: &str) {
        K::follow(companion, object, now);
    }

    fn schema(&self, generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<K::Object>()
    }
}

/// A part of an object, or what it is when it is not there.
pub fn or_empty<T: Clone + Default>(part: &Option<T>) -> Cow<'_, T> {
    part.as_ref().map_or_else(|| Cow::Owned(T::default()), Cow::Borrowed)
}

/// Reads the body of a subresource (`Scale`, `Eviction`, `TokenRequest`, …): the typed object and the unknown fields.
pub fn decode_body<T: k8s_openapi::Resource + DeserializeOwned>(mut body: Value) -> Result<(T, Vec<String>), DecodeError> {
    check_names(&mut body, T::API_VERSION, T::KIND)?;
    decode::read(body)
        .map_err(|e| DecodeError(format!("{kind} in version {:?} cannot be handled as a {kind}: {e}", T::VERSION, kind = T::KIND)))
}

fn typed<K: Kind>(value: &Value) -> Result<K::Object, FieldError> {
    K::Object::deserialize(value).map_err(|e| FieldError {
        cause: Cause::Invalid,
        field: String::new(),
        value: None,
        detail: e.to_string(),
    })
}

fn check_type(body: &mut Value, descriptor: &Descriptor) -> Result<(), DecodeError> {
    check_names(body, &descriptor.api_version(), descriptor.kind)
}

/// `apiVersion` and `kind` must match or be absent; an empty one counts as absent.
fn check_names(body: &mut Value, api_version: &str, kind: &str) -> Result<(), DecodeError> {
    let Some(map) = body.as_object_mut() else { return Ok(()) };
    for (key, expected, what) in [("apiVersion", api_version, "API version"), ("kind", kind, "kind")] {
        match map.get(key) {
            Some(Value::String(found)) if found == expected => {}
            None => {}
            Some(Value::Null) => {
                map.remove(key);
            }
            Some(Value::String(found)) if found.is_empty() => {
                map.remove(key);
            }
            Some(Value::String(found)) => {
                return Err(DecodeError(format!("the {what} in the data ({found}) does not match the expected {what} ({expected})")));
            }
            Some(_) => return Err(DecodeError(format!("{key}: expected a string"))),
        }
    }
    Ok(())
}

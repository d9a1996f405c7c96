//! One version of a custom resource as a kind.

mod columns;
mod openapi;
mod rules;

use crate::crd::{Definition, Version};
use crate::schema::cel::Rules;
use crate::schema::{self, CompileError, FieldPath, MAX_SELECTABLE_BYTES, Node};
use columns::Columns;
use orknet_resources::field::Path;
use orknet_resources::{
    Column, DecodeError, Decoded, Descriptor, FieldError, Resource, ScalePaths, Subresource, WebhookConversion, intern,
};
use schemars::{Schema, SchemaGenerator};
use serde_json::Value;
use std::sync::Arc;

const VERBS: &[&str] = &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

/// Why a definition makes no kinds. One that has passed its rules makes them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("{0} is missing")]
    Missing(&'static str),
    #[error("no version is the one that objects are stored in")]
    NotStored,
    #[error("version {version}: {source}")]
    Schema { version: String, source: CompileError },
    #[error("version {version}: selectable field {path:?} {why}")]
    SelectableField { version: String, path: String, why: String },
}

/// See the module.
pub struct CustomKind {
    names: Descriptor,
    api_version: String,
    schema: Node,
    /// The schema's rules in CEL.
    rules: Option<Rules>,
    /// The schema as it is published.
    published: Value,
    columns: Columns,
    selectable: Vec<(&'static str, FieldPath)>,
    scale: Option<ScalePaths>,
    has_status: bool,
    deprecation: Option<String>,
    /// Whether stored objects are in this version's form as they are.
    has_own_form: bool,
    /// The form that objects are stored in, where it is another version's: its `apiVersion` and schema.
    stored: Option<(String, Arc<Node>)>,
    /// The `apiVersion` that objects are stored in.
    stored_version: String,
    conversion: Option<Arc<WebhookConversion>>,
}

impl CustomKind {
    /// The kind of one version of a definition.
    pub fn new(definition: &Definition, version: &Version) -> Result<Self, Error> {
        let storage = definition.storage_version().ok_or(Error::NotStored)?;
        let schema = compile(version)?;
        let stored = if storage.name == version.name {
            None
        } else {
            Some((format!("{}/{}", definition.group, storage.name), Arc::new(compile(storage)?)))
        };
        let selectable = version.selectable_fields.iter().map(|path| {
            let refused = |why| Error::SelectableField { version: version.name.clone(), path: path.clone(), why };
            // Names that are kept for good are small.
            if path.len() > MAX_SELECTABLE_BYTES {
                return Err(refused(format!("has more than {MAX_SELECTABLE_BYTES} bytes")));
            }
            let (field, _) = FieldPath::parse(path, &schema, true).map_err(refused)?;
            Ok((intern::name(path.trim_start_matches('.')), field))
        });
        let selectable = selectable.collect::<Result<_, _>>()?;
        let mut subresources = Vec::new();
        subresources.extend(version.has_status.then_some("status"));
        subresources.extend(version.scale.is_some().then_some("scale"));
        let (group, plural) = (intern::name(&definition.group), intern::name(&definition.names.plural));
        let names = Descriptor {
            group,
            version: intern::name(&version.name),
            kind: intern::name(&definition.names.kind),
            plural,
            singular: intern::name(&definition.names.singular),
            short_names: intern::names(&definition.names.short_names),
            categories: intern::names(&definition.names.categories),
            scope: definition.scope,
            verbs: VERBS,
            subresources: intern::names(&subresources),
            has_generation: true,
            stored_as: (group, plural),
            companion_of: None,
            read_newest: false,
            deprecated: None,
        };
        // As long as the definition is what it was, every object was written by it: pruned, and defaulted unless another version wrote it.
        let one_served = definition.versions.iter().filter(|version| version.served).count() == 1;
        let has_own_form = definition.generation == 1 && stored.is_none() && (one_served || !schema.has_defaults());
        Ok(Self {
            api_version: names.api_version(),
            // A definition with rules that cannot be compiled is not accepted; if one is there, each says so of every object.
            rules: Rules::compile(&schema, &Path::Root, &mut Vec::new()),
            names,
            published: version.schema.clone(),
            columns: Columns::new(version),
            selectable,
            scale: version.scale.clone(),
            has_status: version.has_status,
            deprecation: version.deprecation.clone(),
            has_own_form,
            stored,
            stored_version: format!("{}/{}", definition.group, storage.name),
            conversion: definition.conversion.clone(),
            schema,
        })
    }

    /// What the objects look like.
    pub fn structure(&self) -> &Node {
        &self.schema
    }

    fn check_names(&self, body: &Value) -> Result<(), DecodeError> {
        for (field, expected, what) in [("apiVersion", &self.api_version[..], "API version"), ("kind", self.names.kind, "kind")] {
            match body.get(field) {
                None | Some(Value::Null) => {}
                Some(Value::String(found)) if found.is_empty() || found == expected => {}
                Some(Value::String(found)) => {
                    return Err(DecodeError(format!("the {what} in the data ({found}) does not match the expected {what} ({expected})")));
                }
                Some(_) => return Err(DecodeError(format!("{field}: expected a string"))),
            }
        }
        Ok(())
    }

    fn cannot(&self, why: impl std::fmt::Display) -> DecodeError {
        let Descriptor { kind, version, .. } = self.names;
        DecodeError(format!("{kind} in version {version:?} cannot be handled as a {kind}: {why}"))
    }
}

fn compile(version: &Version) -> Result<Node, Error> {
    Node::compile(&version.schema).map_err(|source| Error::Schema { version: version.name.clone(), source })
}

impl Resource for CustomKind {
    fn descriptor(&self) -> &Descriptor {
        &self.names
    }

    fn decode(&self, mut body: Value) -> Result<Decoded, DecodeError> {
        if !body.is_object() {
            return Err(self.cannot("the object is not a JSON object"));
        }
        self.check_names(&body)?;
        let metadata = body.get("metadata").cloned().unwrap_or_default();
        let (metadata, of_metadata) = schema::read_metadata(&metadata).map_err(|why| self.cannot(why))?;
        let mut unknown: Vec<String> = of_metadata.into_iter().map(|field| format!("metadata.{field}")).collect();
        body["apiVersion"] = self.api_version.as_str().into();
        body["kind"] = self.names.kind.into();
        body["metadata"] = metadata;
        unknown.extend(self.schema.prune_resource(&mut body));
        self.schema.drop_nulls(&mut body);
        self.schema.coerce(&mut body, &mut unknown).map_err(|error| self.cannot(error))?;
        self.schema.fill(&mut body);
        Ok(Decoded { object: body, unknown })
    }

    fn prepare_create(&self, object: &mut Value) {
        if self.has_status
            && let Some(fields) = object.as_object_mut()
        {
            fields.remove("status");
        }
    }

    fn prepare_update(&self, new: &mut Value, old: &Value, subresource: Subresource<'_>) {
        let status = |object: &Value| object.get("status").cloned();
        let set = |object: &mut Value, field: &str, value: Option<Value>| {
            let Some(fields) = object.as_object_mut() else { return };
            match value {
                Some(value) => drop(fields.insert(field.to_owned(), value)),
                None => drop(fields.remove(field)),
            }
        };
        if subresource == Some("status") {
            // Nothing but the status changes, labels and finalizers not either.
            let managed = new.pointer("/metadata/managedFields").cloned();
            let wanted = status(new);
            *new = old.clone();
            if let Some(metadata) = new.get_mut("metadata") {
                set(metadata, "managedFields", managed);
            }
            set(new, "status", wanted);
        } else if self.has_status {
            set(new, "status", status(old));
        }
    }

    fn replaces_known_versions_only(&self) -> bool {
        true
    }

    fn validate_create(&self, object: &Value) -> Vec<FieldError> {
        rules::create(self, object)
    }

    fn validate_update(&self, new: &Value, old: &Value, subresource: Subresource<'_>) -> Vec<FieldError> {
        rules::update(self, new, old, subresource)
    }

    fn columns(&self) -> &[Column] {
        self.columns.heads()
    }

    fn cells(&self, object: &Value, now_seconds: i64) -> Vec<Value> {
        self.columns.cells(object, now_seconds)
    }

    fn selectable_fields(&self, object: &Value) -> Vec<(&'static str, String)> {
        let text = |value: &Value| match value {
            Value::String(text) => text.clone(),
            Value::Number(_) | Value::Bool(_) => value.to_string(),
            _ => String::new(),
        };
        self.selectable.iter().map(|(name, path)| (*name, path.find(object).map(text).unwrap_or_default())).collect()
    }

    fn deprecation(&self) -> Option<&str> {
        self.deprecation.as_deref()
    }

    fn has_own_form(&self) -> bool {
        self.has_own_form
    }

    fn stored_version(&self) -> Option<&str> {
        Some(&self.stored_version)
    }

    fn conversion(&self) -> Option<&WebhookConversion> {
        self.conversion.as_deref()
    }

    fn to_stored(&self, mut object: Value) -> Value {
        if let Some((api_version, schema)) = &self.stored
            && object.is_object()
        {
            object["apiVersion"] = api_version.as_str().into();
            schema.prune_resource(&mut object);
            schema.drop_nulls(&mut object);
        }
        object
    }

    fn from_stored(&self, mut stored: Value) -> Value {
        if !stored.is_object() {
            return stored;
        }
        stored["apiVersion"] = self.api_version.as_str().into();
        self.schema.prune_resource(&mut stored);
        self.schema.drop_nulls(&mut stored);
        self.schema.coerce_stored(&mut stored);
        self.schema.fill(&mut stored);
        stored
    }

    fn merges_strategically(&self) -> bool {
        false
    }

    fn scale(&self) -> Option<&ScalePaths> {
        self.scale.as_ref()
    }

    fn schema(&self, generator: &mut SchemaGenerator) -> Schema {
        openapi::published(&self.published, generator)
    }
}

#[cfg(test)]
mod tests;

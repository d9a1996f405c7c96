//! Resources inside of resources: `apiVersion`, `kind` and `metadata` have their own form, whatever the schema says.

use super::Node;
use crate::complaint;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use orknet_resources::field::{Errors, Path};
use orknet_resources::names::{self, NameRule};
use orknet_resources::typed::decode;
use orknet_resources::{FieldError, Scope, meta};
use serde_json::{Map, Value};

/// Metadata in normal form, and the paths (`labls`) of what it does not have.
pub type Metadata = (Value, Vec<String>);

/// Reads metadata into normal form: unknown fields go, and so does what is set to nothing.
pub fn read_metadata(metadata: &Value) -> Result<Metadata, String> {
    let (typed, unknown) = typed(metadata)?;
    Ok((serde_json::to_value(&typed).unwrap_or_default(), unknown))
}

fn typed(metadata: &Value) -> Result<(ObjectMeta, Vec<String>), String> {
    let (mut typed, unknown) = decode::read::<ObjectMeta>(metadata.clone()).map_err(|error| error.to_string())?;
    meta::normalise(&mut typed);
    Ok((typed, unknown))
}

/// The same of stored metadata: fields of another type go as well.
fn read_what_fits(metadata: &Value) -> Option<Value> {
    if let Ok((metadata, _)) = read_metadata(metadata) {
        return Some(metadata);
    }
    let mut kept = Map::new();
    for (name, value) in metadata.as_object()? {
        let one = Value::Object(Map::from_iter([(name.clone(), value.clone())]));
        if let Ok((Value::Object(one), _)) = read_metadata(&one) {
            kept.extend(one);
        }
    }
    Some(Value::Object(kept))
}

impl Node {
    /// Brings embedded resources into form, and notes in `unknown` what their metadata does not have. The first one that is not of the form is an error.
    pub fn coerce(&self, value: &mut Value, unknown: &mut Vec<String>) -> Result<(), FieldError> {
        coerce(self, value, &Path::Root, &mut |fields, at| strictly(fields, at, unknown))
    }

    /// Brings embedded resources that were stored before there was a rule for them into form: what is of another type goes.
    pub fn coerce_stored(&self, value: &mut Value) {
        let outcome = coerce(self, value, &Path::Root, &mut |fields, _| {
            for name in ["apiVersion", "kind"] {
                if fields.get(name).is_some_and(|value| !value.is_string()) {
                    fields.remove(name);
                }
            }
            if let Some(metadata) = fields.get_mut("metadata")
                && let Some(fitting) = read_what_fits(metadata)
            {
                *metadata = fitting;
            }
            Ok(())
        });
        debug_assert!(outcome.is_ok(), "nothing is refused");
    }

    /// The rules for embedded resources. `prefix`: where the value is; empty for an object.
    pub fn embedded_complaints(&self, value: &Value, prefix: &str) -> Vec<FieldError> {
        let mut found = Vec::new();
        let root = Path::Field(&Path::Root, prefix);
        let root = if prefix.is_empty() { Path::Root } else { root };
        complain(self, value, &root, &mut found);
        found
    }
}

type Visit<'v> = dyn FnMut(&mut Map<String, Value>, &Path<'_>) -> Result<(), FieldError> + 'v;

fn coerce(node: &Node, value: &mut Value, at: &Path<'_>, visit: &mut Visit<'_>) -> Result<(), FieldError> {
    match value {
        Value::Object(fields) => {
            if node.is_embedded {
                visit(fields, at)?;
            }
            for (name, value) in fields.iter_mut() {
                match node.properties.get(name) {
                    Some(node) => coerce(node, value, &at.field(name), visit)?,
                    None => {
                        if let Some(node) = node.field(name) {
                            coerce(node, value, &at.key(name), visit)?;
                        }
                    }
                }
            }
        }
        Value::Array(items) => {
            if let Some(node) = &node.items {
                for (index, item) in items.iter_mut().enumerate() {
                    coerce(node, item, &at.index(index), visit)?;
                }
            }
        }
        _ => {}
    }
    Ok(())
}

fn strictly(fields: &mut Map<String, Value>, at: &Path<'_>, unknown: &mut Vec<String>) -> Result<(), FieldError> {
    for name in ["apiVersion", "kind"] {
        if let Some(value) = fields.get(name).filter(|value| !value.is_string()) {
            return Err(complaint::invalid(at.field(name).to_string(), value, "must be a string"));
        }
    }
    if let Some(metadata) = fields.get_mut("metadata") {
        let here = at.field("metadata");
        let (normal, dropped) = read_metadata(metadata).map_err(|why| complaint::invalid(here.to_string(), metadata, why))?;
        unknown.extend(dropped.iter().map(|name| here.field(name).to_string()));
        *metadata = normal;
    }
    Ok(())
}

fn complain(node: &Node, value: &Value, at: &Path<'_>, found: &mut Vec<FieldError>) {
    match value {
        Value::Object(fields) => {
            if node.is_embedded {
                resource(fields, at, found);
            }
            for (name, value) in fields {
                match node.properties.get(name) {
                    Some(node) => complain(node, value, &at.field(name), found),
                    None => {
                        if let Some(node) = node.field(name) {
                            complain(node, value, &at.key(name), found);
                        }
                    }
                }
            }
        }
        Value::Array(items) => {
            if let Some(node) = &node.items {
                items.iter().enumerate().for_each(|(index, item)| complain(node, item, &at.index(index), found));
            }
        }
        _ => {}
    }
}

/// The rules of one embedded resource: `apiVersion` and `kind` must be there, metadata need not.
fn resource(fields: &Map<String, Value>, at: &Path<'_>, found: &mut Vec<FieldError>) {
    let field = |name: &str| at.field(name).to_string();
    match fields.get("apiVersion") {
        None => found.push(complaint::required(field("apiVersion"), "")),
        Some(Value::String(version)) if version.is_empty() => found.push(complaint::required(field("apiVersion"), "")),
        Some(Value::String(version)) if version.matches('/').count() > 1 => {
            let why = format!("unexpected GroupVersion string: {version}");
            found.push(complaint::invalid(field("apiVersion"), &version.as_str().into(), why));
        }
        Some(Value::String(_)) => {}
        Some(other) => found.push(complaint::invalid(field("apiVersion"), other, "must be a string")),
    }
    match fields.get("kind") {
        None => found.push(complaint::required(field("kind"), "")),
        Some(Value::String(kind)) if kind.is_empty() => found.push(complaint::required(field("kind"), "")),
        Some(Value::String(kind)) => {
            let wrong = names::label_1035(&kind.to_lowercase());
            if !wrong.is_empty() {
                let why = format!("may have mixed case, but should otherwise match: {}", wrong.join(","));
                found.push(complaint::invalid(field("kind"), &kind.as_str().into(), why));
            }
        }
        Some(other) => found.push(complaint::invalid(field("kind"), other, "must be a string")),
    }
    let Some(metadata) = fields.get("metadata") else { return };
    let here = at.field("metadata");
    match typed(metadata) {
        Err(why) => found.push(complaint::invalid(here.to_string(), metadata, why)),
        Ok((mut metadata, _)) => {
            // One without a name is right.
            metadata.name.get_or_insert_with(|| "fakename".to_owned());
            let scope = if metadata.namespace.is_some() { Scope::Namespaced } else { Scope::Cluster };
            let mut errors = Errors::default();
            meta::validate(&metadata, scope, NameRule::PathSegment, &here, &mut errors);
            found.extend(errors.into_list());
        }
    }
}

//! OpenAPI: the definitions of all kinds, the documents at `/openapi/v3/…` and `/openapi/v2`.
//!
//! Nothing is kept: every call builds what it returns from the types and from the table of facts, in some tens of milliseconds for the whole registry.
//! Callers keep the hashes for the index, or nothing: clients cache documents by them. Serving them is the API server's.

mod definitions;
mod dialect;
mod enums;
mod facts;
mod parameters;
mod paths;

use crate::contract::Resource;
use definitions::{Definitions, META};
use dialect::Dialect;
use serde_json::{Map, Value, json};
use std::hash::{DefaultHasher, Hasher};

/// All definitions, by name (`io.k8s.api.core.v1.PodSpec`), with references of the form `#/definitions/NAME`: what a merge schema is compiled from.
pub fn definitions(registry: &[&dyn Resource]) -> Value {
    Value::Object(definitions::build(registry).schemas)
}

/// The definitions that one kind is made of, and no others, in the form of [`definitions`].
pub fn definitions_of(resource: &dyn Resource) -> Value {
    let Definitions { schemas, kinds } = definitions::build(&[resource]);
    let reached = definitions::closure(&schemas, kinds.iter().map(String::as_str));
    Value::Object(reached.into_iter().map(|(name, schema)| (name.clone(), schema.clone())).collect())
}

/// The JSON index at `/openapi/v3`: where each group version's document is, with its hash.
pub fn v3_index<'a>(hashes: impl IntoIterator<Item = (&'a str, String)>) -> Vec<u8> {
    let entry = |(group_version, hash): (&str, String)| {
        (group_version.to_owned(), json!({ "serverRelativeURL": format!("/openapi/v3/{group_version}?hash={hash}") }))
    };
    let paths: Map<String, Value> = hashes.into_iter().map(entry).collect();
    json!({ "paths": paths }).to_string().into_bytes()
}

/// Every group version with the hash of its [`v3_document`].
pub fn v3_hashes(registry: &[&dyn Resource]) -> Vec<(String, String)> {
    let definitions = definitions::build(registry);
    let hashed = |group_version: String| {
        let hash = hash(&v3(registry, &definitions, &group_version));
        (group_version, hash)
    };
    group_versions(registry).into_iter().map(hashed).collect()
}

/// The OpenAPI 3.0 document of a group version (`api/v1`, `apis/apps/v1`) as JSON; `None` for one that is not served.
pub fn v3_document(registry: &[&dyn Resource], group_version: &str) -> Option<Vec<u8>> {
    let known = group_versions(registry).iter().any(|known| known == group_version);
    known.then(|| v3(registry, &definitions::build(registry), group_version))
}

/// The OpenAPI 2 (Swagger) document of everything, as JSON.
pub fn v2_document(registry: &[&dyn Resource]) -> Vec<u8> {
    let definitions = definitions::build(registry);
    let schemas = definitions.schemas.iter().map(|(name, schema)| (name.clone(), Dialect::V2.definition(name, schema)));
    let document = json!({
        "swagger": "2.0",
        "info": info(),
        "paths": paths_of(registry, &definitions, None, Dialect::V2),
        "definitions": schemas.collect::<Map<_, _>>(),
    });
    document.to_string().into_bytes()
}

/// The hash by which a document is cached (its `ETag`, and `hash` in the index): the same content has the same hash.
pub fn hash(document: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    hasher.write(document);
    format!("{:016X}", hasher.finish())
}

/// `api/v1`, `apis/apps/v1`, … in the order of the registry.
pub fn group_versions(registry: &[&dyn Resource]) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for resource in registry {
        let group_version = paths::root(resource.descriptor()).trim_start_matches('/').to_owned();
        if !found.contains(&group_version) {
            found.push(group_version);
        }
    }
    found
}

fn v3(registry: &[&dyn Resource], definitions: &Definitions, group_version: &str) -> Vec<u8> {
    let paths = paths_of(registry, definitions, Some(group_version), Dialect::V3);
    let mut used = Vec::new();
    paths.values().for_each(|item| definitions::references(item, &mut used));
    let schemas = definitions::closure(&definitions.schemas, used);
    let schemas: Map<String, Value> =
        schemas.into_iter().map(|(name, schema)| (name.clone(), Dialect::V3.definition(name, schema))).collect();
    let document = json!({
        "openapi": "3.0.0",
        "info": info(),
        "paths": paths,
        "components": {"schemas": schemas},
    });
    document.to_string().into_bytes()
}

fn paths_of(registry: &[&dyn Resource], definitions: &Definitions, group_version: Option<&str>, dialect: Dialect) -> Map<String, Value> {
    let mut found = Map::new();
    for (resource, definition) in registry.iter().zip(&definitions.kinds) {
        let descriptor = resource.descriptor();
        let root = paths::root(descriptor);
        if group_version.is_some_and(|wanted| root.trim_start_matches('/') != wanted) {
            continue;
        }
        found.entry(format!("{root}/")).or_insert_with(|| discovery(dialect));
        paths::Kind { descriptor, definition, dialect, strategic: resource.merges_strategically() }.add_to(&mut found);
    }
    found
}

fn discovery(dialect: Dialect) -> Value {
    let schema = dialect.reference(&format!("{META}APIResourceList"));
    let ok = match dialect {
        Dialect::V2 => json!({"description": "OK", "schema": schema}),
        Dialect::V3 => json!({"description": "OK", "content": {"application/json": {"schema": schema}}}),
    };
    json!({"get": {"description": "get available resources", "responses": {"200": ok, "401": {"description": "Unauthorized"}}}})
}

fn info() -> Value {
    json!({"title": "Kubernetes", "version": "v1.33.0"})
}

#[cfg(test)]
mod tests;

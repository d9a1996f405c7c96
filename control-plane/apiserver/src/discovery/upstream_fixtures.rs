//! Our OpenAPI documents beside the definitions that Kubernetes 1.33 publishes, as the Python package kubernetes-validate has them, which
//! `cargo xtask test` fetches: `ORKNET_OPENAPI=…/v1.33.0-local/_definitions.json cargo test -p orknet-apiserver --lib fixture -- --ignored`. What
//! differs is named, with the reason, in docs/suites.md.

use crate::kinds;
use orknet_resources::openapi;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// What stands in docs/suites.md under `## openapi`: places and how they differ.
fn explained() -> BTreeSet<String> {
    let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/suites.md");
    let page = std::fs::read_to_string(page).expect("docs/suites.md");
    let (_, section) = page.split_once("\n## openapi\n").expect("a section of its own");
    let rows = section.split("\n## ").next().unwrap_or(section).lines();
    rows.filter_map(|row| Some(row.strip_prefix("| `")?.split_once("` | ")?.0.to_owned())).collect()
}

/// Kubernetes' definitions by name.
fn theirs() -> Map<String, Value> {
    let path = std::env::var_os("ORKNET_OPENAPI").expect("ORKNET_OPENAPI");
    let mut whole: Value = serde_json::from_slice(&std::fs::read(path).expect("a file")).expect("JSON");
    let Value::Object(definitions) = whole["$defs"].take() else { panic!("no definitions") };
    definitions.into_iter().map(|(name, schema)| (name, plain(&schema))).collect()
}

/// The definitions that a document has, by name.
fn ours(document: Vec<u8>, within: &str) -> Map<String, Value> {
    let document: Value = serde_json::from_slice(&document).expect("JSON");
    let definitions = document.pointer(within).and_then(Value::as_object).expect("definitions");
    definitions.iter().map(|(name, schema)| (name.clone(), plain(schema))).collect()
}

/// A schema without what OpenAPI 2, OpenAPI 3 and that package spell differently: references, `null` beside a type, the values of an enumeration
/// (Kubernetes publishes its definitions without them, and serves them with them; the package has some of its own), defaults, which version 3
/// alone has, and the order of what has none.
fn plain(schema: &Value) -> Value {
    let Value::Object(fields) = schema else { return schema.clone() };
    let mut written = Map::new();
    for (name, value) in fields {
        let value = match (name.as_str(), value) {
            ("enum" | "default", _) => continue,
            ("allOf", Value::Array(one)) if one.len() == 1 => {
                written.extend(plain(&one[0]).as_object().cloned().unwrap_or_default());
                continue;
            }
            ("$ref", Value::String(target)) => target.rsplit('/').next().unwrap_or_default().into(),
            ("type", Value::Array(types)) => types.iter().find(|one| *one != "null").cloned().unwrap_or_default(),
            ("properties", Value::Object(properties)) => {
                properties.iter().map(|(name, schema)| (name.clone(), plain(schema))).collect::<Map<_, _>>().into()
            }
            ("required" | "x-kubernetes-group-version-kind", Value::Array(items)) => {
                let mut items = items.clone();
                items.sort_by_key(Value::to_string);
                items.into()
            }
            ("description", Value::String(text)) => text.split("\n\nPossible enum values:").next().unwrap_or_default().into(),
            ("items" | "additionalProperties", schema) => plain(schema),
            _ => value.clone(),
        };
        written.insert(name.clone(), value);
    }
    written.into()
}

/// The definitions of kinds of stable versions, and all that they are made of.
fn stable(definitions: &Map<String, Value>) -> BTreeSet<&str> {
    let is_stable = |kind: &Value| kind["version"].as_str().is_some_and(|version| !version.contains("alpha") && !version.contains("beta"));
    let of_kinds = definitions
        .iter()
        .filter(|(_, schema)| schema["x-kubernetes-group-version-kind"].as_array().is_some_and(|kinds| kinds.iter().any(is_stable)));
    let mut open: Vec<&str> = of_kinds.map(|(name, _)| name.as_str()).collect();
    let mut reached = BTreeSet::new();
    while let Some(name) = open.pop() {
        if let Some((name, schema)) = definitions.get_key_value(name)
            && reached.insert(name.as_str())
        {
            references(schema, &mut open);
        }
    }
    reached
}

fn references<'v>(value: &'v Value, found: &mut Vec<&'v str>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get("$ref").and_then(Value::as_str));
            fields.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

/// Adds `PLACE: WORD WORD …` for each place whose schema has other words, with what either says.
fn compare(place: &str, ours: &Value, theirs: &Value, found: &mut BTreeMap<String, String>) {
    let empty = Map::new();
    let (ours, theirs) = (ours.as_object().unwrap_or(&empty), theirs.as_object().unwrap_or(&empty));
    let (mut words, mut told) = (Vec::new(), String::new());
    for word in ours.keys().chain(theirs.keys()).collect::<BTreeSet<_>>() {
        let both = (ours.get(word).unwrap_or(&Value::Null), theirs.get(word).unwrap_or(&Value::Null));
        // Lists are described in a line each, which no client shows.
        let is_line_of_a_list = word == "description" && place.split('.').any(|part| part.ends_with("List"));
        match (word.as_str(), both) {
            _ if is_line_of_a_list => {}
            ("properties", (Value::Object(ours), Value::Object(theirs))) => {
                for field in ours.keys().chain(theirs.keys()).collect::<BTreeSet<_>>() {
                    let place = format!("{place}.{field}");
                    match (ours.get(field), theirs.get(field)) {
                        (Some(ours), Some(theirs)) => compare(&place, ours, theirs, found),
                        (None, _) => drop(found.insert(format!("{place}: not there"), String::new())),
                        (_, None) => drop(found.insert(format!("{place}: not in Kubernetes"), String::new())),
                    }
                }
            }
            ("items" | "additionalProperties", (ours @ Value::Object(_), theirs @ Value::Object(_))) => {
                compare(&format!("{place}[]"), ours, theirs, found);
            }
            (_, (ours, theirs)) if ours != theirs => {
                words.push(word.as_str());
                told.push_str(&format!("\n    {word}: {ours}\n    instead of {theirs}"));
            }
            _ => {}
        }
    }
    if !words.is_empty() {
        found.insert(format!("{place}: {}", words.join(" ")), told);
    }
}

#[test]
#[ignore = "needs Kubernetes' definitions in ORKNET_OPENAPI"]
fn definitions_are_those_of_kubernetes_or_explained() {
    let theirs = theirs();
    let needed = stable(&theirs);
    assert!(needed.len() > 400, "{}", needed.len());
    let mut found = BTreeMap::new();
    let own = kinds::own();
    let v2 = ours(openapi::v2_document(own), "/definitions");
    for name in needed.iter().filter(|name| !v2.contains_key(**name)) {
        found.insert(format!("{name}: not there"), String::new());
    }
    let v3 = openapi::group_versions(own).into_iter().map(|root| openapi::v3_document(own, &root).expect("a document"));
    let mut compared = 0;
    for document in std::iter::once(v2).chain(v3.map(|document| ours(document, "/components/schemas"))) {
        for (name, schema) in document {
            if let Some(theirs) = theirs.get(&name) {
                compare(&name, &schema, theirs, &mut found);
                compared += 1;
            }
        }
    }
    assert!(compared > 1000, "{compared}");
    let explained = explained();
    let unexplained: Vec<String> =
        found.iter().filter(|(place, _)| !explained.contains(*place)).map(|(place, told)| format!("{place}{told}")).collect();
    assert!(unexplained.is_empty(), "{} differences that docs/suites.md does not explain:\n{}", unexplained.len(), unexplained.join("\n"));
    let gone: Vec<&String> = explained.iter().filter(|place| !found.contains_key(*place)).collect();
    assert!(gone.is_empty(), "docs/suites.md explains differences that there are not: {gone:?}");
}

//! Kubernetes' own fixtures: every kind with every field, as JSON, as YAML and as client-go writes it. `cargo xtask test` fetches them (Debian's
//! packages `golang-k8s-api-dev` and `golang-k8s-apiextensions-apiserver-dev`) and names their folders, that of the version we serve first:
//! `ORKNET_FIXTURES=FOLDER[:FOLDER…] cargo test -p orknet-apiserver --lib fixtures -- --ignored`.

use super::*;
use crate::codec::{BodyFormat, parse};
use crate::http::accept::Encoding;
use crate::present::encode::encoder;
use orknet_resources::registry;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Groups whose types are in neither package; ours end in `orknet.io`.
const WITHOUT: &[&str] = &["apiregistration.k8s.io", "metrics.k8s.io", "policy.networking.k8s.io"];
/// Fields that come back otherwise: the old name of `serviceAccountName`, what is only written, and a time that is not said (`null` in a map).
const CHANGED: &[&str] = &[".serviceAccount", "Secret.stringData", ".disruptedPods.disruptedPodsKey"];

/// Files of objects by `GROUP.VERSION.KIND` (the core group is called `core`) without their ends, the first folder's where several have one.
fn fixtures() -> BTreeMap<String, PathBuf> {
    let folders = std::env::var_os("ORKNET_FIXTURES").expect("ORKNET_FIXTURES");
    let mut found = BTreeMap::new();
    for folder in std::env::split_paths(&folders) {
        for path in std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            if path.extension().is_some_and(|extension| extension == "json") {
                let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                found.entry(name).or_insert(path.with_extension(""));
            }
        }
    }
    found
}

fn read(path: &std::path::Path, extension: &str) -> Vec<u8> {
    // Names hold dots: what follows the last is part of the kind.
    let path = PathBuf::from(format!("{}.{extension}", path.display()));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn json(path: &std::path::Path) -> Value {
    parse(BodyFormat::Json, &read(path, "json")).expect("JSON").value
}

#[test]
#[ignore = "needs the fixtures' folders in ORKNET_FIXTURES"]
fn every_fixture_is_written_and_read_byte_by_byte() {
    let (mut compared, mut failed) = (0, Vec::new());
    for (name, path) in fixtures() {
        let json = json(&path);
        if !is_known(json["apiVersion"].as_str().unwrap_or_default(), json["kind"].as_str().unwrap_or_default()) {
            continue;
        }
        let expected = read(&path, "pb");
        let written = to_protobuf(&json).expect("has the form");
        // What the version that wrote the file did not have is zero in ours, and so not the same bytes: then the fixture says what comes of it.
        let expected = std::fs::read(format!("{}.after_roundtrip.pb", path.display())).unwrap_or(expected);
        if written != expected {
            let at = written.iter().zip(&expected).position(|(one, other)| one != other).unwrap_or(written.len().min(expected.len()));
            let around = |bytes: &[u8]| String::from_utf8_lossy(&bytes[at.saturating_sub(40)..(at + 20).min(bytes.len())]).into_owned();
            failed.push(format!("{name} at {at}: {:?} for {:?}", around(&written), around(&expected)));
        }
        let read = from_protobuf(&expected).expect("reads");
        if read != json {
            failed.push(format!("{name} reads as {read} for {json}"));
        }
        compared += 1;
    }
    assert!(failed.is_empty(), "{} of {compared}:\n{}", failed.len(), failed.join("\n"));
    assert!(compared > 60, "only {compared} fixtures");
}

#[test]
#[ignore = "needs the fixtures' folders in ORKNET_FIXTURES"]
fn every_fixture_says_the_same_in_json_and_yaml_and_is_written_so() {
    let (mut compared, mut failed) = (0, Vec::new());
    for (name, path) in fixtures() {
        let json = json(&path);
        let yaml = parse(BodyFormat::Yaml, &read(&path, "yaml")).expect("YAML");
        if yaml.value != json || !yaml.duplicates.is_empty() {
            failed.push(format!("{name} as YAML reads as {} for {json}", yaml.value));
        }
        for (format, encoding) in [(BodyFormat::Json, Encoding::Json), (BodyFormat::Yaml, Encoding::Yaml)] {
            let written = encoder(encoding).object(&json).expect("is written");
            if parse(format, &written).expect("what we wrote").value != json {
                failed.push(format!("{name} comes back changed as {}", String::from_utf8_lossy(&written)));
            }
        }
        compared += 1;
    }
    assert!(failed.is_empty(), "{} of {compared}:\n{}", failed.len(), failed.join("\n"));
    assert!(compared > 100, "only {compared} fixtures");
}

#[test]
#[ignore = "needs the fixtures' folders in ORKNET_FIXTURES"]
fn every_kind_that_is_served_knows_every_field_of_its_fixture() {
    let fixtures = fixtures();
    let mut failed = Vec::new();
    for resource in registry() {
        let descriptor = resource.descriptor();
        let group = if descriptor.group.is_empty() { "core" } else { descriptor.group };
        if WITHOUT.contains(&group) || group.ends_with("orknet.io") {
            continue;
        }
        let name = format!("{group}.{}.{}", descriptor.version, descriptor.kind);
        let Some(path) = fixtures.get(&name) else {
            failed.push(format!("{name} has no fixture"));
            continue;
        };
        let fixture = json(path);
        match resource.decode(fixture.clone()) {
            Ok(decoded) if decoded.unknown.is_empty() => missing(&fixture, &decoded.object, &name, &mut failed),
            Ok(decoded) => failed.push(format!("{name} does not know {:?}", decoded.unknown)),
            Err(error) => failed.push(format!("{name} is refused: {error}")),
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// What `fixture` has and `object` has not, or otherwise.
fn missing(fixture: &Value, object: &Value, path: &str, complaints: &mut Vec<String>) {
    match (fixture, object) {
        (Value::Object(fixture), Value::Object(object)) => {
            for (key, value) in fixture {
                missing(value, object.get(key).unwrap_or(&Value::Null), &format!("{path}.{key}"), complaints);
            }
        }
        (Value::Array(fixture), Value::Array(object)) if fixture.len() == object.len() => {
            for (index, (value, ours)) in fixture.iter().zip(object).enumerate() {
                missing(value, ours, &format!("{path}[{index}]"), complaints);
            }
        }
        _ if fixture == object || CHANGED.iter().any(|end| path.ends_with(end)) => {}
        _ => complaints.push(format!("{path} is {object} for {fixture}")),
    }
}

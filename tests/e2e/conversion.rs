//! Does kubectl see a kind in each of its versions where a webhook converts between them?

use anyhow::{Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use orknet_tests::server::Server;
use orknet_tests::{Cluster, Kubectl, Webhook, eventually, tests};
use serde_json::{Value, json};

tests![e2e_kubectl_reads_and_writes_either_version_of_a_kind];

const GROUP: &str = "gauge.e2e.orknet.dev";

/// Gauges: version 1 has `spec.size`, which is stored; version 2 has `spec.length`, ten times as much.
fn definition(webhook: &Webhook) -> Value {
    let version = |name: &str, field: &str, storage: bool| {
        let spec = json!({"type": "object", "properties": {field: {"type": "integer", "description": format!("The {field} of it.")},
            "tags": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"}}});
        json!({"name": name, "served": true, "storage": storage,
            "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}},
            "additionalPrinterColumns": [{"name": field, "type": "integer", "jsonPath": format!(".spec.{field}")}]})
    };
    let client = json!({"url": webhook.url(), "caBundle": STANDARD.encode(webhook.authority())});
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": format!("gauges.{GROUP}")}, "spec": {
        "group": GROUP, "scope": "Namespaced", "names": {"plural": "gauges", "singular": "gauge", "kind": "Gauge"},
        "versions": [version("v1", "size", true), version("v2", "length", false)],
        "conversion": {"strategy": "Webhook", "webhook": {"conversionReviewVersions": ["v1"], "clientConfig": client}}}})
}

/// The webhook. It knows nothing of a size of 13.
fn convert(review: &Value) -> Value {
    let desired = review["request"]["desiredAPIVersion"].as_str().unwrap_or_default();
    let mut objects = review["request"]["objects"].as_array().cloned().unwrap_or_default();
    let mut result = json!({"status": "Success"});
    for object in &mut objects {
        object["apiVersion"] = desired.into();
        let Some(spec) = object["spec"].as_object_mut() else { continue };
        if let Some(size) = spec.remove("size").and_then(|size| size.as_i64()) {
            spec.insert("length".to_owned(), (size * 10).into());
        } else if let Some(length) = spec.remove("length").and_then(|length| length.as_i64()) {
            spec.insert("size".to_owned(), (length / 10).into());
            if length == 130 {
                result = json!({"status": "Failure", "message": "thirteen is not to be had"});
            }
        }
    }
    let objects = if result["status"] == "Success" { objects } else { Vec::new() };
    json!({"apiVersion": review["apiVersion"], "kind": "ConversionReview",
        "response": {"uid": review["request"]["uid"], "result": result, "convertedObjects": objects}})
}

fn gauge(version: &str, name: &str, spec: Value) -> String {
    json!({"apiVersion": format!("{GROUP}/{version}"), "kind": "Gauge", "metadata": {"name": name}, "spec": spec}).to_string()
}

fn e2e_kubectl_reads_and_writes_either_version_of_a_kind(_: &Cluster, _: &Kubectl) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let webhook = Webhook::start(directory.path(), convert)?;
    let server = Server::start(directory.path())?;
    let kubectl = &server.kubectl();
    kubectl.apply(&definition(&webhook).to_string())?;
    kubectl.run(&["wait", "--for=condition=Established", &format!("crd/gauges.{GROUP}"), "--timeout=60s"])?;
    let (one, two) = (format!("gauges.v1.{GROUP}"), format!("gauges.v2.{GROUP}"));
    let (one, two) = (one.as_str(), two.as_str());
    let spec = |version: &str, name: &str| kubectl.run(&["get", version, name, "-o", "jsonpath={.spec}"]);
    eventually("both versions to be discovered", || {
        let known = kubectl.run(&["api-versions"])?;
        ensure!(known.contains(&format!("{GROUP}/v1\n{GROUP}/v2\n")), "{known}");
        Ok(())
    })?;

    ensure!(kubectl.apply(&gauge("v1", "a", json!({"size": 3})))? == format!("gauge.{GROUP}/a created\n"));
    ensure!((spec(one, "a")?, spec(two, "a")?) == (r#"{"size":3}"#.to_owned(), r#"{"length":30}"#.to_owned()));
    // Without a version it is the newest, with its columns.
    let shown = kubectl.run(&["get", "gauges"])?;
    let lines: Vec<Vec<&str>> = shown.lines().map(|line| line.split_whitespace().collect()).collect();
    ensure!(lines == [["NAME", "LENGTH"], ["a", "30"]], "{shown}");
    ensure!(kubectl.run(&["get", "gauges", "a", "-o", "jsonpath={.apiVersion}"])? == format!("{GROUP}/v2"));
    for (version, field) in [("v1", "size"), ("v2", "length")] {
        let explained = kubectl.run(&["explain", &format!("gauges.spec.{field}"), "--api-version", &format!("{GROUP}/{version}")])?;
        ensure!(explained.contains(&format!("The {field} of it.")), "{explained}");
    }

    // What one version's manifest made, the other's changes.
    ensure!(kubectl.apply(&gauge("v2", "a", json!({"length": 50})))? == format!("gauge.{GROUP}/a configured\n"));
    ensure!(spec(one, "a")? == r#"{"size":5}"#);
    kubectl.run(&["patch", two, "a", "--type=merge", "-p", r#"{"spec": {"length": 60, "tags": ["warm"]}}"#])?;
    ensure!(spec(one, "a")? == r#"{"size":6,"tags":["warm"]}"#);
    kubectl.run(&["label", one, "a", "room=hall"])?;
    ensure!(kubectl.run(&["get", two, "-l", "room=hall", "-o", "name"])? == format!("gauge.{GROUP}/a\n"));

    // Each manager owns in its version what it applied, whichever version another one applies.
    let apply = |manager: &str, manifest: &str, more: &[&str]| {
        let manager = format!("--field-manager={manager}");
        kubectl.output(&[&["apply", "--server-side", manager.as_str(), "-f", "-"], more].concat(), Some(&format!("---\n{manifest}")))
    };
    let made = apply("north", &gauge("v1", "b", json!({"size": 2, "tags": ["old"]})), &[])?;
    ensure!(made.code == 0 && made.stdout == format!("gauge.{GROUP}/b serverside-applied\n"), "{made:?}");
    let conflict = apply("south", &gauge("v2", "b", json!({"length": 40})), &[])?;
    ensure!(conflict.code == 1 && conflict.stderr.contains("conflict with \"north\": .spec.size"), "{conflict:?}");
    let forced = apply("south", &gauge("v2", "b", json!({"length": 40})), &["--force-conflicts"])?;
    ensure!(forced.code == 0, "{forced:?}");
    ensure!(spec(one, "b")? == r#"{"size":4,"tags":["old"]}"#);
    // The first one gives up the rest of what it owned.
    let less = apply("north", &gauge("v1", "b", json!({})), &[])?;
    ensure!(less.code == 0 && spec(two, "b")? == r#"{"length":40}"#, "{less:?}");

    // The webhook's own refusal.
    let refused = kubectl.fails(&["create", "-f", "-"], Some(&format!("---\n{}", gauge("v2", "c", json!({"length": 130})))))?;
    let why = format!("conversion webhook for {GROUP}/v2, Kind=Gauge failed: thirteen is not to be had");
    ensure!(refused.contains(&why), "{refused}");
    ensure!(kubectl.run(&["delete", one, "--all"])?.lines().count() == 2);
    kubectl.run(&["delete", "crd", &format!("gauges.{GROUP}")]).map(drop)
}

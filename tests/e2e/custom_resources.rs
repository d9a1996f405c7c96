//! Are kinds that users define as good as the cluster's own, for kubectl and for the controllers?

use anyhow::{Context, Result, ensure};
use orknet_tests::{Cluster, Kubectl, eventually, tests};
use serde_json::{Value, json};

tests![
    e2e_kubectl_treats_custom_resources_as_any_kind,
    e2e_custom_resources_own_and_are_owned,
    e2e_custom_resources_go_with_their_namespace,
    e2e_custom_resources_go_with_their_definition,
];

/// A kind with names of its own: tests share a cluster. Called by the first two letters, for short.
fn definition(word: &str) -> Value {
    let (group, plural) = (format!("{word}.e2e.orknet.dev"), format!("{word}s"));
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": format!("{plural}.{group}")},
        "spec": {
            "group": group, "scope": "Namespaced",
            "names": {"plural": plural, "singular": word, "kind": kind(word), "shortNames": [&word[..2]]},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "description": "A copy of a volume.", "properties": {
                    "spec": {"type": "object", "required": ["volume"], "properties": {
                        "volume": {"type": "string", "description": "Which volume is copied."},
                        "copies": {"type": "integer", "minimum": 0, "maximum": 9, "default": 1},
                        "mode": {"type": "string", "enum": ["full", "changes"]},
                    }},
                    "status": {"type": "object", "properties": {
                        "copies": {"type": "integer"},
                        "conditions": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"], "items": {
                            "type": "object", "required": ["type", "status"],
                            "properties": {"type": {"type": "string"}, "status": {"type": "string"}}}},
                    }},
                }}},
                "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.copies", "statusReplicasPath": ".status.copies"}},
                "additionalPrinterColumns": [
                    {"name": "Volume", "type": "string", "jsonPath": ".spec.volume"},
                    {"name": "Copies", "type": "integer", "jsonPath": ".spec.copies"},
                    {"name": "Mode", "type": "string", "jsonPath": ".spec.mode", "priority": 1},
                    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
                ],
                "selectableFields": [{"jsonPath": ".spec.volume"}],
            }],
        },
    })
}

/// The definition's name.
fn named(word: &str) -> String {
    format!("{word}s.{word}.e2e.orknet.dev")
}

fn kind(word: &str) -> String {
    word[..1].to_uppercase() + &word[1..]
}

fn define(kubectl: &Kubectl, word: &str) -> Result<()> {
    kubectl.apply(&definition(word).to_string())?;
    kubectl.run(&["wait", "--for=condition=Established", &format!("crd/{}", named(word)), "--timeout=60s"]).map(drop)
}

fn object(word: &str, name: &str, more: Value) -> Value {
    let mut object = json!({"apiVersion": format!("{word}.e2e.orknet.dev/v1"), "kind": kind(word), "metadata": {"name": name}, "spec": {"volume": "data"}});
    for (field, value) in more.as_object().into_iter().flatten() {
        object[field] = value.clone();
    }
    object
}

fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

fn e2e_kubectl_treats_custom_resources_as_any_kind(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    const WORD: &str = "backup";
    let name = named(WORD);
    define(kubectl, WORD)?;
    let listed = kubectl.run(&["get", "crd", &name])?;
    ensure!(words(listed.lines().next().unwrap_or_default()) == ["NAME", "CREATED", "AT"] && listed.contains(&name), "{listed}");
    ensure!(kubectl.run(&["api-resources", "--api-group", &format!("{WORD}.e2e.orknet.dev")])?.contains("backups"), "discovered");
    let explained = kubectl.run(&["explain", "backup.spec.volume", "--api-version", &format!("{WORD}.e2e.orknet.dev/v1")])?;
    ensure!(explained.contains("Which volume is copied.") && explained.contains("<string>"), "{explained}");

    let resource = format!("backup.{WORD}.e2e.orknet.dev");
    ensure!(kubectl.apply(&object(WORD, "a", json!({})).to_string())? == format!("{resource}/a created\n"));
    ensure!(kubectl.apply(&object(WORD, "a", json!({})).to_string())? == format!("{resource}/a unchanged\n"));
    let changed = object(WORD, "a", json!({"spec": {"volume": "data", "mode": "full"}}));
    ensure!(kubectl.apply(&changed.to_string())? == format!("{resource}/a configured\n"));
    let shown = kubectl.run(&["get", "ba"])?;
    let lines: Vec<Vec<&str>> = shown.lines().map(words).collect();
    ensure!(lines[0] == ["NAME", "VOLUME", "COPIES", "AGE"] && lines[1][..3] == ["a", "data", "1"], "{shown}");
    let wide = kubectl.run(&["get", "backups", "-o", "wide"])?;
    ensure!(wide.contains("MODE") && wide.contains("full"), "{wide}");
    let refused = kubectl.fails(&["apply", "-f", "-"], Some(&object(WORD, "b", json!({"spec": {"copies": 10}})).to_string()))?;
    ensure!(refused.contains("spec.volume: Required value") && refused.contains("spec.copies: Invalid value: 10"), "{refused}");
    let unknown = object(WORD, "b", json!({"spec": {"volume": "data", "volumes": 1}}));
    let refused = kubectl.fails(&["apply", "-f", "-"], Some(&unknown.to_string()))?;
    ensure!(refused.contains("unknown field \"spec.volumes\""), "{refused}");

    // Subresources.
    kubectl.run(&["scale", &resource, "a", "--replicas=3"])?;
    ensure!(kubectl.json(&["get", "ba", "a"])?["spec"]["copies"] == 3);
    let done = json!({"status": {"copies": 3, "conditions": [{"type": "Ready", "status": "True"}]}});
    kubectl.run(&["patch", "ba", "a", "--subresource=status", "--type=merge", "-p", &done.to_string()])?;
    kubectl.run(&["wait", "--for=condition=Ready", "ba/a", "--timeout=60s"])?;
    kubectl.run(&["wait", "--for=jsonpath={.status.copies}=3", "ba/a", "--timeout=60s"])?;

    // Patches, labels, selection.
    kubectl.run(&["label", "ba", "a", "tier=gold"])?;
    ensure!(kubectl.run(&["get", "ba", "-l", "tier=gold", "-o", "name"])? == format!("{resource}/a\n"));
    ensure!(kubectl.run(&["get", "ba", "--field-selector", "spec.volume=data", "-o", "name"])? == format!("{resource}/a\n"));
    let strategic = kubectl.fails(&["patch", "ba", "a", "--type=strategic", "-p", r#"{"spec": {"copies": 2}}"#], None)?;
    ensure!(strategic.contains("accepted media types include: application/json-patch+json"), "{strategic}");
    let applied = object(WORD, "a", json!({"spec": {"volume": "data", "copies": 5}}));
    let conflict = kubectl.fails(&["apply", "--server-side", "--field-manager=other", "-f", "-"], Some(&applied.to_string()))?;
    ensure!(conflict.contains(".spec.copies"), "{conflict}");
    kubectl.run_with(&["apply", "--server-side", "--force-conflicts", "--field-manager=other", "-f", "-"], &applied.to_string())?;
    ensure!(kubectl.json(&["get", "ba", "a"])?["spec"]["copies"] == 5);
    let described = kubectl.run(&["describe", "ba", "a"])?;
    ensure!(described.contains("Volume:  data"), "{described}");
    ensure!(kubectl.run(&["delete", "ba", "a"])?.starts_with(&format!("{resource} \"a\" deleted")));
    kubectl.run(&["delete", "crd", &name]).map(drop)
}

fn e2e_custom_resources_own_and_are_owned(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    const WORD: &str = "ledger";
    define(kubectl, WORD)?;
    let uid = |what: &[&str]| -> Result<String> {
        let object = kubectl.json(&[&["get"], what].concat())?;
        Ok(object["metadata"]["uid"].as_str().context("a uid")?.to_owned())
    };
    kubectl.apply(&object(WORD, "owner", json!({})).to_string())?;
    kubectl.run(&["create", "configmap", "root"])?;
    let by = |version: &str, kind: &str, name: &str, uid: &str| json!([{"apiVersion": version, "kind": kind, "name": name, "uid": uid}]);
    let child = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "child",
        "ownerReferences": by(&format!("{WORD}.e2e.orknet.dev/v1"), "Ledger", "owner", &uid(&["le", "owner"])?)}});
    kubectl.apply(&child.to_string())?;
    let owned = json!({"name": "owned", "ownerReferences": by("v1", "ConfigMap", "root", &uid(&["configmap", "root"])?)});
    kubectl.apply(&object(WORD, "owned", json!({"metadata": owned})).to_string())?;
    kubectl.run(&["delete", "le", "owner"])?;
    eventually("what a custom resource owned to be collected", || kubectl.fails(&["get", "configmap", "child"], None))?;
    kubectl.run(&["delete", "configmap", "root"])?;
    eventually("an owned custom resource to be collected", || kubectl.fails(&["get", "le", "owned"], None))?;
    kubectl.run(&["delete", "crd", &named(WORD)]).map(drop)
}

fn e2e_custom_resources_go_with_their_namespace(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    const WORD: &str = "mirror";
    define(kubectl, WORD)?;
    let namespace = format!("{}-inner", kubectl.namespace());
    kubectl.run(&["create", "namespace", &namespace])?;
    let inner = kubectl.in_namespace(&namespace);
    for name in ["a", "b", "c"] {
        inner.apply(&object(WORD, name, json!({})).to_string())?;
    }
    kubectl.run(&["delete", "namespace", &namespace, "--timeout=120s"])?;
    ensure!(kubectl.run(&["get", "mi", "-A", "-o", "name"])?.is_empty(), "nothing is left of the namespace");
    kubectl.run(&["delete", "crd", &named(WORD)]).map(drop)
}

fn e2e_custom_resources_go_with_their_definition(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    const WORD: &str = "vault";
    let name = named(WORD);
    define(kubectl, WORD)?;
    kubectl.apply(&object(WORD, "a", json!({})).to_string())?;
    kubectl.apply(&object(WORD, "held", json!({"metadata": {"name": "held", "finalizers": ["e2e.orknet.dev/held"]}})).to_string())?;
    kubectl.run(&["delete", "crd", &name, "--wait=false"])?;
    eventually("the free one to go", || kubectl.fails(&["get", "va", "a"], None))?;
    let refused = kubectl.fails(&["create", "-f", "-"], Some(&object(WORD, "late", json!({})).to_string()))?;
    ensure!(refused.contains("create not allowed while custom resource definition is terminating"), "{refused}");
    kubectl.run(&["patch", "va", "held", "--type=merge", "-p", r#"{"metadata": {"finalizers": null}}"#])?;
    kubectl.run(&["wait", "--for=delete", &format!("crd/{name}"), "--timeout=60s"])?;
    define(kubectl, WORD)?;
    ensure!(kubectl.run(&["get", "va", "-o", "name"])?.is_empty(), "one that comes again begins with nothing");
    kubectl.run(&["delete", "crd", &name]).map(drop)
}

//! Pods of tests: their manifests as JSON values, waiting for what their status says, reading what they wrote.

use crate::eventually;
use crate::kubectl::Kubectl;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

/// The image with a shell that every local cluster has.
pub const BUSYBOX: &str = "registry.orknet.local/busybox:1";

/// A container that runs a shell script.
pub fn shell(name: &str, script: &str) -> Value {
    json!({"name": name, "image": BUSYBOX, "command": ["sh", "-c", script]})
}

/// A container with more fields than `base` has; those of `more` win.
pub fn with(base: Value, more: Value) -> Value {
    let mut merged = base;
    if let (Some(fields), Some(added)) = (merged.as_object_mut(), more.as_object()) {
        fields.extend(added.clone());
    }
    merged
}

/// A pod that ends within a second when it is deleted, unless its specification says otherwise.
pub fn pod(name: &str, spec: Value) -> Value {
    let spec = with(json!({"terminationGracePeriodSeconds": 1}), spec);
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}}, "spec": spec})
}

/// Creates a pod.
pub fn create(kubectl: &Kubectl, name: &str, spec: Value) -> Result<()> {
    kubectl.apply(&pod(name, spec).to_string()).map(drop)
}

/// Creates a pod and waits until it is ready.
pub fn start(kubectl: &Kubectl, name: &str, spec: Value) -> Result<()> {
    create(kubectl, name, spec)?;
    ready(kubectl, name)
}

/// Waits until a pod is ready.
pub fn ready(kubectl: &Kubectl, name: &str) -> Result<()> {
    kubectl.run(&["wait", &format!("pod/{name}"), "--for=condition=Ready", "--timeout=180s"]).map(drop)
}

/// Waits until a pod's phase is this.
pub fn phase(kubectl: &Kubectl, name: &str, phase: &str) -> Result<Value> {
    kubectl.run(&["wait", &format!("pod/{name}"), &format!("--for=jsonpath={{.status.phase}}={phase}"), "--timeout=180s"])?;
    kubectl.json(&["get", "pod", name])
}

/// Creates a pod that runs once, waits until it has succeeded, and reads what it wrote.
pub fn run(kubectl: &Kubectl, name: &str, spec: Value) -> Result<String> {
    create(kubectl, name, with(json!({"restartPolicy": "Never"}), spec))?;
    let ended = eventually("the pod to end", || {
        let pod = kubectl.json(&["get", "pod", name])?;
        let over = pod["status"]["phase"] == "Succeeded" || pod["status"]["phase"] == "Failed";
        ensure!(over, "{}", pod["status"]);
        Ok(pod)
    })?;
    let written = kubectl.run(&["logs", name])?;
    ensure!(ended["status"]["phase"] == "Succeeded", "{}\n{written}", ended["status"]);
    Ok(written)
}

/// Waits until the pod's object satisfies `check`; the object then.
pub fn when(kubectl: &Kubectl, name: &str, what: &str, check: impl Fn(&Value) -> bool) -> Result<Value> {
    eventually(what, || {
        let pod = kubectl.json(&["get", "pod", name])?;
        ensure!(check(&pod), "{}", pod["status"]);
        Ok(pod)
    })
}

/// The status of a container, whichever list it stands in; null when there is none.
pub fn container<'a>(pod: &'a Value, name: &str) -> &'a Value {
    let lists = ["containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"];
    let all = lists.iter().filter_map(|list| pod["status"][list].as_array()).flatten();
    all.into_iter().find(|status| status["name"] == name).unwrap_or(&Value::Null)
}

/// The condition of a type; null when there is none.
pub fn condition<'a>(pod: &'a Value, kind: &str) -> &'a Value {
    pod["status"]["conditions"].as_array().into_iter().flatten().find(|condition| condition["type"] == kind).unwrap_or(&Value::Null)
}

/// The columns of `get pod` with one space between them.
pub fn row(kubectl: &Kubectl, name: &str) -> Result<String> {
    Ok(kubectl.run(&["get", "pod", name, "--no-headers"])?.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// Waits for an event about an object with this reason; its message.
pub fn event(kubectl: &Kubectl, object: &str, reason: &str) -> Result<String> {
    let selector = format!("involvedObject.name={object},reason={reason}");
    eventually(&format!("the event {reason} about {object}"), || {
        let events = kubectl.json(&["get", "events", "--field-selector", &selector])?;
        let message = events["items"][0]["message"].as_str().context("there is no such event")?;
        Ok(message.to_owned())
    })
}

/// Runs a shell script in the first container of a running pod.
pub fn sh(kubectl: &Kubectl, name: &str, script: &str) -> Result<String> {
    kubectl.run(&["exec", name, "--", "sh", "-c", script])
}

/// Runs a shell script in the first container that makes the container end, and may be killed with it.
pub fn sh_last(kubectl: &Kubectl, name: &str, script: &str) -> Result<()> {
    kubectl.output(&["exec", name, "--", "sh", "-c", script], None).map(drop)
}

/// The text after `NAME=` in the line of an output that begins so.
pub fn value<'a>(output: &'a str, name: &str) -> Result<&'a str> {
    let line = output.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    line.with_context(|| format!("there is no {name} in:\n{output}"))
}

/// Checks that an output has `NAME=VALUE` lines with these values.
pub fn has(output: &str, wanted: &[(&str, &str)]) -> Result<()> {
    for (name, want) in wanted {
        let found = value(output, name)?;
        ensure!(found == *want, "{name} is {found:?}, expected {want:?}, in:\n{output}");
    }
    Ok(())
}

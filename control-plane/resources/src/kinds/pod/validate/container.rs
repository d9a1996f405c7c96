//! The rules for containers: names, images, ports, mounts, and what only some containers may have.

use super::{Scope, env, handler, resources, security};
use crate::field::{Errors, Path};
use crate::names;
use k8s_openapi::api::core::v1::{Container, ContainerPort, PodSpec, VolumeMount};
use std::collections::HashSet;

const PULL_POLICIES: &[&str] = &["Always", "IfNotPresent", "Never"];
const MESSAGE_POLICIES: &[&str] = &["FallbackToLogsOnError", "File"];
const PROTOCOLS: &[&str] = &["SCTP", "TCP", "UDP"];
const PROPAGATIONS: &[&str] = &["Bidirectional", "HostToContainer", "None"];

pub fn containers(spec: &PodSpec, scope: &Scope<'_>, at: &Path<'_>, errors: &mut Errors) {
    let list = at.field("containers");
    if spec.containers.is_empty() {
        errors.required(&list, "");
    }
    let mut names_seen = HashSet::new();
    let mut host_ports = HashSet::new();
    for (i, container) in spec.containers.iter().enumerate() {
        let at = list.index(i);
        one(container, scope, &mut names_seen, &mut host_ports, &at, errors);
        probes(container, &at, scope, errors);
        if container.restart_policy.is_some() {
            errors.forbidden(&at.field("restartPolicy"), "may not be set for non-init containers");
        }
    }
    let list = at.field("initContainers");
    for (i, container) in spec.init_containers.iter().flatten().enumerate() {
        let at = list.index(i);
        // Init containers run one after another: their host ports do not meet.
        one(container, scope, &mut names_seen, &mut HashSet::new(), &at, errors);
        match container.restart_policy.as_deref() {
            Some("Always") => probes(container, &at, scope, errors),
            None => no_probes(container, &at, errors),
            Some(other) => errors.not_supported(&at.field("restartPolicy"), other, &["Always"]),
        }
    }
}

/// The rules for a container of any sort.
pub fn one<'a>(
    container: &'a Container,
    scope: &Scope<'_>,
    names_seen: &mut HashSet<&'a str>,
    host_ports: &mut HashSet<(&'a str, &'a str, i32)>,
    at: &Path<'_>,
    errors: &mut Errors,
) {
    let name = at.field("name");
    if container.name.is_empty() {
        errors.required(&name, "");
    } else {
        errors.format(&name, &container.name, names::label(&container.name));
        if !names_seen.insert(&container.name) {
            errors.duplicate(&name, container.name.as_str());
        }
    }
    let image = container.image.as_deref().unwrap_or_default();
    if image.is_empty() {
        errors.required(&at.field("image"), "");
    } else if image.trim() != image {
        errors.invalid(&at.field("image"), image, "must not have leading or trailing whitespace");
    }
    errors.one_of(&at.field("terminationMessagePolicy"), container.termination_message_policy.as_deref(), MESSAGE_POLICIES);
    errors.one_of(&at.field("imagePullPolicy"), container.image_pull_policy.as_deref(), PULL_POLICIES);
    ports(container.ports.as_deref().unwrap_or_default(), scope.host_network, host_ports, &at.field("ports"), errors);
    env::all(container, at, errors);
    mounts(container, scope, at, errors);
    if let Some(required) = &container.resources {
        resources::container(required, &scope.claims, &at.field("resources"), errors);
    }
    if let Some(context) = &container.security_context {
        security::container(context, &at.field("securityContext"), errors);
    }
}

fn probes(container: &Container, at: &Path<'_>, scope: &Scope<'_>, errors: &mut Errors) {
    if let Some(probe) = &container.liveness_probe {
        handler::probe(probe, handler::Purpose::Liveness, &at.field("livenessProbe"), errors);
    }
    if let Some(probe) = &container.readiness_probe {
        handler::probe(probe, handler::Purpose::Readiness, &at.field("readinessProbe"), errors);
    }
    if let Some(probe) = &container.startup_probe {
        handler::probe(probe, handler::Purpose::Startup, &at.field("startupProbe"), errors);
    }
    if let Some(lifecycle) = &container.lifecycle {
        let at = at.field("lifecycle");
        for (name, hook) in [("postStart", &lifecycle.post_start), ("preStop", &lifecycle.pre_stop)] {
            if let Some(hook) = hook {
                handler::hook(hook, scope.grace_seconds, &at.field(name), errors);
            }
        }
    }
}

fn no_probes(container: &Container, at: &Path<'_>, errors: &mut Errors) {
    for (name, set) in [
        ("lifecycle", container.lifecycle.is_some()),
        ("livenessProbe", container.liveness_probe.is_some()),
        ("readinessProbe", container.readiness_probe.is_some()),
        ("startupProbe", container.startup_probe.is_some()),
    ] {
        if set {
            errors.forbidden(&at.field(name), "may not be set for init containers without restartPolicy=Always");
        }
    }
}

fn ports<'a>(
    list: &'a [ContainerPort],
    host_network: bool,
    host_ports: &mut HashSet<(&'a str, &'a str, i32)>,
    at: &Path<'_>,
    errors: &mut Errors,
) {
    let mut names_seen = HashSet::new();
    for (i, port) in list.iter().enumerate() {
        let at = at.index(i);
        if let Some(name) = port.name.as_deref().filter(|n| !n.is_empty()) {
            errors.format(&at.field("name"), name, names::port_name(name));
            if !names_seen.insert(name) {
                errors.duplicate(&at.field("name"), name);
            }
        }
        if port.container_port == 0 {
            errors.required(&at.field("containerPort"), "");
        } else if let Some(detail) = names::port_number(port.container_port) {
            errors.invalid(&at.field("containerPort"), port.container_port, detail);
        }
        let protocol = port.protocol.as_deref().unwrap_or_default();
        if let Some(host_port) = port.host_port.filter(|p| *p != 0) {
            if let Some(detail) = names::port_number(host_port) {
                errors.invalid(&at.field("hostPort"), host_port, detail);
            } else if host_network && host_port != port.container_port {
                errors.invalid(&at.field("containerPort"), port.container_port, "must match `hostPort` when `hostNetwork` is true");
            }
            let host_ip = port.host_ip.as_deref().unwrap_or_default();
            if !host_ports.insert((protocol, host_ip, host_port)) {
                errors.duplicate(&at.field("hostPort"), format!("{protocol}/{host_ip}/{host_port}"));
            }
        }
        errors.one_of(&at.field("protocol"), port.protocol.as_deref(), PROTOCOLS);
    }
}

fn mounts(container: &Container, scope: &Scope<'_>, at: &Path<'_>, errors: &mut Errors) {
    let at = at.field("volumeMounts");
    let mut paths = HashSet::new();
    for (i, mount) in container.volume_mounts.iter().flatten().enumerate() {
        let at = at.index(i);
        if mount.name.is_empty() {
            errors.required(&at.field("name"), "");
        } else if !scope.volumes.contains(mount.name.as_str()) {
            errors.not_found(&at.field("name"), mount.name.as_str());
        }
        if mount.mount_path.is_empty() {
            errors.required(&at.field("mountPath"), "");
        } else if !paths.insert(mount.mount_path.as_str()) {
            errors.invalid(&at.field("mountPath"), mount.mount_path.as_str(), "must be unique");
        }
        sub_path(mount, &at, errors);
        errors.one_of_if_set(&at.field("mountPropagation"), mount.mount_propagation.as_deref(), PROPAGATIONS);
    }
}

fn sub_path(mount: &VolumeMount, at: &Path<'_>, errors: &mut Errors) {
    let (plain, expanded) = (mount.sub_path.as_deref().unwrap_or_default(), mount.sub_path_expr.as_deref().unwrap_or_default());
    for (name, path) in [("subPath", plain), ("subPathExpr", expanded)] {
        local_path(path, &at.field(name), errors);
    }
    if !plain.is_empty() && !expanded.is_empty() {
        errors.invalid(&at.field("subPathExpr"), expanded, "subPathExpr and subPath are mutually exclusive");
    }
}

/// A relative path that does not climb.
pub fn local_path(path: &str, at: &Path<'_>, errors: &mut Errors) {
    if path.starts_with('/') {
        errors.invalid(at, path, "must be a relative path");
    }
    no_climbing(path, at, errors);
}

/// A path without `..`.
pub fn no_climbing(path: &str, at: &Path<'_>, errors: &mut Errors) {
    if path.split('/').any(|part| part == "..") {
        errors.invalid(at, path, "must not contain '..'");
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::complaints;
    use serde_json::{Value, json};

    fn with(fields: Value) -> Vec<String> {
        let mut container = json!({"name": "a", "image": "x:1"});
        for (key, value) in fields.as_object().unwrap() {
            container[key] = value.clone();
        }
        complaints(json!({"containers": [container], "volumes": [{"name": "v"}]}))
    }

    #[test]
    fn containers_have_their_rules() {
        for (fields, expected) in [
            (
                json!({"ports": [{"name": "http", "containerPort": 80}], "volumeMounts": [{"name": "v", "mountPath": "/x", "subPath": "a/b"}]}),
                None,
            ),
            (json!({"name": ""}), Some("spec.containers[0].name: Required value")),
            (json!({"name": "A"}), Some("spec.containers[0].name: Invalid value: \"A\": a lowercase RFC 1123 label")),
            (json!({"image": ""}), Some("spec.containers[0].image: Required value")),
            (json!({"image": " x"}), Some("spec.containers[0].image: Invalid value: \" x\": must not have leading or trailing whitespace")),
            (
                json!({"imagePullPolicy": "Later"}),
                Some(
                    "spec.containers[0].imagePullPolicy: Unsupported value: \"Later\": supported values: \"Always\", \"IfNotPresent\", \"Never\"",
                ),
            ),
            (json!({"ports": [{}]}), Some("spec.containers[0].ports[0].containerPort: Required value")),
            (
                json!({"ports": [{"containerPort": 70000}]}),
                Some("spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive"),
            ),
            (
                json!({"ports": [{"containerPort": 1, "hostPort": 9}, {"containerPort": 2, "hostPort": 9}]}),
                Some("spec.containers[0].ports[1].hostPort: Duplicate value: \"TCP//9\""),
            ),
            (
                json!({"ports": [{"name": "a", "containerPort": 1}, {"name": "a", "containerPort": 2}]}),
                Some("spec.containers[0].ports[1].name: Duplicate value: \"a\""),
            ),
            (
                json!({"volumeMounts": [{"name": "w", "mountPath": "/x"}]}),
                Some("spec.containers[0].volumeMounts[0].name: Not found: \"w\""),
            ),
            (
                json!({"volumeMounts": [{"name": "v", "mountPath": "/x"}, {"name": "v", "mountPath": "/x"}]}),
                Some("spec.containers[0].volumeMounts[1].mountPath: Invalid value: \"/x\": must be unique"),
            ),
            (
                json!({"volumeMounts": [{"name": "v", "mountPath": "/x", "subPath": "../y"}]}),
                Some("spec.containers[0].volumeMounts[0].subPath: Invalid value: \"../y\": must not contain '..'"),
            ),
            (
                json!({"restartPolicy": "Always"}),
                Some("spec.containers[0].restartPolicy: Forbidden: may not be set for non-init containers"),
            ),
        ] {
            let found = with(fields.clone());
            assert_eq!(found.len(), usize::from(expected.is_some()), "{fields}: {found:?}");
            assert!(expected.is_none_or(|e| found[0].starts_with(e)), "{found:?}");
        }
    }

    #[test]
    fn names_are_unique_over_all_containers_and_init_containers_have_no_probes() {
        let probe = json!({"tcpSocket": {"port": 1}});
        let found = complaints(json!({"initContainers": [{"name": "a", "image": "x"}]}));
        assert_eq!(found, ["spec.initContainers[0].name: Duplicate value: \"a\""]);
        let init =
            |policy: Value| json!({"initContainers": [{"name": "i", "image": "x", "readinessProbe": probe, "restartPolicy": policy}]});
        assert_eq!(complaints(init(json!("Always"))), Vec::<String>::new());
        let found = complaints(init(Value::Null));
        assert_eq!(
            found,
            ["spec.initContainers[0].readinessProbe: Forbidden: may not be set for init containers without restartPolicy=Always"]
        );
    }
}

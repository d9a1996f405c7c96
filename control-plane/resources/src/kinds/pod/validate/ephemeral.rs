//! The rules for ephemeral containers: added to a running pod to look around in it, never changed or taken away.

use super::Scope;
use super::container::one;
use crate::field::{Errors, Path};
use k8s_openapi::api::core::v1::{Container, EphemeralContainer, PodSpec};
use std::collections::HashSet;

/// A pod's ephemeral containers as such.
pub fn containers(spec: &PodSpec, scope: &Scope<'_>, at: &Path<'_>, errors: &mut Errors) {
    let list = at.field("ephemeralContainers");
    let all = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let others: HashSet<&str> = all.map(|c| c.name.as_str()).collect();
    let plain: Vec<Container> = spec.ephemeral_containers.iter().flatten().map(as_container).collect();
    let mut names_seen = others.clone();
    for (i, (container, plain)) in spec.ephemeral_containers.iter().flatten().zip(&plain).enumerate() {
        let at = list.index(i);
        one(plain, scope, &mut names_seen, &mut HashSet::new(), &at, errors);
        if let Some(target) = container.target_container_name.as_deref().filter(|t| !t.is_empty() && !others.contains(t)) {
            errors.not_found(&at.field("targetContainerName"), target);
        }
        for (name, set) in [
            ("ports", container.ports.is_some()),
            ("livenessProbe", container.liveness_probe.is_some()),
            ("readinessProbe", container.readiness_probe.is_some()),
            ("startupProbe", container.startup_probe.is_some()),
            ("lifecycle", container.lifecycle.is_some()),
            ("resources", container.resources.as_ref().is_some_and(|r| r.limits.is_some() || r.requests.is_some())),
            ("restartPolicy", container.restart_policy.is_some()),
        ] {
            if set {
                errors.forbidden(&at.field(name), "cannot be set for an Ephemeral Container");
            }
        }
        for (i, mount) in container.volume_mounts.iter().flatten().enumerate() {
            if mount.sub_path.as_ref().is_some_and(|p| !p.is_empty()) {
                errors.forbidden(&at.field("volumeMounts").index(i).field("subPath"), "cannot be set for an Ephemeral Container");
            }
        }
    }
}

/// Those that are there stay as they are.
pub fn kept(new: &PodSpec, old: &PodSpec, at: &Path<'_>, errors: &mut Errors) {
    let at = at.field("ephemeralContainers");
    for (i, had) in old.ephemeral_containers.iter().flatten().enumerate() {
        match new.ephemeral_containers.iter().flatten().find(|c| c.name == had.name) {
            None => errors.forbidden(&at, format!("existing ephemeral containers {:?} may not be removed\n", had.name)),
            Some(now) if now != had => {
                errors.forbidden(&at.index(i), format!("existing ephemeral containers {:?} may not be changed\n", had.name));
            }
            Some(_) => {}
        }
    }
}

fn as_container(container: &EphemeralContainer) -> Container {
    let container = container.clone();
    Container {
        name: container.name,
        image: container.image,
        image_pull_policy: container.image_pull_policy,
        env: container.env,
        env_from: container.env_from,
        volume_mounts: container.volume_mounts,
        termination_message_policy: container.termination_message_policy,
        security_context: container.security_context,
        ..Container::default()
    }
}

//! The containers that a pod's specification declares, in start order, whatever list they stand in. Pure.

use std::borrow::Cow;

use k8s_openapi::api::core::v1::{Container, EphemeralContainer, Pod, PodSpec};

/// What role a container has in its pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Runs to its end before the next one starts.
    Init,
    /// An init container with `restartPolicy: Always`: stays, beside the main containers (KEP-753).
    Sidecar,
    /// One of `spec.containers`.
    Main,
    /// Added to a running pod for debugging; started once, never again.
    Ephemeral,
}

/// One declared container.
#[derive(Clone, Debug)]
pub struct Declared<'a> {
    /// Its role.
    pub kind: Kind,
    /// Its specification.
    pub container: Cow<'a, Container>,
}

/// `spec.restartPolicy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestartPolicy {
    /// Restart whatever the exit code.
    Always,
    /// Restart after a failure.
    OnFailure,
    /// Never restart.
    Never,
}

impl RestartPolicy {
    /// The pod's policy; Always by default.
    pub fn of(pod: &Pod) -> Self {
        match pod.spec.as_ref().and_then(|s| s.restart_policy.as_deref()) {
            Some("Never") => Self::Never,
            Some("OnFailure") => Self::OnFailure,
            _ => Self::Always,
        }
    }

    /// True when a main container that ended with `exit_code` runs again.
    pub fn restarts(self, exit_code: i32) -> bool {
        match self {
            Self::Always => true,
            Self::OnFailure => exit_code != 0,
            Self::Never => false,
        }
    }
}

/// Init containers and sidecars in order.
pub fn init(spec: &PodSpec) -> impl Iterator<Item = Declared<'_>> {
    spec.init_containers.iter().flatten().map(|container| Declared {
        kind: if container.restart_policy.as_deref() == Some("Always") { Kind::Sidecar } else { Kind::Init },
        container: Cow::Borrowed(container),
    })
}

/// Main containers in order.
pub fn main(spec: &PodSpec) -> impl Iterator<Item = Declared<'_>> {
    spec.containers.iter().map(|container| Declared { kind: Kind::Main, container: Cow::Borrowed(container) })
}

/// Ephemeral containers in order.
pub fn ephemeral(spec: &PodSpec) -> impl Iterator<Item = Declared<'_>> {
    spec.ephemeral_containers
        .iter()
        .flatten()
        .map(|container| Declared { kind: Kind::Ephemeral, container: Cow::Owned(as_container(container)) })
}

/// Every declared container: init, main, ephemeral.
pub fn all(spec: &PodSpec) -> impl Iterator<Item = Declared<'_>> {
    init(spec).chain(main(spec)).chain(ephemeral(spec))
}

/// The declared container of that name.
pub fn find<'a>(pod: &'a Pod, name: &str) -> Option<Declared<'a>> {
    all(pod.spec.as_ref()?).find(|d| d.container.name == name)
}

fn as_container(container: &EphemeralContainer) -> Container {
    let container = container.clone();
    Container {
        name: container.name,
        image: container.image,
        image_pull_policy: container.image_pull_policy,
        command: container.command,
        args: container.args,
        working_dir: container.working_dir,
        env: container.env,
        env_from: container.env_from,
        volume_mounts: container.volume_mounts,
        security_context: container.security_context,
        stdin: container.stdin,
        stdin_once: container.stdin_once,
        tty: container.tty,
        termination_message_path: container.termination_message_path,
        termination_message_policy: container.termination_message_policy,
        resources: container.resources,
        ..Container::default()
    }
}

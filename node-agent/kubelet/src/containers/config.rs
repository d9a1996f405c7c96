//! The CRI configuration of one container run. Pure: everything that needed I/O comes in as [`Prepared`].

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, Pod};

use super::expand::expand;
use super::{hash, resources, security};
use crate::cri::labels;
use crate::cri::proto::{ContainerConfig, ContainerMetadata, ImageSpec, KeyValue, LinuxContainerConfig, Mount};
use crate::paths::Paths;
use crate::pods::PodKey;

/// Where a container's termination message is expected unless it says otherwise.
pub const TERMINATION_PATH: &str = "/dev/termination-log";

/// What was prepared for a container run.
#[derive(Clone, Debug, Default)]
pub struct Prepared {
    /// Restart count.
    pub attempt: u32,
    /// How long the next restart waits, when there was a restart before.
    pub restart_delay: Option<Duration>,
    /// Reference of the image on the node, as CRI answered it.
    pub image_ref: String,
    /// The environment.
    pub environment: BTreeMap<String, String>,
    /// All mounts, those of volumes and those of the kubelet.
    pub mounts: Vec<Mount>,
    /// The node's memory in bytes, for the OOM score.
    pub memory_capacity: i64,
    /// cgroups are pure v2.
    pub unified: bool,
    /// For an ephemeral container: id of the container whose processes it sees.
    pub target: Option<String>,
}

/// Makes the configuration.
pub fn config(pod: &Pod, container: &Container, prepared: Prepared) -> ContainerConfig {
    let key = PodKey::of(pod);
    let environment = &prepared.environment;
    let expand_all = |list: &Option<Vec<String>>| -> Vec<String> {
        list.iter().flatten().map(|text| expand(text, |name| environment.get(name).cloned())).collect()
    };
    let image = container.image.clone().unwrap_or_default();
    let mut of_container = labels::of_pod(&key);
    of_container.insert(labels::CONTAINER_NAME.to_owned(), container.name.clone());
    let grace = pod.spec.as_ref().and_then(|s| s.termination_grace_period_seconds).unwrap_or(30);
    let mut annotations = HashMap::from([
        (labels::HASH.to_owned(), hash::hash(container)),
        (labels::RESTART_COUNT.to_owned(), prepared.attempt.to_string()),
        (labels::TERMINATION_PATH.to_owned(), container.termination_message_path.clone().unwrap_or(TERMINATION_PATH.to_owned())),
        (labels::TERMINATION_POLICY.to_owned(), container.termination_message_policy.clone().unwrap_or("File".to_owned())),
        (labels::GRACE_PERIOD.to_owned(), grace.to_string()),
    ]);
    annotations.extend(prepared.restart_delay.map(|delay| (labels::RESTART_DELAY.to_owned(), delay.as_secs().to_string())));
    ContainerConfig {
        metadata: Some(ContainerMetadata { name: container.name.clone(), attempt: prepared.attempt }),
        image: Some(ImageSpec { image: prepared.image_ref, user_specified_image: image, ..Default::default() }),
        command: expand_all(&container.command),
        args: expand_all(&container.args),
        working_dir: container.working_dir.clone().unwrap_or_default(),
        envs: environment.iter().map(|(key, value)| KeyValue { key: key.clone(), value: value.clone() }).collect(),
        mounts: prepared.mounts,
        labels: of_container,
        annotations,
        log_path: Paths::log_path(&container.name, prepared.attempt),
        stdin: container.stdin.unwrap_or(false),
        stdin_once: container.stdin_once.unwrap_or(false),
        tty: container.tty.unwrap_or(false),
        linux: Some(LinuxContainerConfig {
            resources: Some(resources::of_container(pod, container, prepared.memory_capacity, prepared.unified)),
            security_context: Some(security::of_container(pod, container, prepared.target)),
        }),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_and_arguments_expand_and_identity_is_labelled() {
        let pod: Pod = serde_json::from_value(serde_json::json!({
            "metadata": {"name": "p", "namespace": "n", "uid": "u"},
            "spec": {"containers": [{"name": "c", "image": "i", "command": ["sh", "$(A)"], "args": ["$(NONE)", "$$(A)"]}]}
        }))
        .unwrap();
        let container = &pod.spec.as_ref().unwrap().containers[0];
        let environment = BTreeMap::from([("A".to_owned(), "x".to_owned())]);
        let made = config(
            &pod,
            container,
            Prepared { attempt: 2, restart_delay: Some(Duration::from_secs(20)), environment, ..Prepared::default() },
        );
        assert_eq!(made.command, ["sh", "x"]);
        assert_eq!(made.args, ["$(NONE)", "$(A)"]);
        assert_eq!(made.log_path, "c/2.log");
        assert_eq!(made.labels[labels::POD_UID], "u");
        assert_eq!(made.annotations[labels::RESTART_COUNT], "2");
        assert_eq!(made.annotations[labels::TERMINATION_PATH], TERMINATION_PATH);
        assert_eq!(made.annotations[labels::RESTART_DELAY], "20");
    }
}

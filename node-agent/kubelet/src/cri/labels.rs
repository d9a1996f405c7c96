//! Labels and annotations on sandboxes and containers: the names that Kubernetes tools expect, and what this kubelet needs to find its pods
//! again after a restart.

use std::collections::HashMap;

use crate::pods::PodKey;

/// Label: the pod's name.
pub const POD_NAME: &str = "io.kubernetes.pod.name";
/// Label: the pod's namespace.
pub const POD_NAMESPACE: &str = "io.kubernetes.pod.namespace";
/// Label: the pod's uid.
pub const POD_UID: &str = "io.kubernetes.pod.uid";
/// Label: the container's name.
pub const CONTAINER_NAME: &str = "io.kubernetes.container.name";
/// Annotation: digest of the parts of the container's specification that need a restart when they change.
pub const HASH: &str = "io.kubernetes.container.hash";
/// Annotation: how often the container was started before.
pub const RESTART_COUNT: &str = "io.kubernetes.container.restartCount";
/// Annotation: seconds for which a restart waits when this run ends, as back-off had it at the run's start.
pub const RESTART_DELAY: &str = "orknet.io/restart-delay";
/// Annotation: path of the termination message inside of the container.
pub const TERMINATION_PATH: &str = "io.kubernetes.container.terminationMessagePath";
/// Annotation: File or FallbackToLogsOnError.
pub const TERMINATION_POLICY: &str = "io.kubernetes.container.terminationMessagePolicy";
/// Annotation: the pod's grace period in seconds, for pods whose object is gone.
pub const GRACE_PERIOD: &str = "io.kubernetes.pod.terminationGracePeriod";

/// The labels that every sandbox of a pod carries.
pub fn of_pod(pod: &PodKey) -> HashMap<String, String> {
    HashMap::from([
        (POD_NAME.to_owned(), pod.name.clone()),
        (POD_NAMESPACE.to_owned(), pod.namespace.clone()),
        (POD_UID.to_owned(), pod.uid.clone()),
    ])
}

/// The selector for all that belongs to a pod.
pub fn by_uid(uid: &str) -> HashMap<String, String> {
    HashMap::from([(POD_UID.to_owned(), uid.to_owned())])
}

/// The pod that labels name, or none for objects that no kubelet made.
pub fn pod_of(labels: &HashMap<String, String>) -> Option<PodKey> {
    Some(PodKey { namespace: labels.get(POD_NAMESPACE)?.clone(), name: labels.get(POD_NAME)?.clone(), uid: labels.get(POD_UID)?.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_found_again_by_its_labels() {
        let key = PodKey { namespace: "n".into(), name: "p".into(), uid: "u".into() };
        assert_eq!(pod_of(&of_pod(&key)), Some(key));
        assert_eq!(pod_of(&HashMap::new()), None);
    }
}

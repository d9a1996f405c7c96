//! Pure: what the Events about a workload say of its pods, in the words of Kubernetes, where StatefulSets have their own.

/// What was done to a pod.
#[derive(Clone, Copy)]
pub(crate) enum Verb {
    Create,
    Delete,
}

/// The message of `SuccessfulCreate` or `SuccessfulDelete` about the workload `owner` of that kind.
pub(crate) fn done(verb: Verb, kind: &str, owner: &str, pod: &str) -> String {
    match (kind, verb) {
        ("StatefulSet", _) => format!("{} Pod {pod} in StatefulSet {owner} successful", verb.lower()),
        (_, Verb::Create) => format!("Created pod: {pod}"),
        (_, Verb::Delete) => format!("Deleted pod: {pod}"),
    }
}

/// The message of `FailedCreate` or `FailedDelete`.
pub(crate) fn failed(verb: Verb, kind: &str, owner: &str, pod: &str, error: &str) -> String {
    match (kind, verb) {
        ("StatefulSet", _) => format!("{} Pod {pod} in StatefulSet {owner} failed error: {error}", verb.lower()),
        (_, Verb::Create) => format!("Error creating: {error}"),
        (_, Verb::Delete) => format!("Error deleting: {error}"),
    }
}

impl Verb {
    fn lower(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Delete => "delete",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stateful_sets_name_themselves_and_the_pod() {
        assert_eq!(done(Verb::Create, "StatefulSet", "web", "web-0"), "create Pod web-0 in StatefulSet web successful");
        assert_eq!(done(Verb::Delete, "StatefulSet", "web", "web-0"), "delete Pod web-0 in StatefulSet web successful");
        assert_eq!(failed(Verb::Create, "StatefulSet", "web", "web-0", "no"), "create Pod web-0 in StatefulSet web failed error: no");
    }

    #[test]
    fn other_workloads_name_the_pod_or_the_error() {
        assert_eq!(done(Verb::Create, "ReplicaSet", "web", "web-x"), "Created pod: web-x");
        assert_eq!(done(Verb::Delete, "Job", "web", "web-x"), "Deleted pod: web-x");
        assert_eq!(failed(Verb::Create, "ReplicaSet", "web", "web-x", "no"), "Error creating: no");
        assert_eq!(failed(Verb::Delete, "DaemonSet", "web", "web-x", "no"), "Error deleting: no");
    }
}

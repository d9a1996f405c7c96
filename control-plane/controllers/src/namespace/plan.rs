//! Pure: the order in which a namespace is emptied, and what its status says meanwhile.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Namespace, NamespaceCondition, NamespaceStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

/// The finalizer in `spec.finalizers` that this controller answers for.
pub(super) const KUBERNETES: &str = "kubernetes";

/// What is left in a namespace.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Remaining {
    /// Objects by resource and group, e.g. `deployments.apps` (`pods.` in the core group, as Kubernetes writes it).
    pub objects: BTreeMap<String, usize>,
    /// Objects by the finalizer that holds them.
    pub finalizers: BTreeMap<String, usize>,
    /// Why something could not be deleted.
    pub failures: Vec<String>,
}

impl Remaining {
    pub fn is_nothing(&self) -> bool {
        self.objects.is_empty() && self.failures.is_empty()
    }
}

/// Whether the controller has work: the namespace is being deleted and still carries the finalizer.
pub(super) fn is_due(namespace: &Namespace) -> bool {
    namespace.metadata.deletion_timestamp.is_some()
        && namespace.spec.as_ref().is_some_and(|spec| spec.finalizers.iter().flatten().any(|finalizer| finalizer == KUBERNETES))
}

/// The status of a namespace that is being emptied.
pub(super) fn status(namespace: &Namespace, remaining: &Remaining, now: Timestamp) -> NamespaceStatus {
    let old = namespace.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let counted = |counts: &BTreeMap<String, usize>, what: &str| {
        // The plural whatever the count: clients read these words.
        let parts: Vec<_> = counts.iter().map(|(name, count)| format!("{name} {what} {count} resource instances")).collect();
        parts.join(", ")
    };
    let failure = (!remaining.failures.is_empty()).then(|| remaining.failures.join(", "));
    let content = (!remaining.objects.is_empty()).then(|| format!("Some resources are remaining: {}", counted(&remaining.objects, "has")));
    let finalizers = (!remaining.finalizers.is_empty())
        .then(|| format!("Some content in the namespace has finalizers remaining: {}", counted(&remaining.finalizers, "in")));
    let conditions = [
        ("NamespaceDeletionDiscoveryFailure", None, "DiscoveryFailed", "ResourcesDiscovered", "All resources successfully discovered"),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            None,
            "GroupVersionParsingFailed",
            "ParsedGroupVersions",
            "All legacy kube types successfully parsed",
        ),
        (
            "NamespaceDeletionContentFailure",
            failure,
            "ContentDeletionFailed",
            "ContentDeleted",
            "All content successfully deleted, may be waiting on finalization",
        ),
        ("NamespaceContentRemaining", content, "SomeResourcesRemain", "ContentRemoved", "All content successfully removed"),
        (
            "NamespaceFinalizersRemaining",
            finalizers,
            "SomeFinalizersRemain",
            "ContentHasNoFinalizers",
            "All content-preserving finalizers finished",
        ),
    ];
    let conditions = conditions.into_iter().map(|(type_, problem, bad, good, calm)| {
        let (status, reason, message) = match problem {
            Some(problem) => ("True", bad, problem),
            None => ("False", good, calm.to_string()),
        };
        let since = old.iter().find(|old| old.type_ == type_ && old.status == status).and_then(|old| old.last_transition_time.clone());
        NamespaceCondition {
            type_: type_.into(),
            status: status.into(),
            reason: Some(reason.into()),
            message: Some(message),
            last_transition_time: since.or(Some(Time(now))),
        }
    });
    NamespaceStatus { phase: Some("Terminating".into()), conditions: Some(conditions.collect()) }
}

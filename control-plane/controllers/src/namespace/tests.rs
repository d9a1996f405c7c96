//! What the namespace controller answers for and reports.

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::jiff::Timestamp;
use serde_json::json;

use super::plan::{Remaining, is_due, status};

fn namespace(deleting: bool, finalizers: &[&str]) -> Namespace {
    let stamp = deleting.then_some("2020-01-01T00:00:00Z");
    serde_json::from_value(json!({"metadata": {"name": "a", "deletionTimestamp": stamp}, "spec": {"finalizers": finalizers}})).unwrap()
}

#[test]
fn only_a_namespace_in_deletion_with_our_finalizer_is_due() {
    assert!(is_due(&namespace(true, &["kubernetes"])));
    assert!(!is_due(&namespace(false, &["kubernetes"])));
    assert!(!is_due(&namespace(true, &["other"])));
}

#[test]
fn the_status_names_what_is_left_and_keeps_its_times() {
    let mut remaining = Remaining::default();
    assert!(remaining.is_nothing());
    remaining.objects.insert("pods.".into(), 2);
    remaining.finalizers.insert("example.com/hold".into(), 1);
    let mut namespace = namespace(true, &["kubernetes"]);
    let first = status(&namespace, &remaining, Timestamp::UNIX_EPOCH);
    let conditions = first.conditions.as_ref().unwrap();
    let texts: Vec<_> = conditions.iter().map(|condition| (condition.type_.as_str(), condition.status.as_str())).collect();
    let wanted = [
        ("NamespaceDeletionDiscoveryFailure", "False"),
        ("NamespaceDeletionGroupVersionParsingFailure", "False"),
        ("NamespaceDeletionContentFailure", "False"),
        ("NamespaceContentRemaining", "True"),
        ("NamespaceFinalizersRemaining", "True"),
    ];
    assert_eq!(texts, wanted);
    assert_eq!(conditions[3].message.as_deref(), Some("Some resources are remaining: pods. has 2 resource instances"));
    namespace.status = Some(first.clone());
    assert_eq!(status(&namespace, &remaining, Timestamp::now()), first);
}

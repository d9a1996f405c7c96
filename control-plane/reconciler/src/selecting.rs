//! Kinds that select others by their labels, in one form whatever their field looks like.

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ReplicationController, Service};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;

use crate::Cached;
use crate::selector::{self, Labels};

/// A kind with a selector in its spec.
pub trait Selecting: Cached {
    /// Whether an object of the same namespace with these labels is selected.
    fn selects(&self, labels: Option<&Labels>) -> bool;
}

/// The selector is a `LabelSelector` that must be there.
macro_rules! by_selector {
    ($($kind:ty),*) => { $(impl Selecting for $kind {
        fn selects(&self, labels: Option<&Labels>) -> bool {
            self.spec.as_ref().is_some_and(|spec| selector::matches(&spec.selector, labels))
        }
    })* };
}

/// The selector is a `LabelSelector`; an absent one selects nothing.
macro_rules! by_optional_selector {
    ($($kind:ty),*) => { $(impl Selecting for $kind {
        fn selects(&self, labels: Option<&Labels>) -> bool {
            self.spec.as_ref().and_then(|spec| spec.selector.as_ref()).is_some_and(|wanted| selector::matches(wanted, labels))
        }
    })* };
}

/// The selector is a plain map; an absent or empty one selects nothing.
macro_rules! by_map {
    ($($kind:ty),*) => { $(impl Selecting for $kind {
        fn selects(&self, labels: Option<&Labels>) -> bool {
            let wanted = self.spec.as_ref().and_then(|spec| spec.selector.as_ref()).filter(|wanted| !wanted.is_empty());
            wanted.is_some_and(|wanted| selector::matches_map(wanted, labels))
        }
    })* };
}

by_selector!(DaemonSet, Deployment, ReplicaSet, StatefulSet);
by_optional_selector!(Job, PodDisruptionBudget);
by_map!(ReplicationController, Service);

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn selects<K: Selecting>(spec: Value) -> (bool, bool) {
        let object: K = serde_json::from_value(json!({ "spec": spec })).unwrap();
        let labels: Labels = [("app".to_string(), "web".to_string())].into();
        (object.selects(Some(&labels)), object.selects(None))
    }

    #[test]
    fn what_is_absent_or_empty_selects_as_each_kind_says() {
        assert_eq!(selects::<Service>(json!({"selector": {"app": "web"}})), (true, false));
        assert_eq!(selects::<Service>(json!({"selector": {}})), (false, false));
        assert_eq!(selects::<Service>(json!({})), (false, false));
        assert_eq!(selects::<PodDisruptionBudget>(json!({"selector": {}})), (true, true));
        assert_eq!(selects::<PodDisruptionBudget>(json!({})), (false, false));
        let template = json!({});
        assert_eq!(selects::<ReplicaSet>(json!({"selector": {"matchLabels": {"app": "web"}}, "template": template})), (true, false));
    }
}

//! What each plug-in handles, and what it does in which stage; how it does it is in its own file.

use super::chain::{Attributes, Operation, Plugin};
use super::node_restriction::Change;
use super::{escalation, namespace, node_restriction, priority, service_account, tolerations};
use crate::error::ApiError;
use crate::kinds::StoredAs;
use crate::object;
use async_trait::async_trait;

const PODS: StoredAs = ("", "pods");

/// See [`namespace`]. That the namespace stays open until the commit is the commit's to see to.
pub struct NamespaceLifecycle;

#[async_trait]
impl Plugin for NamespaceLifecycle {
    fn name(&self) -> &'static str {
        "NamespaceLifecycle"
    }

    fn handles(&self, what: &Attributes<'_>) -> bool {
        matches!(what.operation, Operation::Create | Operation::Delete)
    }

    async fn mutate(&self, what: &mut Attributes<'_>) -> Result<(), ApiError> {
        match (&what.object, what.old) {
            (Some(object), None) => namespace::must_be_open(what.server, what.kind, object).await.map(drop),
            (None, Some(old)) => namespace::may_be_deleted(what.kind, old),
            _ => Ok(()),
        }
    }
}

/// See [`service_account`].
pub struct ServiceAccount;

#[async_trait]
impl Plugin for ServiceAccount {
    fn name(&self) -> &'static str {
        "ServiceAccount"
    }

    fn handles(&self, what: &Attributes<'_>) -> bool {
        what.operation == Operation::Create && what.subresource.is_none() && what.is(PODS)
    }

    async fn mutate(&self, what: &mut Attributes<'_>) -> Result<(), ApiError> {
        let (server, kind) = (what.server, what.kind);
        match what.object.as_deref_mut() {
            Some(pod) => service_account::inject(server, kind, pod).await,
            None => Ok(()),
        }
    }

    async fn validate(&self, what: &Attributes<'_>) -> Result<(), ApiError> {
        let why = what.object.as_deref().and_then(service_account::refusal);
        why.map_or(Ok(()), |why| Err(what.refusal(why)))
    }
}

/// See [`node_restriction`].
pub struct NodeRestriction;

#[async_trait]
impl Plugin for NodeRestriction {
    fn name(&self) -> &'static str {
        "NodeRestriction"
    }

    fn handles(&self, what: &Attributes<'_>) -> bool {
        what.operation != Operation::Connect
    }

    async fn mutate(&self, what: &mut Attributes<'_>) -> Result<(), ApiError> {
        let change = match (what.object.as_deref(), what.old) {
            (Some(new), Some(old)) => Change::Update { new, old, subresource: what.subresource },
            (Some(new), None) => Change::Create(new),
            (None, Some(old)) => Change::Delete(old),
            (None, None) => return Ok(()),
        };
        let uid_of = |node: &str| what.server.storage.caches.get(("", "nodes"), "", node).map(|node| object::uid(&node.value()).to_owned());
        node_restriction::check(what.who, what.kind, change, uid_of)
    }
}

/// See [`priority`].
pub struct Priority;

#[async_trait]
impl Plugin for Priority {
    fn name(&self) -> &'static str {
        "Priority"
    }

    fn handles(&self, what: &Attributes<'_>) -> bool {
        let creates_pod = what.operation == Operation::Create && what.is(PODS);
        what.subresource.is_none() && (creates_pod || what.is(priority::CLASSES))
    }

    async fn mutate(&self, what: &mut Attributes<'_>) -> Result<(), ApiError> {
        let (server, kind) = (what.server, what.kind);
        match (what.object.as_deref_mut(), what.old) {
            (Some(pod), None) if kind.descriptor().stored_as == PODS => priority::resolve(server, kind, pod),
            (None, Some(class)) => priority::may_be_deleted(kind, class),
            _ => Ok(()),
        }
    }

    async fn validate(&self, what: &Attributes<'_>) -> Result<(), ApiError> {
        match &what.object {
            Some(class) if what.is(priority::CLASSES) => priority::check_single_default(what.server, what.kind, class, what.old),
            _ => Ok(()),
        }
    }
}

/// See [`tolerations`].
pub struct DefaultTolerationSeconds;

#[async_trait]
impl Plugin for DefaultTolerationSeconds {
    fn name(&self) -> &'static str {
        "DefaultTolerationSeconds"
    }

    fn handles(&self, what: &Attributes<'_>) -> bool {
        what.writes_whole() && what.is(PODS)
    }

    async fn mutate(&self, what: &mut Attributes<'_>) -> Result<(), ApiError> {
        if let Some(pod) = what.object.as_deref_mut() {
            tolerations::add_defaults(pod);
        }
        Ok(())
    }
}

/// See [`escalation`].
pub struct Escalation;

#[async_trait]
impl Plugin for Escalation {
    fn name(&self) -> &'static str {
        "PrivilegeEscalation"
    }

    fn handles(&self, what: &Attributes<'_>) -> bool {
        what.writes_whole()
    }

    async fn mutate(&self, what: &mut Attributes<'_>) -> Result<(), ApiError> {
        match &what.object {
            Some(object) => escalation::check(what.server, what.who, what.kind, object, what.old),
            None => Ok(()),
        }
    }
}

//! What each plug-in handles, and what it does in which stage; how it does it is in its own file.

use super::chain::{Attributes, Operation, Plugin};
use super::default_class::Classes;
use super::node_restriction::Change;
use super::{escalation, namespace, node_restriction, priority, runtime_class, service_account, taint_nodes, tolerations};
use crate::error::ApiError;
use crate::kinds::{StoredAs, is_stored};
use crate::object;
use async_trait::async_trait;
use orknet_auth::node::node_of;

const PODS: StoredAs = ("", "pods");

/// See [`namespace`]. That the namespace stays open until the commit is the commit's to see to.
pub struct NamespaceLifecycle;

#[async_trait]
impl Plugin for NamespaceLifecycle {
    fn name(&self) -> &'static str {
        "NamespaceLifecycle"
    }

    fn handles(&self, what: &Attributes<'_>) -> bool {
        // Questions are answered whatever they are about; what is asked of an object's subresource is made nowhere.
        let makes = what.operation == Operation::Create && what.subresource.is_none() && is_stored(what.kind.descriptor());
        makes || what.operation == Operation::Delete
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
        let caches = &what.server.storage.caches;
        let evicted = what.subresource == Some("eviction") && what.is(PODS);
        let pod = evicted.then(|| caches.get(PODS, what.namespace, what.name)).flatten().map(|pod| pod.value());
        let change = match (what.object.as_deref(), what.old) {
            _ if evicted => match &pod {
                Some(pod) => Change::Delete(pod),
                // Whose it is cannot be told, if the store has it: a node does not evict it.
                None if node_of(what.who).is_some() => return Err(ApiError::not_found(what.kind.descriptor(), what.name)),
                None => return Ok(()),
            },
            (Some(new), Some(old)) => Change::Update { new, old, subresource: what.subresource },
            (Some(body), None) if what.subresource.is_some() => Change::Update { new: body, old: body, subresource: what.subresource },
            (Some(new), None) => Change::Create(new),
            (None, Some(old)) => Change::Delete(old),
            (None, None) => return Ok(()),
        };
        let uid_of = |node: &str| caches.get(("", "nodes"), "", node).map(|node| object::uid(&node.value()).to_owned());
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

/// See [`taint_nodes`].
pub struct TaintNodesByCondition;

#[async_trait]
impl Plugin for TaintNodesByCondition {
    fn name(&self) -> &'static str {
        "TaintNodesByCondition"
    }

    fn handles(&self, what: &Attributes<'_>) -> bool {
        what.operation == Operation::Create && what.subresource.is_none() && what.is(("", "nodes"))
    }

    async fn mutate(&self, what: &mut Attributes<'_>) -> Result<(), ApiError> {
        if let Some(node) = what.object.as_deref_mut() {
            taint_nodes::taint(node);
        }
        Ok(())
    }
}

/// See [`super::default_class`].
pub struct DefaultClass {
    pub name: &'static str,
    pub classes: Classes,
}

#[async_trait]
impl Plugin for DefaultClass {
    fn name(&self) -> &'static str {
        self.name
    }

    fn handles(&self, what: &Attributes<'_>) -> bool {
        what.operation == Operation::Create && what.subresource.is_none() && what.is(self.classes.of)
    }

    async fn mutate(&self, what: &mut Attributes<'_>) -> Result<(), ApiError> {
        let server = what.server;
        if let Some(object) = what.object.as_deref_mut().filter(|object| self.classes.is_open(object)) {
            self.classes.set(object, &server.storage.caches.values(self.classes.classes));
        }
        Ok(())
    }
}

/// See [`runtime_class`].
pub struct RuntimeClass;

#[async_trait]
impl Plugin for RuntimeClass {
    fn name(&self) -> &'static str {
        "RuntimeClass"
    }

    fn handles(&self, what: &Attributes<'_>) -> bool {
        what.operation == Operation::Create && what.subresource.is_none() && what.is(PODS)
    }

    async fn mutate(&self, what: &mut Attributes<'_>) -> Result<(), ApiError> {
        let server = what.server;
        let Some(pod) = what.object.as_deref_mut() else { return Ok(()) };
        let done = match runtime_class::class_of(server, pod).await? {
            Ok(Some(class)) => runtime_class::apply(pod, &class),
            Ok(None) => Ok(()),
            Err(why) => Err(why),
        };
        done.map_err(|why| what.refusal(why))
    }

    async fn validate(&self, what: &Attributes<'_>) -> Result<(), ApiError> {
        let Some(pod) = what.object.as_deref() else { return Ok(()) };
        let class = runtime_class::class_of(what.server, pod).await?.map_err(|why| what.refusal(why))?;
        runtime_class::refusal(pod, class.as_ref()).map_or(Ok(()), |why| Err(what.refusal(why)))
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

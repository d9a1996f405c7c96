//! One pass over an object: read the graph, ask for unknown owners, plan, write.

use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions, PropagationPolicy};
use orknet_reconciler::{Error, Next, Reconciler, is_not_found};
use serde_json::{Value, json};

use super::plan::{Action, OwnerState, known_state, plan_deletion, plan_dependent};
use crate::cluster_objects::{ClusterObjects, FOREGROUND, Meta, Node, ORPHAN, Owner, Uid};

/// After this time it is looked again whether the kind of an owner is served.
const KIND_CHECK: Duration = Duration::from_secs(60);

pub(super) struct GarbageCollector {
    pub client: Client,
    pub objects: Arc<ClusterObjects>,
}

impl Reconciler for GarbageCollector {
    type Key = Uid;
    const NAME: &'static str = "garbage-collector";

    async fn reconcile(&self, uid: &Uid) -> Result<Next, Error> {
        let (node, dependents) = self.look(uid);
        let Some(node) = node else { return Ok(Next::Change) };
        let mut states = Vec::with_capacity(node.owners.len());
        let action = if node.deleting {
            plan_deletion(&node, &dependents)
        } else {
            for owner in &node.owners {
                states.push(self.state_of(&node, owner).await?);
            }
            plan_dependent(&node, &states, &dependents)
        };
        match action {
            Action::Nothing => {}
            Action::RemoveFinalizer(name) => self.remove_finalizer(&node, name).await?,
            Action::Orphan(dependents) => {
                for dependent in dependents {
                    self.drop_owners(&dependent, std::slice::from_ref(&node.uid)).await?;
                }
            }
            Action::DropOwners(owners) => self.drop_owners(&node.uid, &owners).await?,
            Action::Delete(policy) => self.delete(&node, policy).await?,
            Action::BreakCircle => {
                if let Some(node) = self.unblock(&node).await? {
                    self.delete(&node, PropagationPolicy::Foreground).await?;
                }
            }
        }
        Ok(if states.contains(&OwnerState::Unknown) { Next::After(KIND_CHECK) } else { Next::Change })
    }
}

impl GarbageCollector {
    fn look(&self, uid: &Uid) -> (Option<Node>, Vec<Node>) {
        self.objects.read(|graph| (graph.get(uid).cloned(), graph.dependents(uid).cloned().collect()))
    }

    async fn state_of(&self, node: &Node, owner: &Owner) -> Result<OwnerState, Error> {
        if let Some(state) = self.objects.read(|graph| known_state(graph, node, owner)) {
            return Ok(state);
        }
        let Some(kind) = self.objects.kind_of(&owner.api_version, &owner.kind) else {
            tracing::debug!(object = %node.key, version = owner.api_version, kind = owner.kind, "the kind of an owner is not served");
            return Ok(OwnerState::Unknown);
        };
        if kind.is_namespaced() && node.key.namespace.is_empty() {
            // A cluster-scoped object can't have a namespaced owner: the reference leads nowhere, and is left alone.
            return Ok(OwnerState::Solid);
        }
        let found = self.objects.api(&self.client, &kind, &node.key.namespace).get_opt(&owner.name).await;
        let found = found.map_err(Error::api(format!("reading owner {} {}", owner.kind, owner.name)))?;
        Ok(match found {
            Some(found) if found.metadata.uid.as_deref() == Some(&*owner.uid) => match Node::new(&kind, &found.metadata) {
                Some(owner) if owner.deleting && owner.foreground => OwnerState::Waiting,
                _ => OwnerState::Solid,
            },
            _ => OwnerState::Absent,
        })
    }

    async fn delete(&self, node: &Node, policy: PropagationPolicy) -> Result<(), Error> {
        // The version too: if somebody has just given it another owner, it stays.
        let same = Preconditions { uid: Some(node.uid.to_string()), resource_version: node.resource_version.clone() };
        let params = DeleteParams { propagation_policy: Some(policy), preconditions: Some(same), ..DeleteParams::default() };
        tracing::debug!(kind = node.kind.id(), object = %node.key, "deleting an object without owners");
        match self.objects.api(&self.client, &node.kind, &node.key.namespace).delete(&node.key.name, &params).await {
            Ok(_) => Ok(()),
            Err(error) if is_not_found(&error) => Ok(()),
            Err(error) => Err(Error::api(format!("deleting {} {}", node.kind.resource.kind, node.key))(error)),
        }
    }

    async fn remove_finalizer(&self, node: &Node, name: &'static str) -> Result<(), Error> {
        let keep = |meta: &Meta| {
            let finalizers = meta.metadata.finalizers.clone().unwrap_or_default();
            let kept: Vec<_> = finalizers.iter().filter(|finalizer| *finalizer != name).cloned().collect();
            (kept.len() != finalizers.len()).then(|| json!({ "finalizers": kept }))
        };
        debug_assert!(name == FOREGROUND || name == ORPHAN);
        self.edit(node, keep).await.map(drop)
    }

    async fn drop_owners(&self, uid: &Uid, owners: &[Uid]) -> Result<(), Error> {
        let (Some(node), _) = self.look(uid) else { return Ok(()) };
        let keep = |meta: &Meta| {
            let references = meta.metadata.owner_references.clone().unwrap_or_default();
            let mut kept = references.clone();
            kept.retain(|reference| !owners.iter().any(|owner| **owner == *reference.uid));
            (kept.len() != references.len()).then(|| json!({ "ownerReferences": kept }))
        };
        self.edit(&node, keep).await.map(drop)
    }

    /// Lets no owner wait for the object. The object as it is then; `None` when it is gone.
    async fn unblock(&self, node: &Node) -> Result<Option<Node>, Error> {
        let free = |meta: &Meta| {
            let mut references = meta.metadata.owner_references.clone().unwrap_or_default();
            references.iter_mut().for_each(|reference| reference.block_owner_deletion = Some(false));
            Some(json!({ "ownerReferences": references }))
        };
        let written = self.edit(node, free).await?;
        Ok(written.and_then(|written| Node::new(&node.kind, &written.metadata)))
    }

    /// Changes an object's metadata on the basis of what it is now; a conflict comes back as an error and is tried again.
    /// The object as it is afterwards; `None` when it is gone.
    async fn edit(&self, node: &Node, change: impl Fn(&Meta) -> Option<Value>) -> Result<Option<Meta>, Error> {
        let api = self.objects.api(&self.client, &node.kind, &node.key.namespace);
        let operation = || format!("changing {} {}", node.kind.resource.kind, node.key);
        let Some(present) = api.get_opt(&node.key.name).await.map_err(Error::api(operation()))? else { return Ok(None) };
        if present.metadata.uid.as_deref() != Some(&*node.uid) {
            return Ok(None);
        }
        let Some(mut patch) = change(&present) else { return Ok(Some(present)) };
        patch["resourceVersion"] = json!(present.metadata.resource_version);
        let patch = Patch::Merge(json!({ "metadata": patch }));
        match api.patch(&node.key.name, &PatchParams::default(), &patch).await {
            Ok(written) => Ok(Some(written)),
            Err(error) if is_not_found(&error) => Ok(None),
            Err(error) => Err(Error::api(operation())(error)),
        }
    }
}

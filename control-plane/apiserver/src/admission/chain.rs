//! The plug-ins, their order, and the two stages in which they are asked.

use super::asked::Asked;
use super::certificates::{CertificateApproval, CertificateRequest, CertificateSigning, CertificateSubjectRestriction};
use super::claim_resize::PersistentVolumeClaimResize;
use super::default_class;
use super::form::Form;
use super::limit_ranger::LimitRanger;
use super::plugins::{
    DefaultClass, DefaultTolerationSeconds, Escalation, NamespaceLifecycle, NodeRestriction, Priority, RuntimeClass, ServiceAccount,
    TaintNodesByCondition,
};
use super::pod_security::PodSecurity;
use super::policies::ValidatingAdmissionPolicy;
use super::quota::ResourceQuota;
use super::storage_protection::StorageObjectInUseProtection;
use super::webhooks::{MutatingAdmissionWebhook, Reinvocation, ValidatingAdmissionWebhook};
use crate::allocate::Allocation;
use crate::error::ApiError;
use crate::kinds::{Kind, StoredAs};
use crate::server::Server;
use async_trait::async_trait;
use orknet_auth::Identity;
use parking_lot::Mutex;
use serde_json::Value;
use std::ops::Deref;
use tokio::sync::OwnedMutexGuard;

/// What is being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Create,
    /// Of the object, or through one of its subresources.
    Update,
    Delete,
    /// A stream to what the object stands for.
    Connect,
}

impl Operation {
    /// As rules and reviews have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
        }
    }
}

/// Who does what to which object.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    pub server: &'a Server,
    pub who: &'a Identity,
    pub kind: &'a Kind,
    pub subresource: Option<&'a str>,
    pub operation: Operation,
    /// Empty for cluster-wide kinds.
    pub namespace: &'a str,
    pub name: &'a str,
    pub dry_run: bool,
    /// What kind the object is of, where it is not the resource's own: the body of a subresource.
    pub form: Option<&'static Form>,
    /// The version of what is stored; 0 when there is nothing.
    pub revision: u64,
    pub options: Asked<'a>,
}

/// What plug-ins add to the transaction of the write that they let pass in the second stage. Where a comparison fails, nothing is written, and the stage
/// is gone through again.
#[derive(Default)]
pub struct Additions {
    pub allocation: Allocation,
    /// Turns that are kept until the transaction is done or given up.
    pub turns: Vec<OwnedMutexGuard<()>>,
}

/// What a plug-in is asked about.
pub struct Attributes<'a> {
    request: Request<'a>,
    /// What the object shall be; `None` for deletions.
    pub object: Option<&'a mut Value>,
    /// What it is; `None` for a new one, and for streams.
    pub old: Option<&'a Value>,
    /// What the answer is to warn of.
    pub warnings: Mutex<Vec<String>>,
    /// What is to be written with the object; of no use to the first stage, and where nothing is written.
    pub additions: Mutex<Additions>,
    /// What webhooks have done to the object.
    pub reinvocation: Reinvocation,
}

impl<'a> Attributes<'a> {
    pub fn new(request: Request<'a>, object: Option<&'a mut Value>, old: Option<&'a Value>) -> Self {
        Self { request, object, old, warnings: Mutex::default(), additions: Mutex::default(), reinvocation: Reinvocation::default() }
    }

    /// Whether the object is kept at this place.
    pub fn is(&self, place: StoredAs) -> bool {
        self.kind.descriptor().stored_as == place
    }

    /// 403 for the object.
    pub fn refusal(&self, why: impl std::fmt::Display) -> ApiError {
        ApiError::forbidden(self.kind.descriptor(), self.name, why)
    }

    /// Whether an object is written that is the whole of what a client may say of it: created, or updated through no subresource.
    pub fn writes_whole(&self) -> bool {
        self.subresource.is_none() && matches!(self.operation, Operation::Create | Operation::Update)
    }
}

impl<'a> Deref for Attributes<'a> {
    type Target = Request<'a>;

    fn deref(&self) -> &Self::Target {
        &self.request
    }
}

/// A part of admission. Reads caches and store; what it wants written goes into the object's transaction ([`Additions`]).
#[async_trait]
pub trait Plugin: Send + Sync {
    /// What Kubernetes calls it.
    fn name(&self) -> &'static str;

    /// Whether it has something to say; else it is not asked.
    fn handles(&self, what: &Attributes<'_>) -> bool;

    /// Fills in fields, or refuses; before addresses are given out and the kind's rules are asked. Is asked once more when a webhook has changed the
    /// object: what it did may not be in its way then.
    async fn mutate(&self, _what: &mut Attributes<'_>) -> Result<(), ApiError> {
        Ok(())
    }

    /// Refuses what the object came to be; after all fields are filled in and the kind's rules hold, before it is written. May be asked again for the
    /// same write, when others were faster.
    async fn validate(&self, _what: &Attributes<'_>) -> Result<(), ApiError> {
        Ok(())
    }
}

/// Plug-ins in the order in which both stages ask them.
pub struct Chain(Vec<Box<dyn Plugin>>);

impl Default for Chain {
    /// The server's own, in the order of Kubernetes (`pkg/kubeapiserver/options/plugins.go`).
    fn default() -> Self {
        Self(vec![
            Box::new(NamespaceLifecycle),
            Box::new(LimitRanger),
            Box::new(ServiceAccount),
            Box::new(NodeRestriction),
            Box::new(TaintNodesByCondition),
            Box::new(PodSecurity),
            Box::new(Priority),
            Box::new(DefaultTolerationSeconds),
            Box::new(DefaultClass { name: "DefaultStorageClass", classes: default_class::STORAGE }),
            Box::new(StorageObjectInUseProtection),
            Box::new(PersistentVolumeClaimResize),
            Box::new(RuntimeClass),
            Box::new(CertificateApproval),
            Box::new(CertificateSigning),
            Box::new(CertificateSubjectRestriction),
            Box::new(DefaultClass { name: "DefaultIngressClass", classes: default_class::INGRESS }),
            Box::new(MutatingAdmissionWebhook),
            Box::new(ValidatingAdmissionPolicy),
            Box::new(ValidatingAdmissionWebhook),
            // Of storage with Kubernetes, so after all others that change something.
            Box::new(Escalation),
            Box::new(CertificateRequest),
            // Last: what another refuses is not to be charged.
            Box::new(ResourceQuota::default()),
        ])
    }
}

impl Chain {
    /// Of these plug-ins.
    #[cfg(test)]
    pub fn new(plugins: Vec<Box<dyn Plugin>>) -> Self {
        Self(plugins)
    }

    /// What the plug-ins are called, in their order.
    #[cfg(test)]
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().map(|plugin| plugin.name())
    }

    /// The first stage. Each plug-in sees what those before it filled in. When a webhook has changed something, all are asked once more, and of the
    /// webhooks those that want to be.
    pub async fn mutate(&self, what: &mut Attributes<'_>) -> Result<(), ApiError> {
        self.mutate_once(what).await?;
        if what.reinvocation.begin() { self.mutate_once(what).await } else { Ok(()) }
    }

    async fn mutate_once(&self, what: &mut Attributes<'_>) -> Result<(), ApiError> {
        for plugin in &self.0 {
            if plugin.handles(what) {
                plugin.mutate(what).await.inspect_err(|error| note(&**plugin, what, error))?;
            }
        }
        Ok(())
    }

    /// The second stage.
    pub async fn validate(&self, what: &Attributes<'_>) -> Result<(), ApiError> {
        for plugin in &self.0 {
            if plugin.handles(what) {
                plugin.validate(what).await.inspect_err(|error| note(&**plugin, what, error))?;
            }
        }
        Ok(())
    }
}

fn note(plugin: &dyn Plugin, what: &Attributes<'_>, error: &ApiError) {
    let (plural, why) = (what.kind.descriptor().plural, error.message());
    let Request { operation, namespace, name, dry_run, .. } = **what;
    tracing::debug!(plugin = plugin.name(), ?operation, plural, namespace, name, dry_run, why, "admission refuses");
}

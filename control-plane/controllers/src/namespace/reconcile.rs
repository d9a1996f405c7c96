//! One pass over a namespace in deletion: delete what is there, look what is left, finalize when that is nothing.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, Client};
use orknet_reconciler::{Error, Informer, Next, ObjectKey, Reconciler, is_not_found};

use super::plan::{self, KUBERNETES, Remaining};
use crate::cluster_objects::{ClusterObjects, Kind};
use crate::write_status::write_status;

/// Kinds without a watch tell nobody when their last object goes.
const BACKSTOP: Duration = Duration::from_secs(15);

pub(super) struct NamespaceController {
    pub client: Client,
    pub namespaces: Arc<Informer<Namespace>>,
    pub objects: Arc<ClusterObjects>,
}

impl Reconciler for NamespaceController {
    type Key = Arc<str>;
    const NAME: &'static str = "namespace";

    async fn reconcile(&self, name: &Arc<str>) -> Result<Next, Error> {
        let Some(namespace) = self.namespaces.get(&ObjectKey::new("", name)).filter(|namespace| plan::is_due(namespace)) else {
            return Ok(Next::Change);
        };
        // Nothing is made in it any more: what is there is of a kind that is served now, though it may have been defined a moment ago.
        let kinds = self.objects.served_now().await.map_err(Error::api("discovering the kinds"))?;
        let deletable = |kind: &&Arc<Kind>| kind.is_namespaced() && kind.supports("list") && kind.supports("delete");
        let (pods, others): (Vec<_>, Vec<_>) = kinds.iter().filter(deletable).partition(|kind| kind.id() == "v1/pods");
        let mut remaining = Remaining::default();
        for kind in pods {
            self.empty(kind, name, &mut remaining).await;
        }
        if remaining.is_nothing() {
            for kind in others {
                self.empty(kind, name, &mut remaining).await;
            }
        }
        let api = Api::<Namespace>::all(self.client.clone());
        if !remaining.is_nothing() {
            let status = plan::status(&namespace, &remaining, Timestamp::now());
            write_status(&api, &self.namespaces, &namespace, namespace.status.as_ref(), &status).await?;
            return Ok(Next::After(BACKSTOP));
        }
        self.finalize(&api, &namespace, name).await
    }
}

impl NamespaceController {
    /// Deletes the objects of one kind and notes what is still there afterwards.
    async fn empty(&self, kind: &Kind, namespace: &str, remaining: &mut Remaining) {
        let api = self.objects.api(&self.client, kind, namespace);
        let present = match api.list(&ListParams::default()).await {
            Ok(present) => present,
            Err(error) if is_not_found(&error) => return,
            Err(error) => return remaining.failures.push(format!("{}: {error}", kind.id())),
        };
        let mut left = false;
        for object in &present.items {
            if object.metadata.deletion_timestamp.is_some() {
                left = true;
                continue;
            }
            let own = object.metadata.name.as_deref().unwrap_or_default();
            match api.delete(own, &DeleteParams::background()).await {
                Ok(_) => left = true,
                Err(error) if is_not_found(&error) => {}
                Err(error) => remaining.failures.push(format!("{} {own}: {error}", kind.id())),
            }
        }
        if !left {
            return;
        }
        match api.list(&ListParams::default()).await {
            Ok(present) if present.items.is_empty() => {}
            Ok(present) => {
                remaining.objects.insert(format!("{}.{}", kind.resource.plural, kind.resource.group), present.items.len());
                for finalizer in present.items.iter().flat_map(|object| object.metadata.finalizers.iter().flatten()) {
                    *remaining.finalizers.entry(finalizer.clone()).or_default() += 1;
                }
            }
            Err(error) => remaining.failures.push(format!("{}: {error}", kind.id())),
        }
    }

    async fn finalize(&self, api: &Api<Namespace>, namespace: &Namespace, name: &str) -> Result<Next, Error> {
        let mut finalized = namespace.clone();
        if let Some(finalizers) = finalized.spec.as_mut().and_then(|spec| spec.finalizers.as_mut()) {
            finalizers.retain(|finalizer| finalizer != KUBERNETES);
        }
        match api.replace_subresource("finalize", name, &PostParams::default(), &finalized).await {
            Ok(_) => Ok(Next::Change),
            Err(error) if is_not_found(&error) => Ok(Next::Change),
            Err(error) => Err(Error::api(format!("finalizing namespace {name}"))(error)),
        }
    }
}

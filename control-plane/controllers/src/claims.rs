//! Carries out a claim: makes a workload the controller of what it adopts, and no longer that of what it releases.

use std::fmt::Debug;
use std::sync::Arc;

use k8s_openapi::NamespaceResourceScope;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, Resource};
use orknet_reconciler::{Cached, Error, Informer, is_not_found};
use serde::de::DeserializeOwned;

use crate::ownership::{adoption, controller_reference, release};

/// Writes the owner references; answers go into the store, which wakes the owner. Returns false, with nothing adopted, when the server says that the
/// owner is gone or being deleted: the store may not know yet, and what a deletion orphans must not be taken back.
pub(crate) async fn settle<O, K>(
    client: &Client,
    owner: &O,
    adopt: &[Arc<K>],
    lost: &[Arc<K>],
    informer: &Informer<K>,
) -> Result<bool, Error>
where
    O: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    K: Cached + Resource<Scope = NamespaceResourceScope>,
{
    let meta = owner.meta();
    let api = Api::<K>::namespaced(client.clone(), meta.namespace.as_deref().unwrap_or_default());
    for object in lost {
        patch(&api, informer, &**object, release(object.meta(), meta.uid.as_deref().unwrap_or_default())).await?;
    }
    if adopt.is_empty() {
        return Ok(true);
    }
    if !may_adopt(client, owner).await? {
        return Ok(false);
    }
    for object in adopt {
        patch(&api, informer, &**object, adoption(object.meta(), controller_reference(owner))).await?;
    }
    Ok(true)
}

async fn may_adopt<O>(client: &Client, owner: &O) -> Result<bool, Error>
where
    O: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    let name = owner.meta().name.as_deref().unwrap_or_default();
    let api = Api::<O>::namespaced(client.clone(), owner.meta().namespace.as_deref().unwrap_or_default());
    let present = api.get_opt(name).await.map_err(Error::api(format!("reading {} {name}", O::kind(&()))))?;
    Ok(present.is_some_and(|present| present.meta().uid == owner.meta().uid && present.meta().deletion_timestamp.is_none()))
}

async fn patch<K: Cached>(api: &Api<K>, informer: &Informer<K>, object: &K, patch: serde_json::Value) -> Result<(), Error> {
    let name = object.meta().name.as_deref().unwrap_or_default();
    match api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await {
        Ok(written) => informer.record(written),
        Err(error) if is_not_found(&error) => {}
        Err(error) => return Err(Error::api(format!("changing the owner of {} {name}", K::kind(&())))(error)),
    }
    Ok(())
}
